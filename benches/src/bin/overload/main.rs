//! What becomes of a tenant's limit when apps ask for far more than it allows.
//!
//! `cargo run --release -p benches --bin overload -- --help`

#![expect(clippy::print_stdout, reason = "a measurement is a program that prints its result")]

mod apps;
mod report;

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use benches::{
    client, machine,
    peers::{self, Commands, Kind, Peer, Surroundings},
    process,
};
use clap::{Parser, ValueEnum};
use emulator::{ServiceTime, Tenant};
use tokio::time::{self, Instant};

use crate::{
    apps::{App, Tally},
    report::Report,
};

/// The limit type that all calls of this load count against.
const LIMIT_TYPE: &str = "Default";

/// Puts three apps without a pause on an emulated tenant, and shows who got what of its limit.
#[derive(Debug, Parser)]
struct Options {
    /// How long to measure, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,

    /// How long the load runs before, in seconds. Only the most in flight is counted then.
    #[arg(long, default_value_t = 2)]
    warm_up: u64,

    /// The apps and how many connections each has.
    #[arg(long, value_delimiter = ',', default_values = ["big=400", "mid=40", "small=4"], value_name = "NAME=CONNECTIONS,…")]
    apps: Vec<App>,

    /// The tenant's limit.
    #[arg(long, default_value_t = 40)]
    limit: u32,

    /// How long the tenant works on a call: `50ms`, `uniform:20ms:80ms`, `lognormal:40ms:400ms`.
    #[arg(long, default_value = "50ms")]
    service_time: ServiceTime,

    /// The share of calls that their client abandons, after a random time of 1 ms to 1 s.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    hang_ups: f64,

    /// Permits that somebody else takes, who does not come through the gateway.
    #[arg(long, default_value_t = 0)]
    outside: u32,

    /// Let the tenant take calls over its limit, so that the most in flight shows them.
    #[arg(long)]
    unenforced: bool,

    /// What stands between the apps and the tenant.
    #[arg(long, value_enum, default_value_t = Through::Gateway)]
    through: Through,

    #[command(flatten)]
    commands: Commands,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Through {
    /// Our gateway.
    Gateway,
    /// HAProxy with `maxconn` at the limit, and its queue.
    Haproxy,
    /// Nothing: apps pause for 50 ms after a refusal.
    Nothing,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!((0.0..=1.0).contains(&options.hang_ups), "--hang-ups is a share from 0 to 1");
    ensure!(options.outside < options.limit, "--outside leaves no permit");
    process::require(&["setpriv", "prlimit"])?;
    machine::raise_file_limit(4_000)?;
    println!("Machine: {}.", machine::description()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // The proxy starts on this thread: it ends with the thread that started it.
    runtime.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<()> {
    let tenant = Tenant::start(emulator::Options {
        limits: vec![(LIMIT_TYPE.to_owned(), options.limit)],
        enforce_limits: !options.unenforced,
        service_time: options.service_time,
        ledger_capacity: 0,
        ..emulator::Options::default()
    })
    .await?;
    let dir = tempfile::tempdir()?;
    let token = client::token(tenant.address())?;
    for peer in peers(options, tenant.address(), &token, dir.path())? {
        tenant.reset();
        let report = run(options, &tenant, peer.as_ref(), &token).await?;
        println!("{report}");
    }
    tenant.stop().await;
    Ok(())
}

/// Those that are measured one after the other; `None` is the bare tenant.
fn peers(
    options: &Options,
    upstream: SocketAddr,
    token: &str,
    dir: &Path,
) -> Result<Vec<Option<Peer>>> {
    let kinds = match options.through {
        Through::Gateway => options.commands.gateways()?.into_iter().map(Kind::Gateway).collect(),
        Through::Haproxy => vec![Kind::HaProxy],
        Through::Nothing => return Ok(vec![None]),
    };
    let apps: Vec<&str> = options.apps.iter().map(|app| app.name.as_str()).collect();
    let around =
        Surroundings { upstream, limit: Some(options.limit), token, apps: &apps, core: None, dir };
    kinds.iter().map(|kind| kind.start(&around).map(Some)).collect()
}

async fn run(
    options: &Options,
    tenant: &Tenant,
    peer: Option<&Peer>,
    token: &str,
) -> Result<Report> {
    let _outsider = tenant.occupy(LIMIT_TYPE, options.outside).context("there is such a limit")?;
    let address = peer.map_or(tenant.address(), |peer| peer.address);
    let begin = Instant::now() + Duration::from_secs(options.warm_up);
    let end = begin + Duration::from_secs(options.seconds);
    let credential = |app: &App| match options.through {
        Through::Nothing => format!("Bearer {token}"),
        Through::Gateway | Through::Haproxy => peers::authorization(&app.name),
    };
    let load: Vec<_> = options
        .apps
        .iter()
        .map(|app| app.call(address, credential(app), options.hang_ups, begin, end))
        .collect();

    time::sleep_until(begin).await;
    let warm_up = tenant.counters();
    tenant.reset();
    let cpu = peer.map(|peer| machine::cpu_time(peer.id())).transpose()?;
    time::sleep_until(end).await;
    let ledger = tenant.counters();
    let cpu = match (peer, cpu) {
        (Some(peer), Some(before)) => Some(machine::cpu_time(peer.id())?.saturating_sub(before)),
        _ => None,
    };
    let memory = peer.map(|peer| machine::Memory::of(peer.id())).transpose()?;

    let mut tallies: Vec<Tally> = Vec::new();
    for app in load {
        tallies.push(app.await?);
    }
    Ok(Report::new(options, peer, (warm_up, ledger), tallies, cpu, memory))
}
