//! Published clients, and the emulated tenant, which does what it accepted and calls out.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use emulator::{AsyncWrites, Definition, HistoryContext, Mishap, Options, ServiceTime, Tenant};
use http::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use testkit::{APP, House, SECRET, Yaml};
use tokio::net::TcpListener;

use super::stage::{PASSWORD, USER, look, metric, yaml};
use crate::caller::{self, ask, eventually, request};
use crate::clients::{script, seen_by};
use crate::program::reload::{certificate, shakes_hands};
use crate::running::Running;

/// A gateway before a tenant that calls out to it.
async fn house(async_writes: AsyncWrites, yaml: &Yaml) -> House {
    let service_time = ServiceTime::Constant(Duration::from_millis(5));
    let options = Options { service_time, async_writes, ..Options::default() };
    let house = House::start(options, yaml).await;
    let url = format!("{}/_gateway/callouts/production", house.url());
    house.tenant.set_definitions(&Definition::both(&url, USER, PASSWORD));
    house
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_python_client_writes_and_learns_the_outcome() {
    let house = house(AsyncWrites::default(), &yaml("", "")).await;
    let mut sdk = script("zuora_sdk_async.py");
    sdk.args([&house.url(), APP, SECRET]);

    let seen = seen_by(sdk).await;

    let expected = json!({
        "plain": [200, true, null],
        "accepted": [202, "respond-async", true],
        "outcome": [200, true], "name": "Accepted",
        "held": [200, true], "held_name": "Held",
        "updated": [200, true], "renamed": "Renamed",
        "many": 24,
    });
    assert_eq!(seen, expected);
    let ledger = house.tenant.ledger();
    assert_eq!(ledger.async_requests.len(), 1 + 1 + 1 + 24);
    assert!(ledger.async_requests.iter().all(|it| it.idempotency_key.is_none()));
    assert_eq!(ledger.executed_twice(), []);
    assert_eq!((ledger.missing_track_ids, ledger.invalid_track_ids), (0, 0));
    assert_eq!(ledger.token_calls, 1);
}

/// Callouts that stayed away are in the history. What they said is read there, or else they come when they are asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_that_stay_away_are_asked_for() {
    let writes = 30;
    for history_context in [HistoryContext::Object, HistoryContext::Text, HistoryContext::Absent] {
        let async_writes = AsyncWrites {
            mishaps: vec![(Mishap::Lost, 1.0), (Mishap::Fails, 0.3)],
            history_context,
            ..AsyncWrites::default()
        };
        let house =
            house(async_writes, &yaml("", ", reconcile_after: 1s, unknown_after: 60s")).await;
        for at in 0..writes {
            let body = "{\"name\": \"A\", \"currency\": \"USD\"}";
            let mut write = request(Method::POST, "/v1/accounts", body);
            let headers = write.headers_mut();
            headers.insert("prefer", "respond-async".parse().unwrap());
            headers.insert("zuora-track-id", format!("app-{at}").parse().unwrap());
            assert_eq!(ask(house.address(), write).await.status, StatusCode::ACCEPTED);
        }
        let mut failures = 0;
        for at in 0..writes {
            let track_id = format!("app-{at}");
            let place = format!("/_gateway/async-requests/{track_id}");
            let known = async || look(house.address(), &place, SECRET).await;
            let most = Duration::from_secs(30);
            let told = super::stage::until("asked for", most, known, |it| it.status == 200).await;
            let ledger = house.tenant.ledger();
            let request = ledger.async_with_track_id(&track_id).next().unwrap();
            let succeeded = request.outcome.as_ref().unwrap().succeeded();
            failures += usize::from(!succeeded);
            assert_eq!(super::stage::json_of(&told)["success"], succeeded, "{told:?}");
        }
        assert!((1..writes).contains(&failures), "{failures}");
        let ledger = house.tenant.ledger();
        let questions = ledger.executed.iter().filter(|it| it.path.contains("callout"));
        assert!((1..writes).contains(&questions.count()), "a few pages, not one for each");
        let sent_again = ledger.async_requests.iter().flat_map(|it| &it.callouts);
        let sent_again = sent_again.filter(|it| it.resent).count();
        if history_context == HistoryContext::Absent {
            assert!(sent_again >= writes, "{sent_again}");
        }
    }
}

/// What nobody will ever tell is said to be unknown, to the app and to the operator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_vanished_is_unknown_and_counted() {
    let async_writes =
        AsyncWrites { mishaps: vec![(Mishap::Vanished, 1.0)], ..AsyncWrites::default() };
    let house = house(async_writes, &yaml("", ", reconcile_after: 1s, unknown_after: 3s")).await;
    let mut write =
        request(Method::POST, "/v1/accounts", "{\"name\": \"A\", \"currency\": \"USD\"}");
    write.headers_mut().insert("prefer", "respond-async".parse().unwrap());
    let told = ask(house.address(), write).await;
    assert_eq!(told.status, StatusCode::ACCEPTED);
    let place = told.header("location").unwrap().to_owned();
    let known = async || look(house.address(), &place, SECRET).await;
    let told =
        super::stage::until("given up", Duration::from_secs(15), known, |it| it.status == 200)
            .await;
    assert_eq!(told.field("zuora-gateway-error"), Some("outcome-unknown"), "{told:?}");
    eventually("counted", async || {
        let text = caller::look(house.gateway.admin_address(), "/metrics").await.text();
        let unknown = metric(&text, "async_requests_total", &[("state", "unknown")]);
        (unknown == 1.0).then_some(()).ok_or(text)
    })
    .await;
}

/// Its asynchronous work is Zuora's, and its permits are the app's again at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_work_holds_no_permit() {
    let slow = Some(ServiceTime::Constant(Duration::from_secs(2)));
    let submit_time = ServiceTime::Constant(Duration::from_millis(10));
    let async_writes =
        AsyncWrites { work_time: slow, submit_time, workers: 64, ..AsyncWrites::default() };
    let mut yaml = yaml("", "");
    yaml.tenant.push(
        "concurrency: {limits: {Default: 2, \"High-volume transactions\": 2}, headroom: 0}"
            .to_owned(),
    );
    let house = house(async_writes, &yaml).await;
    house.tenant.set_limit("Default", Some(2));
    house.tenant.set_limit("High-volume transactions", Some(2));
    let writes = (0..40).map(|at| {
        let mut write =
            request(Method::POST, "/v1/accounts", "{\"name\": \"A\", \"currency\": \"USD\"}");
        let headers = write.headers_mut();
        headers.insert("prefer", "respond-async, wait=25".parse().unwrap());
        headers.insert("zuora-track-id", format!("app-{at}").parse().unwrap());
        ask(house.address(), write)
    });
    let began = tokio::time::Instant::now();
    let told = futures_util::future::join_all(writes).await;
    assert!(told.iter().all(|it| it.status == 200), "{told:?}");
    // One after the other, two at a time, it would have been forty seconds.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let ledger = house.tenant.ledger();
    assert_eq!(ledger.async_requests.len(), 40);
    assert_eq!(ledger.refused_concurrency, 0);
}

/// A door of its own, with a certificate of its own, which is renewed while it is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callouts_come_over_tls_to_a_door_of_their_own() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let local =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "gw".to_owned()]).unwrap();
    fs::write(path("cert.pem"), local.cert.pem()).unwrap();
    fs::write(path("key.pem"), local.signing_key.serialize_pem()).unwrap();
    let door = free_port().await;
    let tls = "{certificate: cert.pem, key: key.pem}";
    let yaml = Yaml {
        listen: vec![format!("callouts: {{address: \"{door}\", tls: {tls}}}")],
        ..yaml("", "")
    };
    let definitions =
        Definition::both(&format!("https://{door}/_gateway/callouts/production"), USER, PASSWORD);
    let async_writes =
        AsyncWrites { definitions, callout_ca: Some(local.cert.pem()), ..AsyncWrites::default() };
    let tenant = Tenant::start(Options { async_writes, ..Options::default() }).await.unwrap();
    let running = Running::before(&tenant, &yaml, &directory).await;

    let mut write =
        request(Method::POST, "/v1/accounts", "{\"name\": \"A\", \"currency\": \"USD\"}");
    write.headers_mut().insert("prefer", "respond-async, wait=20".parse().unwrap());
    let told = ask(running.address, write).await;
    assert_eq!((told.status, &told.json()["success"]), (StatusCode::OK, &json!(true)), "{told:?}");
    // The app may hear of it before the tenant has noted that its callout was taken.
    eventually("told", async || {
        let attempts = tenant.ledger().async_requests.remove(0).callouts;
        let is_told = matches!(&attempts[..], [one] if one.status == 200 && one.challenged);
        is_told.then_some(()).ok_or(format!("{attempts:?}"))
    })
    .await;

    let renewed = certificate();
    assert!(shakes_hands(door, &local).await && !shakes_hands(door, &renewed).await);
    fs::write(path("cert.pem"), renewed.cert.pem()).unwrap();
    fs::write(path("key.pem"), renewed.signing_key.serialize_pem()).unwrap();
    eventually("renewed", async || {
        shakes_hands(door, &renewed).await.then_some(()).ok_or("the old one".to_owned())
    })
    .await;
    assert_eq!(running.stop().await.status.code(), Some(0));
}

/// A port of the loopback that nobody listens on, for what must be known before it is listened on.
async fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
