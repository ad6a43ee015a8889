//! What callers get wrong, and what breaks behind the gateway: a clear answer, and on it goes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emulator::{Options, ServiceTime, Tenant};
use http::Method;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use testkit::{Answer, House, Raw, SECRET, Yaml};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::caller::{ask, eventually, get, request};

async fn quick() -> Tenant {
    let service_time = ServiceTime::Constant(Duration::ZERO);
    Tenant::start(Options { service_time, ..Options::default() }).await.unwrap()
}

/// The shape of an error that is made here: status, reason, code.
#[track_caller]
fn assert_shape(answer: &Answer, status: u16, reason: &str, code: u32, executed: &str) {
    let what = format!("{answer:?}\n{}", answer.text());
    assert_eq!(answer.status, status, "{what}");
    assert_eq!(answer.field("zuora-gateway-error"), Some(reason), "{what}");
    assert_eq!(answer.field("zuora-gateway-executed"), Some(executed), "{what}");
    assert_eq!(answer.field("content-type"), Some("application/json"), "{what}");
    assert!(answer.field("server-timing").is_some(), "{what}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect(&what);
    assert_eq!(body["success"], false, "{what}");
    assert_eq!(body["processId"], answer.field("zuora-track-id").unwrap(), "{what}");
    assert_eq!(body["reasons"][0]["code"], code, "{what}");
    assert!(body["reasons"][0]["message"].as_str().is_some_and(|message| !message.is_empty()));
    assert!(!what.contains(SECRET) && !what.contains("the-secret-of-the-gateway"), "{what}");
}

/// A request in bytes, with the app's credential and these further fields.
fn raw(line: &str, fields: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {SECRET}\r\n{fields}\r\n")
}

#[tokio::test]
async fn what_callers_get_wrong_is_answered_and_changes_nothing() {
    let tenant = quick().await;
    let base_url = tenant.base_url();
    let yaml = Yaml { app: vec![r#"deny: ["DELETE /**"]"#.to_owned()], ..Yaml::default() };
    let house = House::before(tenant, &base_url, &yaml).await;
    let address = house.address();
    let long = "x".repeat(65);
    let accounts = "GET /v1/accounts/A00000001";
    let stranger =
        |authorization: &str| format!("{accounts} HTTP/1.1\r\nhost: gw\r\n{authorization}\r\n");
    let unknown = ("unauthenticated", 401, 90_000_011);
    let forbidden = ("forbidden", 403, 50_000_010);
    let bad = ("bad-request", 400, 50_000_020);
    let cases = [
        (stranger(""), unknown),
        (stranger("authorization: Bearer wrong\r\n"), unknown),
        (stranger("authorization: Basic !!!\r\n"), unknown),
        (stranger("authorization: Digest x\r\n"), unknown),
        (raw("DELETE /v1/accounts/A00000001", ""), forbidden),
        (raw(accounts, "zuora-track-id: a;b\r\n"), bad),
        (raw(accounts, &format!("zuora-track-id: {long}\r\n")), bad),
        (raw(accounts, "zuora-track-id: a\r\nzuora-track-id: b\r\n"), bad),
        (raw("GET /v1/../../etc/passwd", ""), bad),
        (raw("GET /v1/%2e%2e/accounts", ""), bad),
        (raw("TRACE /v1/accounts", ""), bad),
        (raw(accounts, "via: 1.1 zuora-gateway\r\n"), bad),
        (raw("GET /_gateway/nothing", ""), ("not-found", 404, 50_000_040)),
        (
            raw("POST /v1/accounts", "content-length: 9000000000\r\n"),
            ("too-large", 413, 50_000_020),
        ),
    ];
    for (bytes, (reason, status, code)) in cases {
        let answer = Raw::ask(address, &bytes).await;

        assert_shape(&answer, status, reason, code, "no");
        let asks = answer.field("www-authenticate").is_some();
        assert_eq!(asks, status == 401, "{bytes}");
    }
    assert_eq!(house.tenant.counters().executed_total, 0);
    assert_eq!(ask(address, get()).await.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_and_the_next_caller_served() {
    let house = House::plain(Duration::ZERO).await;
    let cookie = format!("cookie: ZSession={}\r\n", "x".repeat(70_000));
    let answer = Raw::ask(house.address(), raw("GET /v1/accounts/A00000001", &cookie)).await;
    assert_shape(&answer, 431, "too-large", 50_000_020, "no");
    assert_eq!(answer.field("connection"), Some("close"));

    let field = format!("x-long: {}\r\n", "x".repeat(300_000));

    // hyper answers this one by itself, before there is a request: the status alone.
    let mut caller = Raw::connect(house.address()).await;
    caller.write(raw("GET /v1/accounts/A00000001", &field)).await;
    let answer = caller.answer().await;

    assert_eq!(answer.status, 431, "{answer:?}");
    assert!(caller.is_closed().await);
    assert_eq!(house.tenant.counters().executed_total, 0);
    assert_eq!(ask(house.address(), get()).await.status, 200);
}

#[tokio::test]
async fn a_zuora_that_cannot_be_reached_is_said_to_be_so() {
    let front = Front::plain(quick().await).await;
    let house = House::before(quick().await, &front.url("http"), &Yaml::default()).await;
    assert_eq!(ask(house.address(), get()).await.status, 200);

    let address = front.close().await;

    let create = raw("POST /v1/accounts", "prefer: wait=1\r\ncontent-length: 2\r\n") + "{}";
    let answer = Raw::ask(house.address(), create).await;
    assert_shape(&answer, 502, "upstream-unreachable", 50_000_061, "no");

    // It comes back, and so do the answers.
    let _front = Front::at(address, quick().await, None).await;
    let answer = ask(house.address(), get()).await;
    // The new tenant does not know the old token; that it was asked is enough.
    assert!([200, 401].contains(&answer.status.as_u16()), "{answer:?}");
}

#[tokio::test]
async fn a_zuora_with_the_wrong_certificate_gets_nothing() {
    let (ca, trusted) = certificate();
    let (_, wrong) = certificate();
    let front =
        Front::at("127.0.0.1:0".parse().unwrap(), quick().await, Some(trusted.clone())).await;
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, ca).unwrap();
    let yaml =
        Yaml { tenant: vec![format!("ca_certificate: {}", path.display())], ..Yaml::default() };
    let house = House::before(quick().await, &front.url("https"), &yaml).await;
    assert_eq!(ask(house.address(), get()).await.status, 200);
    let before = front.tenant.counters().executed_total;

    front.present(wrong);
    let hasty = raw("GET /v1/accounts/A00000001", "prefer: wait=1\r\n");
    let answer = Raw::ask(house.address(), hasty).await;
    assert_shape(&answer, 502, "upstream-unreachable", 50_000_061, "no");
    assert_eq!(front.tenant.counters().executed_total, before);

    front.present(trusted);
    assert_eq!(ask(house.address(), get()).await.status, 200);
}

#[tokio::test]
async fn an_exchange_that_breaks_midway_is_not_called_undone() {
    let house = House::plain(Duration::ZERO).await;
    assert_eq!(ask(house.address(), get()).await.status, 200);
    let cut = emulator::FaultKind::Cut { executed: true };
    house.tenant.fault(emulator::Fault::once("/v1/accounts", cut));

    let account = r#"{"name": "A", "currency": "USD"}"#;
    let change =
        raw("PUT /v1/accounts/A00000001", &format!("content-length: {}\r\n", account.len()));
    let answer = Raw::ask(house.address(), change + account).await;

    assert_shape(&answer, 502, "upstream-broke", 50_000_061, "maybe");
    assert_eq!(house.tenant.counters().executed_writes, 1, "and it is not sent again");
    assert_eq!(
        ask(house.address(), request(Method::POST, "/v1/accounts", account)).await.status,
        200
    );
}

/// What stands before a tenant: passes bytes, over TLS if it has a certificate, and closes each connection behind the
/// answer, so that the next call needs another.
struct Front {
    tenant: Tenant,
    address: SocketAddr,
    tls: Arc<Mutex<Option<ServerConfig>>>,
    accepting: tokio::task::JoinHandle<()>,
    open: Arc<Mutex<tokio::task::JoinSet<()>>>,
}

impl Front {
    async fn plain(tenant: Tenant) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), tenant, None).await
    }

    async fn at(address: SocketAddr, tenant: Tenant, tls: Option<ServerConfig>) -> Self {
        let mut listener = None;
        // The address of one that closed a moment ago may not be free yet.
        eventually("free", async || {
            listener = Some(TcpListener::bind(address).await.map_err(|error| error.to_string())?);
            Ok(())
        })
        .await;
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let (tls, open) = (Arc::new(Mutex::new(tls)), Arc::default());
        let accepting =
            tokio::spawn(accept(listener, tenant.address(), Arc::clone(&tls), Arc::clone(&open)));
        Self { tenant, address, tls, accepting, open }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// Presents this certificate from now on; open connections end.
    fn present(&self, tls: ServerConfig) {
        *self.tls.lock().unwrap() = Some(tls);
        self.open.lock().unwrap().abort_all();
    }

    /// Listens no more; open connections end.
    async fn close(self) -> SocketAddr {
        self.accepting.abort();
        let _ = self.accepting.await;
        self.open.lock().unwrap().abort_all();
        self.address
    }
}

async fn accept(
    listener: TcpListener,
    tenant: SocketAddr,
    tls: Arc<Mutex<Option<ServerConfig>>>,
    open: Arc<Mutex<tokio::task::JoinSet<()>>>,
) {
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let tls = tls.lock().unwrap().clone();
        open.lock().unwrap().spawn(async move {
            let mut far = TcpStream::connect(tenant).await.unwrap();
            let _ = match tls {
                None => copy_bidirectional(&mut near, &mut far).await,
                Some(tls) => match TlsAcceptor::from(Arc::new(tls)).accept(near).await {
                    Ok(mut near) => copy_bidirectional(&mut near, &mut far).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}

/// A certificate for the loopback address, and a server that has it.
fn certificate() -> (String, ServerConfig) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), server)
}
