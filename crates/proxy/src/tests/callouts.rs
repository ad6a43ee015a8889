//! Zuora's callouts, from whoever says to be Zuora.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use async_requests::{
    Change, Changed, Form, Key, Memory, NewRequest, Record, Registry, State, Store, StoreError,
    StoreReadings, Whose, Writing,
};

use super::scene::{Answer, CALLOUT_PASSWORD, CALLOUT_USERNAME, PREVIOUS_PASSWORD, SECRET};
use super::*;
use crate::Port;

const HERE: &str = "/_gateway/callouts/t";

fn key(track_id: &str) -> Key {
    Key { tenant: "t".into(), track_id: track_id.into() }
}

fn new(track_id: &str) -> NewRequest {
    NewRequest {
        key: key(track_id),
        app: "app".into(),
        entity: None,
        operation: Some("POST_Account".into()),
        method: "POST".into(),
        path: "/v1/accounts".into(),
        form: Form::Async,
    }
}

/// Makes a request that Zuora has taken, and calls `zuora_id`.
async fn accepted(registry: &Arc<Registry>, track_id: &str, zuora_id: &str) {
    let submission = registry.begin(new(track_id)).await.unwrap();
    submission.accepted(Some(zuora_id)).await.unwrap();
}

fn succeeded(request_id: &str, track_id: &str) -> String {
    let request = format!(r#"{{"id":"{request_id}","trackId":"{track_id}"}}"#);
    format!(r#"{{"request":{request},"state":"succeeded","data":{{"id":"8ad0"}}}}"#)
}

fn failed(request_id: &str, track_id: &str) -> String {
    let request = format!(r#"{{"id":"{request_id}","trackId":"{track_id}"}}"#);
    format!(r#"{{"request":{request},"state":"failed","reasons":[{{"code":"1","message":"no"}}]}}"#)
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", base64(&format!("{username}:{password}")))
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let six = (bits >> (18 - 6 * place)) & 63;
            let is_padding = place > chunk.len();
            encoded.push(if is_padding { '=' } else { char::from(ALPHABET[six as usize]) });
        }
    }
    encoded
}

/// Sends a callout that shows the right credentials.
async fn send(scene: &Scene, body: &str) -> Answer {
    let right = basic(CALLOUT_USERNAME, CALLOUT_PASSWORD);
    scene.call_with("POST", HERE, &[("authorization", &right)], body).await
}

async fn state(registry: &Registry, track_id: &str) -> State {
    registry.find(&key(track_id)).await.unwrap().unwrap().state
}

#[track_caller]
fn check_counted(scene: &Scene, result: &str, number: u32) {
    let counted =
        format!("zuora_gateway_callouts_total{{result=\"{result}\",tenant=\"t\"}} {number}\n");
    assert!(scene.counted().contains(&counted), "{counted}{}", scene.counted());
}

fn scene() -> (Scene, Arc<Registry>) {
    let registry = Registry::new(Memory::default());
    (Scene::of([]).with_later(&registry, &[]), registry)
}

#[tokio::test(start_paused = true)]
async fn a_callout_is_taken_in_and_is_no_call_of_an_app() {
    let (scene, registry) = scene();
    accepted(&registry, "app-1", "R1").await;
    accepted(&registry, "app-2", "R2").await;

    let answers =
        [send(&scene, &succeeded("R1", "app-1")).await, send(&scene, &failed("R2", "app-2")).await];

    for answer in answers {
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, r#"{"success":true}"#));
    }
    assert_eq!(state(&registry, "app-1").await, State::Succeeded);
    assert_eq!(state(&registry, "app-2").await, State::Failed);
    check_counted(&scene, "taken", 2);
    assert!(!scene.counted().contains("zuora_gateway_requests_total{"), "{}", scene.counted());
    assert_eq!(scene.asked().len(), 0, "nothing of it goes to Zuora");
}

#[tokio::test(start_paused = true)]
async fn who_shows_nothing_is_asked_to_and_is_not_slowed_down() {
    let (scene, registry) = scene();
    accepted(&registry, "app-1", "R1").await;
    let began = Instant::now();

    for _ in 0..30 {
        let nothing = [("authorization", "")];
        let answer = scene.call_with("POST", HERE, &nothing, &succeeded("R1", "app-1")).await;

        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        let challenge = r#"Basic realm="zuora-gateway callouts""#;
        assert_eq!(answer.fields("www-authenticate"), [challenge]);
        assert_eq!(answer.field("zuora-gateway-error"), "unauthenticated");
    }

    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(state(&registry, "app-1").await, State::Accepted);
    check_counted(&scene, "challenged", 30);
    check_counted(&scene, "unauthenticated", 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_shows_something_else_changes_nothing_and_learns_nothing() {
    let (scene, registry) = scene();
    accepted(&registry, "app-1", "R1").await;
    let right = basic(CALLOUT_USERNAME, CALLOUT_PASSWORD);
    let wrong = [
        (HERE, basic(CALLOUT_USERNAME, "guess")),
        (HERE, basic(CALLOUT_USERNAME, "")),
        (HERE, basic("nobody", CALLOUT_PASSWORD)),
        (HERE, "Basic ?broken".to_owned()),
        (HERE, format!("Bearer {SECRET}")),
        (HERE, basic("id", SECRET)),
        ("/_gateway/callouts/other", right.clone()),
        ("/_gateway/callouts/T", right.clone()),
        ("/_gateway/callouts/t/", right.clone()),
        ("/_gateway/callouts/", right),
    ];
    let began = Instant::now();

    let mut told = Vec::new();
    for (path, shown) in wrong {
        let shown = [("authorization", &*shown)];
        let answer = scene.call_with("POST", path, &shown, &succeeded("R1", "app-1")).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {shown:?}");
        let process_id = answer.field("zuora-track-id").to_owned();
        told.push(answer.body.replace(&process_id, ""));
    }

    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(state(&registry, "app-1").await, State::Accepted);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let guess = basic(CALLOUT_USERNAME, "guess");
    scene.call_with("POST", HERE, &[("authorization", &guess)], "").await;
    assert_eq!(began.elapsed(), SECOND / 5, "who guesses on is slowed down");
}

#[tokio::test(start_paused = true)]
async fn the_password_before_is_still_taken() {
    let (scene, registry) = scene();
    accepted(&registry, "app-1", "R1").await;

    let before = basic(CALLOUT_USERNAME, PREVIOUS_PASSWORD);
    let answer = scene
        .call_with("POST", HERE, &[("authorization", &before)], &succeeded("R1", "app-1"))
        .await;

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(state(&registry, "app-1").await, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_or_late_or_for_others_is_thanked_for_and_changes_nothing() {
    let (scene, registry) = scene();
    accepted(&registry, "app-1", "R1").await;
    assert_eq!(send(&scene, &succeeded("R1", "app-1")).await.status, StatusCode::OK);

    for (body, result) in [
        (succeeded("R1", "app-1"), "duplicate"),
        (failed("R1", "app-1"), "duplicate"),
        (failed("R9", "app-9"), "unknown"),
        (failed("R9", "app-1"), "unknown"),
    ] {
        let before = scene.counted();
        assert_eq!(send(&scene, &body).await.status, StatusCode::OK, "{body}");
        let counted = format!("callouts_total{{result=\"{result}\",tenant=\"t\"}} ");
        let number = |text: &str| -> u32 {
            let line = text.lines().find_map(|line| line.split_once(&counted)).unwrap();
            line.1.parse().unwrap()
        };
        assert_eq!(number(&scene.counted()), number(&before) + 1, "{body}");
    }

    assert_eq!(state(&registry, "app-1").await, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn only_what_can_be_the_id_of_a_notification_is_kept() {
    let (scene, registry) = scene();
    let right = basic(CALLOUT_USERNAME, CALLOUT_PASSWORD);
    for (track_id, length) in [("app-1", 256), ("app-2", 257)] {
        accepted(&registry, track_id, &format!("R-{track_id}")).await;
        let id = "x".repeat(length);
        let fields = [("authorization", &*right), ("zuora-notification-id", &id)];
        let body = succeeded(&format!("R-{track_id}"), track_id);
        assert_eq!(scene.call_with("POST", HERE, &fields, &body).await.status, StatusCode::OK);
    }

    let kept = async |track_id| {
        let record = registry.find(&key(track_id)).await.unwrap().unwrap();
        record.notification_id.map(|id| id.len())
    };
    assert_eq!((kept("app-1").await, kept("app-2").await), (Some(256), None));
}

#[tokio::test(start_paused = true)]
async fn a_callout_may_overtake_the_answer_to_its_submission() {
    let (scene, registry) = scene();
    let submission = registry.begin(new("app-1")).await.unwrap();

    assert_eq!(send(&scene, &succeeded("R1", "app-1")).await.status, StatusCode::OK);
    submission.accepted(Some("R1")).await.unwrap();

    assert_eq!(state(&registry, "app-1").await, State::Succeeded);
    check_counted(&scene, "taken", 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_told_so() {
    let (scene, registry) = scene();
    accepted(&registry, "app-1", "R1").await;
    let twice = succeeded("R1", "app-1").replacen('{', r#"{"state":"failed","#, 1);

    for body in ["", "{}", "<callout/>", "[]", &twice, r#"{"request":{"id":"R1"}}"#] {
        let answer = send(&scene, body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.field("zuora-gateway-error"), "bad-request");
    }

    assert_eq!(state(&registry, "app-1").await, State::Accepted);
    check_counted(&scene, "malformed", 6);
}

#[tokio::test(start_paused = true)]
async fn a_body_may_have_256_kib_and_no_more() {
    let (scene, registry) = scene();
    accepted(&registry, "app-1", "R1").await;
    let body = succeeded("R1", "app-1");
    let of_length = |length: usize| body.clone() + &" ".repeat(length - body.len());
    let right = basic(CALLOUT_USERNAME, CALLOUT_PASSWORD);
    let fields = [("authorization", &*right)];

    let longest = of_length(256 * 1024);
    assert_eq!(send(&scene, &of_length(256 * 1024 + 1)).await.status, 413);
    assert_eq!(scene.in_chunks("POST", HERE, &fields, &(longest.clone() + " ")).await.status, 413);
    assert_eq!(state(&registry, "app-1").await, State::Accepted);
    check_counted(&scene, "too-large", 2);
    assert_eq!(scene.in_chunks("POST", HERE, &fields, &longest).await.status, 200);
    assert_eq!(state(&registry, "app-1").await, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_arriving_is_asked_for_again() {
    let (scene, _registry) = scene();
    let began = Instant::now();

    let right = basic(CALLOUT_USERNAME, CALLOUT_PASSWORD);
    let answer = scene.upload_with(HERE, &[("authorization", &right)], 10, 20 * SECOND).await;

    // One that Zuora sends again, as it does not a 400.
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(began.elapsed(), 15 * SECOND);
    check_counted(&scene, "unstorable", 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_says_it_is_too_long_is_not_waited_for() {
    let (scene, _registry) = scene();
    let began = Instant::now();

    let right = basic(CALLOUT_USERNAME, CALLOUT_PASSWORD);
    let fields = [("authorization", &*right)];
    let answer = scene.upload_with(HERE, &fields, 256 * 1024 + 1, 3 * SECOND).await;

    assert_eq!((answer.status.as_u16(), began.elapsed()), (413, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_down_is_asked_for_again() {
    let (store, switch) = Failing::new();
    let registry = Registry::new(store);
    let scene = Scene::of([]).with_later(&registry, &[]);
    accepted(&registry, "app-1", "R1").await;

    switch.store(FAILS, Ordering::Relaxed);
    let answer = send(&scene, &succeeded("R1", "app-1")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.field("zuora-gateway-error"), "async-unavailable");
    assert!(!answer.body.contains("disk"), "what the disk says is not Zuora's business");
    check_counted(&scene, "unstorable", 1);

    switch.store(WORKS, Ordering::Relaxed);
    assert_eq!(send(&scene, &succeeded("R1", "app-1")).await.status, StatusCode::OK);
    assert_eq!(state(&registry, "app-1").await, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_flood_over_a_disk_that_hangs_ends_in_time_and_holds_up_no_app() {
    let (store, switch) = Failing::new();
    let registry = Registry::new(store);
    let scene = Scene::of([Reply::ok()]).with_later(&registry, &[]);
    switch.store(HANGS, Ordering::Relaxed);
    let began = Instant::now();

    let body = succeeded("R1", "app-1");
    let flood = futures_util::future::join_all((0..200).map(|_| send(&scene, &body)));
    let (flood, app) = tokio::join!(flood, async {
        sleep(SECOND).await;
        (scene.get("/v1/accounts/A1").await, began.elapsed())
    });

    assert_eq!((app.0.status, app.1), (StatusCode::OK, SECOND));
    assert!(flood.iter().all(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE));
    // Zuora waits 25 s.
    assert_eq!(began.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_port_for_callouts_serves_nothing_else_and_the_other_no_callouts() {
    let (scene, registry) = scene();
    accepted(&registry, "app-1", "R1").await;
    let scene = scene.at(Port::Callouts);

    for (method, path) in [
        ("GET", "/v1/accounts/A1"),
        ("POST", "/v1/accounts"),
        ("GET", "/_gateway/whoami"),
        ("GET", "/_gateway/async-requests/app-1"),
        ("POST", "/oauth/token"),
        ("POST", "/v1/connections"),
        ("POST", "/apps/services/a/91.0"),
        ("GET", HERE),
        ("POST", "/_gateway/callouts"),
        ("POST", "//_gateway/callouts/t"),
    ] {
        let answer = scene.call_with(method, path, &[], "{}").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
        assert_eq!(answer.field("zuora-gateway-error"), "not-found");
    }
    assert_eq!(scene.asked().len(), 0);
    assert_eq!(send(&scene, &succeeded("R1", "app-1")).await.status, StatusCode::OK);

    let scene = scene.at(Port::Apps);
    assert_eq!(send(&scene, &succeeded("R1", "app-1")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(scene.get("/_gateway/whoami").await.status, StatusCode::OK);
}

const WORKS: u8 = 0;
const FAILS: u8 = 1;
const HANGS: u8 = 2;

/// A store whose disk fails, or hangs, when it is told to.
#[derive(Debug)]
struct Failing {
    works: Memory,
    switch: Arc<AtomicU8>,
}

impl Failing {
    fn new() -> (Self, Arc<AtomicU8>) {
        let switch = Arc::new(AtomicU8::new(WORKS));
        (Self { works: Memory::default(), switch: Arc::clone(&switch) }, switch)
    }
}

impl Store for Failing {
    fn change(&self, whose: Whose, change: Change) -> Writing<Changed> {
        match self.switch.load(Ordering::Relaxed) {
            WORKS => self.works.change(whose, change),
            FAILS => Box::pin(async { Err(StoreError("the disk is full".into())) }),
            _ => Box::pin(std::future::pending()),
        }
    }

    fn find(&self, key: Key) -> Writing<Option<Record>> {
        self.works.find(key)
    }

    fn list(
        &self,
        app: Arc<str>,
        state: Option<State>,
        before: Option<u64>,
        most: usize,
    ) -> Writing<Vec<(u64, Record)>> {
        self.works.list(app, state, before, most)
    }

    fn pending(&self, tenant: Arc<str>, most: usize) -> Writing<Vec<Record>> {
        self.works.pending(tenant, most)
    }

    fn outcomes(&self, app: Arc<str>, after: u64, most: usize) -> Writing<Vec<Record>> {
        self.works.outcomes(app, after, most)
    }

    fn undelivered(&self, app: Arc<str>, most: usize) -> Writing<Vec<Record>> {
        self.works.undelivered(app, most)
    }

    fn dead_letters(&self, after: Option<Key>, most: usize) -> Writing<Vec<Record>> {
        self.works.dead_letters(after, most)
    }

    fn tend(&self, ended_before: SystemTime) -> Writing<bool> {
        self.works.tend(ended_before)
    }

    fn readings(&self) -> StoreReadings {
        self.works.readings()
    }

    fn close(&self) -> Writing<()> {
        self.works.close()
    }
}
