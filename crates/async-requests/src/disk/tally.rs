//! What the store holds, counted as it changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use super::frame::Framed;
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
    dead_letters: u64,
}

impl Tally {
    /// Counts a record in that is waited for or is a dead letter, but not as a record.
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
        if !record.state.is_pending() && !record.is_dead_letter() {
            return;
        }
        let tenant_and_app = (Arc::clone(&record.key.tenant), Arc::clone(&record.app));
        let app = self.apps.entry(tenant_and_app).or_default();
        match (record.state.is_pending(), is_in) {
            (true, true) => {
                self.pending +=
                    usize::from(app.pending.insert(framed.number, record.begun).is_none());
            }
            (true, false) => {
                self.pending -= usize::from(app.pending.remove(&framed.number).is_some());
            }
            (false, true) => app.dead_letters += 1,
            (false, false) => app.dead_letters -= 1,
        }
    }

    pub(super) fn apps(&self) -> Vec<AppReadings> {
        let readings = self.apps.iter().map(|((tenant, app), of)| AppReadings {
            tenant: Arc::clone(tenant),
            app: Arc::clone(app),
            pending: of.pending.len() as u64,
            oldest_pending: of.pending.first_key_value().map(|(_, begun)| *begun),
            dead_letters: of.dead_letters,
        });
        let mut readings: Vec<_> =
            readings.filter(|it| it.pending > 0 || it.dead_letters > 0).collect();
        readings.sort_by(|one, other| (&one.tenant, &one.app).cmp(&(&other.tenant, &other.app)));
        readings
    }
}
