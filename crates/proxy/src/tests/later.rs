//! Writes that are carried out later: where they go, what is remembered of them, and what their callers are told.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_requests::{
    Change, Changed, Form, Key, Limits, Memory, NewRequest, Outcome, Record, Registry, Report,
    State, Store, StoreError, StoreReadings, Whose, Writing,
};
use http::StatusCode;
use serde_json::{Map, json};
use tokio::time::{Duration, Instant, sleep, timeout};
use zuora::Policy;

use super::scene::{Answer, Reply, Scene, refusal};
use crate::{RewriteRule, When};

const SECOND: Duration = Duration::from_secs(1);
const ASKING: (&str, &str) = ("prefer", "respond-async");
const ACCOUNT: &str = r#"{"name":"a"}"#;

/// The answer to a submission.
fn accepted(id: &str) -> Reply {
    Reply::new(202, format!(r#"{{"requestId":"{id}"}}"#))
}

fn in_memory() -> Arc<Registry> {
    Registry::new(Memory::default())
}

fn rule(operations: &[&str], when: When) -> RewriteRule {
    RewriteRule {
        apps: Vec::new(),
        operations: operations.iter().map(|entry| entry.parse().unwrap()).collect(),
        order_jobs: operations == ["POST /v1/orders"],
        when,
    }
}

fn key(track_id: &str) -> Key {
    Key { tenant: "t".into(), track_id: track_id.into() }
}

async fn record(registry: &Registry, track_id: &str) -> Option<Record> {
    registry.find(&key(track_id)).await.unwrap()
}

/// Has Zuora tell that a request succeeded.
async fn succeeded(registry: &Arc<Registry>, track_id: &str, zuora_id: &str) {
    let data = Map::from_iter([("id".to_owned(), json!("8ad0"))]);
    let report = Report {
        zuora_id: Some(zuora_id.into()),
        track_id: Some(track_id.into()),
        notification_id: None,
        outcome: Outcome::Succeeded { data },
    };
    registry.take_in(&"t".into(), report).await.unwrap();
}

/// Makes a record of another call.
async fn taken_by(registry: &Arc<Registry>, app: &str, track_id: &str) {
    let other = NewRequest {
        key: key(track_id),
        app: app.into(),
        entity: None,
        operation: None,
        method: "POST".into(),
        path: "/v1/contacts".into(),
        form: Form::Async,
    };
    registry.begin(other).await.unwrap().accepted(Some("r0")).await.unwrap();
}

/// A store that can be slow, and can be full.
#[derive(Debug, Default)]
struct Disk {
    memory: Memory,
    takes: Duration,
    is_full: Arc<AtomicBool>,
    /// Then it takes a minute.
    is_slow: Arc<AtomicBool>,
    /// Then nothing is ever read.
    is_blind: Arc<AtomicBool>,
}

impl Store for Disk {
    fn change(&self, whose: Whose, change: Change) -> Writing<Changed> {
        if self.is_full.load(Ordering::Relaxed) {
            return Box::pin(async { Err(StoreError("no space left on device".into())) });
        }
        let is_slow = self.is_slow.load(Ordering::Relaxed);
        let takes = if is_slow { 60 * SECOND } else { self.takes };
        let written = self.memory.change(whose, change);
        Box::pin(async move {
            sleep(takes).await;
            written.await
        })
    }

    fn find(&self, key: Key) -> Writing<Option<Record>> {
        match self.is_blind.load(Ordering::Relaxed) {
            true => Box::pin(std::future::pending()),
            false => self.memory.find(key),
        }
    }

    fn list(
        &self,
        app: Arc<str>,
        state: Option<State>,
        before: Option<u64>,
        most: usize,
    ) -> Writing<Vec<(u64, Record)>> {
        self.memory.list(app, state, before, most)
    }

    fn pending(&self, tenant: Arc<str>, most: usize) -> Writing<Vec<Record>> {
        self.memory.pending(tenant, most)
    }

    fn outcomes(&self, app: Arc<str>, after: u64, most: usize) -> Writing<Vec<Record>> {
        self.memory.outcomes(app, after, most)
    }

    fn undelivered(&self, app: Arc<str>, most: usize) -> Writing<Vec<Record>> {
        self.memory.undelivered(app, most)
    }

    fn dead_letters(&self, after: Option<Key>, most: usize) -> Writing<Vec<Record>> {
        self.memory.dead_letters(after, most)
    }

    fn tend(&self, ended_before: SystemTime) -> Writing<bool> {
        self.memory.tend(ended_before)
    }

    fn readings(&self) -> StoreReadings {
        self.memory.readings()
    }

    fn close(&self) -> Writing<()> {
        self.memory.close()
    }
}

async fn ask(scene: &Scene, path: &str, track_id: &str) -> Answer {
    scene.call_with("POST", path, &[ASKING, ("zuora-track-id", track_id)], ACCOUNT).await
}

/// The answer is Zuora's refusal, and nothing is remembered of the call.
async fn assert_forgotten(registry: &Registry, answer: &Answer, track_id: &str) {
    assert_eq!(record(registry, track_id).await, None);
    assert_eq!(answer.field("location"), "");
    assert_eq!(answer.field("preference-applied"), "");
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_it_is_answered_202_with_where_the_outcome_will_be() {
    let registry = in_memory();
    let scene = Scene::of([accepted("r1")]).with_later(&registry, &[]);

    let answer = ask(&scene, "/v1/accounts?x=1&y", "job 7/%").await;

    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.body, r#"{"requestId":"r1"}"#);
    assert_eq!(answer.field("location"), "/_gateway/async-requests/job%207%2F%25");
    assert_eq!(answer.field("preference-applied"), "respond-async");
    assert_eq!(answer.field("zuora-gateway-not-async"), "");
    let asked = &scene.asked()[0];
    assert_eq!((&*asked.path, &*asked.query), ("/v1/async/accounts", "x=1&y"));
    assert_eq!((&*asked.body, asked.field("zuora-track-id")), (ACCOUNT, "job 7/%"));
    assert!(!asked.has("prefer") && !asked.has("idempotency-key"), "{asked:?}");
    let record = record(&registry, "job 7/%").await.unwrap();
    assert_eq!((record.state, record.form), (State::Accepted, Form::Async));
    assert_eq!(record.zuora_id.as_deref(), Some("r1"));
    assert_eq!((&*record.app, &*record.method, &*record.path), ("app", "POST", "/v1/accounts"));
    assert_eq!(record.operation.as_deref(), Some("POST_Account"));
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_before_it_is_remembered() {
    let disk = Disk { takes: 3 * SECOND, ..Disk::default() };
    let registry = Registry::new(disk);
    let scene = Scene::of([accepted("r1")]).with_later(&registry, &[]);
    let began = Instant::now();

    let answer = ask(&scene, "/v1/accounts", "job-1").await;

    assert_eq!(scene.asked()[0].at - began, 3 * SECOND);
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(began.elapsed(), 6 * SECOND, "nor is it answered before its acceptance is");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_ask_for_it_is_served_as_ever() {
    let registry = in_memory();
    let scene = Scene::of([Reply::ok()]).with_later(&registry, &[]);

    let answer = scene.post("/v1/accounts", ACCOUNT).await;

    let asked = &scene.asked()[0];
    assert_eq!((&*asked.path, answer.status), ("/v1/accounts", StatusCode::OK));
    assert!(asked.has("idempotency-key"));
    assert_eq!((answer.field("location"), answer.field("zuora-gateway-not-async")), ("", ""));
    assert!(registry.list(&"app".into(), None, None, 9).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_asks_in_vain_is_told_why_and_zuora_hears_of_the_wish() {
    let check = async |scene: &Scene, method: &str, path: &str, more: (&str, &str), why: &str| {
        let answer = scene.call_with(method, path, &[ASKING, more], ACCOUNT).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.field("zuora-gateway-not-async"), why);
        assert_eq!((answer.field("location"), answer.field("preference-applied")), ("", ""));
        let asked = scene.asked().pop().unwrap();
        assert_eq!((&*asked.path, asked.field("prefer")), (path, "respond-async"));
    };
    let (none, csv) = (("x-none", ""), ("content-type", "text/csv"));
    let never = rule(&["POST /v1/contacts"], When::Never);
    let deny = vec!["* /v1/async/bill-runs".parse().unwrap()];
    let scene = Scene::of([(); 5].map(|()| Reply::ok()))
        .with_later(&in_memory(), &[never])
        .with_policy(Policy { deny, ..Policy::default() });

    check(&scene, "GET", "/v1/accounts/A1", none, "operation").await;
    check(&scene, "POST", "/v1/orders", none, "operation").await;
    check(&scene, "POST", "/v1/accounts", csv, "content-type").await;
    check(&scene, "POST", "/v1/contacts", none, "policy").await;
    check(&scene, "POST", "/v1/bill-runs", none, "policy").await;
    let without = Scene::of([Reply::ok()]);
    check(&without, "POST", "/v1/accounts", none, "not-configured").await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_passed_on_and_leaves_no_trace() {
    let failed = r#"{"success":false,"reasons":[{"code":53100020,"message":"no"}]}"#;
    let broken = r#"{"success":false,"reasons":[{"code":53100060,"message":"no"}]}"#;
    for (status, body) in [(400, failed), (404, ""), (200, failed), (500, broken), (302, "")] {
        let registry = in_memory();
        let scene = Scene::of([Reply::new(status, body), accepted("r1")]);
        let scene = scene.with_later(&registry, &[]);

        let answer = ask(&scene, "/v1/accounts", "job-1").await;

        assert_eq!((answer.status.as_u16(), &*answer.body), (status, body));
        assert_eq!(answer.field("zuora-gateway-executed"), "");
        assert_forgotten(&registry, &answer, "job-1").await;
        assert_eq!(ask(&scene, "/v1/accounts", "job-1").await.status, StatusCode::ACCEPTED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_waited_out_with_one_record() {
    let registry = in_memory();
    let scene = Scene::of([refusal(30), Reply::new(401, ""), accepted("r1")]);
    let scene = scene.with_later(&registry, &[]).with_tokens_of_age(60 * SECOND).await;

    let answer = ask(&scene, "/v1/accounts", "job-1").await;

    assert_eq!((answer.status, scene.asked().len()), (StatusCode::ACCEPTED, 3));
    assert!(scene.asked().iter().all(|asked| asked.path == "/v1/async/accounts"));
    assert_eq!(record(&registry, "job-1").await.unwrap().state, State::Accepted);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_outlasts_the_deadline_leaves_no_trace() {
    let registry = in_memory();
    let scene = Scene::of([refusal(120)]).with_later(&registry, &[]);

    let answer = ask(&scene, "/v1/accounts", "job-1").await;

    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_forgotten(&registry, &answer, "job-1").await;
}

#[tokio::test(start_paused = true)]
async fn what_zuora_may_have_taken_is_never_sent_twice_and_stays_remembered() {
    let silent = accepted("r1").after(600 * SECOND);
    let edge = Reply::new(503, "<html>").with("content-type", "text/html");
    let ends = [
        (Reply::cut(), StatusCode::BAD_GATEWAY, "upstream-broke"),
        (silent, StatusCode::GATEWAY_TIMEOUT, "upstream-timeout"),
        (edge, StatusCode::SERVICE_UNAVAILABLE, ""),
        (Reply::new(500, "{}"), StatusCode::INTERNAL_SERVER_ERROR, ""),
    ];
    for (end, status, error) in ends {
        let registry = in_memory();
        let scene = Scene::of([end]).with_later(&registry, &[]);
        let fields = [ASKING, ("zuora-track-id", "job-1"), ("idempotency-key", "the app's own")];

        let answer = scene.call_with("POST", "/v1/accounts", &fields, ACCOUNT).await;

        assert_eq!((answer.status, answer.field("zuora-gateway-error")), (status, error));
        assert_eq!(answer.field("zuora-gateway-executed"), "maybe");
        assert_eq!(answer.field("location"), "/_gateway/async-requests/job-1");
        assert_eq!(answer.field("preference-applied"), "");
        assert_eq!(scene.asked()[0].field("idempotency-key"), "the app's own");
        assert_eq!(record(&registry, "job-1").await.unwrap().state, State::Sending);
        succeeded(&registry, "job-1", "r1").await;
        assert_eq!(record(&registry, "job-1").await.unwrap().state, State::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_name_is_an_acceptance_too() {
    let registry = in_memory();
    let scene = Scene::of([Reply::new(202, "")]).with_later(&registry, &[]);

    let answer = ask(&scene, "/v1/accounts", "job-1").await;

    assert_eq!(
        (answer.status, answer.field("preference-applied")),
        (StatusCode::ACCEPTED, "respond-async")
    );
    let record = record(&registry, "job-1").await.unwrap();
    assert_eq!((record.state, record.zuora_id), (State::Accepted, None));
}

#[tokio::test(start_paused = true)]
async fn a_track_id_names_one_request() {
    let registry = in_memory();
    taken_by(&registry, "app", "job-1").await;
    taken_by(&registry, "another", "job-2").await;
    let scene = Scene::of([]).with_later(&registry, &[]);

    let own = ask(&scene, "/v1/accounts", "job-1").await;
    let anothers = ask(&scene, "/v1/accounts", "job-2").await;

    for answer in [&own, &anothers] {
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.field("zuora-gateway-error"), "bad-request");
        assert_eq!(answer.field("zuora-gateway-executed"), "no");
    }
    assert_eq!(own.field("location"), "/_gateway/async-requests/job-1");
    assert_eq!(anothers.field("location"), "", "what others do is their own");
    assert_eq!(record(&registry, "job-1").await.unwrap().path.as_ref(), "/v1/contacts");
    assert_eq!(scene.permits_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_remembered_is_not_sent() {
    let is_full = Arc::new(AtomicBool::new(true));
    let disk = Disk { is_full: Arc::clone(&is_full), ..Disk::default() };
    let registry = Registry::new(disk);
    let always = rule(&["POST /v1/contacts"], When::Always);
    let scene = Scene::of([accepted("r1")]).with_later(&registry, &[always]);

    let asked_for = ask(&scene, "/v1/accounts", "job-1").await;
    let chosen = scene.post("/v1/contacts", "{}").await;

    for answer in [asked_for, chosen] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.field("zuora-gateway-error"), "async-unavailable");
        assert_eq!(answer.field("zuora-gateway-executed"), "no");
        assert_eq!(answer.field("retry-after"), "5");
        assert!(answer.body.contains("50000061"), "{}", answer.body);
        assert!(!answer.body.contains("device"), "causes are for the log: {}", answer.body);
        assert_eq!(answer.field("location"), "");
    }
    assert_eq!((scene.asked().len(), scene.permits_in_use()), (0, 0));
    is_full.store(false, Ordering::Relaxed);
    assert_eq!(ask(&scene, "/v1/accounts", "job-1").await.status, StatusCode::ACCEPTED);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_holds_nobody_for_long() {
    let registry = Registry::new(Disk { takes: 60 * SECOND, ..Disk::default() });
    let scene = Scene::of([]).with_later(&registry, &[]);
    let began = Instant::now();

    let answer = ask(&scene, "/v1/accounts", "job-1").await;

    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(answer.field("zuora-gateway-error"), "async-unavailable");
    assert_eq!(scene.permits_in_use(), 0);
    sleep(200 * SECOND).await;
    assert_eq!(record(&registry, "job-1").await, None, "what was written late is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_takes_no_permits_from_others() {
    let is_slow = Arc::new(AtomicBool::new(true));
    let registry = Registry::new(Disk { is_slow: Arc::clone(&is_slow), ..Disk::default() });
    let scene = Scene::of([Reply::ok(), accepted("r1")]).with_later(&registry, &[]).with_limit(2);
    let began = Instant::now();

    let ((), read) = tokio::join!(
        async {
            let writes = (0..20).map(|number| {
                let track_id = format!("job-{number}");
                let scene = &scene;
                async move { ask(scene, "/v1/accounts", &track_id).await }
            });
            for answer in futures_util::future::join_all(writes).await {
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(answer.field("zuora-gateway-executed"), "no");
            }
        },
        async {
            sleep(SECOND).await;
            scene.get("/v1/accounts/A1").await
        }
    );

    assert_eq!(read.status, StatusCode::OK);
    assert_eq!(began.elapsed(), 5 * SECOND, "only the first waited for the disk");
    // Once what hung is written, others are taken again.
    sleep(30 * SECOND).await;
    assert_eq!(ask(&scene, "/v1/accounts", "late").await.status, StatusCode::SERVICE_UNAVAILABLE);
    is_slow.store(false, Ordering::Relaxed);
    sleep(30 * SECOND).await;
    assert_eq!(ask(&scene, "/v1/accounts", "later").await.status, StatusCode::ACCEPTED);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_read_keeps_no_answer() {
    let is_blind = Arc::new(AtomicBool::new(true));
    let registry = Registry::new(Disk { is_blind, ..Disk::default() });
    let scene = Scene::of([accepted("r1")]).with_later(&registry, &[]);
    let began = Instant::now();

    let fields = [("prefer", "respond-async, wait=3"), ("zuora-track-id", "job-1")];
    let held = scene.call_with("POST", "/v1/accounts", &fields, ACCOUNT).await;
    assert_eq!((held.status, began.elapsed()), (StatusCode::ACCEPTED, 4 * SECOND));

    let unread = scene.get("/_gateway/async-requests/job-1").await;
    assert_eq!(unread.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unread.field("zuora-gateway-error"), "async-unavailable");
    assert_eq!(unread.field("retry-after"), "5");
    assert_eq!(began.elapsed(), 9 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_once_zuora_took_it_keeps_nobody_from_the_answer() {
    let slow = Arc::new(AtomicBool::new(false));
    let disk = Disk { takes: SECOND, is_slow: Arc::clone(&slow), ..Disk::default() };
    let registry = Registry::new(disk);
    let scene = Scene::of([accepted("r1").after(5 * SECOND)]).with_later(&registry, &[]);
    let began = Instant::now();

    let (answer, ()) = tokio::join!(ask(&scene, "/v1/accounts", "job-1"), async {
        sleep(3 * SECOND).await;
        slow.store(true, Ordering::Relaxed);
    });

    assert_eq!((answer.status, began.elapsed()), (StatusCode::ACCEPTED, 16 * SECOND));
    assert_eq!(answer.field("location"), "/_gateway/async-requests/job-1");
}

#[tokio::test(start_paused = true)]
async fn no_more_are_sent_than_may_wait_for_their_outcome() {
    let max_pending = NonZeroUsize::MIN.get();
    let registry = Registry::new(Memory::new(Limits { max_pending, ..Limits::default() }));
    let scene = Scene::of([accepted("r1"), accepted("r2")]).with_later(&registry, &[]);

    assert_eq!(ask(&scene, "/v1/accounts", "job-1").await.status, StatusCode::ACCEPTED);
    let beyond = ask(&scene, "/v1/accounts", "job-2").await;

    assert_eq!(beyond.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(beyond.field("zuora-gateway-error"), "async-unavailable");
    assert_eq!(scene.asked().len(), 1);
    succeeded(&registry, "job-1", "r1").await;
    assert_eq!(ask(&scene, "/v1/accounts", "job-2").await.status, StatusCode::ACCEPTED);
}

/// A scene with one permit, which another call has for ten seconds from now on.
async fn while_others_are_served(scene: &Scene, late: impl Future<Output = Answer>) -> Answer {
    let (_, answer) = tokio::join!(scene.put("/v1/contacts/C1", "{}"), late);
    answer
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_too_long_is_served_later() {
    let registry = in_memory();
    let waiting = rule(&[], When::Waiting(5 * SECOND));
    let first = Reply::ok().after(10 * SECOND);
    let scene = Scene::of([first, accepted("r1"), Reply::ok()]);
    let scene = scene.with_later(&registry, &[waiting]).with_limit(1);

    let (early, late) = tokio::join!(
        while_others_are_served(&scene, async {
            sleep(2 * SECOND).await;
            scene.put("/v1/contacts/C2", "{}").await
        }),
        async {
            sleep(7 * SECOND).await;
            scene.put("/v1/contacts/C3", "{}").await
        }
    );

    assert_eq!(early.status, StatusCode::ACCEPTED, "it has waited for eight seconds");
    assert_eq!(early.field("preference-applied"), "respond-async");
    assert!(early.field("location").starts_with("/_gateway/async-requests/app-"), "{early:?}");
    assert_eq!(late.status, StatusCode::OK, "and this one for three");
    let asked: Vec<_> = scene.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(asked[1..], ["/v1/async/contacts/C2", "/v1/contacts/C3"]);
}

#[tokio::test(start_paused = true)]
async fn who_did_not_ask_and_cannot_be_remembered_is_served_as_ever() {
    let disk = Disk { is_full: Arc::new(AtomicBool::new(true)), ..Disk::default() };
    let registry = Registry::new(disk);
    let waiting = rule(&[], When::Waiting(5 * SECOND));
    let scene = Scene::of([Reply::ok().after(10 * SECOND), Reply::ok()]);
    let scene = scene.with_later(&registry, &[waiting]).with_limit(1);

    let answer = while_others_are_served(&scene, scene.put("/v1/contacts/C2", "{}")).await;

    assert_eq!((answer.status, answer.field("location")), (StatusCode::OK, ""));
    assert_eq!(scene.asked()[1].path, "/v1/contacts/C2");
}

#[tokio::test(start_paused = true)]
async fn a_taken_track_id_is_no_reason_to_fail_a_call_that_did_not_ask() {
    let registry = in_memory();
    taken_by(&registry, "app", "job-1").await;
    let waiting = rule(&[], When::Waiting(5 * SECOND));
    let scene = Scene::of([Reply::ok().after(10 * SECOND), Reply::ok()]);
    let scene = scene.with_later(&registry, &[waiting]).with_limit(1);

    let call = scene.call_with("PUT", "/v1/contacts/C2", &[("zuora-track-id", "job-1")], "{}");
    let answer = while_others_are_served(&scene, call).await;

    assert_eq!((answer.status, answer.field("location")), (StatusCode::OK, ""));
    assert_eq!(scene.asked()[1].path, "/v1/contacts/C2");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_may_have_been_executed_is_not_sent_there_as_well() {
    let waiting = rule(&["POST /v1/accounts"], When::Waiting(5 * SECOND));
    let edge = Reply::new(503, "").with("retry-after", "10");
    let scene = Scene::of([edge, Reply::ok()]).with_later(&in_memory(), &[waiting]);

    let answer = scene.post("/v1/accounts", ACCOUNT).await;

    assert_eq!(answer.status, StatusCode::OK);
    let asked = scene.asked();
    assert!(asked[1].at - asked[0].at >= 10 * SECOND, "it has waited");
    assert_eq!((&*asked[0].path, &*asked[1].path), ("/v1/accounts", "/v1/accounts"));
    assert_eq!(asked[0].field("idempotency-key"), asked[1].field("idempotency-key"));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_refused_may_go_there() {
    let waiting = rule(&["PUT /v1/contacts/*"], When::Waiting(5 * SECOND));
    let scene = Scene::of([refusal(10), accepted("r1")]).with_later(&in_memory(), &[waiting]);

    let answer = scene.put("/v1/contacts/C1", "{}").await;

    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let asked = scene.asked();
    assert_eq!((&*asked[0].path, &*asked[1].path), ("/v1/contacts/C1", "/v1/async/contacts/C1"));
}

#[tokio::test(start_paused = true)]
async fn a_call_counts_against_the_pool_of_where_it_goes() {
    let registry = in_memory();
    let waiting = rule(&["POST /v1/accounts"], When::Waiting(5 * SECOND));
    let held = || Reply::ok().after(10 * SECOND);
    let scene = Scene::of([held(), held(), accepted("r1"), accepted("r2")]);
    let scene = scene.with_later(&registry, &[waiting]).with_limit(1);
    let began = Instant::now();

    // An order has the one permit of its pool, a contact that of the default one, a little longer.
    let (_, _, spilled, asked_for) = tokio::join!(
        scene.post("/v1/orders", "{}"),
        async {
            sleep(3 * SECOND).await;
            scene.put("/v1/contacts/C1", "{}").await
        },
        async {
            sleep(4 * SECOND).await;
            scene.post("/v1/accounts", ACCOUNT).await
        },
        async {
            sleep(5 * SECOND).await;
            ask(&scene, "/v1/accounts", "job-1").await
        },
    );

    assert_eq!((spilled.status, asked_for.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    let asked = scene.asked();
    assert_eq!((&*asked[2].path, &*asked[3].path), ("/v1/async/accounts", "/v1/async/accounts"));
    assert!(asked[2].at - began >= 13 * SECOND, "{:?}", asked[2].at - began);
    assert!(asked[3].at - began >= 13 * SECOND, "{:?}", asked[3].at - began);
    assert!(!scene.asked()[2].has("idempotency-key"));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_outcome_gets_it_in_place_of_the_202() {
    let registry = in_memory();
    let scene = Scene::of([accepted("r1")]).with_later(&registry, &[]);
    let began = Instant::now();

    let fields = [("prefer", "respond-async, wait=20"), ("zuora-track-id", "job-1")];
    let (answer, ()) =
        tokio::join!(scene.call_with("POST", "/v1/accounts", &fields, ACCOUNT), async {
            sleep(3 * SECOND).await;
            assert_eq!((scene.permits_in_use(), scene.kept_bytes()), (0, 0));
            succeeded(&registry, "job-1", "r1").await;
        });

    assert_eq!((answer.status, began.elapsed()), (StatusCode::OK, 3 * SECOND));
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body, json!({"success": true, "id": "8ad0"}));
    assert_eq!(answer.field("location"), "/_gateway/async-requests/job-1");
    assert_eq!(answer.fields("preference-applied"), ["respond-async", "wait=20"]);
    let timing = answer.field("server-timing");
    assert!(timing.contains("upstream;dur=3000.000, gateway;dur=0.000"), "{timing}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_gets_the_202_when_it_said() {
    for (wait, took) in [("20", 20), ("0", 0), ("90", 90), ("100000", 600)] {
        let scene = Scene::of([accepted("r1")]).with_later(&in_memory(), &[]);
        let began = Instant::now();

        let prefer = format!("wait={wait}, respond-async");
        let answer = scene.call_with("POST", "/v1/accounts", &[("prefer", &prefer)], "{}").await;

        assert_eq!((answer.status, began.elapsed()), (StatusCode::ACCEPTED, took * SECOND));
        assert_eq!(answer.body, r#"{"requestId":"r1"}"#);
        let waited = format!("wait={took}");
        assert_eq!(answer.fields("preference-applied"), ["respond-async", &waited]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_wait_for_the_outcome_is_a_usual_wait_for_a_turn() {
    let scene = Scene::of([Reply::ok().after(10 * SECOND), accepted("r1")]);
    let scene = scene.with_later(&in_memory(), &[]).with_limit(1);

    let fields = [("prefer", "respond-async, wait=0")];
    let call = scene.call_with("PUT", "/v1/contacts/C2", &fields, "{}");
    let answer = while_others_are_served(&scene, call).await;

    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_in_time_takes_the_doubt_away() {
    for end in [Reply::cut(), Reply::new(503, "")] {
        let registry = in_memory();
        let scene = Scene::of([end]).with_later(&registry, &[]);

        let fields = [("prefer", "respond-async, wait=20"), ("zuora-track-id", "job-1")];
        let (answer, ()) =
            tokio::join!(scene.call_with("POST", "/v1/accounts", &fields, ACCOUNT), async {
                sleep(3 * SECOND).await;
                succeeded(&registry, "job-1", "r1").await;
            });

        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.field("zuora-gateway-executed"), "");
        assert_eq!(answer.field("zuora-gateway-error"), "");
        assert!(answer.body.contains("8ad0"), "{}", answer.body);
    }
}

#[test]
fn an_app_finds_the_outcome_under_the_prefix_of_its_tenant() {
    let location = crate::outcomes::location("/sandbox", "a b/c");

    assert_eq!(location, "/sandbox/_gateway/async-requests/a%20b%2Fc");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_outcome_is_let_go_when_the_gateway_ends() {
    let scene = Scene::of([accepted("r1")]).with_later(&in_memory(), &[]);
    let began = Instant::now();

    let fields = [("prefer", "respond-async, wait=20")];
    let (answer, ()) =
        tokio::join!(scene.call_with("POST", "/v1/accounts", &fields, "{}"), async {
            sleep(3 * SECOND).await;
            scene.end_waits();
        });

    assert_eq!((answer.status, began.elapsed()), (StatusCode::ACCEPTED, 3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_callout_may_be_faster_than_the_202() {
    let registry = in_memory();
    let scene = Scene::of([accepted("r1").after(2 * SECOND)]).with_later(&registry, &[]);

    let fields = [("prefer", "respond-async, wait=20"), ("zuora-track-id", "job-1")];
    let began = Instant::now();
    let (answer, ()) =
        tokio::join!(scene.call_with("POST", "/v1/accounts", &fields, ACCOUNT), async {
            sleep(SECOND).await;
            succeeded(&registry, "job-1", "r1").await;
        });

    assert_eq!((answer.status, began.elapsed()), (StatusCode::OK, 2 * SECOND));
    assert!(answer.body.contains("8ad0"), "{}", answer.body);
    assert_eq!(record(&registry, "job-1").await.unwrap().state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_seen_through_when_its_caller_has_left() {
    let failed = r#"{"success":false,"reasons":[{"code":53100020,"message":"no"}]}"#;
    let ends = [
        (accepted("r1"), Some(State::Accepted)),
        (Reply::new(400, failed), None),
        (refusal(1), None),
        (Reply::cut(), Some(State::Sending)),
    ];
    for (end, state) in ends {
        let registry = in_memory();
        let scene = Scene::of([end.after(5 * SECOND)]).with_later(&registry, &[]);

        let left = timeout(SECOND, ask(&scene, "/v1/accounts", "job-1")).await;
        assert!(left.is_err());
        scene.settle().await;
        assert_eq!(record(&registry, "job-1").await.unwrap().state, State::Sending);
        sleep(5 * SECOND).await;

        assert_eq!(record(&registry, "job-1").await.map(|record| record.state), state);
        assert_eq!(scene.permits_in_use(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_came_too_late_for_the_caller_still_counts() {
    let registry = in_memory();
    let scene = Scene::of([accepted("r1").after(126 * SECOND)]).with_later(&registry, &[]);

    let answer = ask(&scene, "/v1/accounts", "job-1").await;
    sleep(2 * SECOND).await;

    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(record(&registry, "job-1").await.unwrap().state, State::Accepted);
}

#[tokio::test(start_paused = true)]
async fn what_was_promised_ends_where_it_was_promised() {
    let refused = r#"{"success":false,"processId":"7F","reasons":[{"code":53100020,"message":"no","more":[]}]}"#;
    for (wait, after, took) in [("0", 127, 125), ("200", 127, 127)] {
        let registry = in_memory();
        let late = Reply::new(400, refused).after(after * SECOND);
        let scene = Scene::of([late]).with_later(&registry, &[]);
        let prefer = format!("respond-async, wait={wait}");
        let fields = [("prefer", &*prefer), ("zuora-track-id", "job-1")];
        let began = Instant::now();

        let answer = scene.call_with("POST", "/v1/accounts", &fields, ACCOUNT).await;

        assert_eq!(began.elapsed(), took * SECOND);
        assert_eq!(answer.field("location"), "/_gateway/async-requests/job-1");
        sleep(10 * SECOND).await;
        let told = scene.get("/_gateway/async-requests/job-1").await;
        assert_eq!(told.status, StatusCode::OK, "{told:?}");
        let body: serde_json::Value = serde_json::from_str(&told.body).unwrap();
        let reasons = json!([{"code": 53_100_020, "message": "no"}]);
        assert_eq!(body, json!({"success": false, "processId": "7F", "reasons": reasons}));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_does_not_say_that_a_preference_was_applied() {
    let lost = Reply::new(202, r#"{"success":true,"#).pausing(SECOND);
    let scene = Scene::of([lost.with("content-length", "500")]).with_later(&in_memory(), &[]);

    let answer = ask(&scene, "/v1/accounts", "job-1").await;

    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.field("zuora-gateway-executed"), "yes");
    assert_eq!(answer.field("location"), "/_gateway/async-requests/job-1");
    assert_eq!(answer.field("preference-applied"), "");
}

#[tokio::test(start_paused = true)]
async fn zuora_is_asked_for_an_answer_that_can_be_read() {
    for (taken, asked) in [
        ("", ""),
        ("gzip, deflate, br", "gzip"),
        ("gzip", "gzip"),
        ("GZip;q=0.5 , identity", "GZip;q=0.5 , identity"),
        ("br", "identity"),
        ("*", "identity"),
        ("br, gzip;q=0", "identity"),
        ("gzip, br;q=0", "gzip, br;q=0"),
    ] {
        let scene = Scene::of([accepted("r1"), Reply::ok()]).with_later(&in_memory(), &[]);

        let fields = [ASKING, ("accept-encoding", taken)];
        scene.call_with("POST", "/v1/accounts", &fields, ACCOUNT).await;
        scene.call_with("POST", "/v1/accounts", &fields[1..], ACCOUNT).await;

        assert_eq!(scene.asked()[0].field("accept-encoding"), asked, "{taken}");
        assert_eq!(scene.asked()[1].field("accept-encoding"), taken, "others pass as they are");
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_it_was_sent_leaves_no_trace() {
    let registry = Registry::new(Disk { takes: 3 * SECOND, ..Disk::default() });
    let scene = Scene::of([Reply::ok().after(10 * SECOND)]).with_later(&registry, &[]);
    let scene = scene.with_limit(1);

    // While it is written down, and while it waits for its turn.
    let left = timeout(SECOND, ask(&scene, "/v1/accounts", "job-1")).await;
    assert!(left.is_err());
    let queued = timeout(4 * SECOND, async {
        let call = async {
            sleep(SECOND).await;
            ask(&scene, "/v1/contacts", "job-2").await
        };
        while_others_are_served(&scene, call).await
    });
    assert!(queued.await.is_err());
    sleep(20 * SECOND).await;

    assert_eq!(record(&registry, "job-1").await, None);
    assert_eq!(record(&registry, "job-2").await, None);
    assert_eq!((scene.asked().len(), scene.permits_in_use()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_between_two_attempts_leaves_no_trace() {
    let registry = in_memory();
    let scene = Scene::of([refusal(30)]).with_later(&registry, &[]);

    let left = timeout(10 * SECOND, ask(&scene, "/v1/accounts", "job-1")).await;
    assert!(left.is_err());
    scene.settle().await;

    assert_eq!(record(&registry, "job-1").await, None);
}

#[tokio::test(start_paused = true)]
async fn what_an_app_sends_there_itself_is_remembered_too() {
    let registry = in_memory();
    taken_by(&registry, "app", "job-2").await;
    let scene = Scene::of([accepted("r1"), accepted("r2")]).with_later(&registry, &[]);
    let send = |track_id| {
        let fields = [("zuora-track-id", track_id)];
        async move |scene: &Scene| {
            scene.call_with("POST", "/v1/async/accounts", &fields, ACCOUNT).await
        }
    };

    let answer = send("job-1")(&scene).await;
    let taken = send("job-2")(&scene).await;

    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.field("location"), "/_gateway/async-requests/job-1");
    assert_eq!(answer.field("preference-applied"), "", "it preferred nothing");
    let kept = record(&registry, "job-1").await.unwrap();
    assert_eq!((kept.state, &*kept.path), (State::Accepted, "/v1/async/accounts"));
    assert_eq!(kept.operation.as_deref(), Some("POST_Account"));
    // Who knows what its track id means to it: it is Zuora's to say.
    assert_eq!((taken.status, taken.field("location")), (StatusCode::ACCEPTED, ""));
    assert_eq!(record(&registry, "job-2").await.unwrap().zuora_id.as_deref(), Some("r0"));
    assert_eq!(scene.asked()[1].path, "/v1/async/accounts");
}

#[tokio::test(start_paused = true)]
async fn an_order_becomes_a_job() {
    let registry = in_memory();
    let named = rule(&["POST /v1/orders"], When::OnRequest);
    let job = Reply::new(200, r#"{"jobId":"j1","success":true}"#)
        .with("location", "http://zuora/v1/async-jobs/j1");
    let scene = Scene::of([job]).with_later(&registry, &[named]);

    let answer = ask(&scene, "/v1/orders", "job-1").await;

    assert_eq!(answer.status, StatusCode::ACCEPTED, "of an outcome it would be 200");
    assert_eq!(answer.body, r#"{"jobId":"j1","success":true}"#);
    assert_eq!(answer.fields("location"), ["/_gateway/async-requests/job-1"]);
    assert_eq!(scene.asked()[0].path, "/v1/async/orders");
    let record = record(&registry, "job-1").await.unwrap();
    assert_eq!((record.state, record.form), (State::Accepted, Form::OrderJob));
    assert_eq!(record.zuora_id.as_deref(), Some("j1"));
}

#[tokio::test(start_paused = true)]
async fn a_track_id_that_every_client_takes_for_a_way_up_is_refused() {
    let registry = in_memory();
    let always = rule(&["POST /v1/accounts"], When::Always);
    let scene = Scene::of([accepted("r1")]).with_later(&registry, &[always]);

    for dots in [".", ".."] {
        let answer = ask(&scene, "/v1/accounts", dots).await;

        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.body.contains("send another, or none"), "{}", answer.body);
    }
    assert_eq!(scene.asked().len(), 0);
    assert_eq!(ask(&scene, "/v1/accounts", "...").await.status, StatusCode::ACCEPTED);
}

#[tokio::test(start_paused = true)]
async fn a_body_too_long_to_keep_flows_there_once() {
    let registry = in_memory();
    let always = rule(&["POST /v1/accounts"], When::Always);
    let scene = Scene::of([accepted("r1"), refusal(1)]).with_later(&registry, &[always]);

    let answer = scene.upload("/v1/accounts", 3 * 1024 * 1024, SECOND).await;
    let refused = scene.upload("/v1/accounts", 3 * 1024 * 1024, SECOND).await;

    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let asked = scene.asked();
    assert_eq!((&*asked[0].path, asked[0].body.len()), ("/v1/async/accounts", 3 * 1024 * 1024));
    assert_eq!((refused.status, refused.field("location")), (StatusCode::TOO_MANY_REQUESTS, ""));
    assert_eq!(registry.list(&"app".into(), None, None, 9).await.unwrap().len(), 1);
}
