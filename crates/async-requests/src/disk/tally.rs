//! What the store holds, counted as it changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use super::frame::Framed;
use crate::record::{Record, State};
use crate::store::AppReadings;

/// How many records there are, and which of them are waited for.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) records: usize,
    pub(super) pending: usize,
    /// The position of the last that had ended when the file was opened.
    pub(super) last_position: u64,
    apps: HashMap<TenantAndApp, OfApp>,
}

type TenantAndApp = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct OfApp {
    /// By number: when it was begun. As many as may be pending, at some 50 bytes each.
    pending: BTreeMap<u64, SystemTime>,
    unknown: u64,
    dead_letters: u64,
}

impl Tally {
    /// Counts a record in that is waited for, or ended as unknown, or is a dead letter, but not as a record.
    pub(super) fn note(&mut self, framed: &Framed) {
        self.count(framed, true);
    }

    /// Counts a change of a record.
    pub(super) fn change(&mut self, before: Option<&Framed>, now: Option<&Framed>) {
        if let Some(before) = before {
            self.records -= 1;
            self.count(before, false);
        }
        if let Some(now) = now {
            self.records += 1;
            self.count(now, true);
        }
    }

    fn count(&mut self, framed: &Framed, is_in: bool) {
        let record = &framed.record;
        if !is_of_note(record) {
            return;
        }
        let tenant_and_app = (Arc::clone(&record.key.tenant), Arc::clone(&record.app));
        let app = self.apps.entry(tenant_and_app).or_default();
        if record.state.is_pending() {
            if is_in {
                let before = app.pending.insert(framed.number, record.begun);
                self.pending += usize::from(before.is_none());
            } else {
                self.pending -= usize::from(app.pending.remove(&framed.number).is_some());
            }
        }
        let one_more = |count: u64| if is_in { count + 1 } else { count.saturating_sub(1) };
        if record.state == State::Unknown {
            app.unknown = one_more(app.unknown);
        }
        if record.is_dead_letter() {
            app.dead_letters = one_more(app.dead_letters);
        }
    }

    pub(super) fn apps(&self) -> Vec<AppReadings> {
        let readings = self.apps.iter().map(|((tenant, app), of)| AppReadings {
            tenant: Arc::clone(tenant),
            app: Arc::clone(app),
            pending: of.pending.len() as u64,
            oldest_pending: of.pending.first_key_value().map(|(_, begun)| *begun),
            unknown: of.unknown,
            dead_letters: of.dead_letters,
        });
        let is_of_note = |it: &AppReadings| it.pending + it.unknown + it.dead_letters > 0;
        let mut readings: Vec<_> = readings.filter(is_of_note).collect();
        readings.sort_by(|one, other| (&one.tenant, &one.app).cmp(&(&other.tenant, &other.app)));
        readings
    }
}

/// Whether it counts as more than a record.
fn is_of_note(record: &Record) -> bool {
    record.state.is_pending() || record.state == State::Unknown || record.is_dead_letter()
}
