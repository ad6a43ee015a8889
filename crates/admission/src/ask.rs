//! What a call asks for, and what it may be told.

use std::time::Duration;

use tokio::time::Instant;

use crate::{AppId, PoolId};

/// One call's wish for a permit.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The pool that the operation counts against.
    pub pool: PoolId,
    /// The app that calls.
    pub app: AppId,
    /// Whom the call is for, where the app serves several users that are to be treated alike. Calls
    /// with the same number share a turn within their app.
    pub user: Option<u64>,
    /// When waiting ends.
    pub deadline: Deadline,
    /// Where in its app's queue the call stands if it must wait.
    pub place: Place,
    /// Whether it may be the first that goes to a tenant that is down: nothing is at stake if it gets
    /// no answer, because it only reads. Other calls are the first only if no such call waits.
    pub may_probe: bool,
}

/// When waiting ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// No permit is given at this moment or later.
    Permit(Instant),
    /// The answer is wanted by this moment, so no permit is given later than it takes an answer of
    /// this pool to come, as measured for this app.
    Answer(Instant),
}

/// What Zuora said about a pool on an answer (`Concurrency-Limit-*`; Zuora: rate limits guide).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// How many requests may be at Zuora at the same time, everybody's together.
    pub limit: u32,
    /// How many more there might have been, up to about a second ago.
    pub remaining: Option<u32>,
}

/// Where a call stands in its app's queue.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Behind all who asked before: a call that asks for the first time.
    Back,
    /// Where it stood when it first asked, so before all who came later: a call that asks again.
    Front(Ticket),
}

/// A call's place in line, given when it first asked; see [`Place::Front`].
///
/// Comes from [`Permit::refused`](crate::Permit::refused), and then remembers the moment that Zuora
/// named: asking with it earlier means waiting until then. Or from
/// [`Permit::ticket`](crate::Permit::ticket), for calls that are repeated for another reason, and that
/// may have to [rest](Self::resting_until) before.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    pub(crate) number: u64,
    /// When the call first asked.
    pub(crate) since: Instant,
    /// Not to be sent before this moment: until then the call waits without a permit, and others go on.
    pub(crate) not_before: Option<Instant>,
    /// Whether that moment is our own choice, and not Zuora's word.
    pub(crate) is_chosen: bool,
}

impl Ticket {
    /// Keeps the call from being sent before `at`, for a pause that is not Zuora's word but our choice;
    /// if Zuora named a later moment, that one holds. Meanwhile the call holds nothing and keeps nobody
    /// waiting, and then it has the place in line that it always had.
    #[must_use]
    pub fn resting_until(self, at: Instant) -> Self {
        if self.not_before.is_some_and(|named| at <= named) {
            return self;
        }
        Self { not_before: Some(at), is_chosen: true, ..self }
    }

    /// Returns the moment before which the call may not be sent, be it over or not, and why.
    pub fn rests_until(&self) -> Option<(Instant, WaitReason)> {
        let why = if self.is_chosen { WaitReason::Retry } else { WaitReason::Cooldown };
        Some((self.not_before?, why))
    }

    pub(crate) fn refused_until(self, named: Instant) -> Self {
        Self { not_before: Some(named), is_chosen: false, ..self }
    }
}

/// How Zuora refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many at the same time. The pool shrinks to what fitted; this call waits until `until`.
    Concurrency {
        /// When the refused call may be sent again.
        until: Instant,
    },
    /// Too many at the same time, but in another pool than the permit's: only this call waits.
    Elsewhere {
        /// When the refused call may be sent again.
        until: Instant,
    },
    /// A window of the tenant is used up. Every pool pauses until `until`.
    Rate {
        /// When the window begins anew.
        until: Instant,
    },
}

/// Why a call had to wait for its permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// All permits that may be used were taken, or it was another's turn.
    Capacity,
    /// A permit went to another app that has it reserved.
    Reserve,
    /// The app had as many permits out as it may.
    MaxInFlight,
    /// The app, or the tenant, had sent as many calls as it may in that time.
    Rate,
    /// Zuora had said to wait.
    Cooldown,
    /// Another call about the same account, subscription or order was on its way.
    Lane,
    /// The call is repeated, and rested before.
    Retry,
    /// Zuora could not be reached, and was left alone for a while.
    Down,
}

impl WaitReason {
    /// Returns the word for headers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Reserve => "reserve",
            Self::MaxInFlight => "max-in-flight",
            Self::Rate => "rate",
            Self::Cooldown => "cooldown",
            Self::Lane => "lane",
            Self::Retry => "retry",
            Self::Down => "down",
        }
    }
}

/// Why a call was turned away before Zuora saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shed {
    /// As many calls wait as may wait.
    #[error("the queue is full")]
    QueueFull {
        /// The predicted wait: whole seconds, 1 to 30.
        retry_after: Duration,
    },
    /// As many bytes of request bodies are kept as may be kept.
    #[error("the queue holds as many bytes as it may")]
    QueueBytes {
        /// The predicted wait: whole seconds, 1 to 30.
        retry_after: Duration,
    },
    /// The deadline came before a permit.
    #[error("its turn did not come before the deadline")]
    QueueTimeout {
        /// The predicted wait: whole seconds, 1 to 30.
        retry_after: Duration,
    },
    /// Zuora named a moment that is not before the deadline.
    #[error("the deadline comes before the moment that Zuora named")]
    Cooldown {
        /// The moment; earlier calls are in vain.
        until: Instant,
    },
    /// Zuora cannot be reached, and is left alone until the deadline.
    #[error("Zuora cannot be reached, and is tried again only later")]
    Down {
        /// When it is tried again: whole seconds, 1 to 30.
        retry_after: Duration,
    },
    /// The app, or the tenant, has sent as many calls as it may until the deadline.
    #[error("this app, or its tenant, has sent as many calls as it may for now")]
    RateLimited {
        /// When a call may be sent: whole seconds, at least one.
        retry_after: Duration,
    },
    /// The measured wait, or the time an answer takes, clearly exceeds the deadline, so waiting would
    /// only fill the queue.
    #[error("the answer cannot come within `queue_timeout`, or the seconds of `Prefer: wait`")]
    Hopeless {
        /// The predicted wait: whole seconds, 1 to 30.
        retry_after: Duration,
    },
}

impl Shed {
    /// Returns how long to wait before asking again, seen from `now`: whole seconds, at least one.
    pub fn retry_after(self, now: Instant) -> Duration {
        match self {
            Self::QueueFull { retry_after }
            | Self::QueueBytes { retry_after }
            | Self::QueueTimeout { retry_after }
            | Self::Down { retry_after }
            | Self::RateLimited { retry_after }
            | Self::Hopeless { retry_after } => retry_after,
            Self::Cooldown { until } => {
                whole_seconds(until.saturating_duration_since(now)).max(Duration::from_secs(1))
            }
        }
    }
}

/// Rounds up: a caller that comes back early waits a second time.
pub(crate) fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}
