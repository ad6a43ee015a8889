//! Never a write twice, and none told as undone that was done: for every family of operations, whatever happens to the
//! wire. The tenant's ledger is the judge.
//!
//! `make test` plays a sample of the cases, `make sweep` all of them. One that went wrong is played alone with what was
//! printed about it: `SWEEP_ONLY='account | Pooled | Request { after: 7, how: Reset }' make sweep`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests are not recognised as tests, and a sweep says how many cases it had"
)]

mod cases;
mod family;
mod judge;
mod sockets;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::time::Instant;

use crate::cases::Measured;
use crate::family::Family;
use crate::judge::judge;
use crate::stage::{Case, Received, play, report};

/// How many cases that went wrong are shown in full.
const SHOWN: usize = 12;

/// What a family comes to when nothing goes wrong.
struct Clean {
    measured: Measured,
    /// The answer, if it is the same whenever it is given.
    answer: Option<Bytes>,
}

/// Plays a family with nothing going wrong.
fn measure(family: Family) -> Clean {
    let family = Arc::new(family);
    let case = Case::plain(&family);
    let outcome = play(&case);
    let measured = Measured::of(&case, &outcome);
    assert_eq!(outcome.ledger.executed.len(), 1, "{case}\n{}", report(&outcome));
    let Received::Whole { body, .. } = &outcome.received else { unreachable!("it is measured") };
    Clean { measured, answer: Some(body.clone()).filter(|_| family.is_write) }
}

/// Plays cases on every core, and fails with those that went wrong.
fn sweep(what: &str, choose: impl Fn(&Measured) -> Vec<Case>) {
    let (_, wrong) = count_wrong(what, choose);
    assert!(wrong.is_empty(), "{wrong}");
}

/// Plays cases on every core. Returns how many they were, and tells of those that went wrong.
fn count_wrong(what: &str, choose: impl Fn(&Measured) -> Vec<Case>) -> (usize, String) {
    #[expect(clippy::disallowed_methods, reason = "it is no setting of the gateway's")]
    let only = std::env::var("SWEEP_ONLY").ok();
    let mut all: Vec<(Case, Option<Bytes>)> = Vec::new();
    for family in family::all() {
        let clean = measure(family);
        let cases = std::iter::once(clean.measured.case(Vec::new()));
        let cases = cases.chain(choose(&clean.measured));
        let chosen = cases.filter(|case| {
            only.as_ref().is_none_or(|only| case.to_string().starts_with(only.as_str()))
        });
        all.extend(chosen.map(|case| (case, clean.answer.clone())));
    }

    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((case, answer)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = play(case);
                    let found = judge(case, answer.as_ref(), &outcome);
                    if !found.is_empty() {
                        let report = report(&outcome);
                        wrong.lock().unwrap().push((case.to_string(), found, report));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    eprintln!(
        "{what}: {} cases, {} went wrong, in {:.1}s",
        all.len(),
        wrong.len(),
        began.elapsed().as_secs_f64()
    );
    let mut kinds: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (case, found, _) in &wrong {
        for what in found {
            kinds.entry(kind(what)).or_insert_with(|| (0, case.clone())).0 += 1;
        }
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(what, (times, case))| format!("{times} x {what}\n      as {case}"))
        .collect();
    let shown: Vec<String> = wrong
        .iter()
        .take(SHOWN)
        .map(|(case, found, report)| format!("{case}\n  {}\n{report}", found.join("\n  ")))
        .collect();
    let told = match wrong.is_empty() {
        true => String::new(),
        false => format!("{}\n\n{}\n", shown.join("\n"), kinds.join("\n")),
    };
    (all.len(), told)
}

/// What went wrong, without its figures and keys.
fn kind(what: &str) -> String {
    let words = what.split(' ').filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ").chars().take(100).collect()
}

/// Every so-manieth, always beginning elsewhere.
fn sample(cases: Vec<Case>, one_in: usize) -> Vec<Case> {
    let offset: usize =
        cases.first().map_or(0, |case| case.family.name.bytes().map(usize::from).sum());
    cases.into_iter().skip(offset % one_in).step_by(one_in).collect()
}

#[test]
fn a_cut_wire_never_makes_a_write_happen_twice() {
    sweep("cuts, a sample", |measured| sample(measured.cuts(), 331));
}

#[test]
fn a_wire_cut_where_a_message_begins_or_ends_never_makes_a_write_happen_twice() {
    sweep("telling cuts, a sample", |measured| sample(measured.telling(), 9));
}

#[test]
fn one_mishap_never_makes_a_write_happen_twice() {
    sweep("mishaps, a sample", |measured| sample(measured.singles(), 13));
}

#[test]
fn a_refusal_is_never_taken_for_the_outcome_of_what_was_sent_before_it() {
    sweep("doubts, a sample", |measured| match measured.family.is_soon_over() {
        true => measured.doubts(),
        false => sample(measured.doubts(), 7),
    });
}

#[test]
fn two_mishaps_never_make_a_write_happen_twice() {
    sweep("pairs, a sample", |measured| sample(measured.pairs(), 1_501));
}

#[test]
fn a_storm_never_makes_a_write_happen_twice() {
    sweep("storms, a sample", |measured| measured.storms(5));
}

#[test]
#[ignore = "it takes minutes: `make sweep`"]
fn all_of_it() {
    let played = [
        count_wrong("cuts", Measured::cuts),
        count_wrong("mishaps", Measured::singles),
        count_wrong("doubts", Measured::doubts),
        count_wrong("pairs", Measured::pairs),
        count_wrong("storms", |measured| measured.storms(500)),
    ];
    let cases: usize = played.iter().map(|(cases, _)| cases).sum();
    eprintln!("{cases} cases in all");
    let wrong: String = played.into_iter().map(|(_, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{wrong}");
}
