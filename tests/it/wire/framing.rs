//! Where a request ends: whatever can be read in two ways is refused, and the connection with it.

use testkit::{Raw, Yaml};

use super::attack::{Exchange, HIDDEN, Scene, get, post, request, soon};
use super::upstream::find;

const BODY: &str = "7\r\n{\"a\":1}\r\n0\r\n\r\n";

#[tokio::test]
async fn a_length_beside_an_encoding_is_not_believed_and_ends_the_connection() {
    let scene = Scene::start().await;
    let orders = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ];
    for fields in orders {
        scene.upstream.forget();
        let attack = post(fields, BODY) + HIDDEN;
        let exchange = scene.exchange(fields, attack).await;
        assert!(matches!(exchange.answer.status, 200 | 400), "{:?}", exchange.answer);
        exchange.ends_with_it(fields).await;

        let requests = scene.upstream.requests();
        assert_eq!(requests.len(), 1, "{fields}: {requests:?}");
        assert_eq!(requests[0].body(), br#"{"a":1}"#);
        assert_eq!(requests[0].fields("content-length"), ["7"]);
        assert!(requests[0].fields("transfer-encoding").is_empty());
        scene.serves(fields).await;
    }
}

#[tokio::test]
async fn an_encoding_in_http_1_0_is_refused() {
    let scene = Scene::start().await;
    let fields = "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n";
    let attack = post(fields, BODY).replacen("HTTP/1.1", "HTTP/1.0", 1) + HIDDEN;

    scene.refuses("chunked in HTTP/1.0", attack, &[400]).await;
}

#[tokio::test]
async fn lengths_that_differ_repeat_or_are_no_number_are_refused() {
    let scene = Scene::start().await;
    let two = ["0\r\nContent-Length: 73", "73\r\nContent-Length: 0", "7\r\nContent-Length: 8"];
    let one = [
        "7, 7",
        "+7",
        "-7",
        "0x7",
        "0_7",
        "0 7",
        "",
        "7.0",
        "7;a",
        "-0",
        "18446744073709551623",
        "7,",
        ",7",
        "\u{b}7",
        "٧",
    ];
    for length in two.into_iter().chain(one) {
        let attack = post(&format!("Content-Length: {length}\r\n"), r#"{"a":1}"#) + HIDDEN;
        scene.refuses(&format!("Content-Length: {length:?}"), attack, &[400]).await;
    }
}

#[tokio::test]
async fn the_same_length_twice_is_one_length() {
    let scene = Scene::start().await;
    let twice = post("Content-Length: 7\r\nContent-Length: 7\r\n", r#"{"a":1}"#);

    let (answer, received) = scene.ask("7 twice", twice).await;

    assert_eq!(answer.status, 200);
    assert_eq!(received.fields("content-length"), ["7"]);
    assert_eq!(received.body(), br#"{"a":1}"#);
}

#[tokio::test]
async fn no_encoding_but_chunked_is_taken() {
    let scene = Scene::start().await;
    let encodings: [&[u8]; 17] = [
        b"xchunked",
        b"identity",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked, chunked",
        b",chunked",
        b"chunked,",
        b"chunked;q=1",
        b"\"chunked\"",
        b"\x0bchunked",
        b"chunked\0",
        b"\xa0chunked",
        b"",
        b"chunked\r\nTransfer-Encoding: chunked",
        b"chunked\r\nTransfer-Encoding: identity",
        b"identity\r\nTransfer-Encoding: chunked",
        b"chunked\r\nContent-Length: 3\r\nTransfer-Encoding: x",
    ];
    for encoding in encodings {
        let fields = [b"Transfer-Encoding: ", encoding, b"\r\n"].concat();
        let whole = post("@", BODY) + HIDDEN;
        let (before, after) = whole.split_once('@').unwrap();
        let attack = [before.as_bytes(), &fields, after.as_bytes()].concat();
        let name = String::from_utf8_lossy(encoding).into_owned();
        scene.refuses(&name, attack, &[400, 501]).await;
    }
}

#[tokio::test]
async fn fields_that_are_not_quite_fields_are_refused() {
    let scene = Scene::start().await;
    let fields = [
        "Transfer-Encoding : chunked\r\n",
        "Content-Length : 7\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X-A: b\r\n c\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Tran\u{17f}fer-Encoding: chunked\r\n",
        "\u{1}Content-Length: 7\r\n",
        ": chunked\r\n",
        "Transfer-Encoding\r\n",
    ];
    for field in fields {
        scene.refuses(field, post(field, BODY) + HIDDEN, &[400]).await;
    }
}

#[tokio::test]
async fn a_line_that_ends_in_lf_is_one_line_and_goes_on_as_one() {
    let scene = Scene::start().await;
    // RFC 9112 2.2 lets a server take them, and ours does. Nobody behind it sees anything but CR LF.
    let asked = get("/v1/accounts", "X-A: b\nX-B: c\r\n").replacen("gw\r\n", "gw\n", 1);

    let (answer, received) = scene.ask("LF", asked).await;

    assert_eq!(answer.status, 200);
    assert_eq!([received.fields("x-a"), received.fields("x-b")], [["b"], ["c"]]);
    assert!(!received.text().replace("\r\n", "").contains(['\r', '\n']), "{received:?}");
}

#[tokio::test]
async fn names_that_others_take_for_framing_go_no_further() {
    let scene = Scene::start().await;
    for name in ["Transfer_Encoding: chunked", "Content_Length: 99"] {
        let (answer, received) =
            scene.ask(name, post(&format!("Content-Length: 7\r\n{name}\r\n"), r#"{"a":1}"#)).await;
        assert_eq!(answer.status, 200, "{name}");
        let field = name.split(':').next().unwrap();
        assert!(received.fields(field).is_empty(), "{name}: {}", received.text());
    }
}

/// Chunks that no strict reader accepts, by name.
fn bad_chunks() -> Vec<(String, String)> {
    let sizes = ["0x7", "+7", "-7", "0_7", "7these", "Z", "", "10000000000000007", " 7"];
    let mut bad: Vec<_> = sizes
        .iter()
        .map(|size| (format!("size {size:?}"), format!("{size}\r\n{{\"a\":1}}\r\n0\r\n\r\n")))
        .collect();
    let others = [
        ("a size line that ends in LF", "7\n{\"a\":1}\r\n0\r\n\r\n"),
        ("an extension that ends in LF", "7;x\n{\"a\":1}\r\n0\r\n\r\n"),
        ("CR in an extension", "7;a\rb\r\n{\"a\":1}\r\n0\r\n\r\n"),
        ("CR CR", "7\r\r;a\r\n{\"a\":1}\r\n0\r\n\r\n"),
        ("data that ends in LF", "7\r\n{\"a\":1}\n0\r\n\r\n"),
        ("a chunk that is longer than it says", "3\r\n{\"a\":1}\r\n0\r\n\r\n"),
        ("a chunk that is shorter than it says", "7\r\n{\"a\":1}XX\r\n0\r\n\r\n"),
        ("a last chunk that ends in LF", "7\r\n{\"a\":1}\r\n0\n\n"),
    ];
    bad.extend(others.map(|(name, body)| (name.to_owned(), body.to_owned())));
    bad.push(("an extension of 64 KiB".to_owned(), format!("7;{}\r\n", "x".repeat(65536))));
    let many = "1;0123456789012345678901234567890123456789\r\nx\r\n".repeat(1500);
    bad.push(("1,500 extensions".to_owned(), many));
    let trailer = format!("7\r\n{{\"a\":1}}\r\n0\r\nX-T: {}\r\n\r\n", "x".repeat(65536));
    bad.push(("a trailer of 64 KiB".to_owned(), trailer));
    bad
}

#[tokio::test]
async fn bad_chunks_are_refused() {
    let scene = Scene::start().await;
    for (name, body) in bad_chunks() {
        let attack = post("Transfer-Encoding: chunked\r\n", &body) + HIDDEN;
        scene.refuses(&name, attack, &[400, 413, 431]).await;
    }
}

#[tokio::test]
async fn bad_chunks_in_a_body_that_flows_abort_the_request_at_zuora() {
    let yaml = Yaml { tenant: vec!["retry: {replay_buffer: 10B}".into()], ..Yaml::default() };
    let scene = Scene::with(&yaml).await;
    let good = "14\r\n01234567890123456789\r\n";
    for (name, body) in bad_chunks() {
        scene.upstream.forget();
        let mut raw = Raw::connect(scene.address()).await;
        raw.write(post("Transfer-Encoding: chunked\r\n", good)).await;
        soon(&name, || !scene.upstream.received().is_empty()).await;
        raw.write(body + HIDDEN).await;

        let exchange = Exchange::read(&name, raw).await;

        assert!(matches!(exchange.answer.status, 400 | 413 | 431), "{name}: {:?}", exchange.answer);
        assert_eq!(exchange.answer.field("zuora-gateway-executed"), Some("no"), "{name}");
        exchange.ends_with_it(&name).await;
        soon(&name, || scene.upstream.received().iter().all(|it| it.ended)).await;
        let received = scene.upstream.received();
        assert!(received[0].requests.is_empty(), "{name}: {received:?}");
        assert!(find(&received[0].unfinished, b"\r\n0\r\n").is_none(), "{name}: {received:?}");
        scene.serves(&name).await;
    }
}

#[tokio::test]
async fn trailers_end_here() {
    let scene = Scene::start().await;
    let trailers = "Authorization: Bearer evil\r\nContent-Length: 99\r\nHost: evil\r\nZuora-Track-Id: evil\r\n";
    let body = format!("7\r\n{{\"a\":1}}\r\n0\r\n{trailers}\r\n");
    let fields = "Transfer-Encoding: chunked\r\nTrailer: Zuora-Track-Id\r\n";

    let (answer, received) = scene.ask("trailers", post(fields, &body)).await;

    assert_eq!(answer.status, 200);
    assert!(!received.text().contains("evil"), "{}", received.text());
    assert!(received.fields("trailer").is_empty());
    assert_eq!(received.body(), br#"{"a":1}"#);
}

#[tokio::test]
async fn the_body_of_a_read_stays_a_body() {
    let scene = Scene::start().await;
    for method in ["GET", "OPTIONS", "DELETE", "HEAD"] {
        let fields = format!("Content-Length: {}\r\n", HIDDEN.len());
        let attack = request(method, "/v1/accounts", &fields, HIDDEN);
        let (answer, received) = match method {
            // The usual answer has a body, which a HEAD must not have; only what was received counts here.
            "HEAD" => {
                scene.upstream.forget();
                scene.upstream.play(super::upstream::Play::send("HTTP/1.1 204 No Content\r\n\r\n"));
                let answer = scene.exchange(method, attack).await.answer;
                (answer, scene.upstream.requests().remove(0))
            }
            _ => scene.ask(method, attack).await,
        };

        assert!(matches!(answer.status, 200 | 204), "{method}: {answer:?}");
        assert_eq!(received.body(), HIDDEN.as_bytes(), "{method}");
        scene.serves(method).await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_a_whole_request() {
    let flowing = Yaml { tenant: vec!["retry: {replay_buffer: 0B}".into()], ..Yaml::default() };
    for yaml in [Yaml::default(), flowing] {
        let scene = Scene::with(&yaml).await;
        let cut = [
            ("a length that is not reached", post("Content-Length: 50\r\n", r#"{"a":1}"#)),
            ("no last chunk", post("Transfer-Encoding: chunked\r\n", "7\r\n{\"a\":1}\r\n")),
            ("half a chunk", post("Transfer-Encoding: chunked\r\n", "7\r\n{\"a\"")),
            ("no chunk", post("Transfer-Encoding: chunked\r\n", "")),
        ];
        for (name, bytes) in cut {
            scene.upstream.forget();
            let mut raw = Raw::connect(scene.address()).await;
            raw.write(bytes).await;
            raw.end().await;

            let exchange = Exchange::read(name, raw).await;

            assert!(matches!(exchange.answer.status, 0 | 400), "{name}: {:?}", exchange.answer);
            soon(name, || scene.upstream.received().iter().all(|it| it.ended)).await;
            assert_eq!(scene.upstream.requests(), [], "{name}");
            soon(name, || scene.queued_and_in_use() == (0, 0)).await;
            scene.serves(name).await;
        }
    }
}

#[tokio::test]
async fn what_follows_connection_close_is_not_a_request() {
    let scene = Scene::start().await;
    let exchange =
        scene.exchange("close", get("/v1/accounts", "Connection: close\r\n") + HIDDEN).await;

    assert_eq!(exchange.answer.status, 200);
    exchange.ends_with_it("close").await;
    assert_eq!(scene.upstream.requests().len(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_judged_one_by_one() {
    let scene = Scene::start().await;
    let stranger = "GET /v1/stranger HTTP/1.1\r\nHost: gw\r\n\r\n";
    let bytes = get("/v1/a", "") + stranger + &get("/v1/b", "");

    let first = scene.exchange("the first", bytes).await;

    assert_eq!(first.answer.status, 200);
    let second = first.next("the second").await;
    assert_eq!(second.answer.status, 401);
    assert_eq!(second.next("the third").await.answer.status, 200);
    assert_eq!(scene.upstream.lines(), ["GET /v1/a HTTP/1.1", "GET /v1/b HTTP/1.1"]);
}
