//! Real threads at the same lock.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::Refused;

const PERMITS: u32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_never_pass_the_limit_and_leave_nothing_behind() {
    let admission = admission(one_pool(PERMITS));
    let in_flight = Arc::new(AtomicU32::new(0));
    let calls: Vec<_> = (0..64)
        .map(|number| tokio::spawn(busy(Arc::clone(&admission), Arc::clone(&in_flight), number)))
        .collect();
    for call in calls {
        call.await.unwrap();
    }

    let snapshot = admission.snapshot();
    assert_eq!((snapshot.in_use, snapshot.queued), (0, 0));
    // Nothing but the timer, on its way out, can still hold the admission.
    drop(permits(&admission, PERMITS as usize));
}

/// Asks again and again; every third time it leaves after a few moments, now and then in the very
/// moment of being served.
async fn busy(admission: Arc<Admission>, in_flight: Arc<AtomicU32>, number: usize) {
    for round in 0..200 {
        let patience = if (number + round).is_multiple_of(3) { round % 8 } else { usize::MAX };
        let permit = tokio::select! {
            biased;
            outcome = admission.admit(ask_of(number % 3)) => outcome.unwrap(),
            () = moments(patience) => continue,
        };
        assert!(in_flight.fetch_add(1, Ordering::SeqCst) < PERMITS, "too many at once");
        tokio::task::yield_now().await;
        in_flight.fetch_sub(1, Ordering::SeqCst);
        drop(permit);
    }
}

async fn moments(count: usize) {
    if count == usize::MAX {
        return std::future::pending().await;
    }
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_permit_may_be_dropped_where_there_is_no_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let admission = admission(one_pool(2));
    let mut held = permits(&admission, 2);
    let waits = runtime.block_on(waiting(&admission, ask()));

    // The pool shrinks to one, which is taken; only a timer can let the call go.
    held.pop().unwrap().refused(Refused::Concurrency { until: Instant::now() });

    assert!(runtime.block_on(waits).unwrap().is_ok());
}

#[test]
fn a_runtime_that_ends_takes_no_timer_with_it() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let admission = admission(one_pool(1));
    let resting = resting(ask(), Instant::now() + millis(100));
    let first = runtime();
    first.block_on(async {
        waiting(&admission, resting).await.abort();
        let _rests = waiting(&admission, resting).await;
    });
    drop(first);

    let permit = runtime().block_on(admission.admit(resting));

    assert!(permit.is_ok());
    assert_eq!(admission.snapshot().queued, 0);
}
