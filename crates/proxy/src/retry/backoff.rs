//! How long to wait before a call is tried again.

use tokio::time::Duration;

use super::End;

/// Returns a wait for the repetition number `nth`, from 1: anything from nothing to a bound that doubles each time
/// (full jitter, as Zuora's error handling guide advises). Calls that met one another are then unlikely to meet again.
///
/// A refusal waits for the moment that Zuora named instead, and another token needs no wait.
pub(crate) fn backoff(end: End, nth: u32) -> Duration {
    let (first, longest) = match end {
        End::Refused | End::Unauthenticated => return Duration::ZERO,
        // A connection that had closed while it lay idle: another one does.
        End::NotSent if nth == 1 => return Duration::ZERO,
        End::NotSent | End::Ambiguous => (Duration::from_millis(100), Duration::from_secs(5)),
        End::Contended => (Duration::from_millis(200), Duration::from_secs(10)),
        End::InProgress | End::Temporary => (Duration::from_millis(500), Duration::from_secs(8)),
    };
    let bound = first.saturating_mul(1 << nth.saturating_sub(1).min(16)).min(longest);
    bound.mul_f64(rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(end: End, nth: u32, bound: Duration) {
        let waits: Vec<_> = (0..1000).map(|_| backoff(end, nth)).collect();
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*most <= bound, "{most:?}");
        assert!(*most >= bound.mul_f64(0.9) && *least <= bound.mul_f64(0.1), "not full jitter");
    }

    #[test]
    fn waits_are_anything_up_to_a_bound_that_doubles() {
        check(End::Contended, 1, Duration::from_millis(200));
        check(End::Contended, 2, Duration::from_millis(400));
        check(End::Ambiguous, 4, Duration::from_millis(800));
        check(End::InProgress, 3, Duration::from_secs(2));
    }

    #[test]
    fn no_bound_grows_for_ever() {
        check(End::Contended, 100, Duration::from_secs(10));
        check(End::Ambiguous, u32::MAX, Duration::from_secs(5));
    }

    #[test]
    fn a_connection_that_had_closed_is_replaced_at_once() {
        check(End::NotSent, 1, Duration::ZERO);
        check(End::NotSent, 2, Duration::from_millis(200));
    }
}
