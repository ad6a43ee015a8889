//! Links that Zuora gives to itself lead back to the gateway, and nothing else of an answer is touched. The judge is a
//! tenant of sockets, which answers with bytes, and the bytes that the app receives.

use std::io::{Read, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use testkit::Answer;

use crate::wire::attack::{Scene, get, request};
use crate::wire::upstream::Play;

const FIELDS: [&str; 6] =
    ["nextPage", "next", "next_page", "resultFileUrl", "uploadedFileUrl", "outputURL"];

/// An answer of this type with this body.
fn answer(content_type: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{fields}\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn json(body: &str) -> Vec<u8> {
    answer("application/json", "", body.as_bytes())
}

/// What an app gets when the tenant answers a GET with `played`.
async fn relayed(scene: &Scene, what: &str, played: impl AsRef<[u8]>) -> Answer {
    relayed_to(scene, what, get("/v1/accounts/A1/payments", ""), played).await
}

async fn relayed_to(scene: &Scene, what: &str, asked: String, played: impl AsRef<[u8]>) -> Answer {
    let answer = played_to(scene, what, asked, Play::send(played)).await;
    let declared = answer.field("content-length").map(|it| it.parse::<usize>().unwrap());
    if let Some(declared) = declared.filter(|_| !answer.body.is_empty()) {
        assert_eq!(declared, answer.body.len(), "{what}: {answer:?}");
    }
    answer
}

async fn played_to(scene: &Scene, what: &str, asked: String, play: Play) -> Answer {
    scene.upstream.forget();
    scene.upstream.play(play);
    let answer = scene.exchange(what, asked).await.answer;
    assert_eq!(scene.upstream.requests().len(), 1, "{what}: {answer:?}");
    answer
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_link_of_zuora_to_itself_leads_to_the_gateway() {
    let scene = Scene::start().await;
    let own = scene.upstream.url();
    for field in FIELDS {
        for spacing in [":", " : ", ":\n\t", "\r\n:  "] {
            let body = |url: &str| {
                format!(
                    "{{\"id\" : 0E-9, \"{field}\"{spacing}\"{url}/v1/x?page=2&a=b%2Fc#d\",\"z\":[1 ,2]}}\n"
                )
            };
            let answer = relayed(&scene, field, json(&body(&own))).await;
            assert_eq!(answer.text(), body("http://gw"), "{field}");
        }
        // As some serializers write it, and without anything behind the host.
        let escaped = format!(r#"{{"{field}":"{}\/v1\/x"}}"#, own.replace('/', r"\/"));
        let text = relayed(&scene, field, json(&escaped)).await.text();
        assert_eq!(text.replace(r"\/", "/"), format!(r#"{{"{field}":"http://gw/v1/x"}}"#));
        let bare = format!(r#"{{"{field}":"{own}"}}"#);
        let text = relayed(&scene, field, json(&bare)).await.text();
        assert_eq!(text, format!(r#"{{"{field}":"http://gw"}}"#));
    }
    // Several, and deep inside.
    let body = |url: &str| {
        let page = format!(
            r#"{{"nextPage":"{url}/v1/x?page=2","rows":[{{"outputURL":"{url}/v1/files/1"}},"#
        );
        format!(r#"{page}{{"a":{{"b":[{{"next":"{url}/events?start=1"}}]}}}}],"success":true}}"#)
    };
    assert_eq!(relayed(&scene, "several", json(&body(&own))).await.text(), body("http://gw"));
}

#[tokio::test]
async fn a_link_leads_to_where_the_app_reached_us() {
    let scene = Scene::start().await;
    let body = |url: &str| format!(r#"{{"nextPage":"{url}/v1/x"}}"#);
    for host in ["gw", "gateway.example.com:8443", "127.0.0.1:8080", "[::1]:80"] {
        let asked = get("/v1/accounts", "").replace("Host: gw", &format!("Host: {host}"));
        let played = json(&body(&scene.upstream.url()));
        let answer = relayed_to(&scene, host, asked, played).await;
        assert_eq!(answer.text(), body(&format!("http://{host}")));
    }
    // An absolute target names where it meant to go.
    let asked =
        get("http://gw.example/v1/accounts", "").replace("Host: gw\r\n", "Host: gw.example\r\n");
    let answer = relayed_to(&scene, "absolute", asked, json(&body(&scene.upstream.url()))).await;
    assert_eq!(answer.text(), body("http://gw.example"));
}

#[tokio::test]
async fn whatever_is_no_link_of_zuora_to_itself_passes_byte_for_byte() {
    let scene = Scene::start().await;
    let own = scene.upstream.url();
    let port = scene.upstream.address().port();
    let untouched = [
        // Other fields, pre-signed addresses and what was hashed among them.
        format!(r#"{{"uri":"{own}/v1/x"}}"#),
        format!(r#"{{"dataFile":"{own}/v1/x?X-Amz-Signature=1"}}"#),
        format!(r#"{{"url":"{own}/v1/x","signature":"s","token":"t","href":"{own}/"}}"#),
        format!(r#"{{"xnextPage":"{own}/v1/x","nextPagex":"{own}/v1/x","next page":"{own}/v1/x"}}"#),
        format!(r#"{{"my_next":"{own}/v1/x","a.next":"{own}/v1/x"}}"#),
        format!(r#"{{"nextpage":"{own}/v1/x","NEXT":"{own}/v1/x"}}"#),
        // Other hosts, however much they look like it.
        r#"{"nextPage":"https://bucket.s3.amazonaws.com/x?X-Amz-Signature=1"}"#.to_owned(),
        format!(r#"{{"nextPage":"{own}.evil.example/v1/x"}}"#),
        format!(r#"{{"nextPage":"{own}0/v1/x"}}"#),
        format!(r#"{{"nextPage":"{own}@evil.example/v1/x"}}"#),
        format!(r#"{{"nextPage":"{own}:1/v1/x"}}"#),
        format!(r#"{{"nextPage":"http://user@127.0.0.1:{port}/v1/x"}}"#),
        format!(r#"{{"nextPage":"http://1127.0.0.1:{port}/v1/x"}}"#),
        r#"{"nextPage":"http://127.0.0.1/v1/x"}"#.to_owned(),
        format!(r#"{{"nextPage":"http://evil.example/?to={own}/v1/x"}}"#),
        format!(r#"{{"nextPage":"ftp://127.0.0.1:{port}/v1/x"}}"#),
        format!(r#"{{"nextPage":" {own}/v1/x"}}"#),
        format!(r#"{{"nextPage":"//127.0.0.1:{port}/v1/x"}}"#),
        // No links.
        r#"{"nextPage":"/v1/x?page=2","next":null,"next_page":false,"nextPage":"null","next":"MTA="}"#.to_owned(),
        // Text that only talks of links.
        format!(r#"{{"note":"\"nextPage\":\"{own}/v1/x\""}}"#),
        format!(r#"{{"note":"see \"next\" : \"{own}/v1/x"}}"#),
        format!(r#"{{"note":"nextPage","to":"{own}/v1/x"}}"#),
        format!(r#"{{"note":"{own}/v1/x"}}"#),
        format!(r#"["nextPage","{own}/v1/x"]"#),
        format!(r#"{{"a":"nextPage","b":["{own}/v1/x"]}}"#),
        format!(r#"{{"esc\"nextPage":"{own}/v1/x"}}"#),
        // No JSON to begin with, or none to end with.
        format!(r#"nextPage="{own}/v1/x""#),
        format!(r#"{{"a":1E400,"b":"\ud800","note":"{own}"#),
        "[".repeat(100_000),
        String::new(),
    ];
    for body in untouched {
        let name = body.chars().take(200).collect::<String>();
        assert_eq!(relayed(&scene, &name, json(&body)).await.text(), body, "{name}");
        let packed = gzip(body.as_bytes());
        let played = answer("application/json", "Content-Encoding: gzip\r\n", &packed);
        let answer = relayed(&scene, &name, played).await;
        assert_eq!(answer.body, packed, "{name}: what has no link passes as it was packed");
    }
}

#[tokio::test]
async fn only_json_has_links() {
    let scene = Scene::start().await;
    let body = format!(r#"{{"nextPage":"{}/v1/x"}}"#, scene.upstream.url());
    for content_type in [
        "text/plain",
        "text/csv",
        "application/octet-stream",
        "application/pdf",
        "application/jsonx",
        "text/html; a=application/json",
    ] {
        let played = answer(content_type, "", body.as_bytes());
        assert_eq!(relayed(&scene, content_type, played).await.text(), body, "{content_type}");
    }
    for content_type in
        ["application/json;charset=UTF-8", "Application/JSON", "application/json ; charset=utf-8"]
    {
        let played = answer(content_type, "", body.as_bytes());
        let text = relayed(&scene, content_type, played).await.text();
        assert_eq!(text, r#"{"nextPage":"http://gw/v1/x"}"#, "{content_type}");
    }
    // A file is whatever was put into it, and part of an answer is no JSON.
    for target in ["/v1/files/2c92", "/v1/file/2c92", "/rest/v1/files/2c92"] {
        let answer = relayed_to(&scene, target, get(target, ""), json(&body)).await;
        assert_eq!(answer.text(), body, "{target}");
    }
    let ranged = get("/v1/accounts", "Range: bytes=0-99\r\n");
    let part = String::from_utf8(answer(
        "application/json",
        "Content-Range: bytes 0-99/1000\r\n",
        body.as_bytes(),
    ));
    let part = part.unwrap().replace("200 OK", "206 Partial Content");
    assert_eq!(relayed_to(&scene, "a range", ranged, part).await.text(), body);
}

#[tokio::test]
async fn the_head_of_an_answer_tells_of_the_body_that_follows() {
    let scene = Scene::start().await;
    let body = format!(r#"{{"nextPage":"{}/v1/x"}}"#, scene.upstream.url());
    let fields = "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\nETag: \"v1\"\r\nDigest: md5=Q2hlY2s=\r\nX-Kept: 1\r\n";

    let changed =
        relayed(&scene, "changed", answer("application/json", fields, body.as_bytes())).await;

    assert_eq!(changed.text(), r#"{"nextPage":"http://gw/v1/x"}"#);
    assert_eq!(changed.field("x-kept"), Some("1"));
    for field in ["content-md5", "digest"] {
        assert_eq!(changed.field(field), None, "{changed:?}");
    }
    // The same thing for other bytes is at most weakly the same (RFC 9110 8.8.1).
    assert_ne!(changed.field("etag"), Some("\"v1\""), "{changed:?}");

    let plain =
        relayed(&scene, "plain", answer("application/json", fields, b"{\"success\":true}")).await;
    assert_eq!(plain.field("content-md5"), Some("Q2hlY2sgSW50ZWdyaXR5IQ=="));
    assert_eq!(plain.field("etag"), Some("\"v1\""));
    assert_eq!(plain.field("content-length"), Some("16"));

    // Nothing follows, so what would have followed is told as it would have been at Zuora, or not at all.
    let mut raw = testkit::Raw::connect(scene.address()).await;
    scene.upstream.play(Play::send(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 77\r\n\r\n",
    ));
    raw.write(request("HEAD", "/v1/accounts", "Connection: close\r\n", "")).await;
    let head = String::from_utf8(raw.rest().await).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn a_packed_answer_stays_packed_and_its_links_lead_to_the_gateway() {
    let scene = Scene::start().await;
    let row = r#"{"id":"2c92a0f96bd69165016bdcbd","amount":0E-9},"#.repeat(5_000);
    let body =
        |url: &str| format!(r#"{{"rows":[{row}1],"nextPage":"{url}/v1/x?page=2","success":true}}"#);
    let packed = gzip(body(&scene.upstream.url()).as_bytes());
    let played = answer("application/json", "Content-Encoding: gzip\r\n", &packed);
    let asked = get("/v1/accounts", "Accept-Encoding: gzip\r\n");

    let answer = relayed_to(&scene, "packed", asked, played).await;

    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert_eq!(gunzip(&answer.body), body("http://gw"));
}

#[tokio::test]
async fn what_only_says_that_it_is_packed_is_no_trap() {
    let scene = Scene::start().await;
    let whole = gzip(br#"{"success":true,"text":"abcdefgh"}"#);
    let mut wrong = whole.clone();
    let end = wrong.len() - 6;
    wrong[end] ^= 1;
    let broken: [(&str, &[u8]); 4] = [
        ("plain", br#"{"success":true}"#),
        ("a wrong sum", &wrong),
        ("cut off", &whole[..whole.len() / 2]),
        ("only a beginning", &whole[..5]),
    ];
    for (what, bytes) in broken {
        let played = answer("application/json", "Content-Encoding: gzip\r\n", bytes);
        let answer = relayed(&scene, what, played).await;
        assert_eq!((answer.status, &answer.body[..]), (200, bytes), "{what}");
    }
    // Other codings are not ours to read.
    for coding in ["br", "deflate", "zstd", "gzip, br"] {
        let played = answer("application/json", &format!("Content-Encoding: {coding}\r\n"), &whole);
        assert_eq!(relayed(&scene, coding, played).await.body, whole, "{coding}");
    }
    scene.serves("a trap").await;
}

#[tokio::test]
async fn a_link_is_found_wherever_the_bytes_are_cut() {
    let scene = Scene::start().await;
    let body = |url: &str| format!(r#"{{"a":1,"nextPage" : "{url}/v1/x","b":2}}"#);
    let text = body(&scene.upstream.url());
    for at in 1..text.len() {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = |piece: &str| format!("{:x}\r\n{piece}\r\n", piece.len());
        let play = Play::send(format!("{head}{}", chunk(&text[..at])))
            .pause(Duration::from_millis(3))
            .then(format!("{}0\r\n\r\n", chunk(&text[at..])));
        let answer = played_to(&scene, "cut", get("/v1/accounts", ""), play).await;
        assert_eq!(answer.text(), body("http://gw"), "cut at {at}");
    }
}

/// Longer than what is looked at as a whole, so that it is rewritten while it flows.
const LONG: usize = 400_000;

#[tokio::test]
async fn a_link_is_found_wherever_a_flowing_answer_is_cut() {
    let scene = Scene::start().await;
    let rows = r#"{"id":"2c92a0f96bd69165016bdcbd","amount":0E-9},"#.repeat(LONG / 48);
    let begin = format!(r#"{{"rows":[{rows}1]"#);
    let end = |url: &str| format!(r#","nextPage" : "{url}/v1/x","success":true}}"#);
    let tail = end(&scene.upstream.url());
    let chunk = |piece: &str| format!("{:x}\r\n{piece}\r\n", piece.len());
    for at in 1..tail.len() {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let play = Play::send(format!("{head}{}{}", chunk(&begin), chunk(&tail[..at])))
            .pause(Duration::from_millis(5))
            .then(format!("{}0\r\n\r\n", chunk(&tail[at..])));
        let answer = played_to(&scene, "cut", get("/v1/accounts", ""), play).await;
        assert!(answer.text() == format!("{begin}{}", end("http://gw")), "cut at {at}");
    }
}

#[tokio::test]
async fn a_flowing_answer_may_be_packed_and_its_links_lead_to_the_gateway() {
    let scene = Scene::start().await;
    // What gzip cannot make small.
    let mut state = 17_u64;
    let rows: String = (0..LONG)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'a' + u8::try_from(state >> 33 & 15).unwrap())
        })
        .collect();
    let body = |url: &str| {
        format!(
            r#"{{"next":"{url}/a","rows":"{rows}","nextPage":"{url}/v1/x?page=2","uri":"{}"}}"#,
            scene.upstream.url()
        )
    };
    let packed = gzip(body(&scene.upstream.url()).as_bytes());
    let (first, last) = packed.split_at(packed.len() / 2);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-MD5: x\r\n";
    let play = Play::send(format!("{head}Content-Length: {}\r\n\r\n", packed.len()))
        .then(first)
        .pause(Duration::from_millis(20))
        .then(last);

    let answer = played_to(&scene, "packed", get("/v1/accounts", ""), play).await;

    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    assert_eq!((answer.field("content-md5"), answer.field("content-length")), (None, None));
    assert!(gunzip(&answer.body) == body("http://gw"));
}

#[tokio::test]
async fn every_byte_by_itself_and_a_link_across_all_of_them() {
    let scene = Scene::start().await;
    let body =
        |url: &str| format!(r#"{{"next":"{url}/a","next":"{url}b/","outputURL":"{url}/c"}}"#);
    let mut play = Play::send(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for byte in body(&scene.upstream.url()).chars() {
        play = play.then(format!("1\r\n{byte}\r\n")).pause(Duration::from_millis(1));
    }
    let asked = get("/v1/accounts", "");

    let answer = played_to(&scene, "bytes", asked, play.then("0\r\n\r\n")).await;

    let expected = body("http://gw").replace("http://gwb", &format!("{}b", scene.upstream.url()));
    assert_eq!(answer.text(), expected);
}

#[tokio::test]
async fn a_location_of_zuora_leads_to_the_gateway() {
    let scene = Scene::start().await;
    let own = scene.upstream.url();
    let locations = [
        (format!("{own}/v1/async-jobs/1?a=b"), "http://gw/v1/async-jobs/1?a=b".to_owned()),
        (own.clone(), "http://gw".to_owned()),
        ("/v1/async-jobs/1".to_owned(), "/v1/async-jobs/1".to_owned()),
        (
            "https://bucket.s3.amazonaws.com/x".to_owned(),
            "https://bucket.s3.amazonaws.com/x".to_owned(),
        ),
        (format!("{own}.evil.example/"), format!("{own}.evil.example/")),
        (format!("{own}@evil.example/"), format!("{own}@evil.example/")),
        (format!("http://evil.example/{own}/"), format!("http://evil.example/{own}/")),
    ];
    for status in ["202 Accepted", "201 Created", "302 Found", "307 Temporary Redirect"] {
        for (given, expected) in &locations {
            let played =
                format!("HTTP/1.1 {status}\r\nLocation: {given}\r\nContent-Length: 0\r\n\r\n");
            let asked = request("POST", "/v1/async/orders", "Content-Length: 0\r\n", "");
            let answer = relayed_to(&scene, status, asked, played).await;
            assert_eq!(answer.field("location"), Some(expected.as_str()), "{status} {given}");
        }
    }
}

#[tokio::test]
async fn what_an_app_sends_is_never_changed() {
    let scene = Scene::start().await;
    let own = scene.upstream.url();
    let body =
        format!(r#"{{"uri":"http://gw/v1/x","nextPage":"{own}/v1/x","next":"http://gw/v1/x"}}"#);
    let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    for target in ["/v1/hmac-signatures", "/v1/rsa-signatures", "/v1/accounts"] {
        let (_, received) = scene.ask(target, request("POST", target, &fields, &body)).await;
        assert_eq!(received.body(), body.as_bytes(), "{target}");
    }
}
