//! Which mishaps a write meets: planned ones first, others by lot.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::options::Mishap;

/// More planned mishaps than this are a mistake of the test; the last ones are not kept.
const MOST_PLANNED: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Lots {
    chances: Vec<(Mishap, f64)>,
    planned: VecDeque<Mishap>,
    random: StdRng,
}

impl Lots {
    pub(super) fn new(chances: &[(Mishap, f64)], seed: u64) -> Self {
        // Another stream than that of service times.
        let random = StdRng::seed_from_u64(seed ^ 0x6173_796e_6300);
        Self { chances: chances.to_vec(), planned: VecDeque::new(), random }
    }

    pub(super) fn set(&mut self, chances: &[(Mishap, f64)]) {
        self.chances = chances.to_vec();
    }

    pub(super) fn plan(&mut self, mishap: Mishap, times: usize) {
        let room = MOST_PLANNED.saturating_sub(self.planned.len());
        self.planned.extend(std::iter::repeat_n(mishap, times.min(room)));
    }

    pub(super) fn forget_plan(&mut self) {
        self.planned.clear();
    }

    /// What the next write meets: the planned one alone, or whatever the lots say.
    pub(super) fn draw(&mut self) -> Vec<Mishap> {
        if let Some(planned) = self.planned.pop_front() {
            return vec![planned];
        }
        let random = &mut self.random;
        let struck = self.chances.iter().filter(|(_, chance)| random.random::<f64>() < *chance);
        struck.map(|(mishap, _)| *mishap).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_mishaps_come_first_and_lots_as_often_as_they_say() {
        let mut lots = Lots::new(&[(Mishap::Lost, 0.25)], 7);
        lots.plan(Mishap::Early, 2);

        assert_eq!(lots.draw(), [Mishap::Early]);
        assert_eq!(lots.draw(), [Mishap::Early]);
        let lost = (0..4000).filter(|_| lots.draw() == [Mishap::Lost]).count();
        assert!((900..1100).contains(&lost), "{lost}");
        lots.set(&[]);
        assert_eq!(lots.draw(), []);
    }
}
