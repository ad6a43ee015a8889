//! What a request means: its host, target, method and fields, and what of them goes on.

use testkit::{Raw, SECRET, Yaml};

use super::attack::{HIDDEN, Scene, get, post, request};

#[tokio::test]
async fn one_valid_host_is_needed() {
    let scene = Scene::start().await;
    let bad =
        ["a b", "u@h", "h/x", "h, e", "h:8a", "[::1", "", "h\r\nHost: h", "h#f", "h?q", "h\\e"];
    for host in bad {
        let attack = get("/v1/accounts", "").replacen("gw", host, 1) + HIDDEN;
        scene.refuses(&format!("Host: {host:?}"), attack, &[400]).await;
    }
    let none = get("/v1/accounts", "").replacen("Host: gw\r\n", "", 1) + HIDDEN;
    scene.refuses("no Host", none, &[400]).await;
}

#[tokio::test]
async fn the_host_towards_zuora_is_always_the_configured_one() {
    let scene = Scene::start().await;
    let ours = scene.upstream.url().replacen("http://", "", 1);
    let asked = [
        ("origin form", "/v1/accounts?x=1", "gw"),
        ("absolute form", "http://gw/v1/accounts?x=1", "gw"),
        ("absolute form of somebody else", "http://169.254.169.254/v1/accounts?x=1", "gw"),
        ("absolute form, https", "https://evil.example/v1/accounts?x=1", "evil.example"),
        ("a foreign Host", "/v1/accounts?x=1", "evil.example"),
        ("a foreign Host with a port", "/v1/accounts?x=1", "evil.example:81"),
    ];
    for (name, target, host) in asked {
        let bytes = get(target, "").replacen("Host: gw", &format!("Host: {host}"), 1);
        let (answer, received) = scene.ask(name, bytes).await;

        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(received.line(), "GET /v1/accounts?x=1 HTTP/1.1", "{name}");
        assert_eq!(received.fields("host"), [ours.as_str()], "{name}");
    }
}

#[tokio::test]
async fn targets_and_methods_that_no_program_needs_are_refused() {
    let scene = Scene::start().await;
    let lines = [
        ("CONNECT", "evil:443"),
        ("CONNECT", "/v1/accounts"),
        ("TRACE", "/"),
        ("TRACE", "/v1/accounts"),
        ("GET", "*"),
        ("OPTIONS", "*"),
        ("GET", "http://gw@evil/v1"),
        ("GET", "http://u:p@gw/v1"),
        ("GET", "ftp://gw/v1"),
        ("GET", "file:///etc/passwd"),
        ("GET", "gw:80"),
        ("GET", "v1/accounts"),
        ("get", "/v1/accounts"),
        ("Get", "/v1/accounts"),
        ("PURGE", "/v1/accounts"),
        ("M-SEARCH", "/v1/accounts"),
        ("PRI", "*"),
    ];
    for (method, target) in lines {
        let attack = request(method, target, "", "");
        scene.turns_away(&format!("{method} {target}"), attack, &[400, 405, 501]).await;
    }
}

#[tokio::test]
async fn a_request_line_that_is_not_one_is_refused() {
    let scene = Scene::start().await;
    let lines: [&[u8]; 17] = [
        b"GET  /v1/accounts HTTP/1.1",
        b"GET /v1/accounts  HTTP/1.1",
        b"GET\t/v1/accounts HTTP/1.1",
        b"GET /v1/acc ounts HTTP/1.1",
        b"GET /v1/accounts",
        b"GET /v1/accounts HTTP/2.0",
        b"GET /v1/accounts HTTP/1.10",
        b"GET /v1/accounts HTTP/1.2",
        b"GET /v1/accounts HTTP/0.9",
        b"GET /v1/accounts http/1.1",
        b" GET /v1/accounts HTTP/1.1",
        b"G(T /v1/accounts HTTP/1.1",
        b"G\x00T /v1/accounts HTTP/1.1",
        b"/v1/accounts HTTP/1.1",
        b"GET /v1/\x00 HTTP/1.1",
        b"GET /v1/\x7f HTTP/1.1",
        b"GET /v1/\rX HTTP/1.1",
    ];
    for line in lines {
        let rest = get("/@", "");
        let rest = rest.split_once("HTTP/1.1").unwrap().1;
        let attack = [line, rest.as_bytes(), HIDDEN.as_bytes()].concat();
        let name = String::from_utf8_lossy(line).into_owned();
        scene.refuses(&name, attack, &[0, 400, 501, 505]).await;
    }
}

#[tokio::test]
async fn bytes_that_belong_in_no_head_are_refused() {
    let scene = Scene::start().await;
    let fields: [&[u8]; 10] = [
        b"X-A: a\rb",
        b"X-A: b\rX-Smuggled: 1",
        b"X-A: a\0b",
        b"X-A: a\x01b",
        b"X-A: a\x7fb",
        b"X-A: a\r\n b",
        b"X-A: a\r\n\tb",
        b"X A: b",
        b"X\xc3\xa9: b",
        b"X-A: b\r\r\nX-B: c",
    ];
    for field in fields {
        let before =
            format!("GET /v1/a HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {SECRET}\r\n");
        let attack = [before.as_bytes(), field, b"\r\n\r\n", HIDDEN.as_bytes()].concat();
        scene.refuses(&String::from_utf8_lossy(field), attack, &[400]).await;
    }
}

#[tokio::test]
async fn a_target_with_bytes_that_belong_in_none_is_refused() {
    let scene = Scene::start().await;
    for target in ["/v1/A\u{e9}", "/v1/A1\\..\\x", "/v1/%zz", "/v1/%", "/v1/a%2", "/v1/A%00"] {
        scene.turns_away(target, get(target, ""), &[400]).await;
    }
}

#[tokio::test]
async fn a_fragment_is_no_part_of_what_is_asked() {
    let scene = Scene::start().await;
    let (_, received) = scene.ask("a fragment", get("/v1/A1#/../x", "")).await;

    assert_eq!(received.line(), "GET /v1/A1 HTTP/1.1");
}

#[tokio::test]
async fn max_forwards_counts_down_and_ends_here() {
    let scene = Scene::start().await;
    let zero = request("OPTIONS", "/v1/accounts", "Max-Forwards: 0\r\n", "");
    scene.turns_away("Max-Forwards: 0", zero, &[200, 204]).await;

    let five = request("OPTIONS", "/v1/accounts", "Max-Forwards: 5\r\n", "");
    let (_, received) = scene.ask("Max-Forwards: 5", five).await;
    assert_eq!(received.fields("max-forwards"), ["4"]);

    for odd in ["99999999999999999999", "x", "-1"] {
        let odd = request("OPTIONS", "/v1/accounts", &format!("Max-Forwards: {odd}\r\n"), "");
        let (answer, _) = scene.ask("odd Max-Forwards", odd).await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn fields_of_one_connection_end_with_it() {
    let scene = Scene::start().await;
    let fields = "Connection: keep-alive, X-Hop , x-hop-two\r\nConnection: X-Hop-Three\r\n\
        X-Hop: 1\r\nX-Hop-Two: 2\r\nX-Hop-Three: 3\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X-T\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nProxy-Authorization: Basic eDp5\r\n\
        Proxy-Authenticate: x\r\nExpect: 200-maybe\r\nMax-Forwards: 3\r\n\
        X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\n\
        X-Original-URL: /v1/payments\r\nX-Rewrite-URL: /v1/payments\r\nX-End: 1\r\n";

    let (answer, received) = scene.ask("hop-by-hop", get("/v1/accounts", fields)).await;

    assert_eq!(answer.status, 200);
    let text = received.text();
    let left = text.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_lowercase()));
    let mut left: Vec<_> = left.collect();
    left.sort();
    assert_eq!(left, ["authorization", "host", "via", "x-end", "zuora-track-id"], "{text}");
}

#[tokio::test]
async fn connection_cannot_take_away_what_the_gateway_puts_in() {
    let scene = Scene::start().await;
    let named = "Authorization, Zuora-Track-Id, Content-Length, Host, Via";
    let fields = format!("Connection: close, {named}\r\nContent-Length: 7\r\n");
    scene.upstream.forget();

    let answer = scene.exchange(named, post(&fields, r#"{"a":1}"#)).await.answer;

    // Who asks to have its own credential taken away may be refused, but nothing else may come of it.
    assert!(matches!(answer.status, 200 | 400 | 401), "{answer:?}");
    let [received] = &scene.upstream.requests()[..] else { panic!("not one request: {answer:?}") };
    for field in ["authorization", "zuora-track-id", "content-length", "host", "via"] {
        assert_eq!(received.fields(field).len(), 1, "{field}: {}", received.text());
    }
    assert_eq!(received.body(), br#"{"a":1}"#);
    scene.serves(named).await;
}

const FIRST: &str = "2c92c0f8-3720-4b6c-9d57-0a1b2c3d4e5f";
const SECOND: &str = "402880e4-9d1f-4c39-8a11-5f6e7d8c9b0a";

#[tokio::test]
async fn the_entity_that_is_counted_is_the_entity_that_is_asked() {
    let entities = format!("entities: [{FIRST}, {SECOND}]");
    let yaml = Yaml { tenant: vec![entities], ..Yaml::default() };
    let scene = Scene::with(&yaml).await;
    let plain = SECOND.replace('-', "");

    let (_, received) =
        scene.ask("named", get("/v1/a", &format!("Zuora-Entity-Ids: {SECOND}\r\n"))).await;
    assert_eq!(received.fields("zuora-entity-ids"), [SECOND]);
    let (_, received) =
        scene.ask("the older way", get("/v1/a", &format!("entityId: {plain}\r\n"))).await;
    assert_eq!(received.fields("entityid"), [plain.as_str()]);

    let stranger = "deadbeef-0000-4000-8000-000000000000";
    let refused = [
        ("a stranger", format!("Zuora-Entity-Ids: {stranger}\r\n"), 403),
        ("a stranger, the older way", format!("entityId: {stranger}\r\n"), 403),
        ("by a name that nobody can count", "entityName: Elsewhere\r\n".to_owned(), 403),
        ("two", format!("Zuora-Entity-Ids: {FIRST}\r\nZuora-Entity-Ids: {SECOND}\r\n"), 400),
        ("both ways, two", format!("Zuora-Entity-Ids: {FIRST}\r\nentityId: {plain}\r\n"), 400),
        (
            "one that Connection takes away again",
            format!("Connection: Zuora-Entity-Ids\r\nZuora-Entity-Ids: {SECOND}\r\n"),
            400,
        ),
    ];
    for (name, fields, status) in refused {
        scene.turns_away(name, get("/v1/a", &fields), &[status]).await;
    }
}

#[tokio::test]
async fn an_upgrade_is_not_asked_for_and_hides_no_request() {
    let scene = Scene::start().await;
    let stranger = "GET /v1/stranger HTTP/1.1\r\nHost: gw\r\n\r\n";
    for upgrade in ["foo", "websocket", "h2c"] {
        let fields = format!("Connection: Upgrade\r\nUpgrade: {upgrade}\r\n");
        scene.upstream.forget();
        let first = scene.exchange(upgrade, get("/v1/a", &fields) + stranger).await;

        assert_eq!(first.answer.status, 200, "{upgrade}");
        let second = first.next(upgrade).await;
        assert_eq!(second.answer.status, 401, "{upgrade}");
        let requests = scene.upstream.requests();
        assert_eq!(requests.len(), 1, "{upgrade}");
        assert!(requests[0].fields("upgrade").is_empty(), "{upgrade}");
        assert!(requests[0].fields("connection").is_empty(), "{upgrade}");
    }
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_and_those_below_are_not() {
    let scene = Scene::start().await;
    let long = "x".repeat(70_000);
    let many: String = (0..2000).map(|n| format!("X-{n}: y\r\n")).collect();
    let beyond = [
        ("a target of 70 KB", get(&format!("/v1/{long}"), ""), [414, 431, 400]),
        ("a field of 70 KB", get("/v1/a", &format!("X-A: {long}\r\n")), [431, 431, 400]),
        ("2,000 fields", get("/v1/a", &many), [431, 431, 400]),
        ("a method of 9 KB", request(&"X".repeat(9000), "/v1/a", "", ""), [400, 405, 501]),
    ];
    for (name, bytes, statuses) in beyond {
        scene.upstream.forget();
        let answer = scene.exchange(name, bytes).await.answer;
        assert!(statuses.contains(&answer.status), "{name}: {answer:?}");
        assert_eq!(scene.upstream.received().len(), 0, "{name}");
        scene.serves(name).await;
    }

    let some: String = (0..90).map(|n| format!("X-{n}: y\r\n")).collect();
    let (answer, received) = scene.ask("90 fields", get("/v1/a", &some)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(received.fields("x-89"), ["y"]);
}

#[tokio::test]
async fn via_is_extended_and_our_own_name_in_it_is_a_loop() {
    let scene = Scene::start().await;
    let fields = "Via: 1.0 fred, 1.1 p.example\r\nVia: 1.1 other\r\n";
    let (answer, received) = scene.ask("via", get("/v1/a", fields)).await;
    assert_eq!(
        received.fields("via"),
        ["1.0 fred, 1.1 p.example", "1.1 other", "1.1 zuora-gateway"]
    );
    assert_eq!(answer.field("via"), Some("1.1 zuora-gateway"));

    for ours in ["1.1 zuora-gateway", "1.1 other, 1.1 zuora-gateway", "1.1 zuora-gateway, 1.0 x"] {
        let attack = get("/v1/a", &format!("Via: {ours}\r\n"));
        scene.turns_away(ours, attack, &[400, 508]).await;
    }
}

#[tokio::test]
async fn what_is_between_the_ends_arrives_as_it_was_sent() {
    let scene = Scene::start().await;
    let fields = [
        ("If-None-Match", "\"a\", W/\"b\""),
        ("Range", "bytes=0-9"),
        ("Idempotency-Key", "k-1"),
        ("Zuora-Version", "211.0"),
        ("Zuora-Org-Ids", "1, 2"),
        ("Accept-Encoding", "gzip;q=1.0, *;q=0"),
        ("X-Twice", "one"),
        ("X-Twice", "two"),
        ("User-Agent", "x/1 (y; z)"),
    ];
    let written: String =
        fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let body = "{ \"a\" : 0E-9,\r\n\t\"\u{e9}\":1 }";
    let framed = format!("{written}Content-Length: {}\r\n", body.len());

    let (_, received) = scene.ask("end to end", post(&framed, body)).await;

    for (name, _) in fields {
        let sent: Vec<_> =
            fields.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value).collect();
        assert_eq!(received.fields(name), sent, "{name}");
    }
    assert_eq!(received.body(), body.as_bytes());
    assert_eq!(received.fields("content-length"), [body.len().to_string()]);
}

#[tokio::test]
async fn where_the_time_went_is_told_in_the_form_of_server_timing() {
    let scene = Scene::start().await;
    let answers = [
        scene.ask("served", get("/v1/a", "")).await.0,
        scene.exchange("refused", "GET / HTTP/1.1\r\nHost: gw\r\n\r\n").await.answer,
    ];
    for answer in answers {
        let told = answer.field("server-timing").unwrap();
        let parts: Vec<_> =
            told.split(", ").map(|part| part.split_once(";dur=").unwrap()).collect();
        let names: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["queue", "token", "upstream", "gateway"], "{told}");
        assert!(parts.iter().all(|(_, millis)| millis.parse::<f64>().unwrap() < 1000.0), "{told}");
    }
}

#[tokio::test]
async fn http_1_0_is_served_in_its_own_words() {
    let scene = Scene::start().await;
    let old = get("/v1/a", "").replacen("HTTP/1.1", "HTTP/1.0", 1).replacen("Host: gw\r\n", "", 1);
    scene.upstream.play(super::upstream::Play::send(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
    ));
    let mut raw = Raw::connect(scene.address()).await;
    raw.write(old).await;

    let text = String::from_utf8(raw.rest().await).unwrap();

    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 ") || head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    assert_eq!(body, "abcdef");
    assert_eq!(scene.upstream.requests()[0].line(), "GET /v1/a HTTP/1.1");
}
