//! What the gateway and the tenant say of themselves, ten times a second.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use benches::{client::Connection, peers};
use emulator::Tenant;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::{LIMIT_TYPE, clock::Clock};

const PERIOD: Duration = Duration::from_millis(100);

/// A moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// Calls that the tenant worked on, outsiders' permits not among them.
    pub(crate) in_flight: u32,
    /// What the gateway knew; `None` for others, and before it answers.
    pub(crate) gateway: Option<GatewaySample>,
}

/// One pool as the gateway's `/api/state` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GatewaySample {
    /// How many permits it thinks may be used.
    pub(crate) capacity: u64,
    /// How many of them are.
    pub(crate) in_use: u64,
    /// How many it thinks others use, from builds that tell.
    pub(crate) outside_use: Option<u64>,
    /// How many calls wait.
    pub(crate) queued: u64,
}

/// Takes samples until the end of the run.
pub(crate) async fn take(tenant: &Tenant, admin: Option<SocketAddr>, clock: Clock) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut connection = None;
    let mut ticks = time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while ticks.tick().await < clock.end {
        let gateway = match admin {
            // One that does not answer in time leaves a gap, and is asked again.
            Some(admin) => match time::timeout(PERIOD, ask(&mut connection, admin)).await {
                Ok(Ok(sample)) => Some(sample),
                Ok(Err(_)) | Err(_) => {
                    connection = None;
                    None
                }
            },
            None => None,
        };
        let in_flight = tenant.counters().in_flight.get(LIMIT_TYPE).copied().unwrap_or(0);
        samples.push(Sample { at: Instant::now(), in_flight, gateway });
    }
    samples
}

async fn ask(connection: &mut Option<Connection>, admin: SocketAddr) -> Result<GatewaySample> {
    let connection = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(admin, &peers::admin_authorization()).await?),
    };
    let answer = connection.get("/api/state").await?;
    let body = answer.into_body().collect().await?.to_bytes();
    read(&serde_json::from_slice(&body)?).context("the state does not show the pool")
}

fn read(state: &Value) -> Option<GatewaySample> {
    let pools = state["tenants"][0]["pools"].as_array()?;
    let pool = pools.iter().find(|pool| pool["pool"] == LIMIT_TYPE)?;
    let apps = pool["apps"].as_array()?;
    Some(GatewaySample {
        capacity: pool["capacity"].as_u64()?,
        in_use: pool["in_use"].as_u64()?,
        outside_use: pool["outside_use"].as_u64(),
        queued: apps.iter().filter_map(|app| app["queued"].as_u64()).sum(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_state_is_that_of_the_pool_that_the_load_counts_against() {
        let state = json!({"tenants": [{"pools": [
            {"pool": "Object Query", "capacity": 80, "in_use": 0, "apps": []},
            {"pool": "Default", "capacity": 30, "in_use": 29, "outside_use": 10,
             "apps": [{"queued": 370}, {"queued": 21}]},
        ]}]});

        let expected =
            GatewaySample { capacity: 30, in_use: 29, outside_use: Some(10), queued: 391 };
        assert_eq!(read(&state), Some(expected));
        assert_eq!(read(&json!({})), None);
    }
}
