//! Faults on request: what goes wrong, for which calls, how often.

use std::{sync::Mutex, time::Duration};

use serde::{Deserialize, Serialize};

use crate::locks::lock;

/// More faults than this at once are a mistake of the test; the oldest go.
const MOST_FAULTS: usize = 10_000;

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

/// The faults that still wait for their calls.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: Mutex<Vec<Fault>>,
}

impl Faults {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self { waiting: Mutex::new(faults) }
    }

    pub(crate) fn add(&self, fault: Fault) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= MOST_FAULTS {
            waiting.remove(0);
        }
        waiting.push(fault);
    }

    pub(crate) fn clear(&self) {
        lock(&self.waiting).clear();
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        lock(&self.waiting).clone()
    }

    /// The fault that this call meets, if any; it is used up by that much.
    pub(crate) fn take(&self, method: &str, path: &str) -> Option<FaultKind> {
        let mut waiting = lock(&self.waiting);
        let at = waiting.iter().position(|fault| fault.matches(method, path))?;
        let fault = &mut waiting[at];
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        let kind = fault.kind.clone();
        fault.times = fault.times.saturating_sub(1);
        if fault.times == 0 {
            waiting.remove(at);
        }
        Some(kind)
    }
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
