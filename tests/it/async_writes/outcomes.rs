//! Those who wait for an outcome: one that asks, one that holds on, one that lists, and one that listens to all.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Answer, Raw, SECRET};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::stage::{
    OTHER_SECRET, Stage, asking, failed, json_of, look, metric, succeeded, write_of, yaml,
};
use crate::wire::upstream::Play;

const LIST: &str = "/_gateway/async-requests";

/// The records of a list, however it is dressed.
#[track_caller]
pub(super) fn records(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = json_of(answer);
    let array = json.as_array().or_else(|| json.as_object()?.values().find_map(Value::as_array));
    array.unwrap_or_else(|| panic!("no records: {json:#}")).clone()
}

/// Where a list goes on: what comes after the host of it.
pub(super) fn next_page(list: &Value) -> Option<String> {
    let next = ["nextPage", "next", "next_page"].iter().find_map(|name| list[*name].as_str())?;
    Some(next.find("/_gateway").map_or(next, |at| &next[at..]).to_owned())
}

fn track_ids(records: &[Value]) -> Vec<String> {
    records.iter().map(|it| it["trackId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_outcome_is_its_apps_alone() {
    let stage = Stage::start().await;
    let place = stage.accepted("t-1", "r-1").await;
    let nobody = async |target: &str| {
        let asked = format!("GET {target} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n");
        Raw::ask(stage.address(), asked).await
    };
    for ended in [false, true] {
        if ended {
            assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "x")).await.status, 200);
        }
        let own = stage.look(&place).await.status;
        assert_eq!(own, if ended { 200 } else { 202 });
        let (theirs, none) = (
            look(stage.address(), &place, OTHER_SECRET).await,
            look(stage.address(), &format!("{LIST}/t-9"), OTHER_SECRET).await,
        );
        assert_eq!((theirs.status, none.status), (404, 404));
        // Nothing tells the one from the other.
        let told = |answer: &Answer| {
            let text = answer.text().replace("t-9", "t-1");
            let id = answer.field("zuora-track-id").unwrap_or_default().to_owned();
            text.replace(&id, "")
        };
        assert_eq!(told(&theirs), told(&none));
        assert_eq!(nobody(&place).await.status, 401);
        assert_eq!(nobody(LIST).await.status, 401);
        assert!(records(&look(stage.address(), LIST, OTHER_SECRET).await).is_empty());
        assert_eq!(records(&stage.look(LIST).await).len(), 1);
    }
}

#[tokio::test]
async fn who_holds_on_is_told_at_once_and_nobody_holds_on_for_ever() {
    let stage = Stage::start().await;
    let place = stage.accepted("t-1", "r-1").await;

    let began = Instant::now();
    let told = stage.look(&format!("{place}?wait=1")).await;
    let took = began.elapsed();
    assert_eq!(told.status, 202, "{told:?}");
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(3), "{took:?}");
    for wait in ["0", "", "x", "-1", "1.5"] {
        let began = Instant::now();
        let told = stage.look(&format!("{place}?wait={wait}")).await;
        assert!(matches!(told.status, 202 | 400), "{wait}: {told:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "{wait}: {:?}", began.elapsed());
    }

    // Many hold on, by the address and by the field, for longer than anybody may.
    let address = stage.address();
    let waiting: Vec<_> = (0..50)
        .map(|at| {
            let (target, field) = match at % 2 {
                0 => (format!("{place}?wait=99999999"), ""),
                _ => (place.clone(), "Prefer: wait=30\r\n"),
            };
            let asked = format!(
                "GET {target} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {SECRET}\r\n{field}\r\n"
            );
            tokio::spawn(async move {
                let mut raw = Raw::connect(address).await;
                raw.write(asked).await;
                raw.answer().await
            })
        })
        .collect();
    sleep(Duration::from_millis(300)).await;
    assert!(waiting.iter().all(|it| !it.is_finished()));
    // They hold no permit, and no app waits for them.
    assert_eq!(stage.scene.queued_and_in_use(), (0, 0));
    stage.scene.serves("fifty that hold on").await;
    let began = Instant::now();
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "x")).await.status, 200);
    for one in waiting {
        let told = timeout(Duration::from_secs(3), one).await.expect("woken").unwrap();
        assert_eq!((told.status, json_of(&told)), (200, json!({"success": true, "id": "x"})));
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let told = stage.look(&format!("{place}?wait=30")).await;
    assert_eq!(told.status, 200, "what is known is told at once");
    assert_eq!(stage.look(&format!("{LIST}/t-9?wait=5")).await.status, 404, "nothing to wait for");
}

#[tokio::test]
async fn head_is_get_without_its_body_and_other_methods_are_none() {
    let stage = Stage::start().await;
    let place = stage.accepted("t-1", "r-1").await;
    let ask = async |method: &str| {
        let mut raw = Raw::connect(stage.address()).await;
        raw.write(format!("{method} {place} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
        raw.next().await
    };
    let head = ask("HEAD").await;
    assert_eq!((head.status, head.body.len()), (202, 0), "{head:?}");
    assert!(head.field("retry-after").is_some());
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "x")).await.status, 200);
    assert_eq!(ask("HEAD").await.status, 200);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let told = ask(method).await;
        assert!(matches!(told.status, 404 | 405), "{method}: {told:?}");
        assert_eq!(stage.look(&place).await.status, 200, "{method}");
    }
}

#[tokio::test]
async fn a_list_has_what_the_app_asked_for_newest_first_page_by_page() {
    let stage = Stage::start().await;
    for at in 0..25 {
        stage.accepted(&format!("t-{at:02}"), &format!("r-{at}")).await;
    }
    for at in 0..5 {
        let (id, track) = (format!("r-{at}"), format!("t-{at:02}"));
        let body = if at < 3 { succeeded(&id, &track, "x") } else { failed(&id, &track, "x") };
        assert_eq!(stage.deliver(&format!("n-{at}"), &body).await.status, 200);
    }
    stage.scene.upstream.forget();
    stage.scene.upstream.play(super::stage::accepts("{\"id\":\"r-o\"}"));
    let theirs = write_of(
        OTHER_SECRET,
        "POST",
        "/v1/accounts",
        "Prefer: respond-async\r\nZuora-Track-Id: o-1\r\n",
        "{}",
    );
    assert_eq!(Raw::ask(stage.address(), theirs).await.status, 202);

    let all: Vec<String> = (0..25).rev().map(|at| format!("t-{at:02}")).collect();
    let whole = records(&stage.look(&format!("{LIST}?limit=100")).await);
    assert_eq!(track_ids(&whole), all);
    let one = whole.iter().find(|it| it["trackId"] == "t-03").unwrap();
    assert_eq!(one["state"], "failed", "{one:#}");
    assert_eq!(one["requestId"], "r-3", "{one:#}");
    assert_eq!(one["reasons"][0]["message"], "x", "{one:#}");
    assert!(one["submittedOn"].is_string() && one["endedOn"].is_string(), "{one:#}");
    for (state, count) in [("accepted", 20), ("succeeded", 3), ("failed", 2), ("unknown", 0)] {
        let some = records(&stage.look(&format!("{LIST}?limit=100&state={state}")).await);
        assert_eq!(some.len(), count, "{state}");
        assert!(some.iter().all(|it| it["state"] == state), "{state}");
    }
    let theirs = records(&look(stage.address(), LIST, OTHER_SECRET).await);
    assert_eq!(track_ids(&theirs), ["o-1"]);

    // Each page leads to the next, and none is left out.
    let (mut target, mut seen, mut pages) = (format!("{LIST}?limit=10"), Vec::new(), 0);
    loop {
        let answer = stage.look(&target).await;
        let page = records(&answer);
        assert!(page.len() <= 10);
        seen.extend(track_ids(&page));
        pages += 1;
        let Some(next) = next_page(&json_of(&answer)) else { break };
        assert!(pages < 10, "{next}");
        target = next;
    }
    assert_eq!((seen, pages), (all, 3));
    for odd in [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=99999999999999999999",
        "state=x",
        "after=x",
        "after=%00",
        "x=y",
    ] {
        let told = stage.look(&format!("{LIST}?{odd}")).await;
        assert!(matches!(told.status, 200 | 400), "{odd}: {told:?}");
    }
}

/// One who listens.
struct Listener {
    stream: TcpStream,
    text: String,
    seen: usize,
}

impl Listener {
    async fn start(address: SocketAddr, secret: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let asked = format!(
            "GET {LIST} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {secret}\r\nAccept: text/event-stream\r\n{last}\r\n"
        );
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut it = Self { stream, text: String::new(), seen: 0 };
        it.read_until("\r\n\r\n").await;
        assert!(it.text.starts_with("HTTP/1.1 200"), "{}", it.text);
        assert!(it.text.to_lowercase().contains("content-type: text/event-stream"), "{}", it.text);
        it
    }

    async fn read_until(&mut self, what: &str) {
        let read = async {
            while !self.text[self.seen..].contains(what) {
                let mut buffer = [0; 4096];
                let read = self.stream.read(&mut buffer).await.unwrap();
                assert!(read > 0, "it ended: {}", self.text);
                self.text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        };
        timeout(Duration::from_secs(20), read).await.unwrap_or_else(|_| panic!("no {what:?}"));
    }

    /// The next event: its id, and its data. Soon, however many comments come meanwhile.
    async fn event(&mut self) -> (String, Value) {
        let event = timeout(Duration::from_secs(20), self.next_event()).await;
        event.expect("an event comes")
    }

    async fn next_event(&mut self) -> (String, Value) {
        loop {
            self.read_until("\n\n").await;
            let rest = &self.text[self.seen..];
            let end = rest.find("\n\n").unwrap();
            let event = rest[..end].to_owned();
            self.seen += end + 2;
            let line = |name: &str| {
                let mut lines = event.lines();
                lines.find_map(|line| line.strip_prefix(name)).map(|it| it.trim().to_owned())
            };
            if let Some(data) = line("data:") {
                let id = line("id:").unwrap_or_else(|| panic!("no id: {event}"));
                return (id, serde_json::from_str(&data).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn who_listens_hears_of_every_outcome_once_and_goes_on_where_it_left_off() {
    let stage = Stage::start().await;
    for at in 0..6 {
        stage.accepted(&format!("t-{at}"), &format!("r-{at}")).await;
    }
    let end = async |at: usize| {
        let (id, track) = (format!("r-{at}"), format!("t-{at}"));
        let body = if at.is_multiple_of(2) {
            succeeded(&id, &track, "x")
        } else {
            failed(&id, &track, "why")
        };
        assert_eq!(stage.deliver(&format!("n-{at}"), &body).await.status, 200);
    };
    let mut first = Listener::start(stage.address(), SECRET, None).await;
    let mut theirs = Listener::start(stage.address(), OTHER_SECRET, None).await;

    end(0).await;
    end(1).await;
    let (one, data) = first.event().await;
    assert_eq!(
        (&data["trackId"], &data["state"]),
        (&json!("t-0"), &json!("succeeded")),
        "{data:#}"
    );
    let (two, data) = first.event().await;
    assert_eq!((&data["trackId"], &data["state"]), (&json!("t-1"), &json!("failed")), "{data:#}");
    assert_eq!(data["reasons"][0]["message"], "why");
    assert_ne!(one, two);
    drop(first);
    // While nobody listens.
    end(2).await;
    end(3).await;

    let mut second = Listener::start(stage.address(), SECRET, Some(&one)).await;
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(second.event().await.1["trackId"].as_str().unwrap().to_owned());
    }
    assert_eq!(heard, ["t-1", "t-2", "t-3"]);
    // A duplicate is no outcome.
    assert_eq!(stage.deliver("n-3", &failed("r-3", "t-3", "why")).await.status, 200);
    end(4).await;
    assert_eq!(second.event().await.1["trackId"], "t-4");
    end(5).await;
    assert_eq!(second.event().await.1["trackId"], "t-5");

    // Nothing of it was another app's.
    let nothing = timeout(Duration::from_millis(300), theirs.event()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    // One that means an event of nobody is still served.
    for odd in ["x", "99999999999999999999999", "-1", "%00"] {
        let asked = format!(
            "GET {LIST} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {SECRET}\r\nAccept: text/event-stream\r\nLast-Event-ID: {odd}\r\n\r\n"
        );
        let mut raw = Raw::connect(stage.address()).await;
        raw.write(asked).await;
        raw.some().await;
    }
}

#[tokio::test]
async fn silence_is_told_from_a_broken_line() {
    let stage = Stage::start().await;
    let mut listener = Listener::start(stage.address(), SECRET, None).await;
    listener.seen = listener.text.len();
    let began = Instant::now();
    // A comment, which a client passes over.
    listener.read_until("\n\n").await;
    let line = listener.text[listener.seen..].lines().find(|it| it.starts_with(':'));
    assert!(line.is_some(), "{}", &listener.text[listener.seen..]);
    assert!(began.elapsed() < Duration::from_secs(18), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_outcome_that_never_comes_is_unknown_and_a_late_one_still_counts() {
    let stage = Stage::with(&yaml("", ", reconcile_after: 1s, unknown_after: 3s")).await;
    let place = stage.accepted("t-1", "r-1").await;
    // The history knows nothing; the tenant's usual answer says success and no more.
    let waited = format!("{place}?wait=20");
    let told = timeout(Duration::from_secs(20), async {
        loop {
            let mut raw = Raw::connect(stage.address()).await;
            raw.write(format!(
                "GET {waited} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {SECRET}\r\n\r\n"
            ))
            .await;
            let told = timeout(Duration::from_secs(9), raw.answer()).await;
            if let Ok(told) = told
                && told.status == 200
            {
                break told;
            }
        }
    });
    let told = told.await.expect("it is given up");
    assert_eq!(told.field("zuora-gateway-error"), Some("outcome-unknown"), "{told:?}");
    assert_eq!(told.field("zuora-gateway-executed"), Some("maybe"), "{told:?}");
    let shown = json_of(&told);
    assert_eq!((&shown["success"], &shown["processId"]), (&json!(false), &json!("t-1")));
    assert_eq!(shown["reasons"][0]["code"], 50_000_061);
    let metrics =
        crate::caller::look(stage.scene.house.gateway.admin_address(), "/metrics").await.text();
    assert_eq!(
        metric(&metrics, "async_requests_total", &[("app", "app"), ("state", "unknown")]),
        1.0
    );
    assert_eq!(metric(&metrics, "async_requests_pending", &[("app", "app")]), 0.0);
    // It was asked for, and by nothing that changes anything.
    let asked = stage.scene.upstream.lines();
    assert!(
        asked.iter().any(|it| it.starts_with("GET /v1/notification-history/callout?")),
        "{asked:?}"
    );

    let mut listener = Listener::start(stage.address(), SECRET, Some("0")).await;
    assert_eq!(stage.deliver("n-1", &succeeded("r-1", "t-1", "late")).await.status, 200);
    assert_eq!(json_of(&stage.look(&place).await), json!({"success": true, "id": "late"}));
    loop {
        let (_, data) = listener.event().await;
        if data["state"] == "succeeded" {
            break;
        }
    }
    // And now it is final.
    assert_eq!(stage.deliver("n-2", &failed("r-1", "t-1", "later")).await.status, 200);
    assert_eq!(json_of(&stage.look(&place).await), json!({"success": true, "id": "late"}));
}

#[tokio::test]
async fn what_may_never_have_arrived_becomes_unknown_too() {
    let stage = Stage::with(&yaml("", ", reconcile_after: 1s, unknown_after: 2s")).await;
    stage.scene.upstream.play(Play::close());
    let told = Raw::ask(stage.address(), asking("t-1")).await;
    assert_eq!(told.status, 502, "{told:?}");
    let place = told.field("location").unwrap().to_owned();
    let told = super::stage::until(
        "given up",
        Duration::from_secs(10),
        async || stage.look(&place).await,
        |it| it.status == 200,
    )
    .await;
    assert_eq!(told.field("zuora-gateway-error"), Some("outcome-unknown"), "{told:?}");
    assert_eq!(told.field("zuora-gateway-executed"), Some("maybe"), "{told:?}");
}
