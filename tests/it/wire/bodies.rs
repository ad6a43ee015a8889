//! Bodies on their way: byte for byte, with bounded memory, and never asked for before there is room.

use std::time::Duration;

use testkit::{Raw, Yaml};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::attack::{Exchange, Scene, get, post, request, soon};
use super::upstream::{Play, find};

/// Bytes that repeat at no power of two, so that a chunk lost or swapped is seen.
fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in body.chunks(size) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

fn dechunked(mut framed: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = find(framed, b"\r\n").unwrap();
        let size =
            usize::from_str_radix(std::str::from_utf8(&framed[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&framed[line + 2..line + 2 + size]);
        framed = &framed[line + 2 + size + 2..];
    }
}

#[tokio::test]
async fn uploads_arrive_byte_for_byte() {
    let scene = Scene::start().await;
    for length in [0, 1, 1000, 1 << 20, (1 << 20) + 1, 10 << 20] {
        let body = noise(length);
        let name = format!("{length} bytes");

        let head = post(&format!("Content-Length: {length}\r\n"), "");
        let (answer, received) = scene.ask(&name, [head.as_bytes(), &body].concat()).await;
        assert_eq!(answer.status, 200, "{name}");
        assert!(received.body() == body, "{name}: it arrived changed");
        assert_eq!(received.fields("content-length"), [length.to_string()], "{name}");

        let head = post("Transfer-Encoding: chunked\r\n", "");
        let framed = chunked(&body, 77_777);
        let (answer, received) = scene.ask(&name, [head.as_bytes(), &framed].concat()).await;
        assert_eq!(answer.status, 200, "{name}, in chunks");
        let is_chunked = received.fields("transfer-encoding") == ["chunked"];
        let arrived =
            if is_chunked { dechunked(received.body()) } else { received.body().to_vec() };
        assert!(arrived == body, "{name}, in chunks: it arrived changed");
        let framings = received.fields("content-length").len() + usize::from(is_chunked);
        assert_eq!(framings, 1, "{name}, in chunks: {}", &received.text()[..200]);
    }
}

#[tokio::test]
async fn downloads_arrive_byte_for_byte() {
    let scene = Scene::start().await;
    for length in [0, 1, 65_536, 65_537, (1 << 20) + 1, 10 << 20] {
        let body = noise(length);
        let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        let in_chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        let to_the_end = b"HTTP/1.0 200 OK\r\n\r\n".to_vec();
        let plays = [
            Play::send([whole, body.clone()].concat()),
            Play::send([in_chunks, chunked(&body, 55_555)].concat()),
            Play::send([to_the_end, body.clone()].concat()).and_close(),
        ];
        for (kind, play) in plays.into_iter().enumerate() {
            scene.upstream.forget();
            scene.upstream.play(play);
            let answer = scene.exchange("download", get("/v1/files/1", "")).await.answer;
            assert_eq!(answer.status, 200);
            assert!(answer.body == body, "{length} bytes, kind {kind}: it arrived changed");
        }
    }
}

#[tokio::test]
async fn a_head_keeps_its_length_and_has_no_body() {
    let scene = Scene::start().await;
    let heads = [
        ("content-length: 12345\r\n", Some("content-length: 12345")),
        ("transfer-encoding: chunked\r\n", None),
        ("content-length: 0\r\n", Some("content-length: 0")),
        ("", None),
    ];
    for (fields, kept) in heads {
        scene.upstream.forget();
        scene.upstream.play(Play::send(format!("HTTP/1.1 200 OK\r\n{fields}etag: x\r\n\r\n")));
        let mut raw = Raw::connect(scene.address()).await;
        raw.write(request("HEAD", "/v1/files/1", "", "")).await;
        raw.write(get("/v1/behind", "Connection: close\r\n")).await;

        let text = String::from_utf8(raw.rest().await).unwrap();

        let (head, rest) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("etag: x"), "{fields}: {text}");
        assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"), "{fields}: {text}");
        let length = head.lines().find(|line| line.starts_with("content-length"));
        assert_eq!(length, kept, "{fields}: {text}");
        assert_eq!(
            scene.upstream.lines(),
            ["HEAD /v1/files/1 HTTP/1.1", "GET /v1/behind HTTP/1.1"]
        );
    }
}

#[tokio::test]
async fn a_write_without_a_body_says_so() {
    let scene = Scene::start().await;
    for method in ["POST", "PUT", "PATCH"] {
        for (fields, body) in
            [("Content-Length: 0\r\n", ""), ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n")]
        {
            let (_, received) = scene.ask(method, request(method, "/v1/a", fields, body)).await;
            assert_eq!(received.fields("content-length"), ["0"], "{method} {fields}");
        }
    }
    let (_, received) = scene.ask("GET", get("/v1/a", "")).await;
    assert!(received.fields("content-length").is_empty());
}

#[tokio::test]
async fn who_waits_for_a_100_gets_it_and_who_does_not_is_served_as_well() {
    let scene = Scene::start().await;
    for length in [7, 2 << 20] {
        let body = noise(length);
        let head = post(&format!("Content-Length: {length}\r\nExpect: 100-continue\r\n"), "");

        // Waiting.
        scene.upstream.forget();
        let mut raw = Raw::connect(scene.address()).await;
        raw.write(&head).await;
        assert_eq!(raw.next().await.status, 100, "{length}");
        raw.write(&body).await;
        let answer = raw.next().await;
        assert_eq!(answer.status, 200, "{length}: {answer:?}");
        assert!(scene.upstream.requests()[0].body() == body, "{length}");
        assert!(scene.upstream.requests()[0].fields("expect").is_empty());

        // Eager: the body comes along, and a 100 may or may not.
        let (answer, received) = scene.ask("eager", [head.as_bytes(), &body].concat()).await;
        assert_eq!(answer.status, 200, "{length}: {answer:?}");
        assert!(received.body() == body, "{length}");
    }
}

#[tokio::test]
async fn http_1_0_gets_no_100_and_other_expectations_are_nobodys() {
    let scene = Scene::start().await;
    let old = post("Content-Length: 7\r\nExpect: 100-continue\r\n", r#"{"a":1}"#);
    let mut raw = Raw::connect(scene.address()).await;
    raw.write(old.replacen("HTTP/1.1", "HTTP/1.0", 1)).await;
    assert_eq!(raw.next().await.status, 200);

    for odd in ["200-maybe", "y 100-continue", "100-continued", ""] {
        let bytes = post(&format!("Content-Length: 7\r\nExpect: {odd}\r\n"), r#"{"a":1}"#);
        let (answer, received) = scene.ask(odd, bytes).await;
        assert_eq!(answer.status, 200, "{odd}");
        assert!(received.fields("expect").is_empty(), "{odd}");
    }
}

#[tokio::test]
async fn a_refusal_comes_without_the_body_that_waits_for_a_100() {
    let yaml = Yaml { app: vec!["allow: [\"GET /**\"]".into()], ..Yaml::default() };
    let scene = Scene::with(&yaml).await;
    let head = post("Content-Length: 4000000\r\nExpect: 100-continue\r\n", "");
    let stranger = head.replace("Bearer ", "Bearer x");
    for (name, head, status) in [("forbidden", head, 403), ("a stranger", stranger, 401)] {
        let mut raw = Raw::connect(scene.address()).await;
        raw.write(head).await;

        let answer = raw.next().await;

        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{name}");
        assert!(raw.is_closed().await, "{name}");
        scene.serves(name).await;
    }
}

#[tokio::test]
async fn a_100_comes_no_earlier_than_there_is_room_for_a_long_body() {
    let yaml = Yaml {
        tenant: vec!["concurrency: {headroom: 0, limits: {Default: 1}}".into()],
        ..Yaml::default()
    };
    let scene = Scene::with(&yaml).await;
    scene.serves("a token, first").await;
    scene.upstream.play(
        Play::default()
            .pause(Duration::from_millis(300))
            .then("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    );
    let mut first = Raw::connect(scene.address()).await;
    first.write(get("/v1/slow", "")).await;
    soon("the permit is out", || scene.queued_and_in_use() == (0, 1)).await;

    let length = 2 << 20;
    let mut raw = Raw::connect(scene.address()).await;
    let fields = format!("Content-Length: {length}\r\nExpect: 100-continue\r\n");
    raw.write(request("POST", "/v1/waiting", &fields, "")).await;
    let early = timeout(Duration::from_millis(100), raw.next()).await;
    assert!(early.is_err(), "{early:?} while the only permit is out");
    assert_eq!(scene.queued_and_in_use(), (1, 1));
    assert_eq!(first.answer().await.status, 200);

    assert_eq!(raw.next().await.status, 100);
    raw.write(noise(length)).await;
    assert_eq!(raw.answer().await.status, 200);
}

#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_body_reaches_who_is_still_sending() {
    let scene = Scene::start().await;
    // Longer than what sockets hold, so that the caller is stuck unless somebody reads.
    let long = "x".repeat(900_000);
    let strange = |fields: &str| post(fields, "").replace("Bearer ", "Bearer x");
    let length = format!("Content-Length: {}\r\n", long.len());
    let in_chunks = chunked(long.as_bytes(), 50_000);

    // One that is known to be short enough to be read to its end: the connection goes on.
    let mut raw = Raw::connect(scene.address()).await;
    raw.write([strange(&length).as_bytes(), long.as_bytes()].concat()).await;
    raw.write(get("/v1/behind", "")).await;
    let first = Exchange::read("401 to a long body", raw).await;
    assert_eq!(first.answer.status, 401);
    assert_eq!(first.next("behind it").await.answer.status, 200);

    // Chunks may never end, so the connection does; but not under a caller who is still sending.
    let head = strange("Transfer-Encoding: chunked\r\n");
    let exchange = scene.exchange("401 to chunks", [head.as_bytes(), &in_chunks].concat()).await;
    assert_eq!(exchange.answer.status, 401);
    assert_eq!(exchange.answer.field("connection"), Some("close"));
    exchange.ends_with_it("401 to chunks").await;
    assert_eq!(scene.upstream.lines(), ["GET /v1/behind HTTP/1.1"]);
}

#[tokio::test]
async fn nobody_reads_for_ever_what_nobody_wants() {
    let scene = Scene::start().await;
    let head = post("Content-Length: 900000000\r\n", "").replace("Bearer ", "Bearer x");
    let mut caller = TcpStream::connect(scene.address()).await.unwrap();
    caller.write_all(head.as_bytes()).await.unwrap();
    let block = vec![b'x'; 1 << 18];
    let mut taken = 0;

    let sending = async {
        while caller.write_all(&block).await.is_ok() && taken < 100 << 20 {
            taken += block.len();
        }
    };
    timeout(Duration::from_secs(8), sending).await.unwrap();

    // What is read and thrown away, and what the sockets hold.
    assert!(taken < 40 << 20, "{taken} bytes were taken");
    scene.serves("a flood").await;
}

#[tokio::test]
async fn a_body_that_arrives_slowly_holds_no_permit() {
    let yaml = Yaml {
        tenant: vec!["concurrency: {headroom: 0, limits: {Default: 1}}".into()],
        ..Yaml::default()
    };
    let scene = Scene::with(&yaml).await;
    let mut slow = Raw::connect(scene.address()).await;
    slow.write(post("Content-Length: 1000000\r\n", "{\"a\":")).await;
    for _ in 0..10 {
        sleep(Duration::from_millis(5)).await;
        slow.write(" ").await;
        assert_eq!(scene.queued_and_in_use(), (0, 0));
    }
    scene.serves("a slow body").await;
    drop(slow);
    soon("nothing is left of it", || {
        scene.house.gateway.admissions()[0].1.snapshot().kept_bytes == 0
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_reads_slowly_holds_no_permit() {
    let yaml = Yaml {
        tenant: vec!["concurrency: {headroom: 0, limits: {Default: 1}}".into()],
        ..Yaml::default()
    };
    let scene = Scene::with(&yaml).await;
    scene.serves("a token, first").await;
    let body = noise(1 << 20);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    scene.upstream.play(Play::send([head.as_bytes(), &body].concat()));
    let mut raw = Raw::connect(scene.address()).await;
    raw.write(get("/v1/files/1", "")).await;

    // Nothing is read from this connection yet.
    soon("the answer was asked for", || scene.upstream.requests().len() == 2).await;
    soon("the permit is back", || scene.queued_and_in_use() == (0, 0)).await;
    scene.serves("a slow reader").await;

    assert!(raw.answer().await.body == body, "it arrived changed");
}
