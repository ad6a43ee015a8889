//! What a run showed, from the clients' side and from the tenant's.

use std::{fmt, time::Duration};

use benches::{
    stats::{jain, max_min, percentile},
    table::Table,
};
use emulator::Ledger;
use tokio::time::Instant;

use crate::{
    LIMIT_TYPE, Options, Run,
    apps::{Tally, within},
    clock::{NewLimit, Phase, Stay},
    judge::Judge,
    outsider::{self, Outsider},
    reloads::{self, Change},
};

/// How long things may take to settle after an outsider has come.
const SETTLING: Duration = Duration::from_secs(3);

/// One run, ready to be printed.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    options: &'a Options,
    run: &'a Run,
    judge: Judge<'a>,
    /// Answers a second that the tenant could give, were all permits always used that others leave.
    ideal: f64,
    /// What each app could have of that.
    fair: Vec<f64>,
    answered: Vec<f64>,
}

/// Several runs side by side, ready to be printed.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    reports: Vec<Report<'a>>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(options: &'a Options, run: &'a Run) -> Self {
        let limits: Vec<NewLimit> = run.changes.iter().map(Change::new_limit).collect();
        let phases = run.clock.phases(options.limit, &limits, &run.stays, options.outside);
        let (ideal, fair) = fair(options, run.ledger.mean_service_seconds, &phases);
        let seconds = (run.clock.end - run.clock.begin).as_secs_f64();
        let answered =
            |tally: &Tally| tally.latencies(run.clock.begin, run.clock.end).len() as f64 / seconds;
        let answered = run.tallies.iter().map(answered).collect();
        Self { options, run, judge: Judge::new(run), ideal, fair, answered }
    }

    fn shares(&self) -> Vec<f64> {
        self.answered.iter().zip(&self.fair).map(|(answered, fair)| answered / fair).collect()
    }

    fn goodput(&self) -> f64 {
        self.answered.iter().sum()
    }

    /// How many of these moments were measured, over all apps.
    fn measured(&self, moments: impl Fn(&Tally) -> &[Instant]) -> usize {
        let clock = &self.run.clock;
        self.run.tallies.iter().map(|tally| within(moments(tally), clock.begin, clock.end)).sum()
    }

    fn in_warm_up(&self, moments: impl Fn(&Tally) -> &[Instant]) -> usize {
        let clock = &self.run.clock;
        self.run.tallies.iter().map(|tally| within(moments(tally), clock.start, clock.begin)).sum()
    }

    fn most_in_flight(&self) -> u32 {
        let most = |ledger: &Ledger| ledger.most_in_flight.get(LIMIT_TYPE).copied().unwrap_or(0);
        most(&self.run.warm_up).max(most(&self.run.ledger))
    }

    /// A percentile of each app's latency in milliseconds.
    fn ms(&self, share: f64) -> Vec<f64> {
        let clock = &self.run.clock;
        self.run.tallies.iter().map(|tally| tally.ms(share, clock.begin, clock.end)).collect()
    }

    fn service_p99(&self) -> f64 {
        self.judge.service_time(0.99, self.run.clock.begin).as_secs_f64() * 1e3
    }

    fn cpu_per_answer(&self) -> Option<f64> {
        let (used, _) = self.run.cost?;
        let seconds = (self.run.clock.end - self.run.clock.begin).as_secs_f64();
        Some(used.as_secs_f64() * 1e6 / (self.goodput() * seconds))
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            "app",
            "connections",
            "answered/s",
            "of its fair share",
            "p50 / p99 ms",
            "429s",
            "other errors",
            "hung up",
            "permit-seconds at the tenant",
        ]);
        let (clock, shares) = (&self.run.clock, self.shares());
        let (p50, p99) = (self.ms(0.5), self.ms(0.99));
        for (nth, (app, tally)) in self.options.apps.iter().zip(&self.run.tallies).enumerate() {
            let count = |moments: &[Instant]| within(moments, clock.begin, clock.end).to_string();
            let weight = match app.weight {
                1 => String::new(),
                weight => format!(" (weight {weight})"),
            };
            let at_tenant = self.run.ledger.apps.get(&app.name);
            table.row([
                format!("{}{weight}", app.name),
                app.connections.to_string(),
                format!("{:.1}", self.answered[nth]),
                percent(shares[nth]),
                format!("{:.0} / {:.0}", p50[nth], p99[nth]),
                count(&tally.refused),
                count(&tally.failed),
                count(&tally.hung_up),
                at_tenant.map_or(String::new(), |app| format!("{:.1}", app.busy_permit_seconds)),
            ]);
        }
        table
    }

    fn of_goodput(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (goodput, ledger) = (self.goodput(), &self.run.ledger);
        let outsider = ledger.apps.get(outsider::NAME).map_or(0, |app| app.executed);
        let executed = (ledger.executed_total - outsider) as f64 / ledger.elapsed_seconds;
        let permits = self.ideal * ledger.mean_service_seconds;
        writeln!(
            f,
            "- goodput: {goodput:.1}/s, {:.1}% of the ideal {:.1}/s ({permits:.1} permits ÷ {:.2} ms measured); \
             with what nobody waited for any more, the tenant executed {executed:.1}/s ({:.1}%)",
            goodput / self.ideal * 100.0,
            self.ideal,
            ledger.mean_service_seconds * 1e3,
            executed / self.ideal * 100.0,
        )
    }

    fn of_refusals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = &self.run.clock;
        writeln!(
            f,
            "- 429s seen by apps: {} ({} more in the warm-up); refused by the tenant: {} ({} more); \
             other errors: {} ({} more)",
            self.measured(|tally| &tally.refused),
            self.in_warm_up(|tally| &tally.refused),
            self.judge.refused(clock.begin, clock.end),
            self.judge.refused(clock.start, clock.begin),
            self.measured(|tally| &tally.failed),
            self.in_warm_up(|tally| &tally.failed),
        )
    }

    /// The slowest of the smallest app's calls beside the tenant's own, and of the largest's beside
    /// its fair wait. Only where supply and demand do not change.
    fn of_waiting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.options.outside_period.is_some() || self.options.reload_every.is_some() {
            return Ok(());
        }
        let apps = &self.options.apps;
        let p99 = self.ms(0.99);
        let by_size = |nth: &usize| apps[*nth].connections;
        let (smallest, largest) =
            ((0..apps.len()).min_by_key(by_size), (0..apps.len()).max_by_key(by_size));
        let (Some(smallest), Some(largest)) = (smallest, largest) else { return Ok(()) };
        let (service, ideal) = (self.service_p99(), self.ideal_ms(&self.fair)[largest]);
        writeln!(
            f,
            "- p99 of `{}`: {:.0} ms, {:.2} × the service time's own {service:.0} ms",
            apps[smallest].name,
            p99[smallest],
            p99[smallest] / service,
        )?;
        writeln!(
            f,
            "- p99 of `{}`: {:.0} ms, {:.2} × its ideal of {ideal:.0} ms ({} connections ÷ {:.1}/s)",
            apps[largest].name,
            p99[largest],
            p99[largest] / ideal,
            apps[largest].connections,
            self.fair[largest],
        )
    }

    /// How long each app's calls take in the mean if it gets its fair share.
    fn ideal_ms(&self, fair: &[f64]) -> Vec<f64> {
        let apps = self.options.apps.iter().zip(fair);
        apps.map(|(app, fair)| f64::from(app.connections) / fair * 1e3).collect()
    }

    fn of_outsider(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.run.stays.is_empty() {
            return Ok(());
        }
        if self.options.outsider == Outsider::Calls {
            let outsider = &self.run.outsider;
            writeln!(
                f,
                "- the outsider: {} calls answered, p50 / p99 {:.0} / {:.0} ms; {} refused, {} failed otherwise",
                outsider.answered.len(),
                outsider.ms(0.5, self.run.clock.start, self.run.clock.end),
                outsider.ms(0.99, self.run.clock.start, self.run.clock.end),
                outsider.refused.len(),
                outsider.failed.len(),
            )?;
        }
        let names: Vec<&str> = self.options.apps.iter().map(|app| app.name.as_str()).collect();
        let names = names.join(" / ");
        let mut table = Table::new(&[
            "the outsider stays",
            "refused by the tenant: first 3 s / then",
            "429s seen: first 3 s / then",
            "came again early",
            &format!("then p99 ms: {names}"),
            &format!("ideal ms: {names}"),
        ]);
        for stay in &self.run.stays {
            table.row(self.stay(*stay));
        }
        writeln!(f, "\n{table}")
    }

    fn stay(&self, stay: Stay) -> [String; 6] {
        let (run, options) = (self.run, self.options);
        let settled = stay.to.min(stay.from + SETTLING);
        let seen = |from, to| {
            run.tallies.iter().map(|tally| within(&tally.refused, from, to)).sum::<usize>()
        };
        let p99: Vec<f64> =
            run.tallies.iter().map(|tally| tally.ms(0.99, settled, stay.to)).collect();
        let cap = options.retry_after_cap.unwrap_or(options.retry_after);
        let rest = options.retry_after.min(cap);
        let permits = f64::from(options.limit - options.outside);
        let (_, fair) =
            fair(options, run.ledger.mean_service_seconds, &[Phase { seconds: 1.0, permits }]);
        [
            format!("{:.0}–{:.0} s", run.clock.seconds(stay.from), run.clock.seconds(stay.to)),
            format!(
                "{} / {}",
                self.judge.refused(stay.from, settled),
                self.judge.refused(settled, stay.to)
            ),
            format!("{} / {}", seen(stay.from, settled), seen(settled, stay.to)),
            self.judge.came_early(rest, stay.from, stay.to).to_string(),
            figures(&p99, 0),
            figures(&self.ideal_ms(&fair), 0),
        ]
    }

    fn of_changes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (run, limit) = (self.run, self.options.limit);
        let limits = run.changes.iter().map(|change| change.to);
        let (Some(least), Some(most)) = (limits.clone().min(), limits.max()) else { return Ok(()) };
        let beyond = reloads::beyond(&run.ledger.executed, &run.changes, limit, &run.clock);
        let mut took: Vec<Duration> =
            run.changes.iter().map(|change| change.answered - change.asked).collect();
        took.sort_unstable();
        writeln!(
            f,
            "- the limit was changed {} times, between {least} and {most}, in {:.1} ms each (p99 {:.1}); \
             calls that began above the limit in force: {} of {}",
            run.changes.len(),
            percentile(&took, 0.5).as_secs_f64() * 1e3,
            percentile(&took, 0.99).as_secs_f64() * 1e3,
            beyond.len(),
            run.ledger.executed.len(),
        )
    }
}

/// The ideal rate of answers, and each app's fair share of it: the mean over the phases of a run.
fn fair(options: &Options, mean_service_seconds: f64, phases: &[Phase]) -> (f64, Vec<f64>) {
    let wants: Vec<(f64, f64)> = options
        .apps
        .iter()
        .map(|app| (f64::from(app.connections) / mean_service_seconds, f64::from(app.weight)))
        .collect();
    let total: f64 = phases.iter().map(|phase| phase.seconds).sum();
    let mut ideal = 0.0;
    let mut fair = vec![0.0; wants.len()];
    for phase in phases {
        let supply = phase.permits / mean_service_seconds;
        ideal += supply * phase.seconds / total;
        for (fair, share) in fair.iter_mut().zip(max_min(supply, &wants)) {
            *fair += share * phase.seconds / total;
        }
    }
    (ideal, fair)
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(options: &'a Options, runs: &'a [Run]) -> Self {
        Self { reports: runs.iter().map(|run| Report::new(options, run)).collect() }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (run, ledger) = (self.run, &self.run.ledger);
        writeln!(f, "Through {}:\n\n{}", run.name, self.table())?;
        self.of_goodput(f)?;
        writeln!(
            f,
            "- most in flight at the tenant: {} of {}",
            self.most_in_flight(),
            self.options.limit
        )?;
        self.of_refusals(f)?;
        writeln!(
            f,
            "- fairness (Jain, over shares of the fair share): {:.3}",
            jain(&self.shares())
        )?;
        self.of_waiting(f)?;
        writeln!(
            f,
            "- order within an app: no call was overtaken by one sent more than {:.1} ms later",
            self.judge.overtaken(&self.options.apps).as_secs_f64() * 1e3
        )?;
        self.of_changes(f)?;
        writeln!(
            f,
            "- at the tenant: {} calls of /oauth/token, {} without a valid token, {} without and {} with a bad track id",
            ledger.token_calls,
            ledger.unauthenticated_calls,
            ledger.missing_track_ids,
            ledger.invalid_track_ids
        )?;
        if let (Some(cpu), Some((_, memory))) = (self.cpu_per_answer(), run.cost) {
            writeln!(
                f,
                "- the proxy: {cpu:.0} µs of CPU per answer, {:.1} MB resident, {:.1} MB at its peak",
                memory.resident as f64 * 1.024e-3,
                memory.peak as f64 * 1.024e-3,
            )?;
        }
        for (app, tally) in self.options.apps.iter().zip(&run.tallies) {
            if let Some(example) = &tally.example {
                writeln!(f, "- an error that {} saw: {example}", app.name)?;
            }
        }
        self.of_outsider(f)?;
        if run.tallies.iter().any(|tally| tally.example.is_some()) && !run.log.is_empty() {
            writeln!(f, "\nThe proxy's last words:\n{}", run.log)?;
        }
        Ok(())
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.reports.first() else { return Ok(()) };
        let names: Vec<&str> = first.options.apps.iter().map(|app| app.name.as_str()).collect();
        let names = names.join(" / ");
        let mut table = Table::new(&[
            "through",
            "goodput of the ideal",
            &format!("of its fair share: {names}"),
            "Jain",
            &format!("p50 ms: {names}"),
            &format!("p99 ms: {names}"),
            "service time's p99 ms",
            "429s seen",
            "other errors",
            "refused by the tenant",
            "most in flight",
            "CPU µs per answer",
        ]);
        for report in &self.reports {
            let clock = &report.run.clock;
            let shares: Vec<f64> = report.shares().iter().map(|share| share * 100.0).collect();
            table.row([
                report.run.name.clone(),
                format!("{:.1}%", report.goodput() / report.ideal * 100.0),
                format!("{}%", figures(&shares, 0)),
                format!("{:.3}", jain(&report.shares())),
                figures(&report.ms(0.5), 0),
                figures(&report.ms(0.99), 0),
                format!("{:.0}", report.service_p99()),
                report.measured(|tally| &tally.refused).to_string(),
                report.measured(|tally| &tally.failed).to_string(),
                report.judge.refused(clock.begin, clock.end).to_string(),
                report.most_in_flight().to_string(),
                report.cpu_per_answer().map_or(String::new(), |cpu| format!("{cpu:.0}")),
            ]);
        }
        writeln!(f, "Side by side:\n\n{table}")
    }
}

impl fmt::Display for Options {
    /// What is measured, in a line that can stand over a table or a plot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "limit {}", self.limit)?;
        if self.unenforced {
            write!(f, " (not enforced)")?;
        }
        write!(f, ", service time {}, Retry-After {:?}", self.service_time, self.retry_after)?;
        if self.outside > 0 {
            let how = match self.outsider {
                Outsider::Permits => "permits taken",
                Outsider::Calls => "connections kept busy",
            };
            write!(f, ", {} {how} by an outsider", self.outside)?;
        }
        if let Some(period) = self.outside_period {
            write!(f, " who comes and goes every {period:?}")?;
        }
        if let Some(every) = self.reload_every {
            write!(f, ", limit changed every {every:?}")?;
        }
        if self.headroom > 0 {
            write!(f, ", headroom {}", self.headroom)?;
        }
        if let Some(cap) = self.retry_after_cap {
            write!(f, ", retry_after_cap {cap:?}")?;
        }
        if self.hang_ups > 0.0 {
            write!(f, ", {:.1}% of calls abandoned", self.hang_ups * 100.0)?;
        }
        write!(f, "; {} s after {} s of warm-up", self.seconds, self.warm_up)
    }
}

/// Figures of several apps in one cell.
fn figures(figures: &[f64], digits: usize) -> String {
    let figures: Vec<String> = figures.iter().map(|figure| format!("{figure:.digits$}")).collect();
    figures.join(" / ")
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}
