//! Settings that change at random while calls come, wait, go, are refused and leave.
//!
//! Seeded lives on a [`stage`](super::stage), judged from outside by somebody who only knows the settings
//! and counts. `SIM_SEED=49 cargo test -p admission reconfigurations` replays one life.

mod books;
mod life;

use super::stage::sweep;
use super::*;

/// Seeds of the lives that every run of the tests goes through.
const LIVES: u64 = 64;

#[test]
fn whatever_is_changed_nothing_is_lost_or_gained() {
    let lives = sweep(LIVES, life::live);
    if lives.len() > 1 {
        let all = lives.into_iter().reduce(life::Seen::and).unwrap();
        assert!(all.reconfigurations > 2000, "too few changes: {all:?}");
        let life::Seen { waited, refused, left, full, removed, windows, .. } = all;
        let life::Seen { unreached, openings, probes, .. } = all;
        let down = [unreached, openings, probes].into_iter().min();
        assert!(down > Some(100), "nothing was down: {all:?}");
        let rarest = [waited, refused, left, full, removed, windows].into_iter().min();
        assert!(rarest > Some(300), "too quiet: {all:?}");
    }
}
