//! The right to have one request at Zuora now.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use crate::pool::Grant;
use crate::{Admission, Refused, Said, Ticket, WaitReason};

/// The right to have one request at Zuora now. Dropping it means that Zuora is done with the request:
/// the permit goes to the next in turn.
#[must_use = "the next in turn goes as soon as the permit is dropped"]
pub struct Permit {
    admission: Arc<Admission>,
    grant: Grant,
    is_back: bool,
    /// How long it was held tells how long an answer takes, unless none came.
    unanswered: AtomicBool,
}

impl Permit {
    pub(crate) fn new(admission: Arc<Admission>, grant: Grant) -> Self {
        admission.live.enter(grant.pool);
        Self { admission, grant, is_back: false, unanswered: AtomicBool::new(false) }
    }

    /// Returns why the call waited for it, or `None` if it did not.
    pub fn reason(&self) -> Option<WaitReason> {
        self.grant.reason
    }

    /// Returns what the call would have waited for, had those limits been enforced: one reason for each
    /// kind of limit.
    pub fn would_have_waited(&self) -> impl Iterator<Item = WaitReason> {
        let observed = self.grant.observed;
        let rate = observed.app_rate || observed.windows;
        let reasons = [
            (observed.capacity, WaitReason::Capacity),
            (rate, WaitReason::Rate),
            (observed.down, WaitReason::Down),
        ];
        reasons.into_iter().filter_map(|(is_it, reason)| is_it.then_some(reason))
    }

    /// Returns the call's place in line, for asking again in a call that is to be repeated for
    /// another reason than a refusal. After a refusal, take the one from [`refused`](Self::refused).
    pub fn ticket(&self) -> Ticket {
        self.grant.ticket
    }

    /// Gives the permit back with nothing sent, as if it had never been given, and returns the place in
    /// line: no rate has counted the call, and no time was measured.
    pub fn unused(mut self) -> Ticket {
        self.end();
        self.admission.take_back_unused(&self.grant);
        self.grant.ticket
    }

    /// Gives the permit back after Zuora refused the request, and returns the place in line to ask
    /// again with. With it the call waits until the moment that the refusal named, or is told at
    /// once that its deadline comes first.
    ///
    /// A refusal under concurrency lowers the pool's capacity to what demonstrably fitted, or pauses the
    /// pool if the settings say so, and its moment is no further away than the settings' cap; one under
    /// a rate pauses every pool of the tenant.
    pub fn refused(mut self, kind: Refused) -> Ticket {
        self.end();
        let until = self.admission.refuse(&self.grant, kind);
        self.grant.ticket.refused_until(until)
    }

    /// Tells what Zuora said it allows in this pool, and what remains of it. The pool follows the limit
    /// at once, down and up, never above the configured ceiling; from what remains follows how much
    /// others take. Returns whether the limit is worth telling: another than the configured one, and
    /// than those told before.
    pub fn observe(&self, said: Said) -> bool {
        self.admission.observe(self.grant.pool, said)
    }

    /// Tells that Zuora answered the request, whatever it said: it is not down. A refusal tells that by
    /// [itself](Self::refused), and better, because what was refused is known before anybody else goes.
    /// Returns whether the tenant had counted as down until now.
    pub fn reached(&self) -> bool {
        self.admission.reached(&self.grant)
    }

    /// Tells that Zuora did not answer the request: there was no connection, it broke or took too long,
    /// or only a proxy of Zuora's answered. After five of these in a row the tenant counts as down.
    /// Returns until when it is left alone, if that begins, or begins anew, with this one.
    pub fn unreached(&self) -> Option<Instant> {
        self.unanswered.store(true, Ordering::Relaxed);
        self.admission.unreached(&self.grant)
    }

    /// Counts it out before it is given back: so never are more alive than given.
    fn end(&mut self) {
        self.is_back = true;
        self.admission.live.leave(self.grant.pool);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_back {
            self.end();
            self.admission.finish(&self.grant, !*self.unanswered.get_mut());
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("grant", &self.grant).finish_non_exhaustive()
    }
}
