//! What day it is: the wall clock once, and from then on the clock that tests can stop.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::store::dates;

#[derive(Debug)]
pub(super) struct Calendar {
    began: Instant,
    at_epoch: Duration,
}

impl Calendar {
    pub(super) fn new() -> Self {
        let at_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), at_epoch }
    }

    /// The time since 1970.
    pub(super) fn now(&self) -> Duration {
        self.at_epoch + self.began.elapsed()
    }
}

/// As `2021-10-03T10:33:12Z`.
pub(super) fn text(moment: Duration) -> String {
    format!("{}Z", dates::moment(moment.as_secs()))
}

/// As `2021-10-03T10:33:12.310Z`.
pub(super) fn exact_text(moment: Duration) -> String {
    format!("{}.{:03}Z", dates::moment(moment.as_secs()), moment.subsec_millis())
}

/// Reads `2021-10-03T10:33:12`, with or without a fraction and `Z`, as a time in UTC; `None`: it is
/// something else.
pub(super) fn read(text: &str) -> Option<Duration> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let (date, time) = whole.split_once('T')?;
    let numbers = |text: &str, separator| -> Option<Vec<u64>> {
        text.split(separator).map(|part| part.parse().ok()).collect()
    };
    let (date, time) = (numbers(date, '-')?, numbers(time, ':')?);
    let (&[year, month, day], &[hour, minute, second]) = (date.as_slice(), time.as_slice()) else {
        return None;
    };
    let known = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    if !known {
        return None;
    }
    let days = dates::days(year, month, day);
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    let seconds = Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second);
    Some(seconds + Duration::from_secs_f64(fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        let moment = Duration::from_millis(1_633_257_192_310);

        assert_eq!(text(moment), "2021-10-03T10:33:12Z");
        assert_eq!(exact_text(moment), "2021-10-03T10:33:12.310Z");
        assert_eq!(read("2021-10-03T10:33:12").map(|read| read.as_secs()), Some(1_633_257_192));
        assert_eq!(read("2021-10-03T10:33:12.31Z"), Some(moment));
        assert_eq!(read("2000-02-29T00:00:00Z"), Some(Duration::from_secs(951_782_400)));
        for wrong in ["2021-10-03", "2021-13-03T10:33:12", "yesterday", "2021-10-03T10:33:12+01:00"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_calendar_goes_with_the_clock_of_tests() {
        let calendar = Calendar::new();
        let before = calendar.now();

        tokio::time::advance(Duration::from_secs(86_400)).await;

        assert_eq!(calendar.now() - before, Duration::from_secs(86_400));
    }
}
