//! CPU time per request when the proxy's core is the limit.

use std::time::Duration;

use anyhow::{Result, ensure};
use benches::{
    machine::{self, Cores, Memory},
    peers::{Keys, Kind, Surroundings, authorization},
    stats::Samples,
    table::Table,
    upstream::{self, TOKEN},
    wrk::{Load, Report},
};

use crate::{APP, Options, PATH};

/// A proxy, or the upstream itself, with the samples taken of it.
struct Entrant {
    name: String,
    address: std::net::SocketAddr,
    id: u32,
    per_second: Samples,
    cost: Samples,
    p50: Samples,
    p99: Samples,
    foreign: Samples,
    errors: u64,
}

/// Measures all of `kinds` in interleaved rounds and prints a table.
pub(crate) fn run(kinds: &[Kind], options: &Options) -> Result<()> {
    let (rounds, seconds) = (options.rounds.unwrap_or(5), options.seconds.unwrap_or(2));
    let connections = options.connections.unwrap_or(64);
    let cores = Cores::split(options.proxy_cores.as_deref())?;
    let dir = tempfile::tempdir()?;
    let own = authorization(APP);
    let (upstream, address) = upstream::nginx(dir.path(), Some(&cores.rest))?;
    let around = Surroundings {
        upstream: address,
        limit: None,
        token: TOKEN,
        apps: &[APP],
        core: Some(&cores.proxy),
        dir: dir.path(),
        keys: Keys::default(),
    };
    let peers = kinds.iter().map(|kind| kind.start(&around)).collect::<Result<Vec<_>>>()?;
    peers.iter().try_for_each(|peer| peer.check(&own))?;

    let mut entrants = vec![Entrant::new("(direct; cost of the upstream)", address, upstream.id())];
    entrants.extend(peers.iter().map(|peer| Entrant::new(&peer.name, peer.address, peer.id())));
    let load = Load {
        connections: connections as usize,
        threads: 1,
        seconds,
        cores: &cores.rest,
        authorization: &own,
    };
    println!(
        "Pass-through: GET of 1 KiB JSON from nginx, {connections} keep-alive connections (wrk), each \
         proxy on core {} and everything else on core {}, {rounds} interleaved rounds of {seconds} s.\n",
        cores.proxy, cores.rest
    );
    for entrant in &entrants {
        Load { seconds: 1, ..load }.run(entrant.address, PATH, dir.path())?;
    }
    for _ in 0..rounds {
        for entrant in &mut entrants {
            entrant.sample(&load, upstream.id(), dir.path())?;
        }
    }
    print(&entrants)
}

impl Entrant {
    fn new(name: &str, address: std::net::SocketAddr, id: u32) -> Self {
        let none = Samples::default;
        Self {
            name: name.to_owned(),
            address,
            id,
            per_second: none(),
            cost: none(),
            p50: none(),
            p99: none(),
            foreign: none(),
            errors: 0,
        }
    }

    fn sample(&mut self, load: &Load<'_>, upstream: u32, dir: &std::path::Path) -> Result<()> {
        let before = Times::now(self.id, upstream)?;
        let report = load.run(self.address, PATH, dir)?;
        let after = Times::now(self.id, upstream)?;
        ensure!(report.requests > 0, "{} answered nothing", self.name);
        self.take(&report, &before, &after);
        Ok(())
    }

    fn take(&mut self, report: &Report, before: &Times, after: &Times) {
        let used = after.proxy.saturating_sub(before.proxy);
        self.per_second.push(report.requests as f64 / report.elapsed.as_secs_f64());
        self.cost.push(micros(used) / report.requests as f64);
        self.p50.push(micros(report.p50) / 1000.0);
        self.p99.push(micros(report.p99) / 1000.0);
        self.foreign.push(after.foreign(before, report.elapsed));
        self.errors += report.errors;
    }
}

/// Where CPU time had gone until one moment.
struct Times {
    proxy: Duration,
    ours: Duration,
    busy: Duration,
}

impl Times {
    fn now(proxy: u32, upstream: u32) -> Result<Self> {
        let proxy_time = machine::cpu_time(proxy)?;
        let mut ours = proxy_time + machine::own_time()?;
        if proxy != upstream {
            ours += machine::cpu_time(upstream)?;
        }
        Ok(Self { proxy: proxy_time, ours, busy: machine::busy()? })
    }

    /// The share of one core that was used by what does not belong to the measurement.
    fn foreign(&self, before: &Self, elapsed: Duration) -> f64 {
        let busy = self.busy.saturating_sub(before.busy);
        let ours = self.ours.saturating_sub(before.ours);
        busy.saturating_sub(ours).as_secs_f64() / elapsed.as_secs_f64()
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn print(entrants: &[Entrant]) -> Result<()> {
    let mut table = Table::new(&[
        "peer",
        "requests/s (spread)",
        "CPU µs/req median (spread)",
        "best",
        "median × HAProxy",
        "best × HAProxy",
        "p50 / p99 ms",
        "peak RSS MB",
        "errors",
        "others' CPU",
    ]);
    // The upstream comes first, HAProxy right behind it.
    let leanest = &entrants[1].cost;
    for (place, entrant) in entrants.iter().enumerate() {
        let Entrant { per_second, cost, p50, p99, foreign, .. } = entrant;
        let ratio = |of: f64, to: f64| match place {
            0 => String::new(),
            _ => format!("{:.2}", of / to),
        };
        let peak = Memory::of(entrant.id)?.peak as f64 * 1.024e-3;
        table.row([
            entrant.name.clone(),
            format!("{:.0} ({:.0}%)", per_second.median(), per_second.spread() * 100.0),
            format!("{:.1} ({:.0}%)", cost.median(), cost.spread() * 100.0),
            format!("{:.1}", cost.best()),
            ratio(cost.median(), leanest.median()),
            ratio(cost.best(), leanest.best()),
            format!("{:.2} / {:.2}", p50.best(), p99.best()),
            format!("{peak:.0}"),
            entrant.errors.to_string(),
            format!("{:.0}%", foreign.median() * 100.0),
        ]);
    }
    println!("{table}");
    println!(
        "Best is the cheapest round, of latencies the quickest. Others' CPU is the share of one \
         core that was taken by what does not belong to the measurement: above a few percent, \
         trust the ratios only."
    );
    Ok(())
}
