//! Writes that meet: one account is changed by one write at a time.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use crate::locks::lock;

/// The accounts that are being changed now, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Contention {
    busy: Mutex<BTreeSet<String>>,
}

/// Accounts that a write holds until it is done.
#[derive(Debug)]
#[must_use = "the accounts are free again as soon as it is dropped"]
pub(crate) struct Hold {
    contention: Arc<Contention>,
    accounts: BTreeSet<String>,
}

impl Contention {
    /// Holds all of these accounts; `None` when another write holds one of them.
    pub(crate) fn hold(self: &Arc<Self>, accounts: BTreeSet<String>) -> Option<Hold> {
        let mut busy = lock(&self.busy);
        if !busy.is_disjoint(&accounts) {
            return None;
        }
        busy.extend(accounts.iter().cloned());
        Some(Hold { contention: Arc::clone(self), accounts })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut busy = lock(&self.contention.busy);
        for account in &self.accounts {
            busy.remove(account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn accounts_are_held_together_or_not_at_all() {
        let contention = Arc::new(Contention::default());

        let first = contention.hold(accounts(&["a", "b"])).unwrap();
        assert!(contention.hold(accounts(&["b", "c"])).is_none());
        let third = contention.hold(accounts(&["c"]));
        assert!(third.is_some(), "what was refused holds nothing");
        assert!(contention.hold(accounts(&[])).is_some());
        drop(first);

        assert!(contention.hold(accounts(&["a", "b"])).is_some());
    }
}
