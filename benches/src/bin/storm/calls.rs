//! Many calls at the same moment, each on a connection of its own.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Result;
use benches::{client::Connection, peers};
use bytes::Bytes;
use http::{Method, Response};
use tokio::task::JoinSet;

/// The app that calls.
pub(crate) const APP: &str = "storm";

/// What became of all calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    statuses: BTreeMap<u16, usize>,
    attempts: u32,
    /// The first answer that was not 200, or the first break, for whoever wonders.
    pub(crate) example: Option<String>,
}

/// Opens as many connections, not all in the same moment.
pub(crate) async fn connect(address: SocketAddr, calls: u32) -> Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for _ in 0..calls {
        connections.push(Connection::open(address, &peers::authorization(APP)).await?);
    }
    Ok(connections)
}

/// Sends a call on each connection, and waits for all answers.
pub(crate) async fn send(connections: Vec<Connection>) -> Result<Tally> {
    let mut calls = JoinSet::new();
    for (number, mut connection) in connections.into_iter().enumerate() {
        calls.spawn(async move { call(&mut connection, number).await });
    }
    let mut tally = Tally::default();
    while let Some(answer) = calls.join_next().await {
        tally.count(answer?);
    }
    Ok(tally)
}

/// Of four calls two read, one writes what can be told from a repetition by its key, and one writes what cannot. No two
/// are about the same account, so that none contend.
async fn call(connection: &mut Connection, number: usize) -> Result<Response<Bytes>> {
    let track_id = format!("{APP}-{number}");
    let account = format!("/v1/accounts/A{:08}", number + 1);
    let (method, path, body) = match number % 4 {
        0 => (Method::POST, format!("{account}/billing-documents/generate"), "{}"),
        1 => (Method::PUT, account, r#"{"notes": "storm"}"#),
        _ => (Method::GET, account, ""),
    };
    connection.call(method, &path, &[("zuora-track-id", &track_id)], Bytes::from(body)).await
}

impl Tally {
    pub(crate) fn answered(&self, status: u16) -> usize {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// How many were answered with each other status; 0 is for those that were not answered at all.
    pub(crate) fn others(&self) -> String {
        let others = self.statuses.iter().filter(|(status, _)| **status != 200);
        let others: Vec<_> = others.map(|(status, calls)| format!("{calls} × {status}")).collect();
        if others.is_empty() { "0".to_owned() } else { others.join(", ") }
    }

    pub(crate) fn most_attempts(&self) -> u32 {
        self.attempts
    }

    fn count(&mut self, answer: Result<Response<Bytes>>) {
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        *self.statuses.entry(status).or_default() += 1;
        match answer {
            Ok(answer) => {
                let attempts = answer.headers().get("zuora-gateway-attempts");
                let attempts = attempts.and_then(|value| value.to_str().ok()?.parse().ok());
                self.attempts = self.attempts.max(attempts.unwrap_or(0));
                // Failures of Zuora's older versions hide behind a 200.
                let failed = status == 200 && answer.body().starts_with(br#"{"success":false"#);
                if status != 200 || failed {
                    let text = String::from_utf8_lossy(answer.body()).into_owned();
                    self.example.get_or_insert(format!("{status} {text}"));
                }
            }
            Err(error) => {
                self.example.get_or_insert(format!("{error:#}"));
            }
        }
    }
}
