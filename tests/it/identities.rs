//! Who the gateway is to Zuora: every kind of credential, each way to renew it, its exchange for another one, and the
//! entities that it is for. The judge is the tenant's ledger.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use emulator::{Credential, Ledger, LoginKind, Options, ServiceTime, Tenant};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Method, Request};
use http_body_util::Full;
use testkit::{House, Yaml};

use crate::caller::{Answer, ask, eventually, get, request, state};

/// A token or session that is younger is not replaced because of a 401.
const YOUNG: Duration = Duration::from_secs(6);

const GERMANY: &str = "2c92a0f9-1111-4222-8333-6bd69165016a";
const FRANCE: &str = "2c92a0f9-1111-4222-8333-6bd69165016b";

const OAUTH: &str = "oauth: {client_id: new, client_secret: new-secret";
const API_KEY: &str = "api_key: {id: new, secret: new-secret";
const CONNECTION: &str = "connection: {id: new, secret: new-secret";
const SOAP_LOGIN: &str = "soap_login: {username: new, password: new-secret";

/// A tenant that takes `new` and nobody else, whatever it is told.
fn options() -> Options {
    let new = || Some(("new".to_owned(), "new-secret".to_owned()));
    Options {
        service_time: ServiceTime::Constant(Duration::ZERO),
        client_id: Some("new".to_owned()),
        client_secret: Some("new-secret".to_owned()),
        api_key: new(),
        soap_user: new(),
        ..Options::default()
    }
}

/// The configuration for `tenant`, with these credentials and further keys.
fn yaml(tenant: &Tenant, credentials: &str, more: &[&str]) -> Yaml {
    let mut keys =
        vec![format!("credentials: {{{credentials}}}"), format!("soap_url: {}", tenant.base_url())];
    keys.extend(more.iter().map(|key| (*key).to_owned()));
    Yaml { tenant: keys, ..Yaml::default() }
}

/// A gateway with these credentials.
async fn house(options: Options, credentials: &str, more: &[&str]) -> House {
    let tenant = Tenant::start(options).await.unwrap();
    let (yaml, base_url) = (yaml(&tenant, credentials, more), tenant.base_url());
    House::before(tenant, &base_url, &yaml).await
}

/// A SOAP query, with the app's credential in its fields only.
fn soap_query() -> Request<Full<Bytes>> {
    let envelope = r#"<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><q:query xmlns:q="http://api.zuora.com/"><q:queryString>select Id from Account</q:queryString></q:query></s:Body></s:Envelope>"#;
    let mut query = request(Method::POST, "/apps/services/a/91.0", envelope);
    query.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
    let action = HeaderName::from_static("soapaction");
    query.headers_mut().insert(action, HeaderValue::from_static("\"\""));
    query
}

/// A call about this entity.
fn get_of(entity: &str) -> Request<Full<Bytes>> {
    let mut call = get();
    let id = HeaderValue::from_str(entity).unwrap();
    call.headers_mut().insert(HeaderName::from_static("zuora-entity-ids"), id);
    call
}

#[track_caller]
fn good(answer: &Answer) {
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 200, "{body}");
    assert!(!body.contains("Fault"), "{body}");
}

/// How the last call said to the tenant who makes it.
fn last_credential(ledger: &Ledger) -> Option<Credential> {
    ledger.executed.last().unwrap().credential
}

/// Logins at token endpoint, connections and SOAP.
fn logins(ledger: &Ledger) -> [u64; 3] {
    [ledger.token_calls, ledger.connection_logins, ledger.soap_logins]
}

/// Lets the time of a test pass without waiting for it. Only for a runtime of one thread.
async fn skip(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn soap_calls_that_wait_for_a_login_of_their_own_keep_no_permit() {
    for renew in ["timer", "every_call"] {
        let wrong =
            format!("{OAUTH}}}, soap_login: {{username: new, password: wrong, renew: {renew}}}");
        let more = ["concurrency: {headroom: 0, limits: {Default: 2}}", "queue: {timeout: 8s}"];
        let house = house(options(), &wrong, &more).await;
        let address = house.address();
        good(&ask(address, get()).await);

        let waiting: Vec<_> = (0..4).map(|_| tokio::spawn(ask(address, soap_query()))).collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let called = tokio::time::timeout(Duration::from_secs(2), ask(address, get())).await;

        good(&called.expect("it needs nothing that they wait for"));
        assert!(waiting.iter().any(|call| !call.is_finished()), "{renew}: nobody waited");
        for call in waiting {
            assert_eq!(call.await.unwrap().status, 503);
        }
    }
}

#[tokio::test]
async fn every_kind_of_credential_opens_rest_and_soap() {
    for (credentials, on_rest, on_soap, expected) in [
        (format!("{OAUTH}}}"), Credential::Bearer, true, [1, 0, 0]),
        (format!("{API_KEY}}}"), Credential::ApiKey, false, [0, 0, 0]),
        (format!("{CONNECTION}}}"), Credential::Cookie, true, [0, 1, 0]),
        (format!("{SOAP_LOGIN}}}"), Credential::ZSession, true, [0, 0, 1]),
    ] {
        let house = house(options(), &credentials, &[]).await;
        let address = house.address();

        for _ in 0..3 {
            good(&ask(address, get()).await);
        }
        let ledger = house.tenant.ledger();
        assert_eq!(last_credential(&ledger), Some(on_rest), "{credentials}");
        assert_eq!(logins(&ledger), expected, "{credentials}");
        assert_eq!(ledger.credentials.len(), 1, "one kind on each call: {:?}", ledger.credentials);

        let answer = ask(address, soap_query()).await;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        if on_soap {
            good(&answer);
            let ledger = house.tenant.ledger();
            assert_eq!(ledger.executed.last().unwrap().soap_call.as_deref(), Some("query"));
        } else {
            assert!(body.contains("Fault") && body.contains("soap_login"), "{body}");
        }
        let ledger = house.tenant.ledger();
        assert_eq!(logins(&ledger), expected, "{credentials}");
        assert_eq!(ledger.unauthenticated_calls, 0);
    }
}

#[tokio::test]
async fn a_soap_login_beside_another_serves_soap_calls_only() {
    for main in [OAUTH, API_KEY, CONNECTION] {
        let house = house(options(), &format!("{main}}}, {SOAP_LOGIN}}}"), &[]).await;

        good(&ask(house.address(), get()).await);
        let on_rest = last_credential(&house.tenant.ledger());
        good(&ask(house.address(), soap_query()).await);

        let ledger = house.tenant.ledger();
        assert_ne!(on_rest, Some(Credential::ZSession), "{main}");
        assert_eq!(last_credential(&ledger), Some(Credential::SoapSession), "{main}");
        assert_eq!(ledger.soap_logins, 1);
        let shown = &state(house.gateway.admin_address()).await["tenants"][0]["tokens"];
        assert_eq!((&shown[0]["for_soap"], &shown[1]["for_soap"]), (&false.into(), &true.into()));
    }
}

/// Makes the tenant take this name and its secret, in every way, and nobody else.
fn take_only(tenant: &Tenant, id: &str) {
    let secret = format!("{id}-secret");
    tenant.set_clients(&[(id, &secret)]);
    tenant.set_api_keys(&[(id, &secret)]);
    tenant.set_soap_users(&[(id, &secret)]);
}

#[tokio::test]
async fn a_secret_can_be_exchanged_here_before_it_is_at_zuora() {
    for (credentials, name, secret) in [
        (OAUTH, "client_id", "client_secret"),
        (API_KEY, "id", "secret"),
        (CONNECTION, "id", "secret"),
        (SOAP_LOGIN, "username", "password"),
    ] {
        let previous = format!("previous: {{{name}: old, {secret}: old-secret}}");
        let tenant = Tenant::start(options()).await.unwrap();
        take_only(&tenant, "old");
        let (yaml, base_url) =
            (yaml(&tenant, &format!("{credentials}, {previous}}}"), &[]), tenant.base_url());
        let house = House::before(tenant, &base_url, &yaml).await;
        let user = || house.tenant.ledger().executed.last().unwrap().user.clone();

        good(&ask(house.address(), get()).await);
        assert_eq!(user().as_deref(), Some("old"), "{credentials}");
        let shown = state(house.gateway.admin_address()).await["tenants"][0]["tokens"][0].clone();
        assert_eq!(shown["of_previous_credentials"], true, "{credentials}");
        skip(YOUNG).await;

        // Now it is there, and the old one no more.
        take_only(&house.tenant, "new");
        good(&ask(house.address(), get()).await);
        assert_eq!(user().as_deref(), Some("new"), "{credentials}");
        let shown = state(house.gateway.admin_address()).await["tenants"][0]["tokens"][0].clone();
        assert_eq!(shown["of_previous_credentials"], false, "{credentials}");
    }
}

#[tokio::test]
async fn a_secret_can_be_exchanged_without_a_restart_while_calls_are_made() {
    let tenant = Tenant::start(options()).await.unwrap();
    take_only(&tenant, "old");
    let old = OAUTH.replace("new", "old");
    let (before, base_url) = (yaml(&tenant, &format!("{old}}}"), &[]), tenant.base_url());
    let after = format!("{OAUTH}, previous: {{client_id: old, client_secret: old-secret}}}}");
    let after = yaml(&tenant, &after, &[]).text(&base_url, Path::new("/nowhere"));
    let after = config::parse(&after, Path::new("F"), &config::ProcessEnvironment).unwrap();
    let house = House::before(tenant, &base_url, &before).await;
    let address = house.address();
    good(&ask(address, get()).await);
    skip(YOUNG).await;

    let callers: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..100 {
                    good(&ask(address, get()).await);
                }
            })
        })
        .collect();
    house.gateway.reconfigure(&after).unwrap();
    eventually("is tried, and then the old one", async || {
        let state = state(house.gateway.admin_address()).await;
        let of_previous = state["tenants"][0]["tokens"][0]["of_previous_credentials"] == true;
        of_previous.then_some(()).ok_or(format!("{:?}", house.tenant.ledger().logins))
    })
    .await;
    skip(YOUNG).await;
    take_only(&house.tenant, "new");
    for caller in callers {
        caller.await.unwrap();
    }

    good(&ask(address, get()).await);
    let ledger = house.tenant.ledger();
    assert_eq!(ledger.executed.last().unwrap().user.as_deref(), Some("new"));
    assert!(ledger.token_calls <= 5, "{:?}", ledger.logins);
}

#[tokio::test]
async fn callers_never_hear_of_a_session_that_ended() {
    for (credentials, kind) in [(CONNECTION, 1), (SOAP_LOGIN, 2)] {
        for renew in ["timer", "on_error"] {
            let house = house(options(), &format!("{credentials}, renew: {renew}}}"), &[]).await;
            let address = house.address();
            good(&ask(address, get()).await);
            good(&ask(address, soap_query()).await);
            skip(YOUNG).await;

            house.tenant.end_sessions();
            good(&ask(address, get()).await);
            assert_eq!(logins(&house.tenant.ledger())[kind], 2, "{credentials} {renew}");
            skip(YOUNG).await;

            house.tenant.end_sessions();
            good(&ask(address, soap_query()).await);
            assert_eq!(logins(&house.tenant.ledger())[kind], 3, "{credentials} {renew}");
        }
    }
}

#[tokio::test]
async fn a_session_on_a_timer_outlives_a_night_without_calls() {
    for (credentials, kind) in [(CONNECTION, 1), (SOAP_LOGIN, 2)] {
        let house = house(options(), &format!("{credentials}}}"), &[]).await;
        good(&ask(house.address(), get()).await);

        for done in 1..=30 {
            eventually("logged in", async || {
                let logins = logins(&house.tenant.ledger())[kind];
                (logins == done).then_some(()).ok_or(format!("{logins} and not {done}"))
            })
            .await;
            skip(Duration::from_secs(600)).await;
        }
        good(&ask(house.address(), get()).await);

        assert_eq!(house.tenant.ledger().unauthenticated_calls, 0, "{credentials}");
    }
}

#[tokio::test]
async fn with_a_login_for_every_call_each_goes_with_a_session_of_its_own() {
    let house = house(options(), &format!("{SOAP_LOGIN}, renew: every_call}}"), &[]).await;
    let address = house.address();
    eventually("logged in", async || {
        (house.tenant.ledger().soap_logins == 1).then_some(()).ok_or(String::new())
    })
    .await;

    for number in 2..=4 {
        house.tenant.end_sessions();
        skip(Duration::from_millis(900)).await;
        let answer = ask(address, get()).await;
        good(&answer);
        assert_eq!(answer.header("zuora-gateway-attempts"), Some("1"));
        assert_eq!(answer.header("zuora-gateway-waited"), Some("token"));
        assert_eq!(house.tenant.ledger().soap_logins, number);
    }
    assert_eq!(house.tenant.ledger().unauthenticated_calls, 0);
}

#[tokio::test]
async fn each_entity_has_a_token_of_its_own_from_its_first_call_on() {
    let entities = format!("entities: [{GERMANY}, {FRANCE}]");
    for credentials in [OAUTH, CONNECTION, SOAP_LOGIN] {
        let options =
            Options { entities: vec![GERMANY.to_owned(), FRANCE.to_owned()], ..options() };
        let house = house(options, &format!("{credentials}}}"), &[&entities]).await;
        let address = house.address();
        let of = |ledger: &Ledger| ledger.executed.last().unwrap().entity.clone();

        good(&ask(address, get()).await);
        let ledger = house.tenant.ledger();
        assert_eq!(of(&ledger).as_deref(), Some(GERMANY), "{credentials}");
        assert_eq!(ledger.logins.len(), 1, "nobody asked for the others yet");
        for _ in 0..3 {
            good(&ask(address, get_of(FRANCE)).await);
        }
        let ledger = house.tenant.ledger();
        assert_eq!(of(&ledger).as_deref(), Some(FRANCE), "{credentials}");
        let named: Vec<_> =
            ledger.logins.iter().map(|login| plain(login.entity.as_deref())).collect();
        assert_eq!(named, [plain(Some(GERMANY)), plain(Some(FRANCE))], "{credentials}");
        assert!(ledger.logins.iter().all(|login| login.granted));
    }
}

/// An entity's id as the older of Zuora's APIs write it.
fn plain(id: Option<&str>) -> String {
    id.unwrap_or_default().replace('-', "")
}

#[tokio::test]
async fn whoever_names_none_of_several_entities_is_told_what_to_set() {
    let options = Options { entities: vec![GERMANY.to_owned(), FRANCE.to_owned()], ..options() };
    let house = house(options, &format!("{OAUTH}}}"), &[]).await;
    let address = house.address();

    for _ in 0..2 {
        let answer = ask(address, get()).await;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 400, "{body}");
        assert!(body.contains("Zuora-Entity-Ids") && body.contains("entities"), "{body}");
    }
    assert_eq!(house.tenant.ledger().executed_total, 0);
    good(&ask(address, get_of(FRANCE)).await);

    let one = Options { entities: vec![GERMANY.to_owned()], ..self::options() };
    let house = self::house(one, &format!("{OAUTH}}}"), &[]).await;
    good(&ask(house.address(), get()).await);
}

#[tokio::test]
async fn wrong_credentials_are_told_and_never_shown() {
    for (credentials, kind) in [
        (OAUTH, LoginKind::Token),
        (CONNECTION, LoginKind::Connection),
        (SOAP_LOGIN, LoginKind::Soap),
    ] {
        let tenant = Tenant::start(options()).await.unwrap();
        take_only(&tenant, "somebody-else");
        let yaml = yaml(&tenant, &format!("{credentials}}}"), &["queue: {timeout: 500ms}"]);
        let base_url = tenant.base_url();
        let house = House::before(tenant, &base_url, &yaml).await;

        let answer = ask(house.address(), get()).await;
        assert_eq!(answer.status, 503, "{credentials}");
        assert_eq!(answer.header("zuora-gateway-error"), Some("token-unavailable"));
        let state = state(house.gateway.admin_address()).await;
        assert_eq!(state["ready"], false);
        let trouble = state["tenants"][0]["token_trouble"].as_str().unwrap();
        assert!(trouble.contains("refuses the credentials"), "{trouble}");
        assert!(!state.to_string().contains("new-secret"));
        assert!(!String::from_utf8_lossy(&answer.body).contains("new-secret"));
        assert!(house.tenant.ledger().logins.iter().all(|it| it.kind == kind && !it.granted));
    }
}
