//! Rate windows: so many calls per minute, hour and day.

use std::sync::Mutex;

use tokio::time::Instant;

use crate::{locks::lock, options::RateWindow};

/// The windows of the API class. Fixed windows, counted from the start.
#[derive(Debug)]
pub(crate) struct Rate {
    born: Instant,
    windows: Mutex<Vec<Window>>,
    /// `limit;w=seconds` of every window, for the header.
    described: String,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    rule: RateWindow,
    number: u64,
    used: u64,
}

/// What the `ratelimit-*` headers of one answer say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RateShown {
    pub(crate) limit: String,
    pub(crate) remaining: u64,
    /// Seconds until the window is new.
    pub(crate) reset: u64,
    /// How the message names the window.
    pub(crate) name: &'static str,
}

/// Whether a call is within the rate, and what its headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Within(RateShown),
    Over(RateShown),
}

impl Rate {
    /// `None` when there are no windows: no limit, and no headers either.
    pub(crate) fn new(rules: &[RateWindow]) -> Option<Self> {
        let windows: Vec<Window> = rules
            .iter()
            .map(|rule| RateWindow { limit: rule.limit, seconds: rule.seconds.max(1) })
            .map(|rule| Window { rule, number: 0, used: 0 })
            .collect();
        let described: Vec<String> =
            windows.iter().map(|w| format!("{};w={}", w.rule.limit, w.rule.seconds)).collect();
        (!windows.is_empty()).then(|| Self {
            born: Instant::now(),
            windows: Mutex::new(windows),
            described: described.join(", "),
        })
    }

    /// Counts one call. Refused calls count too (Zuora: rate limits guide).
    pub(crate) fn count(&self) -> Counted {
        let elapsed = self.born.elapsed().as_secs();
        let mut windows = lock(&self.windows);
        let mut over = None;
        for window in windows.iter_mut() {
            let number = elapsed / window.rule.seconds;
            if window.number != number {
                window.number = number;
                window.used = 0;
            }
            window.used += 1;
            if window.used > window.rule.limit {
                over = Some(*window);
            }
        }
        // The window that is nearest to its end is the one told of.
        let nearest = windows.iter().min_by(|a, b| a.share_left().total_cmp(&b.share_left()));
        match (over, nearest) {
            (Some(window), _) => Counted::Over(self.show(&window, elapsed)),
            (None, Some(window)) => Counted::Within(self.show(window, elapsed)),
            (None, None) => unreachable!("there is at least one window"),
        }
    }

    fn show(&self, window: &Window, elapsed: u64) -> RateShown {
        RateShown {
            limit: format!("{}, {}", window.rule.limit, self.described),
            remaining: window.left(),
            reset: (window.number + 1) * window.rule.seconds - elapsed,
            name: match window.rule.seconds {
                86_400.. => "day",
                3_600.. => "hour",
                _ => "minute",
            },
        }
    }
}

impl Window {
    fn left(&self) -> u64 {
        self.rule.limit.saturating_sub(self.used)
    }

    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    fn share_left(&self) -> f64 {
        self.left() as f64 / self.rule.limit.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refused_calls_count_and_a_new_window_starts_afresh() {
        let minute = RateWindow { limit: 2, seconds: 60 };
        let day = RateWindow { limit: 5, seconds: 86_400 };
        let rate = Rate::new(&[minute, day]).unwrap();

        let Counted::Within(first) = rate.count() else { panic!("the first is within") };
        assert_eq!((first.remaining, first.reset), (1, 60));
        assert_eq!(first.limit, "2, 2;w=60, 5;w=86400");
        assert!(matches!(rate.count(), Counted::Within(_)));
        tokio::time::advance(Duration::from_secs(20)).await;
        let Counted::Over(third) = rate.count() else { panic!("the third is over") };
        assert_eq!((third.remaining, third.reset, third.name), (0, 40, "minute"));

        // The refused third counted against the day: two more, not three.
        tokio::time::advance(Duration::from_secs(40)).await;
        assert!(matches!(rate.count(), Counted::Within(_)));
        assert!(matches!(rate.count(), Counted::Within(_)));
        tokio::time::advance(Duration::from_secs(60)).await;
        let Counted::Over(sixth) = rate.count() else { panic!("the sixth is over") };
        assert_eq!(sixth.name, "day");
    }
}
