//! Apps that want more than the tenant allows, and hang up now and then.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::caller::connect;

/// A kind of load.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    /// Which request comes next; each connection asks it with a number of its own.
    pub(super) request: fn(u32) -> Request<Full<Bytes>>,
    pub(super) connections: u32,
    /// The share of calls whose caller leaves before the answer.
    pub(super) hang_ups: f64,
    pub(super) lasting: Duration,
}

/// What callers got: how many of each status, `0` for a connection that broke.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<Mutex<BTreeMap<u16, u64>>>);

impl Tally {
    pub(super) fn counts(&self) -> BTreeMap<u16, u64> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, status: u16) {
        *self.0.lock().unwrap().entry(status).or_default() += 1;
    }
}

/// The "status" of calls whose caller left.
pub(super) const LEFT: u16 = 499;

/// Lets all these apps call at once, each as long as it says.
pub(super) async fn all(loads: &[Load]) -> Tally {
    let tally = Tally::default();
    let mut connections = JoinSet::new();
    for load in loads {
        for number in 0..load.connections {
            connections.spawn(call_on(load.clone(), number, tally.clone()));
        }
    }
    while let Some(ended) = connections.join_next().await {
        ended.unwrap();
    }
    tally
}

/// One connection after another: each asks, waits for the answer, and asks again.
async fn call_on(load: Load, number: u32, tally: Tally) {
    let until = Instant::now() + load.lasting;
    while Instant::now() < until {
        let mut sender = connect(load.address).await;
        while Instant::now() < until && sender.ready().await.is_ok() {
            let calling = async {
                let response = sender.send_request((load.request)(number)).await?;
                let status = response.status().as_u16();
                response.into_body().collect().await.map(|_| status)
            };
            let patience = if rand::random_bool(load.hang_ups) {
                Duration::from_millis(rand::random_range(0..60))
            } else {
                Duration::from_secs(20)
            };
            match timeout(patience, calling).await {
                Ok(status) => tally.note(status.unwrap_or(0)),
                Err(_) => {
                    tally.note(LEFT);
                    break;
                }
            }
        }
    }
}
