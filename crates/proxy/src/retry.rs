//! Whether a call is tried again.
//!
//! One table decides, and it is a pure function ([`decide`]): what the attempt came to, against what kind of call it
//! was. Everything else here may only say "not now" or "no more".
//!
//! | attempt | read | write with a key of ours | with the app's key | POST, PATCH without | PUT, DELETE | single-use |
//! |---|---|---|---|---|---|---|
//! | refused, unauthenticated | as it was | with a new key | as it was | as it was | as it was | no |
//! | not sent | as it was | as it was | as it was | as it was | as it was | as it was |
//! | contended | as it was | with a new key, if policy allows | no | as it was, if policy allows | as it was, if policy allows | no |
//! | in progress | no | as it was, once it is in doubt | as it was | no | no | no |
//! | ambiguous | as it was | as it was | as it was | no | no | no |
//! | failed, but perhaps not twice | as it was | no | no | no | no | no |
//!
//! Zuora keeps the outcome of a key for a day, failures included. So what was certainly not done is repeated with a new
//! key, and what may have been done with the same one: Zuora then tells the outcome instead of doing it twice. Once an
//! attempt was ambiguous, its key stays until Zuora has told its outcome: a refusal in between says nothing about the
//! attempt before it.

mod backoff;
mod budget;

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;

pub use budget::Budgets;
use telemetry::Verdict as Label;

pub(crate) use backoff::backoff;

/// How often a read is repeated that failed for a reason that may have passed in a moment.
const TEMPORARY_REPEATS: u32 = 2;

/// What holds for the calls of a tenant.
#[derive(Debug)]
pub struct RetryPolicy {
    /// Attempts per call, the first included, other than those that Zuora certainly did not execute. With one, nothing
    /// is ever sent again.
    pub attempts: NonZeroU32,
    /// Whether writes get an `Idempotency-Key` of ours where Zuora takes one and the app sent none.
    pub mint_idempotency_keys: bool,
    /// Whether writes are repeated that Zuora rolled back for lock contention.
    pub repeats_contended: bool,
    /// How many repetitions there may be in all. They outlive configurations that do not change them.
    pub budgets: Arc<Budgets>,
}

/// What an attempt came to, where another one might come to something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A limit stood in the way. Nothing was executed.
    Refused,
    /// Zuora did not accept the token. Nothing was executed.
    Unauthenticated,
    /// No byte of it left us.
    NotSent,
    /// Another write held the lock. What had been done was rolled back.
    Contended,
    /// The first request with this key is still being worked on.
    InProgress,
    /// Cut off, timed out, or answered by the edge: Zuora may have executed it.
    Ambiguous,
    /// Failed, for a reason that may have passed in a moment.
    Temporary,
}

/// What kind of call it is, as far as executing it twice is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It changes nothing.
    Read,
    /// A write with an `Idempotency-Key` of ours that Zuora honours.
    OurKey,
    /// A write with an `Idempotency-Key` of the app's that Zuora honours. It is the app's, so it never changes.
    AppKey,
    /// A write that Zuora cannot tell from a second one like it.
    NoKey,
    /// A call with a credential that Zuora takes once.
    SingleUse,
}

/// What is known of a call when one of its attempts has ended.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// What kind of call it is.
    pub kind: Kind,
    /// An attempt with the current key may have been executed, and its outcome is not known.
    pub in_doubt: bool,
    /// Whether its body was kept.
    pub is_replayable: bool,
    /// Attempts made that count.
    pub attempts: u32,
}

/// How a call is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The same request, with the same key if there is one.
    AsItWas,
    /// With a new key: under the old one Zuora would repeat its answer.
    WithNewKey,
}

/// Why a call is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Zuora may have executed it, and could not tell a second one from the first.
    Ambiguous,
    /// The answer is kept under the app's own key, and only the app can choose another.
    OwnKey,
    /// The configuration says so.
    Policy,
    /// A write that failed is the app's to correct.
    Failed,
    /// Its body was too long to keep.
    NotReplayable,
    /// As often as it may be.
    Attempts,
    /// Repetitions are as large a share of all calls as they may be.
    Budget,
    /// The time for another attempt lies behind the deadline.
    Deadline,
    /// Zuora did not accept a fresh token either.
    NoOtherToken,
    /// Zuora takes its credential once, and has seen it.
    SingleUse,
    /// Its body broke off on the way from the caller.
    CallerBroke,
    /// The gateway is shutting down.
    Draining,
}

impl Why {
    /// Every reason.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 12] = [
        Self::Ambiguous,
        Self::OwnKey,
        Self::Policy,
        Self::Failed,
        Self::NotReplayable,
        Self::Attempts,
        Self::Budget,
        Self::Deadline,
        Self::NoOtherToken,
        Self::SingleUse,
        Self::CallerBroke,
        Self::Draining,
    ];

    /// The word for metrics and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ambiguous => "ambiguous",
            Self::OwnKey => "own-key",
            Self::Policy => "policy",
            Self::Failed => "failed",
            Self::NotReplayable => "not-replayable",
            Self::Attempts => "attempts",
            Self::Budget => "budget",
            Self::Deadline => "deadline",
            Self::NoOtherToken => "no-other-token",
            Self::SingleUse => "single-use",
            Self::CallerBroke => "caller-broke",
            Self::Draining => "draining",
        }
    }
}

impl End {
    /// The word for it in metrics.
    pub(crate) fn label(self) -> Label {
        match self {
            Self::Refused => Label::Refused,
            Self::Unauthenticated => Label::Unauthenticated,
            Self::NotSent => Label::NotSent,
            Self::Contended => Label::Contended,
            Self::InProgress => Label::InProgress,
            Self::Ambiguous => Label::Ambiguous,
            Self::Temporary => Label::Failed,
        }
    }

    /// Whether it says what became of everything that was sent with the current key.
    pub(crate) fn ends_doubt(self) -> bool {
        matches!(self, Self::Contended)
    }

    /// Whether Zuora may have executed what was sent with the current key.
    pub(crate) fn begins_doubt(self) -> bool {
        matches!(self, Self::Ambiguous | Self::InProgress)
    }

    /// Whether the attempt counts. What Zuora certainly did not do, or only asked how another attempt had ended, is
    /// bounded by the deadline, by the pauses in between and by the budget: given up earlier, it would be an error that
    /// nobody needed.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::Ambiguous | Self::Temporary | Self::Unauthenticated)
    }

    /// Whether repeating it draws on the budget. A refusal names its own moment and the pool gives way meanwhile; a new
    /// token is tried once.
    pub(crate) fn draws_on_budget(self) -> bool {
        !matches!(self, Self::Refused | Self::Unauthenticated)
    }
}

/// Returns how the call is tried again, or why it is not. Nothing is counted or waited for here.
///
/// # Errors
/// Why no other attempt may be made.
pub fn decide(end: End, tried: &Tried, policy: &RetryPolicy) -> Result<Again, Why> {
    use End::{Ambiguous, Contended, InProgress, NotSent, Refused, Temporary, Unauthenticated};
    use Kind::{AppKey, NoKey, OurKey, Read, SingleUse};
    let again = match (end, tried.kind) {
        (Refused | Unauthenticated, OurKey) if !tried.in_doubt => Again::WithNewKey,
        (NotSent, _) => Again::AsItWas,
        (_, SingleUse) => return Err(Why::SingleUse),
        (Refused | Unauthenticated, _) => Again::AsItWas,
        (Contended, Read) => Again::AsItWas,
        (Contended, AppKey) => return Err(Why::OwnKey),
        (Contended, _) if !policy.repeats_contended => return Err(Why::Policy),
        (Contended, OurKey) => Again::WithNewKey,
        (Contended, NoKey) => Again::AsItWas,
        (InProgress, AppKey) => Again::AsItWas,
        // Nobody else has a key of ours, so without a doubt it is a conflict of some other kind.
        (InProgress, OurKey) if tried.in_doubt => Again::AsItWas,
        (Ambiguous, Read | OurKey | AppKey) => Again::AsItWas,
        (Ambiguous, NoKey) => return Err(Why::Ambiguous),
        (Temporary, Read) => Again::AsItWas,
        (InProgress | Temporary, _) => return Err(Why::Failed),
    };
    let most = policy.attempts.get().min(match end {
        Temporary => TEMPORARY_REPEATS + 1,
        _ => u32::MAX,
    });
    if !tried.is_replayable {
        Err(Why::NotReplayable)
    } else if tried.attempts >= most && (end.counts() || most == 1) {
        Err(Why::Attempts)
    } else {
        Ok(again)
    }
}
