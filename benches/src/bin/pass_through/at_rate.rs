//! Latency, and CPU time per request, at a rate that leaves every proxy idle most of the time.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use benches::{
    client, machine,
    peers::{Keys, Kind, Surroundings, authorization},
    stats::{Samples, percentile},
    table::Table,
    upstream::{self, TOKEN},
};

use crate::{APP, Options, PATH};

struct Entrant {
    name: String,
    address: SocketAddr,
    id: u32,
    p50: Samples,
    p99: Samples,
    cost: Samples,
    per_second: Samples,
    errors: usize,
}

/// Measures all of `kinds` in interleaved rounds and prints a table.
pub(crate) fn run(kinds: &[Kind], rate: u32, options: &Options) -> Result<()> {
    let (rounds, seconds) = (options.rounds.unwrap_or(4), options.seconds.unwrap_or(5));
    let connections = options.connections.unwrap_or(32);
    let dir = tempfile::tempdir()?;
    let own = authorization(APP);
    let (upstream, address) = upstream::nginx(dir.path(), None)?;
    let around = Surroundings {
        upstream: address,
        limit: None,
        token: TOKEN,
        apps: &[APP],
        core: None,
        dir: dir.path(),
        keys: Keys::default(),
    };
    let peers = kinds.iter().map(|kind| kind.start(&around)).collect::<Result<Vec<_>>>()?;
    peers.iter().try_for_each(|peer| peer.check(&own))?;

    let mut entrants = vec![Entrant::new("(direct; cost of the upstream)", address, upstream.id())];
    entrants.extend(peers.iter().map(|peer| Entrant::new(&peer.name, peer.address, peer.id())));
    println!(
        "At {rate} requests/s, open loop at random moments over {connections} keep-alive connections: \
         GET of 1 KiB JSON from nginx, nothing pinned, {rounds} interleaved rounds of {seconds} s.\n"
    );
    let load = |entrant: &Entrant, seconds| {
        let target = (entrant.address, PATH, own.as_str());
        client::at_rate(target, f64::from(rate), connections, Duration::from_secs(seconds))
    };
    for entrant in &entrants {
        load(entrant, 1)?;
    }
    for _ in 0..rounds {
        for entrant in &mut entrants {
            let before = machine::cpu_time(entrant.id)?;
            let result = load(entrant, seconds)?;
            let used = machine::cpu_time(entrant.id)?.saturating_sub(before);
            entrant.take(&result, used, seconds);
        }
    }
    print(&entrants);
    Ok(())
}

impl Entrant {
    fn new(name: &str, address: SocketAddr, id: u32) -> Self {
        let none = Samples::default;
        Self {
            name: name.to_owned(),
            address,
            id,
            p50: none(),
            p99: none(),
            cost: none(),
            per_second: none(),
            errors: 0,
        }
    }

    fn take(&mut self, result: &client::OnTime, used: Duration, seconds: u64) {
        let answers = result.latencies.len() as f64;
        self.p50.push(micros(percentile(&result.latencies, 0.5)));
        self.p99.push(micros(percentile(&result.latencies, 0.99)));
        self.cost.push(micros(used) / answers);
        self.per_second.push(answers / seconds as f64);
        self.errors += result.errors;
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn print(entrants: &[Entrant]) {
    let mut table = Table::new(&[
        "peer",
        "requests/s",
        "p50 µs (spread)",
        "added",
        "p99 µs (spread)",
        "added",
        "CPU µs/req (spread)",
        "× HAProxy",
        "errors",
    ]);
    // The upstream comes first, HAProxy right behind it.
    let (direct, leanest) = (&entrants[0], &entrants[1].cost);
    for (place, entrant) in entrants.iter().enumerate() {
        let Entrant { p50, p99, cost, .. } = entrant;
        let spread = |samples: &Samples| {
            format!("{:.0} ({:.0}%)", samples.median(), samples.spread() * 100.0)
        };
        let compared = |figure: String| if place == 0 { String::new() } else { figure };
        let added = |own: &Samples, direct: &Samples| {
            compared(format!("{:+.0}", own.median() - direct.median()))
        };
        table.row([
            entrant.name.clone(),
            format!("{:.0}", entrant.per_second.median()),
            spread(p50),
            added(p50, &direct.p50),
            spread(p99),
            added(p99, &direct.p99),
            spread(cost),
            compared(format!("{:.2}", cost.median() / leanest.median())),
            entrant.errors.to_string(),
        ]);
    }
    println!("{table}");
    println!(
        "Medians of the rounds. A request that comes alone pays its own wake-ups: compare at the same rate only."
    );
}
