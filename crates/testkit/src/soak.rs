//! A soak: calls of every kind, callers that leave at every stage, faults of every kind, and the books of the gateway
//! compared at every instant.
//!
//! All of it lives in one thread. So an instant is over when the thread is about to rest: nobody is on the way to anybody
//! then, no permit is given that is not taken, and none is taken that has not gone with its request. The books must agree
//! to the last permit, and they are looked at each time. In between, whenever a caller runs, what is on its way is looked
//! at too, as far as it can be told from outside.

mod callers;
mod calls;
mod scene;
mod watch;
mod weather;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Builder;

pub use callers::Stage;
pub use watch::Moment;

use scene::Scene;
use watch::Watch;

/// What to do, and for how long.
#[derive(Clone, Debug)]
pub struct Soak {
    /// Everything random follows from it, but for what the gateway itself throws dice for.
    pub seed: u64,
    /// How everybody is connected.
    pub wire: Wire,
    /// How long calls keep coming, by the clock of the wire.
    pub lasts: Duration,
    /// How many callers there are.
    pub callers: u64,
    /// How many moments are kept for a picture; the first ones are.
    pub moments: usize,
}

/// How everybody is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Over pipes, by a clock that stands still while anybody has something to do.
    Pipes,
    /// Over sockets of the loopback, in real time. A connection that one side has closed is open on the other for a
    /// moment, so what the tenant works on is not compared; and tokens are never rejected, because another one takes
    /// time, in which those wait for it who have a permit.
    Sockets,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// Everything that did not agree, and when; empty if all is well. Not more than a few.
    pub disagreements: Vec<String>,
    /// How often the books were compared at the end of an instant.
    pub instants: u64,
    /// How often they were looked at within one, and how often a permit was on its way then.
    pub glances: u64,
    pub on_their_way: u64,
    /// Calls, by the status that they were answered with.
    pub answered: BTreeMap<u16, u64>,
    /// Callers that left, by the stage at which they did.
    pub left: BTreeMap<Stage, u64>,
    /// Calls that were told nothing, because the connection ended.
    pub broken: u64,
    /// The most permits out, by limit type, and what is allowed.
    pub most_in_use: BTreeMap<String, u32>,
    pub limits: BTreeMap<String, u32>,
    /// The most legs alive, lanes held, and calls that waited for one.
    pub most_legs: u64,
    pub most_lanes: usize,
    pub most_in_line: usize,
    /// Instants at which the tenant was left alone because it seemed to be down.
    pub down: u64,
    /// What the tenant's book has.
    pub executed: u64,
    pub faults: u64,
    pub contended: u64,
    pub refused: u64,
    pub unauthenticated: u64,
    /// The first moments.
    pub moments: Vec<Moment>,
}

impl Course {
    /// Adds what was seen of another soak, but for its moments.
    pub fn add(&mut self, other: Self) {
        self.disagreements.extend(other.disagreements);
        for (status, calls) in other.answered {
            *self.answered.entry(status).or_default() += calls;
        }
        for (stage, callers) in other.left {
            *self.left.entry(stage).or_default() += callers;
        }
        for (limit_type, most) in other.most_in_use {
            let known = self.most_in_use.entry(limit_type).or_default();
            *known = most.max(*known);
        }
        self.limits = other.limits;
        for (sum, more) in [
            (&mut self.instants, other.instants),
            (&mut self.glances, other.glances),
            (&mut self.on_their_way, other.on_their_way),
            (&mut self.broken, other.broken),
            (&mut self.down, other.down),
            (&mut self.executed, other.executed),
            (&mut self.faults, other.faults),
            (&mut self.contended, other.contended),
            (&mut self.refused, other.refused),
            (&mut self.unauthenticated, other.unauthenticated),
        ] {
            *sum += more;
        }
        self.most_legs = self.most_legs.max(other.most_legs);
        self.most_lanes = self.most_lanes.max(other.most_lanes);
        self.most_in_line = self.most_in_line.max(other.most_in_line);
    }
}

impl Soak {
    /// Does it, in a runtime of its own.
    ///
    /// # Panics
    /// If it cannot be set up.
    #[must_use]
    pub fn run(&self) -> Course {
        let watch: Arc<OnceLock<Watch>> = Arc::default();
        let at_rest = Arc::clone(&watch);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(self.wire == Wire::Pipes)
            .on_thread_park(move || {
                if let Some(watch) = at_rest.get() {
                    watch.compare();
                }
            })
            .build()
            .expect("a runtime");
        runtime.block_on(Scene::play(self, &watch))
    }
}
