//! Couriers, an app's address that answers as it was told to, and a stopped clock.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;

use async_requests::{Form, Memory, NewRequest, Outcome, Report, Stage};
use futures_util::stream::pending;
use http::Response;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use telemetry::{Inventory, Readings};

use super::*;
use crate::Stream;

const SECRET: &str = "a secret of thirty-two characters";

/// A destination that only signs.
fn nowhere() -> Destination {
    let closed = Connector::through(|_| Box::pin(async { Err(io::ErrorKind::NotFound.into()) }));
    Destination::new(Uri::from_static("https://app/"), SECRET, closed)
}

/// What an address does with a letter.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer(u16),
    AnswerAfter(u16, Duration),
    /// Takes it, and never ends its answer.
    NeverEnd,
    RefuseConnection,
    Redirect,
}

/// A letter as it came.
#[derive(Clone, Debug)]
struct Letter {
    at: Duration,
    head: http::request::Parts,
    body: String,
}

impl Letter {
    fn field(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Couriers, and an address that does as it was told, and at last always the same.
#[derive(Clone, Debug)]
struct Scene {
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    couriers: Arc<Couriers>,
    mailbox: Arc<Mailbox>,
}

#[derive(Debug)]
struct Mailbox {
    opened: Instant,
    script: Mutex<VecDeque<Does>>,
    then: Does,
    letters: Mutex<Vec<Letter>>,
}

impl Mailbox {
    fn next(&self) -> Does {
        self.script.lock().unwrap().pop_front().unwrap_or(self.then)
    }

    async fn answer(
        &self,
        does: Does,
        request: Request<Incoming>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        self.letters.lock().unwrap().push(Letter { at: self.opened.elapsed(), head, body });
        let mut response = Response::new(Full::from("taken").boxed_unsync());
        match does {
            Does::NeverEnd => *response.body_mut() = StreamBody::new(pending()).boxed_unsync(),
            Does::Answer(status) => *response.status_mut() = StatusCode::from_u16(status).unwrap(),
            Does::AnswerAfter(status, pause) => {
                sleep(pause).await;
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
            }
            Does::RefuseConnection => unreachable!("there is no connection"),
            Does::Redirect => {
                *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
                let elsewhere = HeaderValue::from_static("http://app/elsewhere");
                response.headers_mut().insert(header::LOCATION, elsewhere);
            }
        }
        Ok(response)
    }

    /// A connection for each letter, so that each can be refused.
    fn connector(self: &Arc<Self>) -> Connector {
        let mailbox = Arc::clone(self);
        Connector::through(move |_| {
            let mailbox = Arc::clone(&mailbox);
            Box::pin(async move {
                let does = mailbox.next();
                if matches!(does, Does::RefuseConnection) {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                let (near, far) = tokio::io::duplex(64 * 1024);
                tokio::spawn(async move {
                    let answer = service_fn(|request| mailbox.answer(does, request));
                    let mut server = hyper::server::conn::http1::Builder::new();
                    let _ =
                        server.keep_alive(false).serve_connection(TokioIo::new(far), answer).await;
                });
                Ok(Stream::new(TokioIo::new(near)))
            })
        })
    }
}

impl Scene {
    fn new(script: impl IntoIterator<Item = Does>, then: Does) -> Self {
        let registry = Registry::new(Memory::default());
        let inventory = Inventory {
            tenants: vec!["production".into()],
            apps: vec!["batch".into(), "other".into()],
        };
        let metrics = Metrics::new(&inventory);
        let mailbox = Arc::new(Mailbox {
            opened: Instant::now(),
            script: Mutex::new(script.into_iter().collect()),
            then,
            letters: Mutex::default(),
        });
        let couriers = Arc::new(Couriers::new(Arc::clone(&registry), Arc::clone(&metrics)));
        let scene = Self { registry, metrics, couriers, mailbox };
        scene.forward(&["batch"]);
        scene
    }

    fn forward(&self, apps: &[&str]) {
        self.forward_signed(apps, SECRET);
    }

    fn forward_signed(&self, apps: &[&str], secret: &str) {
        let url = Uri::from_static("http://app/outcomes?key=1");
        let destination = Destination::new(url, secret, self.mailbox.connector());
        let destinations = apps.iter().map(|app| ((*app).into(), destination.clone()));
        self.couriers.follow(destinations.collect());
    }

    /// An async request of `app`, of which nothing is known yet.
    async fn begun(&self, app: &str, track_id: &str) -> async_requests::Key {
        let new = NewRequest {
            key: Key { tenant: "production".into(), track_id: track_id.into() },
            app: app.into(),
            entity: None,
            operation: Some("POST_Account".into()),
            method: "POST".into(),
            path: "/v1/accounts".into(),
            form: Form::Async,
        };
        let submission = self.registry.begin(new).await.unwrap();
        let key = submission.key().clone();
        submission.accepted(Some(&format!("r-{track_id}"))).await.unwrap();
        key
    }

    async fn told(&self, key: &Key) {
        let data = serde_json::json!({"id": "8ad0"}).as_object().unwrap().clone();
        let report = Report {
            zuora_id: Some(format!("r-{}", key.track_id).into()),
            track_id: Some(Arc::clone(&key.track_id)),
            notification_id: None,
            outcome: Outcome::Succeeded { data },
        };
        self.registry.take_in(&key.tenant, report).await.unwrap();
    }

    /// One that has ended well.
    async fn ended(&self, app: &str, track_id: &str) -> Key {
        let key = self.begun(app, track_id).await;
        self.told(&key).await;
        key
    }

    async fn stage(&self, key: &Key) -> Stage {
        self.registry.find(key).await.unwrap().unwrap().delivery.unwrap().stage
    }

    fn letters(&self) -> Vec<Letter> {
        self.mailbox.letters.lock().unwrap().clone()
    }

    #[track_caller]
    fn check_counted(&self, app: &str, result: &str, count: u64) {
        let labels = format!(r#"app="{app}",result="{result}",tenant="production""#);
        let line = format!("zuora_gateway_outcome_deliveries_total{{{labels}}} {count}");
        let text = self.metrics.render(&Readings::default());
        assert!(text.lines().any(|it| it == line), "`{line}` is missing in:\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_arrives_with_what_proves_whose_it_is() {
    let scene = Scene::new([], Does::Answer(204));

    let key = scene.ended("batch", "batch-1").await;
    sleep(Duration::from_secs(60)).await;

    let [letter] = &scene.letters()[..] else { panic!("not one: {:?}", scene.letters()) };
    assert_eq!(
        (letter.head.method.as_str(), letter.head.uri.to_string()),
        ("POST", "/outcomes?key=1".into())
    );
    assert_eq!(letter.field("host"), "app");
    assert_eq!(letter.field("content-type"), "application/json");
    let told = letter.json();
    let members = ["trackId", "requestId", "app", "operation", "state"].map(|it| told[it].as_str());
    let expected = ["batch-1", "r-batch-1", "batch", "POST_Account", "succeeded"];
    assert_eq!(members, expected.map(Some));
    assert_eq!(told["data"], serde_json::json!({"id": "8ad0"}));
    assert!(told["submittedOn"].is_string() && told["endedOn"].is_string(), "{told}");
    let timestamp: u64 = letter.field("zuora-gateway-timestamp").parse().unwrap();
    let signature = nowhere().sign(timestamp, letter.body.as_bytes());
    assert_eq!(letter.field("zuora-gateway-signature"), signature);
    let id = letter.field("zuora-gateway-delivery");
    assert_eq!((id.len(), told["deliveryId"].as_str()), (32, Some(id)));
    assert!(matches!(scene.stage(&key).await, Stage::Delivered(_)));
    scene.check_counted("batch", "delivered", 1);
}

#[test]
fn the_signature_is_what_python_computes_of_timestamp_and_body() {
    let destination = nowhere();

    let signature = destination.sign(1_795_300_000, br#"{"trackId":"batch-1"}"#);

    // hmac.new(SECRET, b'1795300000.{"trackId":"batch-1"}', hashlib.sha256).hexdigest()
    let digest = "9a68857954c3fc391ac83c9e88ca80992783a367e5de365287c85b5610529e81";
    assert_eq!(signature, format!("v1={digest}"));
    assert!(!format!("{destination:?}").contains("thirty-two"));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_tried_again_under_the_same_name_until_it_is() {
    let refusals = [Does::Answer(500), Does::Redirect, Does::RefuseConnection];
    let scene = Scene::new(refusals, Does::Answer(200));

    let key = scene.ended("batch", "batch-1").await;
    sleep(Duration::from_secs(3600)).await;

    // After 1 s, 2 s and 4 s, each up to a quarter longer; the third found nobody.
    let letters = scene.letters();
    let seconds: Vec<_> = letters.iter().map(|letter| letter.at.as_secs_f64()).collect();
    assert_eq!(letters.len(), 3, "{seconds:?}");
    let expected = [(0.0, 0.01), (1.0, 1.26), (7.0, 8.76)];
    for (at, (earliest, latest)) in seconds.iter().zip(expected) {
        assert!((earliest..latest).contains(at), "{seconds:?}");
    }
    let names: Vec<_> = letters.iter().map(|it| it.field("zuora-gateway-delivery")).collect();
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    assert!(letters.iter().all(|letter| letter.head.uri.path() == "/outcomes"));
    assert!(matches!(scene.stage(&key).await, Stage::Delivered(_)));
    scene.check_counted("batch", "failed", 3);
    scene.check_counted("batch", "delivered", 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_never_taken_is_a_dead_letter_after_ten_attempts_and_can_be_revived() {
    let scene = Scene::new([], Does::Answer(503));

    let key = scene.ended("batch", "batch-1").await;
    sleep(Duration::from_secs(5 * 3600)).await;

    assert_eq!(scene.letters().len(), 10);
    assert!(matches!(scene.stage(&key).await, Stage::Dead(_)));
    let dead = scene.registry.find(&key).await.unwrap().unwrap();
    assert_eq!(dead.delivery.unwrap().trouble.as_deref(), Some("answered 503"));
    scene.check_counted("batch", "failed", 9);
    scene.check_counted("batch", "dead", 1);

    scene.registry.revive(&key).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.letters().len(), 11);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_answer_gets_ten_seconds() {
    let slow = Does::AnswerAfter(200, Duration::from_secs(11));
    let scene = Scene::new([slow], Does::Answer(200));

    let key = scene.ended("batch", "batch-1").await;
    sleep(Duration::from_millis(10_500)).await;
    let waiting = scene.registry.find(&key).await.unwrap().unwrap().delivery.unwrap();
    sleep(Duration::from_secs(60)).await;

    assert_eq!(waiting.trouble.as_deref(), Some("no answer within 10 s"));
    assert_eq!(scene.letters().len(), 2);
    assert!(matches!(scene.stage(&key).await, Stage::Delivered(_)));
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_taken_once_the_head_of_the_answer_says_so() {
    let scene = Scene::new([Does::NeverEnd], Does::Answer(200));

    let key = scene.ended("batch", "batch-1").await;
    sleep(Duration::from_secs(60)).await;

    assert_eq!(scene.letters().len(), 1);
    assert!(matches!(scene.stage(&key).await, Stage::Delivered(_)));
}

#[tokio::test(start_paused = true)]
async fn another_secret_signs_from_now_on_and_nothing_is_carried_twice() {
    let scene = Scene::new([Does::AnswerAfter(200, Duration::from_secs(1))], Does::Answer(200));
    scene.ended("batch", "batch-1").await;
    sleep(Duration::from_millis(100)).await;

    let another = "another one of thirty-two letters";
    scene.forward_signed(&["batch"], another);
    scene.ended("batch", "batch-2").await;
    sleep(Duration::from_secs(100)).await;

    let letters = scene.letters();
    let told: Vec<_> = letters.iter().map(|letter| letter.json()["trackId"].clone()).collect();
    assert_eq!(told, ["batch-1", "batch-2"]);
    let other =
        Destination::new(Uri::from_static("http://app/"), another, scene.mailbox.connector());
    let last = &letters[1];
    let timestamp = last.field("zuora-gateway-timestamp").parse().unwrap();
    assert_eq!(last.field("zuora-gateway-signature"), other.sign(timestamp, last.body.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn an_app_with_a_dead_address_holds_up_no_other() {
    let scene = Scene::new([], Does::AnswerAfter(200, Duration::from_secs(3600)));
    let other = Scene::new([], Does::Answer(200));
    let both = Couriers::new(Arc::clone(&scene.registry), Arc::clone(&scene.metrics));
    scene.couriers.stop().await;
    let at = |scene: &Scene| {
        Destination::new(Uri::from_static("http://app/"), SECRET, scene.mailbox.connector())
    };
    both.follow([("batch".into(), at(&scene)), ("other".into(), at(&other))].into());

    for number in 0..100 {
        scene.ended("batch", &format!("batch-{number}")).await;
    }
    for number in 0..100 {
        scene.ended("other", &format!("other-{number}")).await;
    }
    sleep(Duration::from_secs(1)).await;

    assert_eq!(other.letters().len(), 100);
    assert_eq!(scene.letters().len(), PLACES);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_down_is_asked_seldom_and_none_of_its_outcomes_is_given_up_for_it() {
    let scene = Scene::new([], Does::Answer(502));
    let mut keys = Vec::new();

    for number in 0..1000 {
        keys.push(scene.ended("batch", &format!("batch-{number}")).await);
    }
    sleep(Duration::from_secs(600)).await;

    let letters = scene.letters().len();
    assert!((20..45).contains(&letters), "{letters} letters in ten minutes");
    for key in &keys {
        assert!(matches!(scene.stage(key).await, Stage::Due(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn once_an_address_is_up_again_all_that_waited_comes() {
    let takes = Does::AnswerAfter(200, Duration::from_secs(1));
    let scene = Scene::new([Does::Answer(502); 12], takes);

    for number in 0..300 {
        scene.ended("batch", &format!("batch-{number}")).await;
    }
    // Its pauses add up to two and a half minutes. One at a time, the rest would take five.
    sleep(Duration::from_secs(250)).await;

    let taken: std::collections::HashSet<_> =
        scene.letters()[12..].iter().map(|it| it.json()["trackId"].to_string()).collect();
    assert_eq!((taken.len(), scene.letters().len()), (300, 312));
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_comes_after_all_is_told_under_another_name() {
    let scene = Scene::new([], Does::Answer(200));
    let key = scene.begun("batch", "batch-1").await;

    scene.registry.give_up(&key).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    scene.told(&key).await;
    sleep(Duration::from_secs(1)).await;

    let letters = scene.letters();
    let states: Vec<_> = letters.iter().map(|letter| letter.json()["state"].clone()).collect();
    assert_eq!(states, ["unknown", "succeeded"]);
    let names: Vec<_> = letters.iter().map(|it| it.field("zuora-gateway-delivery")).collect();
    assert_ne!(names[0], names[1]);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_carried_to_its_end_is_carried_again_in_the_next_life() {
    let slow = Does::AnswerAfter(200, Duration::from_secs(9));
    let scene = Scene::new([slow], Does::Answer(200));
    let key = scene.ended("batch", "batch-1").await;
    sleep(Duration::from_millis(100)).await;

    let before = Instant::now();
    scene.couriers.stop().await;
    let took = before.elapsed();
    let due = scene.stage(&key).await;
    scene.forward(&["batch"]);
    sleep(Duration::from_secs(1)).await;

    assert_eq!(took, GRACE);
    assert!(matches!(due, Stage::Due(_)));
    assert_eq!(scene.letters().len(), 2);
    assert!(matches!(scene.stage(&key).await, Stage::Delivered(_)));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_other_apps_leaves_a_courier_alone() {
    let slow = Does::AnswerAfter(200, Duration::from_secs(5));
    let scene = Scene::new([slow], Does::Answer(200));
    scene.ended("batch", "batch-1").await;
    sleep(Duration::from_secs(1)).await;

    scene.forward(&["batch", "other"]);
    scene.ended("other", "other-1").await;
    sleep(Duration::from_secs(60)).await;

    assert_eq!(scene.letters().len(), 2);
    scene.check_counted("batch", "delivered", 1);
    scene.check_counted("other", "delivered", 1);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_wants_no_outcomes_any_more_gets_none_and_all_when_it_does_again() {
    let scene = Scene::new([Does::RefuseConnection], Does::Answer(200));
    let key = scene.begun("batch", "batch-1").await;
    let waiting = scene.begun("batch", "batch-2").await;

    scene.told(&key).await;
    sleep(Duration::from_millis(100)).await;
    scene.forward(&[]);
    scene.told(&waiting).await;
    sleep(Duration::from_secs(60)).await;
    let meanwhile = scene.letters().len();
    scene.forward(&["batch"]);
    sleep(Duration::from_secs(1)).await;

    assert_eq!(meanwhile, 0);
    let [letter] = &scene.letters()[..] else { panic!("not one: {:?}", scene.letters()) };
    assert_eq!(letter.json()["trackId"], "batch-1");
}
