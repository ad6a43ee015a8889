//! Links that come back to the gateway, in answers of every size and packing.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use tokio::time::Instant;

use super::SECOND;
use super::scene::{Reply, Scene};

const LINK: &str = r#"{"nextPage":"http://zuora/v1/accounts?page=2","dataFile":"http://zuora/x"}"#;
const REWRITTEN: &str =
    r#"{"nextPage":"http://gateway/v1/accounts?page=2","dataFile":"http://zuora/x"}"#;

/// A listing of a few hundred kilobytes, which does not compress well, with a link in it here and there.
fn listing(link: &str) -> String {
    listing_of(20_000, link)
}

fn listing_of(rows: u64, link: &str) -> String {
    let rows: Vec<_> = (0..rows)
        .map(|row| format!(r#"{{"id":"{:016x}"}}"#, row.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .map(|row| if row.ends_with(r#"0"}"#) { link.to_owned() } else { row })
        .collect();
    format!(r#"{{"rows":[{}]}}"#, rows.join(","))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packing = GzEncoder::new(Vec::new(), Compression::default());
    packing.write_all(text.as_bytes()).unwrap();
    packing.finish().unwrap()
}

fn gunzip(packed: &[u8]) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(packed).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn the_next_page_leads_back_here() {
    let scene = Scene::of([Reply::new(200, LINK)]);

    let answer = scene.get("/v1/accounts").await;

    assert_eq!(answer.body, REWRITTEN);
    assert_eq!(answer.field("content-length"), REWRITTEN.len().to_string());
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_links_passes_as_it_came() {
    let plain = r#"{"next":null,"dataFile":"http://zuora/x"}"#;
    let scene = Scene::of([Reply::new(200, plain)
        .with("content-md5", "Q2h1Y2sgSW50ZWdyaXR5IQ==")
        .with("etag", "\"strong\"")]);

    let answer = scene.get("/v1/accounts").await;

    assert_eq!(answer.body, plain);
    assert_eq!(answer.field("content-md5"), "Q2h1Y2sgSW50ZWdyaXR5IQ==");
    assert_eq!(answer.field("etag"), "\"strong\"");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_of_bytes_that_are_others_now() {
    let scene = Scene::of([
        Reply::new(200, LINK)
            .with("content-md5", "x")
            .with("digest", "y")
            .with("etag", "\"strong\""),
        Reply::new(200, LINK).with("etag", "W/\"weak\""),
    ]);

    let answer = scene.get("/v1/accounts").await;
    assert_eq!((answer.field("content-md5"), answer.field("digest")), ("", ""));
    assert_eq!(answer.field("etag"), "W/\"strong\"");

    let answer = scene.get("/v1/accounts").await;
    assert_eq!(answer.field("etag"), "W/\"weak\"");
}

#[tokio::test(start_paused = true)]
async fn links_of_an_answer_that_flows_are_rewritten_as_it_flows() {
    let (given, expected) = (listing(LINK), listing(REWRITTEN));
    assert!(given.contains(LINK));
    let scene = Scene::of([
        Reply::new(200, &given).in_chunks().with("etag", "\"strong\""),
        Reply::new(200, &given),
    ]);

    let answer = scene.get("/v1/accounts").await;
    assert!(answer.body == expected);
    assert_eq!((answer.field("content-length"), answer.field("etag")), ("", "W/\"strong\""));

    let answer = scene.get("/v1/accounts").await;
    assert!(answer.body == expected, "its length was known, and is not any more");
}

#[tokio::test(start_paused = true)]
async fn what_was_packed_stays_packed() {
    for (given, expected) in
        [(LINK.to_owned(), REWRITTEN.to_owned()), (listing(LINK), listing(REWRITTEN))]
    {
        let packed = || Reply::new(200, gzip(&given)).with("content-encoding", "gzip");
        let scene = Scene::of([packed(), packed().in_chunks()]);
        for _ in 0..2 {
            let mut reading = scene.open("GET", "/v1/accounts", "").await;
            assert_eq!(reading.field("content-encoding"), "gzip");
            assert!(gunzip(&reading.bytes().await) == expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_unpacks_to_much_is_rewritten_a_step_at_a_time() {
    let (given, expected) = (LINK.repeat(20_000), REWRITTEN.repeat(20_000));
    let packed = gzip(&given);
    assert!(packed.len() < zuora::ANSWER_LOOK);
    let scene = Scene::of([Reply::new(200, &packed).with("content-encoding", "gzip")]);

    let mut reading = scene.open("GET", "/v1/accounts", "").await;

    assert_eq!(reading.field("content-length"), "", "it is not known beforehand");
    assert!(gunzip(&reading.bytes().await) == expected);
}

#[tokio::test(start_paused = true)]
async fn a_short_packed_answer_without_links_passes_as_it_came() {
    let packed = gzip(r#"{"next":null}"#);
    let scene = Scene::of([Reply::new(200, &packed).with("content-encoding", "gzip")]);

    let mut reading = scene.open("GET", "/v1/accounts", "").await;

    assert_eq!(reading.bytes().await, packed);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_unpacked_passes_as_it_came() {
    let noise = listing(LINK);
    let cut = &gzip(LINK)[..40];
    for given in [noise.as_bytes(), LINK.as_bytes(), cut] {
        let scene = Scene::of([
            Reply::new(200, given).with("content-encoding", "gzip"),
            Reply::new(200, given).with("content-encoding", "gzip").in_chunks(),
        ]);
        for _ in 0..2 {
            let mut reading = scene.open("GET", "/v1/accounts", "").await;
            assert!(reading.bytes().await == given);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_packed_answer_that_is_not_whole_does_not_pass_for_whole() {
    let packed = gzip(&listing_of(8_000, LINK));
    assert!(packed.len() > zuora::ANSWER_LOOK && packed.len() < 128 * 1024, "{}", packed.len());
    let cut = &packed[..packed.len() - 20];
    let scene = Scene::of([Reply::new(200, cut).with("content-encoding", "gzip").in_chunks()]);

    let mut reading = scene.open("GET", "/v1/accounts", "").await;

    assert!(reading.is_cut_off().await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_does_not_pass_for_whole() {
    let given = listing(LINK);
    for (body, coding) in [(given.clone().into_bytes(), "identity"), (gzip(&given), "gzip")] {
        let promised = (body.len() + 10).to_string();
        let reply = Reply::new(200, &body).in_chunks().with("content-length", &promised);
        let scene = Scene::of([reply.with("content-encoding", coding)]);

        let mut reading = scene.open("GET", "/v1/accounts", "").await;

        assert!(reading.is_cut_off().await, "{coding}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_that_ends_within_a_link_ends_as_it_did() {
    let given = format!("{},\"next\":\"http://zu", listing(LINK));
    let scene = Scene::of([Reply::new(200, &given).in_chunks()]);

    let answer = scene.get("/v1/accounts").await;

    assert!(answer.body.ends_with(",\"next\":\"http://zu"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_need_not_wait_for_what_is_known() {
    let given = listing(LINK);
    for packed in [given.clone().into_bytes(), gzip(&given)] {
        let is_packed = packed != given.as_bytes();
        let reply = Reply::new(200, &packed).pausing(60 * SECOND);
        let reply = if is_packed { reply.with("content-encoding", "gzip") } else { reply };
        let scene = Scene::of([reply]);

        let mut reading = scene.open("GET", "/v1/accounts", "").await;
        let began = Instant::now();
        let mut early = Vec::new();
        while let Ok(bytes) = tokio::time::timeout(SECOND, reading.some()).await {
            early.extend_from_slice(&bytes);
        }

        assert_eq!(began.elapsed(), SECOND);
        // Of a text that is cut anywhere, all but a few bytes can be unpacked.
        let mut text = early.clone();
        if is_packed {
            text.clear();
            let _ = MultiGzDecoder::new(&*early).read_to_end(&mut text);
        }
        assert!(listing(REWRITTEN).as_bytes().starts_with(&text));
        assert!(text.len() > given.len() - 64 * 1024, "{} of {}", text.len(), given.len());
        let rest = reading.bytes().await;
        let all = [&*early, &*rest].concat();
        assert!(
            if is_packed { gunzip(&all) } else { String::from_utf8(all).unwrap() }
                == listing(REWRITTEN)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_location_leads_back_here_with_whatever_method() {
    let created = || {
        Reply::new(202, "{}")
            .with("location", "http://zuora/v1/async-jobs/1")
            .with("content-location", "http://zuora/x")
    };
    let scene = Scene::of([
        created(),
        created(),
        Reply::new(201, "{}").with("location", "https://elsewhere/1"),
    ]);

    let answer = scene.post("/v1/async/orders", "{}").await;
    assert_eq!(answer.field("location"), "http://gateway/v1/async-jobs/1");
    assert_eq!(answer.field("content-location"), "http://zuora/x");
    let answer = scene.put("/v1/accounts/A1", "{}").await;
    assert_eq!(answer.field("location"), "http://gateway/v1/async-jobs/1");
    let answer = scene.post("/v1/orders", "{}").await;
    assert_eq!(answer.field("location"), "https://elsewhere/1");
}

#[tokio::test(start_paused = true)]
async fn files_parts_and_other_texts_are_not_ours_to_change() {
    let scene = Scene::of([
        Reply::new(200, LINK),
        Reply::new(206, LINK).with("content-range", "bytes 0-80/100"),
        Reply::new(200, LINK).with("content-type", "text/csv"),
        Reply::new(200, LINK).with("content-encoding", "br"),
    ]);

    for path in ["/v1/files/1", "/v1/accounts", "/v1/accounts", "/v1/accounts"] {
        assert_eq!(scene.get(path).await.body, LINK);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_keeps_the_length_of_zuoras_body() {
    let scene = Scene::of([Reply::new(200, "").with("content-length", "81")]);

    let reading = scene.open("HEAD", "/v1/accounts", "").await;

    assert_eq!(reading.field("content-length"), "81");
}

#[tokio::test(start_paused = true)]
async fn others_have_their_turn_while_much_is_unpacked() {
    // Spaces pack to a thousandth: nothing that is passed on makes a pause.
    let given = listing_of(8_000, LINK) + &" ".repeat(24 * 1024 * 1024);
    let packed = gzip(&given);
    let scene = Scene::of([Reply::new(200, &packed).with("content-encoding", "gzip").in_chunks()]);
    let turns = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&turns);
    tokio::spawn(async move {
        loop {
            tokio::task::yield_now().await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });

    let mut reading = scene.open("GET", "/v1/accounts", "").await;
    let packed = reading.bytes().await;

    let turns = turns.load(Ordering::Relaxed);
    assert!(turns >= 48, "{turns} turns in 24 MiB");
    assert!(gunzip(&packed).len() > 24 * 1024 * 1024);
}
