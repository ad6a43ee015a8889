//! When to ask for a token: pure functions of a life, a failure count and a throw of dice.
//!
//! Zuora allows 100 logins a minute for each IP address (Zuora: rate limits guide), for
//! everybody behind it. These rules stay below 31 a minute in the worst case, which is a
//! token endpoint that fails every other time and grants tokens that live a second.

use std::time::Duration;

use super::{FetchError, Renewal, Which};

/// A token that expires under way is as bad as none: so long before its end it is not used.
const SAFETY: Duration = Duration::from_secs(5);
/// A life from which on a token is replaced at least [`AHEAD`] before its end.
const LONG_LIFE: Duration = Duration::from_secs(300);
/// Time for several tries before a long-lived token expires.
const AHEAD: Duration = Duration::from_secs(60);
/// Zuora's sessions last fifteen minutes at least, and are to be followed by others every ten
/// (Zuora: SOAP API, sessions).
const SESSION: Duration = Duration::from_secs(600);
/// The least time from one login to the next where every attempt goes with its own.
const EVERY_CALL: Duration = Duration::from_secs(1);
/// The least time from a good answer to the next request, however short tokens live.
const SHORTEST_REST: Duration = Duration::from_secs(2);
/// The pauses after failures: doubled from the first, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Nobody is believed who asks for a longer pause than this.
const LONGEST_REQUESTED_PAUSE: Duration = Duration::from_secs(300);
/// Share of a pause that is added at random, so that replicas do not ask in step.
const PAUSE_JITTER: f64 = 0.25;

/// Returns how long after it was asked for a token may be used.
pub(super) fn usable(life: Duration) -> Duration {
    life - SAFETY.min(life / 10)
}

/// Returns how long after it was asked for what was granted is replaced; `None` where that is not
/// a matter of time. One of the previous credentials is, always: those of today may be right by then.
/// `dice` is between 0 and 1.
pub(super) fn refresh(
    life: Option<Duration>,
    renewal: Renewal,
    which: Which,
    dice: f64,
) -> Option<Duration> {
    match (life, renewal, which) {
        (Some(life), ..) => Some(ahead(life, dice)),
        // Each login begins with those of today.
        (None, Renewal::EveryCall, _) => None,
        (None, Renewal::Ahead, _) | (None, _, Which::Previous) => Some(SESSION),
        (None, Renewal::OnError | Renewal::Never, Which::Current) => None,
    }
}

/// Returns when a token with this life is replaced, at 80 to 90 % of it.
fn ahead(life: Duration, dice: f64) -> Duration {
    let at = life.mul_f64(0.8 + 0.1 * dice);
    if life < LONG_LIFE { at } else { at.min(life - AHEAD) }
}

/// Returns how long to rest after a login at least, where every attempt goes with its own.
pub(super) fn every_call() -> Duration {
    EVERY_CALL
}

/// Returns how long to rest after a good answer at least.
pub(super) fn rest() -> Duration {
    SHORTEST_REST
}

/// Returns the pause after `failures` failures in a row, the last of which was `error`.
/// `dice` is between 0 and 1. Jitter is added last, so it never shortens what was asked for.
pub(super) fn pause(failures: u32, error: FetchError, dice: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
    let ours = doubled.min(LONGEST_PAUSE);
    let theirs = match error {
        FetchError::RateLimited { retry_after } => retry_after.unwrap_or(LONGEST_PAUSE),
        FetchError::Unreachable
        | FetchError::Status { .. }
        | FetchError::Refused
        | FetchError::Malformed => Duration::ZERO,
    };
    ours.max(theirs.min(LONGEST_REQUESTED_PAUSE)).mul_f64(1.0 + PAUSE_JITTER * dice)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_token_is_replaced_ahead_of_its_end_and_never_used_up_to_it() {
        for life in [1, 2, 10, 60, 299, 300, 400, 600, 3598, 86_400].map(Duration::from_secs) {
            for dice in [0.0, 0.3, 0.999_999] {
                let refresh = ahead(life, dice);
                assert!(refresh <= life.mul_f64(0.9), "{life:?} {refresh:?}");
                assert!(refresh <= usable(life), "{life:?} {refresh:?}");
                assert!(refresh >= life.mul_f64(0.799), "{life:?} {refresh:?}");
                assert!(life < 300 * S || refresh <= life - 60 * S, "{life:?} {refresh:?}");
            }
            assert!(usable(life) < life);
        }
        assert_eq!(usable(3598 * S), 3593 * S);
    }

    #[test]
    fn a_session_is_replaced_by_the_clock_only_where_that_is_asked_for() {
        let at = |renewal, which| refresh(None, renewal, which, 0.5);

        assert_eq!(at(Renewal::Ahead, Which::Current), Some(600 * S));
        assert_eq!(at(Renewal::OnError, Which::Current), None);
        assert_eq!(at(Renewal::OnError, Which::Previous), Some(600 * S));
        assert_eq!(at(Renewal::EveryCall, Which::Previous), None);
        assert_eq!(refresh(Some(100 * S), Renewal::Ahead, Which::Current, 0.5), Some(85 * S));
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let pauses = [1, 2, 3, 4, 5, 6, 7, 40].map(|n| pause(n, FetchError::Unreachable, 0.0));

        assert_eq!(pauses.map(|it| it.as_secs()), [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn jitter_is_only_ever_added() {
        for failures in 1..10 {
            let least = pause(failures, FetchError::Refused, 0.0);
            let most = pause(failures, FetchError::Refused, 0.999_999);
            assert!(least < most && most <= least.mul_f64(1.25), "{least:?} {most:?}");
        }
    }

    #[test]
    fn what_zuora_asks_for_is_waited_out_within_reason() {
        let asked = |seconds| FetchError::RateLimited { retry_after: Some(seconds * S) };

        assert_eq!(pause(1, asked(47), 0.0), 47 * S);
        assert_eq!(pause(6, asked(3), 0.0), 30 * S);
        assert_eq!(pause(1, asked(86_400), 0.0), 300 * S);
        assert_eq!(pause(1, FetchError::RateLimited { retry_after: None }, 0.0), 30 * S);
    }
}
