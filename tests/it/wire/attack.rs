//! A gateway between sockets, and what every attack on it has in common.

use std::net::SocketAddr;
use std::time::Duration;

use emulator::{Options, Tenant};
use testkit::{Answer, House, Raw, SECRET, Yaml};
use tokio::time::{sleep, timeout};

use super::upstream::{Message, RawUpstream, SHARED_TOKEN};

/// How long the gateway may take to answer anything here.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request that hides behind another, with a credential, so that it would be served.
pub(crate) const HIDDEN: &str =
    "GET /v1/hidden HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer the-secret-of-the-app\r\n\r\n";

/// A gateway in front of a [`RawUpstream`].
pub(crate) struct Scene {
    pub(crate) house: House,
    pub(crate) upstream: RawUpstream,
}

/// An answer, and the connection that it came on.
pub(crate) struct Exchange {
    pub(crate) answer: Answer,
    raw: Raw,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        Self::with(&Yaml::default()).await
    }

    /// What is sent is sent once: for what a single answer means.
    pub(crate) async fn of_one_attempt() -> Self {
        Self::of_tenant("retry: {attempts: 1}").await
    }

    /// Zuora cannot tell one write from another like it.
    pub(crate) async fn without_keys() -> Self {
        Self::of_tenant("retry: {mint_idempotency_keys: false}").await
    }

    async fn of_tenant(key: &str) -> Self {
        Self::with(&Yaml { tenant: vec![key.to_owned()], ..Yaml::default() }).await
    }

    pub(crate) async fn with(yaml: &Yaml) -> Self {
        Self::before(RawUpstream::start().await, yaml).await
    }

    pub(crate) async fn before(upstream: RawUpstream, yaml: &Yaml) -> Self {
        let unused = Tenant::start(Options::default()).await.unwrap();
        let house = House::before(unused, &upstream.url(), yaml).await;
        Self { house, upstream }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.house.address()
    }

    /// Writes `bytes` on a fresh connection, as somebody who has never called before, and reads an answer.
    pub(crate) async fn exchange(&self, name: &str, bytes: impl AsRef<[u8]>) -> Exchange {
        let mut raw = Raw::connect_as_stranger(self.address()).await;
        raw.write(bytes).await;
        Exchange::read(name, raw).await
    }

    /// Asks for an account, and returns the answer with what the tenant received, which must be one request.
    pub(crate) async fn ask(&self, name: &str, bytes: impl AsRef<[u8]>) -> (Answer, Message) {
        self.upstream.forget();
        let Exchange { answer, .. } = self.exchange(name, bytes).await;
        let mut requests = self.upstream.requests();
        assert_eq!(requests.len(), 1, "{name}: {answer:?} {requests:?}");
        (answer, requests.remove(0))
    }

    /// The next caller is served, whatever the one before did.
    pub(crate) async fn serves(&self, name: &str) {
        self.upstream.forget();
        let Exchange { answer, .. } = self.exchange(name, get("/v1/next", "")).await;
        assert_eq!(answer.status, 200, "the caller after `{name}`: {answer:?}");
        assert_eq!(answer.body, br#"{"success":true}"#, "the caller after `{name}`");
        assert_eq!(self.upstream.lines(), ["GET /v1/next HTTP/1.1"], "the caller after `{name}`");
    }

    /// `bytes` are refused with one of `statuses` (0: the connection ends without an answer), the connection ends, and
    /// the tenant hears nothing.
    pub(crate) async fn refuses(&self, name: &str, bytes: impl AsRef<[u8]>, statuses: &[u16]) {
        self.upstream.forget();
        let exchange = self.exchange(name, bytes).await;
        let status = exchange.answer.status;
        assert!(statuses.contains(&status), "{name}: {:?}", exchange.answer);
        exchange.ends_with_it(name).await;
        assert_eq!(self.upstream.requests(), [], "{name}");
        self.serves(name).await;
    }

    /// `bytes` are refused with `status`; the connection may go on, as it can be read in one way only.
    pub(crate) async fn turns_away(&self, name: &str, bytes: impl AsRef<[u8]>, statuses: &[u16]) {
        self.upstream.forget();
        let exchange = self.exchange(name, bytes).await;
        assert!(statuses.contains(&exchange.answer.status), "{name}: {:?}", exchange.answer);
        assert_eq!(self.upstream.received().len(), 0, "{name}");
        self.serves(name).await;
    }

    /// Calls that wait, and permits that are out.
    pub(crate) fn queued_and_in_use(&self) -> (usize, u32) {
        let snapshot = self.house.gateway.admissions()[0].1.snapshot();
        (snapshot.queued, snapshot.in_use)
    }
}

impl Exchange {
    pub(crate) async fn read(name: &str, mut raw: Raw) -> Self {
        let answer = timeout(PATIENCE, raw.answer()).await;
        let answer = answer.unwrap_or_else(|_| panic!("{name}: no answer in {PATIENCE:?}"));
        tells_no_secret(name, &answer);
        Self { answer, raw }
    }

    /// The connection ends, and nothing more is answered on it.
    pub(crate) async fn ends_with_it(mut self, name: &str) {
        let rest = timeout(PATIENCE, self.raw.rest()).await;
        let rest = rest.unwrap_or_else(|_| panic!("{name}: the connection stays open"));
        let rest = String::from_utf8_lossy(&rest);
        assert!(!rest.contains("HTTP/1."), "{name}: another answer: {rest}");
    }

    /// The next answer on the same connection.
    pub(crate) async fn next(self, name: &str) -> Self {
        Self::read(name, self.raw).await
    }
}

/// Neither a credential of an app nor one of the tenant is in the answer.
pub(crate) fn tells_no_secret(name: &str, answer: &Answer) {
    let told = format!("{:?} {}", answer.fields, answer.text());
    for secret in [SECRET, SHARED_TOKEN, "the-secret-of-the-gateway"] {
        assert!(!told.contains(secret), "{name}: {answer:?}");
    }
}

/// A request of the app for `target`, with further `fields`, each ended by CR LF.
pub(crate) fn get(target: &str, fields: &str) -> String {
    request("GET", target, fields, "")
}

/// A write of the app, with everything of its body's framing in `fields`.
pub(crate) fn post(fields: &str, body: &str) -> String {
    request("POST", "/v1/accounts", &format!("Content-Type: application/json\r\n{fields}"), body)
}

pub(crate) fn request(method: &str, target: &str, fields: &str, body: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {SECRET}\r\n{fields}\r\n{body}"
    )
}

/// Waits until `is_so`, which it must be soon.
pub(crate) async fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not so in {PATIENCE:?}: {what}"));
}
