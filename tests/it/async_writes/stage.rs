//! What every scene of asynchronous writes has in common: a tenant whose outcomes are called out, the apps, the callouts.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use testkit::{Answer, Raw, SECRET, Yaml};
use tokio::time::{Instant, sleep};

use crate::wire::attack::{Exchange, Scene};
use crate::wire::upstream::{Message, Play};

/// Who Zuora is to the gateway.
pub(super) const USER: &str = "zuora-callouts";
pub(super) const PASSWORD: &str = "the-password-of-the-callouts";

/// The secret of the app `other`.
pub(super) const OTHER_SECRET: &str = "the-secret-of-the-other-app";

/// A body with what a parser would change: order, spaces, numbers, a key twice.
pub(super) const BODY: &str =
    "{ \"name\":\"Caf\\u00e9\", \"n\":1.0E-9,\"currency\":\"USD\",\n\t\"d\":1,\"d\":2 }";

/// What the tenant's `async` says, with these entries of `rewrite` and further keys.
pub(super) fn key(rewrite: &str, further: &str) -> String {
    let callouts = format!(
        "{{public_url: \"https://gateway.example.com\", username: {USER}, password: {PASSWORD}}}"
    );
    format!("async: {{callouts: {callouts}, rewrite: [{rewrite}]{further}}}")
}

/// The default configuration with the app `other`, and with `async` as [`key`] makes it.
pub(super) fn yaml(rewrite: &str, further: &str) -> Yaml {
    Yaml {
        tenant: vec![key(rewrite, further)],
        apps: vec![(
            "other".to_owned(),
            format!("client_id: 11111111-2222-4333-8444-555555555555, secret: {OTHER_SECRET}"),
        )],
        ..Yaml::default()
    }
}

/// A gateway before a tenant of sockets.
pub(super) struct Stage {
    pub(super) scene: Scene,
}

impl Stage {
    /// A tenant that calls out, where apps may ask for any operation.
    pub(super) async fn start() -> Self {
        Self::with(&yaml("", "")).await
    }

    pub(super) async fn with(yaml: &Yaml) -> Self {
        Self { scene: Scene::with(yaml).await }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.scene.address()
    }

    /// Sends `bytes`, which the tenant answers with `play`: the answer, and everything that the tenant received.
    pub(super) async fn ask(
        &self,
        name: &str,
        play: Play,
        bytes: impl AsRef<[u8]>,
    ) -> (Answer, Vec<Message>) {
        self.scene.upstream.forget();
        self.scene.upstream.play(play);
        let answer = self.scene.exchange(name, bytes).await.answer;
        let received = self.scene.upstream.requests();
        (answer, received)
    }

    /// Has a write accepted, and returns where its outcome will be.
    pub(super) async fn accepted(&self, track_id: &str, request_id: &str) -> String {
        let play = accepts(&json!({"requestId": request_id}).to_string());
        let (answer, received) = self.ask(track_id, play, asking(track_id)).await;
        assert_eq!(answer.status, 202, "{track_id}: {answer:?}");
        assert_eq!(received.len(), 1, "{track_id}: {received:?}");
        location(&answer)
    }

    /// What the app is told at `target`.
    pub(super) async fn look(&self, target: &str) -> Answer {
        look(self.address(), target, SECRET).await
    }

    /// Delivers a callout as Zuora would that knows it will be asked who it is.
    pub(super) async fn deliver(&self, notification: &str, body: &str) -> Answer {
        deliver(self.address(), notification, body).await
    }
}

/// What the app with `secret` is told at `target`.
pub(super) async fn look(address: SocketAddr, target: &str, secret: &str) -> Answer {
    let asked = format!(
        "GET {target} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n"
    );
    let raw = Raw::connect_as_stranger(address).await;
    told(target, raw, &asked).await
}

/// Writes `bytes`, and reads an answer, which has no secret in it.
pub(super) async fn told(name: &str, mut raw: Raw, bytes: &str) -> Answer {
    raw.write(bytes).await;
    let answer = Exchange::read(name, raw).await.answer;
    let text = format!("{:?} {}", answer.fields, answer.text());
    assert!(!text.contains(PASSWORD) && !text.contains(OTHER_SECRET), "{name}: {text}");
    answer
}

/// A callout with the right credential, sent without being asked for it.
pub(super) async fn deliver(address: SocketAddr, notification: &str, body: &str) -> Answer {
    let raw = Raw::connect_as_stranger(address).await;
    told("a callout", raw, &callout("production", &basic(USER, PASSWORD), notification, body)).await
}

/// A callout as Zuora sends it to `tenant`, with this `Authorization` field, or none.
pub(super) fn callout(tenant: &str, authorization: &str, notification: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /_gateway/callouts/{tenant} HTTP/1.1\r\nHost: gateway.example.com\r\n{authorization}\
         Content-Type: application/json\r\nZuora-Request-Id: 0f0e0d0c0b0a09080706050403020100\r\n\
         Zuora-Notification-Id: {notification}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// What Zuora says of a request that it did.
pub(super) fn succeeded(request_id: &str, track_id: &str, id: &str) -> String {
    json!({
        "createTime": "2026-03-03T10:33:12Z",
        "completeTime": "2026-03-03T10:34:22Z",
        "request": {"id": request_id, "method": "POST", "url": "/v1/accounts", "trackId": track_id},
        "state": "succeeded",
        "data": {"id": id},
    })
    .to_string()
}

/// What Zuora says of a request that it could not do.
pub(super) fn failed(request_id: &str, track_id: &str, message: &str) -> String {
    json!({
        "createTime": "2026-03-03T10:33:12Z",
        "completeTime": "2026-03-03T10:34:22Z",
        "request": {"id": request_id, "method": "POST", "url": "/v1/accounts", "trackId": track_id},
        "state": "failed",
        "reasons": [{"code": "53100020", "message": message}],
        "processId": "3F7EA3FD706C7E7C",
    })
    .to_string()
}

/// A write of the app, with its own credential, a JSON body, and further fields.
pub(super) fn write(method: &str, target: &str, fields: &str, body: &str) -> String {
    write_of(SECRET, method, target, fields, body)
}

pub(super) fn write_of(
    secret: &str,
    method: &str,
    target: &str,
    fields: &str,
    body: &str,
) -> String {
    let mut text = format!(
        "{method} {target} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {secret}\r\n{fields}"
    );
    if !fields.to_lowercase().contains("content-type:") {
        text.push_str("Content-Type: application/json\r\n");
    }
    let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
    text
}

/// `POST /v1/accounts` of the app, with this track id, which may take its time.
pub(super) fn asking(track_id: &str) -> String {
    asking_with(track_id, "respond-async")
}

/// The same with another wish.
pub(super) fn asking_with(track_id: &str, prefer: &str) -> String {
    let fields = format!("Prefer: {prefer}\r\nZuora-Track-Id: {track_id}\r\n");
    write("POST", "/v1/accounts", &fields, BODY)
}

/// Zuora takes the request, and says so with this body.
pub(super) fn accepts(body: &str) -> Play {
    Play::send(on_the_wire("202 Accepted", body))
}

pub(super) fn on_the_wire(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[track_caller]
pub(super) fn location(answer: &Answer) -> String {
    answer.field("location").unwrap_or_else(|| panic!("no location: {answer:?}")).to_owned()
}

#[track_caller]
pub(super) fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// The value of a line of metrics that begins with `name` and has all of `labels`; 0 if there is none.
pub(super) fn metric(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |line: &str| {
        labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
    };
    let lines = text.lines().filter(|line| {
        line.strip_prefix("zuora_gateway_")
            .and_then(|it| it.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && has(line)
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Asks again and again until `is_so` says yes to the answer, at most so long.
pub(super) async fn until(
    what: &str,
    most: Duration,
    mut ask: impl AsyncFnMut() -> Answer,
    is_so: impl Fn(&Answer) -> bool,
) -> Answer {
    let end = Instant::now() + most;
    loop {
        let answer = ask().await;
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "not so in {most:?}: {what}: {answer:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
