//! What becomes of a tenant's limit when apps ask for far more than it allows.
//!
//! `cargo run --release -p benches --bin overload -- --help`

#![expect(clippy::print_stdout, reason = "a measurement is a program that prints its result")]

mod apps;
mod clock;
mod judge;
mod outsider;
mod picture;
mod reloads;
mod report;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use benches::{
    client,
    duration::duration,
    machine::{self, Memory},
    peers::{self, Commands, Keys, Kind, Peer, Surroundings},
    process,
    samples::{self, Sample},
};
use clap::{Parser, ValueEnum};
use emulator::{Ledger, ServiceTime, Tenant};
use tokio::{
    task::JoinHandle,
    time::{self, Instant},
};

use crate::{
    apps::{App, Tally},
    clock::{Clock, Stay},
    outsider::Outsider,
    reloads::Change,
    report::{Comparison, Report},
};

/// The limit type that all calls of this load count against.
const LIMIT_TYPE: &str = "Default";

/// More calls than a run of several minutes has, so that the tenant's book holds them all.
const LEDGER_CAPACITY: usize = 4_000_000;

/// Puts three apps without a pause on an emulated tenant, and shows who got what of its limit.
#[derive(Debug, Parser)]
struct Options {
    /// How long to measure, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,

    /// How long the load runs before, in seconds. Only what must never happen is counted then.
    #[arg(long, default_value_t = 2)]
    warm_up: u64,

    /// The apps, how many connections each has, and its weight if it is not 1.
    #[arg(long, value_delimiter = ',', default_values = ["big=400", "mid=40", "small=4"], value_name = "NAME=CONNECTIONS[*WEIGHT],…")]
    apps: Vec<App>,

    /// The tenant's limit.
    #[arg(long, default_value_t = 40)]
    limit: u32,

    /// How long the tenant works on a call: `50ms`, `uniform:20ms:80ms`, `lognormal:40ms:400ms`.
    #[arg(long, default_value = "50ms")]
    service_time: ServiceTime,

    /// What the tenant's refusals say in `Retry-After`, in whole seconds. Zuora says 120s.
    #[arg(long, default_value = "120s", value_parser = duration)]
    retry_after: Duration,

    /// The share of calls that their client abandons, after a random time of 1 ms to 1 s.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    hang_ups: f64,

    /// Permits that somebody else takes, who does not come through the gateway.
    #[arg(long, default_value_t = 0, value_name = "PERMITS")]
    outside: u32,

    /// How that somebody takes them.
    #[arg(long, value_enum, default_value_t = Outsider::Permits)]
    outsider: Outsider,

    /// That somebody stays away and comes in turn, each for so long. Without: is always there.
    #[arg(long, value_parser = duration, requires = "outside", value_name = "TIME")]
    outside_period: Option<Duration>,

    /// Permits that our gateway leaves to others.
    #[arg(long, default_value_t = 0, value_name = "PERMITS")]
    headroom: u32,

    /// The longest that our gateway lets a refused call rest, whatever `Retry-After` says.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    retry_after_cap: Option<Duration>,

    /// Change the limit in our gateway's configuration so often, up and down, and have it read anew.
    #[arg(long, value_parser = duration, value_name = "TIME")]
    reload_every: Option<Duration>,

    /// Let the tenant take calls over its limit, so that the most in flight shows them.
    #[arg(long)]
    unenforced: bool,

    /// What stands between the apps and the tenant; several are measured one after the other.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "gateway",
        value_name = "WHAT,…"
    )]
    through: Vec<Through>,

    /// Draw capacity, use and refusals over time into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

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

/// Everything that was seen of one run.
#[derive(Debug)]
struct Run {
    /// What stood between the apps and the tenant.
    name: String,
    clock: Clock,
    /// In the order of the apps.
    tallies: Vec<Tally>,
    outsider: Tally,
    stays: Vec<Stay>,
    changes: Vec<Change>,
    /// The tenant's book of the warm-up, and that of the measurement.
    warm_up: Ledger,
    ledger: Ledger,
    samples: Vec<Sample>,
    /// CPU time while it was measured, and memory at the end, of a proxy.
    cost: Option<(Duration, Memory)>,
    log: String,
}

fn main() -> Result<()> {
    let options = Options::parse();
    options.check()?;
    process::require(&["setpriv", "prlimit"])?;
    machine::raise_file_limit(4_000)?;
    println!("Machine: {}.", machine::description()?);
    println!("{options}\n");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Proxies start on this thread: they end with the thread that started them.
    runtime.block_on(measure(&options))
}

impl Options {
    fn check(&self) -> Result<()> {
        ensure!((0.0..=1.0).contains(&self.hang_ups), "--hang-ups is a share from 0 to 1");
        ensure!(self.outside < self.limit, "--outside leaves no permit");
        ensure!(self.retry_after.subsec_nanos() == 0, "--retry-after is in whole seconds");
        let is_named = |app: &App| app.name == outsider::NAME;
        ensure!(!self.apps.iter().any(is_named), "no app may be called `{}`", outsider::NAME);
        if self.reload_every.is_some() {
            let is_ours = |through: &Through| *through == Through::Gateway;
            ensure!(self.through.iter().all(is_ours), "--reload-every is for our gateway alone");
        }
        Ok(())
    }

    /// What is measured one after the other; `None` is the bare tenant.
    fn entrants(&self) -> Result<Vec<Option<Kind>>> {
        let mut entrants = Vec::new();
        for through in &self.through {
            match through {
                Through::Gateway => {
                    let gateways = self.commands.gateways()?;
                    entrants
                        .extend(gateways.into_iter().map(|gateway| Some(Kind::Gateway(gateway))));
                }
                Through::Haproxy => entrants.push(Some(Kind::HaProxy)),
                Through::Nothing => entrants.push(None),
            }
        }
        Ok(entrants)
    }
}

async fn measure(options: &Options) -> Result<()> {
    let mut runs = Vec::new();
    for entrant in options.entrants()? {
        let run = run(options, entrant.as_ref()).await?;
        println!("{}", Report::new(options, &run));
        runs.push(run);
    }
    if runs.len() > 1 {
        println!("{}", Comparison::new(options, &runs));
    }
    if let Some(file) = &options.plot {
        picture::draw(options, &runs).save(file)?;
        println!("Drawn: {}", file.display());
    }
    Ok(())
}

/// Measures one, on a tenant of its own: what another leaves behind does not count.
async fn run(options: &Options, entrant: Option<&Kind>) -> Result<Run> {
    let tenant = Tenant::start(emulator::Options {
        limits: vec![(LIMIT_TYPE.to_owned(), options.limit)],
        enforce_limits: !options.unenforced,
        service_time: options.service_time,
        retry_after: options.retry_after,
        ledger_capacity: LEDGER_CAPACITY,
        ..emulator::Options::default()
    })
    .await?;
    let born = Instant::now() - Duration::from_secs_f64(tenant.counters().elapsed_seconds);
    let dir = tempfile::tempdir()?;
    let token = client::token(tenant.address())?;
    let peer = entrant.map(|kind| start(options, kind, &tenant, &token, dir.path())).transpose()?;
    tenant.reset();

    let start = Instant::now();
    let begin = start + Duration::from_secs(options.warm_up);
    let end = begin + Duration::from_secs(options.seconds);
    let run =
        watch(options, &tenant, peer.as_ref(), &token, Clock { start, begin, end, tenant: born });
    let run = run.await?;
    tenant.stop().await;
    Ok(run)
}

fn start(
    options: &Options,
    kind: &Kind,
    tenant: &Tenant,
    token: &str,
    dir: &std::path::Path,
) -> Result<Peer> {
    let apps: Vec<&str> = options.apps.iter().map(|app| app.name.as_str()).collect();
    let weighty = options.apps.iter().filter(|app| app.weight > 1);
    let weights: Vec<(&str, u32)> = weighty.map(|app| (app.name.as_str(), app.weight)).collect();
    kind.start(&Surroundings {
        upstream: tenant.address(),
        limit: Some(options.limit),
        token,
        apps: &apps,
        core: None,
        dir,
        keys: Keys {
            headroom: options.headroom,
            retry_after_cap: options.retry_after_cap,
            weights: &weights,
            tenant: &[],
        },
    })
}

async fn watch(
    options: &Options,
    tenant: &Tenant,
    peer: Option<&Peer>,
    token: &str,
    clock: Clock,
) -> Result<Run> {
    let stays = if options.outside > 0 { clock.stays(options.outside_period) } else { Vec::new() };
    let address = peer.map_or(tenant.address(), |peer| peer.address);
    let visit = options.outsider.visit(tenant, token, options.outside, &stays, clock);
    let reload = async {
        match (options.reload_every, peer) {
            (Some(every), Some(peer)) => {
                reloads::keep_changing(peer, options.limit, every, clock).await
            }
            _ => Ok(Vec::new()),
        }
    };
    let admin = peer.and_then(Peer::admin);
    let (outsider, changes, samples, seen, tallies) = tokio::join!(
        visit,
        reload,
        samples::take(admin, LIMIT_TYPE, clock.end),
        read_meters(tenant, peer, clock),
        call(options, address, peer.is_some(), token, clock),
    );
    let (warm_up, ledger, cost) = seen?;
    Ok(Run {
        name: peer.map_or("nothing".to_owned(), |peer| peer.name.clone()),
        clock,
        tallies: tallies?,
        outsider,
        stays,
        changes: changes?,
        warm_up,
        ledger,
        samples,
        cost,
        log: peer.map(Peer::log).unwrap_or_default(),
    })
}

/// All apps call until the end.
async fn call(
    options: &Options,
    address: SocketAddr,
    is_proxied: bool,
    token: &str,
    clock: Clock,
) -> Result<Vec<Tally>> {
    let credential = |app: &App| match is_proxied {
        true => peers::authorization(&app.name),
        false => format!("Bearer {token}"),
    };
    let start = |app: &App| app.call(address, credential(app), options.hang_ups, clock, clock.end);
    let load: Vec<JoinHandle<Tally>> = options.apps.iter().map(start).collect();
    let mut tallies = Vec::new();
    for app in load {
        tallies.push(app.await?);
    }
    Ok(tallies)
}

type Meters = (Ledger, Ledger, Option<(Duration, Memory)>);

/// Reads the tenant's book and the proxy's cost at the beginning and at the end of the measurement.
async fn read_meters(tenant: &Tenant, peer: Option<&Peer>, clock: Clock) -> Result<Meters> {
    time::sleep_until(clock.begin).await;
    let warm_up = tenant.ledger();
    tenant.reset();
    let before = peer.map(|peer| machine::cpu_time(peer.id())).transpose()?;
    time::sleep_until(clock.end).await;
    let ledger = tenant.ledger();
    let cost = match (peer, before) {
        (Some(peer), Some(before)) => {
            let used = machine::cpu_time(peer.id())?.saturating_sub(before);
            Some((used, Memory::of(peer.id())?))
        }
        _ => None,
    };
    Ok((warm_up, ledger, cost))
}
