//! The promises of lanes, under a stopped clock.

mod any_order;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;

const A: AppId = AppId(0);
const B: AppId = AppId(1);
const C: AppId = AppId(2);
const ACCOUNT: u64 = 10;
const OTHER_ACCOUNT: u64 = 11;
const SUBSCRIPTION: u64 = 20;
/// Longer than any of these tests.
const PATIENCE: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn two_calls_about_one_account_go_one_after_another() {
    let lanes = lanes();
    let first = at_once(&lanes, A, &[ACCOUNT]);
    let mut second = waiting(&lanes, A, &[ACCOUNT]);
    drop(first);
    assert!(second.goes().waited());
}

#[tokio::test(start_paused = true)]
async fn calls_about_different_accounts_go_side_by_side() {
    let lanes = lanes();
    let first = at_once(&lanes, A, &[ACCOUNT]);
    let second = at_once(&lanes, A, &[OTHER_ACCOUNT]);
    assert!(!first.waited() && !second.waited());
    sees(&lanes, 2, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_about_nothing_waits_for_nobody() {
    let lanes = lanes();
    let _held = at_once(&lanes, A, &[ACCOUNT]);
    drop([at_once(&lanes, A, &[]), at_once(&lanes, A, &[])]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_names_an_account_twice_does_not_wait_for_itself() {
    let lanes = lanes();
    let held = at_once(&lanes, A, &[ACCOUNT, ACCOUNT]);
    sees(&lanes, 1, 0);
    let mut again = waiting(&lanes, A, &[ACCOUNT, SUBSCRIPTION, ACCOUNT]);
    drop(held);
    let _lane = again.goes();
    sees(&lanes, 2, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_about_two_things_waits_for_both_and_has_neither_before() {
    let lanes = lanes();
    let account = at_once(&lanes, A, &[ACCOUNT]);
    let subscription = at_once(&lanes, A, &[SUBSCRIPTION]);
    let mut both = waiting(&lanes, B, &[SUBSCRIPTION, ACCOUNT]);
    drop(account);
    assert!(both.still_waits());
    sees(&lanes, 1, 1);
    drop(subscription);
    let both = both.goes();
    sees(&lanes, 2, 0);

    let mut account = waiting(&lanes, A, &[ACCOUNT]);
    let mut subscription = waiting(&lanes, A, &[SUBSCRIPTION]);
    drop(both);
    let _lanes = [account.goes(), subscription.goes()];
}

#[tokio::test(start_paused = true)]
async fn calls_that_name_the_same_two_things_the_other_way_round_both_go() {
    let lanes = lanes();
    let held = at_once(&lanes, C, &[ACCOUNT, SUBSCRIPTION]);
    let mut one = waiting(&lanes, A, &[ACCOUNT, SUBSCRIPTION]);
    let mut other = waiting(&lanes, B, &[SUBSCRIPTION, ACCOUNT]);
    drop(held);
    drop(one.goes());
    drop(other.goes());
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_app_go_in_the_order_in_which_they_came() {
    let lanes = lanes();
    let mut held = at_once(&lanes, A, &[ACCOUNT]);
    let mut calls: Vec<_> = (0..20).map(|_| waiting(&lanes, A, &[ACCOUNT])).collect();
    for next in 0..calls.len() {
        drop(held);
        held = calls[next].goes();
        assert!(calls[next + 1..].iter_mut().all(Call::still_waits));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_stays_behind_an_earlier_one_of_its_app_that_waits_for_something_else() {
    let lanes = lanes();
    let subscription = at_once(&lanes, B, &[SUBSCRIPTION]);
    let mut both = waiting(&lanes, A, &[ACCOUNT, SUBSCRIPTION]);
    let mut later = waiting(&lanes, A, &[ACCOUNT]);
    drop(subscription);
    let both = both.goes();
    assert!(later.still_waits());
    drop(both);
    drop(later.goes());
}

#[tokio::test(start_paused = true)]
async fn a_call_stays_behind_an_earlier_one_of_its_app_that_waits_for_its_own_app() {
    let lanes = lanes();
    let subscription = at_once(&lanes, A, &[SUBSCRIPTION]);
    let mut both = waiting(&lanes, A, &[ACCOUNT, SUBSCRIPTION]);
    let mut later = waiting(&lanes, A, &[ACCOUNT]);
    drop(subscription);
    let both = both.goes();
    assert!(later.still_waits());
    drop(both);
    drop(later.goes());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_calls_of_one_app_delay_anothers_by_one() {
    let lanes = lanes();
    let held = at_once(&lanes, A, &[ACCOUNT]);
    let mut hundred: Vec<_> = (0..100).map(|_| waiting(&lanes, A, &[ACCOUNT])).collect();
    let mut other = waiting(&lanes, B, &[ACCOUNT]);
    drop(held);
    let other = other.goes();
    assert!(hundred.iter_mut().all(Call::still_waits));
    drop(other);
    drop(hundred[0].goes());
}

#[tokio::test(start_paused = true)]
async fn apps_take_turns() {
    let lanes = lanes();
    let mut held = at_once(&lanes, A, &[ACCOUNT]);
    let mut calls: Vec<_> = [[A; 3], [B; 3], [C; 3]]
        .concat()
        .into_iter()
        .map(|app| (app, waiting(&lanes, app, &[ACCOUNT])))
        .collect();
    let mut turns = Vec::new();
    while !calls.is_empty() {
        drop(held);
        let next = calls.iter_mut().position(|(_, call)| !call.still_waits());
        let (app, mut call) = calls.remove(next.expect("nobody goes"));
        turns.push(app);
        held = call.goes();
    }
    // The first of A was on its way when the others came.
    assert_eq!(turns, [B, C, A, B, C, A, B, C, A]);
}

/// Were the same clock to go in all lanes, it would run on in the fast one, and whoever comes to the slow
/// one would be late.
#[tokio::test(start_paused = true)]
async fn what_happens_in_one_lane_is_no_disadvantage_in_another() {
    let lanes = lanes();
    let slow = at_once(&lanes, A, &[ACCOUNT]);
    let mut hundred: Vec<_> = (0..100).map(|_| waiting(&lanes, A, &[ACCOUNT])).collect();
    for _ in 0..1000 {
        for app in [A, B, C] {
            let fast = at_once(&lanes, app, &[OTHER_ACCOUNT]);
            let mut next = waiting(&lanes, B, &[OTHER_ACCOUNT]);
            drop(fast);
            drop(next.goes());
        }
    }
    let mut one = waiting(&lanes, B, &[ACCOUNT]);
    drop(slow);
    drop(one.goes());
    drop(hundred[0].goes());
}

#[tokio::test(start_paused = true)]
async fn a_call_about_two_things_has_its_turn_in_streams_of_calls_about_one() {
    let lanes = lanes();
    let mut streams = [ACCOUNT, SUBSCRIPTION].map(|key| Stream::new(&lanes, key));
    let mut both = waiting(&lanes, C, &[ACCOUNT, SUBSCRIPTION]);
    // In each lane one call is on its way, and one of the other app has its turn before.
    for round in 0..4 {
        assert!(both.still_waits(), "out of turn");
        streams[round % 2].one_ends();
    }
    drop(both.goes());
}

/// Whoever may overtake does so again and again.
#[tokio::test(start_paused = true)]
async fn nobody_overtakes_a_call_that_waits_for_something_else() {
    let lanes = lanes();
    let subscription = at_once(&lanes, A, &[SUBSCRIPTION]);
    let mut both = waiting(&lanes, B, &[ACCOUNT, SUBSCRIPTION]);
    let mut late = waiting(&lanes, C, &[ACCOUNT]);
    drop(subscription);
    let both = both.goes();
    assert!(late.still_waits());
    drop(both);
    drop(late.goes());
}

/// Others need not wait for a call whose turn cannot come yet.
#[tokio::test(start_paused = true)]
async fn a_call_behind_others_of_its_app_keeps_nobody_waiting() {
    let lanes = lanes();
    let _held = at_once(&lanes, A, &[SUBSCRIPTION]);
    let mut both = waiting(&lanes, A, &[ACCOUNT, SUBSCRIPTION]);
    drop(at_once(&lanes, B, &[ACCOUNT]));
    assert!(both.still_waits());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_leaves_lets_go_who_waited_for_it_alone() {
    let lanes = lanes();
    let _held = at_once(&lanes, A, &[SUBSCRIPTION]);
    let leaves = waiting(&lanes, B, &[ACCOUNT, SUBSCRIPTION]);
    let mut of_another = waiting(&lanes, C, &[ACCOUNT]);
    let mut of_its_app = waiting(&lanes, B, &[ACCOUNT, OTHER_ACCOUNT]);
    drop(leaves);
    drop(of_another.goes());
    drop(of_its_app.goes());
    sees(&lanes, 1, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_call_that_left_was_given_goes_to_the_next() {
    let lanes = lanes();
    let held = at_once(&lanes, A, &[ACCOUNT]);
    let leaves = waiting(&lanes, A, &[ACCOUNT]);
    let mut next = waiting(&lanes, A, &[ACCOUNT]);
    drop(held);
    drop(leaves);
    drop(next.goes());
    sees(&lanes, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_are_woken() {
    let lanes = lanes();
    let held = at_once(&lanes, A, &[ACCOUNT]);
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(call(&lanes, B, &[ACCOUNT]))).collect();
    tokio::task::yield_now().await;
    sees(&lanes, 1, 10);
    drop(held);
    for call in calls {
        drop(call.await.unwrap().unwrap());
    }
    sees(&lanes, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_back_has_its_old_place() {
    let lanes = lanes();
    let held = at_once(&lanes, A, &[ACCOUNT]);
    let mut first = waiting(&lanes, A, &[ACCOUNT]);
    let mut second = waiting(&lanes, A, &[ACCOUNT]);
    let mut other = waiting(&lanes, B, &[ACCOUNT]);
    let ticket = held.ticket();
    drop(held);
    assert!(!other.still_waits());
    let mut back = waiting_again(&lanes, A, &[ACCOUNT], ticket);
    let mut third = waiting(&lanes, A, &[ACCOUNT]);
    drop(other.goes());
    for call in [&mut back, &mut first, &mut second, &mut third] {
        drop(call.goes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_has_the_place_of_its_first_wait() {
    let lanes = lanes();
    let held = at_once(&lanes, A, &[ACCOUNT]);
    let mut first = waiting(&lanes, A, &[ACCOUNT]);
    let mut second = waiting(&lanes, A, &[ACCOUNT]);
    drop(held);
    let first = first.goes();
    let ticket = first.ticket();
    let mut other = waiting(&lanes, B, &[ACCOUNT]);
    drop(first);
    let other = other.goes();
    let mut late = waiting(&lanes, C, &[ACCOUNT]);
    let mut back = waiting_again(&lanes, A, &[ACCOUNT], ticket);
    drop(other);
    for call in [&mut back, &mut second, &mut late] {
        drop(call.goes());
    }
}

/// It waits for the other's lanes, not for those who came after it.
#[tokio::test(start_paused = true)]
async fn a_call_that_comes_back_is_not_behind_who_waits_for_something_else() {
    let lanes = lanes();
    let held = at_once(&lanes, A, &[ACCOUNT]);
    let ticket = held.ticket();
    drop(held);
    let subscription = at_once(&lanes, B, &[SUBSCRIPTION]);
    let mut both = waiting(&lanes, A, &[ACCOUNT, SUBSCRIPTION]);
    let mut other = waiting(&lanes, C, &[ACCOUNT]);
    let back = again(&lanes, A, &[ACCOUNT], ticket).goes();
    assert!(!back.waited());
    drop(subscription);
    assert!(both.still_waits());
    drop(back);
    drop(both.goes());
    drop(other.goes());
}

/// The call before which another of its app came back no longer closes its other lanes.
#[tokio::test(start_paused = true)]
async fn a_call_that_comes_back_lets_go_who_waited_for_those_behind_it() {
    let lanes = lanes();
    let early = at_once(&lanes, A, &[ACCOUNT]);
    let ticket = early.ticket();
    drop(early);
    let held = at_once(&lanes, B, &[ACCOUNT]);
    let mut both = waiting(&lanes, A, &[ACCOUNT, SUBSCRIPTION]);
    let mut other = waiting(&lanes, C, &[SUBSCRIPTION]);
    let mut back = waiting_again(&lanes, A, &[ACCOUNT], ticket);
    let other = other.goes();
    drop(held);
    drop(back.goes());
    assert!(both.still_waits());
    drop(other);
    drop(both.goes());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_back_and_goes_at_once_lets_them_go_as_well() {
    let lanes = lanes();
    let early = at_once(&lanes, A, &[ACCOUNT]);
    let ticket = early.ticket();
    drop(early);
    let other_account = at_once(&lanes, B, &[OTHER_ACCOUNT]);
    let mut all = waiting(&lanes, A, &[ACCOUNT, OTHER_ACCOUNT, SUBSCRIPTION]);
    let mut other = waiting(&lanes, C, &[SUBSCRIPTION]);
    let back = again(&lanes, A, &[ACCOUNT], ticket).goes();
    let other = other.goes();
    drop((back, other_account));
    assert!(all.still_waits());
    drop(other);
    drop(all.goes());
}

#[tokio::test(start_paused = true)]
async fn who_enters_twice_with_one_ticket_goes_twice() {
    let lanes = lanes();
    let first = at_once(&lanes, A, &[ACCOUNT]);
    let ticket = first.ticket();
    let mut twins = [(); 2].map(|()| waiting_again(&lanes, A, &[ACCOUNT], ticket));
    drop(first);
    for twin in &mut twins {
        drop(twin.goes());
    }
    sees(&lanes, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_the_deadline() {
    let lanes = lanes();
    let _held = at_once(&lanes, A, &[ACCOUNT]);
    let began = Instant::now();
    let deadline = began + Duration::from_secs(5);
    let outcome = lanes.enter(&[ACCOUNT, SUBSCRIPTION], B, None, deadline).await;
    assert!(matches!(outcome, Err(Shed::QueueTimeout { .. })), "{outcome:?}");
    assert_eq!(Instant::now(), deadline);
    sees(&lanes, 1, 0);
    drop(at_once(&lanes, B, &[SUBSCRIPTION]));
}

#[tokio::test(start_paused = true)]
async fn nobody_enters_at_the_deadline_or_later() {
    let lanes = lanes();
    let outcome = lanes.enter(&[ACCOUNT], A, None, Instant::now()).await;
    assert!(matches!(outcome, Err(Shed::QueueTimeout { .. })), "{outcome:?}");
    sees(&lanes, 0, 0);
}

/// Before its own timer could say so: the lane comes free in the same moment.
#[tokio::test(start_paused = true)]
async fn a_lane_that_comes_free_at_the_deadline_goes_to_the_next() {
    let lanes = lanes();
    let deadline = Instant::now() + Duration::from_secs(5);
    let held = at_once(&lanes, A, &[ACCOUNT]);
    let mut late = Call::new(&lanes, B, &[ACCOUNT, SUBSCRIPTION], None, deadline);
    let mut behind = Call::new(&lanes, B, &[SUBSCRIPTION, ACCOUNT], None, deadline);
    assert!(late.still_waits() && behind.still_waits());
    let mut next = waiting(&lanes, C, &[ACCOUNT]);
    let mut own = waiting(&lanes, B, &[SUBSCRIPTION]);
    time::advance(Duration::from_secs(5)).await;
    drop(held);
    drop(next.goes());
    for late in [&mut late, &mut behind] {
        assert!(matches!(late.outcome(), Err(Shed::QueueTimeout { .. })));
    }
    drop(own.goes());
    sees(&lanes, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn over_the_bound_calls_are_shed_at_once() {
    let lanes = Lanes::new(2);
    let held = at_once(&lanes, A, &[ACCOUNT]);
    let mut waits = [(); 2].map(|()| waiting(&lanes, B, &[ACCOUNT, OTHER_ACCOUNT]));
    let full = |app, keys: &[u64]| {
        let outcome = call(&lanes, app, keys).outcome();
        assert!(matches!(outcome, Err(Shed::QueueFull { .. })), "{outcome:?}");
        sees(&lanes, 1, 2);
    };
    full(B, &[ACCOUNT]);
    full(C, &[OTHER_ACCOUNT, SUBSCRIPTION]);

    // Whoever need not wait is not concerned, and nothing was taken for those who were shed.
    drop(at_once(&lanes, C, &[SUBSCRIPTION]));
    lanes.set_most_waiting(3);
    let mut third = waiting(&lanes, C, &[ACCOUNT]);
    lanes.set_most_waiting(0);
    drop(held);
    let [first, second] = &mut waits;
    drop(first.goes());
    drop(third.goes());
    drop(second.goes());
}

#[tokio::test(start_paused = true)]
async fn a_shed_call_is_told_how_long_it_would_take() {
    let lanes = Lanes::new(3);
    for _ in 0..10 {
        let held = at_once(&lanes, A, &[ACCOUNT]);
        time::advance(Duration::from_secs(4)).await;
        drop(held);
    }
    let _held = at_once(&lanes, A, &[ACCOUNT]);
    let _waits = [(); 2].map(|()| waiting(&lanes, A, &[ACCOUNT]));
    let _waits_for_less = waiting(&lanes, B, &[OTHER_ACCOUNT, ACCOUNT]);
    let advice = |keys: &[u64]| match call(&lanes, C, keys).outcome() {
        Err(Shed::QueueFull { retry_after }) => retry_after.as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!((advice(&[OTHER_ACCOUNT]), advice(&[OTHER_ACCOUNT, ACCOUNT])), (4, 16));
}

/// What calls are about comes from customers, who can think of any number of names.
#[tokio::test(start_paused = true)]
async fn of_lanes_in_which_nobody_is_nothing_is_left() {
    let lanes = Lanes::new(1000);
    let mut blocked = Vec::new();
    for key in 0..10_000 {
        let names = [key, key + 1, u64::MAX - key];
        drop(at_once(&lanes, A, &names));
        let held = at_once(&lanes, B, &names);
        drop(waiting(&lanes, A, &names));
        let expired = Instant::now() + Duration::from_millis(1);
        let mut late = Call::new(&lanes, A, &names, None, expired);
        assert!(late.still_waits());
        time::advance(Duration::from_millis(1)).await;
        if key % 2 == 0 {
            assert!(late.outcome().is_err());
        }
        drop((held, late));
        if blocked.len() < 100 {
            blocked.push((at_once(&lanes, A, &names[2..]), waiting(&lanes, C, &names[2..])));
        } else {
            let _held = at_once(&lanes, A, &names[..1]);
            lanes.set_most_waiting(0);
            assert!(call(&lanes, C, &names).outcome().is_err());
            lanes.set_most_waiting(1000);
        }
    }
    assert_eq!(lanes.lock().lines(), 100);
    drop(blocked);
    assert_eq!(lanes.lock().lines(), 0);
    sees(&lanes, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_elsewhere_closes_no_lane() {
    let lanes = lanes();
    let held = at_once(&lanes, A, &[ACCOUNT]);
    let mut next = waiting(&lanes, A, &[ACCOUNT]);
    let elsewhere = Arc::clone(&lanes);
    let panicked = std::thread::spawn(move || {
        let _held = held;
        let _locked = elsewhere.lock();
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    drop(next.goes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_never_meet_in_a_lane_and_leave_nothing_behind() {
    let lanes = Lanes::new(1000);
    let inside: Arc<[AtomicU32; 4]> = Arc::default();
    let calls: Vec<_> = (0..64)
        .map(|number| tokio::spawn(busy(Arc::clone(&lanes), Arc::clone(&inside), number)))
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    sees(&lanes, 0, 0);
    assert_eq!(lanes.lock().lines(), 0);
}

/// Enters again and again; every third time it leaves after a few moments, now and then in the very
/// moment of being let in.
async fn busy(lanes: Arc<Lanes>, inside: Arc<[AtomicU32; 4]>, number: u32) {
    for round in 0..200 {
        let (key, other) = (u64::from((number + round) % 4), u64::from((number + round / 7) % 4));
        let mut entering = call(&lanes, [A, B, C][number as usize % 3], &[key, other]);
        if (number + round).is_multiple_of(3) {
            for _ in 0..round % 8 {
                entering.still_waits();
                tokio::task::yield_now().await;
            }
            continue;
        }
        let lane = entering.await.unwrap();
        let mine = [key, other].map(|key| &inside[key as usize]);
        assert!(mine.iter().all(|lane| lane.load(Ordering::SeqCst) == 0), "two in one lane");
        for lane in mine {
            lane.fetch_add(1, Ordering::SeqCst);
        }
        tokio::task::yield_now().await;
        for lane in mine {
            lane.fetch_sub(1, Ordering::SeqCst);
        }
        drop(lane);
    }
}

fn lanes() -> Arc<Lanes> {
    Lanes::new(1000)
}

fn call(lanes: &Arc<Lanes>, app: AppId, keys: &[u64]) -> Call {
    Call::new(lanes, app, keys, None, Instant::now() + PATIENCE)
}

fn again(lanes: &Arc<Lanes>, app: AppId, keys: &[u64], ticket: LaneTicket) -> Call {
    Call::new(lanes, app, keys, Some(ticket), Instant::now() + PATIENCE)
}

#[track_caller]
fn at_once(lanes: &Arc<Lanes>, app: AppId, keys: &[u64]) -> Lane {
    let lane = call(lanes, app, keys).goes();
    assert!(!lane.waited());
    lane
}

#[track_caller]
fn waiting(lanes: &Arc<Lanes>, app: AppId, keys: &[u64]) -> Call {
    let mut call = call(lanes, app, keys);
    assert!(call.still_waits(), "it goes at once");
    call
}

#[track_caller]
fn waiting_again(lanes: &Arc<Lanes>, app: AppId, keys: &[u64], ticket: LaneTicket) -> Call {
    let mut call = again(lanes, app, keys, ticket);
    assert!(call.still_waits(), "it goes at once");
    call
}

#[track_caller]
fn sees(lanes: &Lanes, held: usize, waiting: usize) {
    assert_eq!(lanes.snapshot(), LanesSnapshot { held, waiting });
}

/// A call that enters, looked at by hand. It may be dropped at any time.
struct Call {
    future: Pin<Box<dyn Future<Output = Result<Lane, Shed>> + Send>>,
    outcome: Option<Result<Lane, Shed>>,
}

impl Call {
    fn new(
        lanes: &Arc<Lanes>,
        app: AppId,
        keys: &[u64],
        ticket: Option<LaneTicket>,
        deadline: Instant,
    ) -> Self {
        let (lanes, keys) = (Arc::clone(lanes), keys.to_vec());
        let future = async move { lanes.enter(&keys, app, ticket, deadline).await };
        // Looked at a thousand times in one go, which Tokio would otherwise end by saying that it waits.
        let future = tokio::task::unconstrained(future);
        Self { future: Box::pin(future), outcome: None }
    }

    fn still_waits(&mut self) -> bool {
        if self.outcome.is_none()
            && let Poll::Ready(outcome) =
                self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            self.outcome = Some(outcome);
        }
        self.outcome.is_none()
    }

    #[track_caller]
    fn outcome(&mut self) -> Result<Lane, Shed> {
        self.still_waits();
        self.outcome.take().expect("it still waits")
    }

    #[track_caller]
    fn goes(&mut self) -> Lane {
        self.outcome().unwrap()
    }
}

impl Future for Call {
    type Output = Result<Lane, Shed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => self.future.as_mut().poll(context),
        }
    }
}

/// Calls of two apps about one thing, without end: one on its way, and three in line.
struct Stream {
    lanes: Arc<Lanes>,
    key: u64,
    held: Option<Lane>,
    calls: Vec<Call>,
    came: usize,
}

impl Stream {
    fn new(lanes: &Arc<Lanes>, key: u64) -> Self {
        let held = Some(at_once(lanes, A, &[key]));
        let lanes = Arc::clone(lanes);
        let mut stream = Self { lanes, key, held, calls: Vec::new(), came: 0 };
        (0..3).for_each(|_| stream.one_comes());
        stream
    }

    fn one_comes(&mut self) {
        let app = [B, A][self.came % 2];
        self.came += 1;
        self.calls.push(waiting(&self.lanes, app, &[self.key]));
    }

    fn one_ends(&mut self) {
        drop(self.held.take().expect("somebody is always there"));
        if let Some(next) = self.calls.iter_mut().position(|call| !call.still_waits()) {
            self.held = Some(self.calls.remove(next).goes());
            self.one_comes();
        }
    }
}
