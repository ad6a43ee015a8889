//! The doors by which apps come in. The judges are what whoami says, and a tenant of sockets, which must find nothing
//! of what an app proved itself with.

mod agreement;
mod certificates;
mod connections;
mod cookies;
mod http2;
mod keys;
mod slowed;
mod told;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use testkit::{APP, Answer, SECRET, Yaml};

use crate::wire::attack::Scene;
use crate::wire::upstream::{Message, SHARED_TOKEN};

const OTHER: &str = "11111111-2222-4333-8444-555555555555";
const OTHER_SECRET: &str = "the-secret-of-the-other-app";

/// An app as its programs know it.
struct Known {
    name: &'static str,
    id: &'static str,
    secret: &'static str,
}

const THE_APP: Known = Known { name: "app", id: APP, secret: SECRET };
const THE_OTHER: Known = Known { name: "other", id: OTHER, secret: OTHER_SECRET };

/// A way to prove oneself: the fields that do it, each ended by CR LF, and what in them is nobody else's business.
#[derive(Clone, Debug)]
struct Door {
    name: &'static str,
    fields: String,
    secrets: Vec<String>,
}

impl Door {
    fn new(name: &'static str, fields: String, secrets: &[&str]) -> Self {
        Self { name, fields, secrets: secrets.iter().map(|it| (*it).to_owned()).collect() }
    }

    /// Whether both want the same field, which a request may have once.
    fn shares_a_field_with(&self, other: &Self) -> bool {
        let names = |door: &Self| -> Vec<String> {
            let lines = door.fields.lines();
            lines.map(|it| it.split(':').next().unwrap_or_default().to_lowercase()).collect()
        };
        names(self).iter().any(|name| names(other).contains(name))
    }
}

async fn scene(top: &[&str]) -> Scene {
    let other = ("other".to_owned(), format!("client_id: {OTHER}, secret: {OTHER_SECRET}"));
    let top = top.iter().map(|it| (*it).to_owned()).collect();
    Scene::with(&Yaml { apps: vec![other], top, ..Yaml::default() }).await
}

/// A request with these fields as its only credentials.
fn with(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: gw\r\n{fields}\r\n")
}

/// Every door of an app, in the spellings that published clients use.
async fn doors(scene: &Scene, app: &Known) -> Vec<Door> {
    let Known { name, id, secret } = app;
    let basic = |user: &str| BASE64_STANDARD.encode(format!("{user}:{secret}"));
    let token = granted(scene, app).await;
    let session = session(scene, app).await;
    let (by_name, by_id) = (basic(name), basic(id));
    vec![
        Door::new("bearer", format!("Authorization: Bearer {secret}\r\n"), &[secret]),
        Door::new("bearer in lower case", format!("authorization: bearer {secret}\r\n"), &[secret]),
        Door::new(
            "basic by name",
            format!("Authorization: Basic {by_name}\r\n"),
            &[secret, &by_name],
        ),
        Door::new(
            "basic by id",
            format!("AUTHORIZATION: BASIC {by_id}\r\n"),
            &[secret, &by_id, id],
        ),
        Door::new(
            "keys by id",
            format!("apiAccessKeyId: {id}\r\napiSecretAccessKey: {secret}\r\n"),
            &[secret, id],
        ),
        Door::new(
            "keys by name in lower case",
            format!("apiaccesskeyid: {name}\r\napisecretaccesskey: {secret}\r\n"),
            &[secret],
        ),
        Door::new("a token of ours", format!("Authorization: Bearer {token}\r\n"), &[&token]),
        Door::new("a cookie of ours", format!("Cookie: ZSession={session}\r\n"), &[&session]),
        Door::new(
            "a session of ours",
            format!("Authorization: ZSession {session}\r\n"),
            &[&session],
        ),
    ]
}

/// A token from `POST /oauth/token`.
async fn granted(scene: &Scene, app: &Known) -> String {
    let form =
        format!("grant_type=client_credentials&client_id={}&client_secret={}", app.id, app.secret);
    let fields = format!(
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
        form.len()
    );
    let asked = with("POST /oauth/token", &fields) + &form;
    let answer = scene.exchange("a door", asked).await.answer;
    assert_eq!(answer.status, 200, "{answer:?}");
    let json: Value = serde_json::from_slice(&answer.body).unwrap();
    json["access_token"].as_str().unwrap().to_owned()
}

/// The value of the cookie that `POST /v1/connections` sets.
async fn session(scene: &Scene, app: &Known) -> String {
    let keys = format!(
        "apiAccessKeyId: {}\r\napiSecretAccessKey: {}\r\nContent-Length: 0\r\n",
        app.id, app.secret
    );
    let answer = scene.exchange("a door", with("POST /v1/connections", &keys)).await.answer;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.field("set-cookie").unwrap();
    let value = cookie.strip_prefix("ZSession=").unwrap().split(';').next().unwrap();
    value.to_owned()
}

/// Which app the gateway takes the sender of these fields for; `None` if for nobody.
async fn whose(scene: &Scene, fields: &str) -> Option<String> {
    let answer = scene.exchange("a door", with("GET /_gateway/whoami", fields)).await.answer;
    if answer.status == 401 {
        assert!(answer.field("www-authenticate").is_some(), "{fields}: {answer:?}");
        return None;
    }
    assert_eq!(answer.status, 200, "{fields}: {answer:?}");
    let json: Value = serde_json::from_slice(&answer.body).unwrap();
    Some(json["app"].as_str().unwrap().to_owned())
}

/// These fields are good, and the tenant sees the gateway's own credential in their place.
async fn is_let_in(scene: &Scene, door: &Door, app: &Known) -> Answer {
    assert_eq!(whose(scene, &door.fields).await.as_deref(), Some(app.name), "{door:?}");
    let (answer, received) = scene.ask(door.name, with("GET /v1/accounts/A1", &door.fields)).await;
    assert_eq!(answer.status, 200, "{door:?}: {answer:?}");
    is_clean(door, &received);
    answer
}

/// Nobody is let in by these fields, and the tenant hears nothing.
async fn is_turned_away(scene: &Scene, what: &str, fields: &str) {
    scene.upstream.forget();
    let answer = scene.exchange(what, with("GET /v1/accounts/A1", fields)).await.answer;
    assert_eq!(answer.status, 401, "{what}: {fields:?}: {answer:?}");
    assert!(answer.field("www-authenticate").is_some(), "{what}: {answer:?}");
    assert_eq!(answer.field("zuora-gateway-error"), Some("unauthenticated"), "{what}: {answer:?}");
    let shape: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (&shape["success"], &shape["reasons"][0]["code"]),
        (&false.into(), &90_000_011.into())
    );
    assert_eq!(scene.upstream.received().len(), 0, "{what}: {fields:?}");
    assert_eq!(whose(scene, fields).await, None, "{what}: {fields:?}");
}

/// Nothing that an app proved itself with is in what the tenant received, and exactly one credential is.
fn is_clean(door: &Door, received: &Message) {
    let text = received.text();
    assert_eq!(
        received.fields("authorization"),
        [format!("Bearer {SHARED_TOKEN}")],
        "{door:?}: {text}"
    );
    for secret in &door.secrets {
        assert!(!text.contains(secret), "{door:?}: {text}");
    }
    for field in ["cookie", "apiaccesskeyid", "apisecretaccesskey", "proxy-authorization"] {
        assert!(received.fields(field).is_empty(), "{door:?}: {text}");
    }
}
