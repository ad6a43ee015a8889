//! What a decision costs, and what a waiting call takes, by how many wait in how many apps.
//!
//! `cargo run --release -p benches --bin queue -- --help`

#![expect(clippy::print_stdout, reason = "a measurement is a program that prints its result")]

use std::{
    collections::VecDeque,
    future::Future,
    mem,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use anyhow::Result;
use benches::{
    machine::{self, Memory},
    plot::{Axis, Look, Mark, Panel, Plot, Scale, Series, figure},
    stats::Samples,
    table::Table,
    waiting::{CEILING, Desk, Line},
};
use clap::Parser;
use tokio::{
    runtime::Runtime,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{self, Instant},
};

/// How many wait.
const DEPTHS: [usize; 9] = [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000];

/// In how many apps.
const APPS: [usize; 4] = [1, 10, 100, 1_000];

/// What a line of calls waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    /// Ours, with so many apps.
    Admission(usize),
    /// Tokio's semaphore with a deadline: no apps, no shares, first come first served.
    Semaphore,
}

/// Measures decisions at rest and with many that wait.
#[derive(Debug, Parser)]
struct Options {
    /// The most that wait.
    #[arg(long, default_value_t = 100_000)]
    waiting: usize,

    /// How many decisions make a sample: so few that hardly one is disturbed by another program.
    #[arg(long, default_value_t = 200)]
    decisions: usize,

    /// How many samples are taken; their median counts.
    #[arg(long, default_value_t = 200)]
    samples: usize,

    /// Draw the cost by the length of the queue into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// What was measured with one kind of queue at one length.
#[derive(Clone, Copy, Debug)]
struct Point {
    waiting: usize,
    /// A permit comes back, the next in turn gets it, and another call joins; in µs.
    decision: f64,
    /// A waiting call leaves, and another joins; in µs.
    leaving: f64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    println!("Machine: {}.\n", machine::description()?);
    // Those who wait have deadlines, which are the runtime's timers.
    let runtime = Runtime::new()?;
    let _guard = runtime.enter();

    // First of all: memory that was used and freed before would be used again, unseen.
    let memory = memory(options.waiting)?;
    let uncontended = uncontended(&options);
    let queues = APPS.map(Queue::Admission).into_iter().chain([Queue::Semaphore]);
    let curves: Vec<(Queue, Vec<Point>)> =
        queues.map(|queue| (queue, curve(queue, &options))).collect();

    let table = |what, cost| println!("{what}, in µs:\n\n{}", table(&curves, &options, cost));
    table("A permit comes back, the next in turn gets it, another call joins", |point| {
        point.decision
    });
    table("A waiting call leaves, another joins", |point| point.leaving);
    println!("- admit and release, nobody waits: {uncontended:.2} µs");
    println!("{memory}");
    if let Some(file) = &options.plot {
        plot(&curves, &options).save(file)?;
        println!("Drawn: {}", file.display());
    }
    Ok(())
}

/// Resident bytes of each waiting call, and the size of the future that its caller holds.
fn memory(waiting: usize) -> Result<String> {
    let desk = Desk::with_apps(1_000);
    let _out: Vec<_> =
        (0..CEILING as usize).map(|turn| take(desk.admission.admit(desk.ask(turn)))).collect();
    let size = mem::size_of_val(&desk.admission.admit(desk.ask(0)));
    let (ours, _line) = resident_each(waiting, |turn| desk.admission.admit(desk.ask(turn)))?;

    let semaphore = Arc::new(Semaphore::new(0));
    let (theirs, _line) = resident_each(waiting, |_| acquire(&semaphore))?;
    Ok(format!(
        "- resident for each of {} that wait in 1,000 apps: {ours:.0} bytes, of which {size} are the future \
         that the call consists of; in a semaphore: {theirs:.0}",
        figure(waiting as f64),
    ))
}

/// Resident bytes of each, and the line of them: as long as it is kept, nothing else gets its memory.
fn resident_each<F: Future>(
    count: usize,
    mut join: impl FnMut(usize) -> F,
) -> Result<(f64, Vec<Pin<Box<F>>>)> {
    let resident = || Ok::<_, anyhow::Error>(Memory::of(std::process::id())?.resident);
    let mut line = Vec::with_capacity(count);
    let before = resident()?;
    for turn in 0..count {
        let mut call = Box::pin(join(turn));
        assert!(poll(call.as_mut()).is_none(), "whoever joins must wait");
        line.push(call);
    }
    let grown = resident()?.saturating_sub(before);
    Ok((grown as f64 * 1024.0 / count as f64, line))
}

fn uncontended(options: &Options) -> f64 {
    let desk = Desk::with_apps(3);
    options.median(|turn| drop(take(desk.admission.admit(desk.ask(turn)))))
}

fn curve(queue: Queue, options: &Options) -> Vec<Point> {
    let fewest = match queue {
        Queue::Admission(apps) => apps,
        Queue::Semaphore => 1,
    };
    let depths = DEPTHS.into_iter().filter(|depth| (fewest..=options.waiting).contains(depth));
    depths.map(|waiting| point(queue, waiting, options)).collect()
}

fn point(queue: Queue, waiting: usize, options: &Options) -> Point {
    match queue {
        Queue::Admission(apps) => {
            let desk = Desk::with_apps(apps);
            let out = (0..CEILING as usize).map(|turn| take(desk.admission.admit(desk.ask(turn))));
            let out = out.collect();
            let join = |turn| desk.admission.admit(desk.ask(turn));
            measure(waiting, options, out, join, |permit| permit.expect("nobody is turned away"))
        }
        Queue::Semaphore => {
            let semaphore = Arc::new(Semaphore::new(CEILING as usize));
            let out = (0..CEILING).map(|_| poll(Box::pin(acquire(&semaphore)).as_mut()));
            let out = out.map(|permit| permit.expect("one is free")).collect();
            measure(waiting, options, out, |_| acquire(&semaphore), |permit| permit)
        }
    }
}

fn measure<F: Future, P>(
    waiting: usize,
    options: &Options,
    mut out: VecDeque<P>,
    join: impl Fn(usize) -> F,
    take: impl Fn(F::Output) -> P,
) -> Point {
    let mut line = Line::of(waiting, &join);
    let decision = options.median(|_| {
        drop(out.pop_front());
        out.push_back(take(line.next(&join)));
    });
    let leaving = options.median(|_| {
        let slot = rand::random_range(0..waiting);
        line.replace(slot, join(slot));
    });
    Point { waiting, decision, leaving }
}

impl Options {
    /// What a step costs in µs: the median of the samples, after as many that do not count.
    fn median(&self, mut step: impl FnMut(usize)) -> f64 {
        let mut samples = Samples::default();
        for sample in 0..2 * self.samples {
            let start = Instant::now();
            for number in 0..self.decisions {
                step(number);
            }
            if sample >= self.samples {
                samples.push(start.elapsed().as_secs_f64() * 1e6 / self.decisions as f64);
            }
        }
        samples.median()
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = time::timeout_at(Desk::deadline(), Arc::clone(semaphore).acquire_owned()).await;
    permit.expect("the deadline is far").expect("the semaphore is never closed")
}

/// A permit that is free is given without waiting.
fn take<T, E: std::fmt::Debug>(admit: impl Future<Output = Result<T, E>>) -> T {
    poll(std::pin::pin!(admit)).expect("it is decided at once").expect("one is free")
}

fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

fn table(curves: &[(Queue, Vec<Point>)], options: &Options, cost: fn(&Point) -> f64) -> Table {
    let names: Vec<String> = curves.iter().map(|(queue, _)| queue.name()).collect();
    let heads: Vec<&str> =
        ["waiting"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut table = Table::new(&heads);
    for depth in DEPTHS.into_iter().filter(|depth| *depth <= options.waiting) {
        let cell = |(_, points): &(Queue, Vec<Point>)| {
            let point = points.iter().find(|point| point.waiting == depth);
            point.map_or(String::new(), |point| format!("{:.2}", cost(point)))
        };
        table.row([figure(depth as f64)].into_iter().chain(curves.iter().map(cell)));
    }
    table
}

fn plot(curves: &[(Queue, Vec<Point>)], options: &Options) -> Plot {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let costs = points().flat_map(|point| [point.decision, point.leaving]);
    let highest = costs.fold(1.0, f64::max);
    let panel = |name: &str, cost: fn(&Point) -> f64| Panel {
        name: name.to_owned(),
        y: Axis {
            label: "µs".to_owned(),
            from: 0.0,
            to: (highest * 1.05).ceil(),
            scale: Scale::Linear,
        },
        height: 220.0,
        series: curves
            .iter()
            .map(|(queue, points)| Series {
                name: queue.name(),
                look: queue.look(),
                mark: Mark::Dots(points.iter().map(|it| (it.waiting as f64, cost(it))).collect()),
            })
            .collect(),
    };
    Plot {
        title: "What a decision costs, by the length of the queue".to_owned(),
        subtitle: format!(
            "median of {} samples of {} decisions each, one thread",
            options.samples, options.decisions
        ),
        x: Axis {
            label: "calls that wait".to_owned(),
            from: 10.0,
            to: options.waiting.max(100) as f64,
            scale: Scale::Log,
        },
        panels: vec![
            panel("A permit comes back, the next in turn gets it, another call joins", |it| {
                it.decision
            }),
            panel("A waiting call leaves, another joins", |it| it.leaving),
        ],
    }
}

impl Queue {
    fn name(self) -> String {
        match self {
            Self::Admission(1) => "1 app".to_owned(),
            Self::Admission(apps) => format!("{} apps", figure(apps as f64)),
            Self::Semaphore => "Tokio's semaphore (FIFO)".to_owned(),
        }
    }

    fn look(self) -> Look {
        match self {
            Self::Admission(1) => Look::Blue,
            Self::Admission(10) => Look::Green,
            Self::Admission(100) => Look::Orange,
            Self::Admission(_) => Look::Purple,
            Self::Semaphore => Look::Black,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_serves_all_who_join_and_lets_them_leave() {
        let runtime = Runtime::new().unwrap();
        let _guard = runtime.enter();

        let options = Options { waiting: 100, decisions: 10, samples: 15, plot: None };

        for queue in [Queue::Admission(1), Queue::Admission(100), Queue::Semaphore] {
            let point = point(queue, 100, &options);

            assert!(point.decision > 0.0 && point.leaving > 0.0, "{point:?}");
        }
    }
}
