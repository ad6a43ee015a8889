//! What would be fair: weighted max-min shares, worked out by filling up with water.

/// What an app may have of a pool, and could use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) weight: f64,
    /// It has this much before anybody has more.
    pub(super) reserve: f64,
    /// It cannot use more than this.
    pub(super) demand: f64,
}

/// Returns how many permits each should have on average. The water stands equally high, per weight,
/// in all who could use more; those with a reserve stand on a step, and nobody gets more than it can use.
pub(super) fn fill(capacity: f64, wants: &[Want]) -> Vec<f64> {
    let parts = |level: f64| -> Vec<f64> {
        let part = |want: &Want| (want.weight * level).max(want.reserve).min(want.demand);
        wants.iter().map(part).collect()
    };
    let (mut low, mut high) = (0.0, capacity);
    for _ in 0..60 {
        let level = (low + high) / 2.0;
        if parts(level).iter().sum::<f64>() < capacity {
            low = level;
        } else {
            high = level;
        }
    }
    parts(low)
}

#[test]
fn water_stands_equally_high_in_all_who_could_use_more() {
    let want = |weight, reserve, demand| Want { weight, reserve, demand };
    let check = |capacity, wants: &[Want], expected: &[f64]| {
        let parts = fill(capacity, wants);
        let near = parts.iter().zip(expected).all(|(part, it)| (part - it).abs() < 1e-6);
        assert!(near, "{parts:?}");
    };
    let all = f64::INFINITY;

    check(9.0, &[want(1.0, 0.0, all), want(2.0, 0.0, all)], &[3.0, 6.0]);
    check(9.0, &[want(1.0, 0.0, 1.0), want(2.0, 0.0, all)], &[1.0, 8.0]);
    check(9.0, &[want(1.0, 5.0, all), want(2.0, 0.0, all)], &[5.0, 4.0]);
    check(9.0, &[want(1.0, 5.0, 2.0), want(2.0, 0.0, all)], &[2.0, 7.0]);
    check(9.0, &[want(1.0, 0.0, 2.0), want(1.0, 0.0, 3.0)], &[2.0, 3.0]);
}
