//! Plots as SVG: panels one above the other on one horizontal axis. No more than these
//! measurements need, and readable without colours: lines differ in their dashes too.

use std::{
    fmt::{self, Write as _},
    fs,
    path::Path,
};

use anyhow::{Context, Result};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 68.0;
const BOTTOM: f64 = 46.0;

/// Above each panel, for its name and its legend.
const HEAD: f64 = 46.0;

/// Between a panel and the head of the next.
const GAP: f64 = 18.0;

const FONT: &str = "font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\"";
const INK: &str = "#222222";
const PALE: &str = "#666666";
const GRID: &str = "#e3e3e3";

/// A drawing with a title. `Display` writes the SVG.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What is shown.
    pub title: String,
    /// Under what circumstances.
    pub subtitle: String,
    /// The axis that all panels share.
    pub x: Axis,
    /// From top to bottom.
    pub panels: Vec<Panel>,
}

/// One pair of axes and what is drawn on it.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What this panel shows.
    pub name: String,
    /// Its vertical axis.
    pub y: Axis,
    /// Its height without its head.
    pub height: f64,
    /// From back to front.
    pub series: Vec<Series>,
}

/// An axis with its unit in its label.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Quantity and unit.
    pub label: String,
    /// The least value shown.
    pub from: f64,
    /// The greatest value shown.
    pub to: f64,
    /// How values become distances.
    pub scale: Scale,
}

/// How values become distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// In proportion.
    Linear,
    /// Each power of ten as far as the next. Values must be positive.
    Log,
    /// As `Log`, but for one more than the value, so that zero has a place at the bottom.
    LogFromZero,
}

/// Things of one colour, with a name in the legend.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// How it looks.
    pub look: Look,
    /// What is drawn.
    pub mark: Mark,
}

/// What is drawn, in the units of the axes.
#[derive(Clone, Debug)]
pub enum Mark {
    /// Straight from point to point, with a dot on each.
    Dots(Vec<(f64, f64)>),
    /// Each value holds until the next point.
    Steps(Vec<(f64, f64)>),
    /// Bars from zero, each so wide and beginning at its point.
    Bars(f64, Vec<(f64, f64)>),
    /// Rectangles: left, right, bottom, top.
    Blocks(Vec<[f64; 4]>),
}

/// Colours that people with colour-blindness tell apart (Okabe and Ito), each with its own dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Blue, solid.
    Blue,
    /// Vermilion, solid and thin.
    Vermilion,
    /// Green, dashed.
    Green,
    /// Purple, dotted.
    Purple,
    /// Orange, in long dashes.
    Orange,
    /// Black, dash and dot.
    Black,
    /// Pale grey, for what lies behind.
    Grey,
}

impl Look {
    fn colour(self) -> &'static str {
        match self {
            Self::Blue => "#0072b2",
            Self::Vermilion => "#d55e00",
            Self::Green => "#009e73",
            Self::Purple => "#b8578f",
            Self::Orange => "#e69f00",
            Self::Black => "#000000",
            Self::Grey => "#cfd4da",
        }
    }

    fn dashes(self) -> &'static str {
        match self {
            Self::Blue | Self::Vermilion | Self::Grey => "none",
            Self::Green => "7 3",
            Self::Purple => "2 3",
            Self::Orange => "12 4",
            Self::Black => "9 3 2 3",
        }
    }

    fn width(self) -> f64 {
        if self == Self::Vermilion { 1.2 } else { 2.2 }
    }
}

impl Axis {
    /// Where a value lies, as a share of the axis. What is beyond an end is put there.
    fn share(&self, value: f64) -> f64 {
        let measure = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(f64::MIN_POSITIVE).log10(),
            Scale::LogFromZero => (1.0 + value).log10(),
        };
        let (from, to) = (measure(self.from), measure(self.to));
        ((measure(value) - from) / (to - from)).clamp(0.0, 1.0)
    }

    /// Values that get a line and a figure.
    fn ticks(&self) -> Vec<f64> {
        let powers = (-3..9).map(|power| 10_f64.powi(power));
        let within = |value: &f64| (self.from..=self.to).contains(value);
        match self.scale {
            Scale::Log => powers.filter(within).collect(),
            Scale::LogFromZero => [0.0]
                .into_iter()
                .chain(powers.filter(|value| *value >= 1.0))
                .filter(within)
                .collect(),
            Scale::Linear => {
                let step = step(self.to - self.from);
                let first = (self.from / step).ceil() as i64;
                (first..).map(|n| n as f64 * step).take_while(|it| *it <= self.to + 1e-9).collect()
            }
        }
    }
}

/// A round distance of which five to ten make the whole.
fn step(range: f64) -> f64 {
    let power = 10_f64.powf((range / 5.0).log10().floor());
    let rounds = [5.0, 2.0, 1.0].map(|round| round * power);
    rounds.into_iter().find(|step| range / step >= 5.0).unwrap_or(power)
}

impl Plot {
    /// Writes it to a file, whose folder is made if there is none.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn save(&self, file: &Path) -> Result<()> {
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| fs::write(file, self.to_string()))
            .with_context(|| file.display().to_string())
    }
}

impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let panels: f64 = self.panels.iter().map(|panel| HEAD + panel.height).sum();
        let gaps = GAP * self.panels.len().saturating_sub(1) as f64;
        let height = TOP + panels + gaps + BOTTOM;
        writeln!(
            f,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" {FONT} font-size="12" fill="{INK}">"#
        )?;
        writeln!(f, "<title>{}</title>", escaped(&self.title))?;
        writeln!(f, r#"<rect width="{WIDTH}" height="{height}" fill="white"/>"#)?;
        text(f, (LEFT, 28.0), r#"font-size="18" font-weight="bold""#, &self.title)?;
        text(f, (LEFT, 50.0), &format!(r#"fill="{PALE}""#), &self.subtitle)?;

        let mut top = TOP;
        for panel in &self.panels {
            panel.draw(f, &self.x, top + HEAD)?;
            top += HEAD + panel.height + GAP;
        }
        let bottom = height - BOTTOM;
        for tick in self.x.ticks() {
            let place = (across(&self.x, tick), bottom + 18.0);
            text(f, place, r#"text-anchor="middle""#, &figure(tick))?;
        }
        let middle = (f64::midpoint(LEFT, WIDTH - RIGHT), bottom + 38.0);
        text(f, middle, r#"text-anchor="middle""#, &self.x.label)?;
        writeln!(f, "</svg>")
    }
}

impl Panel {
    fn draw(&self, f: &mut fmt::Formatter<'_>, x: &Axis, top: f64) -> fmt::Result {
        let bottom = top + self.height;
        let up = |value: f64| bottom - self.y.share(value) * self.height;
        text(f, (LEFT, top - 28.0), r#"font-weight="bold""#, &self.name)?;
        for tick in x.ticks() {
            line(f, (across(x, tick), top), (across(x, tick), bottom), GRID)?;
        }
        for tick in self.y.ticks() {
            line(f, (LEFT, up(tick)), (WIDTH - RIGHT, up(tick)), GRID)?;
            let place = (LEFT - 8.0, up(tick) + 4.0);
            text(f, place, r#"text-anchor="end""#, &figure(tick))?;
        }
        let middle = f64::midpoint(top, bottom);
        let turned = format!(r#"text-anchor="middle" transform="rotate(-90 20 {middle:.1})""#);
        text(f, (20.0, middle), &turned, &self.y.label)?;
        for series in &self.series {
            series.draw(f, |value| across(x, value), up)?;
        }
        line(f, (LEFT, top), (LEFT, bottom), INK)?;
        line(f, (LEFT, bottom), (WIDTH - RIGHT, bottom), INK)?;
        self.legend(f, top - 12.0)
    }

    fn legend(&self, f: &mut fmt::Formatter<'_>, y: f64) -> fmt::Result {
        let mut left = LEFT;
        for series in &self.series {
            let (colour, dashes) = (series.look.colour(), series.look.dashes());
            match series.mark {
                Mark::Bars(..) | Mark::Blocks(_) => writeln!(
                    f,
                    r#"<rect x="{left:.1}" y="{:.1}" width="26" height="10" fill="{colour}"/>"#,
                    y - 9.0
                )?,
                Mark::Dots(_) | Mark::Steps(_) => writeln!(
                    f,
                    r#"<path d="M{left:.1} {at:.1}h26" stroke="{colour}" stroke-width="{}" stroke-dasharray="{dashes}" fill="none"/>"#,
                    series.look.width(),
                    at = y - 4.0,
                )?,
            }
            text(f, (left + 32.0, y), "", &series.name)?;
            // Wide enough for any usual font: nothing here can measure text.
            left += 32.0 + 6.6 * series.name.chars().count() as f64 + 20.0;
        }
        Ok(())
    }
}

impl Series {
    /// Whether there is nothing to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.mark {
            Mark::Dots(points) | Mark::Steps(points) | Mark::Bars(_, points) => points.is_empty(),
            Mark::Blocks(blocks) => blocks.is_empty(),
        }
    }

    fn draw(
        &self,
        f: &mut fmt::Formatter<'_>,
        across: impl Fn(f64) -> f64,
        up: impl Fn(f64) -> f64,
    ) -> fmt::Result {
        let colour = self.look.colour();
        let rectangle = |f: &mut fmt::Formatter<'_>, [left, right, bottom, top]: [f64; 4]| {
            let (x, y) = (across(left), up(top));
            let (width, height) = (across(right) - x, up(bottom) - y);
            writeln!(
                f,
                r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
            )
        };
        match &self.mark {
            Mark::Blocks(blocks) => blocks.iter().try_for_each(|block| rectangle(f, *block)),
            Mark::Bars(width, points) => points
                .iter()
                .filter(|(_, value)| *value > 0.0)
                .try_for_each(|(x, value)| rectangle(f, [*x, x + width, 0.0, *value])),
            Mark::Dots(points) => {
                let mut path = String::new();
                for (x, y) in points {
                    let verb = if path.is_empty() { 'M' } else { 'L' };
                    write!(path, "{verb}{:.1} {:.1}", across(*x), up(*y))?;
                }
                self.stroke(f, &path)?;
                points.iter().try_for_each(|(x, y)| {
                    let (x, y) = (across(*x), up(*y));
                    writeln!(f, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#)
                })
            }
            Mark::Steps(points) => {
                let mut path = String::new();
                for (x, y) in points {
                    let (x, y) = (across(*x), up(*y));
                    match path.is_empty() {
                        true => write!(path, "M{x:.1} {y:.1}")?,
                        false => write!(path, "H{x:.1}V{y:.1}")?,
                    }
                }
                self.stroke(f, &path)
            }
        }
    }

    fn stroke(&self, f: &mut fmt::Formatter<'_>, path: &str) -> fmt::Result {
        let (colour, dashes, width) = (self.look.colour(), self.look.dashes(), self.look.width());
        writeln!(
            f,
            r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dashes}" stroke-linejoin="round"/>"#
        )
    }
}

fn across(x: &Axis, value: f64) -> f64 {
    LEFT + x.share(value) * (WIDTH - LEFT - RIGHT)
}

fn line(
    f: &mut fmt::Formatter<'_>,
    (x1, y1): (f64, f64),
    (x2, y2): (f64, f64),
    colour: &str,
) -> fmt::Result {
    writeln!(f, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#)
}

fn text(
    f: &mut fmt::Formatter<'_>,
    (x, y): (f64, f64),
    attributes: &str,
    words: &str,
) -> fmt::Result {
    writeln!(f, r#"<text x="{x:.1}" y="{y:.1}" {attributes}>{}</text>"#, escaped(words))
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A figure with its thousands apart.
#[must_use]
pub fn figure(value: f64) -> String {
    if value.fract() != 0.0 {
        // Sums of steps carry an error in their last digits.
        return format!("{}", (value * 1e6).round() / 1e6);
    }
    let digits = format!("{value:.0}");
    let mut apart = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(from: f64, to: f64, scale: Scale) -> Axis {
        Axis { label: "seconds".to_owned(), from, to, scale }
    }

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!(
            axis(0.0, 45.0, Scale::Linear).ticks(),
            [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0]
        );
        assert_eq!(axis(0.0, 1.0, Scale::Linear).ticks().len(), 6);
        assert_eq!(axis(10.0, 5000.0, Scale::Log).ticks(), [10.0, 100.0, 1000.0]);
        assert_eq!(axis(0.0, 120.0, Scale::LogFromZero).ticks(), [0.0, 1.0, 10.0, 100.0]);
    }

    #[test]
    fn a_value_has_its_place_on_the_axis() {
        assert_eq!(axis(0.0, 40.0, Scale::Linear).share(10.0), 0.25);
        assert_eq!(axis(1.0, 100.0, Scale::Log).share(10.0), 0.5);
        assert_eq!(axis(0.0, 99.0, Scale::LogFromZero).share(0.0), 0.0);
        assert_eq!(axis(0.0, 99.0, Scale::LogFromZero).share(9.0), 0.5);
        assert_eq!(axis(0.0, 40.0, Scale::Linear).share(50.0), 1.0);
    }

    #[test]
    fn a_plot_names_what_it_shows() {
        let plot = Plot {
            title: "In use & free".to_owned(),
            subtitle: "limit 40".to_owned(),
            x: axis(0.0, 10.0, Scale::Linear),
            panels: vec![Panel {
                name: "permits".to_owned(),
                y: axis(0.0, 40.0, Scale::Linear),
                height: 100.0,
                series: vec![Series {
                    name: "in use".to_owned(),
                    look: Look::Blue,
                    mark: Mark::Steps(vec![(0.0, 0.0), (5.0, 40.0)]),
                }],
            }],
        };

        let svg = plot.to_string();

        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(svg.contains("In use &amp; free") && svg.contains(">in use<"), "{svg}");
        // From the lower left corner along the bottom to the middle, and up to the top.
        assert!(svg.contains(r#"d="M74.0 214.0H499.0V114.0""#), "{svg}");
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(figure(100_000.0), "100,000");
        assert_eq!(figure(40.0), "40");
        assert_eq!(figure(0.30000000000000004), "0.3");
    }
}
