//! What it costs to remember async requests durably.
//!
//! `cargo run --release -p benches --bin registry -- --help`

#![expect(clippy::print_stdout, reason = "a measurement is a program that prints its result")]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_requests::{Disk, Form, Key, Limits, NewRequest, Outcome, Registry, Report};
use benches::{
    machine::{self, Memory},
    stats::percentile,
    table::Table,
};
use clap::Parser;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

/// The tenant of all requests.
const TENANT: &str = "production";
/// Apps that share them.
const APPS: usize = 20;

/// Measures lives of requests (begun, accepted, ended: three durable changes each), and a registry that is full.
#[derive(Debug, Parser)]
struct Options {
    /// Lives in a row of the first table.
    #[arg(long, default_value_t = 2000)]
    lives: usize,

    /// Records in the full registry.
    #[arg(long, default_value_t = 1_000_000)]
    records: usize,

    /// Where the registry is put. The file system decides about the figures.
    #[arg(long, default_value = ".")]
    directory: PathBuf,

    /// Lives without end in that directory, until it is killed: how this program measures opening after that.
    #[arg(long, hide = true)]
    until_killed: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = Builder::new_current_thread().enable_time().build()?;
    if options.until_killed {
        return runtime.block_on(until_killed(&options.directory));
    }
    println!("Machine: {}.\n", machine::description()?);
    let directory = tempfile::tempdir_in(&options.directory)?;
    lives(&runtime, directory.path(), options.lives)?;
    full(&runtime, directory.path(), options.records)
}

/// Lives at once, from one to as many as wait at once in a storm.
fn lives(runtime: &Runtime, directory: &Path, lives: usize) -> Result<()> {
    let columns =
        ["at once", "lives/s", "changes/s", "a change waits, p50", "p99", "CPU µs a life"];
    let mut table = Table::new(&columns);
    for at_once in [1, 16, 128, 1024] {
        let registry = open(runtime, directory)?;
        let lives = lives.min(at_once * 200);
        let (cpu, start) = (machine::own_time()?, Instant::now());
        let waits = runtime.block_on(live(&registry, "lives", lives, at_once))?;
        let seconds = start.elapsed().as_secs_f64();
        let cpu = machine::own_time()?.saturating_sub(cpu);
        runtime.block_on(registry.close())?;
        fs::remove_file(directory.join("async-requests.redb"))?;
        let per_second = lives as f64 / seconds;
        table.row([
            at_once.to_string(),
            format!("{per_second:.0}"),
            format!("{:.0}", per_second * 3.0),
            millis(percentile(&waits, 0.5)),
            millis(percentile(&waits, 0.99)),
            format!("{:.0}", cpu.as_secs_f64() * 1e6 / lives as f64),
        ]);
    }
    println!("{table}");
    Ok(())
}

/// A registry with so many records: opening it, asking it, and what it takes.
fn full(runtime: &Runtime, directory: &Path, records: usize) -> Result<()> {
    println!("A registry of {records} records, all ended.\n");
    let mut table = Table::new(&["what", "figure"]);
    let file = directory.join("async-requests.redb");
    let resident = || -> Result<String> {
        Ok(format!("{:.0} MB", Memory::of(std::process::id())?.resident as f64 * 1024.0 / 1e6))
    };
    table.row(["resident size before".to_owned(), resident()?]);

    let registry = open(runtime, directory)?;
    let start = Instant::now();
    runtime.block_on(live(&registry, "full", records, 4096))?;
    let seconds = start.elapsed().as_secs_f64();
    table.row([
        "filling it, 4096 at once".to_owned(),
        format!("{:.0} lives/s", records as f64 / seconds),
    ]);
    table
        .row(["its file".to_owned(), format!("{:.0} MB", fs::metadata(&file)?.len() as f64 / 1e6)]);
    table.row(["resident size when full".to_owned(), resident()?]);
    let close = Instant::now();
    runtime.block_on(registry.close())?;
    table.row(["closing it".to_owned(), millis(close.elapsed())]);

    let start = Instant::now();
    let registry = open(runtime, directory)?;
    table.row(["opening it after that".to_owned(), millis(start.elapsed())]);
    ask(runtime, &registry, records, &mut table)?;
    runtime.block_on(registry.close())?;

    kill(directory)?;
    let start = Instant::now();
    let registry = open(runtime, directory)?;
    table.row([
        "opening it after kill -9, file in the system's cache".to_owned(),
        millis(start.elapsed()),
    ]);
    table.row(["resident size then".to_owned(), resident()?]);
    runtime.block_on(registry.close())?;
    println!("{table}");
    Ok(())
}

/// What those notice who ask for one request, or list theirs.
fn ask(
    runtime: &Runtime,
    registry: &Arc<Registry>,
    records: usize,
    table: &mut Table,
) -> Result<()> {
    let app: Arc<str> = app(0);
    let (mut found, mut listed) = (Vec::new(), Vec::new());
    for ask in 0..500 {
        let start = Instant::now();
        let record = runtime.block_on(registry.find(&key("full", ask * 7919 % records)))?;
        found.push(start.elapsed());
        let record = record.context("a record is gone")?;
        let start = Instant::now();
        let page = runtime.block_on(registry.list(&app, None, None, 100))?;
        listed.push(start.elapsed());
        if page.len() != 100.min(records / APPS) || record.outcome.is_none() {
            bail!("{} listed, and the outcome is {:?}", page.len(), record.outcome);
        }
    }
    found.sort_unstable();
    listed.sort_unstable();
    table.row(["finding one, p50".to_owned(), micros(percentile(&found, 0.5))]);
    table.row(["finding one, p99".to_owned(), micros(percentile(&found, 0.99))]);
    table.row(["a page of 100, p50".to_owned(), micros(percentile(&listed, 0.5))]);
    Ok(())
}

/// Has another process use the registry, and kills it.
fn kill(directory: &Path) -> Result<()> {
    let this = std::env::current_exe()?;
    let mut child = Command::new(this)
        .arg("--until-killed")
        .arg("--directory")
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut begun = [0; 1];
    child.stdout.take().context("no output")?.read_exact(&mut begun)?;
    child.kill()?;
    child.wait()?;
    Ok(())
}

async fn until_killed(directory: &Path) -> Result<()> {
    let registry = Registry::new(Disk::open(directory, limits()).await?);
    for round in 0.. {
        live(&registry, &format!("killed-{round}"), 64, 64).await?;
        let mut output = std::io::stdout();
        output.write_all(b"a")?;
        output.flush()?;
    }
    Ok(())
}

/// Lives of requests, so many at a time. Returns how long each change took to be durable, the shortest first.
async fn live(
    registry: &Arc<Registry>,
    named: &str,
    lives: usize,
    at_once: usize,
) -> Result<Vec<Duration>> {
    let mut living = JoinSet::new();
    for first in 0..at_once {
        let (registry, named) = (Arc::clone(registry), named.to_owned());
        living.spawn(async move {
            let mut waits = Vec::new();
            for number in (first..lives).step_by(at_once) {
                one_life(&registry, &named, number, &mut waits).await?;
            }
            anyhow::Ok(waits)
        });
    }
    let mut all = Vec::new();
    while let Some(waits) = living.join_next().await {
        all.extend(waits??);
    }
    all.sort_unstable();
    Ok(all)
}

async fn one_life(
    registry: &Arc<Registry>,
    named: &str,
    number: usize,
    waits: &mut Vec<Duration>,
) -> Result<()> {
    let start = Instant::now();
    let submission = registry.begin(new(named, number)).await?;
    let begun = Instant::now();
    let zuora_id = format!("{number:032x}");
    submission.accepted(Some(&zuora_id)).await?;
    let accepted = Instant::now();
    registry.take_in(&TENANT.into(), report(&zuora_id, number)).await?;
    let ended = Instant::now();
    waits.extend([begun - start, accepted - begun, ended - accepted]);
    Ok(())
}

fn new(named: &str, number: usize) -> NewRequest {
    NewRequest {
        key: key(named, number),
        app: app(number),
        entity: None,
        operation: Some("POST_Account".into()),
        method: "POST".into(),
        path: "/v1/accounts".into(),
        form: Form::Async,
    }
}

fn key(named: &str, number: usize) -> Key {
    Key { tenant: TENANT.into(), track_id: format!("{named}-{number:024x}").into() }
}

fn app(number: usize) -> Arc<str> {
    format!("app-{}", number % APPS).into()
}

/// One in ten failed.
fn report(zuora_id: &str, number: usize) -> Report {
    let outcome = if number % 10 == 9 {
        let reasons = vec![
            json!({"code": "53100020", "message": "The currency is not one of the tenant's."}),
        ];
        Outcome::Failed { reasons, process_id: Some(format!("{number:016X}").into()) }
    } else {
        let data = [("id".to_owned(), format!("{number:032x}").into())];
        Outcome::Succeeded { data: data.into_iter().collect() }
    };
    let notification_id = Some(format!("n{number:031x}").into());
    Report { zuora_id: Some(zuora_id.into()), track_id: None, notification_id, outcome }
}

fn open(runtime: &Runtime, directory: &Path) -> Result<Arc<Registry>> {
    Ok(Registry::new(runtime.block_on(Disk::open(directory, limits()))?))
}

fn limits() -> Limits {
    Limits { max_records: 2_000_000, ..Limits::default() }
}

fn micros(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
