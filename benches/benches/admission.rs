//! What a permit costs: when one is free, and when others wait for it. `--bin queue` shows the whole
//! curve; this is for comparing one build with the next.

use std::collections::VecDeque;

use admission::Permit;
use benches::waiting::{CEILING, Desk, Line};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use tokio::runtime::Runtime;

/// How many wait, in how many apps.
const LINES: [(usize, usize); 4] = [(10, 3), (1_000, 3), (10_000, 100), (100_000, 1_000)];

/// A permit that is free is given without waiting, so there is nothing to await.
fn take(desk: &Desk, turn: usize) -> Permit {
    let permit = desk.admission.admit(desk.ask(turn)).now_or_never();
    permit.expect("it is decided at once").expect("one is free")
}

fn uncontended(criterion: &mut Criterion) {
    let desk = Desk::with_apps(3);
    criterion.bench_function("admit and release, nobody waits", |bencher| {
        bencher.iter(|| drop(take(&desk, 0)));
    });
}

/// One permit comes back, the next in turn gets it, and a new call joins the queue.
fn decisions(criterion: &mut Criterion) {
    // Waiting calls have deadlines, which are the runtime's timers.
    let runtime = Runtime::new().expect("a runtime starts");
    let _guard = runtime.enter();
    let mut group = criterion.benchmark_group("release, next in turn, join the queue");
    for (waiting, apps) in LINES {
        let name = format!("{waiting} in {apps} apps");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let desk = Desk::with_apps(apps);
            let mut out: VecDeque<Permit> =
                (0..CEILING as usize).map(|turn| take(&desk, turn)).collect();
            let join = |turn| desk.admission.admit(desk.ask(turn));
            let mut line = Line::of(waiting, join);

            bencher.iter(|| {
                out.pop_front();
                out.push_back(line.next(join).expect("nobody is turned away"));
            });
        });
    }
}

/// A call that waits leaves, and another joins the queue.
fn leaving(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let _guard = runtime.enter();
    let mut group = criterion.benchmark_group("leave the queue, join it");
    for (waiting, apps) in LINES {
        let name = format!("{waiting} in {apps} apps");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let desk = Desk::with_apps(apps);
            let _out: Vec<Permit> = (0..CEILING as usize).map(|turn| take(&desk, turn)).collect();
            let join = |turn| desk.admission.admit(desk.ask(turn));
            let mut line = Line::of(waiting, join);

            bencher.iter(|| {
                let slot = rand::random_range(0..waiting);
                line.replace(slot, join(slot));
            });
        });
    }
}

criterion_group!(benches, uncontended, decisions, leaving);
criterion_main!(benches);
