//! What a run showed, from the clients' side and from the tenant's.

use std::{fmt, time::Duration};

use benches::{
    machine::Memory,
    peers::Peer,
    stats::{jain, max_min, percentile},
    table::Table,
};
use emulator::Ledger;

use crate::{LIMIT_TYPE, Options, apps::Tally};

/// One run, ready to be printed.
#[derive(Debug)]
pub(crate) struct Report {
    title: String,
    /// Name and connections of each app.
    apps: Vec<(String, u32)>,
    tallies: Vec<Tally>,
    ledger: Ledger,
    seconds: f64,
    limit: u32,
    outside: u32,
    most_in_flight: u32,
    refused_in_warm_up: u64,
    cpu: Option<Duration>,
    memory: Option<Memory>,
    log: String,
}

impl Report {
    pub(crate) fn new(
        options: &Options,
        peer: Option<&Peer>,
        (warm_up, ledger): (Ledger, Ledger),
        tallies: Vec<Tally>,
        cpu: Option<Duration>,
        memory: Option<Memory>,
    ) -> Self {
        let most = |ledger: &Ledger| ledger.most_in_flight.get(LIMIT_TYPE).copied().unwrap_or(0);
        let title = format!(
            "Overload through {}: limit {}{}{}, service time {}, {:.1}% of calls abandoned, {} s after {} s of warm-up.",
            peer.map_or("nothing", |peer| &peer.name),
            options.limit,
            if options.unenforced { " (not enforced)" } else { "" },
            match options.outside {
                0 => String::new(),
                outside => format!(", {outside} of them taken by others"),
            },
            options.service_time,
            options.hang_ups * 100.0,
            options.seconds,
            options.warm_up,
        );
        Self {
            title,
            apps: options.apps.iter().map(|app| (app.name.clone(), app.connections)).collect(),
            tallies,
            seconds: options.seconds as f64,
            limit: options.limit,
            outside: options.outside,
            most_in_flight: most(&warm_up).max(most(&ledger)),
            refused_in_warm_up: warm_up.refused_concurrency,
            ledger,
            cpu,
            memory,
            log: peer.map(Peer::log).unwrap_or_default(),
        }
    }

    /// Answers a second that the tenant could give, were all its permits always used.
    fn ideal(&self) -> f64 {
        f64::from(self.limit - self.outside) / self.ledger.mean_service_seconds
    }

    fn answered(&self) -> usize {
        self.tallies.iter().map(|tally| tally.latencies.len()).sum()
    }

    fn table(&self) -> (Table, Vec<f64>) {
        let mean = self.ledger.mean_service_seconds;
        let demands: Vec<f64> =
            self.apps.iter().map(|(_, connections)| f64::from(*connections) / mean).collect();
        let fair = max_min(self.ideal(), &demands);
        let mut shares = Vec::new();
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
        for ((name, connections), (tally, fair)) in
            self.apps.iter().zip(self.tallies.iter().zip(fair))
        {
            let per_second = tally.latencies.len() as f64 / self.seconds;
            let ms = |share| percentile(&tally.latencies, share).as_secs_f64() * 1e3;
            let at_tenant = self.ledger.apps.get(name);
            shares.push(per_second / fair);
            table.row([
                name.clone(),
                connections.to_string(),
                format!("{per_second:.1}"),
                format!("{:.0}%", per_second / fair * 100.0),
                format!("{:.0} / {:.0}", ms(0.5), ms(0.99)),
                tally.refused.to_string(),
                (tally.other_status + tally.broken).to_string(),
                tally.hung_up.to_string(),
                at_tenant.map_or(String::new(), |app| format!("{:.1}", app.busy_permit_seconds)),
            ]);
        }
        (table, shares)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, shares) = self.table();
        let refused: u64 = self.tallies.iter().map(|tally| tally.refused).sum();
        let answered = self.answered() as f64;
        let (goodput, ideal) = (answered / self.seconds, self.ideal());
        let executed = self.ledger.executed_total as f64 / self.ledger.elapsed_seconds;

        writeln!(f, "{}\n\n{table}", self.title)?;
        writeln!(
            f,
            "- goodput: {goodput:.1}/s, {:.1}% of the ideal {ideal:.1}/s ({} permits ÷ {:.2} ms measured); \
             with what nobody waited for any more, the tenant executed {executed:.1}/s ({:.1}%)",
            goodput / ideal * 100.0,
            self.limit - self.outside,
            self.ledger.mean_service_seconds * 1e3,
            executed / ideal * 100.0,
        )?;
        writeln!(f, "- most in flight at the tenant: {} of {}", self.most_in_flight, self.limit)?;
        writeln!(
            f,
            "- 429s seen by apps: {refused}; refused by the tenant: {} ({} more in the warm-up)",
            self.ledger.refused_concurrency, self.refused_in_warm_up
        )?;
        writeln!(f, "- fairness (Jain, over shares of the fair share): {:.3}", jain(&shares))?;
        writeln!(
            f,
            "- at the tenant: {} calls of /oauth/token, {} without a valid token, {} without and {} with a bad track id",
            self.ledger.token_calls,
            self.ledger.unauthenticated_calls,
            self.ledger.missing_track_ids,
            self.ledger.invalid_track_ids
        )?;
        if let (Some(cpu), Some(memory)) = (self.cpu, self.memory) {
            writeln!(
                f,
                "- the proxy: {:.0} µs of CPU per answer, {:.1} MB resident, {:.1} MB at its peak",
                cpu.as_secs_f64() * 1e6 / answered,
                memory.resident as f64 * 1.024e-3,
                memory.peak as f64 * 1.024e-3,
            )?;
        }
        for ((name, _), tally) in self.apps.iter().zip(&self.tallies) {
            if let Some(example) = &tally.example {
                writeln!(f, "- an error that {name} saw: {example}")?;
            }
        }
        if self.tallies.iter().any(|tally| tally.example.is_some()) && !self.log.is_empty() {
            writeln!(f, "\nThe proxy's last words:\n{}", self.log)?;
        }
        Ok(())
    }
}
