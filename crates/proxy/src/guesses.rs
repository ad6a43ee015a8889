//! Slows down whoever guesses credentials: the answers to wrong ones come later and later, up to a bound.
//!
//! Only those answers. Whoever shows a right credential does not notice, also if it sits behind the same address as
//! somebody who guesses, as programs behind one proxy do.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant};

/// How many wrong credentials of one address are answered at once, after a quiet time: a program that was given a wrong
/// secret tries it a few times, and whoever operates it should not have to wait.
const BURST: u32 = 10;

/// The pace of those beyond.
const PACE: Duration = Duration::from_millis(200);

/// The longest that an answer is held back. Longer ones would only keep more connections open.
const LONGEST: Duration = Duration::from_secs(5);

/// How many addresses are told apart, of some hundred bytes each. Those beyond count as one.
const MOST_ADDRESSES: usize = 4096;

/// The wrong credentials of late, by where they came from.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    /// Until when each is through with those that it has sent, at [`PACE`].
    busy_until: Mutex<HashMap<Origin, Instant>>,
}

/// Who counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Origin {
    /// An IPv4 address, or the network of an IPv6 one (its first 64 bits): whoever has one address of it has all.
    Address(IpAddr),
    /// Callers whose address nobody knows.
    Nowhere,
    /// All for whom there is no more room.
    Crowd,
}

impl Guesses {
    /// Counts a wrong credential from `address`, and says how long its answer must be held back from `now` on.
    pub(crate) fn count(&self, address: Option<IpAddr>, now: Instant) -> Duration {
        let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        let mut origin = Origin::of(address);
        if !busy_until.contains_key(&origin) && busy_until.len() >= MOST_ADDRESSES {
            busy_until.retain(|_, until| *until > now);
            if busy_until.len() >= MOST_ADDRESSES {
                origin = Origin::Crowd;
            }
        }
        let free = PACE * BURST;
        let until = busy_until.entry(origin).or_insert(now);
        *until = ((*until).max(now) + PACE).min(now + free + LONGEST);
        until.saturating_duration_since(now + free)
    }
}

impl Origin {
    fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Nowhere,
            Some(IpAddr::V4(address)) => Self::Address(address.into()),
            Some(IpAddr::V6(address)) => {
                let network = address.to_bits() & (u128::MAX << 64);
                Self::Address(Ipv6Addr::from_bits(network).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// How long the answers to so many wrong credentials at the same moment are held back.
    fn at_once(guesses: &Guesses, from: &str, number: usize, now: Instant) -> Vec<Duration> {
        (0..number).map(|_| guesses.count(address(from), now)).collect()
    }

    #[test]
    fn the_first_wrong_credentials_are_answered_at_once_and_the_rest_at_a_pace() {
        let (guesses, now) = (Guesses::default(), Instant::now());

        let held = at_once(&guesses, "192.0.2.1", 13, now);

        assert_eq!(held[..10], [Duration::ZERO; 10]);
        assert_eq!(held[10..], [200, 400, 600].map(Duration::from_millis));
    }

    #[test]
    fn no_answer_is_held_back_for_longer_than_five_seconds() {
        let (guesses, now) = (Guesses::default(), Instant::now());

        let held = at_once(&guesses, "192.0.2.1", 1000, now);

        assert_eq!(held.iter().max(), Some(&Duration::from_secs(5)));
        let later = now + Duration::from_secs(7);
        assert_eq!(guesses.count(address("192.0.2.1"), later), Duration::ZERO);
    }

    #[test]
    fn nobody_waits_for_the_guesses_of_another_address() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        at_once(&guesses, "192.0.2.1", 50, now);
        at_once(&guesses, "2001:db8:1:2::1", 50, now);

        let held = |from| guesses.count(address(from), now);
        assert_eq!(held("192.0.2.2"), Duration::ZERO);
        assert_eq!(held("2001:db8:1:3::1"), Duration::ZERO);
        assert_eq!(guesses.count(None, now), Duration::ZERO);
        assert!(held("2001:db8:1:2:ffff::9") > Duration::ZERO, "one network is one caller");
        assert!(held("::ffff:192.0.2.1") > Duration::ZERO, "another spelling of the same");
    }

    #[test]
    fn memory_is_bounded_and_the_crowd_beyond_counts_as_one() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let from = |number: u32| Some(IpAddr::from(number.to_be_bytes()));
        let all = 3 * u32::try_from(MOST_ADDRESSES).unwrap();

        let held: Vec<_> = (0..all).map(|number| guesses.count(from(number), now)).collect();

        let kept = guesses.busy_until.lock().unwrap().len();
        assert!(kept <= MOST_ADDRESSES + 1, "{kept}");
        assert_eq!(held.last(), Some(&LONGEST));
        let later = now + Duration::from_secs(60);
        assert_eq!(
            guesses.count(from(all), later),
            Duration::ZERO,
            "once they are gone, there is room"
        );
        assert_eq!(guesses.busy_until.lock().unwrap().len(), 1);
    }
}
