//! What operators see of async requests, and have done about them.

use std::time::Duration;

use async_requests::{Form, Memory, NewRequest, Outcome, Report};
use credentials::SecretDigest;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use telemetry::{Inventory, Metrics};

use super::*;
use crate::routes::answer;
use crate::state::Admin;

const TOKEN: &str = "the admin token";

/// What operators see of a registry.
struct Scene {
    registry: Arc<Registry>,
    admin: Arc<Admin>,
}

impl Scene {
    fn new() -> Self {
        let registry = Registry::new(Memory::default());
        registry.forward_to([Arc::from("batch")]);
        let tenants = vec!["production".to_owned(), "sandbox".to_owned()];
        let metrics = Metrics::new(&Inventory { tenants, apps: vec!["batch".to_owned()] });
        let admin = Admin::new(metrics, Some(SecretDigest::of(TOKEN)));
        admin.show_async_requests(Arc::clone(&registry));
        Self { registry, admin }
    }

    async fn begun(&self, tenant: &str, track_id: &str) -> Key {
        let new = NewRequest {
            key: Key { tenant: tenant.into(), track_id: track_id.into() },
            app: "batch".into(),
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

    /// A request whose outcome its app never took.
    async fn dead(&self, tenant: &str, track_id: &str) -> Key {
        let key = self.begun(tenant, track_id).await;
        let data = json!({"id": "a name that no operator needs"}).as_object().unwrap().clone();
        let report = Report {
            zuora_id: Some(format!("r-{track_id}").into()),
            track_id: Some(track_id.into()),
            notification_id: None,
            outcome: Outcome::Succeeded { data },
        };
        self.registry.take_in(&key.tenant, report).await.unwrap();
        for _ in 0..async_requests::DELIVERY_ATTEMPTS {
            let due = self.registry.undelivered(&"batch".into(), 9).await.unwrap().remove(0);
            self.registry.not_delivered(&due, "answered 500", 0.0).await.unwrap();
        }
        key
    }

    async fn ask(&self, method: Method, target: &str, token: Option<&str>) -> (StatusCode, String) {
        let mut request = Request::builder().method(method).uri(target);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = answer(&self.admin, request.body(()).unwrap()).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn see(&self, target: &str) -> Value {
        let (status, body) = self.ask(Method::GET, target, Some(TOKEN)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The track ids of the dead letters that `query` means.
    async fn dead_letters(&self, query: &str) -> Vec<String> {
        let seen = self.see(&format!("/api/async-requests/dead-letters{query}")).await;
        let letters = seen["dead_letters"].as_array().unwrap();
        letters.iter().map(|it| it["track_id"].as_str().unwrap().to_owned()).collect()
    }

    async fn resend(&self, query: &str) -> Value {
        let target = format!("/api/async-requests/dead-letters/resend{query}");
        let (status, body) = self.ask(Method::POST, &target, Some(TOKEN)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_shown_with_what_went_wrong_and_not_with_what_they_say() {
    let scene = Scene::new();
    scene.dead("production", "batch-1").await;

    let seen = scene.see("/api/async-requests/dead-letters").await;

    let letter = &seen["dead_letters"][0];
    let members = ["tenant", "track_id", "app", "operation", "state", "trouble"];
    let members = members.map(|name| letter[name].as_str().unwrap());
    let expected = ["production", "batch-1", "batch", "POST_Account", "succeeded", "answered 500"];
    assert_eq!(members, expected);
    assert_eq!((&letter["attempts"], &seen["more"]), (&json!(10), &json!(false)));
    assert!(letter["given_up"].as_str().unwrap().ends_with('Z'));
    assert!(!seen.to_string().contains("no operator needs"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn one_dead_letter_those_of_a_tenant_or_all_are_tried_again() {
    let scene = Scene::new();
    for (tenant, track_id) in
        [("production", "a"), ("production", "b"), ("sandbox", "a"), ("sandbox", "c")]
    {
        scene.dead(tenant, track_id).await;
    }
    assert_eq!(scene.dead_letters("").await, ["a", "b", "a", "c"]);
    assert_eq!(scene.dead_letters("?tenant=sandbox").await, ["a", "c"]);
    assert_eq!(scene.dead_letters("?tenant=sandbox&track_id=c").await, ["c"]);
    assert_eq!(scene.dead_letters("?tenant=sandbox&track_id=b").await, [""; 0]);

    assert_eq!(scene.resend("?tenant=production&track_id=a").await, json!({"resent": 1}));
    assert_eq!(scene.resend("?tenant=production&track_id=a").await, json!({"resent": 0}));
    assert_eq!(scene.dead_letters("").await, ["b", "a", "c"]);
    assert_eq!(scene.resend("?tenant=sandbox").await, json!({"resent": 2}));
    assert_eq!(scene.resend("").await, json!({"resent": 1}));

    assert_eq!(scene.dead_letters("").await, [""; 0]);
    assert_eq!(scene.registry.undelivered(&"batch".into(), 9).await.unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn only_operators_see_and_resend_dead_letters() {
    let scene = Scene::new();
    scene.dead("production", "batch-1").await;
    let (shown, resend) =
        ("/api/async-requests/dead-letters", "/api/async-requests/dead-letters/resend");

    for token in [None, Some("guessed")] {
        assert_eq!(scene.ask(Method::GET, shown, token).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(scene.ask(Method::POST, resend, token).await.0, StatusCode::UNAUTHORIZED);
    }
    let wrong = StatusCode::METHOD_NOT_ALLOWED;
    assert_eq!(scene.ask(Method::GET, resend, Some(TOKEN)).await.0, wrong);
    assert_eq!(scene.ask(Method::POST, shown, Some(TOKEN)).await.0, wrong);
    let mistyped = format!("{resend}?tenants=sandbox");
    let (status, why) = scene.ask(Method::POST, &mistyped, Some(TOKEN)).await;

    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(why.contains("`tenants`"), "{why}");
    assert_eq!(scene.dead_letters("").await, ["batch-1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_is_in_the_state_and_in_the_metrics() {
    let scene = Scene::new();
    scene.dead("production", "batch-1").await;
    scene.begun("production", "batch-2").await;
    tokio::time::advance(Duration::from_secs(90)).await;
    scene.begun("production", "batch-3").await;

    let state = scene.see("/api/state").await;
    let (_, metrics) = scene.ask(Method::GET, "/metrics", Some(TOKEN)).await;

    assert_eq!(
        (&state["async"]["records"], &state["async"]["writable"]),
        (&json!(3), &json!(true))
    );
    let app = json!({
        "tenant": "production",
        "app": "batch",
        "pending": 2,
        "oldest_pending_seconds": 90,
        "unknown": 0,
        "dead_letters": 1,
    });
    assert_eq!(state["async"]["apps"], json!([app]));
    for sample in [
        r#"async_requests_pending{app="batch",tenant="production"} 2"#,
        r#"async_oldest_pending_seconds{app="batch",tenant="production"} 90"#,
        r#"async_requests_unknown{app="batch",tenant="production"} 0"#,
        r#"outcome_dead_letters{app="batch",tenant="production"} 1"#,
        "async_registry_records 3",
    ] {
        let line = format!("zuora_gateway_{sample}");
        assert!(metrics.lines().any(|it| it == line), "`{line}` is missing in:\n{metrics}");
    }
}

#[test]
fn a_query_names_one_all_of_a_tenant_or_all() {
    let all = |tenant: Option<&str>| Ok(Meant::All { tenant: tenant.map(Arc::from) });
    let key = Key { tenant: "production".into(), track_id: "batch 1/é".into() };

    assert_eq!(Meant::read(""), all(None));
    assert_eq!(Meant::read("tenant=production"), all(Some("production")));
    let one = "tenant=production&track_id=batch+1%2F%C3%A9";
    assert_eq!(Meant::read(one), Ok(Meant::One(key)));
}

#[test]
fn a_query_that_could_mean_too_much_is_refused() {
    for (query, word) in [
        ("track_id=batch-1", "together"),
        ("tenants=production", "`tenants`"),
        ("tenant=a&tenant=b", "twice"),
        ("track-id=batch-1&tenant=a", "`track-id`"),
    ] {
        let refused = Meant::read(query).unwrap_err();
        assert!(refused.contains(word), "{query}: {refused}");
    }
}
