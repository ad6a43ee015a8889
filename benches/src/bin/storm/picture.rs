//! A storm over time: what was sent, what of it was refused, and what was in flight.

use benches::plot::{Axis, Look, Mark, Panel, Plot, Scale, Series};

use crate::{Options, Run, course::Course};

/// The width of a bar, in seconds.
const BAR: f64 = 0.1;

pub(crate) fn draw(options: &Options, runs: &[Run]) -> Plot {
    let courses: Vec<Course> =
        runs.iter().map(|run| Course::of(run, options.retry_after)).collect();
    let last = courses.iter().flat_map(|course| &course.executed).map(|(_, done)| *done).max();
    let panels = runs
        .iter()
        .zip(&courses)
        .flat_map(|(run, course)| [sent(options, run, course), in_flight(options, run, course)]);
    Plot {
        title: format!("{} calls while a tenant refuses everything", options.calls),
        subtitle: options.words(),
        x: Axis {
            label: "seconds since the calls came".to_owned(),
            from: 0.0,
            to: (seconds(last.unwrap_or(0)) + 0.5).ceil(),
            scale: Scale::Linear,
        },
        panels: panels.collect(),
    }
}

fn sent(options: &Options, run: &Run, course: &Course) -> Panel {
    let bars = |bins: std::collections::BTreeMap<u64, u32>| {
        let bars = bins.into_iter().map(|(bin, sent)| (bin as f64 * BAR, f64::from(sent)));
        Mark::Bars(BAR * 0.9, bars.collect())
    };
    let storm = [0.0, options.lasts.as_secs_f64(), 0.0, 1000.0];
    Panel {
        name: format!("{}: requests at the tenant in each 100 ms", run.name),
        y: Axis { label: "requests".to_owned(), from: 0.0, to: 1000.0, scale: Scale::LogFromZero },
        height: 180.0,
        series: vec![
            series("the storm", Look::Grey, Mark::Blocks(vec![storm])),
            series("sent", Look::Blue, bars(course.sent())),
            series("refused", Look::Vermilion, bars(course.refusals())),
        ],
    }
}

fn in_flight(options: &Options, run: &Run, course: &Course) -> Panel {
    let limit = f64::from(options.limit);
    let levels = course.in_flight().into_iter().map(|(at, level)| (seconds(at), level as f64));
    let capacity = run.samples.iter().map(|sample| {
        let at = sample.at.saturating_duration_since(run.start).as_secs_f64();
        (at, sample.capacity as f64)
    });
    Panel {
        name: format!("{}: permits of a limit of {}", run.name, options.limit),
        y: Axis { label: "permits".to_owned(), from: 0.0, to: limit * 1.1, scale: Scale::Linear },
        height: 180.0,
        series: vec![
            series("in flight at the tenant", Look::Vermilion, Mark::Steps(levels.collect())),
            series("capacity", Look::Blue, Mark::Steps(capacity.collect())),
        ],
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

fn series(name: &str, look: Look, mark: Mark) -> Series {
    Series { name: name.to_owned(), look, mark }
}
