//! A run over time: what might be used, what was, and what the tenant refused.

use benches::{
    plot::{Axis, Look, Mark, Panel, Plot, Scale, Series, figure},
    samples::Sample,
};

use crate::{Options, Run, judge::Judge};

/// Refusals are counted for so long, in seconds, to make a bar.
const BAR: f64 = 1.0;

/// What is in flight changes with every call; shown is the mean of so many seconds.
const MEAN_OF: f64 = 0.5;

/// Looks of the runs in the panel that compares them.
const LOOKS: [Look; 4] = [Look::Blue, Look::Vermilion, Look::Orange, Look::Purple];

/// Draws the permits of each gateway that was measured, and below them the refusals of all runs.
pub(crate) fn draw(options: &Options, runs: &[Run]) -> Plot {
    let ours = runs.iter().filter(|run| !run.samples.is_empty());
    let mut panels: Vec<Panel> = ours.map(|run| permits(options, run)).collect();
    panels.push(refusals(runs));
    let connections: Vec<String> =
        options.apps.iter().map(|app| app.connections.to_string()).collect();
    let seconds = (options.warm_up + options.seconds) as f64;
    Plot {
        title: format!("Apps with {} connections that never pause", connections.join(", ")),
        subtitle: options.to_string(),
        x: Axis {
            label: "seconds since the load began".to_owned(),
            from: 0.0,
            to: seconds,
            scale: Scale::Linear,
        },
        panels,
    }
}

fn permits(options: &Options, run: &Run) -> Panel {
    let clock = &run.clock;
    let limit = f64::from(options.limit);
    let taken = run.stays.iter().map(|stay| {
        let left = f64::from(options.limit - options.outside);
        [clock.seconds(stay.from), clock.seconds(stay.to), left, limit]
    });
    let line = |figure: fn(&Sample) -> Option<u64>| -> Vec<(f64, f64)> {
        let at = |sample: &Sample| Some((clock.seconds(sample.at), figure(sample)? as f64));
        run.samples.iter().filter_map(at).collect()
    };
    let in_flight = Judge::new(run).in_flight(MEAN_OF);
    let mut series = vec![
        series("the outsider's", Look::Grey, Mark::Blocks(taken.collect())),
        series("in flight at the tenant, mean of 0.5 s", Look::Vermilion, Mark::Steps(in_flight)),
        series("capacity", Look::Blue, Mark::Steps(line(|pool| Some(pool.capacity)))),
        series("outside use as estimated", Look::Green, Mark::Steps(line(|pool| pool.outside_use))),
    ];
    series.retain(|series| !series.is_empty());
    Panel {
        name: format!("{}: permits of a limit of {}", run.name, options.limit),
        y: Axis { label: "permits".to_owned(), from: 0.0, to: limit * 1.1, scale: Scale::Linear },
        height: 260.0,
        series,
    }
}

fn refusals(runs: &[Run]) -> Panel {
    let width = BAR * 0.8 / runs.len() as f64;
    let bars = runs.iter().enumerate().map(|(nth, run)| {
        let total = run.clock.seconds(run.clock.end);
        let mut counts = vec![0_u32; (total / BAR).ceil() as usize];
        for at in Judge::new(run).refused_at() {
            if let Some(count) = counts.get_mut((at / BAR) as usize) {
                *count += 1;
            }
        }
        let seconds = counts.iter().enumerate();
        let points = seconds
            .map(|(second, count)| {
                let left = second as f64 * BAR + BAR * 0.1 + nth as f64 * width;
                (left, f64::from(*count) / BAR)
            })
            .collect();
        let total = figure(counts.iter().sum::<u32>().into());
        let name = format!("{}: {total} in all", run.name);
        series(&name, LOOKS[nth % LOOKS.len()], Mark::Bars(width, points))
    });
    let series: Vec<Series> = bars.collect();
    Panel {
        name: "Refused by the tenant".to_owned(),
        y: Axis {
            label: "429s per second".to_owned(),
            from: 0.0,
            to: 10_000.0,
            scale: Scale::LogFromZero,
        },
        height: 150.0,
        series,
    }
}

fn series(name: &str, look: Look, mark: Mark) -> Series {
    Series { name: name.to_owned(), look, mark }
}
