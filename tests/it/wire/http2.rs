//! The same promises over HTTP/2, and what only HTTP/2 makes possible.

use std::time::Duration;

use testkit::{SECRET, Yaml};

use super::attack::{HIDDEN, Scene, soon};
use super::frames::{
    CONTINUATION, Fields, Outcome, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, Wire,
    block, frame,
};
use super::upstream::Play;

const BEARER: &str = "Bearer the-secret-of-the-app";

/// A good request, with `fields` instead of or beside its own: a pseudo-header that is given is not there twice.
fn ask<'a>(method: &'a str, path: &'a str, fields: &[(&'a str, &'a str)]) -> Fields<'a> {
    let mut all = vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "gw"),
        (":path", path),
        ("authorization", BEARER),
    ];
    all.extend_from_slice(fields);
    all
}

impl Scene {
    /// What becomes of one request without a body.
    async fn outcome(&self, fields: &Fields<'_>) -> Outcome {
        let mut wire = Wire::connect(self.address()).await;
        wire.head(1, fields, true).await;
        wire.outcome(1).await
    }

    /// The request is refused, and the tenant hears nothing of it.
    async fn refuses_h2(&self, name: &str, fields: &Fields<'_>) {
        self.upstream.forget();
        let outcome = self.outcome(fields).await;
        assert!(outcome.is_refusal(), "{name}: {outcome:?}");
        assert_eq!(self.upstream.received().len(), 0, "{name}");
        self.serves_h2(name).await;
    }

    async fn serves_h2(&self, name: &str) {
        self.upstream.forget();
        let outcome = self.outcome(&ask("GET", "/v1/next", &[])).await;
        assert_eq!(outcome, Outcome::Answered(200), "the caller after `{name}`");
        assert_eq!(self.upstream.lines(), ["GET /v1/next HTTP/1.1"], "the caller after `{name}`");
    }
}

#[tokio::test]
async fn an_h2_call_reaches_zuora_as_an_h1_call() {
    let scene = Scene::start().await;
    assert_eq!(SECRET, BEARER.trim_start_matches("Bearer "));
    let fields = ask(
        "POST",
        "/v1/a%2Fb?x=/../y",
        &[("te", "trailers"), ("x-end", "1"), ("cookie", "a=1"), ("cookie", "b=2")],
    );
    let mut wire = Wire::connect(scene.address()).await;
    wire.head(1, &fields, false).await;
    wire.data(1, b"{\"a\":", false).await;
    wire.data(1, b"1}", true).await;

    assert_eq!(wire.outcome(1).await, Outcome::Answered(200));

    let received = scene.upstream.requests().remove(0);
    assert_eq!(received.line(), "POST /v1/a%2Fb?x=/../y HTTP/1.1");
    assert_eq!(received.fields("host"), [scene.upstream.url().replacen("http://", "", 1)]);
    assert_eq!(received.fields("x-end"), ["1"]);
    assert!(received.fields("te").is_empty());
    // Sessions are ours to give: no cookie of an app reaches Zuora, in crumbs or whole.
    assert!(received.fields("cookie").is_empty());
    assert_eq!(received.body(), br#"{"a":1}"#);
    assert_eq!(received.fields("content-length"), ["7"]);
}

#[tokio::test]
async fn fields_of_http_1_connections_have_no_place_in_h2() {
    let scene = Scene::start().await;
    let fields = [
        ("connection", "close"),
        ("connection", "x-hop"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "gzip, chunked"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
    ];
    for field in fields {
        scene.refuses_h2(&format!("{field:?}"), &ask("GET", "/v1/a", &[field])).await;
    }
}

#[tokio::test]
async fn pseudo_headers_are_there_once_and_first() {
    let scene = Scene::start().await;
    let without = |name: &str| -> Fields<'_> {
        ask("GET", "/v1/a", &[]).into_iter().filter(|(it, _)| *it != name).collect()
    };
    for name in [":method", ":scheme", ":path", ":authority"] {
        scene.refuses_h2(&format!("no {name}"), &without(name)).await;
    }
    let twice = [(":method", "GET"), (":path", "/v1/b"), (":scheme", "http"), (":authority", "gw")];
    for field in twice {
        let mut fields = ask("GET", "/v1/a", &[]);
        fields.insert(0, field);
        scene.refuses_h2(&format!("{field:?} twice"), &fields).await;
    }
    for field in [(":unknown", "x"), (":status", "200"), (":protocol", "websocket"), (":", "x")] {
        let mut fields = ask("GET", "/v1/a", &[]);
        fields.insert(0, field);
        scene.refuses_h2(&format!("{field:?}"), &fields).await;
    }
    let mut late = without(":path");
    late.push((":path", "/v1/a"));
    scene.refuses_h2("one behind a field", &late).await;
}

#[tokio::test]
async fn what_stands_behind_a_body_changes_nothing() {
    let scene = Scene::start().await;
    let trailers: [Fields<'_>; 4] = [
        vec![("authorization", "evil"), ("content-length", "99"), ("host", "evil")],
        // The server's HTTP/2 drops these unseen, where RFC 9113 8.1 would have the stream reset.
        vec![(":path", "/v1/evil")],
        vec![(":method", "EVIL")],
        vec![(":authority", "evil")],
    ];
    for fields in trailers {
        scene.upstream.forget();
        let mut wire = Wire::connect(scene.address()).await;
        wire.head(1, &ask("POST", "/v1/a", &[]), false).await;
        wire.data(1, b"{}", false).await;
        wire.trailers(1, &fields).await;

        assert_eq!(wire.outcome(1).await, Outcome::Answered(200), "{fields:?}");
        let received = scene.upstream.requests().remove(0);
        assert!(!received.text().to_lowercase().contains("evil"), "{}", received.text());
        assert_eq!(received.line(), "POST /v1/a HTTP/1.1");
        assert_eq!(received.body(), b"{}");
    }
}

#[tokio::test]
async fn no_byte_of_h2_becomes_a_line_of_h1() {
    let scene = Scene::start().await;
    let evil = "x\r\nx-smuggled: 1";
    let hidden = format!("x\r\n\r\n{HIDDEN}");
    let names = [evil, "x y", "x:y", "X-Upper", "", "x\0", "x\u{e9}", "x\ny", "x\ty", "x\x7f"];
    for name in names {
        scene.refuses_h2(&format!("name {name:?}"), &ask("GET", "/v1/a", &[(name, "v")])).await;
    }
    for value in [evil, &hidden, "a\rb", "a\nb", "a\0b", "\r\n", "a\x7fb"] {
        scene
            .refuses_h2(&format!("value {value:?}"), &ask("GET", "/v1/a", &[("x-a", value)]))
            .await;
    }
    let requests = [
        ("/v1/a HTTP/1.1\r\nx-smuggled: 1\r\nx:", "GET", "gw", "http"),
        ("/v1/a b", "GET", "gw", "http"),
        ("/v1/a\0", "GET", "gw", "http"),
        ("/v1/a\t", "GET", "gw", "http"),
        ("/v1/a", "GET /v1/evil HTTP/1.1\r\nx: y\r\n\r\nGET", "gw", "http"),
        ("/v1/a", "GE T", "gw", "http"),
        ("/v1/a", "get", "gw", "http"),
        ("/v1/a", "", "gw", "http"),
        ("/v1/a", "GET", "gw\r\nx-smuggled: 1", "http"),
        ("/v1/a", "GET", "g w", "http"),
        ("/v1/a", "GET", "", "http"),
        ("/v1/a", "GET", "u@gw", "http"),
        ("/v1/a", "GET", "gw/v1/evil?", "http"),
        ("/v1/a", "GET", "gw", "http\r\nx-smuggled: 1"),
        ("/v1/a", "GET", "gw", "ftp"),
        ("/v1/a", "GET", "gw", ""),
    ];
    for (path, method, authority, scheme) in requests {
        let fields = vec![
            (":method", method),
            (":scheme", scheme),
            (":authority", authority),
            (":path", path),
            ("authorization", BEARER),
        ];
        scene.refuses_h2(&format!("{method:?} {scheme:?} {authority:?} {path:?}"), &fields).await;
    }
}

#[tokio::test]
async fn a_length_that_is_not_the_length_of_the_data_is_never_a_whole_request() {
    let flowing = Yaml { tenant: vec!["retry: {replay_buffer: 0B}".into()], ..Yaml::default() };
    for yaml in [Yaml::default(), flowing] {
        let scene = Scene::with(&yaml).await;
        for (length, data) in
            [("50", "{}"), ("1", "{}"), ("0", HIDDEN), ("+2", "{}"), ("2, 2", "{}"), ("x", "{}")]
        {
            scene.upstream.forget();
            let mut wire = Wire::connect(scene.address()).await;
            wire.head(1, &ask("POST", "/v1/a", &[("content-length", length)]), false).await;
            wire.data(1, data.as_bytes(), true).await;
            let outcome = wire.outcome(1).await;
            assert!(outcome.is_refusal(), "{length}: {outcome:?}");
            soon(length, || scene.upstream.received().iter().all(|it| it.ended)).await;
            assert_eq!(scene.upstream.requests(), [], "{length}");
            scene.serves_h2(length).await;
        }
        let twice = [("content-length", "2"), ("content-length", "3")];
        scene.refuses_h2("two lengths", &ask("GET", "/v1/a", &twice)).await;
    }
}

#[tokio::test]
async fn there_is_one_authority() {
    let scene = Scene::start().await;
    scene.refuses_h2("another host", &ask("GET", "/v1/a", &[("host", "evil")])).await;
    let two = [("host", "gw"), ("host", "gw")];
    scene.refuses_h2("two hosts", &ask("GET", "/v1/a", &two)).await;
    let same = ask("GET", "/v1/a", &[("host", "gw")]);
    assert_eq!(scene.outcome(&same).await, Outcome::Answered(200));
}

#[tokio::test]
async fn targets_are_judged_as_over_http_1() {
    let allow = r#"allow: ["GET /v1/accounts/**", "GET /v1/next"]"#;
    let scene = Scene::with(&Yaml { app: vec![allow.into()], ..Yaml::default() }).await;
    let paths = [
        "http://gw/v1/payments",
        "v1/accounts/x",
        "*",
        "",
        "//gw/v1/payments",
        "/v1/accounts/../payments",
        "/v1/accounts/%2e%2e/payments",
        "/v1/accounts/%2e%2e%2fpayments",
        "/v1/accounts/..;/payments",
        "/v1/accounts/%252e%252e/payments",
        "/v1/accounts/a\\..\\b",
        "/v1/accounts/\u{e9}",
        "/v1/payments",
    ];
    for path in paths {
        scene.refuses_h2(path, &ask("GET", path, &[])).await;
    }
    let tunnels: [Fields<'_>; 3] = [
        vec![(":method", "CONNECT"), (":authority", "evil:443"), ("authorization", BEARER)],
        ask("CONNECT", "/v1/accounts/x", &[]),
        ask("CONNECT", "/v1/accounts/x", &[])
            .into_iter()
            .chain([(":protocol", "websocket")])
            .collect(),
    ];
    for fields in tunnels {
        scene.refuses_h2("CONNECT", &fields).await;
    }
    scene.refuses_h2("TRACE", &ask("TRACE", "/v1/accounts/x", &[])).await;
    scene
        .refuses_h2("a stranger", &ask("GET", "/v1/accounts/x", &[("authorization", BEARER)]))
        .await;
}

/// A tenant with one permit, which has issued its token, and answers the next `answers` calls after a while each.
async fn one_slow_permit(answers: u32) -> Scene {
    let one = "concurrency: {headroom: 0, limits: {Default: 1}}".to_owned();
    let scene = Scene::with(&Yaml { tenant: vec![one], ..Yaml::default() }).await;
    scene.serves("a token, first").await;
    scene.upstream.forget();
    for _ in 0..answers {
        let slow = Play::default().pause(Duration::from_millis(150));
        scene.upstream.play(slow.then("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    }
    scene
}

#[tokio::test]
async fn streams_that_are_reset_while_they_wait_never_go_upstream() {
    let scene = one_slow_permit(50).await;
    let request = block(&ask("GET", "/v1/reset", &[]));
    // In batches, so that the gateway sees streams before it sees their end, and all at once.
    for batch in [10, 2000] {
        let mut wire = Wire::connect(scene.address()).await;
        let streams = (0..batch).map(|n: u32| 2 * n + 1);
        if batch == 10 {
            for stream in streams {
                wire.frame(1, 5, stream, &request).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
                wire.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await;
            }
        } else {
            let flood: Vec<u8> = streams
                .flat_map(|stream| {
                    [
                        frame(1, 5, stream, &request),
                        frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
                    ]
                    .concat()
                })
                .collect();
            wire.write(&flood).await;
        }
        soon("nobody waits", || scene.queued_and_in_use().0 == 0).await;
    }

    soon("all is over", || scene.queued_and_in_use() == (0, 0)).await;

    // One had its turn in each batch, perhaps two; none of those that waited.
    let sent = scene.upstream.requests().len();
    assert!(sent <= 4, "{sent} of 2010 streams that were reset went upstream");
    scene.upstream.forget();
    scene.serves_h2("rapid reset").await;
}

#[tokio::test]
async fn streams_that_are_made_to_be_reset_never_go_upstream() {
    let scene = one_slow_permit(20).await;
    let request = block(&ask("GET", "/v1/reset", &[]));
    let flood: Vec<u8> = (0..500_u32)
        .map(|n| 2 * n + 1)
        .flat_map(|stream| {
            [frame(1, 5, stream, &request), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
        })
        .collect();

    let mut wire = Wire::connect(scene.address()).await;
    wire.write(&flood).await;

    soon("the queue is empty", || scene.queued_and_in_use() == (0, 0)).await;
    let sent = scene.upstream.requests().len();
    assert!(sent <= 4, "{sent} of 500 streams went upstream");
    scene.upstream.forget();
    scene.serves_h2("made to reset").await;
}

#[tokio::test]
async fn floods_of_frames_end_or_hold_nobody_up() {
    let scene = Scene::start().await;
    let many = |one: Vec<u8>, times: usize| one.repeat(times);
    let request = block(&ask("GET", "/v1/flood", &[]));
    let open = frame(1, 0, 1, &request);
    let big = "x".repeat(100_000);
    let list = block(&ask("GET", "/v1/flood", &[("x-big", &big)]));
    let in_parts: Vec<u8> = list
        .chunks(16_000)
        .enumerate()
        .flat_map(|(n, part)| {
            let is_last = (n + 1) * 16_000 >= list.len();
            frame(
                if n == 0 { 1 } else { CONTINUATION },
                u8::from(n == 0) | if is_last { 4 } else { 0 },
                1,
                part,
            )
        })
        .collect();
    let floods = [
        (
            "4 MB of CONTINUATION",
            [open.clone(), many(frame(CONTINUATION, 0, 1, &[0; 16_000]), 260)].concat(),
        ),
        ("empty CONTINUATION", [open, many(frame(CONTINUATION, 0, 1, &[]), 10_000)].concat()),
        ("a header list of 100 KB", in_parts),
        ("SETTINGS", many(frame(SETTINGS, 0, 0, &[]), 20_000)),
        ("PING", many(frame(PING, 0, 0, &[0; 8]), 20_000)),
        ("PRIORITY", many(frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]), 20_000)),
        (
            "empty DATA",
            [
                frame(1, 4, 1, &block(&ask("POST", "/v1/flood", &[]))),
                many(frame(0, 0, 1, &[]), 20_000),
            ]
            .concat(),
        ),
    ];
    for (name, bytes) in floods {
        scene.upstream.forget();
        let mut wire = Wire::connect(scene.address()).await;
        wire.write(&bytes).await;

        // The flood is still there, and never reads.
        scene.serves_h2(name).await;
        assert!(scene.upstream.requests().iter().all(|it| !it.text().contains("flood")), "{name}");
        drop(wire);
        soon(name, || scene.queued_and_in_use() == (0, 0)).await;
    }
}

#[tokio::test]
async fn a_table_bomb_is_refused() {
    let scene = Scene::start().await;
    // One entry of 3.9 KB into the table, then a thousand references of one byte each.
    let mut bomb = block(&ask("GET", "/v1/bomb", &[]));
    let value = "x".repeat(3_900);
    let mut entry = block(&vec![("x-b", value.as_str())]);
    entry[0] = 0x40;
    bomb.extend_from_slice(&entry);
    bomb.extend_from_slice(&[0xbe; 10_000]);
    let mut wire = Wire::connect(scene.address()).await;
    wire.frame(1, 5, 1, &bomb).await;

    let outcome = wire.outcome(1).await;

    assert!(outcome.is_refusal(), "{outcome:?}");
    assert!(scene.upstream.requests().is_empty());
    scene.serves_h2("a bomb").await;
}

#[tokio::test]
async fn callers_that_open_no_window_hold_no_permit() {
    let yaml = Yaml {
        tenant: vec!["concurrency: {headroom: 0, limits: {Default: 2}}".into()],
        ..Yaml::default()
    };
    let scene = Scene::with(&yaml).await;
    // SETTINGS_INITIAL_WINDOW_SIZE of zero: no byte of any answer may be sent.
    let mut wire = Wire::with_settings(scene.address(), &[(4, 0)]).await;
    for stream in 0..100 {
        wire.head(2 * stream + 1, &ask("GET", "/v1/closed", &[]), true).await;
    }

    soon("all were answered by Zuora", || scene.upstream.requests().len() == 100).await;
    soon("no permit is out", || scene.queued_and_in_use() == (0, 0)).await;
    scene.serves_h2("no window").await;
}
