//! Whether the books of the gateway agree, at every instant of a long time in which everything goes wrong.
//!
//! `cargo run --release -p benches --bin soak -- --help`

#![expect(clippy::print_stdout, reason = "a measurement is a program that prints its result")]

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use benches::{
    duration::duration,
    machine,
    plot::{Axis, Look, Mark, Panel, Plot, Scale, Series, figure},
    table::Table,
};
use clap::Parser;
use testkit::soak::{Course, Moment, Soak, Wire};
use tokio::time::Instant;

/// As many moments as a line of a picture can show.
const MOMENTS: usize = 2_000;

/// Calls of every kind, callers that leave at every stage, faults of every kind, and lanes: the gateway as it is wired
/// from its configuration, and an emulated tenant, in one thread, over pipes, by a clock that stands still while anybody
/// has something to do. At the end of every instant the permits that are given, the permits that are alive and the
/// legs in flight must be the same number, the tenant must work on no more calls than that, and in the end nothing may
/// be left. Ends with 1 if anything ever disagreed.
#[derive(Debug, Parser)]
struct Options {
    /// How long, by the clock on the wall. At least one round is made.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,

    /// How long calls keep coming in a round, by the clock that stands still.
    #[arg(long, default_value = "60s", value_parser = duration)]
    round: Duration,

    /// Connect everybody over sockets of the loopback, in real time. What the tenant works on is not compared then, as
    /// a connection that one side has closed is open on the other for a moment.
    #[arg(long)]
    sockets: bool,

    /// How many callers there are.
    #[arg(long, default_value_t = 60)]
    callers: u64,

    /// The seed of the first round; each next one has the next. Chance, if there is none.
    #[arg(long)]
    seed: Option<u64>,

    /// Draw the beginning of the first round into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    ensure!(options.minutes.is_finite() && options.minutes >= 0.0, "--minutes is a time");
    println!("Machine: {}.", machine::description()?);
    let first = options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("{} callers, rounds of {:?}, seeds from {first} on\n", options.callers, options.round);

    let until = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    let mut seeds = first..;
    let mut all = Course::default();
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < until {
        let Some(seed) = seeds.next() else { break };
        let moments = if rounds == 0 { MOMENTS } else { 0 };
        let wire = if options.sockets { Wire::Sockets } else { Wire::Pipes };
        let soak = Soak { seed, wire, lasts: options.round, callers: options.callers, moments };
        let course = soak.run();
        for disagreement in &course.disagreements {
            println!("- seed {seed}, {disagreement}");
        }
        if let Some(file) = options.plot.as_ref().filter(|_| rounds == 0) {
            draw(&options, seed, &course.moments).save(file)?;
            println!("Drawn: {}", file.display());
        }
        all.add(course);
        rounds += 1;
    }
    println!("{}", table(&options, rounds, &all));
    Ok(if all.disagreements.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(options: &Options, rounds: u32, all: &Course) -> Table {
    let mut table = Table::new(&["what", "figure"]);
    let mut row = |what: &str, figure: String| table.row([what.to_owned(), figure]);
    let number = |number: u64| figure(number as f64);
    row("rounds", format!("{rounds}, {:?} of calls", options.round * rounds));
    row("instants at whose end the books were compared", number(all.instants));
    row("looks within an instant", number(all.glances));
    row("… at which a permit was on its way", number(all.on_their_way));
    row("disagreements", all.disagreements.len().to_string());
    let answered = all.answered.iter();
    let answered: Vec<String> =
        answered.map(|(status, calls)| format!("{} × {status}", number(*calls))).collect();
    row("calls answered", answered.join(", "));
    for (stage, callers) in &all.left {
        row(&format!("callers that left {}", stage.words()), number(*callers));
    }
    row("calls executed by the tenant", number(all.executed));
    row("faults", number(all.faults));
    row("met a lock, with lanes", number(all.contended));
    row("refused", number(all.refused));
    row("refused for its token", number(all.unauthenticated));
    row("instants at which the tenant counted as down", number(all.down));
    let most = all.most_in_use.iter().map(|(limit_type, most)| {
        let limit = all.limits.get(limit_type).copied().unwrap_or(0);
        format!("{limit_type}: {most} of {limit}")
    });
    row("most permits given", most.collect::<Vec<_>>().join(", "));
    row("most legs, lanes held, calls before a lane", {
        format!("{}, {}, {}", all.most_legs, all.most_lanes, all.most_in_line)
    });
    table
}

/// The books over time. Where they agree, their lines are one.
fn draw(options: &Options, seed: u64, moments: &[Moment]) -> Plot {
    let line = |figure: fn(&Moment) -> f64| {
        let points = moments.iter().map(|moment| (moment.at.as_secs_f64(), figure(moment)));
        Mark::Steps(points.collect())
    };
    let series =
        |name: &str, look, figure| Series { name: name.to_owned(), look, mark: line(figure) };
    let most = |figure: fn(&Moment) -> f64| moments.iter().map(figure).fold(1.0, f64::max) * 1.1;
    let axis =
        |label: &str, to| Axis { label: label.to_owned(), from: 0.0, to, scale: Scale::Linear };
    let last = moments.last().map_or(1.0, |moment| moment.at.as_secs_f64());
    Plot {
        title: "The books at the end of every instant".to_owned(),
        subtitle: format!("{} callers, seed {seed}", options.callers),
        x: axis("seconds since the first call", last),
        panels: vec![
            Panel {
                name: "What is at Zuora, by everybody's book".to_owned(),
                y: axis("calls", most(|moment| f64::from(moment.in_use))),
                height: 220.0,
                series: vec![
                    series("permits given", Look::Grey, |moment| f64::from(moment.in_use)),
                    series("legs in flight", Look::Blue, |moment| moment.legs as f64),
                    series("calls that the tenant works on", Look::Vermilion, |moment| {
                        f64::from(moment.at_zuora)
                    }),
                ],
            },
            Panel {
                name: "Calls that wait for a permit".to_owned(),
                y: axis("calls", most(|moment| moment.queued as f64)),
                height: 120.0,
                series: vec![series("waiting", Look::Green, |moment| moment.queued as f64)],
            },
        ],
    }
}
