//! A Zuora behind pipes, whose history and jobs are as each test says, and a stopped clock.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use admission::Start;
use async_requests::{Memory, NewRequest, Outcome, State};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proxy::{Connector, Stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const URL: &str = "https://gateway.example.com/_gateway/callouts/production";

/// What Zuora was asked, when, and with which body.
type Asked = (Instant, String, String);

#[derive(Default)]
struct Zuora {
    /// The pages of the callouts that failed, and of all, as they are asked for; an empty one when there are no more.
    failed: Mutex<VecDeque<Value>>,
    all: Mutex<VecDeque<Value>>,
    /// The answers about jobs.
    jobs: Mutex<VecDeque<(u16, Value)>>,
    /// The statuses of answers to those who ask for callouts; 202 when there are no more.
    resend: Mutex<VecDeque<u16>>,
    /// Callouts that are gone: whoever asks for one of them is answered 400.
    gone: Mutex<Vec<String>>,
    /// Whether each page of the history names a next one.
    is_endless: bool,
    /// Whether the history cannot be read.
    is_down: Mutex<bool>,
    /// Whether nobody answers.
    is_gone: Mutex<bool>,
    asked: Mutex<Vec<Asked>>,
}

impl Zuora {
    async fn answer(&self, request: Request<Incoming>) -> (u16, Value) {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if head.uri.path() == "/oauth/token" {
            let token = json!({"access_token": "t", "token_type": "bearer", "expires_in": 360_000});
            return (200, token);
        }
        let target = head.uri.path_and_query().unwrap().to_string();
        let entity = head.headers.get("zuora-entity-ids").map_or("", |it| it.to_str().unwrap());
        let asked = format!("{} {target} {entity}", head.method).trim_end().to_owned();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let is_gone = self.gone.lock().unwrap().iter().any(|id| body.contains(&format!("{id:?}")));
        self.asked.lock().unwrap().push((Instant::now(), asked, body));
        let further = format!("https://x?page={}", self.asked.lock().unwrap().len());
        let next = |pages: &Mutex<VecDeque<Value>>| {
            let page = pages.lock().unwrap().pop_front();
            let page = page.or_else(|| self.is_endless.then(|| self::page(&[], Some(&further))));
            (200, page.unwrap_or_else(|| json!({"calloutHistories": [], "success": true})))
        };
        match head.uri.path() {
            "/v1/notification-history/callout" if *self.is_down.lock().unwrap() => {
                (403, json!({"success": false}))
            }
            "/v1/notification-history/callout" if target.contains("failedOnly=false") => {
                next(&self.all)
            }
            "/v1/notification-history/callout" => next(&self.failed),
            "/notifications/callout-histories/resend" if is_gone => (400, json!({})),
            "/notifications/callout-histories/resend" => {
                (self.resend.lock().unwrap().pop_front().unwrap_or(202), json!({}))
            }
            path if path.starts_with("/v1/async-jobs/") => {
                self.jobs.lock().unwrap().pop_front().expect("nobody asks about a job that ended")
            }
            path => panic!("nobody asks for {path}"),
        }
    }
}

/// A gateway that looks after the requests of one tenant.
struct Scene {
    zuora: Arc<Zuora>,
    registry: Arc<Registry>,
    works: Arc<Works>,
    looking: JoinHandle<()>,
    begun: Instant,
    _state: TempDir,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Scene {
    fn of(zuora: Zuora) -> Self {
        Self::over(zuora, "", Registry::new(Memory::default()))
    }

    /// One in which an outcome may stay away for an hour only.
    fn impatient(zuora: Zuora) -> Self {
        let registry = Registry::new(Memory::default());
        Self::patient(zuora, "", registry, "1h")
    }

    fn over(zuora: Zuora, tenant: &str, registry: Arc<Registry>) -> Self {
        Self::patient(zuora, tenant, registry, "24h")
    }

    fn patient(zuora: Zuora, tenant: &str, registry: Arc<Registry>, unknown_after: &str) -> Self {
        let callouts =
            "callouts: {public_url: 'https://gateway.example.com', username: u, password: p}";
        let times = format!("reconcile_after: 5m, unknown_after: {unknown_after}");
        Self::at(zuora, &format!("    async: {{{callouts}, {times}}}\n{tenant}"), registry)
    }

    /// One with these keys of the tenant.
    fn at(zuora: Zuora, tenant: &str, registry: Arc<Registry>) -> Self {
        let state = TempDir::new().unwrap();
        let config = configured("production", tenant, state.path());
        let zuora = Arc::new(zuora);
        let wire = through(Arc::clone(&zuora));
        let works = Arc::new(Works::start_over(&config, Start::Full, Some(wire)).unwrap());
        let looking = start(Arc::clone(&works), Arc::clone(&registry));
        Self { zuora, registry, works, looking, begun: Instant::now(), _state: state }
    }

    /// A request that Zuora took under `zuora_id`.
    async fn accepted(&self, track_id: &str, zuora_id: &str, form: Form) -> Record {
        accepted(&self.registry, track_id, zuora_id, form, None).await
    }

    async fn state(&self, track_id: &str) -> State {
        self.record(track_id).await.state
    }

    async fn record(&self, track_id: &str) -> Record {
        self.registry.find(&key(track_id)).await.unwrap().unwrap()
    }

    /// What Zuora was asked so far, with the seconds after which it was.
    fn asked(&self) -> Vec<(u64, String)> {
        let asked = self.zuora.asked.lock().unwrap();
        let each = asked.iter().map(|(at, asked, _)| ((*at - self.begun).as_secs(), asked.clone()));
        each.collect()
    }

    fn bodies(&self) -> Vec<String> {
        let asked = self.zuora.asked.lock().unwrap();
        asked.iter().map(|(.., body)| body.clone()).filter(|body| !body.is_empty()).collect()
    }
}

/// What a file says that has one tenant, with these keys.
fn configured(name: &str, tenant: &str, state: &Path) -> config::Config {
    let text = format!(
        "state_dir: {}
tenants:
  {name}:
    base_url: https://rest.zuora.com
    credentials: {{oauth: {{client_id: id, client_secret: secret}}}}
{tenant}
apps:
  batch: {{tenant: {name}, client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11, secret: s}}
",
        state.display()
    );
    config::parse(&text, Path::new("F"), &config::ProcessEnvironment)
        .unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

async fn accepted(
    registry: &Arc<Registry>,
    track_id: &str,
    zuora_id: &str,
    form: Form,
    entity: Option<&str>,
) -> Record {
    let begun = registry.begin(NewRequest {
        key: key(track_id),
        app: "batch".into(),
        entity: entity.map(Arc::from),
        operation: Some("POST_Account".into()),
        method: "POST".into(),
        path: "/v1/accounts".into(),
        form,
    });
    begun.await.unwrap().accepted(Some(zuora_id)).await.unwrap().unwrap()
}

fn key(track_id: &str) -> Key {
    Key { tenant: "production".into(), track_id: track_id.into() }
}

/// Opens a pipe to the Zuora of the test.
fn through(zuora: Arc<Zuora>) -> Connector {
    Connector::through(move |_| {
        let zuora = Arc::clone(&zuora);
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(16 * 1024);
            let service = service_fn(move |request| {
                let zuora = Arc::clone(&zuora);
                async move {
                    let is_login = request.uri().path() == "/oauth/token";
                    if *zuora.is_gone.lock().unwrap() && !is_login {
                        return Err(std::io::Error::other("it is gone"));
                    }
                    let (status, body) = zuora.answer(request).await;
                    let body = Full::new(Bytes::from(body.to_string()));
                    let answer = Response::builder().status(status);
                    let answer = answer.header("content-type", "application/json").body(body);
                    Ok(answer.unwrap())
                }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(theirs), service);
            tokio::spawn(serving);
            Ok(Stream::new(TokioIo::new(ours)))
        })
    })
}

/// An entry of the history, of a callout to `url` that was answered with `code`.
fn entry(id: &str, url: &str, code: u16, context: &Value) -> Value {
    json!({"id": id, "requestUrl": url, "responseCode": code, "eventContext": context, "notification": "n"})
}

fn page(entries: &[Value], next: Option<&str>) -> Value {
    json!({"calloutHistories": entries, "nextPage": next, "success": true})
}

fn told(zuora_id: &str, track_id: &str) -> Value {
    json!({"request": {"id": zuora_id, "trackId": track_id}, "state": "succeeded", "data": {"id": "8a"}})
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_stays_away_is_looked_up_and_none_before() {
    let failed = page(&[entry("h1", URL, 503, &told("r1", "batch-1"))], None);
    let scene = Scene::of(Zuora { failed: Mutex::new([failed].into()), ..Zuora::default() });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(5 * MINUTE - SECOND).await;
    assert_eq!(scene.asked(), []);
    sleep(67 * SECOND).await;

    assert_eq!(scene.state("batch-1").await, State::Succeeded);
    let asked = scene.asked();
    let [(at, query)] = &asked[..] else { panic!("one look is enough: {asked:?}") };
    assert!((300..=366).contains(at), "{at}");
    // Whatever the time zone is in which Zuora reads that.
    let from = scene.record("batch-1").await.begun - 14 * 60 * MINUTE;
    let expected = zuora::callout_history::history_query(from, true);
    assert_eq!(*query, format!("GET /v1/notification-history/callout?{expected}"));
    sleep(60 * MINUTE).await;
    assert_eq!(scene.asked().len(), 1, "nothing is overdue any more");
}

#[tokio::test(start_paused = true)]
async fn every_page_is_read_wherever_zuora_says_that_it_is() {
    let others: Vec<_> =
        (0..40).map(|n| entry(&format!("o{n}"), URL, 500, &told("x", "y"))).collect();
    let next = "https://localhost:8080/apps/v1/elsewhere?page=2&pageSize=40#x";
    let pages = [
        page(&others, Some(next)),
        page(&[entry("h1", URL, 500, &told("r1", "batch-1").to_string().into())], Some(next)),
        page(&[], None),
    ];
    let scene = Scene::of(Zuora { failed: Mutex::new(pages.into()), ..Zuora::default() });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(7 * MINUTE).await;

    assert_eq!(scene.state("batch-1").await, State::Succeeded);
    let asked: Vec<_> = scene.asked().into_iter().map(|(_, asked)| asked).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[1], "GET /v1/notification-history/callout?page=2&pageSize=40");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_names_itself_as_the_next_is_read_once() {
    let next = "https://rest.zuora.com/v1/notification-history/callout?page=2";
    let same = || page(&[], Some(next));
    let scene = Scene::of(Zuora {
        failed: Mutex::new(std::iter::repeat_with(same).take(1000).collect()),
        ..Zuora::default()
    });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(6 * MINUTE + 6 * SECOND).await;

    assert_eq!(scene.asked().len(), 2, "the first, and the one that it names");
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_to_others_is_not_believed() {
    let elsewhere = "https://gateway.example.com/_gateway/callouts/sandbox";
    let entries = [entry("h1", elsewhere, 500, &told("r1", "batch-1"))];
    let scene =
        Scene::of(Zuora { failed: Mutex::new([page(&entries, None)].into()), ..Zuora::default() });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(7 * MINUTE).await;

    assert_eq!(scene.state("batch-1").await, State::Accepted);
    assert_eq!(scene.bodies(), Vec::<String>::new(), "nor is it asked for");
}

#[tokio::test(start_paused = true)]
async fn a_callout_that_failed_and_tells_nothing_is_asked_for_less_and_less_often() {
    let silent =
        || page(&[entry("h1", URL, 503, &json!(null)), entry("h2", URL, 200, &json!(null))], None);
    let scene = Scene::of(Zuora {
        failed: Mutex::new(std::iter::repeat_with(silent).take(60).collect()),
        ..Zuora::default()
    });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(120 * MINUTE).await;

    let asked = scene.asked();
    let resent: Vec<_> = asked.iter().filter(|(_, it)| it.starts_with("POST ")).collect();
    let minutes: Vec<_> = resent.iter().map(|(at, _)| at / 60).collect();
    // After five minutes, and ten, twenty, forty and sixty more, and what the rest between two looks adds.
    assert_eq!(minutes.len(), 4, "{minutes:?}");
    for (pause, expected) in minutes.windows(2).map(|two| two[1] - two[0]).zip([10, 20, 40]) {
        assert!((expected..=expected + 7).contains(&pause), "{minutes:?}");
    }
    assert!(resent.iter().all(|(_, it)| it == "POST /notifications/callout-histories/resend"));
    assert!(scene.bodies().iter().all(|body| body == r#"["h1"]"#), "{:?}", scene.bodies());
}

#[tokio::test(start_paused = true)]
async fn a_callout_about_something_else_is_not_asked_for() {
    let entries = [entry("h1", URL, 503, &json!({"<Request.ID>": "another"}))];
    let scene =
        Scene::of(Zuora { failed: Mutex::new([page(&entries, None)].into()), ..Zuora::default() });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(7 * MINUTE).await;

    assert_eq!(scene.bodies(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_gone_does_not_keep_the_others_from_being_sent_again() {
    let entries = [entry("h1", URL, 503, &json!(null)), entry("h2", URL, 503, &json!(null))];
    let scene = Scene::of(Zuora {
        failed: Mutex::new([page(&entries, None)].into()),
        resend: Mutex::new([400, 400, 202].into()),
        ..Zuora::default()
    });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(7 * MINUTE).await;

    assert_eq!(scene.bodies(), [r#"["h1","h2"]"#, r#"["h1"]"#, r#"["h2"]"#]);
}

#[tokio::test(start_paused = true)]
async fn one_of_many_that_is_gone_costs_few_questions() {
    let ids: Vec<_> = (1..=60).map(|n| format!("h{n}")).collect();
    let entries: Vec<_> = ids.iter().map(|id| entry(id, URL, 503, &json!(null))).collect();
    let failed: VecDeque<_> = entries.chunks(30).map(|_| page(&entries, None)).collect();
    let scene = Scene::of(Zuora {
        failed: Mutex::new(failed),
        gone: Mutex::new(vec!["h60".to_owned()]),
        ..Zuora::default()
    });
    scene.accepted("batch-1", "r1", Form::Async).await;

    // Two looks.
    sleep(9 * MINUTE).await;

    let bodies = scene.bodies();
    assert!(bodies.len() <= 13, "{bodies:?}");
    let taken = bodies.iter().filter(|body| !body.contains(r#""h60""#));
    let mut taken: Vec<String> =
        taken.flat_map(|it| serde_json::from_str::<Vec<String>>(it).unwrap()).collect();
    taken.sort_by_key(|id| id[1..].parse::<u32>().unwrap());
    assert_eq!(taken, ids[..59]);
    assert_eq!(bodies.last().map(String::as_str), Some(r#"["h60"]"#));
}

#[tokio::test(start_paused = true)]
async fn callouts_that_zuora_sends_to_nobody_are_not_asked_for_one_by_one() {
    let entries = [entry("h1", URL, 503, &json!(null)), entry("h2", URL, 503, &json!(null))];
    let failed = std::iter::repeat_with(|| page(&entries, None)).take(2).collect();
    let scene = Scene::of(Zuora {
        failed: Mutex::new(failed),
        resend: Mutex::new([403].into()),
        ..Zuora::default()
    });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(6 * MINUTE + 6 * SECOND).await;
    assert_eq!(scene.bodies(), [r#"["h1","h2"]"#]);
    // It may do so by now.
    sleep(3 * MINUTE).await;
    assert_eq!(scene.bodies(), [r#"["h1","h2"]"#, r#"["h1","h2"]"#]);
}

#[tokio::test(start_paused = true)]
async fn a_callout_that_is_listed_anew_each_time_is_not_asked_for_each_time() {
    let about = json!({"<Request.ID>": "r1"});
    let anew = (1..60).map(|n| {
        let entries: Vec<_> = (1..=n).map(|n| entry(&format!("h{n}"), URL, 400, &about)).collect();
        page(&entries, None)
    });
    let scene = Scene::of(Zuora { failed: Mutex::new(anew.collect()), ..Zuora::default() });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(60 * MINUTE).await;

    let asked = scene.bodies().len();
    assert!((2..=4).contains(&asked), "after five minutes, and ten and twenty more: {asked}");
}

#[tokio::test(start_paused = true)]
async fn what_zuora_takes_for_delivered_is_looked_through_as_well() {
    let all = page(&[entry("h1", URL, 200, &told("r1", "batch-1"))], None);
    let scene = Scene::of(Zuora { all: Mutex::new([all].into()), ..Zuora::default() });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(30 * MINUTE).await;

    assert_eq!(scene.state("batch-1").await, State::Succeeded);
    let everything = scene.asked().into_iter().filter(|(_, it)| it.contains("failedOnly=false"));
    assert_eq!(everything.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn looks_that_bring_nothing_become_fewer() {
    let scene = Scene::of(Zuora::default());
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(24 * 60 * MINUTE).await;

    let failed = scene.asked().into_iter().filter(|(_, it)| it.contains("failedOnly=true")).count();
    assert!((240..=300).contains(&failed), "about one in five minutes: {failed}");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_tells_is_unknown_after_a_day_and_may_still_become_known() {
    let scene = Scene::of(Zuora::default());
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(24 * 60 * MINUTE - SECOND).await;
    assert_eq!(scene.state("batch-1").await, State::Accepted);
    sleep(6 * MINUTE).await;
    assert_eq!(scene.state("batch-1").await, State::Unknown);

    let late = async_requests::Report {
        zuora_id: Some("r1".into()),
        track_id: None,
        notification_id: None,
        outcome: Outcome::Succeeded { data: serde_json::Map::new() },
    };
    scene.registry.take_in(&"production".into(), late).await.unwrap();
    assert_eq!(scene.state("batch-1").await, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_looked_up_is_given_up_after_twice_the_time() {
    let scene = Scene::of(Zuora { is_down: Mutex::new(true), ..Zuora::default() });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(2 * DAY - SECOND).await;
    assert_eq!(scene.state("batch-1").await, State::Accepted, "the next look may find it");
    sleep(7 * MINUTE).await;
    assert_eq!(scene.state("batch-1").await, State::Unknown);
}

#[tokio::test(start_paused = true)]
async fn after_a_long_outage_zuora_is_asked_before_anything_is_given_up() {
    let scene = Scene::of(Zuora { is_down: Mutex::new(true), ..Zuora::default() });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(30 * 60 * MINUTE).await;
    let all = page(&[entry("h1", URL, 200, &told("r1", "batch-1"))], None);
    scene.zuora.all.lock().unwrap().push_back(all);
    *scene.zuora.is_down.lock().unwrap() = false;
    sleep(7 * MINUTE).await;

    assert_eq!(scene.state("batch-1").await, State::Succeeded);
}

/// A registry with a request that Zuora took so long ago.
async fn old(form: Form, age: Duration) -> Arc<Registry> {
    let registry = Registry::new(Memory::default());
    accepted(&registry, "batch-1", "r1", form, None).await;
    tokio::time::advance(age).await;
    registry
}

#[tokio::test(start_paused = true)]
async fn what_was_to_be_given_up_while_nobody_ran_is_looked_up_first() {
    let failed = page(&[entry("h1", URL, 503, &json!(null))], None);
    let zuora = Zuora { failed: Mutex::new([failed].into()), ..Zuora::default() };
    let scene = Scene::over(zuora, "", old(Form::Async, 3 * DAY).await);

    // Time for Zuora to send again what it was asked for.
    sleep(5 * MINUTE - SECOND).await;
    assert_eq!(scene.bodies(), [r#"["h1"]"#]);
    let asked = scene.asked();
    assert!(asked.iter().any(|(at, it)| *at == 0 && it.contains("failedOnly=false")), "{asked:?}");
    assert_eq!(scene.state("batch-1").await, State::Accepted);

    sleep(6 * MINUTE).await;
    assert_eq!(scene.state("batch-1").await, State::Unknown);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_up_before_it_was_looked_for_everywhere() {
    let registry = Registry::new(Memory::default());
    let all = page(&[entry("h1", URL, 200, &told("r1", "batch-1"))], None);
    let zuora = Zuora { all: Mutex::new([all].into()), ..Zuora::default() };
    let scene = Scene::patient(zuora, "", registry, "6m");
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(12 * MINUTE).await;

    assert_eq!(scene.state("batch-1").await, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_history_that_is_longer_than_one_look_reads_is_read_to_its_end() {
    let next =
        |n: usize| format!("https://rest.zuora.com/v1/notification-history/callout?page={n}");
    let pages = (1..300).map(|n| page(&[], Some(&next(n + 1))));
    let last = page(&[entry("h1", URL, 503, &told("r1", "batch-1"))], None);
    let failed = pages.chain([last]).collect();
    let scene = Scene::of(Zuora { failed: Mutex::new(failed), ..Zuora::default() });
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(15 * MINUTE).await;

    assert_eq!(scene.state("batch-1").await, State::Succeeded);
    let asked = scene.asked();
    let one_look = asked.iter().filter(|(at, _)| *at == asked[0].0).count();
    assert_eq!((one_look, asked.len()), (250, 300));
    assert!(asked[250].1.ends_with("callout?page=251"), "{:?}", asked[250]);
}

#[tokio::test(start_paused = true)]
async fn a_history_without_an_end_keeps_nobody_waiting_for_ever() {
    let scene = Scene::patient(
        Zuora { is_endless: true, ..Zuora::default() },
        "",
        Registry::new(Memory::default()),
        "30m",
    );
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(58 * MINUTE).await;
    assert_eq!(scene.state("batch-1").await, State::Accepted, "it was not looked for everywhere");
    sleep(9 * MINUTE).await;
    assert_eq!(scene.state("batch-1").await, State::Unknown);
}

#[tokio::test(start_paused = true)]
async fn without_callouts_outcomes_are_looked_up_all_the_same() {
    let failed = page(&[entry("h1", URL, 401, &told("r1", "batch-1"))], None);
    let zuora = Zuora { failed: Mutex::new([failed].into()), ..Zuora::default() };
    let scene = Scene::at(zuora, "", Registry::new(Memory::default()));
    scene.accepted("batch-1", "r1", Form::Async).await;

    sleep(7 * MINUTE).await;

    assert_eq!(scene.state("batch-1").await, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_tenant_that_is_configured_no_more_are_given_up_in_the_end() {
    let scene = Scene::of(Zuora::default());
    let sandbox = configured("sandbox", "", scene._state.path());
    let production = configured("production", "", scene._state.path());
    scene.works.follow(&sandbox).unwrap();
    scene.accepted("batch-1", "r1", Form::Async).await;
    scene.accepted("batch-2", "j1", Form::OrderJob).await;

    sleep(DAY - SECOND).await;
    assert_eq!(scene.state("batch-1").await, State::Accepted);
    assert_eq!(scene.state("batch-2").await, State::Accepted);
    sleep(6 * MINUTE).await;
    assert_eq!(scene.state("batch-1").await, State::Unknown);
    assert_eq!(scene.state("batch-2").await, State::Unknown);
    assert_eq!(scene.asked(), [], "by nobody who could be asked");

    // Once it is configured again, its requests are looked after as before.
    scene.accepted("batch-3", "j2", Form::OrderJob).await;
    sleep(10 * MINUTE).await;
    let done = json!({"status": "Completed", "result": {}, "success": true});
    scene.zuora.jobs.lock().unwrap().push_back((200, done));
    scene.works.follow(&production).unwrap();
    sleep(6 * MINUTE).await;
    assert_eq!(scene.state("batch-3").await, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn each_entity_is_asked_for_its_own() {
    let entities = "    entities: [6f1f2c52-7d0c-4b57-9d4c-000000000001, 6f1f2c52-7d0c-4b57-9d4c-000000000002]";
    let scene = Scene::over(Zuora::default(), entities, Registry::new(Memory::default()));
    for (track_id, zuora_id, entity) in [
        ("batch-1", "r1", "6f1f2c52-7d0c-4b57-9d4c-000000000001"),
        ("batch-2", "r2", "6f1f2c52-7d0c-4b57-9d4c-000000000002"),
    ] {
        accepted(&scene.registry, track_id, zuora_id, Form::Async, Some(entity)).await;
    }

    sleep(6 * MINUTE + 6 * SECOND).await;

    let mut entities: Vec<_> =
        scene.asked().iter().map(|(_, it)| it.rsplit(' ').next().unwrap().to_owned()).collect();
    entities.sort();
    entities.dedup();
    assert_eq!(
        entities,
        ["6f1f2c52-7d0c-4b57-9d4c-000000000001", "6f1f2c52-7d0c-4b57-9d4c-000000000002"]
    );
}

fn processing() -> (u16, Value) {
    (200, json!({"status": "Processing", "errors": null, "result": null, "success": true}))
}

#[tokio::test(start_paused = true)]
async fn a_job_is_asked_for_its_state_until_it_has_ended() {
    let done = json!({"status": "Completed", "result": {"orderNumber": "O-1", "status": "Pending"}, "success": true});
    let jobs = std::iter::repeat_with(processing).take(12).chain([(200, done)]);
    let scene = Scene::of(Zuora { jobs: Mutex::new(jobs.collect()), ..Zuora::default() });
    scene.accepted("batch-1", "j1", Form::OrderJob).await;

    sleep(5 * MINUTE).await;

    let record = scene.record("batch-1").await;
    let Some(Outcome::Succeeded { data }) = record.outcome else { panic!("{record:?}") };
    assert_eq!(Value::from(data), json!({"orderNumber": "O-1", "status": "Pending"}));
    let asked = scene.asked();
    assert!(asked.iter().all(|(_, it)| it == "GET /v1/async-jobs/j1"), "{asked:?}");
    let times: Vec<_> = asked.iter().map(|(at, _)| *at).collect();
    assert_eq!(times.len(), 13, "{times:?}");
    assert_eq!(times[0], 1);
    let pauses: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.last().is_some_and(|last| (15..=17).contains(last)), "{pauses:?}");
    assert!(pauses[0] <= 2, "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_is_a_failure_though_asking_succeeded() {
    let failed = json!({"status": "Failed", "errors": "[40000050]: locked", "result": null, "success": true});
    let scene = Scene::of(Zuora { jobs: Mutex::new([(200, failed)].into()), ..Zuora::default() });
    scene.accepted("batch-1", "j1", Form::OrderJob).await;

    sleep(2 * SECOND).await;

    let Some(Outcome::Failed { reasons, .. }) = scene.record("batch-1").await.outcome else {
        panic!("it failed")
    };
    assert_eq!(reasons, [json!({"code": "40000050", "message": "locked"})]);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_fails_says_nothing_of_the_job() {
    let jobs = [
        (404, json!({"success": false})),
        (200, json!({"success": false, "reasons": [{"code": 50000040, "message": "no such job"}]})),
        (200, json!({"status": "Completed", "result": {}, "success": true})),
    ];
    let scene = Scene::of(Zuora { jobs: Mutex::new(jobs.into()), ..Zuora::default() });
    scene.accepted("batch-1", "j1", Form::OrderJob).await;

    sleep(3 * SECOND).await;
    assert_eq!(scene.state("batch-1").await, State::Accepted);
    sleep(30 * SECOND).await;
    assert_eq!(scene.state("batch-1").await, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn jobs_of_an_earlier_life_are_followed_as_well() {
    let registry = Registry::new(Memory::default());
    accepted(&registry, "batch-1", "j1", Form::OrderJob, None).await;
    let done = json!({"status": "Completed", "result": {}, "success": true});
    let zuora = Zuora { jobs: Mutex::new([(200, done)].into()), ..Zuora::default() };

    let scene = Scene::over(zuora, "", registry);
    sleep(3 * SECOND).await;

    assert_eq!(scene.state("batch-1").await, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_waits_for_any_more_is_left_alone() {
    let jobs = std::iter::repeat_with(processing).take(1_000);
    let scene = Scene::impatient(Zuora { jobs: Mutex::new(jobs.collect()), ..Zuora::default() });
    scene.accepted("batch-1", "j1", Form::OrderJob).await;

    sleep(66 * MINUTE).await;
    assert_eq!(scene.state("batch-1").await, State::Unknown);
    let asked = scene.asked().len();
    sleep(60 * MINUTE).await;
    assert_eq!(scene.asked().len(), asked);
}

#[tokio::test(start_paused = true)]
async fn a_job_of_long_ago_is_asked_for_before_it_is_given_up() {
    let done = json!({"status": "Completed", "result": {}, "success": true});
    let zuora = Zuora { jobs: Mutex::new([(200, done)].into()), ..Zuora::default() };

    let scene = Scene::over(zuora, "", old(Form::OrderJob, 3 * DAY).await);
    sleep(3 * SECOND).await;

    assert_eq!(scene.state("batch-1").await, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_given_up_once_zuora_says_that_it_has_not_ended() {
    let zuora = Zuora { jobs: Mutex::new([processing()].into()), ..Zuora::default() };

    let scene = Scene::over(zuora, "", old(Form::OrderJob, 3 * DAY).await);
    sleep(3 * SECOND).await;

    assert_eq!(scene.state("batch-1").await, State::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_job_of_which_zuora_cannot_be_asked_is_given_up_after_twice_the_time() {
    let scene = Scene::impatient(Zuora { is_gone: Mutex::new(true), ..Zuora::default() });
    scene.accepted("batch-1", "j1", Form::OrderJob).await;
    scene.accepted("batch-2", "j2", Form::OrderJob).await;

    sleep(90 * MINUTE).await;
    assert_eq!(scene.state("batch-1").await, State::Accepted, "the next answer may tell");
    // It is not too late.
    let done = json!({"status": "Completed", "result": {}, "success": true});
    scene.zuora.jobs.lock().unwrap().extend([(200, done.clone()), (200, done)]);
    *scene.zuora.is_gone.lock().unwrap() = false;
    sleep(5 * MINUTE).await;
    assert_eq!(scene.state("batch-1").await, State::Succeeded);
    assert_eq!(scene.state("batch-2").await, State::Succeeded);

    *scene.zuora.is_gone.lock().unwrap() = true;
    scene.accepted("batch-3", "j3", Form::OrderJob).await;
    sleep(2 * 60 * MINUTE - MINUTE).await;
    assert_eq!(scene.state("batch-3").await, State::Accepted);
    sleep(10 * MINUTE).await;
    assert_eq!(scene.state("batch-3").await, State::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_died_over_is_asked_for_again() {
    let done = json!({"status": "Completed", "result": {}, "success": true});
    let scene = Scene::of(Zuora { jobs: Mutex::new([(200, done)].into()), ..Zuora::default() });
    scene.looking.abort();
    let (works, registry) = (Arc::clone(&scene.works), Arc::clone(&scene.registry));
    let (mut reconciler, found) = Reconciler::new(works, registry);
    reconciler.followed.insert(key("batch-1"));
    reconciler.following.spawn(async { panic!("on purpose") });
    let taken = scene.registry.jobs();
    let looking = tokio::spawn(reconciler.run(taken, found));
    scene.accepted("batch-1", "j1", Form::OrderJob).await;

    sleep(3 * MINUTE).await;

    assert_eq!(scene.state("batch-1").await, State::Succeeded);
    looking.abort();
}
