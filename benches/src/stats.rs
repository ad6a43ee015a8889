//! The few figures that a row of samples is reduced to.

use std::time::Duration;

/// Samples of one quantity, one per round.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds the sample of one more round.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
        self.0.sort_by(f64::total_cmp);
    }

    /// The middle sample, or the mean of the two middle ones; NaN without any.
    #[must_use]
    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match self.0.as_slice() {
            [] => f64::NAN,
            all if all.len() % 2 == 1 => all[middle],
            all => f64::midpoint(all[middle - 1], all[middle]),
        }
    }

    /// The smallest sample: of a cost, the one that noise disturbed least. NaN without any.
    #[must_use]
    pub fn best(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// How far the samples lie apart, as a share of their median.
    #[must_use]
    pub fn spread(&self) -> f64 {
        match self.0.as_slice() {
            [] => f64::NAN,
            [first, .., last] => (last - first) / self.median(),
            [_] => 0.0,
        }
    }
}

/// The latency that the given share of answers did not exceed; zero without any.
#[must_use]
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let Some(last) = sorted.len().checked_sub(1) else { return Duration::ZERO };
    // A latency list is far shorter than 2^52, so the way through floats is exact.
    let index = (last as f64 * share).round() as usize;
    sorted[index.min(last)]
}

/// Jain's index of fairness: 1 when all are equal, 1/n when one has everything.
#[must_use]
pub fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares)
}

/// Weighted max-min fair shares of `supply` among those who want `(demand, weight)`: nobody gets
/// more than it demands, and what one leaves is shared by the others in proportion to their weights.
#[must_use]
pub fn max_min(supply: f64, wants: &[(f64, f64)]) -> Vec<f64> {
    let relative = |app: usize| wants[app].0 / wants[app].1;
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by(|a, b| relative(*a).total_cmp(&relative(*b)));

    let mut left = supply;
    let mut weight_left: f64 = wants.iter().map(|(_, weight)| weight).sum();
    let mut shares = vec![0.0; wants.len()];
    for app in order {
        let (demand, weight) = wants[app];
        shares[app] = demand.min(left * weight / weight_left);
        left -= shares[app];
        weight_left -= weight;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_ignores_the_order_of_rounds() {
        let mut samples = Samples::default();
        for sample in [3.0, 1.0, 2.0, 10.0] {
            samples.push(sample);
        }

        assert_eq!(samples.median(), 2.5);
        assert_eq!(samples.best(), 1.0);
        assert_eq!(samples.spread(), 3.6);
    }

    #[test]
    fn percentiles_come_from_the_samples_themselves() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();

        assert_eq!(percentile(&sorted, 0.0), Duration::from_millis(1));
        assert_eq!(percentile(&sorted, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&[], 0.99), Duration::ZERO);
    }

    #[test]
    fn what_a_small_app_leaves_is_shared_by_the_others() {
        let want =
            |demands: &[f64]| demands.iter().map(|demand| (*demand, 1.0)).collect::<Vec<_>>();

        assert_eq!(max_min(40.0, &want(&[400.0, 40.0, 4.0])), [18.0, 18.0, 4.0]);
        assert_eq!(max_min(40.0, &want(&[10.0, 10.0])), [10.0, 10.0]);
    }

    #[test]
    fn weights_share_out_what_is_wanted() {
        assert_eq!(max_min(40.0, &[(400.0, 3.0), (40.0, 1.0)]), [30.0, 10.0]);
        assert_eq!(max_min(40.0, &[(20.0, 3.0), (40.0, 1.0)]), [20.0, 20.0]);
        // Little is wanted with a great weight, and the rest is shared two to one.
        assert_eq!(max_min(40.0, &[(4.0, 9.0), (40.0, 2.0), (40.0, 1.0)]), [4.0, 24.0, 12.0]);
    }

    #[test]
    fn one_that_has_everything_is_unfair() {
        assert_eq!(jain(&[1.0, 1.0, 1.0]), 1.0);
        assert_eq!(jain(&[1.0, 0.0]), 0.5);
    }
}
