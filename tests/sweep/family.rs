//! The families of operations, each by one call that Zuora executes.

use testkit::Yaml;

/// A call, and what a repeat of it would mean.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    pub(crate) keys: Keys,
    /// Whether it changes something at Zuora.
    pub(crate) is_write: bool,
    /// Whether the gateway keeps its body for another attempt.
    pub(crate) is_kept: bool,
    /// Attempts that the configuration gives it.
    pub(crate) attempts: usize,
    /// Whether its time may be over before it can be sent again.
    pub(crate) is_hurried: bool,
    /// Keys of the configuration, below the tenant.
    pub(crate) tenant: Vec<&'static str>,
}

/// The `Idempotency-Key` with which it reaches Zuora.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// One of the gateway's.
    Minted,
    /// The app's own.
    Own(&'static str),
    /// None.
    Absent,
}

impl Family {
    fn new(name: &'static str, method: &'static str, path: &'static str, body: &str) -> Self {
        let is_write = method != "GET" && method != "HEAD";
        Self {
            name,
            method,
            path,
            fields: Vec::new(),
            body: body.as_bytes().to_vec(),
            keys: if method == "POST" { Keys::Minted } else { Keys::Absent },
            is_write,
            is_kept: true,
            attempts: 5,
            is_hurried: false,
            tenant: Vec::new(),
        }
    }

    fn keys(self, keys: Keys) -> Self {
        Self { keys, ..self }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.fields.push((name, value));
        self
    }

    fn configured(mut self, line: &'static str) -> Self {
        self.tenant.push(line);
        self
    }

    fn hurried(self) -> Self {
        Self { is_hurried: true, ..self }
    }

    fn attempts(self, attempts: usize) -> Self {
        Self { attempts, ..self }
    }

    fn read(self) -> Self {
        Self { is_write: false, ..self }
    }

    /// Whether little is needed until it cannot be sent again, though it might.
    pub(crate) fn is_soon_over(&self) -> bool {
        self.is_hurried || self.attempts < 5
    }

    /// Whether Zuora can tell a repeat, or nothing changes by it.
    pub(crate) fn repeats(&self) -> bool {
        self.is_kept && (self.keys != Keys::Absent || !self.is_write)
    }

    /// The configuration of the gateway that it comes to.
    pub(crate) fn yaml(&self) -> Yaml {
        let mut tenant: Vec<String> = self.tenant.iter().map(|line| (*line).to_owned()).collect();
        if !tenant.iter().any(|line| line.starts_with("retry")) {
            tenant.push(RETRY.to_owned());
        }
        if !tenant.iter().any(|line| line.starts_with("queue")) {
            // Long enough for whatever Zuora asks to wait, several times.
            tenant.push("queue: {timeout: 30m}".to_owned());
        }
        let top = vec!["signing_key: a key of at least thirty-two characters".to_owned()];
        Yaml { tenant, top, ..Yaml::default() }
    }
}

const RETRY: &str = "retry: {attempts: 5, replay_buffer: 2KiB}";

const ACCOUNT: &str = r#"{"name":"Amy","currency":"USD","billToContact":{"firstName":"Amy","lastName":"Ito","country":"Japan"}}"#;
const SUBSCRIPTION: &str = r#"{"accountKey":"A00000001","termType":"EVERGREEN","contractEffectiveDate":"2026-01-01","subscribeToRatePlans":[]}"#;
const ORDER: &str = r#"{"orderDate":"2026-01-01","existingAccountNumber":"A00000001","subscriptions":[{"orderActions":[{"type":"CreateSubscription"}]}]}"#;
const OBJECT: &str = r#"{"Name":"Amy","Currency":"USD"}"#;
const CREATE: &str = r#"{"type":"Account","objects":[{"Name":"Amy","Currency":"USD"},{},{"Name":"Ben","Currency":"USD"}]}"#;
const UPLOAD: &str = "--cut\r\nContent-Disposition: form-data; name=\"file\"; filename=\"usage.csv\"\r\nContent-Type: text/csv\r\n\r\nACCOUNT_ID,UOM,QTY\r\nA00000001,Each,1\r\n--cut--\r\n";

/// Every family.
pub(crate) fn all() -> Vec<Family> {
    let post = |name, path, body: &str| Family::new(name, "POST", path, body);
    let big = format!(r#"{{"name":"Amy","currency":"USD","notes":"{}"}}"#, "n".repeat(3000));
    let mut streamed = post("streamed body", "/v1/accounts", &big);
    streamed.is_kept = false;
    let mut streamed_own = post("streamed body, own key", "/v1/accounts", &big)
        .keys(Keys::Own("app-key-3"))
        .with("idempotency-key", "app-key-3");
    streamed_own.is_kept = false;

    vec![
        post("account", "/v1/accounts", ACCOUNT),
        post("account, modern", "/v1/accounts", ACCOUNT).with("zuora-version", "2025-08-12"),
        post("account, old", "/v1/accounts", ACCOUNT).with("zuora-version", "215.0"),
        post("account, gzip", "/v1/accounts", ACCOUNT).with("accept-encoding", "gzip"),
        post("account, own key", "/v1/accounts", ACCOUNT)
            .keys(Keys::Own("app-key-1"))
            .with("idempotency-key", "app-key-1"),
        post("account, no minting", "/v1/accounts", ACCOUNT)
            .keys(Keys::Absent)
            .configured("retry: {replay_buffer: 2KiB, mint_idempotency_keys: false}"),
        post("account, in a hurry", "/v1/accounts", ACCOUNT)
            .configured("queue: {timeout: 1s}")
            .hurried(),
        post("account, own key, wait=3", "/v1/accounts", ACCOUNT)
            .keys(Keys::Own("app-key-4"))
            .with("idempotency-key", "app-key-4")
            .with("prefer", "wait=3")
            .hurried(),
        post("account, two attempts", "/v1/accounts", ACCOUNT)
            .configured("retry: {attempts: 2, replay_buffer: 2KiB}")
            .attempts(2),
        post("order, lanes", "/v1/orders", ORDER).configured("lanes: account"),
        post("order", "/v1/orders", ORDER).with("zuora-version", "2025-08-12"),
        post("subscription", "/v1/subscriptions", SUBSCRIPTION),
        post("preview", "/v1/subscriptions/preview", SUBSCRIPTION).read(),
        post("usage upload", "/v1/usage", UPLOAD)
            .with("content-type", "multipart/form-data; boundary=cut"),
        streamed,
        streamed_own,
        post("object", "/v1/object/account", OBJECT),
        post("action create", "/v1/action/create", CREATE),
        post(
            "action update",
            "/v1/action/update",
            r#"{"type":"Account","objects":[{"Id":"A00000001","Name":"Eve"},{"Id":"none"}]}"#,
        ),
        post("query", "/v1/action/query", r#"{"queryString":"select Id, Name from Account"}"#)
            .keys(Keys::Absent)
            .read(),
        post("custom object", "/objects/records/default/asset", r#"{"name":"a"}"#)
            .keys(Keys::Absent),
        post("custom object, own key", "/objects/records/default/asset", r#"{"name":"a"}"#)
            .keys(Keys::Absent)
            .with("idempotency-key", "app-key-2"),
        post("unknown path", "/v1/things-of-tomorrow", r#"{"a":1}"#).keys(Keys::Absent),
        Family::new("patch", "PATCH", "/v2/accounts/A00000001", r#"{"name":"Eve"}"#)
            .keys(Keys::Minted),
        Family::new("put", "PUT", "/v1/accounts/A00000001", r#"{"name":"Eve"}"#),
        Family::new(
            "cancel",
            "PUT",
            "/v1/subscriptions/A-S00000001/cancel",
            r#"{"cancellationPolicy":"EndOfCurrentTerm"}"#,
        )
        .with("zuora-version", "2025-08-12"),
        Family::new("put, lanes", "PUT", "/v1/accounts/A00000001", r#"{"name":"Eve"}"#)
            .configured("lanes: account"),
        Family::new(
            "put, contention returned",
            "PUT",
            "/v1/accounts/A00000001",
            r#"{"name":"Eve"}"#,
        )
        .configured("retry: {replay_buffer: 2KiB, contended_writes: return}"),
        Family::new("renew", "PUT", "/v1/subscriptions/A-S00000001/renew", "{}"),
        Family::new("object put", "PUT", "/v1/object/account/A00000001", r#"{"Name":"Eve"}"#),
        Family::new("object delete", "DELETE", "/v1/object/account/A00000001", ""),
        Family::new("delete", "DELETE", "/v1/accounts/A00000001", ""),
        Family::new("delete anything", "DELETE", "/v1/things-of-tomorrow/1", ""),
        Family::new("get", "GET", "/v1/accounts/A00000001", ""),
        Family::new("get, gzip", "GET", "/v1/accounts/A00000001/summary", "")
            .with("accept-encoding", "gzip"),
        Family::new("list in chunks", "GET", "/v1/catalog/products?pageSize=40", ""),
        Family::new("object query", "GET", "/object-query/accounts?pageSize=2", ""),
        Family::new("file", "GET", "/v1/files/size-1500", ""),
        Family::new("long file", "GET", "/v1/files/size-150000", ""),
        Family::new("head", "HEAD", "/v1/accounts/A00000001", ""),
    ]
}
