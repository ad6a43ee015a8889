//! Whatever calls come, whatever they name, go or leave: judged by a list.
//!
//! The judge shares no code with the lanes and none of their thoughts on speed. It keeps all calls in
//! one list, and after each step asks the promises of everybody on it, until nobody else may go.

use proptest::prelude::*;

use super::*;

const NAMES: u64 = 5;

/// What happens next. Numbers choose among those whom it may happen to.
#[derive(Clone, Debug)]
enum Step {
    Enters { app: u32, keys: Vec<u64> },
    Ends(usize),
    Rests(usize),
    ComesBack(usize),
    Leaves(usize),
    IsLate(usize),
}

#[derive(Debug)]
struct Judged {
    app: u32,
    keys: Vec<u64>,
    /// When it entered for the first time.
    first_came: usize,
    came: usize,
    turn: Option<usize>,
    is_inside: bool,
}

/// What should be.
#[derive(Debug, Default)]
struct Judge {
    calls: Vec<Judged>,
    events: usize,
}

impl Judge {
    fn count(&mut self) -> usize {
        self.events += 1;
        self.events
    }

    /// Gives turns to those who may have one, and lets everybody in whose turn it is.
    fn settle(&mut self) {
        for at in 0..self.calls.len() {
            if self.calls[at].turn.is_none() && self.is_in_round(at) {
                self.calls[at].turn = Some(self.count());
            }
        }
        while let Some(at) = (0..self.calls.len()).find(|at| self.may_go(*at)) {
            self.calls[at].is_inside = true;
        }
    }

    /// Nobody of its app is before it in one of its lanes.
    fn is_in_round(&self, at: usize) -> bool {
        let call = &self.calls[at];
        !call.is_inside
            && self.calls.iter().filter(|other| other.app == call.app && meet(call, other)).all(
                |other| {
                    !other.is_inside
                        && (other.first_came, other.came) >= (call.first_came, call.came)
                },
            )
    }

    /// Nobody is in one of its lanes, and nobody else's turn comes before in one of them.
    fn may_go(&self, at: usize) -> bool {
        let call = &self.calls[at];
        self.is_in_round(at)
            && (0..self.calls.len()).filter(|other| meet(call, &self.calls[*other])).all(|other| {
                let before = self.is_in_round(other)
                    && (self.calls[other].turn, self.calls[other].came) < (call.turn, call.came);
                !self.calls[other].is_inside && !before
            })
    }
}

fn meet(one: &Judged, other: &Judged) -> bool {
    one.keys.iter().any(|key| other.keys.contains(key))
}

/// What is: the same calls in the same order.
struct Story {
    lanes: Arc<Lanes>,
    calls: Vec<(Call, Option<Lane>)>,
    judge: Judge,
    /// Calls that will come back.
    resting: Vec<(LaneTicket, Judged)>,
}

impl Story {
    fn new() -> Self {
        let (lanes, judge) = (Lanes::new(1000), Judge::default());
        Self { lanes, calls: Vec::new(), judge, resting: Vec::new() }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Enters { app, keys } => self.enters(app, keys, None),
            Step::Ends(choice) => {
                self.pick(choice, true).map(|at| self.ends(at));
            }
            Step::Rests(choice) => {
                if let Some(at) = self.pick(choice, true) {
                    let ticket = self.calls[at].1.as_ref().expect("it is inside").ticket();
                    let judged = self.ends(at);
                    self.resting.push((ticket, judged));
                }
            }
            Step::ComesBack(choice) => {
                if !self.resting.is_empty() {
                    let (ticket, call) = self.resting.swap_remove(choice % self.resting.len());
                    let Judged { app, keys, first_came, turn, .. } = call;
                    self.enters(app, keys, Some((ticket, first_came, turn)));
                }
            }
            Step::Leaves(choice) => {
                self.pick(choice, false).map(|at| self.ends(at));
            }
            Step::IsLate(choice) => {
                if let Some(at) = self.pick(choice, false) {
                    let Judged { app, ref keys, .. } = self.judge.calls[at];
                    let soon = Instant::now() + Duration::from_secs(1);
                    let keys = keys.clone();
                    let mut late = Call::new(&self.lanes, AppId(app), &keys, None, soon);
                    assert!(late.still_waits(), "before one of its own app");
                    time::advance(Duration::from_secs(1)).await;
                    assert!(late.outcome().is_err());
                }
            }
        }
        self.check();
    }

    fn enters(
        &mut self,
        app: u32,
        keys: Vec<u64>,
        place: Option<(LaneTicket, usize, Option<usize>)>,
    ) {
        let ticket = place.map(|(ticket, ..)| ticket);
        let deadline = Instant::now() + PATIENCE * 100;
        let mut call = Call::new(&self.lanes, AppId(app), &keys, ticket, deadline);
        call.still_waits();
        self.calls.push((call, None));
        let came = self.judge.count();
        let (first_came, turn) = place.map_or((came, None), |(_, came, turn)| (came, turn));
        let judged = Judged { app, keys, first_came, came, turn, is_inside: false };
        self.judge.calls.push(judged);
    }

    fn ends(&mut self, at: usize) -> Judged {
        drop(self.calls.remove(at));
        self.judge.calls.remove(at)
    }

    fn pick(&self, choice: usize, inside: bool) -> Option<usize> {
        let such: Vec<_> = (0..self.judge.calls.len())
            .filter(|at| self.judge.calls[*at].is_inside == inside)
            .collect();
        (!such.is_empty()).then(|| such[choice % such.len()])
    }

    fn check(&mut self) {
        self.judge.settle();
        for ((call, lane), judged) in self.calls.iter_mut().zip(&self.judge.calls) {
            if lane.is_none() && !call.still_waits() {
                *lane = Some(call.goes());
            }
            assert_eq!(lane.is_some(), judged.is_inside, "{judged:?} among {:?}", self.judge);
        }
        let inside = self.judge.calls.iter().filter(|call| call.is_inside);
        let waiting = self.calls.len() - inside.clone().count();
        let held: Vec<u64> = inside.flat_map(|call| call.keys.clone()).collect();
        let free = (0..NAMES).filter(|key| !held.contains(key)).count();
        assert_eq!(held.len(), NAMES as usize - free, "two in one lane");
        sees(&self.lanes, held.len(), waiting);
    }

    /// Lets all end who are inside, again and again: everybody goes.
    fn everybody_goes(mut self) {
        while !self.calls.is_empty() {
            let at = self.pick(0, true).expect("all wait, and nobody is there to wait for");
            self.ends(at);
            self.check();
        }
        assert_eq!(self.lanes.lock().lines(), 0);
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let names = proptest::collection::btree_set(0..NAMES, 0..4);
    let names = names.prop_map(|keys| keys.into_iter().rev().collect());
    let any = any::<usize>();
    let step = prop_oneof![
        6 => (0..3_u32, names).prop_map(|(app, keys)| Step::Enters { app, keys }),
        3 => any.prop_map(Step::Ends),
        2 => any.prop_map(Step::Rests),
        2 => any.prop_map(Step::ComesBack),
        1 => any.prop_map(Step::Leaves),
        1 => any.prop_map(Step::IsLate),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn everybody_goes_when_promised_and_nobody_is_forgotten(steps in steps()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(async {
            let mut story = Story::new();
            for step in steps {
                story.take(step).await;
            }
            story.everybody_goes();
        });
    }
}
