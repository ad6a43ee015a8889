//! A wire between the gateway and Zuora that is cut where a test says.
//!
//! The scissors count requests and their bytes, know nothing of either side, and write down what passed: what they saw is
//! evidence against the gateway, beside the ledger.

mod message;
mod relay;
mod wire;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use emulator::{Fault, FaultKind, Tenant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, Instant};

pub use relay::Relay;
pub use wire::Wire;

use message::Message;

/// What the gateway sees of a connection that has been cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// The other side has closed: reading ends, and what is written disappears.
    Closed,
    /// A reset that arrives at once: neither reading nor writing is possible.
    Reset,
    /// A reset that arrives when all is written: what is written disappears, and reading fails.
    ResetLate,
    /// The other side has closed, and the system knows: reading ends, and writing fails.
    Pipe,
}

impl How {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Closed, Self::Reset, Self::ResetLate, Self::Pipe];

    /// Whether bytes can still be written, though they go nowhere.
    #[must_use]
    pub fn swallows(self) -> bool {
        matches!(self, Self::Closed | Self::ResetLate)
    }
}

/// What happens to one request on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Snip {
    /// Only so many bytes of the request reach Zuora. If that is all of it, Zuora goes on to work.
    Request {
        /// How many bytes, head included.
        after: usize,
        /// What the gateway sees.
        how: How,
    },
    /// The gateway receives only so many bytes of the answer.
    Answer {
        /// How many bytes, head included.
        after: usize,
        /// What the gateway sees.
        how: How,
    },
    /// Somebody in between answers, and closes.
    Instead {
        /// With this status.
        status: u16,
        /// And these fields, each with its line break.
        fields: &'static str,
        /// And this body.
        body: &'static str,
        /// So long after the request has left.
        after: Duration,
        /// Whether Zuora receives the request all the same.
        delivered: bool,
    },
    /// Nobody ever answers.
    Silence {
        /// Whether Zuora receives the request.
        delivered: bool,
    },
}

/// What becomes of one request: at Zuora, and on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What goes wrong at Zuora.
    pub zuora: Option<FaultKind>,
    /// What goes wrong on the way.
    pub wire: Option<Snip>,
}

/// A request as it left the gateway, and what came back.
#[derive(Clone)]
pub struct Exchange {
    /// Which connection carried it, counted from 0.
    pub connection: usize,
    /// Whether the connection had carried another before.
    pub is_reused: bool,
    /// When its first byte was written, or refused.
    pub at: Instant,
    /// What left the gateway, wherever it went.
    pub request: Vec<u8>,
    /// When that was all of it.
    pub sent: Option<Instant>,
    /// How many bytes reached Zuora.
    pub delivered: usize,
    /// What the gateway received.
    pub answer: Vec<u8>,
    /// When that was all of it.
    pub answered: Option<Instant>,
}

impl Exchange {
    /// The values of a field of the request.
    #[must_use]
    pub fn fields(&self, name: &str) -> Vec<String> {
        let head = head(&self.request);
        let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let named = lines.filter(|(given, _)| given.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim().to_owned()).collect()
    }

    /// The bytes behind the head of the request.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        let end = find(&self.request, b"\r\n\r\n").map_or(self.request.len(), |end| end + 4);
        &self.request[end..]
    }

    /// The status that the gateway received, if it received one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let line = self.answer.split(|byte| *byte == b'\r').next()?;
        String::from_utf8_lossy(line).split(' ').nth(1)?.parse().ok()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = head(&self.request).split("\r\n").next().unwrap_or_default().to_owned();
        write!(
            f,
            "#{}{} `{first}` key {:?}: {} bytes left{}, {} arrived; answer {:?}, {} bytes{}",
            self.connection,
            if self.is_reused { " again" } else { "" },
            self.fields("idempotency-key"),
            self.request.len(),
            if self.sent.is_some() { " (all)" } else { "" },
            self.delivered,
            self.status(),
            self.answer.len(),
            if self.answered.is_some() { " (all)" } else { "" },
        )
    }
}

fn head(request: &[u8]) -> String {
    let end = find(request, b"\r\n\r\n").unwrap_or(request.len());
    String::from_utf8_lossy(&request[..end]).into_owned()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The scissors, which every connection to the tenant passes.
#[derive(Debug)]
pub struct Scissors {
    tenant: Arc<Tenant>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What becomes of the next requests; nothing of those after.
    steps: std::collections::VecDeque<Step>,
    exchanges: Vec<Exchange>,
    lines: Vec<Line>,
    /// How many connections will not come about.
    unreachable: u32,
    /// The most bytes that pass at once.
    piece: Option<usize>,
}

/// A connection.
#[derive(Debug)]
struct Line {
    /// It has carried something.
    has_begun: bool,
    cut: Option<How>,
    reader: Option<Waker>,
    request: Message,
    answer: Message,
    /// What it carries now, or carried last.
    exchange: Option<usize>,
    snip: Option<Snip>,
}

impl Line {
    fn is_idle(&self) -> bool {
        self.exchange.is_none() || self.answer.is_whole()
    }

    fn cut(&mut self, how: How) {
        self.cut = Some(how);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Scissors {
    /// Scissors before a tenant. They do nothing until they are told to.
    #[must_use]
    pub fn before(tenant: Arc<Tenant>) -> Arc<Self> {
        Arc::new(Self { tenant, state: Mutex::default() })
    }

    /// The tenant behind them.
    #[must_use]
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// From now on: these steps, one for each request that begins, logins left out. What was seen is forgotten.
    pub fn arm(&self, steps: impl IntoIterator<Item = Step>) {
        let mut state = self.lock();
        state.steps = steps.into_iter().collect();
        state.exchanges.clear();
        for line in &mut state.lines {
            line.exchange = None;
        }
    }

    /// So many of the next connections cannot be opened.
    pub fn refuse_connections(&self, times: u32) {
        self.lock().unreachable = times;
    }

    /// Lets bytes pass only so many at once.
    pub fn in_pieces_of(&self, most: Option<usize>) {
        self.lock().piece = most;
    }

    /// Closes the connections that carry nothing now. Returns how many.
    pub fn cut_idle(&self, how: How) -> usize {
        let mut state = self.lock();
        let idle = state.lines.iter_mut().filter(|line| line.cut.is_none() && line.is_idle());
        idle.map(|line| line.cut(how)).count()
    }

    /// Every request since they were armed, in the order in which they began.
    pub fn seen(&self) -> Vec<Exchange> {
        self.lock().exchanges.clone()
    }

    /// A new connection, carried by `inner`; `None` if none is to be had.
    pub fn connect<S>(self: &Arc<Self>, inner: S) -> Option<Wire<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut state = self.lock();
        if state.unreachable > 0 {
            state.unreachable -= 1;
            return None;
        }
        state.lines.push(Line {
            has_begun: false,
            cut: None,
            reader: None,
            request: Message::request(),
            answer: Message::answer(),
            exchange: None,
            snip: None,
        });
        Some(Wire::new(Arc::clone(self), state.lines.len() - 1, inner))
    }

    /// A new connection in memory, for a runtime whose clock stands still.
    pub fn connect_in_memory(self: &Arc<Self>) -> Option<Wire<tokio::io::DuplexStream>> {
        self.connect(self.tenant.connect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request begins with `first`, and does to it what is due.
    fn begin(&self, state: &mut State, line: usize, first: &[u8]) {
        let is_reused = state.lines[line].has_begun;
        let is_login = first.starts_with(b"POST /oauth/token ");
        // What meets a connection that was cut while it was idle has met its fault.
        let step = match is_login || state.lines[line].cut.is_some() {
            true => Step::default(),
            false => state.steps.pop_front().unwrap_or_default(),
        };
        let exchange = Exchange {
            connection: line,
            is_reused,
            at: Instant::now(),
            request: Vec::new(),
            sent: None,
            delivered: 0,
            answer: Vec::new(),
            answered: None,
        };
        if !is_login {
            if let Some(kind) = step.zuora {
                self.tenant.fault(Fault::once("", kind));
            }
            state.exchanges.push(exchange);
        }
        let index = state.exchanges.len().checked_sub(1).filter(|_| !is_login);
        let line = &mut state.lines[line];
        line.has_begun = true;
        line.request = Message::request();
        line.answer = match first.starts_with(b"HEAD ") {
            true => Message::answer_to_head(),
            false => Message::answer(),
        };
        line.exchange = index;
        line.snip = step.wire;
    }
}
