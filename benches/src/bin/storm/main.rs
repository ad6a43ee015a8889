//! What becomes of calls while a tenant refuses everything for a while, and what the tenant sees of them.
//!
//! `cargo run --release -p benches --bin storm -- --help`

#![expect(clippy::print_stdout, reason = "a measurement is a program that prints its result")]

mod calls;
mod course;
mod picture;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use benches::{
    duration::duration,
    machine,
    peers::{Commands, Keys, Kind, Peer, Surroundings},
    process,
    samples::{self, Sample},
    table::Table,
};
use clap::{Parser, ValueEnum};
use emulator::{Fault, FaultKind, Ledger, Outsider, ServiceTime, Tenant};
use tokio::time::{self, Instant};

use crate::{calls::Tally, course::Course};

/// The limit type that all calls of this load count against.
const LIMIT_TYPE: &str = "Default";

/// More calls than a run sends.
const LEDGER_CAPACITY: usize = 1_000_000;

/// What the gateway's default configuration lets be repeated: a share of calls, and so many a second besides.
const BUDGET: f64 = 0.2;
const BUDGET_PER_SECOND: f64 = 10.0;

/// Lets an emulated tenant refuse everything for a while, as calls come in that have time to wait, and shows what was
/// sent in vain, whether anything came back before the moment that the tenant had named, and how the wait ended.
#[derive(Debug, Parser)]
struct Options {
    /// How many calls come at once, each on a connection of its own: reads, and writes with and without a key.
    #[arg(long, default_value_t = 2000)]
    calls: u32,

    /// The tenant's limit.
    #[arg(long, default_value_t = 40)]
    limit: u32,

    /// How long the tenant works on a call: `50ms`, `uniform:20ms:80ms`, `lognormal:40ms:400ms`.
    #[arg(long, default_value = "50ms")]
    service_time: ServiceTime,

    /// How long the storm lasts. It begins before the calls come.
    #[arg(long, default_value = "20s", value_parser = duration)]
    lasts: Duration,

    /// What refusals name, in whole seconds.
    #[arg(long, default_value = "5s", value_parser = duration)]
    retry_after: Duration,

    /// What makes the tenant refuse.
    #[arg(long, value_enum, default_value_t = By::Permits)]
    by: By,

    /// A further key of the tenant in the gateway's configuration, as `retry: {attempts: 10}`. May be repeated.
    #[arg(long, value_name = "KEY: VALUE")]
    key: Vec<String>,

    /// Draw what was sent, and what was in flight, over time into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    #[command(flatten)]
    commands: Commands,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Somebody else holds all permits; what remains is told as zero.
    Permits,
    /// Refusals for concurrency though there is room, and what remains is told as all.
    Whim,
    /// Refusals for rate, which are for the whole tenant.
    Rate,
}

/// The tenant refuses everything as long as this lives.
#[derive(Debug)]
enum Storm<'a> {
    Permits { _outsider: Outsider },
    Faults(&'a Tenant),
}

impl Drop for Storm<'_> {
    fn drop(&mut self) {
        if let Self::Faults(tenant) = self {
            tenant.clear_faults();
        }
    }
}

/// Everything that was seen of one run. Times are since the tenant's start.
#[derive(Debug)]
struct Run {
    name: String,
    tally: Tally,
    ledger: Ledger,
    /// When the tenant refused for rate, in milliseconds of its book, which has no calls for these.
    refused_for_rate: Vec<u64>,
    samples: Vec<Sample>,
    /// When the tenant was started: its book counts from here.
    tenant: Instant,
    start: Instant,
    end: Instant,
    log: String,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.retry_after.subsec_nanos() == 0, "--retry-after is in whole seconds");
    process::require(&["setpriv", "prlimit"])?;
    machine::raise_file_limit(u64::from(options.calls) * 3)?;
    println!("Machine: {}.", machine::description()?);
    println!("{}\n", options.words());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Proxies start on this thread: they end with the thread that started them.
    runtime.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<()> {
    let mut runs = Vec::new();
    for gateway in options.commands.gateways()? {
        let run = run(options, Kind::Gateway(gateway)).await?;
        println!("{}", table(options, &run));
        if let Some(example) = &run.tally.example {
            println!(
                "- an error that an app saw: {example}\n\nThe gateway's last words:\n{}",
                run.log
            );
        }
        runs.push(run);
    }
    if let Some(file) = &options.plot {
        picture::draw(options, &runs).save(file)?;
        println!("Drawn: {}", file.display());
    }
    Ok(())
}

async fn run(options: &Options, kind: Kind) -> Result<Run> {
    let tenant = Tenant::start(emulator::Options {
        limits: vec![(LIMIT_TYPE.to_owned(), options.limit)],
        service_time: options.service_time,
        retry_after: options.retry_after,
        accounts: options.calls as usize,
        ledger_capacity: LEDGER_CAPACITY,
        ..emulator::Options::default()
    })
    .await?;
    let born = Instant::now() - Duration::from_secs_f64(tenant.counters().elapsed_seconds);
    let dir = tempfile::tempdir()?;
    let peer = start(options, &kind, &tenant, dir.path())?;
    let connections = calls::connect(peer.address, options.calls).await?;
    tenant.reset();

    let storm = options.by.begin(options, &tenant)?;
    let start = Instant::now();
    let end = start + options.lasts;
    let calm = async {
        time::sleep_until(end).await;
        drop(storm);
    };
    let admin = peer.admin().context("a gateway has an admin port")?;
    let mut samples = Vec::new();
    let tally = tokio::select! {
        (tally, ()) = async { tokio::join!(calls::send(connections), calm) } => tally?,
        () = samples::keep_taking(admin, LIMIT_TYPE, &mut samples) => unreachable!("it never ends"),
    };
    let ledger = tenant.ledger();
    let strikes = tenant.strikes().into_iter();
    let for_rate = strikes.filter(|strike| matches!(strike.kind, FaultKind::RefuseRate { .. }));
    let refused_for_rate = for_rate.map(|strike| strike.at_ms).collect();
    let log = peer.log();
    tenant.stop().await;
    Ok(Run {
        name: peer.name.clone(),
        tally,
        ledger,
        refused_for_rate,
        samples,
        tenant: born,
        start,
        end,
        log,
    })
}

fn start(options: &Options, kind: &Kind, tenant: &Tenant, dir: &Path) -> Result<Peer> {
    kind.start(&Surroundings {
        upstream: tenant.address(),
        limit: Some(options.limit),
        token: "",
        apps: &[calls::APP],
        core: None,
        dir,
        keys: Keys { tenant: &options.key, ..Keys::default() },
    })
}

impl By {
    fn begin<'a>(self, options: &Options, tenant: &'a Tenant) -> Result<Storm<'a>> {
        let fault = match self {
            Self::Permits => {
                let outsider = tenant.occupy(LIMIT_TYPE, options.limit);
                return Ok(Storm::Permits { _outsider: outsider.context("it is configured")? });
            }
            Self::Whim => FaultKind::RefuseConcurrency,
            Self::Rate => FaultKind::RefuseRate { reset: options.retry_after.as_secs() },
        };
        tenant.fault(Fault::once("/v1", fault).times(u32::MAX));
        Ok(Storm::Faults(tenant))
    }

    fn words(self) -> &'static str {
        match self {
            Self::Permits => "somebody else has all permits",
            Self::Whim => "refusals though there is room",
            Self::Rate => "refusals for rate",
        }
    }
}

impl Options {
    /// What is measured, in a line that can stand over a table or a plot.
    fn words(&self) -> String {
        let keys: Vec<String> = self.key.iter().map(|key| format!(", `{key}`")).collect();
        format!(
            "{} calls, limit {}, service time {}; for {:?} {}, Retry-After {:?}{}",
            self.calls,
            self.limit,
            self.service_time,
            self.lasts,
            self.by.words(),
            self.retry_after,
            keys.concat(),
        )
    }

    /// How many repetitions the default retry budget has for these calls while the storm lasts.
    fn budget(&self) -> f64 {
        BUDGET * f64::from(self.calls) + BUDGET_PER_SECOND * self.lasts.as_secs_f64()
    }
}

fn table(options: &Options, run: &Run) -> Table {
    let course = Course::of(run, options.retry_after);
    let mut table = Table::new(&["what", &run.name]);
    let mut row = |what: &str, figure: String| table.row([what.to_owned(), figure]);
    row("calls answered 200", format!("{} of {}", run.tally.answered(200), options.calls));
    row("answered otherwise", run.tally.others());
    row("refused by the tenant", course.refused.len().to_string());
    row("… the retry budget would allow", format!("{:.0}", options.budget()));
    if options.by != By::Rate {
        row("sent again before the moment named", course.early.to_string());
        row("… the earliest came after it by", ms(course.least_late));
    }
    row("attempts of one call, at most", run.tally.most_attempts().to_string());
    row("executed more than once", course.twice.to_string());
    row("most sent in 100 ms, in the first second", course.most_at_first().to_string());
    row("… while the storm lasts, after that", course.most_later().to_string());
    row("… from its end on, second by second", course.most_after());
    row("most in flight: storm's end to 1 s, 2 s, 3 s, …", course.in_flight_words());
    row("first success after the storm's end", ms(course.first));
    row("last success after the storm's end", ms(course.last));
    row("… at the tenant's full speed it would be", ms(Some(course.ideal(options))));
    table
}

fn ms(time: Option<Duration>) -> String {
    time.map_or("–".to_owned(), |time| format!("{:.0} ms", time.as_secs_f64() * 1e3))
}
