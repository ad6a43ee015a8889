//! When a request may go: pools, permits, fair shares, rates, cooldowns.
//!
//! One [`Admission`] decides for one tenant. A call asks with [`Admission::admit`] and gets a
//! [`Permit`], the right to have one request at Zuora now, or a [`Shed`] that says why not. There
//! is no HTTP here and no clock but Tokio's: the caller says what the answer meant, and this crate
//! says who goes next.
//!
//! # Why one lock
//!
//! A decision looks at several things at once: the pool's permits, its queue, its cooldown, the app's
//! cap and rate, and the windows of the tenant. All of them agree or nothing is taken. Looked at one by
//! one they could change in between, and then a permit is given twice, a call that goes nowhere uses up
//! a window, or a waiter sleeps beside a free permit. One `std::sync::Mutex` per tenant makes each
//! decision a single step. It is never held across an await, never while a waiter is told its outcome,
//! and never while a permit is dropped; what it protects is about a microsecond.
//!
//! # Why events, not polling
//!
//! After every decision one thing is true of each pool: nobody is ready that may go, or no permit may
//! be used. So only an event can change who goes next: a permit comes back, Zuora names another limit,
//! the settings change, or a moment arrives (a cooldown ends, a rate lets another go). All but the last
//! are calls into this crate. For moments there is one timer task, and only while somebody waits for
//! one; the task holds a weak reference and ends with the [`Admission`].
//!
//! # Where to find what
//!
//! | question | module |
//! |---|---|
//! | Whose turn is it, between apps? | `shares` |
//! | In what order do the calls of one app go? | `queue` |
//! | How many permits may be used? | `capacity`, and what others take: `outside` |
//! | How many calls in a time? | `pace` |
//! | Does the tenant answer at all? | `circuit` |
//! | Which of the calls about the same account goes first? | `lanes`, apart from all the rest |
//! | All of it together, for one pool, for the tenant, from outside | `pool`, `state`, `admission` |
//!
//! # What dropping means
//!
//! - [`Permit`]: the request is over at Zuora; the permit goes to the next in turn.
//! - the future of [`Admission::admit`]: the call left. It is out of the queue at once; if a permit
//!   was already on its way, that permit goes to the next in turn.
//! - [`Kept`]: the body is no longer in memory.
//! - [`Admission`]: its timer ends. Permits and waiting calls keep it alive.

mod admission;
mod ask;
mod capacity;
mod circuit;
mod hold;
mod jitter;
mod kept;
mod lanes;
mod live;
mod outside;
mod pace;
mod permit;
mod pool;
mod queue;
mod settings;
mod shares;
mod snapshot;
mod state;
mod sync;
mod tenant;
mod timer;

pub use admission::{Admission, Start};
pub use ask::{Ask, Deadline, Place, Refused, Said, Shed, Ticket, WaitReason};
pub use kept::Kept;
pub use lanes::{Lane, LaneTicket, Lanes, LanesSnapshot};
pub use permit::Permit;
pub use settings::{
    AppId, AppRate, AppSettings, OnRefusal, PoolId, PoolSettings, Priority, QueueBounds,
    RateLimits, Settings,
};
pub use snapshot::{AppSnapshot, Circuit, PoolSnapshot, Snapshot};

#[cfg(test)]
mod tests;
