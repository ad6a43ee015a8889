//! What of it is shown.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use benches::{
    plot::{Axis, Look, Mark, Panel, Plot, Scale, Series},
    stats::percentile,
    table::Table,
};
use tokio::time::Instant;

use crate::{Options, Run, apps::Tally};

/// Looks of the apps in a plot.
const LOOKS: [Look; 4] = [Look::Blue, Look::Vermilion, Look::Green, Look::Purple];

impl Run {
    fn within<'a>(
        &self,
        moments: &'a [(Instant, Duration)],
    ) -> impl Iterator<Item = &'a (Instant, Duration)> {
        let begin = self.begin;
        moments.iter().filter(move |(at, _)| *at >= begin)
    }

    fn per_second(&self, count: usize) -> f64 {
        count as f64 / self.took.as_secs_f64()
    }

    /// Answers of one app, done and accepted.
    fn counts(&self, tally: &Tally) -> (usize, usize) {
        (self.within(&tally.done).count(), self.within(&tally.accepted).count())
    }

    fn failed(&self, tally: &Tally) -> usize {
        tally.failed.iter().filter(|at| **at >= self.begin).count()
    }

    /// Writes that the tenant has carried out, at once or later.
    fn effects(&self) -> (usize, usize) {
        let at_once = self.ledger.executed.iter().filter(|call| {
            call.took_effect && call.method == "PUT" && !call.path.starts_with("/v1/async/")
        });
        let later = self.ledger.async_requests.iter().filter(|it| it.ended_ms.is_some()).count();
        (at_once.count().saturating_sub(later), later)
    }

    /// How long after their acceptance writes were carried out.
    fn outcomes(&self) -> String {
        let ended = self.ledger.async_requests.iter();
        let mut times: Vec<_> = ended
            .filter_map(|it| {
                Some(Duration::from_millis(it.ended_ms?.saturating_sub(it.accepted_ms)))
            })
            .collect();
        if times.is_empty() {
            return "–".to_owned();
        }
        times.sort_unstable();
        milliseconds(&times)
    }
}

/// p50 and p99.
fn milliseconds(sorted: &[Duration]) -> String {
    let ms = |share| percentile(sorted, share).as_secs_f64() * 1e3;
    format!("{:.0} / {:.0}", ms(0.5), ms(0.99))
}

/// All ways side by side, then what each app got.
pub(crate) fn table(options: &Options, runs: &[Run]) -> String {
    let mut text = format!(
        "Writes of {} connections for {} s each way, limit {}, service time {}, {} at once carried out later:\n\n",
        options.apps.iter().map(|app| app.connections.to_string()).collect::<Vec<_>>().join(", "),
        options.seconds,
        options.limit,
        options.service_time,
        options.workers,
    );
    let _ = writeln!(text, "{}\n{}", ways(runs), of_apps(options, runs));
    for (run, tally) in runs.iter().flat_map(|run| run.tallies.iter().map(move |it| (run, it))) {
        if let Some(example) = &tally.example {
            let _ = writeln!(text, "- {}: {example}", run.name);
        }
    }
    text
}

fn ways(runs: &[Run]) -> Table {
    let mut table = Table::new(&[
        "through",
        "answered/s",
        "200 / 202",
        "carried out/s",
        "at once / later",
        "refused by the tenant",
        "p50 / p99 ms of an answer",
        "p50 / p99 ms from a 202 to the outcome",
        "CPU µs per write",
    ]);
    for run in runs {
        let counts = run.tallies.iter().map(|tally| run.counts(tally));
        let (done, accepted) = counts.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let (at_once, later) = run.effects();
        let moments = run.tallies.iter().flat_map(|tally| [&tally.done, &tally.accepted]);
        let latencies = moments.flat_map(|it| run.within(it)).map(|(_, latency)| *latency);
        let mut latencies: Vec<_> = latencies.collect();
        latencies.sort_unstable();
        table.row([
            run.name.clone(),
            format!("{:.1}", run.per_second(done + accepted)),
            format!("{done} / {accepted}"),
            format!("{:.1}", run.per_second(at_once + later)),
            format!("{at_once} / {later}"),
            run.ledger.refused_concurrency.to_string(),
            milliseconds(&latencies),
            run.outcomes(),
            format!("{:.0}", run.cpu.as_secs_f64() * 1e6 / (done + accepted) as f64),
        ]);
    }
    table
}

fn of_apps(options: &Options, runs: &[Run]) -> Table {
    let mut table = Table::new(&[
        "through",
        "app",
        "connections",
        "answered/s",
        "share",
        "200 / 202",
        "p50 / p99 ms of a 200",
        "p50 / p99 ms of a 202",
        "failed",
    ]);
    for run in runs {
        let all: usize = run.tallies.iter().map(|it| run.counts(it)).map(|(a, b)| a + b).sum();
        for (app, tally) in options.apps.iter().zip(&run.tallies) {
            let (done, accepted) = run.counts(tally);
            let sorted = |moments: &[(Instant, Duration)]| {
                let mut all: Vec<_> = run.within(moments).map(|(_, latency)| *latency).collect();
                all.sort_unstable();
                if all.is_empty() { "–".to_owned() } else { milliseconds(&all) }
            };
            table.row([
                run.name.clone(),
                app.name.clone(),
                app.connections.to_string(),
                format!("{:.1}", run.per_second(done + accepted)),
                format!("{:.1}%", (done + accepted) as f64 / all as f64 * 100.0),
                format!("{done} / {accepted}"),
                sorted(&tally.done),
                sorted(&tally.accepted),
                run.failed(tally).to_string(),
            ]);
        }
    }
    table
}

/// What each app was answered over time, one panel for each way.
pub(crate) fn draw(options: &Options, runs: &[Run]) -> Plot {
    let rates = |run: &Run| -> Vec<Vec<(f64, f64)>> {
        run.tallies.iter().map(|tally| answers_by_second(run, tally)).collect()
    };
    let most = runs.iter().flat_map(rates).flatten().map(|(_, rate)| rate).fold(1.0, f64::max);
    let panel = |run: &Run| Panel {
        name: run.name.clone(),
        y: Axis {
            label: "answers per second".to_owned(),
            from: 0.0,
            to: most * 1.1,
            scale: Scale::Linear,
        },
        height: 170.0,
        series: options
            .apps
            .iter()
            .zip(rates(run))
            .zip(LOOKS.iter().cycle())
            .map(|((app, rates), look)| Series {
                name: format!("{}, {} connections", app.name, app.connections),
                look: *look,
                mark: Mark::Steps(rates),
            })
            .collect(),
    };
    Plot {
        title: "Apps that write without a pause".to_owned(),
        subtitle: format!("limit {}, service time {}", options.limit, options.service_time),
        x: Axis {
            label: "seconds since the measurement began".to_owned(),
            from: 0.0,
            to: options.seconds.max(1) as f64,
            scale: Scale::Linear,
        },
        panels: runs.iter().map(panel).collect(),
    }
}

fn answers_by_second(run: &Run, tally: &Tally) -> Vec<(f64, f64)> {
    let mut counts: BTreeMap<u64, f64> = (0..run.took.as_secs()).map(|it| (it, 0.0)).collect();
    for (at, _) in run.within(&tally.done).chain(run.within(&tally.accepted)) {
        if let Some(count) = counts.get_mut(&(*at - run.begin).as_secs()) {
            *count += 1.0;
        }
    }
    counts.into_iter().map(|(second, count)| (second as f64, count)).collect()
}
