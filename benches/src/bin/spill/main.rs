//! What it brings that writes which wait too long are carried out later.
//!
//! `cargo run --release -p benches --bin spill -- --help`

#![expect(clippy::print_stdout, reason = "a measurement is a program that prints its result")]

mod apps;
mod report;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use benches::{
    client,
    duration::duration,
    machine,
    peers::{Commands, Gateway, Keys, Kind, Peer, Surroundings},
    process,
};
use clap::Parser;
use emulator::{AsyncWrites, Ledger, ServiceTime, Tenant};
use tempfile::TempDir;
use tokio::time::{self, Instant};

use crate::apps::{App, Tally};

/// The limit type that all calls of this load count against.
const LIMIT_TYPE: &str = "Default";

/// More calls than a run of several minutes has, so that the tenant's book holds them all.
const LEDGER_CAPACITY: usize = 4_000_000;

/// Puts three apps without a pause on an emulated tenant, all of them writing, and shows what they get of it: as it is,
/// and with writes carried out later that have waited too long.
#[derive(Debug, Parser)]
struct Options {
    /// How long to measure, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,

    /// How long the load runs before, in seconds.
    #[arg(long, default_value_t = 5)]
    warm_up: u64,

    /// The apps, and how many connections each has.
    #[arg(long, value_delimiter = ',', default_values = ["big=400", "mid=40", "small=4"], value_name = "NAME=CONNECTIONS,…")]
    apps: Vec<App>,

    /// The tenant's limit.
    #[arg(long, default_value_t = 40)]
    limit: u32,

    /// How long the tenant works on a write: `50ms`, `uniform:20ms:80ms`, `lognormal:40ms:400ms`.
    #[arg(long, default_value = "200ms")]
    service_time: ServiceTime,

    /// How long the tenant takes to accept a write that it carries out later; each is measured.
    #[arg(long, value_delimiter = ',', default_values = ["50ms", "150ms"])]
    submit_time: Vec<ServiceTime>,

    /// How many of those it works on at once.
    #[arg(long, default_value_t = 200)]
    workers: usize,

    /// How long a write waits before it is carried out later.
    #[arg(long, default_value = "2s", value_parser = duration)]
    when_waiting: Duration,

    /// Draw what each app got over time into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    #[command(flatten)]
    commands: Commands,
}

/// A way to be measured.
#[derive(Clone, Copy, Debug)]
struct Way {
    submit_time: ServiceTime,
    /// Whether writes that wait are carried out later.
    spills: bool,
}

/// Everything that was seen of one way.
#[derive(Debug)]
struct Run {
    name: String,
    /// In the order of the apps.
    tallies: Vec<Tally>,
    /// The tenant's book of the measurement.
    ledger: Ledger,
    begin: Instant,
    took: Duration,
    /// CPU time of the gateway while it was measured.
    cpu: Duration,
}

fn main() -> Result<()> {
    let options = Options::parse();
    process::require(&["setpriv", "prlimit"])?;
    machine::raise_file_limit(4_000)?;
    println!("Machine: {}.\n", machine::description()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Proxies start on this thread: they end with the thread that started them.
    runtime.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<()> {
    let mut runs = Vec::new();
    for gateway in options.commands.gateways()? {
        // Without, it does not matter how long a submission takes.
        let without = options.submit_time.iter().take(1).map(|time| (*time, false));
        let with = options.submit_time.iter().map(|time| (*time, true));
        for (submit_time, spills) in without.chain(with) {
            runs.push(run(options, &gateway, Way { submit_time, spills }).await?);
        }
    }
    println!("{}", report::table(options, &runs));
    if let Some(file) = &options.plot {
        report::draw(options, &runs).save(file)?;
        println!("Drawn: {}", file.display());
    }
    Ok(())
}

impl Way {
    fn name(self, gateway: &str, options: &Options) -> String {
        match self.spills {
            true => format!(
                "{gateway}, `when_waiting: {:?}`, accepted in {}",
                options.when_waiting, self.submit_time
            ),
            false => gateway.to_owned(),
        }
    }
}

/// Measures one way, on a tenant of its own: what another leaves behind does not count.
async fn run(options: &Options, gateway: &Gateway, way: Way) -> Result<Run> {
    let tenant = Tenant::start(emulator::Options {
        limits: vec![(LIMIT_TYPE.to_owned(), options.limit)],
        service_time: options.service_time,
        lock_contention: false,
        ledger_capacity: LEDGER_CAPACITY,
        async_writes: AsyncWrites {
            submit_time: way.submit_time,
            workers: options.workers,
            ..AsyncWrites::default()
        },
        ..emulator::Options::default()
    })
    .await?;
    let dir = tempfile::tempdir()?;
    let peer = start(options, gateway, way, &tenant, &dir)?;
    let url = format!("http://{}/_gateway/callouts/bench", peer.address);
    let definitions = emulator::Definition::both(&url, "zuora", "bench-callouts");
    let definitions: Vec<_> =
        definitions.into_iter().map(emulator::Definition::preemptive).collect();
    tenant.set_definitions(&definitions);

    let start = Instant::now();
    let begin = start + Duration::from_secs(options.warm_up);
    let end = begin + Duration::from_secs(options.seconds);
    let watched = async {
        time::sleep_until(begin).await;
        tenant.reset();
        let before = machine::cpu_time(peer.id())?;
        time::sleep_until(end).await;
        anyhow::Ok((tenant.ledger(), machine::cpu_time(peer.id())?.saturating_sub(before)))
    };
    let (watched, tallies) = tokio::join!(watched, apps::call(&options.apps, peer.address, end));
    let (ledger, cpu) = watched?;
    tenant.stop().await;
    Ok(Run {
        name: way.name(&gateway.name, options),
        tallies: tallies?,
        ledger,
        begin,
        took: end - begin,
        cpu,
    })
}

fn start(
    options: &Options,
    gateway: &Gateway,
    way: Way,
    tenant: &Tenant,
    dir: &TempDir,
) -> Result<Peer> {
    let apps: Vec<&str> = options.apps.iter().map(|app| app.name.as_str()).collect();
    let rewrite = match way.spills {
        true => format!("[{{when_waiting: {}ms}}]", options.when_waiting.as_millis()),
        false => "null".to_owned(),
    };
    let callouts =
        "{public_url: \"http://127.0.0.1:1\", username: zuora, password: bench-callouts}";
    let keys = [format!("async: {{callouts: {callouts}, rewrite: {rewrite}}}")];
    let token = client::token(tenant.address())?;
    Kind::Gateway(gateway.clone()).start(&Surroundings {
        upstream: tenant.address(),
        limit: Some(options.limit),
        token: &token,
        apps: &apps,
        core: None,
        dir: dir.path(),
        keys: Keys { tenant: &keys, ..Keys::default() },
    })
}
