//! What is shown of a tenant.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::time::Duration;

use admission::{
    AppId, AppRate, Ask, Deadline, OnRefusal, Permit, Place, PoolSettings, QueueBounds, RateLimits,
    Settings, Start,
};
use credentials::{FetchError, Grant, Proof, Scope, TokenEndpoint, Tokens, Which};
use telemetry::Inventory;

use super::*;

const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// A tenant with one app and one pool, and what operators see of it.
struct Scene {
    admin: Arc<Admin>,
    admission: Arc<Admission>,
    app: AppId,
    lanes: Arc<Lanes>,
    tokens: Arc<Tokens>,
}

/// Where tokens never come from: nothing here needs one.
struct Nowhere;

impl TokenEndpoint for Nowhere {
    fn fetch(
        &self,
        _: Which,
    ) -> Pin<Box<dyn Future<Output = Result<Grant, FetchError>> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

fn kept(entity: Option<&str>, tokens: &Arc<Tokens>) -> KeptToken {
    KeptToken { entity: entity.map(Into::into), for_soap: false, tokens: Arc::clone(tokens) }
}

/// Says at once what it says.
struct Saying(Result<Grant, FetchError>);

impl TokenEndpoint for Saying {
    fn fetch(
        &self,
        _: Which,
    ) -> Pin<Box<dyn Future<Output = Result<Grant, FetchError>> + Send + '_>> {
        Box::pin(std::future::ready(self.0.clone()))
    }
}

impl Scene {
    fn start() -> Self {
        let pool = PoolSettings {
            name: "Default".into(),
            entity: None,
            ceiling: NonZeroU32::new(40).unwrap(),
            headroom: 0,
            enforce: true,
            on_refusal: OnRefusal::Shrink,
            retry_after_cap: None,
        };
        let settings = Settings {
            pools: vec![pool],
            apps: vec![AppSettings::named("app")],
            queue: QueueBounds { max_requests: 10, max_bytes: 10 },
            rate: RateLimits { per_minute: None, per_hour: None, per_day: None, enforce: true },
        };
        let tenants = vec!["t".to_owned()];
        let metrics = Metrics::new(&Inventory { tenants, apps: vec!["app".to_owned()] });
        let admission = Admission::new(settings, Start::Full);
        let scene = Self {
            admin: Admin::new(Arc::clone(&metrics), None),
            app: admission.app("app").unwrap(),
            admission,
            lanes: Lanes::new(10),
            tokens: Tokens::start("t", Nowhere, &metrics),
        };
        scene.admin.show(vec![scene.tenant(true)]);
        scene
    }

    fn tenant(&self, in_lanes: bool) -> Tenant {
        Tenant {
            name: "t".into(),
            admission: Arc::clone(&self.admission),
            tokens: vec![kept(None, &self.tokens)],
            lanes: in_lanes.then(|| Arc::clone(&self.lanes)),
            apps: vec![App {
                settings: AppSettings {
                    weight: NonZeroU32::new(4).unwrap(),
                    reserve: 5,
                    priority: Priority::Batch,
                    rate: Some(AppRate { per_second: TEN, burst: TEN, enforce: false }),
                    ..AppSettings::named("app")
                },
                queue_timeout: Duration::from_millis(1500),
            }],
        }
    }

    async fn permit(&self) -> Permit {
        let ask = Ask {
            pool: self.admission.pool(None, "Default").unwrap(),
            app: self.app,
            user: None,
            deadline: Deadline::Permit(Instant::now() + Duration::from_secs(60)),
            place: Place::Back,
            may_probe: true,
        };
        self.admission.admit(ask).await.unwrap()
    }

    /// What the gauge of the tenant is; `None` if there is none.
    fn gauge(&self, name: &str) -> Option<String> {
        let sample = format!("zuora_gateway_{name}{{tenant=\"t\"}} ");
        let text = self.admin.metrics();
        text.lines().find_map(|line| line.strip_prefix(&sample)).map(ToOwned::to_owned)
    }

    fn shown(&self) -> Value {
        self.admin.state()["tenants"][0].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_down_shows() {
    let scene = Scene::start();
    assert_eq!(scene.gauge("circuit_open").as_deref(), Some("0"));
    assert_eq!(scene.shown()["circuit"], "closed");
    assert_eq!(scene.shown()["circuit_tries_in_seconds"], Value::Null);

    for _ in 0..5 {
        scene.permit().await.unreached();
    }
    assert_eq!(scene.gauge("circuit_open").as_deref(), Some("1"));
    assert_eq!(scene.shown()["circuit"], "open");
    let tries_in = scene.shown()["circuit_tries_in_seconds"].as_f64().unwrap();
    assert!((1.0..=2.0).contains(&tries_in), "{tries_in}");

    let probe = scene.permit().await;
    assert_eq!(scene.gauge("circuit_open").as_deref(), Some("1"), "others still wait");
    assert_eq!(scene.shown()["circuit"], "probing");

    probe.reached();
    assert_eq!(scene.gauge("circuit_open").as_deref(), Some("0"));
    assert_eq!(scene.shown()["circuit"], "closed");
}

#[tokio::test(start_paused = true)]
async fn lanes_show_where_calls_go_in_lanes() {
    let scene = Scene::start();
    let soon = Instant::now() + Duration::from_secs(60);
    let held = scene.lanes.enter(&[1, 2], scene.app, None, soon).await.unwrap();
    let mut waiting = std::pin::pin!(scene.lanes.enter(&[2], scene.app, None, soon));
    assert!(at_once(waiting.as_mut()).await.is_none());

    assert_eq!(scene.shown()["lanes"], json!({"held": 2, "waiting": 1}));
    assert_eq!(scene.gauge("lanes_held").as_deref(), Some("2"));
    assert_eq!(scene.gauge("lanes_waiting").as_deref(), Some("1"));

    drop(held);
    drop(waiting.await.unwrap());
    assert_eq!(scene.shown()["lanes"], json!({"held": 0, "waiting": 0}));

    scene.admin.show(vec![scene.tenant(false)]);
    assert_eq!(scene.shown()["lanes"], Value::Null);
    assert_eq!(scene.gauge("lanes_held"), None);
}

#[tokio::test(start_paused = true)]
async fn permits_that_are_alive_are_counted_beside_those_given() {
    let scene = Scene::start();
    let permit = scene.permit().await;

    let pool = scene.shown()["pools"][0].clone();
    assert_eq!((&pool["in_use"], &pool["permits_out"]), (&json!(1), &json!(1)));
    drop(permit);
    assert_eq!(scene.shown()["pools"][0]["permits_out"], 0);
}

#[tokio::test(start_paused = true)]
async fn what_an_app_may_have_shows() {
    let scene = Scene::start();

    let expected = json!([{
        "app": "app",
        "priority": "batch",
        "weight": 4,
        "reserve": 5,
        "max_in_flight": null,
        "rate": {"per_second": 10, "burst": 10, "enforced": false},
        "queue_timeout_seconds": 1.5,
    }]);
    assert_eq!(scene.shown()["apps"], expected);
}

/// What `future` came to, if it did so at once.
async fn at_once<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    tokio::select! {
        biased;
        outcome = future => Some(outcome),
        () = tokio::task::yield_now() => None,
    }
}

#[tokio::test(start_paused = true)]
async fn every_token_of_a_tenant_shows_and_the_shortest_life_counts() {
    let scene = Scene::start();
    let metrics = Metrics::new(&Inventory::default());
    let body = br#"{"access_token":"t","expires_in":100}"#;
    let hour = Grant::read(http::StatusCode::OK, &http::HeaderMap::new(), body);
    let key = Ok(Grant::lasting(Proof::api_key("id", "hidden").unwrap()));
    let lazy = Scope { tenant: "t".into(), entity: None, is_lazy: true, logins: Arc::default() };
    let first = Tokens::start("t", Saying(key), &metrics);
    let second = Tokens::start("t", Saying(hour), &metrics);
    let refused = Tokens::start("t", Saying(Err(FetchError::Refused)), &metrics);
    let idle = Tokens::start_for(lazy, Nowhere, &metrics);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let show = |tokens: &[&Arc<Tokens>]| {
        let tokens = tokens.iter().map(|tokens| kept(Some("e"), tokens)).collect();
        scene.admin.show(vec![Tenant { tokens, ..scene.tenant(true) }]);
    };
    let gauge = || scene.gauge("token_expires_in_seconds").unwrap();

    show(&[&first, &idle]);
    assert_eq!(gauge(), "inf");
    assert_eq!(scene.shown()["token_expires_in_seconds"], Value::Null);
    assert_eq!(scene.admin.unready(), None);
    show(&[&first, &second, &idle]);
    assert_eq!(gauge(), "90");
    assert_eq!(scene.shown()["token_expires_in_seconds"], 90);
    let of = |index: usize| scene.shown()["tokens"][index].clone();
    assert_eq!((&of(0)["expires_in_seconds"], &of(0)["ready"]), (&Value::Null, &json!(true)));
    assert_eq!((&of(1)["expires_in_seconds"], &of(1)["entity"]), (&json!(90), &json!("e")));
    assert_eq!((&of(2)["idle"], &of(2)["ready"]), (&json!(true), &json!(false)));
    show(&[&first, &refused]);
    assert_eq!(gauge(), "0");
    assert_eq!(scene.admin.unready(), None, "the calls of the default entity go on");
    assert_eq!(scene.shown()["token_trouble"], FetchError::Refused.to_string());
    show(&[&refused, &first]);
    assert!(scene.admin.unready().unwrap().contains("refuses the credentials"));
    assert!(!scene.admin.state().to_string().contains("hidden"));
}
