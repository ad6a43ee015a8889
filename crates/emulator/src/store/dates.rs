//! Dates as Zuora writes them.

use std::time::{SystemTime, UNIX_EPOCH};

/// The moment, as `2026-01-31T12:00:00Z`.
pub(crate) fn now() -> String {
    format!("{}Z", moment(since_epoch()))
}

/// A moment so many seconds after 1970 began, as `2026-01-31T12:00:00`.
pub(crate) fn moment(seconds: u64) -> String {
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}", date(seconds / 86_400))
}

/// The day, as `2026-01-31`.
pub(crate) fn today() -> String {
    date(since_epoch() / 86_400)
}

/// The day a year from now.
pub(crate) fn in_a_year() -> String {
    date(since_epoch() / 86_400 + 365)
}

fn since_epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The civil date of a day counted from 1970, by the well-known way over eras
/// of 400 years that begin in March.
fn date(days: u64) -> String {
    let days = days + 719_468;
    let era_day = days % 146_097;
    let year_of_era = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * year_day + 2) / 153;
    let day = year_day - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = days / 146_097 * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The days from 1970 to a civil date: `date` the other way round.
pub(crate) fn days(year: u64, month: u64, day: u64) -> u64 {
    let shifted_year = if month > 2 { year } else { year - 1 };
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let year_day = (153 * shifted_month + 2) / 5 + day - 1;
    let leap_days = shifted_year / 4 - shifted_year / 100 + shifted_year / 400;
    (shifted_year * 365 + leap_days + year_day).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_civil_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(20_454), "2026-01-01");
        assert_eq!((days(1970, 1, 1), days(2000, 2, 29), days(2026, 1, 1)), (0, 11_016, 20_454));
    }
}
