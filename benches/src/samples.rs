//! What the gateway says of itself, ten times a second.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::{client::Connection, peers};

const PERIOD: Duration = Duration::from_millis(100);

/// One moment of one pool, as the gateway's `/api/state` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was taken.
    pub at: Instant,
    /// How many permits it thinks may be used.
    pub capacity: u64,
    /// How many it thinks others use, from builds that tell.
    pub outside_use: Option<u64>,
}

/// Takes samples of the pool of a limit type until `end`, if there is anybody to ask.
pub async fn take(admin: Option<SocketAddr>, limit_type: &str, end: Instant) -> Vec<Sample> {
    let mut samples = Vec::new();
    if let Some(admin) = admin {
        let _ = time::timeout_at(end, keep_taking(admin, limit_type, &mut samples)).await;
    }
    samples
}

/// Adds samples of the pool of a limit type until it is dropped.
pub async fn keep_taking(admin: SocketAddr, limit_type: &str, samples: &mut Vec<Sample>) {
    let mut connection = None;
    let mut ticks = time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        // One that does not answer in time leaves a gap, and is asked again.
        match time::timeout(PERIOD, ask(&mut connection, admin, limit_type)).await {
            Ok(Ok(sample)) => samples.push(sample),
            Ok(Err(_)) | Err(_) => connection = None,
        }
    }
}

async fn ask(
    connection: &mut Option<Connection>,
    admin: SocketAddr,
    limit_type: &str,
) -> Result<Sample> {
    let connection = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(admin, &peers::admin_authorization()).await?),
    };
    let answer = connection.get("/api/state").await?;
    let body = answer.into_body().collect().await?.to_bytes();
    read(&serde_json::from_slice(&body)?, limit_type, Instant::now())
        .context("the state does not show the pool")
}

fn read(state: &Value, limit_type: &str, at: Instant) -> Option<Sample> {
    let pools = state["tenants"][0]["pools"].as_array()?;
    let pool = pools.iter().find(|pool| pool["pool"] == limit_type)?;
    Some(Sample {
        at,
        capacity: pool["capacity"].as_u64()?,
        outside_use: pool["outside_use"].as_u64(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_state_is_that_of_the_pool_that_the_load_counts_against() {
        let state = json!({"tenants": [{"pools": [
            {"pool": "Object Query", "capacity": 80, "in_use": 0},
            {"pool": "Default", "capacity": 30, "in_use": 29, "outside_use": 10},
        ]}]});
        let at = Instant::now();

        assert_eq!(
            read(&state, "Default", at),
            Some(Sample { at, capacity: 30, outside_use: Some(10) })
        );
        assert_eq!(read(&json!({}), "Default", at), None);
    }
}
