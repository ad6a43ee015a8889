//! Everybody who takes part, wired together in memory.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use config::ProcessEnvironment;
use emulator::{Options, ServiceTime, Tenant};
use gateway::Portless;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use proxy::{Connector, Peer, Port, Server, Stream};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::callers::Caller;
use super::watch::Watch;
use super::weather::Weather;
use super::{Course, Soak, Wire};
use crate::Yaml;

/// What the tenant allows of each limit type: few, so that calls wait.
const LIMITS: [(&str, u32); 3] =
    [("Default", 8), ("High-volume transactions", 4), ("Object Query", 3)];

/// Few, so that writes meet.
pub(super) const ACCOUNTS: u32 = 30;

/// How much of what one side wrote waits for the other to read it.
const PIPE_BYTES: usize = 64 * 1024;

/// After so long all work is over: Zuora gives up after two minutes, and nobody reads as slowly.
const ALL_OVER: Duration = Duration::from_secs(600);

/// What callers need.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) gateway: Arc<Portless>,
    /// Where it listens, if it does.
    address: Option<SocketAddr>,
    pub(super) watch: Arc<OnceLock<Watch>>,
    /// Tells that an answer of Zuora's has come, as far as pipes are watched.
    pub(super) answers: Arc<Notify>,
    /// When calls end to come.
    pub(super) until: Instant,
}

/// One end of a connection.
pub(super) trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

impl Scene {
    /// All of it, from the first call until nothing is left.
    pub(super) async fn play(soak: &Soak, watch: &Arc<OnceLock<Watch>>) -> Course {
        let tenant = Arc::new(tenant(soak).await);
        let answers = Arc::default();
        let gateway = Arc::new(gateway(soak.wire, &tenant, &answers));
        let stop = CancellationToken::new();
        let address = match soak.wire {
            Wire::Pipes => None,
            Wire::Sockets => Some(listen(&gateway, stop.clone()).await),
        };
        // The first token is there, and where time costs nothing it is so old that a no to it is worth another.
        sleep(Duration::from_secs(if soak.wire == Wire::Pipes { 60 } else { 1 })).await;
        let watched = Watch::new(Arc::clone(&gateway), Arc::clone(&tenant), soak);
        assert!(watch.set(watched).is_ok(), "it is the first");

        let until = Instant::now() + soak.lasts;
        let scene = Self { gateway, address, watch: Arc::clone(watch), answers, until };
        let mut callers = JoinSet::new();
        for number in 0..soak.callers {
            callers.spawn(Caller::new(scene.clone(), soak.seed, number).keep_calling());
        }
        let mut weather = Weather::new(soak);
        let _ = timeout(soak.lasts, weather.keep_striking(&tenant)).await;
        tenant.clear_faults();
        while let Some(ended) = callers.join_next().await {
            ended.expect("a caller never panics");
        }

        let watch = scene.watch();
        let over = Instant::now() + ALL_OVER;
        while !watch.is_at_rest() && Instant::now() < over {
            sleep(Duration::from_millis(100)).await;
        }
        watch.nothing_is_left();
        stop.cancel();
        scene.gateway.proxy().send_away();
        if timeout(ALL_OVER, scene.gateway.proxy().drained()).await.is_err() {
            watch.tell("some legs never ended");
        }
        let book = tenant.counters();
        let mut course = std::mem::take(&mut *watch.seen());
        course.limits = book.limits;
        course.executed = book.executed_total;
        course.faults = book.faulted_calls;
        course.contended = book.contended_calls;
        course.refused = book.refused_concurrency + book.refused_rate;
        course.unauthenticated = book.unauthenticated_calls;
        course
    }

    pub(super) fn watch(&self) -> &Watch {
        self.watch.get().expect("it is set before anybody calls")
    }

    /// A new connection to the gateway.
    pub(super) async fn connect(&self) -> Box<dyn Pipe> {
        if let Some(address) = self.address {
            return Box::new(TcpStream::connect(address).await.expect("somebody listens"));
        }
        let (ours, theirs) = duplex(PIPE_BYTES);
        let proxy = Arc::clone(self.gateway.proxy());
        let service = service_fn(move |request| {
            let answer = Arc::clone(&proxy).handle(request, &Peer::default());
            async move { Ok::<_, Infallible>(answer.await) }
        });
        // As the gateway's own server does: who stops to write has left.
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .half_close(false)
            .serve_connection(TokioIo::new(theirs), service);
        tokio::spawn(serving);
        Box::new(ours)
    }
}

/// Lets callers in through the gateway's own server.
async fn listen(gateway: &Portless, stop: CancellationToken) -> SocketAddr {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(any, None, 10_000, Port::Both, Arc::clone(gateway.proxy())).await;
    let server = server.expect("a free port");
    let address = server.address().expect("it listens");
    tokio::spawn(server.serve(stop));
    address
}

async fn tenant(soak: &Soak) -> Tenant {
    let options = Options {
        limits: LIMITS.map(|(name, limit)| (name.to_owned(), limit)).to_vec(),
        service_time: ServiceTime::LogNormal {
            median: Duration::from_millis(30),
            p99: Duration::from_millis(300),
        },
        retry_after: Duration::from_secs(1),
        lock_contention: true,
        accounts: ACCOUNTS as usize,
        ledger_capacity: 1_000_000,
        seed: soak.seed,
        ..Options::default()
    };
    match soak.wire {
        Wire::Pipes => Tenant::in_memory(options),
        Wire::Sockets => Tenant::start(options).await.expect("a free port"),
    }
}

fn gateway(wire: Wire, tenant: &Arc<Tenant>, answers: &Arc<Notify>) -> Portless {
    let limits = LIMITS.map(|(name, limit)| format!("{name}: {limit}")).join(", ");
    let app = |name: &str, number: usize, keys: &str| {
        let id = format!("0b7c1f0e-4a51-4f43-9d0c-5f3a3a1b{number:04}");
        (name.to_owned(), format!("client_id: {id}, secret: {}{keys}", secret(name)))
    };
    let yaml = Yaml {
        tenant: vec![
            format!("concurrency: {{limits: {{{limits}}}, headroom: 0}}"),
            "queue: {timeout: 4s, max_requests: 40, max_bytes: 4MiB}".to_owned(),
            "lanes: account".to_owned(),
        ],
        apps: vec![
            app("nightly", 1, ", priority: batch"),
            app("checkout", 2, ", weight: 3, reserve: 1"),
        ],
        top: vec!["signing_key: a key of at least thirty-two characters".to_owned()],
        ..Yaml::default()
    };
    let text = yaml.text(&tenant.base_url(), Path::new("nowhere"));
    let config = config::parse(&text, Path::new("soak.yaml"), &ProcessEnvironment);
    let config = config.unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let (tenant, answers) = (Arc::clone(tenant), Arc::clone(answers));
    let wire = match wire {
        Wire::Pipes => Connector::through(move |_| {
            let wire = Tapped { pipe: tenant.connect(), answers: Arc::clone(&answers) };
            Box::pin(async move { Ok(Stream::new(TokioIo::new(wire))) })
        }),
        Wire::Sockets => {
            let roots = proxy::client_config(None).expect("no file is named");
            Connector::tcp(roots, Duration::from_secs(5))
        }
    };
    Portless::start(&config, wire).expect("nothing of it can fail")
}

/// A connection to Zuora that tells when something came over it: the caller next in line is about to get the permit of
/// the call that is answered, and may leave in this very instant.
struct Tapped {
    pipe: DuplexStream,
    answers: Arc<Notify>,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.pipe).poll_read(cx, buffer));
        self.answers.notify_waiters();
        Poll::Ready(read)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// What an app of that name presents.
pub(super) fn secret(app: &str) -> String {
    match app {
        "app" => crate::SECRET.to_owned(),
        other => format!("the-secret-of-{other}"),
    }
}
