//! Counts what becomes of requests.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use telemetry::{AsyncMetrics, AsyncState, Metrics};

use crate::record::{Record, State};

type TenantAndApp = (Arc<str>, Arc<str>);

/// The counters of each app, looked up once.
pub(crate) struct Counts {
    metrics: Arc<Metrics>,
    apps: Mutex<HashMap<TenantAndApp, AsyncMetrics>>,
}

impl Counts {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, apps: Mutex::default() }
    }

    /// Counts the state that a request is in now.
    pub(crate) fn entered(&self, record: &Record) {
        let tenant_and_app = (Arc::clone(&record.key.tenant), Arc::clone(&record.app));
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = apps.entry(tenant_and_app);
        let counters =
            counters.or_insert_with_key(|(tenant, app)| self.metrics.async_requests(tenant, app));
        counters.entered(record.state.as_metric());
    }

    /// Counts a failure of the store.
    pub(crate) fn failed(&self) {
        self.metrics.async_registry().error();
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counts")
    }
}

impl State {
    const fn as_metric(self) -> AsyncState {
        match self {
            Self::Sending => AsyncState::Sending,
            Self::Accepted => AsyncState::Accepted,
            Self::Succeeded => AsyncState::Succeeded,
            Self::Failed => AsyncState::Failed,
            Self::Unknown => AsyncState::Unknown,
        }
    }
}
