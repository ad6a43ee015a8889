//! What a tenant may answer, and never should: none of it reaches the caller as something else, and none of it is ever
//! taken for the answer to another call.

use std::sync::Arc;
use std::time::Duration;

use testkit::{Answer, Raw, Yaml};
use tokio::sync::Notify;

use super::attack::{Scene, get, post, soon, tells_no_secret};
use super::upstream::Play;

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a caller can be told of an answer.
enum Told {
    /// This status, and this body.
    As(u16, &'static str),
    /// One of ours, with this status.
    Failure(u16),
    /// A head, and then a body that visibly breaks off.
    Broken,
}

use Told::{As, Broken, Failure};

async fn tell(scene: &Scene, name: &str, play: Play, told: Told) -> Answer {
    scene.upstream.forget();
    scene.upstream.play(play);
    let mut raw = Raw::connect(scene.address()).await;
    let fields = if let Broken = told { "Connection: close\r\n" } else { "" };
    raw.write(get("/v1/accounts", fields)).await;
    let answer = match told {
        Broken => {
            let text = String::from_utf8_lossy(&raw.rest().await).into_owned();
            is_broken(name, &text);
            Answer { status: 200, fields: Vec::new(), body: text.into_bytes() }
        }
        As(status, body) => {
            let answer = raw.answer().await;
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (status, body),
                "{name}: {answer:?}"
            );
            assert_eq!(answer.field("zuora-gateway-error"), None, "{name}");
            answer
        }
        Failure(status) => {
            let answer = raw.answer().await;
            assert_eq!(answer.status, status, "{name}: {answer:?}");
            assert!(answer.field("zuora-gateway-error").is_some(), "{name}: {answer:?}");
            assert!(answer.text().contains(r#""success":false"#), "{name}: {answer:?}");
            answer
        }
    };
    tells_no_secret(name, &answer);
    let asked = scene.upstream.requests().len();
    assert_eq!(asked, 1, "{name}: asked {asked} times");
    // The permit is back, and whatever was left on the wire answers nobody else.
    soon(name, || scene.queued_and_in_use() == (0, 0)).await;
    scene.serves(name).await;
    scene.serves(name).await;
    answer
}

/// What a caller got cannot be taken for a whole success.
fn is_broken(name: &str, text: &str) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    if head.starts_with("HTTP/1.1 502 ") {
        assert!(head.contains("zuora-gateway-executed: maybe"), "{name}: {text}");
        return;
    }
    assert!(head.starts_with("HTTP/1.1 200 "), "{name}: {text}");
    let declared = head.split("content-length: ").nth(1).and_then(|it| it.lines().next());
    match declared {
        Some(length) => assert!(body.len() < length.parse().unwrap(), "{name}: {text}"),
        None => assert!(!body.ends_with("\r\n0\r\n\r\n"), "{name}: {text}"),
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_a_502() {
    let scene = Scene::of_one_attempt().await;
    let heads: [&[u8]; 18] = [
        b"HTTP/1.1 200 OK\r\nX-A: a\rX-Split: 1\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX-A : a\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX A: a\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551618\r\n\r\nok",
        b"HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 099 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 abc OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTQ/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"ok, this is HTTP/0.9",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ];
    for head in heads {
        let name = String::from_utf8_lossy(head).into_owned();
        let answer = tell(&scene, &name, Play::send(head).and_close(), Failure(502)).await;
        assert_eq!(answer.field("zuora-gateway-executed"), Some("maybe"), "{name}");
        assert!(!format!("{:?}", answer.fields).to_lowercase().contains("split"), "{name}");
    }
}

#[tokio::test]
async fn an_encoding_beside_a_length_wins_and_nothing_else_is_left() {
    let scene = Scene::of_one_attempt().await;
    for fields in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        let answer = tell(&scene, fields, Play::send(answer), As(200, "ok")).await;
        let framing = [answer.field("content-length"), answer.field("transfer-encoding")];
        assert_eq!(framing.into_iter().flatten().count(), 1, "{fields}: {answer:?}");
    }
}

#[tokio::test]
async fn a_bad_chunk_never_ends_an_answer() {
    let scene = Scene::of_one_attempt().await;
    let good = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
    for bad in [
        "x\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        "2\r\nokXX0\r\n\r\n",
        "-1\r\n",
        "10000000000000002\r\nok",
    ] {
        // At once, and after the head has long gone down.
        tell(&scene, bad, Play::send(format!("{good}{bad}")), Broken).await;
        let later = Play::send(good).pause(Duration::from_millis(30)).then(bad);
        tell(&scene, bad, later, Broken).await;
        // And behind more than anybody looks at before the caller gets it.
        let long = format!("{good}11170\r\n{}\r\n{bad}", "x".repeat(70_000));
        tell(&scene, bad, Play::send(long), Broken).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_never_a_short_success() {
    let scene = Scene::of_one_attempt().await;
    let long = "x".repeat(70_000);
    let cut = [
        (
            "a length that is not reached",
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_owned(),
        ),
        ("no byte of the body", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".to_owned()),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-le".to_owned()),
        ("nothing", String::new()),
    ];
    for (name, bytes) in cut {
        for play in [
            Play::send(&bytes).and_close(),
            Play::send(&bytes).pause(Duration::from_millis(20)).and_reset(),
        ] {
            let answer = tell(&scene, name, play, Failure(502)).await;
            assert_eq!(answer.field("zuora-gateway-executed"), Some("maybe"), "{name}");
        }
    }
    let broken = [
        (
            "no last chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_owned(),
        ),
        (
            "half a chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\nhalf".to_owned(),
        ),
        ("a long one", format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{long}")),
        (
            "a long one in chunks",
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11170\r\n{long}\r\n"),
        ),
    ];
    for (name, bytes) in broken {
        for play in [
            Play::send(&bytes).and_close(),
            Play::send(&bytes).pause(Duration::from_millis(20)).and_reset(),
        ] {
            tell(&scene, name, play, Broken).await;
        }
    }
}

#[tokio::test]
async fn what_follows_an_answer_answers_nobody() {
    let scene = Scene::of_one_attempt().await;
    for _ in 0..20 {
        let two = format!("{GOOD}HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned");
        tell(&scene, "two answers at once", Play::send(two), As(200, "ok")).await;
    }
    let later = Play::send(GOOD).then("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned");
    tell(&scene, "another packet", later, As(200, "ok")).await;
    let rubbish = format!("{GOOD}rubbish");
    tell(&scene, "rubbish", Play::send(rubbish), As(200, "ok")).await;
    let body =
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned";
    tell(&scene, "204 with a body", Play::send(body), As(204, "")).await;
    let body = "HTTP/1.1 304 Not Modified\r\ncontent-length: 8\r\n\r\npoisoned";
    tell(&scene, "304 with a body", Play::send(body), As(304, "")).await;
}

#[tokio::test]
async fn interim_answers_are_not_the_answer() {
    let scene = Scene::of_one_attempt().await;
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let plays = [
        ("100", format!("HTTP/1.1 100 Continue\r\n\r\n{GOOD}")),
        ("103", format!("{interim}{GOOD}")),
        ("102 and 103", format!("HTTP/1.1 102 Processing\r\n\r\n{interim}{GOOD}")),
        ("forty of 103", format!("{}{GOOD}", interim.repeat(40))),
    ];
    for (name, bytes) in plays {
        tell(&scene, name, Play::send(bytes), As(200, "ok")).await;
    }
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n";
    tell(&scene, "101 unasked", Play::send(format!("{switch}rubbish")), Failure(502)).await;
    tell(&scene, "101 unasked, bare", Play::send("HTTP/1.1 101 x\r\n\r\n"), Failure(502)).await;
}

#[tokio::test]
async fn odd_answers_arrive_as_they_are_or_not_at_all() {
    let scene = Scene::of_one_attempt().await;
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let some: String = (0..80).map(|n| format!("x-{n}: y\r\n")).collect();
    let huge = "x".repeat(600_000);
    let odd = [
        (
            "200 fields",
            format!("HTTP/1.1 200 OK\r\n{many}content-length: 2\r\n\r\nok"),
            Failure(502),
        ),
        (
            "80 fields",
            format!("HTTP/1.1 200 OK\r\n{some}content-length: 2\r\n\r\nok"),
            As(200, "ok"),
        ),
        ("a field of 600 KB", format!("HTTP/1.1 200 OK\r\nx: {huge}\r\n\r\n"), Failure(502)),
        (
            "a field of 200 KB",
            format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", &huge[..200_000]),
            Failure(502),
        ),
        ("status 999", "HTTP/1.1 999 Odd\r\ncontent-length: 2\r\n\r\nok".to_owned(), As(999, "ok")),
        ("no reason", "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok".to_owned(), As(200, "ok")),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(), As(200, "ok")),
        (
            "ended by the end",
            "HTTP/1.0 200 OK\r\n\r\nuntil the end".to_owned(),
            As(200, "until the end"),
        ),
        (
            "no framing at all",
            "HTTP/1.1 200 OK\r\n\r\nuntil the end".to_owned(),
            As(200, "until the end"),
        ),
        ("an empty body", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(), As(200, "")),
        ("an error", "HTTP/1.1 500 x\r\ncontent-length: 2\r\n\r\nno".to_owned(), As(500, "no")),
    ];
    for (name, bytes, told) in odd {
        tell(&scene, name, Play::send(bytes).and_close(), told).await;
    }
}

#[tokio::test]
async fn what_zuora_says_to_its_own_neighbour_ends_here() {
    let scene = Scene::of_one_attempt().await;
    let answer = "HTTP/1.1 200 OK\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
        proxy-authenticate: x\r\nupgrade: h2c\r\ntrailer: x-t\r\nset-cookie: ZSession=secret\r\n\
        via: 1.1 zuora\r\netag: \"1\"\r\netag: \"2\"\r\nzuora-request-id: r-1\r\ntransfer-encoding: chunked\r\n\r\n\
        2\r\nok\r\n0\r\nx-t: 1\r\nset-cookie: ZSession=secret\r\n\r\n";

    let answer = tell(&scene, "hop-by-hop", Play::send(answer), As(200, "ok")).await;

    for gone in
        ["x-hop", "keep-alive", "proxy-authenticate", "upgrade", "trailer", "set-cookie", "x-t"]
    {
        assert_eq!(answer.field(gone), None, "{gone}: {answer:?}");
    }
    let all = |name: &str| -> Vec<_> {
        answer.fields.iter().filter(|(it, _)| it == name).map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(all("etag"), ["\"1\"", "\"2\""]);
    assert_eq!(all("via"), ["1.1 zuora", "1.1 zuora-gateway"]);
    assert_eq!(all("zuora-request-id"), ["r-1"]);
}

#[tokio::test]
async fn a_write_that_may_have_been_executed_is_sent_once() {
    let scene = Scene::without_keys().await;
    let breaks = [
        ("reset behind the last byte", Play::reset()),
        ("closed behind the last byte", Play::close()),
        (
            "reset within the head",
            Play::send("HTTP/1.1 20").pause(Duration::from_millis(20)).and_reset(),
        ),
        ("not HTTP", Play::send("what?\r\n\r\n").and_close()),
    ];
    for (name, play) in breaks {
        // On a fresh connection, and on one that has served before.
        for _ in 0..2 {
            scene.upstream.forget();
            scene.upstream.play(play.clone());
            let write = post("Content-Length: 7\r\n", r#"{"a":1}"#);
            let answer = scene.exchange(name, write).await.answer;

            assert_eq!(answer.status, 502, "{name}: {answer:?}");
            assert_eq!(answer.field("zuora-gateway-error"), Some("upstream-broke"), "{name}");
            assert_eq!(answer.field("zuora-gateway-executed"), Some("maybe"), "{name}");
            assert_eq!(scene.upstream.requests().len(), 1, "{name}");
            scene.serves(name).await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_closed_while_idle_costs_no_call() {
    let scene = Scene::start().await;
    for turn in 0..30_u64 {
        // It closes at once behind the answer, or a moment later: before, while, or after the next call takes it.
        let pause = Duration::from_micros(turn % 10 * 100);
        let last = Play::send(GOOD).pause(pause);
        scene.upstream.play(if turn % 2 == 0 { last.and_close() } else { last.and_reset() });
        let bytes = post("Content-Length: 7\r\n", r#"{"a":1}"#);
        let first = scene.exchange("before", &bytes).await.answer;
        assert_eq!(first.status, 200, "{first:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
        scene.upstream.forget();

        let answer = scene.exchange("behind a closed connection", &bytes).await.answer;

        assert_eq!(answer.status, 200, "turn {turn}: {answer:?}");
        assert_eq!(scene.upstream.requests().len(), 1, "turn {turn}");
    }
}

#[tokio::test]
async fn a_call_that_meets_a_closing_connection_is_sent_on_another() {
    let scene = Scene::start().await;
    let bytes = post("Content-Length: 7\r\n", r#"{"a":1}"#);
    let mut repeated = 0;
    for turn in 0..20 {
        scene.upstream.forget();
        let closing = Arc::new(Notify::new());
        scene.upstream.play(Play::send(GOOD).until(&closing).and_close());
        let mut raw = Raw::connect(scene.address()).await;
        raw.write(get("/v1/before", "")).await;
        assert_eq!(raw.answer().await.status, 200);

        // Both at once: the call takes the connection from the pool, and finds it closed before it has written a byte.
        raw.write(&bytes).await;
        closing.notify_one();
        let answer = raw.answer().await;

        assert_eq!(answer.status, 200, "turn {turn}: {answer:?}");
        let lines = scene.upstream.lines();
        assert_eq!(lines, ["GET /v1/before HTTP/1.1", "POST /v1/accounts HTTP/1.1"], "turn {turn}");
        repeated += i32::from(answer.field("zuora-gateway-attempts") == Some("2"));
    }
    assert!(repeated > 0, "no call met a closing connection: this test shows nothing");
}

#[tokio::test]
async fn a_refused_connection_is_a_502_and_nothing_was_executed() {
    let scene = Scene::of_one_attempt().await;
    scene.serves("a token, first").await;
    scene.upstream.play(Play::send(GOOD).and_close());
    scene.exchange("the last connection", get("/v1/a", "")).await;
    scene.upstream.refuse_connections();

    let answer = scene.exchange("refused", get("/v1/a", "")).await.answer;

    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(answer.field("zuora-gateway-error"), Some("upstream-unreachable"));
    assert_eq!(answer.field("zuora-gateway-executed"), Some("no"));
    assert_eq!(scene.queued_and_in_use(), (0, 0));
}

#[tokio::test]
async fn silence_is_a_504_that_tells_what_it_means() {
    let keys = ["timeouts: {response: 200ms}", "retry: {attempts: 1}"];
    let tenant = keys.map(str::to_owned).into();
    let scene = Scene::with(&Yaml { tenant, ..Yaml::default() }).await;
    let silence = Play::default().pause(Duration::from_millis(900)).and_close();

    let answer = tell(&scene, "nothing at all", silence, Failure(504)).await;
    assert_eq!(answer.field("zuora-gateway-error"), Some("upstream-timeout"));
    assert_eq!(answer.field("zuora-gateway-executed"), Some("maybe"));

    // Zuora may work on, whoever lost patience.
    scene.upstream.play(Play::default().pause(Duration::from_millis(600)).and_close());
    let answer = scene.exchange("a slow call", get("/v1/slow", "")).await.answer;
    assert_eq!(answer.status, 504);
    assert_eq!(scene.queued_and_in_use(), (0, 1), "the permit came back too early");
    soon("Zuora is done", || scene.queued_and_in_use() == (0, 0)).await;

    let half = Play::send("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nhalf");
    tell(&scene, "silence within a body", half.pause(Duration::from_millis(900)), Broken).await;

    // Slow is not silent.
    let mut drip = Play::send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..5 {
        drip = drip.then("1\r\nx\r\n").pause(Duration::from_millis(80));
    }
    tell(&scene, "a byte at a time", drip.then("0\r\n\r\n"), As(200, "xxxxx")).await;
}

#[tokio::test]
async fn an_early_answer_stops_the_upload_and_the_connection_is_not_used_again() {
    let scene = Scene::start().await;
    let body = "x".repeat(4 << 20);
    for status in ["413 Too Large", "401 Unauthorized", "200 OK"] {
        scene.upstream.forget();
        let early = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno");
        scene.upstream.play(Play::send(early).early().pause(Duration::from_millis(20)).and_close());
        let head = format!("Content-Length: {}\r\n", body.len() * 2);
        let answer = scene.exchange(status, post(&head, &body)).await.answer;

        assert_eq!(answer.status.to_string(), status[..3], "{answer:?}");
        assert_eq!(answer.body, b"no", "{status}");
        assert!(scene.upstream.received()[0].requests.is_empty(), "{status}");
        soon(status, || scene.upstream.received()[0].ended).await;
        soon(status, || scene.queued_and_in_use() == (0, 0)).await;
        scene.serves(status).await;
    }
}
