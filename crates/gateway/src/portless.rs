//! A gateway without ports: for tests that hold the wire on both sides, and stop the clock.

use std::sync::Arc;

use admission::{Admission, Lanes, Start};
use config::Config;
use proxy::{Connector, Proxy};

use crate::gateway::StartError;
use crate::works::Works;

/// Everything that serves, wired as [`Gateway`](crate::Gateway) wires it. Callers and Zuora come over whatever the test
/// hands in, so that nothing of it waits for a socket.
#[derive(Debug)]
pub struct Portless {
    works: Works,
}

impl Portless {
    /// Serves by `config`, and reaches every tenant through `zuora`. The first token is asked for at once.
    ///
    /// # Errors
    /// If a certificate or the signing key cannot be used.
    pub fn start(config: &Config, zuora: Connector) -> Result<Self, StartError> {
        Works::start_over(config, Start::Full, Some(zuora)).map(|works| Self { works })
    }

    /// What answers calls.
    #[must_use]
    pub fn proxy(&self) -> &Arc<Proxy> {
        &self.works.proxy
    }

    /// Who waits and who goes, by tenant.
    #[must_use]
    pub fn admissions(&self) -> Vec<(Arc<str>, Arc<Admission>)> {
        self.works.admissions()
    }

    /// The lanes of each tenant whose calls go in lanes.
    #[must_use]
    pub fn lanes(&self) -> Vec<(Arc<str>, Arc<Lanes>)> {
        self.works.lanes()
    }

    /// How many upstream legs are alive.
    #[must_use]
    pub fn legs_in_flight(&self) -> u64 {
        self.works.metrics.legs_in_flight()
    }
}
