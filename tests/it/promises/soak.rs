//! The books agree at every instant, whoever leaves and whatever fails.
//!
//! For longer: `cargo run --release -p benches --bin soak -- --minutes 10`.

use std::time::Duration;

use testkit::soak::{Course, Soak, Stage, Wire};

#[test]
fn permits_given_permits_alive_and_legs_agree_at_every_instant_and_return_to_zero() {
    let mut all = Course::default();
    for seed in [1, 2] {
        let lasts = Duration::from_secs(30);
        let soak = Soak { seed, wire: Wire::Pipes, lasts, callers: 60, moments: 0 };

        let course = soak.run();

        assert!(course.disagreements.is_empty(), "seed {seed}: {:#?}", course.disagreements);
        all.add(course);
    }
    saw_everything(&all);
}

/// Nothing was compared only while all was quiet.
fn saw_everything(course: &Course) {
    assert!(course.instants > 5_000 && course.on_their_way > 20, "{course:#?}");
    assert_eq!(course.most_in_use["Default"], course.limits["Default"], "{course:#?}");
    for stage in [Stage::InHead, Stage::InBody, Stage::BeforeAnswer, Stage::InAnswer] {
        assert!(course.left[&stage] > 10, "{course:#?}");
    }
    assert!(course.answered[&200] > 500 && course.answered[&429] > 10, "{course:#?}");
    assert!(course.most_lanes > 4 && course.most_in_line > 4, "{course:#?}");
    assert!(course.faults > 40 && course.contended > 0 && course.refused > 0, "{course:#?}");
    assert!(course.down > 0, "{course:#?}");
}
