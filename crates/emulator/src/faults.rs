//! Faults on request: what goes wrong, for which calls, how often.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{category::Category, locks::lock, shapes::ErrorShape};

/// More faults than this at once are a mistake of the test; the oldest go.
const MOST_FAULTS: usize = 10_000;

/// How many of the last strikes are remembered.
const MOST_STRIKES: usize = 1_000;

/// Something that goes wrong, a given number of times, for the calls it matches.
///
/// Faults are asked in the order they were added and the first match is used
/// up; a call meets at most one. As JSON, for `POST /emulator/faults`:
/// `{"method": "POST", "path": "/v1/accounts", "times": 1, "kind": {"answer": {"status": 503}}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The method it applies to, in capitals; `None`: every method.
    #[serde(default)]
    pub method: Option<String>,
    /// What the path begins with; empty: every path, `/oauth/token` included.
    #[serde(default)]
    pub path: String,
    /// How many matching calls pass unharmed before it strikes.
    #[serde(default)]
    pub after: u32,
    /// How many calls it strikes.
    #[serde(default = "once")]
    pub times: u32,
    /// What goes wrong.
    pub kind: FaultKind,
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// Answers with this instead.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body, byte for byte.
        #[serde(default)]
        body: String,
        /// Its `Content-Type`.
        #[serde(default = "json")]
        content_type: String,
        /// More headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// Whether the work is done all the same, so that only its outcome is lost.
        #[serde(default)]
        executed: bool,
    },
    /// Refuses for concurrency, though there is room.
    RefuseConcurrency,
    /// Refuses for rate: bare code 70 and `ratelimit-*` headers.
    RefuseRate {
        /// What `ratelimit-reset` says, in seconds.
        reset: u64,
    },
    /// Answers as if the token were not known.
    Unauthenticated,
    /// Answers category 70 with HTTP 200 and `success: false`, work undone.
    LimitInBody,
    /// Answers category 50, lock contention: the work is rolled back.
    Contended,
    /// Fails with this category, the work undone. The failure is kept under
    /// an idempotency key like any outcome.
    Fail {
        /// The last two digits of the code.
        category: Category,
        /// The shape; `None`: that of the family called.
        #[serde(default)]
        shape: Option<ErrorShape>,
        /// How long the message is at least: above 1000 bytes answers are
        /// compressed for who asks.
        #[serde(default)]
        message_bytes: usize,
    },
    /// Cuts the connection when so many bytes of the request have come in,
    /// its head included; of HTTP/1.1 only. If that is all of it or more, the
    /// connection is cut before any answer.
    CutRequest {
        /// How many bytes the tenant still sees.
        after: u64,
        /// Whether the work is done before, if the request came whole. In part
        /// it is never executed.
        #[serde(default)]
        executed: bool,
        /// Whether the connection is reset instead of closed.
        #[serde(default)]
        reset: bool,
    },
    /// Does the work and cuts the connection when so many bytes of the answer
    /// are sent, its status line included; of HTTP/1.1 only. If that is all of
    /// it or more, the connection is cut behind its last byte.
    CutAnswer {
        /// How many bytes are still sent.
        after: u64,
        /// Whether the connection is reset instead of closed.
        #[serde(default)]
        reset: bool,
    },
    /// Closes the connection without an answer as soon as the request is
    /// there; the work goes on and is done later.
    CutLater {
        /// How much later.
        milliseconds: u64,
        /// Whether the connection is reset instead of closed; of HTTP/1.1 only.
        #[serde(default)]
        reset: bool,
    },
    /// The edge gives up waiting, with HTTP 504 and an HTML page, while the
    /// work may go on.
    GatewayTimeout {
        /// How long after the request, in milliseconds. Zuora waits 120 s.
        after_ms: u64,
        /// How long after that the work is done; `None`: never, it is given up
        /// when the edge is.
        #[serde(default)]
        completes_after_ms: Option<u64>,
    },
    /// Closes the connection without an answer.
    Cut {
        /// Whether the work is done before.
        #[serde(default)]
        executed: bool,
    },
    /// Does the work, begins the answer, and closes the connection midway.
    CutBody {
        /// How many bytes of the body are sent first.
        after: u64,
    },
    /// Works this much longer; a token is only handed out after it.
    Delay {
        /// How much longer.
        milliseconds: u64,
    },
    /// Does the work and answers with a JSON body of exactly this size.
    BodySize {
        /// The size in bytes.
        bytes: u64,
    },
    /// The edge in front of Zuora answers: HTTP 503 with an HTML page.
    HtmlUnavailable,
}

impl Fault {
    /// A fault for every call of `path` and below, once.
    pub fn once(path: impl Into<String>, kind: FaultKind) -> Self {
        Self { method: None, path: path.into(), after: 0, times: 1, kind }
    }

    /// The same fault, striking `times` calls.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// The same fault, for one method only.
    #[must_use]
    pub fn method(self, method: impl Into<String>) -> Self {
        Self { method: Some(method.into()), ..self }
    }

    /// The same fault, striking after so many matching calls passed unharmed.
    #[must_use]
    pub fn after(self, after: u32) -> Self {
        Self { after, ..self }
    }

    /// Whether it strikes below HTTP.
    fn is_on_wire(&self) -> bool {
        matches!(self.kind, FaultKind::CutRequest { .. } | FaultKind::CutAnswer { .. })
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && path.starts_with(&self.path)
    }
}

impl FaultKind {
    /// How much longer the work takes under this fault.
    pub(crate) fn delay(&self) -> Duration {
        match self {
            Self::Delay { milliseconds } => Duration::from_millis(*milliseconds),
            _ => Duration::ZERO,
        }
    }
}

/// A fault that struck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strike {
    /// When, in milliseconds since the start.
    pub at_ms: u64,
    /// The method of the call.
    pub method: String,
    /// Its path as received, without the query.
    pub path: String,
    /// What went wrong.
    pub kind: FaultKind,
    /// Of [`FaultKind::CutRequest`] and [`FaultKind::CutAnswer`]: how many
    /// bytes of the message passed.
    pub passed: Option<u64>,
    /// Whether that was all of it.
    pub whole: bool,
    /// Whether the connection had ended before it could strike.
    pub came_too_late: bool,
}

impl Strike {
    pub(crate) fn new(at_ms: u64, method: &str, path: &str, kind: FaultKind) -> Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        Self { at_ms, method, path, kind, passed: None, whole: false, came_too_late: false }
    }
}

/// What a call met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    Struck(FaultKind),
    /// A fault that lets more calls pass first.
    Spared,
}

/// The faults that still wait for their calls, and the last that struck.
#[derive(Debug)]
pub(crate) struct Faults {
    waiting: Mutex<Vec<Fault>>,
    /// How many of them strike below HTTP.
    on_wire: AtomicUsize,
    struck: Mutex<VecDeque<Strike>>,
}

impl Faults {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        let on_wire = AtomicUsize::new(faults.iter().filter(|fault| fault.is_on_wire()).count());
        Self { waiting: Mutex::new(faults), on_wire, struck: Mutex::default() }
    }

    pub(crate) fn add(&self, fault: Fault) {
        self.change(|waiting| {
            if waiting.len() >= MOST_FAULTS {
                waiting.remove(0);
            }
            waiting.push(fault);
        });
    }

    /// Takes back those that wait.
    pub(crate) fn clear(&self) {
        self.change(Vec::clear);
    }

    /// Forgets also those that struck.
    pub(crate) fn reset(&self) {
        self.clear();
        lock(&self.struck).clear();
    }

    pub(crate) fn waiting(&self) -> Vec<Fault> {
        lock(&self.waiting).clone()
    }

    pub(crate) fn struck(&self) -> Vec<Strike> {
        lock(&self.struck).iter().cloned().collect()
    }

    /// Remembers a strike.
    pub(crate) fn enter(&self, strike: Strike) {
        let mut struck = lock(&self.struck);
        if struck.len() >= MOST_STRIKES {
            struck.pop_front();
        }
        struck.push_back(strike);
    }

    /// Whether any fault strikes below HTTP: cheap to ask.
    pub(crate) fn concern_wires(&self) -> bool {
        self.on_wire.load(Ordering::Acquire) > 0
    }

    /// What this request meets below HTTP; `None`: nothing there, though the
    /// call may still meet something.
    pub(crate) fn take_on_wire(&self, method: &str, path: &str) -> Option<Met> {
        let of_call = |fault: &Fault| fault.matches(method, path);
        self.change(|waiting| {
            let at = waiting.iter().position(of_call).filter(|at| waiting[*at].is_on_wire())?;
            Some(strike(waiting, at))
        })
    }

    /// The fault that this call meets, if any; it is used up by that much.
    pub(crate) fn take(&self, method: &str, path: &str) -> Option<FaultKind> {
        let of_call = |fault: &Fault| !fault.is_on_wire() && fault.matches(method, path);
        let met = self.change(|waiting| {
            let at = waiting.iter().position(of_call)?;
            Some(strike(waiting, at))
        });
        match met? {
            Met::Struck(kind) => Some(kind),
            Met::Spared => None,
        }
    }

    /// The fault that the work of an asynchronous write meets: one that makes
    /// it fail, contend or last. Others are for calls and stay.
    pub(crate) fn take_later(&self, method: &str, path: &str) -> Option<FaultKind> {
        let of_work = |fault: &Fault| {
            let concerns = matches!(
                fault.kind,
                FaultKind::Fail { .. } | FaultKind::Contended | FaultKind::Delay { .. }
            );
            concerns && fault.matches(method, path)
        };
        let met = self.change(|waiting| {
            let at = waiting.iter().position(of_work)?;
            Some(strike(waiting, at))
        });
        match met? {
            Met::Struck(kind) => Some(kind),
            Met::Spared => None,
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Fault>) -> T) -> T {
        let mut waiting = lock(&self.waiting);
        let changed = change(&mut waiting);
        let on_wire = waiting.iter().filter(|fault| fault.is_on_wire()).count();
        self.on_wire.store(on_wire, Ordering::Release);
        changed
    }
}

/// Uses a fault up by one call.
fn strike(waiting: &mut Vec<Fault>, at: usize) -> Met {
    let fault = &mut waiting[at];
    if fault.after > 0 {
        fault.after -= 1;
        return Met::Spared;
    }
    let kind = fault.kind.clone();
    fault.times = fault.times.saturating_sub(1);
    if fault.times == 0 {
        waiting.remove(at);
    }
    Met::Struck(kind)
}

fn once() -> u32 {
    1
}

fn json() -> String {
    "application/json".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_it_says_and_only_what_it_matches() {
        let faults = Faults::new(vec![
            Fault::once("/v1/accounts", FaultKind::Contended).method("POST").after(1).times(2),
        ]);

        let met: Vec<bool> =
            (0..5).map(|_| faults.take("POST", "/v1/accounts").is_some()).collect();

        assert_eq!(met, [false, true, true, false, false]);
        assert!(faults.take("GET", "/v1/accounts").is_none());
    }

    #[test]
    fn a_fault_is_read_from_json_with_its_defaults() {
        let fault: Fault = serde_json::from_str(
            r#"{"path": "/oauth/token", "kind": {"answer": {"status": 500}}}"#,
        )
        .unwrap();

        assert_eq!(fault.times, 1);
        assert!(matches!(fault.kind, FaultKind::Answer { status: 500, executed: false, .. }));
        assert!(serde_json::from_str::<Fault>(r#"{"kind": "unauthenticated"}"#).is_ok());
        assert!(serde_json::from_str::<Fault>(r#"{"kind": "contended", "tims": 2}"#).is_err());
    }
}
