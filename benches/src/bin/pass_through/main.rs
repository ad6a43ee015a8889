//! What passing a request through costs, side by side with nginx and HAProxy.
//!
//! `cargo run --release -p benches --bin pass_through -- --help`

#![expect(clippy::print_stdout, reason = "a measurement is a program that prints its result")]

mod at_rate;
mod memory;
mod saturated;

use anyhow::Result;
use benches::{
    machine,
    peers::{Commands, Kind},
    process,
};
use clap::Parser;

/// The app that calls.
const APP: &str = "bench";

/// A read that our gateway knows as an operation.
const PATH: &str = "/v1/accounts/A00000001";

/// Compares what proxies cost that all replace `Authorization` and add `Zuora-Track-Id`.
///
/// Without a mode: as many requests as the proxy can take, on one core of its own.
#[derive(Debug, Parser)]
struct Options {
    /// Measure at this many requests a second instead, which shows latency (nothing is pinned).
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "memory")]
    at_rate: Option<u32>,

    /// Measure memory instead: at rest, per connection, per waiting request, with large bodies.
    #[arg(long)]
    memory: bool,

    #[command(flatten)]
    commands: Commands,

    /// Measure the peers alone.
    #[arg(long, conflicts_with = "gateway")]
    no_gateway: bool,

    /// Interleaved rounds [default: 5; at a rate: 4].
    #[arg(long)]
    rounds: Option<u32>,

    /// Length of one sample [default: 2; at a rate: 5].
    #[arg(long)]
    seconds: Option<u64>,

    /// Connections of the load [default: 64; at a rate: 32].
    #[arg(long)]
    connections: Option<u32>,

    /// Cores of the proxy when nothing is at a rate, such as `0,1` for a runtime with two
    /// threads [default: the last one].
    #[arg(long, value_name = "LIST")]
    proxy_cores: Option<String>,

    /// Connections and waiting requests in the measurement of memory.
    #[arg(long, default_value_t = 5000)]
    waiting: usize,
}

fn main() -> Result<()> {
    let options = Options::parse();
    process::require(&["nginx", "haproxy", "wrk", "taskset", "setpriv", "prlimit"])?;
    let kinds = kinds(&options)?;
    machine::raise_file_limit(2 * options.waiting as u64 + 1000)?;
    println!("Machine: {}.", machine::description()?);

    if options.memory {
        memory::run(&kinds, options.waiting)
    } else if let Some(rate) = options.at_rate {
        at_rate::run(&kinds, rate, &options)
    } else {
        saturated::run(&kinds, &options)
    }
}

fn kinds(options: &Options) -> Result<Vec<Kind>> {
    let mut kinds = vec![Kind::HaProxy, Kind::Nginx];
    if !options.no_gateway {
        kinds.extend(options.commands.gateways()?.into_iter().map(Kind::Gateway));
    }
    Ok(kinds)
}
