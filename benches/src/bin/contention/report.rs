//! What of it is shown.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use benches::{
    plot::{Axis, Look, Mark, Panel, Plot, Scale, Series},
    stats::{Samples, percentile},
    table::Table,
};

use crate::{Options, Run, writers::Sort};

/// Looks of the ways in a plot.
const LOOKS: [Look; 4] = [Look::Vermilion, Look::Blue, Look::Green, Look::Purple];

impl Run {
    fn succeeded(&self) -> usize {
        self.tally.writes.iter().filter(|write| write.succeeded).count()
    }

    /// The share of requests at the tenant that met a lock.
    fn contention(&self) -> f64 {
        self.ledger.contended_calls as f64 / self.ledger.executed_writes as f64
    }

    fn goodput(&self) -> f64 {
        self.succeeded() as f64 / self.took.as_secs_f64()
    }

    fn latencies(&self) -> String {
        let mut latencies: Vec<Duration> =
            self.tally.writes.iter().map(|write| write.latency).collect();
        latencies.sort_unstable();
        let ms = |share| percentile(&latencies, share).as_secs_f64() * 1e3;
        format!("{:.0} / {:.0} / {:.0}", ms(0.5), ms(0.99), ms(1.0))
    }

    /// Writes of which the tenant's book does not say what their app was told: done once, or not at all.
    fn untrue(&self) -> usize {
        let effects = self.ledger.effects_by_track_id();
        let times = |id: &String| effects.get(id.as_str()).copied().unwrap_or(0);
        let done = |track_ids: &[String]| track_ids.iter().map(times).sum::<usize>();
        let writes = self.tally.writes.iter();
        writes.filter(|write| done(&write.track_ids) != usize::from(write.succeeded)).count()
    }
}

/// Where writes meet.
pub(crate) fn meeting(options: &Options, runs: &[Run]) -> String {
    let mut table = Table::new(&[
        "through",
        "writes",
        "did not succeed",
        "requests at the tenant",
        "met a lock",
        "less than without a gateway by",
        "succeeded/s",
        "p50 / p99 / longest ms",
        "told otherwise than done",
    ]);
    let first = runs.first().map_or(f64::NAN, Run::contention);
    for run in runs {
        let (rate, writes) = (run.contention(), run.tally.writes.len());
        table.row([
            run.name.clone(),
            writes.to_string(),
            (writes - run.succeeded()).to_string(),
            run.ledger.executed_writes.to_string(),
            format!("{:.2}%", rate * 100.0),
            format!("{:.1}%", (1.0 - rate / first) * 100.0),
            format!("{:.1}", run.goodput()),
            run.latencies(),
            run.untrue().to_string(),
        ]);
    }
    let mut text = format!(
        "{} writers on {} accounts for {:?} each way, limit {}, service time {}; {:.0}% of writes name a subscription{}:\n\n{table}\n",
        options.writers,
        options.accounts,
        options.lasts,
        options.limit,
        options.service_time,
        options.by_subscription * 100.0,
        options.key.iter().map(|key| format!(", `{key}`")).collect::<String>(),
    );
    let _ = of_sorts(&mut text, runs);
    text
}

/// What the gateway made of each kind of write.
fn of_sorts(text: &mut String, runs: &[Run]) -> fmt::Result {
    let mut table = Table::new(&[
        "through",
        "kind of write",
        "writes",
        "did not succeed",
        "done by requests: 1 / 2 / 3 / 4 / 5 / more",
        "the app had to repeat",
    ]);
    for run in runs {
        for sort in Sort::ALL {
            let writes: Vec<_> =
                run.tally.writes.iter().filter(|write| write.sort == sort).collect();
            let mut by_attempts = [0; 6];
            for write in writes.iter().filter(|write| write.succeeded) {
                by_attempts[write.attempts.clamp(1, 6) as usize - 1] += 1;
            }
            let by_attempts: Vec<String> = by_attempts.iter().map(ToString::to_string).collect();
            table.row([
                run.name.clone(),
                sort.words().to_owned(),
                writes.len().to_string(),
                writes.iter().filter(|write| !write.succeeded).count().to_string(),
                by_attempts.join(" / "),
                writes.iter().filter(|write| write.track_ids.len() > 1).count().to_string(),
            ]);
        }
    }
    writeln!(text, "{table}")?;
    for run in runs {
        for (failure, times) in &run.tally.failures {
            writeln!(text, "- {}: {times} × {failure}", run.name)?;
        }
    }
    Ok(())
}

/// Where they hardly meet: what lanes cost.
pub(crate) fn spread_out(options: &Options, ways: &[Vec<Run>]) -> String {
    let mut table = Table::new(&[
        "through",
        "succeeded/s (spread)",
        "of that without lanes",
        "met a lock",
        "p50 / p99 / longest ms",
        "CPU µs per write",
        "did not succeed",
    ]);
    let samples = |runs: &[Run], figure: fn(&Run) -> f64| {
        let mut samples = Samples::default();
        runs.iter().for_each(|run| samples.push(figure(run)));
        samples
    };
    let mut without = f64::NAN;
    for (nth, runs) in ways.iter().enumerate() {
        let goodput = samples(runs, Run::goodput);
        if nth % 2 == 0 {
            without = goodput.median();
        }
        let cpu = samples(runs, |run| {
            run.cpu.unwrap_or_default().as_secs_f64() * 1e6 / run.tally.writes.len() as f64
        });
        let failed: usize = runs.iter().map(|run| run.tally.writes.len() - run.succeeded()).sum();
        table.row([
            runs.first().map_or(String::new(), |run| run.name.clone()),
            format!("{:.1} ({:.1}%)", goodput.median(), goodput.spread() * 100.0),
            format!("{:.1}%", goodput.median() / without * 100.0),
            format!("{:.2}%", samples(runs, Run::contention).median() * 100.0),
            runs.last().map_or(String::new(), Run::latencies),
            format!("{:.0}", cpu.median()),
            failed.to_string(),
        ]);
    }
    format!(
        "{} writers on {} accounts, {} rounds of {:?} in turn:\n\n{table}",
        options.spread_writers, options.spread_accounts, options.rounds, options.spread_lasts,
    )
}

/// Requests at the tenant over time, and those of them that met a lock.
pub(crate) fn draw(options: &Options, runs: &[Run]) -> Plot {
    let seconds = options.lasts.as_secs_f64().max(1.0);
    let panel = |name: &str, label: &str, counts: fn(&Run) -> BTreeMap<u64, f64>| {
        let series: Vec<Series> = runs
            .iter()
            .zip(LOOKS.iter().cycle())
            .map(|(run, look)| Series {
                name: run.name.clone(),
                look: *look,
                mark: Mark::Steps(
                    counts(run).into_iter().map(|(second, value)| (second as f64, value)).collect(),
                ),
            })
            .collect();
        let values = series.iter().flat_map(|series| match &series.mark {
            Mark::Steps(points) => points.iter().map(|(_, value)| *value).collect(),
            _ => Vec::new(),
        });
        let most = values.fold(1.0, f64::max);
        Panel {
            name: name.to_owned(),
            y: Axis { label: label.to_owned(), from: 0.0, to: most * 1.1, scale: Scale::Linear },
            height: 180.0,
            series,
        }
    };
    Plot {
        title: format!("{} writers on {} accounts", options.writers, options.accounts),
        subtitle: format!("limit {}, service time {}", options.limit, options.service_time),
        x: Axis {
            label: "seconds since the writers began".to_owned(),
            from: 0.0,
            to: seconds,
            scale: Scale::Linear,
        },
        panels: vec![
            panel("Writes that took effect", "per second", |run| per_second(run, true)),
            panel("Requests that met a lock", "per second", |run| per_second(run, false)),
        ],
    }
}

/// How many requests of each second took effect, or did not.
fn per_second(run: &Run, took_effect: bool) -> BTreeMap<u64, f64> {
    let last = run.took.as_secs();
    let mut counts: BTreeMap<u64, f64> = (0..last).map(|second| (second, 0.0)).collect();
    for call in run.ledger.executed.iter().filter(|call| call.took_effect == took_effect) {
        let second = call.at_ms.saturating_sub(run.began_ms) / 1000;
        if let Some(count) = counts.get_mut(&second) {
            *count += 1.0;
        }
    }
    counts
}
