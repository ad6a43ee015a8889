//! What it costs to lead callers back by the links in answers.
//!
//! `cargo run --release -p benches --bin links -- --help`

#![expect(clippy::print_stdout, reason = "a measurement is a program that prints its result")]

mod listing;
mod reader;
mod upstream;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use benches::{
    machine::{self, Cores, Memory},
    peers::{Commands, Keys, Kind, Peer, Surroundings, authorization},
    stats::Samples,
    table::Table,
    upstream::TOKEN,
};
use clap::Parser;
use listing::{LISTINGS, Listing};
use tokio::time::Instant;
use zuora::links::{OwnHosts, Repacker, Rewriter, Text};

/// The app that calls.
const APP: &str = "bench";

/// Where links are to lead.
const BASE: &str = "http://gateway.internal:8080";

/// What is given to the rewriter at a time: as much as one read of a connection brings at most.
const PIECE: usize = 64 * 1024;

/// Measures rewriting alone, and then a gateway that rewrites beside one that need not look.
#[derive(Debug, Parser)]
struct Options {
    /// The length of a listing.
    #[arg(long, default_value_t = 100)]
    megabytes: usize,

    /// Interleaved rounds.
    #[arg(long, default_value_t = 5)]
    rounds: u32,

    /// Short answers in a sample.
    #[arg(long, default_value_t = 10_000)]
    requests: u32,

    /// Rewriting alone, without a gateway.
    #[arg(long)]
    alone: bool,

    #[command(flatten)]
    commands: Commands,
}

fn main() -> Result<()> {
    let options = Options::parse();
    println!("Machine: {}.\n", machine::description()?);
    alone(&options)?;
    if options.alone {
        return Ok(());
    }
    for gateway in options.commands.gateways()? {
        let kind = Kind::Gateway(gateway);
        long(&kind, &options)?;
        short(&kind, &options)?;
        memory(&kind, &options)?;
    }
    Ok(())
}

/// Rewriting in one thread.
fn alone(options: &Options) -> Result<()> {
    println!(
        "Rewriting alone: a listing of {} MB in pieces of 64 KiB, one thread, {} rounds.\n",
        options.megabytes, options.rounds
    );
    let mut table = Table::new(&["listing", "links", "MB/s, median", "MB/s, best"]);
    let own = own_hosts()?;
    for listing in LISTINGS {
        let text = listing.text("rest.zuora.com", options.megabytes);
        let bytes = if listing.is_packed() { listing.packed(&text) } else { text.clone() };
        let mut seconds = Samples::default();
        let mut links = 0;
        for _ in 0..options.rounds {
            let start = Instant::now();
            links = rewrite(&own, &bytes, listing.is_packed())?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        let per_second = |seconds: f64| format!("{:.0}", text.len() as f64 / 1e6 / seconds);
        let (median, best) = (per_second(seconds.median()), per_second(seconds.best()));
        let links = if listing.is_packed() { String::new() } else { links.to_string() };
        table.row([listing.title().to_owned(), links, median, best]);
    }
    println!("{table}");

    let mut table = Table::new(&["answer of 1 KB", "µs, median", "µs, best"]);
    for listing in LISTINGS {
        let text = listing.text_of("rest.zuora.com", 1000);
        let bytes = if listing.is_packed() { listing.packed(&text) } else { text };
        let mut micros = Samples::default();
        for _ in 0..200 {
            let start = Instant::now();
            for _ in 0..100 {
                rewrite_whole(&own, black_box(&bytes), listing.is_packed());
            }
            micros.push(start.elapsed().as_secs_f64() * 1e6 / 100.0);
        }
        let figures = [micros.median(), micros.best()].map(|micros| format!("{micros:.2}"));
        table.row(std::iter::once(listing.title().to_owned()).chain(figures));
    }
    println!("{table}");
    Ok(())
}

fn own_hosts() -> Result<Arc<OwnHosts>> {
    let addresses = ["https://rest.zuora.com", "https://www.zuora.com"].map(str::parse);
    let addresses = addresses.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(OwnHosts::of(&addresses)))
}

/// What is done with an answer that is there as a whole.
fn rewrite_whole(own: &Arc<OwnHosts>, bytes: &[u8], is_packed: bool) {
    let rewriter = || Rewriter::new(own, Text::Json, BASE);
    if is_packed {
        black_box(rewriter().whole_packed(bytes, 1024 * 1024));
    } else if own.are_in(bytes) {
        black_box(rewriter().whole(bytes));
    }
}

fn rewrite(own: &Arc<OwnHosts>, bytes: &[u8], is_packed: bool) -> Result<u64> {
    let mut rewriter = Rewriter::new(own, Text::Json, BASE);
    if !is_packed {
        for piece in bytes.chunks(PIECE) {
            black_box(rewriter.push(piece));
        }
        return Ok(rewriter.rewritten());
    }
    let mut repacker = Repacker::new(rewriter);
    for mut piece in bytes.chunks(PIECE) {
        while !piece.is_empty() {
            piece = &piece[repacker.push(piece)?..];
            black_box(repacker.take());
        }
    }
    black_box(repacker.finish()?);
    Ok(0)
}

/// An answer that is asked for again and again, with the samples taken of it.
struct Entrant {
    listing: Listing,
    /// Whether its links are looked for: they are not in files.
    is_file: bool,
    per_second: Samples,
    cost: Samples,
}

impl Entrant {
    fn all() -> Vec<Self> {
        let entrant = |listing, is_file| {
            let (per_second, cost) = (Samples::default(), Samples::default());
            Self { listing, is_file, per_second, cost }
        };
        LISTINGS
            .into_iter()
            .flat_map(|listing| [entrant(listing, true), entrant(listing, false)])
            .collect()
    }

    fn path(&self, length: usize) -> String {
        let folder = if self.is_file { "/v1/files" } else { "/v1/accounts" };
        format!("{folder}/{}-{length}", self.listing.name())
    }
}

/// Long answers through the gateway.
fn long(kind: &Kind, options: &Options) -> Result<()> {
    let stage = Stage::start(kind)?;
    let length = options.megabytes * 1_000_000;
    println!(
        "{}: a listing of {} MB on one connection, {} interleaved rounds; CPU time is that of the gateway. A file \
         passes as it came, so it is what relaying alone costs.\n",
        kind.name(),
        options.megabytes,
        options.rounds
    );
    let mut entrants = Entrant::all();
    for _ in 0..options.rounds {
        for entrant in &mut entrants {
            let (used, took) = stage.measure(|| {
                reader::read_to_the_end(
                    stage.peer.address,
                    &entrant.path(length),
                    &authorization(APP),
                )
            })?;
            entrant.per_second.push(options.megabytes as f64 / took.as_secs_f64());
            entrant.cost.push(used.as_secs_f64() * 1e3 / options.megabytes as f64);
        }
    }
    print(&entrants, "CPU ms/MB", "MB/s of text")
}

/// Short answers through the gateway.
fn short(kind: &Kind, options: &Options) -> Result<()> {
    let stage = Stage::start(kind)?;
    println!(
        "{}: {} answers of 1 KB on 8 connections, {} interleaved rounds.\n",
        kind.name(),
        options.requests,
        options.rounds
    );
    let mut entrants = Entrant::all();
    for _ in 0..options.rounds {
        for entrant in &mut entrants {
            let path = entrant.path(1000);
            let (used, took) = stage.measure(|| {
                reader::read_often(stage.peer.address, &path, &authorization(APP), options.requests)
            })?;
            let requests = f64::from(options.requests);
            entrant.per_second.push(requests / took.as_secs_f64());
            entrant.cost.push(used.as_secs_f64() * 1e6 / requests);
        }
    }
    print(&entrants, "CPU µs/answer", "answers/s")
}

fn print(entrants: &[Entrant], cost: &str, per_second: &str) -> Result<()> {
    let best = format!("{cost}, best");
    let mut table = Table::new(&[
        "listing",
        &format!("{cost}, median"),
        &best,
        per_second,
        "× relayed",
        "× relayed, best",
    ]);
    let mut relayed = None;
    for entrant in entrants {
        let name = entrant.listing.title();
        let name =
            if entrant.is_file { format!("{name}, relayed") } else { format!("{name}, rewritten") };
        let of_relayed = |figure: fn(&Samples) -> f64| {
            let relayed = relayed.filter(|_| !entrant.is_file).map(figure);
            relayed
                .map_or(String::new(), |relayed| format!("{:.3}", figure(&entrant.cost) / relayed))
        };
        let (median, best) = (of_relayed(Samples::median), of_relayed(Samples::best));
        table.row([
            name,
            format!("{:.3}", entrant.cost.median()),
            format!("{:.3}", entrant.cost.best()),
            format!("{:.0}", entrant.per_second.median()),
            median,
            best,
        ]);
        if entrant.is_file {
            relayed = Some(&entrant.cost);
        }
    }
    println!("{table}");
    Ok(())
}

/// Peaks of fresh processes.
fn memory(kind: &Kind, options: &Options) -> Result<()> {
    let lengths = [options.megabytes / 10, options.megabytes];
    println!(
        "{}: peak resident size (VmHWM, MB) of a fresh process after one answer.\n",
        kind.name()
    );
    let heads = lengths.map(|length| format!("{length} MB"));
    let mut table = Table::new(&["listing", &heads[0], &heads[1]]);
    for entrant in Entrant::all().into_iter().filter(|entrant| !entrant.is_file) {
        let mut cells = vec![entrant.listing.title().to_owned()];
        for length in lengths {
            let stage = Stage::start(kind)?;
            let path = entrant.path(length * 1_000_000);
            reader::read_to_the_end(stage.peer.address, &path, &authorization(APP))?;
            cells.push(format!("{:.1}", Memory::of(stage.peer.id())?.peak as f64 * 1.024e-3));
        }
        table.row(cells);
    }
    println!("{table}");
    Ok(())
}

/// A gateway before an upstream that lives in this program.
struct Stage {
    peer: Peer,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn start(kind: &Kind) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let cores = Cores::split(None)?;
        let peer = kind.start(&Surroundings {
            upstream: upstream::start()?,
            limit: None,
            token: TOKEN,
            apps: &[APP],
            core: Some(&cores.proxy),
            dir: dir.path(),
            keys: Keys::default(),
        })?;
        Ok(Self { peer, _dir: dir })
    }

    /// The gateway's CPU time, and the time on the wall, that `work` takes.
    fn measure(&self, work: impl FnOnce() -> Result<()>) -> Result<(Duration, Duration)> {
        let (before, start) = (machine::cpu_time(self.peer.id())?, Instant::now());
        work().with_context(|| self.peer.log())?;
        let took = start.elapsed();
        Ok((machine::cpu_time(self.peer.id())?.saturating_sub(before), took))
    }
}
