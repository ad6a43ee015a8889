//! Who asks for a write to take its time, and what it is told.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;
use testkit::{Answer, Raw, SECRET, Yaml};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::stage::{
    BODY, OTHER_SECRET, Stage, accepts, asking, asking_with, failed, json_of, key, location, look,
    on_the_wire, succeeded, write, write_of, yaml,
};
use crate::wire::attack::{get, soon};
use crate::wire::upstream::{Message, Play};

/// The request lines of what the tenant received.
fn lines(received: &[Message]) -> Vec<String> {
    received.iter().map(Message::line).collect()
}

#[tokio::test]
async fn a_write_that_asks_is_accepted_and_its_outcome_is_where_it_was_told() {
    let stage = Stage::start().await;
    let told = "{\r\n  \"requestId\" : \"r-1\",\n  \"n\" : 1.0E-9 }";
    let fields = "Prefer: respond-async\r\nZuora-Track-Id: t-1\r\nZuora-Version: 2025-08-12\r\n\
                  X-Own: 1\r\nX-Own: 2\r\n";

    let asked = write("POST", "/v1/accounts?a=%2F&b", fields, BODY);
    let (accepted, received) = stage.ask("asked", accepts(told), asked).await;

    let [sent] = &received[..] else { panic!("{received:?}") };
    assert_eq!(sent.line(), "POST /v1/async/accounts?a=%2F&b HTTP/1.1");
    assert_eq!(sent.body(), BODY.as_bytes());
    assert_eq!(sent.fields("zuora-track-id"), ["t-1"]);
    assert_eq!(sent.fields("zuora-version"), ["2025-08-12"]);
    assert_eq!(sent.fields("x-own"), ["1", "2"]);
    assert_eq!(sent.fields("content-type"), ["application/json"]);
    assert!(sent.fields("prefer").is_empty(), "{}", sent.text());
    assert!(sent.fields("idempotency-key").is_empty(), "{}", sent.text());
    assert_eq!((accepted.status, &*accepted.text()), (202, told));
    assert_eq!(accepted.field("preference-applied"), Some("respond-async"));
    assert_eq!(accepted.field("location"), Some("/_gateway/async-requests/t-1"));
    assert_eq!(accepted.field("zuora-track-id"), Some("t-1"));
    assert_eq!(accepted.field("zuora-gateway-error"), None);

    let pending = stage.look(&location(&accepted)).await;
    assert_eq!(pending.status, 202, "{pending:?}");
    assert!(pending.field("retry-after").is_some_and(|it| it.parse::<u32>().is_ok()));
    let shown = json_of(&pending);
    let expected = [("success", json!(true)), ("state", json!("accepted"))];
    let ids = [("trackId", json!("t-1")), ("requestId", json!("r-1"))];
    for (name, value) in expected.into_iter().chain(ids) {
        assert_eq!(shown[name], value, "{shown:#}");
    }
    assert!(shown["submittedOn"].is_string(), "{shown:#}");

    let taken = stage.deliver("n-1", &succeeded("r-1", "t-1", "402880e4")).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let outcome = stage.look(&location(&accepted)).await;
    assert_eq!(outcome.status, 200, "{outcome:?}");
    assert_eq!(json_of(&outcome), json!({"success": true, "id": "402880e4"}));
}

#[tokio::test]
async fn a_failure_is_told_with_zuoras_reasons() {
    let stage = Stage::start().await;
    let place = stage.accepted("t-1", "r-1").await;

    let why = "Caf\u{e9} \"is\" not 'valid'";
    assert_eq!(stage.deliver("n-1", &failed("r-1", "t-1", why)).await.status, 200);

    let outcome = stage.look(&place).await;
    assert_eq!(outcome.status, 200, "{outcome:?}");
    let shown = json_of(&outcome);
    assert_eq!(shown["success"], false);
    assert_eq!(shown["reasons"][0]["message"], why);
    let code = &shown["reasons"][0]["code"];
    assert!(*code == json!("53100020") || *code == json!(53_100_020), "{shown:#}");
    assert_eq!(shown["processId"], "3F7EA3FD706C7E7C");
    assert_eq!(outcome.field("zuora-gateway-error"), None, "it is Zuora's: {outcome:?}");
}

#[tokio::test]
async fn nobody_gets_an_asynchronous_answer_who_did_not_ask() {
    let stage = Stage::start().await;
    for prefer in [
        "",
        "Prefer: wait=5\r\n",
        "Prefer: respond-asynchronously\r\n",
        "Prefer: x=\"respond-async\"\r\n",
    ] {
        let asked = write("POST", "/v1/accounts", prefer, BODY);
        let (told, received) =
            stage.ask(prefer, Play::send(on_the_wire("200 OK", "{\"success\":true}")), asked).await;
        assert_eq!(told.status, 200, "{prefer}: {told:?}");
        assert_eq!(lines(&received), ["POST /v1/accounts HTTP/1.1"], "{prefer}");
        let applied = told.field("preference-applied").unwrap_or_default();
        assert!(!applied.contains("respond-async"), "{prefer}: {told:?}");
        for field in ["location", "zuora-gateway-not-async"] {
            assert_eq!(told.field(field), None, "{prefer}: {told:?}");
        }
    }
}

#[tokio::test]
async fn every_spelling_of_the_wish_is_heard_and_other_wishes_go_on() {
    let stage = Stage::start().await;
    let spellings = [
        ("Prefer: respond-async\r\n", ""),
        ("prefer: Respond-Async\r\n", ""),
        ("Prefer: return=minimal, respond-async\r\n", "return=minimal"),
        ("Prefer: respond-async,return=minimal\r\n", "return=minimal"),
        ("Prefer: return=minimal\r\nPrefer: respond-async\r\n", "return=minimal"),
        (
            "Prefer: \"x, respond-async\"=1;y=\"a,b\" , respond-async\r\n",
            "\"x, respond-async\"=1;y=\"a,b\"",
        ),
        ("Prefer: x=\"a, b\", respond-async; z\r\n", "x=\"a, b\""),
    ];
    for (at, (fields, rest)) in spellings.into_iter().enumerate() {
        let asked =
            write("POST", "/v1/accounts", &format!("{fields}Zuora-Track-Id: p-{at}\r\n"), BODY);
        let (told, received) = stage.ask(fields, accepts("{\"id\":\"1\"}"), asked).await;
        assert_eq!(told.status, 202, "{fields}: {told:?}");
        assert_eq!(lines(&received), ["POST /v1/async/accounts HTTP/1.1"], "{fields}");
        let passed = received[0].fields("prefer").join(", ");
        assert!(
            !passed.replace("\"x, respond-async\"", "").contains("espond-async"),
            "{fields}: {passed}"
        );
        assert!(passed.contains(rest), "{fields}: {passed}");
    }
}

/// What is asked for and cannot be is done in the usual way, and the app is told why.
#[tokio::test]
async fn what_cannot_take_its_time_is_done_at_once_and_says_why() {
    let rewrite = "{operations: [\"POST /v1/object/product\"], when: never}";
    let yaml = Yaml {
        app: vec!["deny: [\"* /v1/async/payments\", \"POST /v1/async/invoices\"]".to_owned()],
        ..yaml(rewrite, "")
    };
    let stage = Stage::with(&yaml).await;
    let json = "Prefer: respond-async\r\n";
    let of_type = |kind: &str| format!("{json}Content-Type: {kind}\r\n");
    let cases = [
        ("GET", "/v1/accounts/A1", json.to_owned(), "operation"),
        ("PATCH", "/v1/accounts/A1", json.to_owned(), "operation"),
        ("POST", "/v1/orders", json.to_owned(), "operation"),
        ("POST", "/v1/orders/preview", json.to_owned(), "operation"),
        ("DELETE", "/v1/orders/O-1", json.to_owned(), "operation"),
        ("POST", "/rest/v1/orders", json.to_owned(), "operation"),
        ("POST", "/v1/action/create", json.to_owned(), "operation"),
        ("POST", "/v1/action/query", json.to_owned(), "operation"),
        ("POST", "/v1/subscriptions/preview", json.to_owned(), "operation"),
        ("POST", "/v1/rsa-signatures", json.to_owned(), "operation"),
        ("POST", "/v1/unheard/of", json.to_owned(), "operation"),
        ("POST", "/v2/accounts", json.to_owned(), "operation"),
        ("POST", "/query/jobs", json.to_owned(), "operation"),
        ("POST", "/notifications/notification-definitions", json.to_owned(), "operation"),
        ("POST", "/v1/accounts", of_type("text/plain"), "content-type"),
        ("POST", "/v1/accounts", of_type("application/jsonx"), "content-type"),
        ("POST", "/v1/accounts", of_type("multipart/form-data; boundary=x"), "content-type"),
        ("POST", "/v1/object/product", json.to_owned(), "policy"),
        ("POST", "/v1/payments", json.to_owned(), "policy"),
        ("POST", "/v1/invoices", json.to_owned(), "policy"),
    ];
    for (method, target, fields, why) in cases {
        let name = format!("{method} {target} {fields}");
        let asked = write(method, target, &fields, if method == "GET" { "" } else { "{}" });
        let (told, received) =
            stage.ask(&name, Play::send(on_the_wire("200 OK", "{\"success\":true}")), asked).await;
        assert_eq!(told.status, 200, "{name}: {told:?}");
        assert_eq!(lines(&received), [format!("{method} {target} HTTP/1.1")], "{name}");
        assert_eq!(told.field("zuora-gateway-not-async"), Some(why), "{name}: {told:?}");
        assert_eq!(told.field("preference-applied"), None, "{name}");
        assert_eq!(received[0].fields("prefer"), ["respond-async"], "{name}: it passes as before");
    }
    for kind in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;charset=\"UTF-8\"",
    ] {
        let (told, received) = stage
            .ask(
                kind,
                accepts("{\"id\":\"1\"}"),
                write("POST", "/v1/accounts", &of_type(kind), "{}"),
            )
            .await;
        assert_eq!(told.status, 202, "{kind}: {told:?}");
        assert_eq!(lines(&received), ["POST /v1/async/accounts HTTP/1.1"], "{kind}");
    }
}

#[tokio::test]
async fn where_nothing_is_called_out_nothing_is_rewritten() {
    let stage = Stage::with(&Yaml::default()).await;
    let (told, received) = stage
        .ask("asked", Play::send(on_the_wire("200 OK", "{\"success\":true}")), asking("t-1"))
        .await;
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(lines(&received), ["POST /v1/accounts HTTP/1.1"]);
    assert_eq!(told.field("zuora-gateway-not-async"), Some("not-configured"));
    assert_eq!(told.field("location"), None);
}

#[tokio::test]
async fn the_first_entry_that_matches_says_when() {
    let rewrite = "{apps: [other], operations: [\"POST /v1/accounts\"], when: always}, \
                   {operations: [\"POST /v1/accounts\"], when: never}, \
                   {operations: [\"POST /v1/accounts\"], when: always}";
    let stage = Stage::with(&yaml(rewrite, "")).await;
    let sync = || Play::send(on_the_wire("200 OK", "{\"success\":true}"));

    let (told, received) = stage.ask("never", sync(), asking("t-1")).await;
    assert_eq!(told.status, 200);
    assert_eq!(lines(&received), ["POST /v1/accounts HTTP/1.1"]);
    assert_eq!(told.field("zuora-gateway-not-async"), Some("policy"));

    let always = write_of(OTHER_SECRET, "POST", "/v1/accounts", "", BODY);
    let (told, received) = stage.ask("always", accepts("{\"id\":\"r\"}"), always).await;
    assert_eq!(told.status, 202, "{told:?}");
    assert_eq!(lines(&received), ["POST /v1/async/accounts HTTP/1.1"]);
    let outcome = look(stage.address(), &location(&told), OTHER_SECRET).await;
    assert_eq!(outcome.status, 202, "{outcome:?}");
}

#[tokio::test]
async fn a_write_spills_over_only_after_it_has_waited() {
    let spill = "{operations: [\"PUT /v1/accounts/{account-key}\"], when_waiting: 300ms}";
    let spill = spill.replace("{account-key}", "*");
    let yaml = Yaml {
        tenant: vec![
            key(&spill, ""),
            "concurrency: {limits: {Default: 1}, headroom: 0}".to_owned(),
        ],
        ..yaml("", "")
    };
    let stage = Stage::with(&yaml).await;
    let put = || write("PUT", "/v1/accounts/A1", "", BODY);
    let sync = || Play::send(on_the_wire("200 OK", "{\"success\":true}"));
    let (told, received) = stage.ask("nobody waits", sync(), put()).await;
    assert_eq!((told.status, lines(&received)), (200, vec!["PUT /v1/accounts/A1 HTTP/1.1".into()]));
    assert_eq!(told.field("location"), None);

    // One that holds the only permit, for as long as the second waits.
    for (held, expected) in [(50, "/v1/accounts/A1"), (700, "/v1/async/accounts/A1")] {
        stage.scene.upstream.forget();
        let word = Arc::new(Notify::new());
        let usual = on_the_wire("200 OK", "{\"success\":true}");
        stage.scene.upstream.play(Play::default().until(&word).then(&usual));
        stage.scene.upstream.play(Play::send(usual));
        let address = stage.address();
        let first = tokio::spawn(Raw::ask(address, get("/v1/first", "")));
        soon("the permit is out", || stage.scene.queued_and_in_use().1 == 1).await;
        let second = tokio::spawn(Raw::ask(address, put()));
        soon("the second waits", || stage.scene.queued_and_in_use().0 == 1).await;
        sleep(Duration::from_millis(held)).await;
        word.notify_one();
        assert_eq!(first.await.unwrap().status, 200);
        let second = second.await.unwrap();

        assert_eq!(second.status, if held > 300 { 202 } else { 200 }, "{second:?}");
        let sent = stage.scene.upstream.lines();
        assert_eq!(sent[1..], [format!("PUT {expected} HTTP/1.1")], "after {held} ms");
        assert_eq!(second.field("location").is_some(), held > 300, "{second:?}");
    }
}

#[tokio::test]
async fn a_body_too_large_to_keep_flows_once() {
    let stage = Stage::with(&yaml("", "")).await;
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(3 << 20));
    let asked = write("POST", "/v1/accounts", "Prefer: respond-async\r\n", &body);

    let (told, received) = stage.ask("large", accepts("{\"id\":\"r\"}"), asked).await;

    assert_eq!(told.status, 202, "{told:?}");
    assert_eq!(lines(&received), ["POST /v1/async/accounts HTTP/1.1"]);
    // What is not kept comes in chunks.
    assert!(received[0].0.len() >= body.len());
}

#[tokio::test]
async fn what_zuora_refuses_is_told_and_forgotten() {
    let stage = Stage::start().await;
    let refusals = [
        (
            "400 Bad Request",
            json!({"success": false, "reasons": [{"code": 53_100_020, "message": "no"}]}),
        ),
        ("200 OK", json!({"success": false, "reasons": [{"code": 53_100_020, "message": "no"}]})),
        (
            "202 Accepted",
            json!({"success": false, "reasons": [{"code": 53_100_020, "message": "no"}]}),
        ),
        (
            "403 Forbidden",
            json!({"success": false, "reasons": [{"code": 50_000_010, "message": "no"}]}),
        ),
        (
            "404 Not Found",
            json!({"success": false, "reasons": [{"code": 50_000_040, "message": "no"}]}),
        ),
        ("415 Unsupported Media Type", json!({"success": false})),
    ];
    for (status, body) in refusals {
        let body = body.to_string();
        let (told, received) =
            stage.ask(status, Play::send(on_the_wire(status, &body)), asking("t-1")).await;
        assert_eq!(lines(&received), ["POST /v1/async/accounts HTTP/1.1"], "{status}");
        assert!(status.starts_with(&told.status.to_string()), "{status}: {told:?}");
        assert_eq!(told.text(), body, "{status}");
        assert_eq!(told.field("location"), None, "{status}: {told:?}");
        assert_eq!(told.field("preference-applied"), None, "{status}: {told:?}");
        let gone = stage.look("/_gateway/async-requests/t-1").await;
        assert_eq!(gone.status, 404, "{status}: {gone:?}");
    }
    // And its track id is free.
    stage.accepted("t-1", "r-1").await;
}

#[tokio::test]
async fn nobody_asks_twice_for_what_may_have_been_accepted() {
    let stage = Stage::start().await;
    let half = on_the_wire("202 Accepted", "{\"requestId\":\"r-0\"}");
    let ends = [
        ("closed", Play::close(), ""),
        ("reset", Play::reset(), ""),
        ("closed in the head", Play::send(&half[..20]).and_close(), ""),
        ("reset in the head", Play::send(&half[..20]).and_reset(), ""),
        ("with a key of the app's own", Play::close(), "Idempotency-Key: mine\r\n"),
        ("the edge gave up", Play::send(on_the_wire("504 Gateway Timeout", "{}")), ""),
        ("the edge broke", Play::send(on_the_wire("502 Bad Gateway", "<html>")), ""),
        (
            "the edge with a key",
            Play::send(on_the_wire("503 Service Unavailable", "")),
            "Idempotency-Key: k\r\n",
        ),
    ];
    for (at, (name, play, fields)) in ends.into_iter().enumerate() {
        let track_id = format!("t-{at}");
        let fields = format!("Prefer: respond-async\r\nZuora-Track-Id: {track_id}\r\n{fields}");
        let (told, received) =
            stage.ask(name, play, write("POST", "/v1/accounts", &fields, BODY)).await;
        sleep(Duration::from_millis(100)).await;
        let again = stage.scene.upstream.requests();

        assert_eq!(lines(&again), ["POST /v1/async/accounts HTTP/1.1"], "{name}: {told:?}");
        let own_key = fields.contains("Idempotency-Key");
        assert_eq!(received[0].fields("idempotency-key").len(), usize::from(own_key), "{name}");
        assert!(matches!(told.status, 502..=504), "{name}: {told:?}");
        assert_eq!(told.field("zuora-gateway-executed"), Some("maybe"), "{name}: {told:?}");
        let place = location(&told);
        assert_eq!(place, format!("/_gateway/async-requests/{track_id}"), "{name}");
        let nothing = stage.look(&place).await;
        assert_ne!(nothing.status, 200, "{name}: nobody knows: {nothing:?}");

        // The callout knows it by its track id.
        let body = succeeded(&format!("r-{at}"), &track_id, "id-1");
        assert_eq!(stage.deliver(&format!("n-{at}"), &body).await.status, 200, "{name}");
        assert_eq!(
            json_of(&stage.look(&place).await),
            json!({"success": true, "id": "id-1"}),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_never_left_is_forgotten() {
    let stage = Stage::with(&Yaml {
        tenant: vec![
            key("", ""),
            "retry: {attempts: 1}".to_owned(),
            "queue: {timeout: 2s}".to_owned(),
        ],
        ..yaml("", "")
    })
    .await;
    // So that it has a token and no open connection.
    let (_, _) = stage
        .ask("before", Play::send(on_the_wire("200 OK", "{}")).and_close(), get("/v1/a", ""))
        .await;
    stage.scene.upstream.refuse_connections();
    sleep(Duration::from_millis(50)).await;

    let told = stage.scene.exchange("nobody there", asking("t-1")).await.answer;

    assert!(matches!(told.status, 502 | 503), "{told:?}");
    assert_eq!(told.field("zuora-gateway-executed"), Some("no"), "{told:?}");
    assert_eq!(told.field("location"), None, "{told:?}");
    assert_eq!(stage.look("/_gateway/async-requests/t-1").await.status, 404);
}

#[tokio::test]
async fn what_zuora_refused_for_a_limit_comes_again_in_the_same_form() {
    let tenant = vec![key("", ""), "concurrency: {headroom: 0, retry_after_cap: 100ms}".to_owned()];
    let stage = Stage::with(&Yaml { tenant, ..yaml("", "") }).await;
    let refusal = json!({"success": false, "reasons": [{"code": 50_000_070, "message": "Concurrency limit"}]});
    let refused = on_the_wire("429 Too Many Requests", &refusal.to_string())
        .replace("\r\ncontent-type", "\r\nretry-after: 120\r\ncontent-type");
    stage.scene.upstream.forget();
    stage.scene.upstream.play(Play::send(refused));
    stage.scene.upstream.play(accepts("{\"requestId\":\"r-1\"}"));

    let told = stage.scene.exchange("refused once", asking("t-1")).await.answer;

    assert_eq!(told.status, 202, "{told:?}");
    let sent = stage.scene.upstream.requests();
    assert_eq!(lines(&sent), ["POST /v1/async/accounts HTTP/1.1"; 2]);
    assert!(
        sent.iter()
            .all(|it| it.fields("zuora-track-id") == ["t-1"] && it.body() == BODY.as_bytes())
    );
    assert_eq!(json_of(&stage.look(&location(&told)).await)["requestId"], "r-1");
}

/// Zuora does not say how the field is called.
#[tokio::test]
async fn a_request_id_is_found_by_whatever_name_it_goes() {
    let stage = Stage::start().await;
    let bodies = [
        r#"{"requestId":"ID"}"#,
        r#"{"id":"ID"}"#,
        r#"{"success":true,"requestId":"ID"}"#,
        r#"{"request":{"id":"ID"}}"#,
        r#"{"success":true,"request":{"id":"ID","trackId":"x"},"n":[{"id":"no"}]}"#,
    ];
    for (at, body) in bodies.into_iter().enumerate() {
        let (id, track_id) = (format!("r-{at}"), format!("t-{at}"));
        let body = body.replace("ID", &id);
        let (told, _) = stage.ask(&body, accepts(&body), asking(&track_id)).await;
        assert_eq!((told.status, told.text()), (202, body.clone()), "{told:?}");
        // Without its track id, only the request id tells whose callout it is.
        let callout = succeeded(&id, "", "done").replace(",\"trackId\":\"\"", "");
        assert!(!callout.contains("trackId"), "{callout}");
        assert_eq!(stage.deliver(&format!("n-{at}"), &callout).await.status, 200, "{body}");
        assert_eq!(json_of(&stage.look(&location(&told)).await)["id"], "done", "{body}");
    }
    // Where there is none, the track id tells.
    for (at, body) in ["", "{}", "accepted", "[]", "{\"requestId\":null}"].into_iter().enumerate() {
        let track_id = format!("u-{at}");
        let (told, _) = stage.ask(body, accepts(body), asking(&track_id)).await;
        assert_eq!((told.status, told.text()), (202, body.to_owned()), "{told:?}");
        let callout = succeeded(&format!("q-{at}"), &track_id, "done");
        assert_eq!(stage.deliver(&format!("m-{at}"), &callout).await.status, 200, "{body}");
        assert_eq!(json_of(&stage.look(&location(&told)).await)["id"], "done", "{body}");
    }
}

#[tokio::test]
async fn an_answer_is_held_for_as_long_as_the_app_waits() {
    let stage = Stage::start().await;
    // Nothing comes: the acceptance, when the time is over.
    let began = Instant::now();
    let (told, _) = stage
        .ask(
            "in vain",
            accepts("{\"requestId\":\"r-1\"}"),
            asking_with("t-1", "respond-async, wait=1"),
        )
        .await;
    assert_eq!((told.status, &*told.text()), (202, "{\"requestId\":\"r-1\"}"), "{told:?}");
    assert_eq!(told.field("preference-applied").map(|it| it.contains("respond-async")), Some(true));
    assert_eq!(location(&told), "/_gateway/async-requests/t-1");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_millis(2500), "{took:?}");

    // Zero holds nothing.
    let began = Instant::now();
    let (told, _) = stage
        .ask("zero", accepts("{\"id\":\"r-0\"}"), asking_with("t-0", "respond-async, wait=0"))
        .await;
    assert_eq!(told.status, 202, "{told:?}");
    assert!(began.elapsed() < Duration::from_millis(700), "{:?}", began.elapsed());

    // The outcome comes: it is the answer, at once. The permit is back all the while.
    for is_good in [true, false] {
        let stage = Stage::start().await;
        let callout = if is_good { succeeded } else { failed };
        let body = callout("r-2", "t-2", "what");
        stage.scene.upstream.play(accepts("{\"requestId\":\"r-2\"}"));
        let mut raw = Raw::connect(stage.address()).await;
        let began = Instant::now();
        raw.write(asking_with("t-2", "wait=20, respond-async")).await;
        soon("it was sent", || stage.scene.upstream.lines().len() == 1).await;
        soon("the permit is back", || stage.scene.queued_and_in_use() == (0, 0)).await;
        sleep(Duration::from_millis(200)).await;
        assert_eq!(stage.scene.queued_and_in_use(), (0, 0));
        assert_eq!(stage.deliver("n-2", &body).await.status, 200);
        let told = raw.answer().await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(told.status, 200, "{told:?}");
        let shown = json_of(&told);
        match is_good {
            true => assert_eq!(shown, json!({"success": true, "id": "what"})),
            false => {
                let told = (&shown["success"], &shown["reasons"][0]["message"]);
                assert_eq!(told, (&json!(false), &json!("what")));
            }
        }
        assert_eq!(told.field("zuora-track-id"), Some("t-2"));
        // The next call on this connection is served.
        raw.write(get("/v1/next", "")).await;
        assert_eq!(raw.answer().await.status, 200);
    }
}

#[tokio::test]
async fn who_waits_for_an_uncertain_end_may_learn_it() {
    let stage = Stage::start().await;
    let began = Instant::now();
    let (told, _) =
        stage.ask("in vain", Play::close(), asking_with("t-1", "respond-async, wait=1")).await;
    assert_eq!(
        (told.status, told.field("zuora-gateway-executed")),
        (502, Some("maybe")),
        "{told:?}"
    );
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());

    stage.scene.upstream.play(Play::close());
    let mut raw = Raw::connect(stage.address()).await;
    raw.write(asking_with("t-2", "respond-async, wait=9")).await;
    soon("it was sent", || stage.scene.upstream.lines().len() == 2).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(stage.deliver("n", &succeeded("r", "t-2", "it-was")).await.status, 200);
    let told = raw.answer().await;
    assert_eq!((told.status, json_of(&told)), (200, json!({"success": true, "id": "it-was"})));
}

#[tokio::test]
async fn a_track_id_is_used_once() {
    let stage = Stage::start().await;
    let place = stage.accepted("t-1", "r-1").await;

    let (told, received) = stage.ask("again", accepts("{\"id\":\"r-2\"}"), asking("t-1")).await;
    assert_eq!(
        (told.status, told.field("zuora-gateway-error")),
        (400, Some("bad-request")),
        "{told:?}"
    );
    assert_eq!(told.field("location"), Some(&*place), "it is the app's own: {told:?}");
    assert!(received.is_empty(), "{received:?}");

    let fields = "Prefer: respond-async\r\nZuora-Track-Id: t-1\r\n";
    let other = write_of(OTHER_SECRET, "POST", "/v1/accounts", fields, BODY);
    let (told, received) = stage.ask("another's", accepts("{\"id\":\"r-2\"}"), other).await;
    assert_eq!(told.status, 400, "{told:?}");
    assert_eq!(told.field("location"), None, "it is nobody else's business: {told:?}");
    assert!(received.is_empty(), "{received:?}");
    assert_eq!(look(stage.address(), &place, OTHER_SECRET).await.status, 404);

    // After it has ended, too.
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "x")).await.status, 200);
    let (told, received) = stage.ask("ended", accepts("{\"id\":\"r-2\"}"), asking("t-1")).await;
    assert_eq!((told.status, received.len()), (400, 0), "{told:?}");
    // Where it is not asked for, a track id says nothing.
    let plain = write("POST", "/v1/accounts", "Zuora-Track-Id: t-1\r\n", BODY);
    let (told, received) = stage.ask("plain", Play::send(on_the_wire("200 OK", "{}")), plain).await;
    assert_eq!(
        (told.status, lines(&received)),
        (200, vec!["POST /v1/accounts HTTP/1.1".to_owned()])
    );
}

#[tokio::test]
async fn of_many_at_once_with_one_track_id_a_single_one_goes() {
    let stage = Stage::start().await;
    let address = stage.address();
    let asking = (0..30).map(|_| tokio::spawn(Raw::ask(address, asking("t-1"))));
    let statuses: Vec<_> = futures_util::future::join_all(asking.collect::<Vec<_>>())
        .await
        .into_iter()
        .map(|it| it.unwrap().status)
        .collect();
    // The tenant's usual answer is a 200 that says success; that it is not done yet is 202.
    assert_eq!(statuses.iter().filter(|it| **it == 202).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|it| **it == 400).count(), 29, "{statuses:?}");
    assert_eq!(stage.scene.upstream.lines(), ["POST /v1/async/accounts HTTP/1.1"]);
}

#[tokio::test]
async fn odd_track_ids_lead_to_their_outcome() {
    let stage = Stage::start().await;
    let longest = "x".repeat(64);
    let odd = [
        "{a}/b?c#d",
        "%0d%0a",
        "a b",
        "a,b",
        "...",
        "a/../b",
        "%2e%2e",
        "a%2Fb",
        "<x>&y",
        "\\",
        "|^`~",
        &longest,
    ];
    for (at, id) in odd.into_iter().enumerate() {
        let request_id = format!("r-{at}");
        let place = stage.accepted(id, &request_id).await;
        let rest =
            place.strip_prefix("/_gateway/async-requests/").unwrap_or_else(|| panic!("{place}"));
        assert!(
            rest.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._~%!$&'()*+,=:@".contains(&it)),
            "{place}"
        );
        let pending = stage.look(&place).await;
        assert_eq!(pending.status, 202, "{id}: {place}: {pending:?}");
        assert_eq!(json_of(&pending)["trackId"], id);
        assert_eq!(stage.deliver(&request_id, &succeeded(&request_id, id, id)).await.status, 200);
        assert_eq!(json_of(&stage.look(&place).await)["id"], id, "{place}");
    }
}

#[tokio::test]
async fn a_track_id_that_clients_take_for_a_way_up_is_refused_before_anything_is_sent() {
    let stage = Stage::start().await;

    for dots in [".", ".."] {
        let told = Raw::ask(stage.address(), asking(dots)).await;

        assert_eq!(told.status, 400, "{told:?}");
        assert!(told.text().contains("send another, or none"), "{told:?}");
    }
    assert_eq!(stage.scene.upstream.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn who_calls_the_asynchronous_form_itself_finds_its_outcome_here_too() {
    let stage = Stage::start().await;
    let direct = |track_id: &str| {
        write("POST", "/v1/async/accounts", &format!("Zuora-Track-Id: {track_id}\r\n"), BODY)
    };
    let (told, received) =
        stage.ask("direct", accepts("{\"requestId\":\"r-1\"}"), direct("t-1")).await;
    assert_eq!(lines(&received), ["POST /v1/async/accounts HTTP/1.1"]);
    assert_eq!((told.status, &*told.text()), (202, "{\"requestId\":\"r-1\"}"));
    let place = location(&told);
    assert_eq!(stage.deliver("n-1", &failed("r-1", "t-1", "no")).await.status, 200);
    assert_eq!(json_of(&stage.look(&place).await)["success"], false);

    // It knew nothing of us before, and what it did then goes on.
    let (told, received) =
        stage.ask("again", accepts("{\"requestId\":\"r-2\"}"), direct("t-1")).await;
    assert_eq!((told.status, received.len()), (202, 1), "{told:?}");

    // These are another interface.
    let orders = write("POST", "/v1/async/orders", "Zuora-Track-Id: t-2\r\n", BODY);
    let job = "{\"success\":true,\"jobId\":\"j-1\"}";
    let (told, received) =
        stage.ask("orders", Play::send(on_the_wire("200 OK", job)), orders).await;
    assert_eq!(lines(&received), ["POST /v1/async/orders HTTP/1.1"]);
    assert_eq!((told.status, &*told.text()), (200, job));
    assert_eq!(told.field("location"), None, "{told:?}");
}

#[tokio::test]
async fn the_way_back_has_the_prefix_of_the_way_in() {
    let yaml =
        Yaml { tenant: vec![key("", ""), "path_prefix: /production".to_owned()], ..yaml("", "") };
    let stage = Stage::with(&yaml).await;
    let asked = asking("t-1").replace(" /v1/", " /production/v1/");
    let (told, received) = stage.ask("prefixed", accepts("{\"id\":\"r-1\"}"), asked).await;
    assert_eq!(lines(&received), ["POST /v1/async/accounts HTTP/1.1"], "{told:?}");
    let place = location(&told);
    assert_eq!(place, "/production/_gateway/async-requests/t-1");
    assert_eq!(stage.look(&place).await.status, 202);
}

/// Row by row as for other calls: what is judged is what is sent, before and after it is rewritten.
#[tokio::test]
async fn no_spelling_gets_a_write_around_policy_by_rewriting_it() {
    let rules = "allow: [\"PUT /v1/accounts/**\", \"PUT /v1/async/accounts/**\", \"POST /v1/accounts\", \"GET /v1/next\"]";
    let deny = "deny: [\"* /v1/async/accounts/secret/**\", \"* /v1/async/accounts/secret\"]";
    let yaml = Yaml { app: vec![rules.to_owned(), deny.to_owned()], ..yaml("", "") };
    let stage = Stage::with(&yaml).await;
    let targets = [
        "/v1/accounts/secret",
        "/v1/accounts/secret/",
        "/v1/accounts/secret?x=y",
        "/v1/accounts/%73ecret",
        "/v1/accounts/SECRET",
        "/v1/accounts//secret",
        "/v1//accounts/secret",
        "//v1/accounts/secret",
        "/v1/accounts/secret;a=b",
        "/v1/accounts/secret%3ba",
        "/v1/accounts/secret%2fx",
        "/v1/accounts%2fsecret",
        "/v1/accounts/./secret",
        "/v1/accounts/x/../secret",
        "/v1/accounts/%2e%2e/async/accounts/secret",
        "/v1/accounts/..%2fsecret",
        "/v1/accounts/%252e%252e/secret",
        "/v1/accounts/%c0%ae%c0%ae/secret",
        "/v1/accounts/..;/secret",
        "/v1/accounts/.;/secret",
        "/v1/accounts/..\\secret",
        "/v1/accounts/%5c..%5csecret",
        "/v1/accounts/secret%00",
        "/v1/accounts/%0d%0aX: y",
        "/V1/accounts/secret",
        "/v1/Accounts/secret",
        "/%76%31/accounts/secret",
        "/rest/v1/accounts/secret",
        "/REST/v1/accounts/secret",
        "/rest//v1/accounts/secret",
        "/v1/async/accounts/secret",
        "/v1/async/async/accounts/secret",
        "/v1/%61sync/accounts/secret",
        "/v1/async//accounts/secret",
        "/v1/async%2faccounts/secret",
        "http://gw/v1/accounts/secret",
        "http://gw/v1/accounts/x/../secret",
        "/v1/accounts-evil",
        "/v1/payments",
        "/v1/async/payments",
        "/v1/accounts/../payments",
        "/_gateway/../v1/accounts/secret",
    ];
    for (at, target) in targets.into_iter().enumerate() {
        let fields = format!("Prefer: respond-async\r\nZuora-Track-Id: s-{at}\r\n");
        let asked = write("PUT", target, &fields, "{}");
        let (told, received) =
            stage.ask(target, Play::send(on_the_wire("200 OK", "{\"success\":true}")), asked).await;
        let origin = target.strip_prefix("http://gw").unwrap_or(target);
        match &received[..] {
            [] => assert!(matches!(told.status, 400 | 403 | 404), "{target}: {told:?}"),
            [sent] => {
                let path = sent.line().split(' ').nth(1).unwrap().to_owned();
                // What an entry calls by its name is denied in its asynchronous form; what it does not name, like a
                // key in other letters, is another account.
                let path = path.to_lowercase();
                assert!(
                    !path.contains("async/accounts/secret?")
                        && !path.ends_with("async/accounts/secret"),
                    "{target} was sent as {path}"
                );
                let plain = path.replace("%73", "s").replace("%61", "a").replace("//", "/");
                let is_async = plain.contains("/async/");
                assert!(
                    !is_async || !plain.contains("/accounts/secret") || target.contains("SECRET"),
                    "{target} was sent as {path}"
                );
                if !is_async {
                    assert_eq!(path, origin.to_lowercase(), "{target}");
                    assert!(told.field("zuora-gateway-not-async").is_some(), "{target}: {told:?}");
                    assert!(told.field("location").is_none(), "{target}: {told:?}");
                }
            }
            more => panic!("{target}: {more:?}"),
        }
        assert!(
            !told.text().contains("s-") || told.status >= 400 || told.status == 200,
            "{target}"
        );
    }
    // And the allowed one goes.
    let fields = "Prefer: respond-async\r\nZuora-Track-Id: fine\r\n";
    let (told, received) = stage
        .ask(
            "fine",
            accepts("{\"id\":\"r\"}"),
            write("PUT", "/v1/accounts/A%2FB%20C", fields, "{}"),
        )
        .await;
    assert_eq!(
        (told.status, lines(&received)),
        (202, vec!["PUT /v1/async/accounts/A%2FB%20C HTTP/1.1".to_owned()]),
        "{told:?}"
    );
}

/// Where everything is allowed, an odd path is either itself or the one known form of it.
#[tokio::test]
async fn an_odd_path_is_rewritten_as_it_is_or_not_at_all() {
    let stage = Stage::start().await;
    let paths = [
        ("/v1/accounts/A%2FB", Some("/v1/async/accounts/A%2FB")),
        ("/v1/accounts/A?filter[]=x&q=/v1/", Some("/v1/async/accounts/A?filter[]=x&q=/v1/")),
        ("/rest/v1/accounts/A", Some("/rest/v1/async/accounts/A")),
        ("/v1/accounts/v1", Some("/v1/async/accounts/v1")),
        ("/V1/accounts/A", None),
        ("/v1/Accounts/A", None),
        ("/v1/%61ccounts/A", None),
        ("//v1//accounts/A", None),
        ("/v1//accounts/A", None),
        ("/v1/accounts//A", None),
    ];
    for (at, (path, expected)) in paths.into_iter().enumerate() {
        let fields = format!("Prefer: respond-async\r\nZuora-Track-Id: o-{at}\r\n");
        let (told, received) = stage
            .ask(
                path,
                Play::send(on_the_wire("200 OK", "{\"success\":true}")),
                write("PUT", path, &fields, "{}"),
            )
            .await;
        if received.is_empty() {
            assert!(expected.is_none() && matches!(told.status, 400 | 403), "{path}: {told:?}");
            continue;
        }
        let sent = received[0].line().split(' ').nth(1).unwrap().to_owned();
        match expected {
            Some(form) => assert_eq!(sent, form, "{told:?}"),
            None if sent == path => {
                assert!(told.field("zuora-gateway-not-async").is_some(), "{path}: {told:?}");
            }
            // It was understood: then with `async` in it, once, and nothing else changed.
            None => assert_eq!(sent.replacen("async/", "", 1), path, "{told:?}"),
        }
    }
}

#[tokio::test]
async fn a_caller_that_leaves_leaves_its_outcome_here() {
    let stage = Stage::start().await;
    let word = Arc::new(Notify::new());
    let play =
        Play::default().until(&word).then(on_the_wire("202 Accepted", "{\"requestId\":\"r-1\"}"));
    stage.scene.upstream.play(play);
    let mut raw = Raw::connect(stage.address()).await;
    raw.write(asking("t-1")).await;
    soon("it was sent", || stage.scene.upstream.lines().len() == 1).await;
    drop(raw);
    sleep(Duration::from_millis(50)).await;
    word.notify_one();

    let place = "/_gateway/async-requests/t-1";
    let known = timeout(Duration::from_secs(5), async {
        loop {
            let told: Answer = stage.look(place).await;
            if told.status == 202 && json_of(&told)["requestId"] == "r-1" {
                break told;
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(json_of(&known.await.expect("it is accepted"))["state"], "accepted");
}

#[tokio::test]
async fn calls_of_the_gateways_own_paths_never_reach_zuora() {
    let stage = Stage::start().await;
    let paths = [
        "/_gateway/async-requests",
        "/_gateway/async-requests/",
        "/_gateway/async-requests/x/y",
        "/_gateway/callouts/production",
        "/_gateway/callouts",
        "/_gateway/else",
    ];
    for path in paths {
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            Method::HEAD,
            Method::OPTIONS,
        ] {
            stage.scene.upstream.forget();
            let asked = format!(
                "{method} {path} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let mut raw = Raw::connect_as_stranger(stage.address()).await;
            raw.write(asked).await;
            let told = raw.next().await;
            assert!(told.status >= 200, "{method} {path}");
            assert!(stage.scene.upstream.lines().is_empty(), "{method} {path}: {told:?}");
        }
    }
}
