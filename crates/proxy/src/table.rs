//! Who may call: the apps and their credentials, as one configuration names them.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use credentials::{Apps, Unauthenticated};
use http::HeaderMap;

use crate::route::App;

/// The apps of one configuration, with the credentials by which they are known.
#[derive(Debug)]
pub struct Table {
    apps: Vec<Arc<App>>,
    pub(crate) doors: Apps,
}

/// The table in use. A call looks once, and keeps the app that it found: whatever becomes of the table meanwhile, the
/// call ends as it began.
#[derive(Debug)]
pub(crate) struct Current(RwLock<Arc<Table>>);

impl Table {
    /// The table of `apps`, whose credentials `doors` knows in the same order.
    #[must_use]
    pub fn new(apps: Vec<App>, doors: Apps) -> Self {
        Self { apps: apps.into_iter().map(Arc::new).collect(), doors }
    }

    /// The app that a request with these headers comes from.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<&Arc<App>, Unauthenticated> {
        self.doors.identify(headers, SystemTime::now()).map(|index| self.app(index))
    }

    /// The app at this place in the list of credentials.
    pub(crate) fn app(&self, index: usize) -> &Arc<App> {
        self.apps.get(index).expect("every credential belongs to an app")
    }
}

impl Current {
    pub(crate) fn new(table: Table) -> Self {
        Self(RwLock::new(Arc::new(table)))
    }

    /// The table as it is now.
    pub(crate) fn get(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another table in place.
    pub(crate) fn exchange(&self, table: Table) {
        let before = std::mem::replace(
            &mut *self.0.write().unwrap_or_else(PoisonError::into_inner),
            Arc::new(table),
        );
        // After the lock: whatever it takes to drop it, no call waits for that.
        drop(before);
    }
}
