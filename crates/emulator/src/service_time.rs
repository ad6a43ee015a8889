//! How long the tenant works on a call.

use std::{fmt, str::FromStr, time::Duration};

use rand::{Rng, RngExt, rngs::StdRng};

/// Zuora itself gives up after two minutes, so no draw is longer.
const LONGEST: Duration = Duration::from_secs(120);

/// The standard normal deviate that 99 % of draws stay below.
const NORMAL_P99: f64 = 2.326_347_874;

/// The distribution that service times are drawn from.
///
/// Written `50ms`, `uniform:20ms:80ms` or `lognormal:40ms:400ms` (median and
/// 99th percentile); `Display` writes the same form. A draw is never longer
/// than 120 s, which is where Zuora's own timeout lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ServiceTime {
    /// Every call takes exactly this long; zero answers at once.
    Constant(Duration),
    /// Evenly spread between two bounds.
    Uniform {
        /// The shortest service time.
        shortest: Duration,
        /// The longest service time.
        longest: Duration,
    },
    /// Many short calls and a long tail, as real tenants have it.
    LogNormal {
        /// Half of the calls take less.
        median: Duration,
        /// One call in a hundred takes more.
        p99: Duration,
    },
}

/// Why a text is not a service time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no service time: write `50ms`, `uniform:20ms:80ms` or `lognormal:40ms:400ms`")]
pub struct ServiceTimeError {
    text: String,
}

impl ServiceTime {
    /// No service time at all: for measuring what stands before the tenant.
    pub const ZERO: Self = Self::Constant(Duration::ZERO);

    /// Draws one service time.
    pub(crate) fn draw(&self, random: &mut StdRng) -> Duration {
        let drawn = match *self {
            Self::Constant(time) => time,
            Self::Uniform { shortest, longest } => {
                let spread = longest.saturating_sub(shortest);
                shortest + spread.mul_f64(random.random::<f64>())
            }
            Self::LogNormal { median, p99 } => {
                let sigma = (p99.as_secs_f64() / median.as_secs_f64()).ln() / NORMAL_P99;
                let seconds = median.as_secs_f64() * (sigma * standard_normal(random)).exp();
                Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64()))
            }
        };
        drawn.min(LONGEST)
    }

    /// The mean of the distribution, before the bound of 120 s.
    #[must_use]
    pub fn mean(&self) -> Duration {
        match *self {
            Self::Constant(time) => time,
            Self::Uniform { shortest, longest } => (shortest + longest) / 2,
            Self::LogNormal { median, p99 } => {
                let sigma = (p99.as_secs_f64() / median.as_secs_f64()).ln() / NORMAL_P99;
                median.mul_f64((sigma * sigma / 2.0).exp())
            }
        }
    }
}

impl FromStr for ServiceTime {
    type Err = ServiceTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ServiceTimeError { text: text.to_owned() };
        let parts: Vec<&str> = text.split(':').map(str::trim).collect();
        match parts.as_slice() {
            [time] => duration(time).map(Self::Constant).ok_or_else(wrong),
            ["uniform", low, high] => match (duration(low), duration(high)) {
                (Some(shortest), Some(longest)) if shortest <= longest => {
                    Ok(Self::Uniform { shortest, longest })
                }
                _ => Err(wrong()),
            },
            ["lognormal", middle, high] => match (duration(middle), duration(high)) {
                (Some(median), Some(p99)) if !median.is_zero() && median <= p99 => {
                    Ok(Self::LogNormal { median, p99 })
                }
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for ServiceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(time) => write!(f, "{time:?}"),
            Self::Uniform { shortest, longest } => write!(f, "uniform:{shortest:?}:{longest:?}"),
            Self::LogNormal { median, p99 } => write!(f, "lognormal:{median:?}:{p99:?}"),
        }
    }
}

/// Reads `1.5s`, `50ms`, `200us` or `0`; nothing longer than 120 s.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit.trim() {
        "s" => number,
        "ms" => number / 1e3,
        "us" | "µs" => number / 1e6,
        "ns" => number / 1e9,
        _ => return None,
    };
    (0.0..=LONGEST.as_secs_f64()).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// One draw by the Box-Muller method.
fn standard_normal(random: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: ServiceTime) {
        let read: ServiceTime = text.parse().unwrap();

        assert_eq!(read, expected);
        assert_eq!(read.to_string().parse::<ServiceTime>().unwrap(), expected);
    }

    #[test]
    fn a_service_time_is_written_as_it_is_read() {
        let ms = Duration::from_millis;
        check("0", ServiceTime::ZERO);
        check("50ms", ServiceTime::Constant(ms(50)));
        check("1.5s", ServiceTime::Constant(ms(1500)));
        check("uniform:20ms:80ms", ServiceTime::Uniform { shortest: ms(20), longest: ms(80) });
        check("lognormal:40ms:400ms", ServiceTime::LogNormal { median: ms(40), p99: ms(400) });
    }

    #[test]
    fn what_is_no_service_time_is_refused() {
        for text in ["", "50", "-1s", "3h", "121s", "lognormal:0:1s", "lognormal:2s:1s", "gamma:1s"]
        {
            assert!(text.parse::<ServiceTime>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_log_normal_keeps_its_median_and_its_tail() {
        let time: ServiceTime = "lognormal:40ms:400ms".parse().unwrap();
        let mut random = StdRng::seed_from_u64(7);

        let mut draws: Vec<Duration> = (0..20_000).map(|_| time.draw(&mut random)).collect();
        draws.sort();

        let median = draws[10_000].as_secs_f64();
        let p99 = draws[19_800].as_secs_f64();
        assert!((0.038..0.042).contains(&median), "{median}");
        assert!((0.35..0.46).contains(&p99), "{p99}");
    }
}
