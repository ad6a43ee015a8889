//! Events become lines.
//!
//! Written out here because it runs once per request: the line is built in a buffer of the
//! thread's own, without a map of its fields and without allocating.

use std::{
    cell::RefCell,
    fmt::{self, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use super::{Format, sink::Sink};

/// A thread keeps its buffer up to this size.
const USUAL_BYTES: usize = 4 * 1024;

/// Turns events into lines of one format.
#[derive(Debug)]
pub(super) struct Lines {
    format: Format,
    sink: Arc<Sink>,
}

impl Lines {
    pub(super) fn new(format: Format, sink: Arc<Sink>) -> Self {
        Self { format, sink }
    }
}

thread_local! {
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now = SystemTime::now();
        LINE.with(|line| match line.try_borrow_mut() {
            Ok(mut line) => {
                line.clear();
                self.write(&mut line, now, event);
                self.sink.push(line.as_bytes());
                line.shrink_to(USUAL_BYTES);
            }
            // The value of a field logs, or panics, while it is being written.
            Err(_) => {
                let mut line = String::new();
                self.write(&mut line, now, event);
                self.sink.push(line.as_bytes());
            }
        });
    }
}

impl Lines {
    fn write(&self, line: &mut String, now: SystemTime, event: &Event<'_>) {
        match self.format {
            Format::Json => json_line(line, now, event),
            Format::Text => text_line(line, now, event),
        }
    }
}

fn json_line(line: &mut String, now: SystemTime, event: &Event<'_>) {
    line.push_str("{\"timestamp\":\"");
    timestamp(line, now);
    line.push_str("\",\"level\":\"");
    line.push_str(event.metadata().level().as_str());
    line.push_str("\",\"target\":\"");
    escape(line, event.metadata().target());
    line.push('"');
    event.record(&mut JsonFields { line });
    line.push_str("}\n");
}

fn text_line(line: &mut String, now: SystemTime, event: &Event<'_>) {
    let metadata: &Metadata<'_> = event.metadata();
    timestamp(line, now);
    line.push_str(match *metadata.level() {
        Level::ERROR => " ERROR ",
        Level::WARN => "  WARN ",
        Level::INFO => "  INFO ",
        Level::DEBUG => " DEBUG ",
        Level::TRACE => " TRACE ",
    });
    line.push_str(metadata.target());
    line.push(':');
    event.record(&mut TextFields { line });
    line.push('\n');
}

/// Writes fields as members of a JSON object.
struct JsonFields<'a> {
    line: &'a mut String,
}

impl JsonFields<'_> {
    fn name(&mut self, field: &Field) {
        self.line.push_str(",\"");
        escape(self.line, field.name());
        self.line.push_str("\":");
    }

    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        put(self.line, format_args!("{value}"));
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.name(field);
        self.line.push('"');
        put(&mut Escaped(self.line), value);
        self.line.push('"');
    }
}

impl Visit for JsonFields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, value);
        } else {
            self.plain(field, "null");
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.line.push('"');
        escape(self.line, value);
        self.line.push('"');
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, format_args!("{}", Chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// Writes the message as it is, and other fields as `name=value`.
struct TextFields<'a> {
    line: &'a mut String,
}

impl TextFields<'_> {
    fn value(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.line.push(' ');
        if field.name() != "message" {
            self.line.push_str(field.name());
            self.line.push('=');
        }
        put(&mut Escaped(self.line), value);
    }
}

impl Visit for TextFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.value(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.value(field, format_args!("{}", Chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.value(field, format_args!("{value:?}"));
    }
}

/// An error and what caused it, outermost first.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Escapes everything that is written through it.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

/// Appends `text` so that it can stand between quotes in JSON, and can neither end a line nor
/// steer a terminal: C0 and C1 control characters are written as escapes too.
fn escape(line: &mut String, text: &str) {
    // Nearly every text is plain, and bytes are quicker to look at than characters.
    if text.bytes().all(is_plain) {
        line.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            control if control.is_control() => {
                put(line, format_args!("\\u{:04x}", u32::from(control)));
            }
            plain => line.push(plain),
        }
    }
}

/// Returns whether a byte of UTF-8 surely needs no escape. 0xc2 begins the C1 controls.
fn is_plain(byte: u8) -> bool {
    byte >= b' ' && !matches!(byte, b'"' | b'\\' | 0x7f | 0xc2)
}

/// Appends `now` as RFC 3339 in UTC, to the microsecond.
pub(super) fn timestamp(line: &mut String, now: SystemTime) {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since_1970.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    digits(line, year, 1000, '-');
    digits(line, month, 10, '-');
    digits(line, day, 10, 'T');
    digits(line, seconds / 3600 % 24, 10, ':');
    digits(line, seconds / 60 % 60, 10, ':');
    digits(line, seconds % 60, 10, '.');
    digits(line, u64::from(since_1970.subsec_micros()), 100_000, 'Z');
}

/// Appends the digits of `value`, the first of them worth `place`, and then `end`.
fn digits(line: &mut String, value: u64, mut place: u64, end: char) {
    while place > 0 {
        let digit = u8::try_from(value / place % 10).expect("less than ten");
        line.push(char::from(b'0' + digit));
        place /= 10;
    }
    line.push(end);
}

/// Returns year, month and day of a number of days since 1970-01-01.
///
/// The calendar repeats every 400 years, and a year that begins in March has its leap day at
/// the end (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    const DAYS_FROM_0000_03_01: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;

    let days = days_since_1970 + DAYS_FROM_0000_03_01;
    let era = days / DAYS_IN_400_YEARS;
    let day_of_era = days % DAYS_IN_400_YEARS;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// A value whose `Display` fails leaves what it wrote; the rest of the line is still good.
fn put(line: &mut impl Write, value: fmt::Arguments<'_>) {
    let _ = line.write_fmt(value);
}
