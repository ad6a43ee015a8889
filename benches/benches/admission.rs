//! What a permit costs: when one is free, and when others wait for it.

use std::{collections::VecDeque, num::NonZeroU32, sync::Arc, time::Duration};

use admission::{
    Admission, AppSettings, Ask, Deadline, OnRefusal, Permit, Place, PoolId, PoolSettings,
    QueueBounds, RateLimits, Settings, Start,
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{runtime::Runtime, time::Instant};

/// Zuora's limit for most operations.
const CEILING: u32 = 40;

const APPS: [&str; 3] = ["big", "mid", "small"];

fn admission() -> (Arc<Admission>, PoolId) {
    let pool = PoolSettings {
        name: "Default".into(),
        entity: None,
        ceiling: NonZeroU32::new(CEILING).expect("the ceiling is not zero"),
        headroom: 0,
        enforce: true,
        on_refusal: OnRefusal::Shrink,
        retry_after_cap: None,
    };
    let settings = Settings {
        pools: vec![pool],
        apps: APPS.map(AppSettings::named).to_vec(),
        queue: QueueBounds { max_requests: 20_000, max_bytes: 1 << 30 },
        rate: RateLimits::NONE,
    };
    let admission = Admission::new(settings, Start::Full);
    let pool = admission.pool(None, "Default").expect("the pool is in the settings");
    (admission, pool)
}

fn ask(admission: &Admission, pool: PoolId, app: usize) -> Ask {
    Ask {
        pool,
        app: admission.app(APPS[app]).expect("the app is in the settings"),
        user: None,
        deadline: Deadline::Permit(Instant::now() + Duration::from_secs(60)),
        place: Place::Back,
    }
}

/// A permit that is free is given without waiting, so there is nothing to await.
fn take(admission: &Arc<Admission>, ask: Ask) -> Permit {
    admission.admit(ask).now_or_never().expect("it is decided at once").expect("one is free")
}

fn uncontended(criterion: &mut Criterion) {
    let (admission, pool) = admission();
    criterion.bench_function("admit and release, nobody waits", |bencher| {
        bencher.iter(|| drop(take(&admission, ask(&admission, pool, 0))));
    });
}

/// One permit comes back, the next in turn gets it, and a new call joins the queue.
fn with_waiters(criterion: &mut Criterion) {
    // Waiting calls have deadlines, which are the runtime's timers.
    let runtime = Runtime::new().expect("a runtime starts");
    let _guard = runtime.enter();
    let mut group = criterion.benchmark_group("release, next in turn, join the queue");
    for waiters in [10, 1_000, 10_000] {
        group.bench_function(BenchmarkId::from_parameter(waiters), |bencher| {
            let (admission, pool) = admission();
            let mut out: VecDeque<Permit> =
                (0..CEILING).map(|_| take(&admission, ask(&admission, pool, 0))).collect();
            let mut waiting: FuturesUnordered<_> = (0..waiters)
                .map(|call| admission.admit(ask(&admission, pool, call % APPS.len())))
                .collect();
            assert!(waiting.next().now_or_never().is_none(), "all permits are out");

            let mut call = 0;
            bencher.iter(|| {
                out.pop_front();
                call += 1;
                waiting.push(admission.admit(ask(&admission, pool, call % APPS.len())));
                let next = waiting.next().now_or_never().flatten().expect("one has its turn");
                out.push_back(next.expect("nobody is turned away"));
            });
        });
    }
}

criterion_group!(benches, uncontended, with_waiters);
criterion_main!(benches);
