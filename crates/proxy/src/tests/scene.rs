//! A caller, the proxy, and a Zuora that answers as it was told to, joined by pipes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use admission::{
    Admission, AppSettings, Lanes, OnRefusal, PoolSettings, PoolSnapshot, Priority, QueueBounds,
    RateLimits, Settings, Start,
};
use async_requests::Registry;
use bytes::Bytes;
use credentials::{
    AppCredential, Apps, CalloutCredentials, FetchError, Grant, SecretDigest, SigningKey,
    TokenEndpoint, Tokens, Which,
};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use telemetry::{Inventory, Metrics, Readings};
use tokio::time::{Duration, Instant, sleep};
use zuora::Policy;
use zuora::links::OwnHosts;

use crate::{
    App, Async, Budgets, Connector, Entity, Errand, ErrandFailed, OWN_APP, POOLS, Peer, Port,
    Proxy, RetryPolicy, RewriteRule, Stream, Table, Tenant, TrackIdPolicy, Upstream, ValidTrackId,
    Ways,
};

pub(super) const SECRET: &str = "the secret of the app";

/// What callouts show.
pub(super) const CALLOUT_USERNAME: &str = "zuora";
pub(super) const CALLOUT_PASSWORD: &str = "the password: of callouts";
pub(super) const PREVIOUS_PASSWORD: &str = "the password before";

/// How much a pipe holds: less than an answer, so that a reader who does not read is noticed.
const PIPE: usize = 16 * 1024;

/// An answer of Zuora's, and when it gives it.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: Bytes,
    after: Duration,
    chunked: bool,
    /// How long it falls silent before the last chunk.
    pause: Duration,
    cut: bool,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: Bytes::copy_from_slice(body.as_ref()),
            after: Duration::ZERO,
            chunked: false,
            pause: Duration::ZERO,
            cut: false,
        }
    }

    pub(super) fn ok() -> Self {
        Self::new(200, r#"{"success":true}"#)
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    /// With what Zuora says about the limit that the call counts against.
    pub(super) fn of_type(self, name: &str, limit: u32, remaining: u32) -> Self {
        self.with("concurrency-limit-type", name)
            .with("concurrency-limit-limit", &limit.to_string())
            .with("concurrency-limit-remaining", &remaining.to_string())
    }

    pub(super) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    /// No answer at all: the connection closes.
    pub(super) fn cut() -> Self {
        Self { cut: true, ..Self::ok() }
    }

    pub(super) fn in_chunks(self) -> Self {
        Self { chunked: true, ..self }
    }

    /// In chunks, the last of which comes so much later.
    pub(super) fn pausing(self, pause: Duration) -> Self {
        Self { pause, ..self.in_chunks() }
    }

    fn into_response(self) -> Response<BoxBody<Bytes, Infallible>> {
        let mut response = Response::builder().status(self.status);
        if !self.fields.iter().any(|(name, _)| *name == "content-type") {
            response = response.header("content-type", "application/json");
        }
        for (name, value) in self.fields {
            response = response.header(name, value);
        }
        let (body, pause) = (self.body, self.pause);
        let body = if self.chunked {
            let chunks: Vec<_> = body.chunks(8 * 1024).map(Bytes::copy_from_slice).collect();
            let last = chunks.len().saturating_sub(1);
            let chunks = futures_util::stream::iter(chunks.into_iter().enumerate());
            let frames = chunks.then(move |(number, chunk)| async move {
                if number == last && !pause.is_zero() {
                    sleep(pause).await;
                }
                Ok(Frame::data(chunk))
            });
            BodyExt::boxed(StreamBody::new(frames))
        } else {
            Full::new(body).boxed()
        };
        response.body(body).unwrap()
    }
}

/// A concurrency refusal as Zuora sends it, but for the time (Zuora: SOAP calls overview).
pub(super) fn refusal(seconds: u32) -> Reply {
    let body = r#"{"success":false,"processId":"7F","reasons":[{"code":50000070,"message":"The total number of concurrent requests has exceeded the limit."}]}"#;
    Reply::new(429, body).with("retry-after", &seconds.to_string())
}

/// A request as Zuora received it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) path: String,
    pub(super) query: String,
    headers: HeaderMap,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn fields(&self, name: &str) -> Vec<&str> {
        fields(&self.headers, name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }
}

#[derive(Debug, Default)]
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<Asked>>,
    /// Whether nobody has said where the SOAP API is.
    has_no_soap: AtomicBool,
    /// Whether SOAP calls have a login of their own, which is never answered.
    has_silent_soap_login: AtomicBool,
    /// How many connections are refused first.
    refused: AtomicU32,
    /// What becomes of writes that are carried out later.
    later: OnceLock<Later>,
    /// What the app may call.
    policy: Mutex<Policy>,
}

#[derive(Clone, Debug)]
struct Later {
    registry: Arc<Registry>,
    rewrite: Vec<RewriteRule>,
}

impl Script {
    fn refuses_connections(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.refused.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// The next answer; an error closes the connection.
    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, ConnectionClosed> {
        let (head, body) = request.into_parts();
        let at = Instant::now();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        self.asked.lock().unwrap().push(Asked { at, path, query, headers: head.headers, body });
        let reply =
            self.replies.lock().unwrap().pop_front().expect("the script foresaw this request");
        sleep(reply.after).await;
        if reply.cut { Err(ConnectionClosed) } else { Ok(reply.into_response()) }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the script said so")]
struct ConnectionClosed;

/// Issues `token-1`, `token-2`, and so on; or nothing at all.
#[derive(Debug, Default)]
struct Issuer {
    issued: AtomicU32,
    is_silent: bool,
}

impl TokenEndpoint for Issuer {
    fn fetch(
        &self,
        _: Which,
    ) -> Pin<Box<dyn Future<Output = Result<Grant, FetchError>> + Send + '_>> {
        if self.is_silent {
            return Box::pin(std::future::pending());
        }
        let number = self.issued.fetch_add(1, Ordering::Relaxed) + 1;
        let body = format!(
            r#"{{"access_token":"token-{number}","token_type":"bearer","expires_in":3598}}"#
        );
        Box::pin(async move { Grant::read(StatusCode::OK, &HeaderMap::new(), body.as_bytes()) })
    }
}

/// Everybody on stage.
#[derive(Debug)]
pub(super) struct Scene {
    script: Arc<Script>,
    proxy: Arc<Proxy>,
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
    port: Port,
}

impl Scene {
    /// A Zuora that answers like this, one reply for each request.
    pub(super) fn of<const N: usize>(replies: [Reply; N]) -> Self {
        Self::build(
            Arc::new(Script { replies: Mutex::new(replies.into()), ..Script::default() }),
            40,
            Issuer::default(),
            false,
        )
    }

    pub(super) fn with_limit(self, limit: u32) -> Self {
        Self::build(self.script, limit, Issuer::default(), false)
    }

    /// Callouts come here, outcomes are remembered in `registry`, and these rules say which writes are carried out later.
    /// Once for a scene.
    pub(super) fn with_later(self, registry: &Arc<Registry>, rewrite: &[RewriteRule]) -> Self {
        let (registry, rewrite) = (Arc::clone(registry), rewrite.to_vec());
        self.script.later.set(Later { registry, rewrite }).unwrap();
        self.with_limit(40)
    }

    /// The app may call no more than this.
    pub(super) fn with_policy(self, policy: Policy) -> Self {
        *self.script.policy.lock().unwrap() = policy;
        self.with_limit(40)
    }

    /// Nobody has said where the SOAP API is.
    pub(super) fn without_soap(self) -> Self {
        self.script.has_no_soap.store(true, Ordering::Relaxed);
        self.with_limit(40)
    }

    /// SOAP calls have a login of their own, which is never answered, and there is one permit.
    pub(super) fn with_a_silent_soap_login(self) -> Self {
        self.script.has_silent_soap_login.store(true, Ordering::Relaxed);
        self.with_limit(1)
    }

    /// Nobody is ever given a token.
    pub(super) fn without_tokens(self) -> Self {
        Self::build(self.script, 40, Issuer { is_silent: true, ..Issuer::default() }, false)
    }

    /// Lets the token grow so old that Zuora might really have lost it.
    pub(super) async fn with_tokens_of_age(self, age: Duration) -> Self {
        sleep(age).await;
        self
    }

    fn build(script: Arc<Script>, limit: u32, issuer: Issuer, lanes: bool) -> Self {
        let metrics = Metrics::new(&Inventory {
            tenants: vec!["t".into()],
            apps: vec!["app".into(), OWN_APP.into()],
        });
        let limit = NonZeroU32::new(limit).unwrap();
        let pools = POOLS.map(|limit_type| PoolSettings {
            name: limit_type.name().into(),
            entity: None,
            ceiling: limit,
            headroom: 0,
            enforce: true,
            on_refusal: OnRefusal::Shrink,
            retry_after_cap: None,
        });
        let queue = QueueBounds { max_requests: 1000, max_bytes: 8 * 1024 * 1024 };
        let settings = Settings {
            pools: pools.into(),
            apps: vec![
                AppSettings::named("app"),
                AppSettings { priority: Priority::Scavenger, ..AppSettings::named(OWN_APP) },
            ],
            queue,
            rate: RateLimits::NONE,
        };
        let admission = Admission::new(settings, Start::Full);
        let pools = POOLS.map(|limit_type| admission.pool(None, limit_type.name()).unwrap());
        let tokens = Tokens::start("t", issuer, &metrics);
        let silent = || Issuer { is_silent: true, ..Issuer::default() };
        let soap_tokens = script.has_silent_soap_login.load(Ordering::Relaxed);
        let soap_tokens = soap_tokens.then(|| Tokens::start("t", silent(), &metrics));
        let upstream =
            Upstream::new(&Uri::from_static("http://zuora"), through(Arc::clone(&script)));
        let tenant = Arc::new(Tenant {
            name: "t".into(),
            own_hosts: Arc::new(OwnHosts::of([&Uri::from_static("http://zuora")])),
            soap: (!script.has_no_soap.load(Ordering::Relaxed))
                .then(|| upstream.beside(&Uri::from_static("http://soap-zuora"))),
            upstream,
            admission: Arc::clone(&admission),
            entities: vec![Entity {
                id: None,
                name: None,
                pools,
                tokens,
                soap_tokens,
                learnt: Arc::default(),
            }],
            track_ids: TrackIdPolicy { valid: ValidTrackId::Keep, replace_invalid: false },
            retry: RetryPolicy {
                attempts: NonZeroU32::new(5).unwrap(),
                mint_idempotency_keys: true,
                repeats_contended: true,
                budgets: Arc::new(Budgets::new(0.2)),
            },
            lanes: lanes.then(|| Lanes::new(100)),
            replay_buffer: 1024 * 1024,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(125),
            async_requests: script.later.get().cloned().map(|later| Async {
                registry: later.registry,
                callouts: Some(CalloutCredentials::new(
                    CALLOUT_USERNAME,
                    CALLOUT_PASSWORD,
                    Some(PREVIOUS_PASSWORD),
                )),
                rewrite: later.rewrite,
                reconcile_after: Duration::from_secs(300),
                unknown_after: Duration::from_secs(86400),
            }),
            metrics: metrics.tenant("t"),
        });
        let app = |name: &str| App {
            name: name.into(),
            tenant: Arc::clone(&tenant),
            id: admission.app(name).unwrap(),
            policy: script.policy.lock().unwrap().clone(),
            entities: vec![0],
            queue_timeout: Duration::from_secs(60),
            fairness_key: Some(HeaderName::from_static("end-user")),
            metrics: metrics.app("t", name),
            pools: POOLS.map(|limit_type| metrics.pool("t", name, limit_type.name())),
        };
        let credential = AppCredential {
            name: "app".into(),
            client_id: "id".into(),
            secrets: vec![SecretDigest::of(SECRET)],
            certificate: None,
        };
        let doors = Apps::new(
            vec![credential],
            SigningKey::from_secret("a key of at least thirty-two characters"),
            None,
        );
        let table =
            Table::new(vec![vec![app("app")]], doors, Ways::default()).with_single_use(Some(0));
        let table = table.with_own_apps(vec![app(OWN_APP)]);
        let proxy = Proxy::new(table, Arc::clone(&metrics));
        Self { script, proxy, admission, metrics, port: Port::Both }
    }

    /// Refuses so many connections before it takes one.
    pub(super) fn refusing_connections(self, number: u32) -> Self {
        self.script.refused.store(number, Ordering::Relaxed);
        self
    }

    /// Sends calls about the same account one after another.
    pub(super) fn with_lanes(self) -> Self {
        Self::build(self.script, 40, Issuer::default(), true)
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.open("GET", path, "").await.whole().await
    }

    /// Asks with these fields besides the usual ones.
    pub(super) async fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("GET", path, fields, Full::default().boxed()).await.whole().await
    }

    /// Calls with these fields besides the usual ones, or in their place.
    pub(super) async fn call_with(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let body = Full::new(Bytes::from(body.to_owned())).boxed();
        self.send(method, path, fields, body).await.whole().await
    }

    pub(super) async fn put(&self, path: &str, body: &str) -> Answer {
        self.open("PUT", path, body).await.whole().await
    }

    /// Posts with these fields besides the usual ones.
    pub(super) async fn post_with(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("POST", path, fields, Full::new(Bytes::from("{}")).boxed()).await.whole().await
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        self.open("POST", path, body).await.whole().await
    }

    /// Lets the gateway itself ask.
    pub(super) async fn run(&self, errand: Errand) -> Result<crate::Reply, ErrandFailed> {
        self.proxy.run("t", errand).await
    }

    /// Asks on a connection of its own, and returns with the head of the answer. Dropped earlier, the caller has left.
    pub(super) async fn open(&self, method: &str, path: &str, body: &str) -> Reading {
        let body = Full::new(Bytes::from(body.to_owned())).boxed();
        self.send(method, path, &[], body).await
    }

    /// Makes a SOAP call, with these fields besides the usual ones or in their place; an empty one is left out.
    pub(super) async fn soap(&self, fields: &[(&str, &str)], envelope: &str) -> Answer {
        let body = Full::new(Bytes::from(envelope.to_owned())).boxed();
        let is_typed = fields.iter().any(|(name, _)| *name == "content-type");
        let usual = (!is_typed).then_some(&("content-type", "text/xml"));
        let fields: Vec<_> = usual.into_iter().chain(fields).copied().collect();
        self.send("POST", "/apps/services/a/91.0", &fields, body).await.whole().await
    }

    /// The same in pieces and without an announced length.
    pub(super) async fn soap_in_chunks(&self, envelope: &str) -> Answer {
        let chunks: Vec<_> =
            envelope.as_bytes().chunks(8 * 1024).map(Bytes::copy_from_slice).collect();
        let frames = futures_util::stream::iter(chunks).map(|chunk| Ok(Frame::data(chunk)));
        let body = BodyExt::boxed(StreamBody::new(frames));
        let fields = [("content-type", "text/xml")];
        self.send("POST", "/apps/services/a/91.0", &fields, body).await.whole().await
    }

    /// Makes a SOAP call over HTTP/2, with an announced length and an end that comes by itself. Returns the status of the
    /// answer.
    pub(super) async fn soap_over_http2(&self, envelope: &str) -> StatusCode {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let proxy = Arc::clone(&self.proxy);
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&proxy);
            async move { Ok::<_, Infallible>(proxy.handle(request, &Peer::default()).await) }
        });
        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(theirs), service);
        tokio::spawn(serving);
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours));
        let (mut sender, connection) = handshake.await.unwrap();
        let _connection = Hold(tokio::spawn(async move { drop(connection.await) }));
        let request = Request::post("http://gateway/apps/services/a/91.0")
            .header("authorization", format!("Bearer {SECRET}"))
            .header("content-type", "text/xml")
            .header("content-length", envelope.len());
        let all = Bytes::from(envelope.to_owned());
        let frames = futures_util::stream::once(async { Ok::<_, Infallible>(Frame::data(all)) });
        let request = request.body(BodyExt::boxed(StreamBody::new(frames))).unwrap();
        sender.send_request(request).await.unwrap().status()
    }

    /// The same scene, met at another port.
    pub(super) fn at(self, port: Port) -> Self {
        Self { port, ..self }
    }

    /// Asks with these fields besides the usual ones, and returns with the head of the answer.
    pub(super) async fn open_with(&self, path: &str, fields: &[(&str, &str)]) -> Reading {
        self.send("GET", path, fields, Full::default().boxed()).await
    }

    /// Calls with these fields and a body of no announced length.
    pub(super) async fn in_chunks(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let chunks: Vec<_> = body.as_bytes().chunks(8 * 1024).map(Bytes::copy_from_slice).collect();
        let frames = futures_util::stream::iter(chunks).map(|chunk| Ok(Frame::data(chunk)));
        self.send(method, path, fields, BodyExt::boxed(StreamBody::new(frames))).await.whole().await
    }

    /// Sends a body of an announced length that begins to arrive only after a while.
    pub(super) async fn upload(&self, path: &str, length: usize, after: Duration) -> Answer {
        self.upload_with(path, &[], length, after).await
    }

    /// The same with these fields besides the usual ones.
    pub(super) async fn upload_with(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        length: usize,
        after: Duration,
    ) -> Answer {
        let late = futures_util::stream::once(async move {
            sleep(after).await;
            Ok(Frame::data(Bytes::from("x".repeat(length))))
        });
        let body = BodyExt::boxed(StreamBody::new(late));
        let length = length.to_string();
        let announced = [("content-length", &*length)];
        let fields: Vec<_> = announced.iter().chain(fields).copied().collect();
        self.send("POST", path, &fields, body).await.whole().await
    }

    /// Sends a body of unknown length.
    pub(super) async fn upload_in_chunks(&self, path: &str, length: usize) -> Answer {
        let chunks = vec![Bytes::from("x".repeat(8 * 1024)); length / (8 * 1024)];
        let frames = futures_util::stream::iter(chunks).map(|chunk| Ok(Frame::data(chunk)));
        self.send("POST", path, &[], BodyExt::boxed(StreamBody::new(frames))).await.whole().await
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: BoxBody<Bytes, Infallible>,
    ) -> Reading {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let proxy = Arc::clone(&self.proxy);
        let peer = Peer { port: self.port, ..Peer::default() };
        let service = service_fn(move |request| {
            let (proxy, peer) = (Arc::clone(&proxy), peer.clone());
            async move { Ok::<_, Infallible>(proxy.handle(request, &peer).await) }
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(theirs), service);
        tokio::spawn(serving);

        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
        let connection = Hold(tokio::spawn(async move { drop(connection.await) }));
        let authorization = format!("Bearer {SECRET}");
        let usual = [
            ("host", "gateway"),
            ("authorization", &*authorization),
            ("content-type", "application/json"),
        ];
        let said = |name: &str| fields.iter().any(|(said, _)| *said == name);
        let usual = usual.iter().filter(|(name, _)| !said(name));
        let mut request = Request::builder().method(method).uri(path);
        // What is said to be empty is left out.
        for (name, value) in usual.chain(fields).filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
        Reading { response, _connection: connection }
    }

    /// Everything that Zuora was asked.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().unwrap().clone()
    }

    pub(super) fn permits_in_use(&self) -> u32 {
        self.admission.snapshot().in_use
    }

    pub(super) fn kept_bytes(&self) -> u64 {
        self.admission.snapshot().kept_bytes
    }

    /// Every counter as Prometheus reads it.
    pub(super) fn counted(&self) -> String {
        self.metrics.render(&Readings::default())
    }

    /// What operators see of the pool of a limit type.
    pub(super) fn pool(&self, name: &str) -> Option<PoolSnapshot> {
        self.pools().into_iter().find(|pool| &*pool.name == name)
    }

    pub(super) fn pools(&self) -> Vec<PoolSnapshot> {
        self.admission.snapshot().pools
    }

    pub(super) fn queued(&self) -> usize {
        self.admission.snapshot().queued
    }

    /// Tells those who wait for outcomes to go.
    pub(super) fn end_waits(&self) {
        self.proxy.end_waits();
    }

    /// Sends away those who wait.
    pub(super) fn close(&self) {
        self.proxy.send_away();
    }

    /// Lets everybody do what they can do now.
    pub(super) async fn settle(&self) {
        sleep(Duration::from_millis(1)).await;
    }
}

/// Opens a pipe to the scripted Zuora.
fn through(script: Arc<Script>) -> Connector {
    Connector::through(move |_| {
        let script = Arc::clone(&script);
        Box::pin(async move {
            if script.refuses_connections() {
                return Err(std::io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(PIPE);
            let service = service_fn(move |request| {
                let script = Arc::clone(&script);
                async move { script.answer(request).await }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(theirs), service);
            tokio::spawn(serving);
            Ok(Stream::new(TokioIo::new(ours)))
        })
    })
}

/// A task that ends with its value, as a caller's connection ends with the caller.
#[derive(Debug)]
struct Hold(tokio::task::JoinHandle<()>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer whose body has not been read yet.
#[derive(Debug)]
pub(super) struct Reading {
    response: Response<Incoming>,
    _connection: Hold,
}

impl Reading {
    pub(super) async fn rest(&mut self) -> String {
        let body = self.response.body_mut().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// All that comes, whatever it is.
    pub(super) async fn bytes(&mut self) -> Bytes {
        self.response.body_mut().collect().await.unwrap().to_bytes()
    }

    /// The next bytes.
    pub(super) async fn some(&mut self) -> Bytes {
        self.response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap()
    }

    /// Reads on, and says whether the answer ends before it is complete.
    pub(super) async fn is_cut_off(&mut self) -> bool {
        self.response.body_mut().collect().await.is_err()
    }

    async fn whole(mut self) -> Answer {
        let body = self.rest().await;
        Answer { status: self.response.status(), headers: self.response.headers().clone(), body }
    }
}

/// An answer as the caller received it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn fields(&self, name: &str) -> Vec<&str> {
        fields(&self.headers, name)
    }
}

fn fields<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    headers.get_all(name).into_iter().map(|value| value.to_str().unwrap()).collect()
}
