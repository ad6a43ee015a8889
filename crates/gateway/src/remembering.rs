//! The registry of async requests, as the program opens it.

use std::sync::Arc;

use async_requests::{Limits, Memory, OpenError, Registry};
use config::Config;
use telemetry::Metrics;

/// What remembers async requests, of all tenants and configurations.
#[derive(Clone, Debug)]
pub(crate) struct Remembering {
    pub(crate) registry: Arc<Registry>,
    /// Whether anything may be promised that hangs on it.
    pub(crate) is_lasting: bool,
}

impl Remembering {
    /// Opens the registry in `state_dir`. Where it cannot be opened and no tenant needs it, nothing is promised until the
    /// next start: several gateways may have one state directory, and one of them has the registry.
    ///
    /// # Errors
    /// If it cannot be opened, and a tenant has callouts.
    pub(crate) async fn begin(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, OpenError> {
        match Registry::open(&config.state_dir, limits(config), metrics).await {
            Ok(registry) => Ok(Self { registry, is_lasting: true }),
            Err(error) if is_needed(config) => Err(error),
            Err(error) => {
                tracing::info!(
                    %error,
                    "nothing is remembered of async requests, and no tenant has `async.callouts`"
                );
                Ok(Self { is_lasting: false, ..Self::until_the_end(metrics) })
            }
        }
    }

    /// What remembers nothing beyond the process: for tests without a disk, and for what serves no apps.
    pub(crate) fn until_the_end(metrics: &Arc<Metrics>) -> Self {
        Self { registry: Registry::counting(Memory::default(), metrics), is_lasting: true }
    }

    /// Whether `config` needs what can only be had at the next start.
    pub(crate) fn needs_restart(&self, config: &Config) -> bool {
        !self.is_lasting && is_needed(config)
    }
}

fn is_needed(config: &Config) -> bool {
    config.tenants.iter().any(|tenant| tenant.async_requests.callouts.is_some())
}

fn limits(config: &Config) -> Limits {
    let written = &config.async_requests;
    Limits {
        keep: written.keep,
        max_records: written.max_records.get(),
        max_pending: written.max_pending.get(),
    }
}
