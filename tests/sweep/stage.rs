//! One case: a caller, the gateway as it is wired from its configuration, the scissors, and the tenant behind them, in
//! one thread under a stopped clock.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::ProcessEnvironment;
use emulator::{Ledger, Options, ServiceTime, Tenant};
use gateway::Portless;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use proxy::{Connector, Peer, Stream};
use testkit::{Exchange, How, SECRET, Scissors, Step};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::family::Family;

/// Nothing here takes longer: Zuora gives up after two minutes, and there are five attempts.
const AGES: Duration = Duration::from_secs(3 * 3600);

/// How long the tenant works.
const SERVICE: Duration = Duration::from_millis(50);

/// One call, and what befalls it.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) family: Arc<Family>,
    pub(crate) before: Before,
    /// What becomes of the first request, of the second, and so on.
    pub(crate) steps: Vec<Step>,
    /// The most bytes that pass the wire at once.
    pub(crate) piece: Option<usize>,
    /// When the caller leaves, if it does.
    pub(crate) leaves: Option<Duration>,
}

/// What the call finds when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// A connection that lies idle.
    Pooled,
    /// No connection.
    Fresh,
    /// A connection that ends at this very moment.
    Ending(How),
    /// No connection, and none to be had so many times.
    Unreachable(u32),
}

impl Case {
    /// One in which nothing goes wrong.
    pub(crate) fn plain(family: &Arc<Family>) -> Self {
        Self {
            family: Arc::clone(family),
            before: Before::Pooled,
            steps: Vec::new(),
            piece: None,
            leaves: None,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {:?}", self.family.name, self.before)?;
        if let Some(piece) = self.piece {
            write!(f, " | in {piece}s")?;
        }
        if let Some(leaves) = self.leaves {
            write!(f, " | left after {leaves:?}")?;
        }
        for step in &self.steps {
            f.write_str(" | ")?;
            match (&step.zuora, &step.wire) {
                (None, None) => f.write_str("nothing")?,
                (Some(zuora), None) => write!(f, "Zuora: {zuora:?}")?,
                (None, Some(wire)) => write!(f, "{wire:?}")?,
                (Some(zuora), Some(wire)) => write!(f, "Zuora: {zuora:?}, {wire:?}")?,
            }
        }
        Ok(())
    }
}

/// What the caller received.
#[derive(Clone, Debug)]
pub(crate) enum Received {
    Whole {
        status: StatusCode,
        fields: HeaderMap,
        body: Bytes,
    },
    /// The answer ended before it was complete.
    Broken,
    /// The connection ended without an answer.
    Nothing,
    /// It did not wait for one.
    Left,
    /// Not in hours.
    Never,
}

/// How a case went, once all work was over.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) received: Received,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) ledger: Ledger,
    /// When the tenant began to count the milliseconds of its ledger.
    pub(crate) born: Instant,
    /// Permits that the gateway still counts as out, and calls that it still counts as waiting.
    pub(crate) left_over: (u32, usize),
    /// Whether nobody can say whether bytes that were written to a connection that was ending have left.
    pub(crate) is_over_sockets: bool,
}

/// Plays a case to its end. In a runtime of its own, so that no case knows of another.
pub(crate) fn play(case: &Case) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(perform(case))
}

async fn perform(case: &Case) -> Outcome {
    let family = &case.family;
    let born = Instant::now();
    let tenant = Arc::new(Tenant::in_memory(Options {
        accounts: 2,
        products: 12,
        service_time: ServiceTime::Constant(SERVICE),
        ledger_capacity: 100,
        ..Options::default()
    }));
    let scissors = Scissors::before(Arc::clone(&tenant));
    let gateway = gateway(family, &tenant, &scissors);
    let scene = Scene { gateway };

    // A token that is new is not exchanged for another: Zuora would like that no better.
    sleep(Duration::from_secs(60)).await;
    // The gateway knows the tenant and has a connection to it.
    let greeting = scene.call("GET", "/v1/accounts/A00000001", &[], &[]).await;
    assert!(matches!(greeting, Received::Whole { status: StatusCode::OK, .. }), "{greeting:?}");
    let begun = tenant.ledger().executed.len();
    scissors.arm(case.steps.iter().cloned());
    scissors.in_pieces_of(case.piece);
    match case.before {
        Before::Pooled => {}
        Before::Fresh | Before::Unreachable(_) => {
            scissors.cut_idle(How::Closed);
            sleep(Duration::from_millis(5)).await;
            if let Before::Unreachable(times) = case.before {
                scissors.refuse_connections(times);
            }
        }
        Before::Ending(how) => {
            scissors.cut_idle(how);
        }
    }

    let call = scene.call(family.method, family.path, &family.fields, &family.body);
    let received = match case.leaves {
        Some(after) => timeout(after, call).await.unwrap_or(Received::Left),
        None => timeout(AGES, call).await.unwrap_or(Received::Never),
    };
    // Until Zuora has worked on everything that it was ever given.
    sleep(Duration::from_secs(900)).await;
    let mut ledger = tenant.ledger();
    ledger.executed.drain(..begun);
    let snapshot = scene.gateway.admissions()[0].1.snapshot();
    Outcome {
        received,
        exchanges: scissors.seen(),
        ledger,
        born,
        left_over: (snapshot.in_use, snapshot.queued),
        is_over_sockets: false,
    }
}

fn gateway(family: &Family, tenant: &Tenant, scissors: &Arc<Scissors>) -> Portless {
    let text = family.yaml().text(&tenant.base_url(), Path::new("nowhere"));
    let config = config::parse(&text, Path::new("sweep.yaml"), &ProcessEnvironment);
    let config = config.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let scissors = Arc::clone(scissors);
    let wire = Connector::through(move |_| {
        let wire = scissors.connect_in_memory();
        Box::pin(async move {
            let wire = wire.ok_or(io::ErrorKind::ConnectionRefused)?;
            Ok(Stream::new(TokioIo::new(wire)))
        })
    });
    Portless::start(&config, wire).expect("nothing of it can fail")
}

struct Scene {
    gateway: Portless,
}

impl Scene {
    /// Calls on a connection of its own.
    async fn call(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Received {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let proxy = Arc::clone(self.gateway.proxy());
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&proxy);
            async move { Ok::<_, Infallible>(proxy.handle(request, &Peer::default()).await) }
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(theirs), service);
        tokio::spawn(serving);
        call(TokioIo::new(ours), method, path, fields, body).await
    }
}

/// Calls over `stream`.
pub(crate) async fn call(
    stream: impl hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Received {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.expect("nothing is sent yet");
    // It ends with the caller.
    let _connection = Hold(tokio::spawn(async move { drop(connection.await) }));

    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "gateway")
        .header("authorization", format!("Bearer {SECRET}"));
    if !fields.iter().any(|(name, _)| *name == "content-type") && !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("a request");
    let Ok(response) = sender.send_request(request).await else { return Received::Nothing };
    let (head, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => {
            Received::Whole { status: head.status, fields: head.headers, body: body.to_bytes() }
        }
        Err(_) => Received::Broken,
    }
}

/// A task that ends with its value.
struct Hold(JoinHandle<()>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How long ago each request began, for a report.
pub(crate) fn report(outcome: &Outcome) -> String {
    use std::fmt::Write as _;

    let mut text = String::new();
    let first = outcome.exchanges.first().map_or_else(Instant::now, |exchange| exchange.at);
    for exchange in &outcome.exchanges {
        let after = exchange.at.duration_since(first).as_secs_f64();
        let _ = writeln!(text, "    +{after:.3}s {exchange:?}");
    }
    for executed in &outcome.ledger.executed {
        let _ = writeln!(
            text,
            "    executed: {} {} {} key {:?} track id {:?}",
            executed.method,
            executed.path,
            executed.status,
            executed.idempotency_key,
            executed.track_id
        );
    }
    let _ = writeln!(text, "    replays: {}", outcome.ledger.idempotent_replays);
    match &outcome.received {
        Received::Whole { status, fields, body } => {
            let ours = fields.iter().filter(|(name, _)| {
                let name = name.as_str();
                name.starts_with("zuora-gateway") || name.starts_with("idempotent")
            });
            let ours: Vec<_> = ours.map(|(name, value)| format!("{name}: {value:?}")).collect();
            let body = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            let _ = writeln!(text, "    received: {status} {ours:?} {body}");
        }
        other => {
            let _ = writeln!(text, "    received: {other:?}");
        }
    }
    text
}
