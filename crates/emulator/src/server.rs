//! The tenant as a running server: what its calls share, and its life.

use std::{
    convert::identity,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    io::{DuplexStream, duplex},
    net::{TcpListener, TcpSocket},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    answers::Answer,
    call::Call,
    contention::{Contention, Hold},
    control::Outsiders,
    faults::{Fault, Faults, Strike},
    gate::Gate,
    idempotency::Keys,
    later::{
        Later,
        options::{Definition, Mishap},
    },
    ledger::{Book, Ledger},
    limits::{Limits, Outsider},
    locks::lock,
    options::Options,
    rate::Rate,
    road,
    service_time::ServiceTime,
    soap,
    store::Store,
    wire::{Link, Stream, Wire},
};

/// How long `stop` lets answers that are on their way arrive.
const GRACE: Duration = Duration::from_millis(500);

/// How long `stop` waits for connections that were told to close.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long a connection may be idle, or a head take to arrive.
const IDLE: Duration = Duration::from_secs(75);

/// How many connections may wait to be accepted. Clients of a whole company may come at once, and
/// those that find no place here try again only after a second.
const BACKLOG: u32 = 4096;

/// How long to rest when the system has no more sockets for us.
const ACCEPT_REST: Duration = Duration::from_millis(20);

/// How much of what one end of a connection in memory wrote waits for the other to read it.
const PIPE_BYTES: usize = 64 * 1024;

/// Who calls over a connection in memory, as logins count addresses.
const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An emulated tenant, running. Dropping it stops it at once.
#[derive(Debug)]
pub struct Tenant {
    inner: Arc<Inner>,
}

/// What the calls of a tenant share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) address: SocketAddr,
    /// What absolute links begin with.
    base_url: String,
    pub(crate) gate: Gate,
    pub(crate) limits: Limits,
    pub(crate) rate: Option<Rate>,
    pub(crate) faults: Faults,
    pub(crate) keys: Arc<Keys>,
    contention: Arc<Contention>,
    pub(crate) book: Book,
    pub(crate) outsiders: Outsiders,
    pub(crate) later: Later,
    store: Mutex<Store>,
    service_time: Mutex<(ServiceTime, StdRng)>,
    /// No more connections; open ones end after their answer.
    closing: CancellationToken,
    /// Everything ends now.
    closed: CancellationToken,
    tasks: TaskTracker,
}

impl Tenant {
    /// Starts a tenant on the current runtime.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on, or the authorities for callouts
    /// are no certificates.
    pub async fn start(options: Options) -> io::Result<Self> {
        let later = Later::new(&options)?;
        let listener = listen(options.address)?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner::new(options, address, later));
        inner.tasks.spawn(accept(listener, Arc::clone(&inner)));
        Ok(Self { inner })
    }

    /// A tenant that listens nowhere: [`Tenant::connect`] is the way in. It
    /// works under a stopped clock, which sockets do not. Links in answers
    /// begin with `public_url`, or with the address of the options, though
    /// nobody listens there. Callouts need [`Tenant::call_out_through`].
    #[must_use]
    pub fn in_memory(options: Options) -> Self {
        let mut address = options.address;
        if address.port() == 0 {
            // A port that URLs can have.
            address.set_port(80);
        }
        let later = Later::in_memory(&options);
        Self { inner: Arc::new(Inner::new(options, address, later)) }
    }

    /// A new connection in memory, without a socket, served like any other.
    /// It needs a runtime, and stays open as long as a socket would.
    #[must_use]
    pub fn connect(&self) -> DuplexStream {
        let (near, far) = duplex(PIPE_BYTES);
        self.inner.tasks.spawn(serve(far, NEIGHBOUR, Arc::clone(&self.inner)));
        near
    }

    /// Where it listens, with the port it was given.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// What clients take for `https://rest.zuora.com`: `http://` and the address.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.inner.address)
    }

    /// A snapshot of everything it executed and counted.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.inner.snapshot(usize::MAX)
    }

    /// The counters alone, with `executed` empty: cheap enough to ask often.
    #[must_use]
    pub fn counters(&self) -> Ledger {
        self.inner.snapshot(0)
    }

    /// Forgets what was counted, kept and asked for: ledger, idempotency keys,
    /// faults and planned mishaps. Tokens, data, jobs, the callout history and
    /// what is in flight stay.
    pub fn reset(&self) {
        self.inner.reset();
    }

    /// Adds a fault, behind those that still wait.
    pub fn fault(&self, fault: Fault) {
        self.inner.faults.add(fault);
    }

    /// The faults that still wait for their calls.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.inner.faults.waiting()
    }

    /// The last thousand faults that struck, oldest first. A cut on the wire
    /// is there once it has been made, with how many bytes passed.
    #[must_use]
    pub fn strikes(&self) -> Vec<Strike> {
        self.inner.faults.struck()
    }

    /// Takes all faults back that still wait.
    pub fn clear_faults(&self) {
        self.inner.faults.clear();
    }

    /// Changes the limit of a limit type, in every entity; `None` lifts it.
    /// Calls in flight stay. Whether there is such a limit type.
    pub fn set_limit(&self, limit_type: &str, limit: Option<u32>) -> bool {
        self.inner.limits.set(limit_type, limit)
    }

    /// Changes the service time of calls that come from now on.
    pub fn set_service_time(&self, time: ServiceTime) {
        lock(&self.inner.service_time).0 = time;
    }

    /// Somebody else takes `permits` of a limit type, in the first entity,
    /// until dropped; more than there is room for, too. `None`: no such type.
    #[must_use]
    pub fn occupy(&self, limit_type: &str, permits: u32) -> Option<Outsider> {
        Some(self.inner.limits.pool(None, limit_type)?.occupy(permits))
    }

    /// Takes all tokens back: whoever uses one is answered 401.
    pub fn revoke_tokens(&self) {
        self.inner.gate.revoke();
    }

    /// Ends all sessions: whoever uses one is answered 401, and in SOAP with
    /// the fault `INVALID_SESSION`.
    pub fn end_sessions(&self) {
        self.inner.gate.end_sessions();
    }

    /// From now on these clients get tokens, each an id and a secret, and no
    /// others; the tokens of others end. Two of one id are two secrets that
    /// are valid at once.
    pub fn set_clients(&self, clients: &[(&str, &str)]) {
        self.inner.gate.set_clients(&owned(clients));
    }

    /// From now on these API users get in, by their `apiAccessKeyId` and
    /// `apiSecretAccessKey` or with `POST /v1/connections`, and no others; the
    /// sessions of others end.
    pub fn set_api_keys(&self, keys: &[(&str, &str)]) {
        self.inner.gate.set_api_keys(&owned(keys));
    }

    /// From now on these users may log in with SOAP, each a name and a
    /// password, and no others; the sessions of others end.
    pub fn set_soap_users(&self, users: &[(&str, &str)]) {
        self.inner.gate.set_soap_users(&owned(users));
    }

    /// From now on these definitions tell of asynchronous writes, and no
    /// others; those of other events come back.
    pub fn set_definitions(&self, definitions: &[Definition]) {
        self.inner.later.set_definitions(definitions);
    }

    /// The definitions that tell of asynchronous writes, as they are now.
    #[must_use]
    pub fn definitions(&self) -> Vec<Definition> {
        self.inner.later.definitions()
    }

    /// From now on callouts are sent over what `road` gives for their URL, as
    /// plain HTTP/1.1, in place of sockets: it works under a stopped clock.
    pub fn call_out_through(
        &self,
        road: impl Fn(&str) -> io::Result<DuplexStream> + Send + Sync + 'static,
    ) {
        self.inner.later.set_road(Arc::new(road));
    }

    /// The next so many asynchronous writes meet this, and nothing else.
    pub fn plan_mishap(&self, mishap: Mishap, times: usize) {
        self.inner.later.plan(mishap, times);
    }

    /// From now on asynchronous writes that nothing is planned for meet
    /// mishaps by these chances.
    pub fn set_mishaps(&self, mishaps: &[(Mishap, f64)]) {
        self.inner.later.set_mishaps(mishaps);
    }

    /// Lets asynchronous writes rest that are not begun yet, or go on.
    pub fn pause_async(&self, paused: bool) {
        self.inner.later.pause(paused);
    }

    /// Waits until every accepted write is done and every callout has arrived
    /// or was given up; long, if some wait to be tried again.
    pub async fn async_idle(&self) {
        self.inner.later.idle().await;
    }

    /// Stops: no new connections, half a second for answers on their way,
    /// then everything is closed. Work that nobody waits for is abandoned.
    pub async fn stop(self) {
        self.inner.closing.cancel();
        self.inner.tasks.close();
        if timeout(GRACE, self.inner.tasks.wait()).await.is_err() {
            self.inner.closed.cancel();
            // A task that does not listen would be a bug; do not hang on it.
            timeout(FAREWELL, self.inner.tasks.wait()).await.unwrap_or_default();
        }
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.inner.closing.cancel();
        self.inner.closed.cancel();
    }
}

impl Inner {
    fn new(options: Options, address: SocketAddr, later: Later) -> Self {
        let base_url = options.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let random = StdRng::seed_from_u64(options.seed);
        Self {
            address,
            gate: Gate::new(&options),
            limits: Limits::new(&options.limits, &options.entities, options.enforce_limits),
            rate: Rate::new(&options.rate),
            faults: Faults::new(options.faults.clone()),
            keys: Arc::new(Keys::default()),
            contention: Arc::new(Contention::default()),
            book: Book::new(options.ledger_capacity),
            outsiders: Outsiders::default(),
            later,
            store: Mutex::new(Store::new(&options, &base_url, &format!("http://{address}"))),
            service_time: Mutex::new((options.service_time, random)),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
            base_url,
            options,
        }
    }

    /// The description of the SOAP API.
    pub(crate) fn description(&self, call: &Call) -> Answer {
        let version = call.parameter("version").unwrap_or("91.0");
        let address = format!("{}/apps/services/a/{version}", self.soap_base_url());
        let text = soap::description(&address);
        Answer::text(StatusCode::OK, "text/xml;charset=UTF-8", text)
    }

    /// Where a client that logs in with SOAP goes on.
    pub(crate) fn soap_address(&self, call: &Call) -> String {
        format!("{}{}", self.soap_base_url(), call.path)
    }

    fn soap_base_url(&self) -> &str {
        let named = self.options.soap_public_url.as_deref().unwrap_or(&self.base_url);
        named.trim_end_matches('/')
    }

    /// Executes a call on the data.
    pub(crate) fn execute(&self, call: &Call) -> Answer {
        if call.is_signing() {
            return self.gate.single_use.sign(call);
        }
        lock(&self.store).execute(call)
    }

    /// What the object store beside the tenant answers.
    pub(crate) fn stored_file(&self, call: &Call, id: &str) -> Answer {
        lock(&self.store).stored_file(call, id)
    }

    /// The accounts that a call changes, held for it; `None` when another
    /// write holds one of them.
    pub(crate) fn hold_accounts(&self, call: &Call) -> Option<Hold> {
        let touched = if self.options.lock_contention && call.operation.kind.is_write() {
            lock(&self.store).accounts_touched(call)
        } else {
            Default::default()
        };
        self.contention.hold(touched)
    }

    /// How long a call takes: to hand a write in takes its own time.
    pub(crate) fn draw_service_time(&self, call: &Call) -> Duration {
        let submits = call.is_submission().then_some(self.later.options.submit_time);
        self.draw(submits)
    }

    /// How long the work of an asynchronous write takes.
    pub(crate) fn draw_async_work_time(&self) -> Duration {
        self.draw(self.later.options.work_time)
    }

    /// Draws from this distribution, or from that of all calls.
    fn draw(&self, own: Option<ServiceTime>) -> Duration {
        let mut drawn = lock(&self.service_time);
        let (time, random) = &mut *drawn;
        own.unwrap_or(*time).draw(random)
    }

    /// Where `target` is found by whoever follows absolute links.
    pub(crate) fn link_to(&self, target: &str) -> String {
        format!("{}{target}", self.base_url.trim_end_matches('/'))
    }

    /// The ledger, with the last `most` of what it lists.
    pub(crate) fn snapshot(&self, most: usize) -> Ledger {
        let mut ledger = self.book.snapshot(&self.limits, most);
        self.later.tell_ledger(&mut ledger, most);
        ledger
    }

    pub(crate) fn limit_type_of<'a>(&'a self, call: &Call) -> &'a str {
        let moved = self.options.reclassified.iter().find(|rule| {
            rule.method.as_deref().is_none_or(|method| method == call.method.as_str())
                && call.path.starts_with(&rule.path)
        });
        moved.map_or(call.operation.limit_type, |rule| rule.limit_type.as_str())
    }

    /// Lets work go on that nobody waits for any more.
    pub(crate) fn carry_on<T: Send + 'static>(
        &self,
        work: Pin<Box<dyn Future<Output = T> + Send>>,
    ) {
        // Without a runtime we are being torn down, and the work with us.
        if tokio::runtime::Handle::try_current().is_ok() {
            let closed = self.closed.clone();
            self.tasks.spawn(async move {
                closed.run_until_cancelled(work).await;
            });
        }
    }

    /// Lets a connection that was cut come to its end.
    pub(crate) fn see_off(&self, farewell: impl Future<Output = ()> + Send + 'static) {
        let closed = self.closed.clone();
        self.tasks.spawn(async move {
            closed.run_until_cancelled(farewell).await;
        });
    }

    pub(crate) fn reset(&self) {
        self.book.reset();
        self.limits.reset();
        self.keys.reset();
        self.faults.reset();
        self.later.reset();
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until the tenant closes.
async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    loop {
        let accepted = inner.closing.run_until_cancelled(listener.accept()).await;
        match accepted {
            None => return,
            Some(Ok((stream, peer))) => {
                // Answers are small and awaited: never wait for more to send.
                stream.set_nodelay(true).map_or_else(drop, identity);
                let inner_of_connection = Arc::clone(&inner);
                inner.tasks.spawn(serve(stream, peer.ip(), inner_of_connection));
            }
            // Out of sockets, or the caller is gone already: both pass.
            Some(Err(_)) => sleep(ACCEPT_REST).await,
        }
    }
}

/// Serves one connection until either side ends it.
async fn serve(stream: impl Stream, peer: IpAddr, inner: Arc<Inner>) {
    let (closing, closed) = (inner.closing.clone(), inner.closed.clone());
    let link = Arc::new(Link::default());
    let wire = Wire::new(stream, Arc::clone(&inner), Arc::clone(&link));
    let service = service_fn(move |request| {
        road::answer(Arc::clone(&inner), Arc::clone(&link), peer, request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1000);
    let connection = builder.serve_connection(TokioIo::new(wire), service);
    tokio::pin!(connection);
    tokio::select! {
        // How a connection ends is the caller's affair, not a failure here.
        _ended = connection.as_mut() => return,
        () = closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    closed.run_until_cancelled(connection).await;
}
