//! Writes under `/v1/async`, and the callouts that tell of them: a receiver of callouts that
//! answers as it is told, and the ledger, are the judges.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use emulator::{
    AsyncOutcome, AsyncWrites, CalloutAttempt, CalloutEvent, Category, Definition, Fault,
    FaultKind, HistoryContext, Ledger, Mishap, Options, ServiceTime, Tenant,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex},
    time::Instant,
};

use crate::{
    memory::{ask, token},
    wire::request,
};

const ACCOUNT: &str = r#"{"name": "Amber", "currency": "USD"}"#;

const CHALLENGE: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"callouts\"\r\n\
                         Content-Length: 0\r\n\r\n";

/// A callout as it came.
#[derive(Clone, Debug)]
struct Received {
    head: String,
    body: Value,
    at: Instant,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn is_authorized(&self) -> bool {
        let expected = format!("Basic {}", BASE64_STANDARD.encode("zuora:word"));
        self.header("authorization") == Some(expected.as_str())
    }
}

/// A receiver of callouts at the other end of pipes.
#[derive(Clone, Debug, Default)]
struct Receiver {
    received: Arc<Mutex<Vec<Received>>>,
    /// What it answers, one after the other; then always 200.
    answers: Arc<Mutex<VecDeque<String>>>,
}

impl Receiver {
    /// A receiver for all callouts of a tenant.
    fn of(tenant: &Tenant) -> Self {
        let receiver = Self::default();
        let serving = receiver.clone();
        tenant.call_out_through(move |_url| {
            let (near, far) = duplex(256 * 1024);
            tokio::spawn(serving.clone().serve(far));
            Ok(near)
        });
        receiver
    }

    /// Answers the next request with this status.
    fn will_answer(&self, status: u16) -> &Self {
        self.will_send(&format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nno"))
    }

    /// Answers the next request with these bytes; with none at all by closing.
    fn will_send(&self, answer: &str) -> &Self {
        self.answers.lock().unwrap().push_back(answer.to_owned());
        self
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    fn bodies(&self) -> Vec<Value> {
        self.received().into_iter().map(|one| one.body).collect()
    }

    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        while let Some(received) = read_request(&mut stream).await {
            self.received.lock().unwrap().push(received);
            let planned = self.answers.lock().unwrap().pop_front();
            let answer =
                planned.unwrap_or_else(|| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into());
            if answer.is_empty() {
                return;
            }
            if answer == "silence" {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    loop {
        if let Some(split) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
            let mut received = Received { head, body: Value::Null, at: Instant::now() };
            let length: usize = received.header("content-length").unwrap().parse().unwrap();
            let body = &bytes[split + 4..];
            if body.len() == length {
                received.body = serde_json::from_slice(body).unwrap();
                return Some(received);
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// A tenant in memory that tells of both events.
fn tenant_with(async_writes: AsyncWrites) -> Tenant {
    let definitions = Definition::both("https://gateway.example/callouts", "zuora", "word");
    Tenant::in_memory(Options {
        async_writes: AsyncWrites { definitions, ..async_writes },
        service_time: ServiceTime::Constant(Duration::from_secs(1)),
        ..Options::default()
    })
}

fn with_preemptive(tenant: &Tenant) {
    let both = tenant.definitions().into_iter().map(Definition::preemptive);
    tenant.set_definitions(&both.collect::<Vec<_>>());
}

/// Calls with a track id of its own; the status, the head and the body.
async fn call(
    tenant: &Tenant,
    method: &str,
    path: &str,
    track_id: &str,
    body: &str,
) -> (u16, String, Value) {
    let headers = format!(
        "Authorization: Bearer {}\r\nZuora-Track-Id: {track_id}\r\nContent-Type: application/json\r\n",
        token(tenant).await
    );
    // Of HTTP/1.0, so that long answers do not come in chunks.
    let request = request(method, path, &headers, body).replacen("1.1", "1.0", 1);
    let answer = ask(tenant, &request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

async fn post(tenant: &Tenant, path: &str, track_id: &str, body: &str) -> Value {
    let (status, _, answer) = call(tenant, "POST", path, track_id, body).await;
    assert_eq!(status, 202, "{answer}");
    answer
}

async fn history(tenant: &Tenant, query: &str) -> Value {
    let path = format!("/v1/notification-history/callout?{query}");
    call(tenant, "GET", &path, "test-history", "").await.2
}

fn statuses(ledger: &Ledger) -> Vec<i32> {
    let attempts = ledger.async_requests.iter().flat_map(|one| &one.callouts);
    attempts.map(|attempt| attempt.status).collect()
}

#[tokio::test(start_paused = true)]
async fn a_write_is_accepted_done_later_and_told_of() {
    let tenant = tenant_with(AsyncWrites { delay: Duration::from_secs(5), ..Default::default() });
    let receiver = Receiver::of(&tenant);
    with_preemptive(&tenant);
    let began = Instant::now();

    let accepted = post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
    assert_eq!(began.elapsed(), Duration::from_millis(50), "the answer does not wait for the work");
    assert_eq!(tenant.ledger().effective_writes, 0);
    assert_eq!(tenant.ledger().async_pending, 1);
    tenant.async_idle().await;
    assert_eq!(began.elapsed(), Duration::from_millis(6050));

    let ledger = tenant.ledger();
    let told = &ledger.async_requests[0];
    let Some(AsyncOutcome::Succeeded { id, result }) = &told.outcome else { panic!("{told:?}") };
    assert_eq!(accepted, json!({"requestId": told.request_id}));
    assert_eq!(ledger.effects_by_track_id()["batch-1"], 1);
    assert_eq!((ledger.effective_writes, ledger.async_pending), (1, 0));
    assert_eq!(result["accountId"], id.as_str());
    assert_eq!(told.callouts[0].status, 200);
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    assert!(received[0].is_authorized());
    assert_eq!(received[0].body["state"], "succeeded");
    assert_eq!(received[0].body["data"], json!({"id": id}));
    assert_eq!(
        received[0].body["request"],
        json!({
            "id": told.request_id, "method": "POST", "trackId": "batch-1",
            "url": format!("{}/v1/async/accounts", tenant.base_url()),
        })
    );
    let (status, _, found) = call(&tenant, "GET", &format!("/v1/accounts/{id}"), "t-2", "").await;
    assert_eq!((status, &found["basicInfo"]["name"]), (200, &json!("Amber")));
}

#[tokio::test(start_paused = true)]
async fn the_id_of_a_request_is_where_it_is_asked_to_be() {
    let request_id_field = "request.id".to_owned();
    let tenant = tenant_with(AsyncWrites { request_id_field, ..Default::default() });

    let accepted = post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;

    let id = &tenant.ledger().async_requests[0].request_id;
    assert_eq!(accepted, json!({"request": {"id": id}}));
}

#[tokio::test(start_paused = true)]
async fn a_write_is_looked_at_when_it_is_done_and_its_failure_told() {
    let tenant = tenant_with(AsyncWrites::default());
    let receiver = Receiver::of(&tenant);
    with_preemptive(&tenant);

    post(&tenant, "/v1/async/subscriptions", "batch-1", r#"{"accountKey": "nobody"}"#).await;
    tenant.async_idle().await;

    let ledger = tenant.ledger();
    let Some(AsyncOutcome::Failed { reasons, process_id }) = &ledger.async_requests[0].outcome
    else {
        panic!("{ledger:?}")
    };
    assert!(reasons[0].code.ends_with("40"), "{reasons:?}");
    assert_eq!(ledger.effective_writes, 0);
    let told = &receiver.bodies()[0];
    assert_eq!(told["state"], "failed");
    assert_eq!(told["processId"], process_id.as_str());
    assert_eq!(told["reasons"], json!(reasons));
    assert!(told.get("data").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_later_is_refused_at_once() {
    let tenant = tenant_with(AsyncWrites::default());
    let bearer = format!("Authorization: Bearer {}\r\n", token(&tenant).await);
    let is_json = format!("{bearer}Content-Type: application/json\r\n");

    for (method, path, headers) in [
        ("GET", "/v1/async/accounts", &is_json),
        ("PATCH", "/v1/async/accounts/A00000001", &is_json),
        ("POST", "/v1/async/action/create", &is_json),
        ("POST", "/v1/async/async/accounts", &is_json),
        ("POST", "/v1/async/accounts", &bearer),
        ("DELETE", "/v1/async/accounts/A00000001", &bearer),
    ] {
        let answer = ask(&tenant, &request(method, path, headers, ACCOUNT)).await;
        assert!(answer.contains("\"success\" : false"), "{method} {path}: {answer}");
    }

    tenant.async_idle().await;
    assert_eq!((tenant.ledger().async_accepted, tenant.ledger().effective_writes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn changes_and_deletions_and_objects_can_be_made_later() {
    let tenant = tenant_with(AsyncWrites::default());
    let receiver = Receiver::of(&tenant);
    with_preemptive(&tenant);

    for (method, path, body) in [
        ("PUT", "/v1/async/accounts/A00000001", r#"{"notes": "later"}"#),
        ("POST", "/rest/v1/async/object/account", r#"{"Name": "Later"}"#),
        ("DELETE", "/v1/async/accounts/A00000002", ""),
    ] {
        assert_eq!(call(&tenant, method, path, "batch-1", body).await.0, 202, "{method} {path}");
        tenant.async_idle().await;
    }

    let ledger = tenant.ledger();
    let done: Vec<&str> = ledger.effective().map(|one| one.path.as_str()).collect();
    let paths = ["/v1/accounts/A00000001", "/rest/v1/object/account", "/v1/accounts/A00000002"];
    assert_eq!(done, paths);
    assert_eq!(receiver.bodies().len(), 3);
    assert!(receiver.bodies().iter().all(|body| body["data"]["id"].is_string()));
}

#[tokio::test(start_paused = true)]
async fn some_outcomes_are_told_by_nobody() {
    let tenant = tenant_with(AsyncWrites::default());
    let receiver = Receiver::of(&tenant);

    let path = "/v1/async/accounting-periods/1/run-trial-balance";
    assert_eq!(call(&tenant, "PUT", path, "batch-1", "{}").await.0, 202);
    tenant.async_idle().await;

    assert_eq!(tenant.ledger().effective_writes, 1);
    assert_eq!(receiver.received().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn workers_do_so_many_at_once_and_rest_when_told() {
    let tenant = tenant_with(AsyncWrites { workers: 2, ..Default::default() });
    let _receiver = Receiver::of(&tenant);
    tenant.pause_async(true);
    for nth in 0..4 {
        post(&tenant, "/v1/async/accounts", &format!("batch-{nth}"), ACCOUNT).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(tenant.ledger().async_pending, 4, "they rest");

    let began = Instant::now();
    tenant.pause_async(false);
    tenant.async_idle().await;

    assert_eq!(began.elapsed(), Duration::from_secs(2), "two at once, a second each");
    assert_eq!(tenant.ledger().async_pending, 0);
}

#[tokio::test(start_paused = true)]
async fn writes_that_meet_on_an_account_are_tried_again_by_the_tenant() {
    let service_time = ServiceTime::Constant(Duration::from_secs(1));
    let tenant =
        Tenant::in_memory(Options { lock_contention: true, service_time, ..Options::default() });

    for nth in 0..2 {
        let path = "/v1/async/accounts/A00000001";
        let track_id = format!("batch-{nth}");
        assert_eq!(call(&tenant, "PUT", path, &track_id, r#"{"notes": "x"}"#).await.0, 202);
    }
    tenant.async_idle().await;

    let ledger = tenant.ledger();
    let retries: Vec<u32> = ledger.async_requests.iter().map(|one| one.lock_retries).collect();
    assert_eq!((retries[0], ledger.effective_writes), (0, 2));
    assert!(retries[1] >= 1 && ledger.contended_calls == u64::from(retries[1]), "{retries:?}");
    assert!(ledger.async_requests.iter().all(|one| one.outcome.as_ref().unwrap().succeeded()));
}

#[tokio::test(start_paused = true)]
async fn faults_of_work_strike_the_work_and_those_of_calls_the_call() {
    let tenant = tenant_with(AsyncWrites::default());
    let fail = FaultKind::Fail { category: Category::External, shape: None, message_bytes: 0 };
    tenant.fault(Fault::once("/v1/accounts", fail));
    tenant.fault(Fault::once("/v1/accounts", FaultKind::Contended).after(1));
    tenant.fault(Fault::once("/v1/accounts", FaultKind::HtmlUnavailable));
    tenant.fault(Fault::once("/v1/async", FaultKind::Cut { executed: true }));

    let headers = format!(
        "Authorization: Bearer {}\r\nContent-Type: application/json\r\n",
        token(&tenant).await
    );
    let cut = ask(&tenant, &request("POST", "/v1/async/accounts", &headers, ACCOUNT)).await;
    assert_eq!(cut, "");
    tenant.async_idle().await;
    for nth in 0..2 {
        post(&tenant, "/v1/async/accounts", &format!("batch-{nth}"), ACCOUNT).await;
        tenant.async_idle().await;
    }

    let ledger = tenant.ledger();
    let came = ledger.async_requests.iter().map(|one| {
        let outcome = one.outcome.as_ref().unwrap();
        (outcome.succeeded(), one.lock_retries)
    });
    assert_eq!(came.collect::<Vec<_>>(), [(false, 0), (true, 0), (true, 1)]);
    assert_eq!(tenant.faults().len(), 1, "the edge does not answer to work");
}

#[tokio::test(start_paused = true)]
async fn a_password_is_told_to_a_challenge_with_its_realm_only() {
    let tenant = tenant_with(AsyncWrites::default());
    let receiver = Receiver::of(&tenant);
    let bare = "HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n";
    let other =
        "HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer realm=\"a\"\r\nContent-Length: 0\r\n\r\n";
    let closing = CHALLENGE.replace("Content-Length", "Connection: close\r\nContent-Length");

    for answer in [CHALLENGE, closing.as_str(), bare, other] {
        receiver.will_send(answer);
        post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
        tenant.async_idle().await;
    }

    let received = receiver.received();
    let authorized: Vec<bool> = received.iter().map(Received::is_authorized).collect();
    assert_eq!(authorized, [false, true, false, true, false, false]);
    let request_id = |nth: usize| received[nth].header("zuora-request-id").unwrap();
    assert_eq!(request_id(0), request_id(1), "one attempt");
    assert_ne!(request_id(0), request_id(2));
    assert_eq!(request_id(0).len(), 32);
    assert_eq!(statuses(&tenant.ledger()), [200, 200, 401, 401], "401 is not tried again");
    let challenged =
        tenant.ledger().async_requests.into_iter().map(|one| one.callouts[0].challenged);
    assert_eq!(challenged.collect::<Vec<_>>(), [true, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_not_tried_twice() {
    let tenant = tenant_with(AsyncWrites::default());
    let receiver = Receiver::of(&tenant);
    receiver.will_send(CHALLENGE).will_send(CHALLENGE);

    post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
    tenant.async_idle().await;

    assert_eq!(receiver.received().len(), 2);
    assert_eq!(statuses(&tenant.ledger()), [401]);
}

#[tokio::test(start_paused = true)]
async fn a_callout_is_tried_three_times_half_an_hour_apart() {
    let tenant = tenant_with(AsyncWrites::default());
    let receiver = Receiver::of(&tenant);
    with_preemptive(&tenant);
    receiver.will_answer(503).will_answer(429).will_answer(500);

    post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
    tenant.async_idle().await;

    let received = receiver.received();
    let ids = |name: &str| -> Vec<&str> {
        received.iter().map(|one| one.header(name).unwrap()).collect()
    };
    let gap = Duration::from_secs(30 * 60);
    assert_eq!(received.len(), 3);
    assert_eq!((received[1].at - received[0].at, received[2].at - received[1].at), (gap, gap));
    assert_eq!(ids("zuora-notification-id"), [ids("zuora-notification-id")[0]; 3]);
    assert_ne!(ids("zuora-request-id")[0], ids("zuora-request-id")[1]);
    assert_eq!(statuses(&tenant.ledger()), [503, 429, 500]);
    let attempts = tenant.ledger().async_requests[0].callouts.iter().map(|one| one.attempt).max();
    assert_eq!(attempts, Some(3));
}

#[tokio::test(start_paused = true)]
async fn some_answers_and_some_definitions_mean_that_once_is_enough() {
    let tenant = tenant_with(AsyncWrites::default());
    let receiver = Receiver::of(&tenant);
    with_preemptive(&tenant);
    for status in [404, 302, 400] {
        receiver.will_answer(status);
        post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
        tenant.async_idle().await;
    }
    let once = tenant.definitions().into_iter().map(|one| Definition { retries: false, ..one });
    tenant.set_definitions(&once.collect::<Vec<_>>());
    receiver.will_answer(503);
    post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
    tenant.async_idle().await;

    assert_eq!(statuses(&tenant.ledger()), [404, 302, 400, 503]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_active_tells_nothing_and_new_credentials_count_at_once() {
    let tenant = tenant_with(AsyncWrites::default());
    let receiver = Receiver::of(&tenant);
    let with = |change: fn(Definition) -> Definition| {
        let both = tenant.definitions().into_iter().map(change);
        tenant.set_definitions(&both.collect::<Vec<_>>());
    };
    with(|one| Definition { active: false, ..one });
    post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
    tenant.async_idle().await;
    assert_eq!(receiver.received().len(), 0);

    with(|one| Definition {
        credentials: Some(("zuora".to_owned(), "old".to_owned())),
        active: true,
        preemptive: true,
        ..one
    });
    receiver.will_answer(503);
    post(&tenant, "/v1/async/accounts", "batch-2", ACCOUNT).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    with(|one| Definition { credentials: Some(("zuora".to_owned(), "word".to_owned())), ..one });
    tenant.async_idle().await;

    let authorized: Vec<bool> = receiver.received().iter().map(Received::is_authorized).collect();
    assert_eq!(authorized, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn the_history_keeps_60_kb_of_an_answer() {
    let tenant = tenant_with(AsyncWrites::default());
    let receiver = Receiver::of(&tenant);
    let body = "z".repeat(100_000);
    receiver.will_send(&format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{body}"));

    post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
    tenant.async_idle().await;

    let all = history(&tenant, "failedOnly=false&includeResponseContent=true").await;
    let kept = all["calloutHistories"][0]["responseContent"].as_str().unwrap();
    assert_eq!(kept.len(), 60 * 1024);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_after_25_seconds() {
    let tenant = tenant_with(AsyncWrites { attempts: 1, ..Default::default() });
    let receiver = Receiver::of(&tenant);
    receiver.will_send("silence").will_send("");

    for _ in 0..2 {
        post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
        tenant.async_idle().await;
    }
    tenant.call_out_through(|_| Err(std::io::ErrorKind::ConnectionRefused.into()));
    post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
    tenant.async_idle().await;

    let ledger = tenant.ledger();
    let failures =
        [CalloutAttempt::TIMED_OUT, CalloutAttempt::BROKEN, CalloutAttempt::NO_CONNECTION];
    assert_eq!(statuses(&ledger), failures);
    let first = &ledger.async_requests[0].callouts[0];
    assert_eq!(first.ended_ms - first.began_ms, 25_000);
}

#[tokio::test(start_paused = true)]
async fn mishaps_of_callouts_are_as_they_are_called() {
    let tenant = tenant_with(AsyncWrites::default());
    let receiver = Receiver::of(&tenant);
    with_preemptive(&tenant);
    let mut seen = Vec::new();
    let mut told_by = async |mishap: Mishap| -> Vec<Received> {
        tenant.plan_mishap(mishap, 1);
        post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
        tenant.async_idle().await;
        let received = receiver.received();
        let new = received[seen.len()..].to_vec();
        seen = received;
        new
    };

    let twice = told_by(Mishap::Duplicated).await;
    let contradicted = told_by(Mishap::Contradicted).await;
    let lost = told_by(Mishap::Lost).await;
    let vanished = told_by(Mishap::Vanished).await;
    let failed = told_by(Mishap::Fails).await;
    let long = told_by(Mishap::LongReasons).await;

    let id = |one: &Received| one.header("zuora-notification-id").unwrap().to_owned();
    let states = |all: &[Received]| -> Vec<String> {
        all.iter().map(|one| one.body["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(twice.len(), 2);
    assert_eq!((id(&twice[0]), &twice[0].body), (id(&twice[1]), &twice[1].body));
    assert_eq!(states(&contradicted), ["succeeded", "failed"]);
    assert_ne!(id(&contradicted[0]), id(&contradicted[1]));
    let of = |one: &Received| one.body["request"]["id"].clone();
    assert_eq!(of(&contradicted[0]), of(&contradicted[1]));
    assert_eq!((lost.len(), vanished.len()), (0, 0));
    assert_eq!(states(&failed), ["failed"]);
    assert!(long[0].body["reasons"][0]["message"].as_str().unwrap().len() >= 60_000);
    let ledger = tenant.ledger();
    let outcomes = ledger.async_requests.iter().map(|one| one.outcome.as_ref().unwrap());
    let succeeded: Vec<bool> = outcomes.map(AsyncOutcome::succeeded).collect();
    assert_eq!(succeeded, [true, true, true, true, false, false]);
    assert_eq!(ledger.effective_writes, 4);
    let [lost, vanished] = [2, 3].map(|nth: usize| &ledger.async_requests[nth].callouts);
    assert_eq!(lost[0].status, CalloutAttempt::NO_CONNECTION);
    assert_eq!(vanished.len(), 0);
    let failed = history(&tenant, "").await;
    assert_eq!(failed["calloutHistories"].as_array().unwrap().len(), 1, "{failed}");
    assert_eq!(failed["calloutHistories"][0]["attemptedNum"], 3);
}

#[tokio::test(start_paused = true)]
async fn an_early_callout_comes_before_the_202_and_a_late_one_after_others() {
    let tenant = tenant_with(AsyncWrites { late_by: Duration::from_secs(9), ..Default::default() });
    let receiver = Receiver::of(&tenant);
    with_preemptive(&tenant);
    tenant.plan_mishap(Mishap::Early, 1);
    tenant.plan_mishap(Mishap::Late, 1);

    post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
    assert_eq!(receiver.bodies()[0]["request"]["trackId"], "batch-1", "told before the answer");
    post(&tenant, "/v1/async/accounts", "batch-2", ACCOUNT).await;
    post(&tenant, "/v1/async/accounts", "batch-3", ACCOUNT).await;
    tenant.async_idle().await;

    let bodies = receiver.bodies();
    let order: Vec<_> = bodies.iter().map(|one| &one["request"]["trackId"]).collect();
    assert_eq!(order, ["batch-1", "batch-3", "batch-2"]);
}

#[tokio::test(start_paused = true)]
async fn an_early_callout_that_does_not_come_holds_nobody_up_for_long() {
    let tenant = tenant_with(AsyncWrites { delay: Duration::from_secs(60), ..Default::default() });
    let began = Instant::now();
    tenant.plan_mishap(Mishap::Early, 1);

    post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;

    assert_eq!(began.elapsed(), Duration::from_millis(5050));
}

#[tokio::test(start_paused = true)]
async fn chances_of_mishaps_are_drawn_with_the_seed() {
    let mishaps = vec![(Mishap::Duplicated, 0.3), (Mishap::Vanished, 0.2)];
    let drawn = async || {
        let tenant = tenant_with(AsyncWrites { mishaps: mishaps.clone(), ..Default::default() });
        let _receiver = Receiver::of(&tenant);
        for nth in 0..30 {
            post(&tenant, "/v1/async/accounts", &format!("batch-{nth}"), ACCOUNT).await;
        }
        tenant.async_idle().await;
        let requests = tenant.ledger().async_requests;
        requests.into_iter().map(|one| one.mishaps).collect::<Vec<_>>()
    };

    let first = drawn().await;

    let met = |mishap| first.iter().filter(|all| all.contains(&mishap)).count();
    assert!((4..18).contains(&met(Mishap::Duplicated)), "{first:?}");
    assert!((1..14).contains(&met(Mishap::Vanished)), "{first:?}");
    assert_eq!(drawn().await, first);
}

#[tokio::test(start_paused = true)]
async fn the_history_tells_failures_of_the_last_day_unless_asked() {
    let tenant = tenant_with(AsyncWrites { attempts: 1, ..Default::default() });
    let receiver = Receiver::of(&tenant);
    with_preemptive(&tenant);
    receiver.will_answer(503).will_answer(500);
    for nth in 0..4 {
        post(&tenant, "/v1/async/accounts", &format!("batch-{nth}"), ACCOUNT).await;
        tenant.async_idle().await;
    }
    let codes = |answer: &Value| -> Vec<i64> {
        let entries = answer["calloutHistories"].as_array().unwrap();
        entries.iter().map(|one| one["responseCode"].as_i64().unwrap()).collect()
    };
    let none: Vec<i64> = Vec::new();

    assert_eq!(codes(&history(&tenant, "").await), [500, 503]);
    let all = history(&tenant, "failedOnly=false").await;
    assert_eq!(codes(&all), [200, 200, 500, 503], "newest first");
    assert!(all.get("nextPage").is_none());
    let entry = &history(&tenant, "includeResponseContent=true").await["calloutHistories"][1];
    assert_eq!(entry["responseContent"], "no");
    assert_eq!(entry["eventContext"]["request"]["trackId"], "batch-0");
    assert_eq!(entry["requestUrl"], "https://gateway.example/callouts");
    assert_eq!((&entry["attemptedNum"], &entry["requestMethod"]), (&json!(1), &json!("POST")));
    let failures = history(&tenant, "failedOnly=false&eventCategory=Async+Request+Failed").await;
    assert_eq!(codes(&failures), none);

    let page = history(&tenant, "failedOnly=false&pageSize=3").await;
    assert_eq!(codes(&page), [200, 200, 500]);
    let next = page["nextPage"].as_str().unwrap();
    let (place, query) = next.split_once('?').unwrap();
    assert_eq!(place, "https://localhost:8080/apps/v1/notification-history/callout");
    assert_eq!(codes(&history(&tenant, query).await), [503]);

    tokio::time::advance(Duration::from_secs(25 * 60 * 60)).await;
    assert_eq!(codes(&history(&tenant, "").await), none);
    assert_eq!(codes(&history(&tenant, "startTime=2026-01-01T00:00:00").await), [500, 503]);
    let before = "startTime=2020-01-01T00:00:00&endTime=2020-01-02T00:00:00Z";
    assert_eq!(codes(&history(&tenant, before).await), none);
    assert_eq!(history(&tenant, "startTime=yesterday").await["success"], false);
}

#[tokio::test(start_paused = true)]
async fn the_history_may_tell_less() {
    for (history_context, history_ids) in
        [(HistoryContext::Text, true), (HistoryContext::Absent, false)]
    {
        let tenant =
            tenant_with(AsyncWrites { history_context, history_ids, ..Default::default() });
        let _receiver = Receiver::of(&tenant);
        post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
        tenant.async_idle().await;

        let entry = history(&tenant, "failedOnly=false").await["calloutHistories"][0].clone();

        assert_eq!(entry.get("id").is_some(), history_ids);
        let context = entry.get("eventContext").and_then(Value::as_str);
        assert_eq!(
            context.is_some_and(|text| text.contains("batch-1")),
            history_context == HistoryContext::Text
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_callout_is_sent_again_when_asked_for() {
    let tenant = tenant_with(AsyncWrites::default());
    let receiver = Receiver::of(&tenant);
    with_preemptive(&tenant);
    tenant.plan_mishap(Mishap::Lost, 1);
    post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
    tenant.async_idle().await;
    assert_eq!(receiver.received().len(), 0);

    let entry = history(&tenant, "").await["calloutHistories"][0].clone();
    let resend = "/notifications/callout-histories/resend";
    let ids = json!([entry["id"]]).to_string();
    assert_eq!(call(&tenant, "POST", resend, "t-1", &ids).await.0, 202);
    tenant.async_idle().await;

    assert_eq!(receiver.bodies()[0]["request"]["trackId"], "batch-1");
    let attempts = tenant.ledger().async_requests[0].callouts.clone();
    let told: Vec<_> = attempts.iter().map(|one| (one.attempt, one.status, one.resent)).collect();
    assert_eq!(told, [(3, -1, false), (4, 200, true)]);
    assert_eq!(attempts[0].notification_id, attempts[1].notification_id);
    assert_eq!(history(&tenant, "").await["calloutHistories"], json!([]), "no failure any more");
    let many = json!(vec![entry["id"].clone(); 1001]).to_string();
    for wrong in ["[]", "{}", r#"["nobody"]"#, "[1]", many.as_str()] {
        assert_eq!(call(&tenant, "POST", resend, "t-1", wrong).await.0, 400, "{wrong:.40}");
    }
    assert_eq!(receiver.received().len(), 1);
}

fn definition(name: &str, url: &str, password: &str) -> String {
    json!({
        "name": name, "eventTypeName": "Async Request Succeeded", "calloutActive": true,
        "callout": {
            "name": name, "eventTypeName": "Async Request Succeeded", "httpMethod": "POST",
            "calloutBaseurl": url, "requiredAuth": true,
            "calloutAuth": {"username": "zuora", "password": password, "preemptive": true},
        },
    })
    .to_string()
}

#[tokio::test(start_paused = true)]
async fn definitions_are_made_read_changed_and_removed() {
    let tenant = tenant_with(AsyncWrites::default());
    tenant.set_definitions(&[]);
    let receiver = Receiver::of(&tenant);
    let place = "/notifications/notification-definitions";
    let made = definition("Outcomes", "https://gateway.example/c", "old");
    let (status, _, made) = call(&tenant, "POST", place, "t-1", &made).await;
    assert_eq!(status, 200, "{made}");
    let own = format!("{place}/{}", made["id"].as_str().unwrap());

    let (_, _, read) = call(&tenant, "GET", &own, "t-1", "").await;
    assert_eq!(read, made);
    assert_eq!(read["callout"]["calloutAuth"]["username"], "zuora");
    assert!(!read.to_string().contains("old"), "a password is not told");
    let filtered = format!("{place}?eventTypeName=Async+Request+Succeeded");
    let (_, _, list) = call(&tenant, "GET", &filtered, "t-1", "").await;
    assert_eq!((&list["data"], &list["next"]), (&json!([made]), &Value::Null));
    let (_, _, list) = call(&tenant, "GET", &format!("{place}?start=20"), "t-1", "").await;
    assert_eq!(list["data"].as_array().unwrap().len(), 6, "25 others and this one");

    let change = r#"{"callout": {"calloutAuth": {"username": "zuora", "password": "word"}}}"#;
    assert_eq!(call(&tenant, "PUT", &own, "t-1", change).await.0, 200);
    receiver.will_send(CHALLENGE);
    post(&tenant, "/v1/async/accounts", "batch-1", ACCOUNT).await;
    tenant.async_idle().await;
    assert!(receiver.received()[1].is_authorized());

    assert_eq!(call(&tenant, "DELETE", &own, "t-1", "").await.0, 204);
    assert_eq!(call(&tenant, "GET", &own, "t-1", "").await.0, 404);
    post(&tenant, "/v1/async/accounts", "batch-2", ACCOUNT).await;
    tenant.async_idle().await;
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn definitions_that_zuora_would_not_take_are_refused() {
    let tenant = tenant_with(AsyncWrites::default());
    let place = "/notifications/notification-definitions";
    let whole: Value = serde_json::from_str(&definition("A", "https://a/b", "word")).unwrap();
    let mut wrong = Vec::new();
    for pointer in ["", "/callout", "/callout/calloutAuth"] {
        for name in whole.pointer(pointer).unwrap().as_object().unwrap().keys() {
            let mut one = whole.clone();
            one.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name);
            wrong.push((name.clone(), one));
        }
    }
    wrong.retain(|(name, _)| !["calloutActive", "preemptive"].contains(&name.as_str()));
    for (pointer, value) in [
        ("/callout/calloutBaseurl", "http://gateway.example/c"),
        ("/callout/httpMethod", "PATCH"),
        ("/callout/eventTypeName", "Async Request Failed"),
        ("/name", "Async Request Failed"),
    ] {
        let mut one = whole.clone();
        *one.pointer_mut(pointer).unwrap() = value.into();
        wrong.push((format!("{pointer} {value}"), one));
    }

    for (what, one) in &wrong {
        let (status, _, _) = call(&tenant, "POST", place, "t-1", &one.to_string()).await;
        assert_eq!(status, 400, "{what}");
    }

    assert_eq!(wrong.len(), 15);
    assert_eq!(tenant.definitions().len(), 2);
    let local = definition("A", "http://127.0.0.1:8080/c", "word");
    assert_eq!(call(&tenant, "POST", place, "t-1", &local).await.0, 200);
}

const ORDER: &str = r#"{"orderDate": "2026-01-01", "existingAccountNumber": "A00000001",
                        "subscriptions": [{"orderActions": [{"type": "CreateSubscription"}]}]}"#;

#[tokio::test(start_paused = true)]
async fn orders_become_jobs_that_are_polled_and_told_by_nobody() {
    let tenant = tenant_with(AsyncWrites { delay: Duration::from_secs(5), ..Default::default() });
    let receiver = Receiver::of(&tenant);
    let (status, head, job) = call(&tenant, "POST", "/v1/async/orders", "t-1", ORDER).await;
    assert_eq!((status, &job["success"]), (200, &json!(true)));
    let place = format!("/v1/async-jobs/{}", job["jobId"].as_str().unwrap());
    assert!(head.contains(&format!("location: {}{place}\r\n", tenant.base_url())), "{head}");
    let poll = async || call(&tenant, "GET", &place, "t-2", "").await.2;

    let pending = json!({"status": "Processing", "errors": null, "result": null, "success": true});
    assert_eq!(poll().await, pending);
    tenant.async_idle().await;

    let done = poll().await;
    assert_eq!((&done["status"], &done["errors"]), (&json!("Completed"), &Value::Null));
    assert_eq!(done["result"]["jobType"], "AsyncCreateOrder");
    let number = done["result"]["orderNumber"].as_str().unwrap();
    let order = format!("/v1/orders/{number}");
    assert_eq!(call(&tenant, "GET", &order, "t-3", "").await.2["success"], true);
    assert_eq!(receiver.received().len(), 0);
    let ledger = tenant.ledger();
    assert!(ledger.async_requests[0].is_job);
    assert_eq!(ledger.effects_by_track_id()["t-1"], 1);

    let delete = format!("/v1/async/orders/{number}");
    let (status, _, job) = call(&tenant, "DELETE", &delete, "t-4", "").await;
    assert_eq!(status, 202);
    tenant.async_idle().await;
    let place = format!("/v1/async-jobs/{}", job["jobId"].as_str().unwrap());
    assert_eq!(call(&tenant, "GET", &place, "t-5", "").await.2["status"], "Completed");
    assert_eq!(tenant.ledger().effects_by_track_id()["t-4"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_failed_is_told_with_success() {
    let tenant = tenant_with(AsyncWrites { order_status: 202, ..Default::default() });
    let wrong = r#"{"orderDate": "2026-01-01", "existingAccountNumber": "nobody"}"#;
    let (status, _, job) = call(&tenant, "POST", "/v1/async/orders", "t-1", wrong).await;
    assert_eq!(status, 202);
    tenant.async_idle().await;

    let place = format!("/v1/async-jobs/{}", job["jobId"].as_str().unwrap());
    let (status, _, job) = call(&tenant, "GET", &place, "t-2", "").await;

    assert_eq!((status, &job["status"], &job["success"]), (200, &json!("Failed"), &json!(true)));
    assert!(job["errors"].as_str().unwrap().starts_with("[50000040]: Cannot find"), "{job}");
    assert_eq!(tenant.ledger().effective_writes, 0);
    let unknown = call(&tenant, "GET", "/v1/async-jobs/1", "t-3", "").await.2;
    assert_eq!(unknown["success"], false);
}

#[tokio::test(start_paused = true)]
async fn a_preview_is_a_job_that_changes_nothing() {
    let tenant = tenant_with(AsyncWrites::default());

    let (status, _, job) = call(&tenant, "POST", "/v1/async/orders/preview", "t-1", ORDER).await;
    tenant.async_idle().await;

    let place = format!("/v1/async-jobs/{}", job["jobId"].as_str().unwrap());
    let done = call(&tenant, "GET", &place, "t-2", "").await.2;
    assert_eq!((status, &done["result"]["jobType"]), (202, &json!("AsyncPreviewOrder")));
    assert!(done["result"]["previewResult"].is_object());
    assert_eq!(tenant.ledger().effective_writes, 0);
}

#[tokio::test(start_paused = true)]
async fn keys_count_where_zuora_says_so() {
    let accepted = async |keys_count: bool, path: &str, body: &str| {
        let tenant = tenant_with(AsyncWrites { keys_count, ..Default::default() });
        let headers = format!(
            "Authorization: Bearer {}\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n",
            token(&tenant).await
        );
        for _ in 0..2 {
            ask(&tenant, &request("POST", path, &headers, body)).await;
        }
        tenant.async_idle().await;
        assert_eq!(tenant.ledger().async_requests[0].idempotency_key.as_deref(), Some("k"));
        tenant.ledger().async_accepted
    };

    assert_eq!(accepted(false, "/v1/async/accounts", ACCOUNT).await, 2);
    assert_eq!(accepted(true, "/v1/async/accounts", ACCOUNT).await, 1);
    assert_eq!(accepted(false, "/v1/async/orders", ORDER).await, 1);
}

#[tokio::test(start_paused = true)]
async fn the_ledger_keeps_what_is_not_done_and_forgets_on_reset() {
    let tenant = Tenant::in_memory(Options { ledger_capacity: 1, ..Options::default() });
    tenant.pause_async(true);
    for nth in 0..3 {
        post(&tenant, "/v1/async/accounts", &format!("batch-{nth}"), ACCOUNT).await;
    }
    assert_eq!(tenant.ledger().async_requests.len(), 3);
    tenant.pause_async(false);
    tenant.async_idle().await;
    assert_eq!(tenant.ledger().async_requests.len(), 1);
    assert_eq!((tenant.ledger().async_accepted, tenant.counters().async_requests.len()), (3, 0));

    tenant.pause_async(true);
    post(&tenant, "/v1/async/accounts", "batch-9", ACCOUNT).await;
    tenant.reset();
    tenant.pause_async(false);
    tenant.async_idle().await;

    let ledger = tenant.ledger();
    assert_eq!((ledger.async_accepted, ledger.async_pending), (0, 0));
    assert_eq!(ledger.async_requests, []);
}

/// A receiver on a real socket; over TLS with a certificate for this machine, whose authority is
/// told.
async fn listening(tls: bool) -> (Receiver, String, String) {
    let receiver = Receiver::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let serving = receiver.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (serving, acceptor) = (serving.clone(), acceptor.clone());
            tokio::spawn(async move {
                if !tls {
                    serving.serve(stream).await;
                } else if let Ok(stream) = acceptor.accept(stream).await {
                    serving.serve(stream).await;
                }
            });
        }
    });
    let scheme = if tls { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{}/callouts?tenant=a", address.port());
    (receiver, url, certified.cert.pem())
}

#[tokio::test]
async fn callouts_go_over_sockets_with_tls_where_the_authority_is_known() {
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    for (tls, known, status) in
        [(false, true, 200), (true, true, 200), (true, false, CalloutAttempt::NO_CONNECTION)]
    {
        let (receiver, url, authority) = listening(tls).await;
        let callout_ca = Some(if known { authority } else { stranger.clone() });
        let definitions = Definition::both(&url, "zuora", "word");
        let tenant = crate::wire::start(Options {
            service_time: ServiceTime::ZERO,
            async_writes: AsyncWrites {
                definitions,
                callout_ca,
                attempts: 1,
                ..AsyncWrites::default()
            },
            ..Options::default()
        })
        .await;
        receiver.will_send(CHALLENGE);

        let answer = crate::wire::write(&tenant, "POST", "/v1/async/accounts", ACCOUNT).await;
        assert_eq!(answer.status, 202);
        tenant.async_idle().await;

        assert_eq!(statuses(&tenant.ledger()), [status], "{url}");
        let received = receiver.received();
        assert_eq!(received.len(), if status == 200 { 2 } else { 0 });
        for one in received {
            assert!(one.head.starts_with("POST /callouts?tenant=a HTTP/1.1\r\n"), "{}", one.head);
            let host = url.split('/').nth(2).unwrap();
            assert_eq!(one.header("host"), Some(host));
        }
    }
}

#[tokio::test]
async fn authorities_that_are_none_are_refused_at_the_start() {
    let callout_ca = Some("no certificate".to_owned());
    let async_writes = AsyncWrites { callout_ca, ..AsyncWrites::default() };

    let started = Tenant::start(Options { async_writes, ..Options::default() }).await;

    assert!(started.is_err());
}

#[test]
fn passwords_are_not_shown() {
    let definitions = Definition::both("https://gateway.example/callouts", "zuora", "s3cret");
    let async_writes = AsyncWrites { definitions, ..AsyncWrites::default() };

    let shown = format!("{:?}", Options { async_writes, ..Options::default() });

    assert!(shown.contains("zuora") && !shown.contains("s3cret"), "{shown}");
    assert_eq!(CalloutEvent::named("Async Request Failed"), Some(CalloutEvent::Failed));
}
