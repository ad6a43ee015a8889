//! SOAP clients before the emulated tenant: they log in with an app's own name and secret, call with what they got, and
//! never hear how the gateway proves itself to Zuora.

use std::time::Duration;

use emulator::{Credential, Options, ServiceTime, Tenant};
use http::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{APP, House, SECRET, Yaml};

use crate::caller::{Answer, ask, request};
use crate::promises::skip;
use crate::running::Running;

const PATH: &str = "/apps/services/a/91.0";
const QUERY: &str =
    "<a:query><a:queryString>select Id from Account where Name = 'x'</a:queryString></a:query>";
const CREATE: &str = "<a:create><a:zObjects xsi:type=\"o:Account\"><o:Name>A</o:Name><o:Currency>USD</o:Currency></a:zObjects></a:create>";

const GERMANY: &str = "2c92a0f9-1111-4222-8333-6bd69165016a";
const FRANCE: &str = "2c92a0f9-1111-4222-8333-6bd69165016b";

/// An envelope as stacks write them, with a session if there is one.
fn envelope(session: Option<&str>, call: &str) -> String {
    let header = session.map_or(String::new(), |session| {
        format!("<env:Header><a:SessionHeader><a:session>{session}</a:session></a:SessionHeader></env:Header>")
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<env:Envelope xmlns:env=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:a=\"http://api.zuora.com/\" xmlns:o=\"http://object.api.zuora.com/\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">{header}<env:Body>{call}</env:Body></env:Envelope>"
    )
}

async fn send(address: std::net::SocketAddr, path: &str, envelope: &str) -> Answer {
    let mut call = request(Method::POST, path, envelope);
    call.headers_mut().remove("authorization");
    call.headers_mut().insert("content-type", "text/xml; charset=utf-8".parse().unwrap());
    call.headers_mut().insert("soapaction", "\"\"".parse().unwrap());
    ask(address, call).await
}

fn login(username: &str, password: &str, entity: &str) -> String {
    envelope(
        None,
        &format!(
            "<a:login><a:username>{username}</a:username><a:password>{password}</a:password>{entity}</a:login>"
        ),
    )
}

/// The text of the first element of this name.
fn text(answer: &Answer, name: &str) -> Option<String> {
    let body = str::from_utf8(&answer.body).unwrap();
    let (_, rest) = body.split_once(&format!("{name}>"))?;
    Some(rest.split_once('<')?.0.to_owned())
}

/// Logs in, and returns the session.
async fn session(house: &House, entity: &str) -> String {
    let answer = send(house.address(), PATH, &login(APP, SECRET, entity)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let address = text(&answer, "ServerUrl").unwrap();
    assert_eq!(address, format!("http://gw{PATH}"), "as it was asked: `Host: gw`");
    text(&answer, "Session").unwrap()
}

async fn house(options: Options, lines: &[&str]) -> House {
    let service_time = ServiceTime::Constant(Duration::ZERO);
    let tenant = Tenant::start(Options { service_time, ..options }).await.unwrap();
    let base_url = tenant.base_url();
    let mut lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
    lines.push(format!("soap_url: {base_url}"));
    House::before(tenant, &base_url, &Yaml { tenant: lines, ..Yaml::default() }).await
}

/// What the tenant takes.
fn options() -> Options {
    Options {
        api_key: Some(("key-user".into(), "key-password".into())),
        soap_user: Some(("soap-user".into(), "soap-password".into())),
        ..Options::default()
    }
}

const OAUTH: &str =
    "credentials: {oauth: {client_id: the-gateway, client_secret: the-secret-of-the-gateway}}";
const CONNECTION: &str = "credentials: {connection: {id: key-user, secret: key-password}}";
const SOAP_LOGIN: &str =
    "credentials: {soap_login: {username: soap-user, password: soap-password}}";
const KEY_AND_LOGIN: &str = "credentials: {api_key: {id: key-user, secret: key-password}, soap_login: {username: soap-user, password: soap-password}}";

#[tokio::test]
async fn a_soap_client_works_behind_every_kind_of_credential() {
    for (credentials, user) in [
        (OAUTH, "the-gateway"),
        (CONNECTION, "key-user"),
        (SOAP_LOGIN, "soap-user"),
        (KEY_AND_LOGIN, "soap-user"),
    ] {
        let house = house(options(), &[credentials]).await;
        let ours = session(&house, "").await;
        let before = house.tenant.ledger().soap_logins;

        for call in [QUERY, CREATE, "<a:getUserInfo/>"] {
            let answer = send(house.address(), PATH, &envelope(Some(&ours), call)).await;
            assert_eq!(answer.status, StatusCode::OK, "{credentials}: {answer:?}");
        }

        let ledger = house.tenant.ledger();
        let calls: Vec<_> =
            ledger.executed.iter().filter_map(|one| one.soap_call.as_deref()).collect();
        assert_eq!(calls, ["query", "create", "getUserInfo"], "{credentials}");
        assert!(ledger.executed.iter().all(|one| one.user.as_deref() == Some(user)), "{ledger:#?}");
        assert_eq!(ledger.effective().count(), 1);
        assert_eq!(ledger.unauthenticated_calls, 0);
        assert!(before <= 1 && ledger.soap_logins <= 1, "one login for everybody");
    }
}

#[tokio::test]
async fn a_call_with_an_apps_credential_in_its_fields_needs_no_session() {
    let house = house(options(), &[KEY_AND_LOGIN]).await;
    let mut call = request(Method::POST, PATH, &envelope(None, QUERY));
    call.headers_mut().insert("content-type", "text/xml".parse().unwrap());

    let answer = ask(house.address(), call).await;

    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let executed = &house.tenant.ledger().executed[0];
    assert_eq!(executed.credential, Some(Credential::SoapSession));
}

#[tokio::test]
async fn a_key_alone_has_no_form_in_an_envelope() {
    let only = "credentials: {api_key: {id: key-user, secret: key-password}}";
    let house = house(options(), &[only]).await;
    let ours = session(&house, "").await;

    let answer = send(house.address(), PATH, &envelope(Some(&ours), QUERY)).await;

    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    assert!(text(&answer, "faultstring").unwrap().contains("soap_login"), "{answer:?}");
    assert_eq!(house.tenant.ledger().executed_total, 0);
}

#[tokio::test]
async fn a_session_that_ends_at_zuora_is_nobodys_trouble() {
    for credentials in [OAUTH, CONNECTION, SOAP_LOGIN] {
        let house = house(options(), &[credentials]).await;
        let ours = session(&house, "").await;
        let call = envelope(Some(&ours), CREATE);
        assert_eq!(send(house.address(), PATH, &call).await.status, StatusCode::OK);
        // One that is younger is not replaced because of a refusal.
        skip(Duration::from_secs(10)).await;
        house.tenant.end_sessions();
        house.tenant.revoke_tokens();

        let answer = send(house.address(), PATH, &call).await;

        assert_eq!(answer.status, StatusCode::OK, "{credentials}: {answer:?}");
        assert_eq!(answer.header("zuora-gateway-attempts"), Some("2"));
        let ledger = house.tenant.ledger();
        assert_eq!(ledger.effective().count(), 2, "each once");
        assert!(ledger.executed_twice().is_empty());
    }
}

#[tokio::test]
async fn a_login_for_an_entity_stands_for_it() {
    let options = Options {
        entities: vec![GERMANY.into(), FRANCE.into()],
        entity_names: vec![("La France".into(), FRANCE.into())],
        ..options()
    };
    let entities = format!("entities: [{GERMANY}, {{id: {FRANCE}, name: \"La France\"}}]");
    let house = house(options, &[OAUTH, &entities]).await;
    let bare = FRANCE.replace('-', "");
    for (named, entity) in [
        (String::new(), GERMANY),
        (format!("<a:entityId>{bare}</a:entityId>"), FRANCE),
        ("<a:entityName>La France</a:entityName>".to_owned(), FRANCE),
    ] {
        let ours = session(&house, &named).await;

        let answer = send(house.address(), PATH, &envelope(Some(&ours), QUERY)).await;

        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let executed = house.tenant.ledger().executed.pop().unwrap();
        assert_eq!(executed.entity.as_deref(), Some(entity), "{named}");
    }
    let unknown = "<a:entityId>2c92a0f9111142228333ffffffffffff</a:entityId>";
    let answer = send(house.address(), PATH, &login(APP, SECRET, unknown)).await;
    assert!(text(&answer, "faultstring").unwrap().contains("entity"), "{answer:?}");
}

#[tokio::test]
async fn a_prefix_that_means_the_tenant_is_in_the_address_and_hides_no_call() {
    let house = house(options(), &["path_prefix: /sandbox"]).await;
    let path = format!("/sandbox{PATH}");

    let answer = send(house.address(), &path, &login(APP, SECRET, "")).await;
    let ours = text(&answer, "Session").unwrap();
    assert_eq!(text(&answer, "ServerUrl").unwrap(), format!("http://gw{path}"));
    let answer = send(house.address(), &path, &envelope(Some(&ours), QUERY)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");

    let two = envelope(Some(&ours), &format!("{QUERY}{CREATE}"));
    let refused = send(house.address(), &path, &two).await;
    assert_eq!(refused.header("zuora-gateway-error"), Some("bad-request"), "{refused:?}");
    assert_eq!(house.tenant.ledger().executed_total, 1);
}

#[tokio::test]
async fn policy_judges_soap_calls_by_their_names() {
    let tenant = Tenant::start(options()).await.unwrap();
    let base_url = tenant.base_url();
    let yaml = Yaml {
        tenant: vec![format!("soap_url: {base_url}")],
        app: vec![
            r#"allow: ["SOAP query", "SOAP create"]"#.into(),
            r#"deny: ["SOAP create"]"#.into(),
        ],
        ..Yaml::default()
    };
    let house = House::before(tenant, &base_url, &yaml).await;
    let ours = session(&house, "").await;

    let denied = "an entry of `deny` refuses it: `SOAP create`";
    let calls = [
        (QUERY, 200, ""),
        (CREATE, 500, denied),
        ("<a:delete/>", 500, "no entry of `allow` names it"),
        ("<a:CREATE/>", 500, denied),
    ];
    for (call, status, why) in calls {
        let answer = send(house.address(), PATH, &envelope(Some(&ours), call)).await;
        assert_eq!(answer.status.as_u16(), status, "{call}: {answer:?}");
        let reason = (status == 500).then_some("forbidden");
        assert_eq!(answer.header("zuora-gateway-error"), reason);
        assert!(String::from_utf8_lossy(&answer.body).contains(why), "{call}: {answer:?}");
    }
    let names: Vec<_> =
        house.tenant.ledger().executed.into_iter().filter_map(|one| one.soap_call).collect();
    assert_eq!(names, ["query"]);
}

#[tokio::test]
async fn the_log_names_the_app_and_the_call_and_no_secret() {
    let (tenant, directory) = (Tenant::start(options()).await.unwrap(), TempDir::new().unwrap());
    let yaml = Yaml { tenant: vec![format!("soap_url: {}", tenant.base_url())], ..Yaml::default() };
    let running = Running::before(&tenant, &yaml, &directory).await;

    let logged_in = send(running.address, PATH, &login(APP, SECRET, "")).await;
    let ours = text(&logged_in, "Session").unwrap();
    send(running.address, PATH, &login(APP, "not-the-password", "")).await;
    send(running.address, PATH, &envelope(Some(&ours), QUERY)).await;
    send(running.address, PATH, &envelope(Some(&format!("{ours}x")), QUERY)).await;
    send(running.address, PATH, &envelope(Some("made-up-session"), "<a:mine/>")).await;
    send(running.address, PATH, "<not-an-envelope>").await;

    let ended = running.stop().await;
    let lines: Vec<Value> =
        ended.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let calls: Vec<_> = lines.iter().filter(|line| line["target"] == "access").collect();
    let told = |name: &str| -> Vec<_> {
        calls.iter().map(|line| line[name].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(told("soap_call"), ["login", "login", "query", "query", "other", "-"]);
    assert_eq!(told("app"), ["app", "", "app", "", "", ""]);
    assert_eq!(told("claimed_app")[1], "app");
    assert!(told("operation").iter().all(|operation| operation == "SOAP"));
    let text = ended.lines.join("\n") + &ended.errors;
    for secret in
        [SECRET, "not-the-password", &*ours, "made-up-session", "the-secret-of-the-gateway"]
    {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}
