//! Zuora's callouts, and what only looks like them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use serde_json::json;
use testkit::{Answer, Raw, SECRET, Yaml};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::outcomes;
use super::stage::{
    PASSWORD, Stage, USER, asking, basic, callout, failed, json_of, key, location, metric,
    on_the_wire, succeeded, told, yaml,
};
use crate::caller::look;
use crate::wire::attack::{get, soon};
use crate::wire::upstream::Play;

const REALM: &str = "Basic realm=\"zuora-gateway callouts\"";

impl Stage {
    /// Sends `bytes` as somebody who has never called before. No callout goes on to the tenant.
    async fn call_out(&self, name: &str, bytes: &str) -> Answer {
        self.scene.upstream.forget();
        let told = told(name, Raw::connect_as_stranger(self.address()).await, bytes).await;
        assert!(self.scene.upstream.lines().is_empty(), "{name}: {told:?}");
        told
    }

    /// The state of a request, as its app is told: 202 while nobody knows, 200 afterwards.
    async fn status(&self, track_id: &str) -> u16 {
        self.look(&format!("/_gateway/async-requests/{track_id}")).await.status
    }

    /// How many callouts came to this end.
    async fn counted(&self, result: &str) -> f64 {
        let text = look(self.scene.house.gateway.admin_address(), "/metrics").await.text();
        metric(&text, "callouts_total", &[("tenant", "production"), ("result", result)])
    }
}

#[tokio::test]
async fn who_is_not_zuora_is_turned_away() {
    let stage = Stage::start().await;
    stage.accepted("t-1", "r-1").await;
    let pair = |text: &str| format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(text));
    let shorter = &PASSWORD[..PASSWORD.len() - 1];
    let good = basic(USER, PASSWORD);
    let strangers = [
        ("nothing", String::new()),
        ("an empty field", "Authorization: \r\n".to_owned()),
        ("a scheme alone", "Authorization: Basic\r\n".to_owned()),
        ("a wrong password", basic(USER, "wrong")),
        ("a prefix", basic(USER, shorter)),
        ("one byte more", basic(USER, &format!("{PASSWORD}x"))),
        ("a colon more", basic(USER, &format!("{PASSWORD}:"))),
        ("no password", basic(USER, "")),
        ("a wrong user", basic("zuora", PASSWORD)),
        ("no user", basic("", PASSWORD)),
        ("another case", basic(&USER.to_uppercase(), PASSWORD)),
        ("exchanged", basic(PASSWORD, USER)),
        ("no colon", pair(PASSWORD)),
        ("nothing in it", pair("")),
        ("not base64", "Authorization: Basic %%%%\r\n".to_owned()),
        (
            "cut base64",
            format!(
                "{}\r\n",
                good.trim_end().trim_end_matches('=').trim_end_matches(char::is_alphanumeric)
            ),
        ),
        (
            "not UTF-8",
            format!(
                "Authorization: Basic {}\r\n",
                BASE64_STANDARD.encode(b"zuora-callouts:\xff\xfe")
            ),
        ),
        ("a long one", basic(USER, &"x".repeat(6000))),
        ("as a bearer", format!("Authorization: Bearer {PASSWORD}\r\n")),
        ("as digest", good.replace("Basic", "Digest")),
        ("twice", format!("{good}{good}")),
        ("twice, the first good", format!("{good}{}", basic(USER, "x"))),
        ("twice, the last good", format!("{}{good}", basic(USER, "x"))),
        ("a list", format!("{}, {}", good.trim_end(), &good["Authorization: ".len()..])),
        ("an app's secret", format!("Authorization: Bearer {SECRET}\r\n")),
        ("an app by basic", basic("app", SECRET)),
        (
            "as an app's keys",
            format!("apiAccessKeyId: {USER}\r\napiSecretAccessKey: {PASSWORD}\r\n"),
        ),
        ("of the proxy", good.replace("Authorization", "Proxy-Authorization")),
    ];
    for (name, fields) in strangers {
        let body = succeeded("r-1", "t-1", "forged");
        let told = stage.call_out(name, &callout("production", &fields, "n", &body)).await;
        // A field that is there twice may be refused as such.
        let twice = name.starts_with("twice") && told.status == 400;
        assert!(told.status == 401 || twice, "{name}: {told:?}");
        if told.status == 401 {
            assert_eq!(told.field("www-authenticate"), Some(REALM), "{name}: {told:?}");
        }
    }
    for tenant in [
        "sandbox",
        "PRODUCTION",
        "production/",
        "production/x",
        "",
        "..%2fproduction",
        "production%00",
        "%70roduction",
    ] {
        let body = succeeded("r-1", "t-1", "forged");
        let told =
            stage.call_out(tenant, &callout(tenant, &basic(USER, PASSWORD), "n", &body)).await;
        assert!(matches!(told.status, 400 | 401 | 404), "{tenant}: {told:?}");
    }
    let query = callout("production", "", "n", &succeeded("r-1", "t-1", "forged"));
    let query =
        query.replace("/production ", &format!("/production?username={USER}&password={PASSWORD} "));
    assert_eq!(stage.call_out("in the query", &query).await.status, 401);
    assert_eq!(stage.status("t-1").await, 202, "nothing of it counted");
    assert!(stage.counted("unauthenticated").await >= 20.0);

    // The real one still comes through, as one that waits to be asked and as one that does not.
    let body = succeeded("r-1", "t-1", "real");
    let mut raw = Raw::connect_as_stranger(stage.address()).await;
    raw.write(callout("production", "", "n-1", &body)).await;
    let asked = raw.answer().await;
    assert_eq!((asked.status, asked.field("www-authenticate")), (401, Some(REALM)));
    raw.write(callout("production", &basic(USER, PASSWORD), "n-1", &body)).await;
    assert_eq!(raw.answer().await.status, 200, "on the same connection");
    assert_eq!(json_of(&stage.look("/_gateway/async-requests/t-1").await)["id"], "real");
}

#[tokio::test]
async fn the_password_before_is_good_while_it_is_exchanged() {
    let callouts = key("", "")
        .replace("}, rewrite", ", previous_password: the-one-before-of-the-callouts}, rewrite");
    let stage = Stage::with(&Yaml { tenant: vec![callouts], ..yaml("", "") }).await;
    for (at, password) in [PASSWORD, "the-one-before-of-the-callouts"].into_iter().enumerate() {
        let (track_id, id) = (format!("t-{at}"), format!("r-{at}"));
        stage.accepted(&track_id, &id).await;
        let bytes =
            callout("production", &basic(USER, password), &id, &succeeded(&id, &track_id, "x"));
        assert_eq!(stage.call_out(password, &bytes).await.status, 200);
        assert_eq!(stage.status(&track_id).await, 200);
    }
    let bytes =
        callout("production", &basic(USER, "the-one-before-that"), "n", &succeeded("r", "t", "x"));
    assert_eq!(stage.call_out("older", &bytes).await.status, 401);
}

/// Two tenants, which call out with credentials of their own.
async fn two_tenants() -> Stage {
    let callouts = "async: {callouts: {public_url: \"https://gateway.example.com\", username: sandbox-callouts, password: the-password-of-the-sandbox}}";
    let keys = format!("base_url: \"http://127.0.0.1:9\", path_prefix: /sandbox, {callouts}");
    let yaml = Yaml {
        tenants: vec![("sandbox".to_owned(), keys)],
        app: vec!["tenant: [production, sandbox]".to_owned()],
        ..yaml("", "")
    };
    let yaml = Yaml {
        apps: vec![(
            "other".to_owned(),
            format!(
                "tenant: production, client_id: 11111111-2222-4333-8444-555555555555, secret: {}",
                super::stage::OTHER_SECRET
            ),
        )],
        ..yaml
    };
    Stage::with(&yaml).await
}

#[tokio::test]
async fn one_tenants_callouts_are_nothing_to_another() {
    let stage = two_tenants().await;
    stage.accepted("t-1", "r-1").await;
    let theirs = basic("sandbox-callouts", "the-password-of-the-sandbox");
    let body = succeeded("r-1", "t-1", "of-another");

    let wrong = stage.call_out("wrong door", &callout("production", &theirs, "n-1", &body)).await;
    assert_eq!(wrong.status, 401, "{wrong:?}");
    let wrong = stage
        .call_out("wrong door", &callout("sandbox", &basic(USER, PASSWORD), "n-1", &body))
        .await;
    assert_eq!(wrong.status, 401, "{wrong:?}");
    let unknown = stage.call_out("own door", &callout("sandbox", &theirs, "n-1", &body)).await;
    assert_eq!(unknown.status, 200, "{unknown:?}");

    assert_eq!(stage.status("t-1").await, 202, "it is another tenant's");
    // And its notification id says nothing about ours.
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "own")).await.status, 200);
    assert_eq!(json_of(&stage.look("/_gateway/async-requests/t-1").await)["id"], "own");
}

#[tokio::test]
async fn the_first_end_counts_whatever_comes_after_it() {
    let stage = Stage::start().await;
    let good = |id: &str, track: &str, what: &str| succeeded(id, track, what);
    let bad = |id: &str, track: &str, what: &str| failed(id, track, what);
    for (at, first_is_good) in [(0, true), (1, false)] {
        let (track, id) = (format!("t-{at}"), format!("r-{at}"));
        stage.accepted(&track, &id).await;
        let (first, second) = match first_is_good {
            true => (good(&id, &track, "first"), bad(&id, &track, "second")),
            false => (bad(&id, &track, "first"), good(&id, &track, "second")),
        };
        // The same again, another with the same notification id, and another altogether.
        for (notification, body) in [
            ("a", &first),
            ("a", &first),
            ("a", &second),
            ("b", &second),
            ("b", &second),
            ("c", &first),
        ] {
            let told = stage.deliver(&format!("{notification}-{at}"), body).await;
            assert_eq!(told.status, 200, "{told:?}");
            let shown = json_of(&stage.look(&format!("/_gateway/async-requests/{track}")).await);
            assert_eq!(shown["success"], first_is_good, "{shown:#}");
            assert!(shown.to_string().contains("first"), "{shown:#}");
        }
    }
    assert_eq!(stage.counted("taken").await, 2.0);
    assert!(stage.counted("duplicate").await >= 8.0);
}

#[tokio::test]
async fn a_callout_may_overtake_the_answer() {
    let stage = Stage::start().await;
    let word = Arc::new(Notify::new());
    stage.scene.upstream.play(
        Play::default().until(&word).then(on_the_wire("202 Accepted", "{\"requestId\":\"r-1\"}")),
    );
    let mut raw = Raw::connect(stage.address()).await;
    raw.write(asking("t-1")).await;
    soon("it was sent", || stage.scene.upstream.lines().len() == 1).await;

    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "early")).await.status, 200);
    let before = stage.look("/_gateway/async-requests/t-1").await;
    assert_eq!((before.status, &json_of(&before)["id"]), (200, &json!("early")));
    word.notify_one();

    let told = raw.answer().await;
    assert_eq!((told.status, &*told.text()), (202, "{\"requestId\":\"r-1\"}"), "{told:?}");
    let after = stage.look(&location(&told)).await;
    assert_eq!(
        (after.status, &json_of(&after)["id"]),
        (200, &json!("early")),
        "the answer takes nothing back"
    );
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "early")).await.status, 200);
    assert_eq!(stage.counted("taken").await, 1.0);
    let listed = outcomes::records(&stage.look("/_gateway/async-requests?state=succeeded").await);
    assert_eq!(listed.len(), 1, "{listed:#?}");
    assert!(listed[0]["acceptedOn"].is_string(), "{listed:#?}");
}

#[tokio::test]
async fn a_callout_that_overtook_a_lost_answer_is_the_answer_of_who_waits() {
    let stage = Stage::start().await;
    let word = Arc::new(Notify::new());
    stage.scene.upstream.play(Play::default().until(&word).and_close());
    let mut raw = Raw::connect(stage.address()).await;
    raw.write(super::stage::asking_with("t-1", "respond-async, wait=8")).await;
    soon("it was sent", || stage.scene.upstream.lines().len() == 1).await;
    assert_eq!(stage.deliver("n-1", &failed("r-1", "t-1", "early")).await.status, 200);
    word.notify_one();
    let told = raw.answer().await;
    assert_eq!((told.status, &json_of(&told)["success"]), (200, &json!(false)), "{told:?}");
}

#[tokio::test]
async fn a_callout_of_another_request_with_the_same_track_id_is_not_meant() {
    let stage = Stage::start().await;
    stage.accepted("t-1", "r-1").await;

    let told = stage.deliver("n-2", &succeeded("r-2", "t-1", "another's")).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(stage.status("t-1").await, 202, "another request of another life had this track id");
    assert_eq!(stage.counted("unknown").await, 1.0);

    // The request id is enough, whatever the track id says.
    assert_eq!(stage.deliver("n-3", &succeeded("r-1", "another", "its-own")).await.status, 200);
    assert_eq!(json_of(&stage.look("/_gateway/async-requests/t-1").await)["id"], "its-own");
    // Of neither, nobody knows.
    assert_eq!(stage.deliver("n-4", &succeeded("r-9", "t-9", "x")).await.status, 200);
    assert_eq!(stage.counted("unknown").await, 2.0);
    assert_eq!(stage.status("t-9").await, 404);
}

#[tokio::test]
async fn what_is_no_callout_is_refused_and_does_no_harm() {
    let stage = Stage::start().await;
    stage.accepted("t-1", "r-1").await;
    let good = succeeded("r-1", "t-1", "forged");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let cases = [
        ("nothing", String::new()),
        ("text", "succeeded".to_owned()),
        ("null", "null".to_owned()),
        ("a list", format!("[{good}]")),
        ("a text", format!("{good:?}")),
        ("half of it", good[..good.len() / 2].to_owned()),
        ("a byte too many", format!("{good}}}")),
        ("two of them", format!("{good}{good}")),
        ("XML", "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>".to_owned()),
        ("no request", json!({"state": "succeeded", "data": {"id": "x"}}).to_string()),
        ("no ids", json!({"request": {}, "state": "succeeded", "data": {"id": "x"}}).to_string()),
        (
            "neither a state nor what came of it",
            json!({"request": {"id": "r-1", "trackId": "t-1"}}).to_string(),
        ),
        (
            "another state",
            json!({"request": {"id": "r-1", "trackId": "t-1"}, "state": "running"}).to_string(),
        ),
        (
            "a state that is none",
            json!({"request": {"id": "r-1", "trackId": "t-1"}, "state": {"x": 1}}).to_string(),
        ),
        ("a request that is none", json!({"request": "r-1", "state": "succeeded"}).to_string()),
        ("deep", deep),
    ];
    for (name, body) in cases {
        let told =
            stage.call_out(name, &callout("production", &basic(USER, PASSWORD), name, &body)).await;
        assert_eq!(told.status, 400, "{name}: {told:?}");
        assert_eq!(stage.status("t-1").await, 202, "{name}");
    }
    assert!(stage.counted("malformed").await >= 16.0);
    // What a stranger sends is not even looked at.
    assert_eq!(stage.call_out("stranger", &callout("production", "", "n", "{")).await.status, 401);
    // What is lacking but the ids and the state is not missed.
    let lean = json!({"request": {"id": "r-1"}, "state": "succeeded", "more": [1, {"id": "r-7"}]});
    assert_eq!(stage.deliver("n", &lean.to_string()).await.status, 200);
    assert_eq!(json_of(&stage.look("/_gateway/async-requests/t-1").await)["success"], true);
}

#[tokio::test]
async fn a_key_that_is_there_twice_does_not_make_two_readings() {
    let stage = Stage::start().await;
    stage.accepted("t-1", "r-1").await;
    let tricks = [
        r#"{"state":"failed","request":{"id":"r-1","trackId":"t-1"},"state":"succeeded","data":{"id":"x"}}"#,
        r#"{"state":"succeeded","request":{"id":"r-1"},"request":{"id":"r-2"},"data":{"id":"x"}}"#,
        r#"{"state":"succeeded","request":{"id":"r-2","id":"r-1"},"data":{"id":"x"}}"#,
    ];
    for trick in tricks {
        let told = stage.deliver("n", trick).await;
        assert_eq!(told.status, 400, "{trick}: {told:?}");
        assert_eq!(stage.status("t-1").await, 202, "{trick}");
    }
}

#[tokio::test]
async fn sixty_kilobytes_of_reasons_are_kept_and_told() {
    let stage = Stage::start().await;
    let place = stage.accepted("t-1", "r-1").await;
    let long = "Caf\u{e9} \u{1f600} \"\\ ".repeat(4_500);
    assert!(long.len() > 60_000);

    assert_eq!(stage.deliver("n-1", &failed("r-1", "t-1", &long)).await.status, 200);

    let told = stage.look(&place).await;
    let shown = json_of(&told);
    assert_eq!(shown["success"], false);
    // As far as it is kept, it is what Zuora said.
    let message = shown["reasons"][0]["message"].as_str().unwrap();
    assert!(message == long, "{} of {} bytes", message.len(), long.len());
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_has_come() {
    let stage = Stage::start().await;
    stage.accepted("t-1", "r-1").await;
    let at_most = failed("r-2", "t-2", &"x".repeat(250 << 10));
    assert!(at_most.len() <= 256 << 10);
    assert_eq!(stage.deliver("n-0", &at_most).await.status, 200);

    let large = failed("r-1", "t-1", &"x".repeat(10 << 20));
    let began = Instant::now();
    let told =
        stage.call_out("10 MB", &callout("production", &basic(USER, PASSWORD), "n", &large)).await;
    assert_eq!(told.status, 413, "{told:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    // In chunks, nobody says how long it will be.
    let mut raw = Raw::connect_as_stranger(stage.address()).await;
    let head = callout("production", &basic(USER, PASSWORD), "n", "");
    raw.write(head.replace("Content-Length: 0", "Transfer-Encoding: chunked")).await;
    for _ in 0..20 {
        raw.write(format!("8000\r\n{}\r\n", "x".repeat(0x8000))).await;
    }
    assert_eq!(raw.answer().await.status, 413);

    // One that only says so is refused for what it says.
    let mut raw = Raw::connect_as_stranger(stage.address()).await;
    raw.write(head.replace("Content-Length: 0", "Content-Length: 99999999999")).await;
    assert_eq!(raw.answer().await.status, 413);
    assert_eq!(stage.counted("too-large").await, 3.0);
    assert_eq!(stage.status("t-1").await, 202);
    // A stranger is not read for that long either.
    let mut raw = Raw::connect_as_stranger(stage.address()).await;
    raw.write(
        callout("production", "", "n", "")
            .replace("Content-Length: 0", "Content-Length: 99999999999"),
    )
    .await;
    assert!(matches!(raw.answer().await.status, 401 | 413));
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for_longer_than_zuora_would_take() {
    let stage = Stage::start().await;
    let mut raw = Raw::connect_as_stranger(stage.address()).await;
    let head = callout("production", &basic(USER, PASSWORD), "n", "");
    let began = Instant::now();
    raw.write(head.replace("Content-Length: 0", "Content-Length: 100") + "{").await;
    sleep(Duration::from_secs(9)).await;
    let end = timeout(Duration::from_secs(14), raw.answer()).await.expect("it ends");
    assert!(matches!(end.status, 0 | 400 | 408), "{end:?}");
    let took = began.elapsed();
    assert!(took > Duration::from_secs(10) && took < Duration::from_secs(22), "{took:?}");
}

/// How long the slowest of some calls of the app took, each over a connection of its own.
async fn slowest(stage: &Stage, calls: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..calls {
        let began = Instant::now();
        let told = Raw::ask(stage.address(), get("/v1/accounts/A1", "Connection: close\r\n")).await;
        assert_eq!(told.status, 200, "{told:?}");
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callouts_at_once_hold_up_no_app() {
    let stage = Arc::new(Stage::start().await);
    for at in 0..20 {
        stage.accepted(&format!("t-{at}"), &format!("r-{at}")).await;
    }
    stage.scene.upstream.forget();
    let address = stage.address();
    // A few hundred that send nothing more hold nobody up either, and strangers among them take no place of Zuora's.
    let mut slow = Vec::new();
    for at in 0..300 {
        let mut raw = Raw::connect_as_stranger(address).await;
        let whose = match at % 15 {
            0 => basic(USER, PASSWORD),
            1..7 => basic(USER, "a guess"),
            _ => String::new(),
        };
        let head = callout("production", &whose, "n", "");
        raw.write(head.replace("Content-Length: 0", "Content-Length: 100") + "{").await;
        slow.push(raw);
    }
    let before = slowest(&stage, 20).await;

    let flood = (0..1000).map(|at| {
        tokio::spawn(async move {
            let (id, track) = (format!("r-{}", at % 40), format!("t-{}", at % 40));
            let bytes = callout(
                "production",
                &basic(USER, PASSWORD),
                &format!("n-{at}"),
                &succeeded(&id, &track, "x"),
            );
            Raw::ask(address, bytes).await.status
        })
    });
    let flood: Vec<_> = flood.collect();
    let during = slowest(&stage, 60).await;
    let statuses: Vec<u16> = timeout(Duration::from_secs(60), join_all(flood))
        .await
        .expect("in time")
        .into_iter()
        .map(Result::unwrap)
        .collect();

    // Each was taken, or told to come again.
    assert!(statuses.iter().all(|it| matches!(it, 200 | 503 | 429)), "{statuses:?}");
    assert!(statuses.iter().filter(|it| **it == 200).count() > 0, "{statuses:?}");
    assert!(during < Duration::from_secs(2), "{before:?} before, {during:?} during");
    drop(slow);
    // What was not taken comes again, and then all are known.
    for at in 0..20 {
        let told = super::stage::until(
            "taken",
            Duration::from_secs(10),
            async || {
                stage
                    .deliver(
                        &format!("again-{at}"),
                        &succeeded(&format!("r-{at}"), &format!("t-{at}"), "x"),
                    )
                    .await
            },
            |it| it.status == 200,
        )
        .await;
        assert_eq!(told.status, 200);
        assert_eq!(stage.status(&format!("t-{at}")).await, 200);
    }
}

#[tokio::test]
async fn callouts_are_not_calls_of_apps() {
    let stage = Stage::start().await;
    stage.accepted("t-1", "r-1").await;
    let requests = async || {
        let text = look(stage.scene.house.gateway.admin_address(), "/metrics").await.text();
        metric(&text, "requests_total", &[])
    };
    let before = requests().await;
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "x")).await.status, 200);
    assert_eq!(stage.call_out("none", &callout("production", "", "n", "")).await.status, 401);
    assert_eq!(requests().await, before);
}

/// Guesses wait longer and longer; Zuora does not.
#[tokio::test]
async fn who_guesses_the_password_waits_and_zuora_does_not() {
    let stage = Stage::start().await;
    let began = Instant::now();
    let address = stage.address();
    let guesses = (0..20).map(|at| async move {
        let bytes = callout("production", &basic(USER, &format!("guess-{at}")), "n", "{}");
        Raw::ask(address, bytes).await.status
    });
    let statuses = join_all(guesses).await;
    assert!(statuses.iter().all(|it| *it == 401), "{statuses:?}");
    assert!(began.elapsed() > Duration::from_millis(1500), "{:?}", began.elapsed());
    let began = Instant::now();
    let right = callout("production", &basic(USER, PASSWORD), "n", &succeeded("r", "t", "x"));
    assert_eq!(Raw::ask(address, right).await.status, 200);
    // Nor does one who only waits to be asked.
    assert_eq!(Raw::ask(address, callout("production", "", "n", "{}")).await.status, 401);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

/// A door of its own serves callouts and nothing else, and then they come nowhere else.
#[tokio::test]
async fn a_door_for_callouts_alone() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = free.local_addr().unwrap();
    drop(free);
    let yaml = Yaml {
        listen: vec![format!("callouts: {{address: \"{door}\", tls: null}}")],
        ..yaml("", "")
    };
    let stage = Stage::with(&yaml).await;
    stage.accepted("t-1", "r-1").await;
    let body = succeeded("r-1", "t-1", "x");
    let bytes = callout("production", &basic(USER, PASSWORD), "n", &body);

    let shut = stage.call_out("the apps' door", &bytes).await;
    assert!(matches!(shut.status, 401 | 404), "{shut:?}");
    assert_eq!(stage.status("t-1").await, 202);
    for target in [
        "/v1/accounts/A1",
        "/_gateway/whoami",
        "/_gateway/async-requests/t-1",
        "/oauth/token",
        "/",
        "/metrics",
        "/livez",
    ] {
        stage.scene.upstream.forget();
        let asked = get(target, "Connection: close\r\n");
        let told = told(target, Raw::connect_as_stranger(door).await, &asked).await;
        assert!(matches!(told.status, 401 | 404 | 405), "{target}: {told:?}");
        assert!(stage.scene.upstream.lines().is_empty(), "{target}");
    }
    let told = told("its own", Raw::connect_as_stranger(door).await, &bytes).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(stage.status("t-1").await, 200);
}
