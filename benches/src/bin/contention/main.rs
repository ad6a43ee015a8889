//! What becomes of writes that meet in Zuora's locks, with and without lanes, and what lanes cost those that do not.
//!
//! `cargo run --release -p benches --bin contention -- --help`

#![expect(clippy::print_stdout, reason = "a measurement is a program that prints its result")]

mod report;
mod writers;

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use benches::{
    client,
    duration::duration,
    machine,
    peers::{self, Commands, Gateway, Keys, Kind, Peer, Surroundings},
    process,
};
use clap::Parser;
use emulator::{Ledger, ServiceTime, Tenant};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::writers::{Load, Tally};

/// More calls than a run of several minutes has, so that the tenant's book holds them all.
const LEDGER_CAPACITY: usize = 4_000_000;

/// What each account of the tenant is busy with is locked, as at Zuora. Writers that never pause change accounts at
/// random: without a gateway, through one, and through one with `lanes: account`. Then, on accounts so many that writes
/// seldom meet, what lanes cost.
#[derive(Debug, Parser)]
struct Options {
    /// How many write at a time, where they meet.
    #[arg(long, default_value_t = 20)]
    writers: u32,

    /// On how many accounts. As given by default, one write in five meets a lock if nothing is done about it.
    #[arg(long, default_value_t = 68)]
    accounts: u32,

    /// How long each way is measured.
    #[arg(long, default_value = "20s", value_parser = duration)]
    lasts: Duration,

    /// The share of writes that name a subscription of the account instead. Lanes do not know whose it is.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    by_subscription: f64,

    /// How many write at a time, where they hardly meet.
    #[arg(long, default_value_t = 100)]
    spread_writers: u32,

    /// On how many accounts.
    #[arg(long, default_value_t = 20_000)]
    spread_accounts: u32,

    /// How long a round is there, of one gateway at a time, in turn.
    #[arg(long, default_value = "5s", value_parser = duration)]
    spread_lasts: Duration,

    /// How many rounds; none leaves that part out.
    #[arg(long, default_value_t = 5)]
    rounds: u32,

    /// The tenant's limit.
    #[arg(long, default_value_t = 40)]
    limit: u32,

    /// How long the tenant works on a call: `50ms`, `uniform:20ms:80ms`, `lognormal:40ms:400ms`.
    #[arg(long, default_value = "50ms")]
    service_time: ServiceTime,

    /// A further key of the tenant in the gateway's configuration, as `retry: {attempts: 10}`. May be repeated.
    #[arg(long, value_name = "KEY: VALUE")]
    key: Vec<String>,

    /// Draw what was done, and what met a lock, over time into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    #[command(flatten)]
    commands: Commands,
}

/// Everything that was seen of one way.
#[derive(Debug)]
struct Run {
    name: String,
    tally: Tally,
    ledger: Ledger,
    took: Duration,
    /// How far into the tenant's book it began, in milliseconds.
    began_ms: u64,
    /// CPU time of a proxy.
    cpu: Option<Duration>,
}

/// A tenant, and the gateway before it if there is one.
struct Scene {
    name: String,
    /// Dropped before the tenant that it calls.
    peer: Option<Peer>,
    token: String,
    tenant: Tenant,
    born: Instant,
    _dir: TempDir,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!((0.0..=1.0).contains(&options.by_subscription), "--by-subscription is a share");
    process::require(&["setpriv", "prlimit"])?;
    machine::raise_file_limit(4_000)?;
    println!("Machine: {}.\n", machine::description()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Proxies start on this thread: they end with the thread that started them.
    runtime.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<()> {
    let gateways = options.commands.gateways()?;
    let mut runs = Vec::new();
    for (name, gateway, has_lanes) in ways(&gateways, true) {
        let scene = Scene::set(options, name, gateway, has_lanes, options.accounts).await?;
        let load = Load {
            writers: options.writers,
            accounts: options.accounts,
            by_subscription: options.by_subscription,
            lasts: options.lasts,
        };
        runs.push(scene.run(&load).await?);
        scene.tenant.stop().await;
    }
    println!("{}", report::meeting(options, &runs));
    if options.rounds > 0 {
        println!("{}", report::spread_out(options, &spread_out(options, &gateways).await?));
    }
    if let Some(file) = &options.plot {
        report::draw(options, &runs).save(file)?;
        println!("Drawn: {}", file.display());
    }
    Ok(())
}

/// Every gateway without lanes and with them, and before them none.
fn ways(
    gateways: &[Gateway],
    and_none: bool,
) -> impl Iterator<Item = (String, Option<&Gateway>, bool)> {
    let none = and_none.then(|| ("no gateway".to_owned(), None, false));
    let gateways = gateways.iter().flat_map(|gateway| {
        let lanes = format!("{}, `lanes: account`", gateway.name);
        [(gateway.name.clone(), Some(gateway), false), (lanes, Some(gateway), true)]
    });
    none.into_iter().chain(gateways)
}

/// The runs of each gateway, of which one is measured at a time, in turn.
async fn spread_out(options: &Options, gateways: &[Gateway]) -> Result<Vec<Vec<Run>>> {
    let load = Load {
        writers: options.spread_writers,
        accounts: options.spread_accounts,
        by_subscription: 0.0,
        lasts: options.spread_lasts,
    };
    let mut scenes = Vec::new();
    for (name, gateway, has_lanes) in ways(gateways, false) {
        scenes.push(Scene::set(options, name, gateway, has_lanes, load.accounts).await?);
    }
    let mut runs: Vec<Vec<Run>> = scenes.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds {
        for (scene, runs) in scenes.iter().zip(&mut runs) {
            runs.push(scene.run(&load).await?);
        }
    }
    Ok(runs)
}

impl Scene {
    async fn set(
        options: &Options,
        name: String,
        gateway: Option<&Gateway>,
        has_lanes: bool,
        accounts: u32,
    ) -> Result<Self> {
        let tenant = Tenant::start(emulator::Options {
            limits: vec![
                ("Default".to_owned(), options.limit),
                ("High-volume transactions".to_owned(), options.limit),
            ],
            service_time: options.service_time,
            lock_contention: true,
            accounts: accounts as usize,
            ledger_capacity: LEDGER_CAPACITY,
            ..emulator::Options::default()
        })
        .await?;
        let born = Instant::now() - Duration::from_secs_f64(tenant.counters().elapsed_seconds);
        let dir = tempfile::tempdir()?;
        let token = client::token(tenant.address())?;
        let mut keys = options.key.clone();
        if has_lanes {
            keys.push("lanes: account".to_owned());
        }
        let around = Surroundings {
            upstream: tenant.address(),
            limit: Some(options.limit),
            token: &token,
            apps: &[writers::APP],
            core: None,
            dir: dir.path(),
            keys: Keys { tenant: &keys, ..Keys::default() },
        };
        let start = |gateway: &Gateway| Kind::Gateway(gateway.clone()).start(&around);
        let peer = gateway.map(start).transpose()?;
        Ok(Self { name, peer, token, tenant, born, _dir: dir })
    }

    async fn run(&self, load: &Load) -> Result<Run> {
        let address = self.peer.as_ref().map_or(self.tenant.address(), |peer| peer.address);
        let authorization = match &self.peer {
            Some(_) => peers::authorization(writers::APP),
            None => format!("Bearer {}", self.token),
        };
        let cpu_time = || self.peer.as_ref().map(|peer| machine::cpu_time(peer.id())).transpose();
        self.tenant.reset();
        let (before, begin) = (cpu_time()?, Instant::now());
        let tally = load.run(address, authorization).await?;
        let (after, took) = (cpu_time()?, begin.elapsed());
        Ok(Run {
            name: self.name.clone(),
            tally,
            ledger: self.tenant.ledger(),
            took,
            began_ms: u64::try_from((begin - self.born).as_millis())?,
            cpu: after.zip(before).map(|(after, before)| after.saturating_sub(before)),
        })
    }
}
