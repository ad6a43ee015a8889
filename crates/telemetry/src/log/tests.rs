//! What a line looks like, and that lines never hold anybody up.

use std::{
    io::{self, Write},
    sync::{Condvar, Mutex, mpsc},
    time::{Duration, SystemTime},
};

use tracing::Subscriber;

use super::*;

/// An output that can be read while the sink writes to it.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An output that nobody reads until it is opened.
#[derive(Clone, Default)]
struct Stuck(Arc<(Mutex<bool>, Condvar)>);

impl Stuck {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(is_open, |is_open| !*is_open).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn subscriber(format: Format, level: Level, sink: &Arc<Sink>) -> impl Subscriber {
    registry().with(filter(level)).with(Lines::new(format, Arc::clone(sink)))
}

/// Returns what `log` wrote in `format`.
fn written(format: Format, level: Level, log: impl FnOnce()) -> String {
    let output = Written::default();
    let sink = Sink::start(output.clone()).unwrap();
    tracing::subscriber::with_default(subscriber(format, level, &sink), log);
    sink.close();
    String::from_utf8(output.0.lock().unwrap().clone()).unwrap()
}

fn json(log: impl FnOnce()) -> serde_json::Value {
    let text = written(Format::Json, Level::INFO, log);
    assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_json_line_is_one_flat_object() {
    let line = json(|| {
        tracing::info!(
            target: "access",
            app = "storefront",
            status = 200_u16,
            queue_ms = 1.5,
            offset = -3,
            retried = false,
            wait = ?Some(1),
            absent = Option::<u64>::None,
            "answered"
        );
    });

    assert_eq!(line["level"], "INFO");
    assert_eq!(line["target"], "access");
    assert_eq!(line["message"], "answered");
    assert_eq!(line["app"], "storefront");
    assert_eq!(line["status"], 200);
    assert_eq!(line["queue_ms"], 1.5);
    assert_eq!(line["offset"], -3);
    assert_eq!(line["retried"], false);
    assert_eq!(line["wait"], "Some(1)");
    assert!(line.get("absent").is_none());
    assert_eq!(line.as_object().unwrap().len(), 10);
}

#[test]
fn numbers_that_json_does_not_have_are_null() {
    let line = json(|| tracing::info!(target: "access", ratio = f64::NAN, "x"));

    assert!(line["ratio"].is_null());
}

#[test]
fn control_characters_stay_inside_their_value() {
    let nasty = "a\nb\r{\"level\":\"ERROR\"}\t\u{1b}[31m\u{9b}31m\u{7f}\0\\\u{2028}é";

    let line = json(|| {
        tracing::info!(target: "access", str = nasty, display = %nasty, debug = ?nasty, "{nasty}");
    });
    let text = written(Format::Text, Level::INFO, || {
        tracing::info!(target: "access", str = nasty, display = %nasty, "{nasty}");
    });

    assert_eq!(line["str"], nasty);
    assert_eq!(line["display"], nasty);
    assert_eq!(line["debug"], format!("{nasty:?}"));
    assert_eq!(line["message"], nasty);
    let (line, end) = text.split_at(text.len() - 1);
    assert_eq!(end, "\n");
    assert!(!line.contains(char::is_control), "{line:?}");
}

#[test]
fn a_control_character_is_escaped_wherever_it_is_alone() {
    for control in (0..=0xff).map(char::from).filter(|it| it.is_control()) {
        let value = format!("é{control}é");

        let text = written(Format::Json, Level::INFO, || {
            tracing::info!(target: "access", value, "x");
        });

        assert!(!text.trim_end_matches('\n').contains(char::is_control), "{text:?}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["value"], value);
    }
}

#[test]
fn a_text_line_reads_as_a_sentence_with_facts() {
    let text = written(Format::Text, Level::INFO, || {
        tracing::warn!(target: "credentials", tenant = "production", wait = 2, "no token yet");
    });

    let (timestamp, rest) = text.split_once(' ').unwrap();
    assert_eq!(timestamp.len(), "2026-11-21T09:50:08.123456Z".len());
    assert_eq!(rest, " WARN credentials: no token yet tenant=production wait=2\n");
}

#[test]
fn an_error_is_told_with_its_causes() {
    let error = LogError::Thread(io::Error::other("no memory"));

    let line = json(|| {
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::error!(target: "gateway", error, "cannot start");
    });

    assert_eq!(line["error"], "starting the thread that writes the log: no memory");
}

#[test]
fn libraries_are_heard_only_when_something_is_wrong() {
    let text = written(Format::Text, Level::TRACE, || {
        tracing::trace!(target: "proxy::road", "ours");
        tracing::info!(target: "hyper::proto::h1", "authorization: Bearer secret");
        tracing::warn!(target: "rustls", "theirs");
    });

    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("TRACE proxy::road: ours"), "{text}");
    assert!(text.contains(" WARN rustls: theirs"), "{text}");
}

#[test]
fn a_line_below_the_level_is_not_written() {
    let text = written(Format::Text, Level::ERROR, || {
        tracing::warn!(target: "proxy", "no");
        tracing::warn!(target: "rustls", "no");
        tracing::error!(target: "rustls", "yes");
    });

    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn the_calendar_is_right_on_its_edges() {
    #[track_caller]
    fn check(seconds: u64, expected: &str) {
        let mut line = String::new();
        lines::timestamp(&mut line, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(line, expected);
    }

    check(0, "1970-01-01T00:00:00.000000Z");
    check(951_782_399, "2000-02-28T23:59:59.000000Z");
    check(951_782_400, "2000-02-29T00:00:00.000000Z");
    check(1_709_164_800, "2024-02-29T00:00:00.000000Z");
    check(1_798_761_599, "2026-12-31T23:59:59.000000Z");
    check(4_107_542_400, "2100-03-01T00:00:00.000000Z");
}

#[test]
fn a_log_that_nobody_reads_drops_lines_and_holds_nobody_up() {
    let output = Stuck::default();
    let sink = Sink::start(output.clone()).unwrap();
    let (done, is_done) = mpsc::channel();
    let writer = Arc::clone(&sink);

    std::thread::spawn(move || {
        for _ in 0..200 {
            writer.push(&[b'x'; 64 * 1024]);
        }
        done.send(()).unwrap();
    });

    is_done.recv_timeout(Duration::from_secs(30)).expect("pushing never waits for the reader");
    assert!(sink.dropped() > 0);
    output.open();
    sink.close();
}

#[test]
fn closing_writes_what_was_logged_and_takes_no_more() {
    let output = Written::default();
    let sink = Sink::start(output.clone()).unwrap();

    for line in 0..1000 {
        sink.push(format!("{line}\n").as_bytes());
    }
    sink.close();
    sink.push(b"too late\n");

    let written = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    assert_eq!(written.lines().count(), 1000);
    assert_eq!(sink.dropped(), 1);
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let sink = Sink::start(Broken).unwrap();

    sink.push(b"one\n");
    sink.push(b"two\n");
    sink.close();

    assert_eq!(sink.dropped(), 2);
}

#[test]
fn a_process_has_one_log() {
    let first = init(Format::Text, Level::ERROR);

    assert!(first.is_ok());
    assert!(matches!(init(Format::Json, Level::INFO), Err(LogError::AlreadyInstalled)));
}
