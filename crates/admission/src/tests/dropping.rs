//! What happens when a call's future is dropped, at every point where it can be.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::*;
use crate::{AppRate, Refused};

/// Polls a future a limited number of times, then gives it up.
struct GivesUp<F> {
    call: Pin<Box<F>>,
    polls: u32,
}

impl<F: Future> Future for GivesUp<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match self.call.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// What keeps calls waiting besides the pool, and may let them go.
#[derive(Clone, Copy, Debug)]
enum Keeps {
    Nothing,
    /// The call is of a user, of an app that has a reserve.
    Reserve,
    Cap,
    /// The settings have changed since the call asked.
    OtherSettings,
    /// The tenant's windows let the next go after a second.
    Window,
}

impl Keeps {
    const ALL: [Self; 5] =
        [Self::Nothing, Self::Reserve, Self::Cap, Self::OtherSettings, Self::Window];

    fn settings(self) -> Settings {
        let mut settings = one_pool(1);
        match self {
            Self::Nothing | Self::OtherSettings => {}
            Self::Reserve => settings.apps[0].reserve = 1,
            Self::Cap => {
                settings.pools[0].ceiling = NonZeroU32::new(5).unwrap();
                settings.apps[0].max_in_flight = Some(NonZeroU32::MIN);
            }
            Self::Window => settings.rate.per_minute = NonZeroU32::new(60),
        }
        settings
    }
}

/// A call that is given up at its `polls`-th poll stands before another; whatever frees a permit for
/// it, the other gets that permit at the same moment, and nothing is left in the end.
async fn the_next_one_goes(
    keeps: Keeps,
    polls: u32,
    not_before: Option<Duration>,
    pause: bool,
) -> bool {
    let admission = admission(keeps.settings());
    let held = at_once(&admission, ask()).unwrap();
    let user = matches!(keeps, Keeps::Reserve).then_some(7);
    let ask = || Ask { user, ..ask() };
    let asks = not_before.map_or(ask(), |it| resting(ask(), Instant::now() + it));
    let leaver = tokio::spawn({
        let admission = Arc::clone(&admission);
        async move { GivesUp { call: Box::pin(admission.admit(asks)), polls }.await }
    });
    settle().await;
    let next = waiting(&admission, ask()).await;
    pass(secs(2)).await;
    if let Keeps::OtherSettings = keeps {
        let mut settings = one_pool(1);
        settings.apps.swap(0, 2);
        settings.apps[2].reserve = 1;
        admission.reconfigure(settings);
    }

    if pause {
        held.refused(Refused::Rate { until: Instant::now() + secs(2) });
    } else {
        drop(held);
    }
    pass(secs(4)).await;

    let went_first = leaver.is_finished();
    let mut leaver = Some(leaver);
    let mut was_served = false;
    if went_first {
        was_served = matches!(leaver.take().unwrap().await.unwrap(), Some(Ok(_)));
        settle().await;
    }
    assert!(next.is_finished(), "given up at poll {polls}");
    drop(next.await.unwrap().unwrap());
    if let Some(leaver) = leaver {
        was_served = matches!(leaver.await.unwrap(), Some(Ok(_)));
    }
    let snapshot = admission.snapshot();
    assert_eq!((snapshot.in_use, snapshot.queued), (0, 0), "given up at poll {polls}");
    was_served
}

#[tokio::test(start_paused = true)]
async fn a_call_given_up_at_any_poll_passes_its_permit_on() {
    for keeps in Keeps::ALL {
        for not_before in [None, Some(secs(1)), Some(secs(3))] {
            for pause in [false, true] {
                let mut polls = 0;
                while !the_next_one_goes(keeps, polls, not_before, pause).await {
                    polls += 1;
                    assert!(polls < 20, "it is never served: {keeps:?}");
                }
                assert!(polls >= 2, "there was nothing to give up: {keeps:?}");
            }
        }
    }
}

/// A call that waits, in a place where somebody else can drop it.
type Elsewhere = Arc<Mutex<Option<Pin<Box<dyn Future<Output = Result<Permit, Shed>> + Send>>>>>;

fn elsewhere(admission: &Arc<Admission>) -> Elsewhere {
    let admission = Arc::clone(admission);
    let asks = ask();
    Arc::new(Mutex::new(Some(Box::pin(async move { admission.admit(asks).await }))))
}

/// Drops a call in the very moment when another is told that it may go.
struct DropsAnother(Elsewhere);

impl Wake for DropsAnother {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_crosses_with_a_cancellation_is_not_lost() {
    let admission = admission(one_pool(3));
    let held = at_once(&admission, ask()).unwrap();
    held.observe(Said { limit: 1, remaining: None });
    let (first, crossing) = (elsewhere(&admission), elsewhere(&admission));
    let poll = |call: &Elsewhere, waker: &Waker| {
        let mut call = call.lock().unwrap();
        call.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(waker)).is_pending()
    };
    let waker = Waker::from(Arc::new(DropsAnother(Arc::clone(&crossing))));
    assert!(poll(&first, &waker) && poll(&crossing, Waker::noop()));
    let next = waiting(&admission, ask()).await;

    // Both get a permit in one decision; hearing of the first, the second leaves. That it can shows
    // that nobody is told anything under the lock.
    held.observe(Said { limit: 3, remaining: None });
    settle().await;

    assert!(crossing.lock().unwrap().is_none() && next.is_finished());
    drop((next, first, held));
    settle().await;
    assert_eq!(admission.snapshot().in_use, 0);
}

/// One step in the life of a few calls that are polled by hand.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask { app: usize, user: Option<u64>, patience: u64, rest: u64 },
    Poll(usize),
    Leave(usize),
    Done(usize),
    Refuse { nth: usize, rate: bool, wait: u64, again: bool },
    Observe { nth: usize, limit: u32 },
    Change(Change),
    Pass(u64),
}

/// Other settings: a reserve and a cap for one app, rates for another and for the tenant, a third app
/// that is there or not.
#[derive(Clone, Copy, Debug)]
struct Change {
    ceiling: u32,
    reserve: u32,
    cap: Option<u32>,
    per_second: Option<u32>,
    per_minute: Option<u32>,
    third: bool,
}

impl Change {
    const NONE: Self = Self {
        ceiling: CEILING,
        reserve: 0,
        cap: None,
        per_second: None,
        per_minute: None,
        third: true,
    };

    fn settings(self) -> Settings {
        let mut settings = one_pool(self.ceiling);
        let [a, b, _] = &mut settings.apps[..] else { panic!("there are three apps") };
        a.reserve = self.reserve;
        a.max_in_flight = self.cap.and_then(NonZeroU32::new);
        let burst = NonZeroU32::MIN;
        let per_second = self.per_second.and_then(NonZeroU32::new);
        b.rate = per_second.map(|per_second| AppRate { per_second, burst, enforce: true });
        settings.rate.per_minute = self.per_minute.and_then(NonZeroU32::new);
        settings.apps.truncate(if self.third { 3 } else { 2 });
        settings
    }
}

fn change() -> impl Strategy<Value = Change> {
    let some = |most| prop::option::of(1..most);
    let limits = (1..=CEILING, 0..3_u32, some(4_u32), some(5_u32), some(200_u32), any::<bool>());
    limits.prop_map(|(ceiling, reserve, cap, per_second, per_minute, third)| Change {
        ceiling,
        reserve,
        cap,
        per_second,
        per_minute,
        third,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let nth = 0..8_usize;
    prop_oneof![
        4 => (
            0..3_usize,
            prop::option::of(0..3_u64),
            1..4000_u64,
            prop_oneof![Just(0), 1..2000_u64],
        )
            .prop_map(|(app, user, patience, rest)| Step::Ask { app, user, patience, rest }),
        4 => nth.clone().prop_map(Step::Poll),
        2 => nth.clone().prop_map(Step::Leave),
        3 => nth.clone().prop_map(Step::Done),
        1 => (nth.clone(), any::<bool>(), 0..1500_u64, any::<bool>())
            .prop_map(|(nth, rate, wait, again)| Step::Refuse { nth, rate, wait, again }),
        1 => (nth, 1..6_u32).prop_map(|(nth, limit)| Step::Observe { nth, limit }),
        1 => change().prop_map(Step::Change),
        3 => (0..1200_u64).prop_map(Step::Pass),
    ]
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<Permit, Shed>> + 'a>>;

const CEILING: u32 = 3;

async fn live(steps: Vec<Step>) -> TestCaseResult {
    let admission = &admission(one_pool(CEILING));
    let mut calls: Vec<Call<'_>> = Vec::new();
    let mut held: Vec<Permit> = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    let ask_again = |ask: Ask| Box::pin(admission.admit(ask)) as Call<'_>;

    for step in steps {
        match step {
            Step::Ask { app, user, patience, rest } => {
                let ask = Ask {
                    user,
                    deadline: Deadline::Permit(Instant::now() + millis(patience)),
                    ..ask_of(app)
                };
                let rests = resting(ask, Instant::now() + millis(rest));
                calls.push(ask_again(if rest > 0 { rests } else { ask }));
            }
            Step::Poll(nth) if nth < calls.len() => {
                if let Poll::Ready(outcome) = calls[nth].as_mut().poll(&mut context) {
                    drop(calls.swap_remove(nth));
                    held.extend(outcome.ok());
                }
            }
            Step::Leave(nth) if nth < calls.len() => drop(calls.swap_remove(nth)),
            Step::Done(nth) if nth < held.len() => drop(held.swap_remove(nth)),
            Step::Refuse { nth, rate, wait, again } if nth < held.len() => {
                let until = Instant::now() + millis(wait);
                let kind =
                    if rate { Refused::Rate { until } } else { Refused::Concurrency { until } };
                let ticket = held.swap_remove(nth).refused(kind);
                if again {
                    calls.push(ask_again(Ask { place: Place::Front(ticket), ..ask() }));
                }
            }
            Step::Observe { nth, limit } if nth < held.len() => {
                held[nth].observe(Said { limit, remaining: None });
            }
            Step::Change(change) => admission.reconfigure(change.settings()),
            Step::Pass(time) => pass(millis(time)).await,
            _ => {}
        }
        let snapshot = admission.snapshot();
        prop_assert!(held.len() <= CEILING as usize, "too many at once");
        prop_assert!(snapshot.in_use as usize >= held.len(), "a permit is out and not counted");
        prop_assert!(snapshot.queued + snapshot.in_use as usize <= calls.len() + held.len());
    }

    drop(calls);
    let snapshot = admission.snapshot();
    prop_assert_eq!(snapshot.in_use as usize, held.len(), "a permit is lost");
    prop_assert_eq!(snapshot.queued, 0, "somebody who left still waits");
    held.into_iter().for_each(drop);
    admission.reconfigure(Change::NONE.settings());
    pass(secs(60)).await;
    prop_assert_eq!(admission.snapshot().in_use, 0);
    prop_assert!(at_once(admission, ask()).is_ok(), "the pool does not recover");
    prop_assert_eq!(Arc::strong_count(admission), 1, "a timer outlives its purpose");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_leaves_and_whenever_every_permit_comes_back(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(live(steps))?;
    }
}
