//! Multi-entity: what tokens and sessions reach, and how a call names one.

use emulator::{Options, ServiceTime, Tenant};
use serde_json::Value;

use crate::wire::{Raw, bearer, request, send, start};

const ONE: &str = "2c92c0f8-0000-4000-8000-000000000001";
const TWO: &str = "2c92c0f8-0000-4000-8000-000000000002";
const NOT_THERE: &str = "2c92c0f8-0000-4000-8000-000000000003";

async fn tenant(entity_required: bool) -> Tenant {
    start(Options {
        entities: vec![ONE.into(), TWO.into()],
        entity_names: vec![("Germany".into(), TWO.into())],
        entity_required,
        api_key: Some(("user".into(), "word".into())),
        service_time: ServiceTime::ZERO,
        ..Options::default()
    })
    .await
}

/// The answer to a token call with these headers.
async fn login(tenant: &Tenant, headers: &str) -> Raw {
    let form = "client_id=a&client_secret=b&grant_type=client_credentials";
    send(tenant.address(), &request("POST", "/oauth/token", headers, form)).await
}

fn token_of(answer: &Raw) -> String {
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// The status of a call, and the code of its reason.
async fn call(tenant: &Tenant, headers: &str) -> (u16, Value) {
    let call = request("GET", "/v1/accounts/A00000001", headers, "");
    let answer = send(tenant.address(), &call).await;
    (answer.status, answer.json()["reasons"][0]["code"].clone())
}

fn named(entity: &str) -> String {
    format!("Zuora-Entity-Ids: {entity}\r\n")
}

fn good() -> (u16, Value) {
    (200, Value::Null)
}

fn bad() -> (u16, Value) {
    (400, 90_000_020.into())
}

#[tokio::test]
async fn a_token_reaches_the_entity_that_it_was_asked_for() {
    let tenant = tenant(true).await;
    let answer = login(&tenant, &named(TWO)).await;
    let scope = answer.json()["scope"].as_str().unwrap().to_owned();
    let token = bearer(&token_of(&answer));

    assert!(scope.starts_with(&format!("entity.{TWO} ")), "{scope}");
    assert!(!scope.contains(ONE));
    assert_eq!(call(&tenant, &token).await, good(), "it is for one, so none need be named");
    assert_eq!(call(&tenant, &(token.clone() + &named(TWO))).await, good());
    assert_eq!(call(&tenant, &(token.clone() + &named(ONE))).await, bad());
    assert_eq!(call(&tenant, &(token + &named(NOT_THERE))).await, bad());
    assert_eq!(login(&tenant, &named(NOT_THERE)).await.status, 400);

    let ledger = tenant.ledger();
    assert!(ledger.executed.iter().all(|one| one.entity.as_deref() == Some(TWO)));
    assert!(ledger.executed.iter().all(|one| one.limit_type == format!("{TWO}/Default")));
    assert_eq!(ledger.logins[0].entity.as_deref(), Some(TWO));
    assert_eq!(
        (ledger.logins[1].entity.as_deref(), ledger.logins[1].granted),
        (Some(NOT_THERE), false)
    );
}

#[tokio::test]
async fn a_token_for_all_wants_one_to_be_named_where_that_is_required() {
    let (strict, lenient) = (tenant(true).await, tenant(false).await);

    for (tenant, without) in [(&strict, bad()), (&lenient, good())] {
        let answer = login(tenant, "").await;
        let scope = answer.json()["scope"].as_str().unwrap().to_owned();
        assert!(scope.contains(ONE) && scope.contains(TWO), "{scope}");
        let token = bearer(&token_of(&answer));
        assert_eq!(call(tenant, &token).await, without);
        for way in [
            named(TWO),
            format!("entityId: {}\r\n", TWO.replace('-', "")),
            "entityName: Germany\r\n".to_owned(),
        ] {
            assert_eq!(call(tenant, &(token.clone() + &way)).await, good(), "{way}");
        }
        let both = "entityId: 2c92c0f8000040008000000000000002\r\nentityName: Germany\r\n";
        assert_eq!(call(tenant, &(token.clone() + both)).await, bad());
    }
    let executed = strict.ledger().executed;
    assert!(executed.iter().all(|one| one.entity.as_deref() == Some(TWO)));
    assert_eq!(lenient.ledger().executed[0].entity.as_deref(), Some(ONE), "the first is meant");
}

#[tokio::test]
async fn sessions_are_for_entities_too() {
    let tenant = tenant(true).await;
    let keys = "apiAccessKeyId: user\r\napiSecretAccessKey: word\r\n";
    let connect = request("POST", "/v1/connections", &(keys.to_owned() + &named(TWO)), "");
    let connected = send(tenant.address(), &connect).await;
    let cookie = format!("Cookie: {}\r\n", connected.header("set-cookie").unwrap());

    assert_eq!(call(&tenant, &cookie).await, good());
    assert_eq!(call(&tenant, &(cookie + &named(ONE))).await, bad());
    assert_eq!(call(&tenant, keys).await, good(), "an API user has a first entity");
    let body = format!(
        "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body>\
         <login xmlns=\"http://api.zuora.com/\"><username>u</username><password>p</password>\
         <entityId>{}</entityId></login></e:Body></e:Envelope>",
        TWO.replace('-', "")
    );
    let soap = send(tenant.address(), &request("POST", "/apps/services/a/91.0", "", &body)).await;
    let soap = String::from_utf8(soap.body).unwrap();
    let session = soap.split("Session>").nth(1).unwrap().split('<').next().unwrap();
    let session = format!("Authorization: ZSession {session}\r\n");
    assert_eq!(call(&tenant, &session).await, good());
    assert_eq!(call(&tenant, &(session + &named(ONE))).await, bad());

    let entities: Vec<_> =
        tenant.ledger().executed.into_iter().filter_map(|one| one.entity).collect();
    assert_eq!(entities, [TWO, ONE, TWO]);
}
