//! Writers that never pause, and do not give up what a careful human would repeat.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::Result;
use benches::client::Connection;
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};

/// The app that writes.
pub(crate) const APP: &str = "writer";

/// What the writers do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) writers: u32,
    pub(crate) accounts: u32,
    /// The share of writes that name the account by a subscription of its.
    pub(crate) by_subscription: f64,
    pub(crate) lasts: Duration,
}

/// A kind of write, by what lets it be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sort {
    /// A POST of an operation that takes idempotency keys, without one: the gateway gives it one.
    Keyed,
    /// The same with a key of the app's, which only the app can exchange. It does, when it is told of a lock.
    OwnKey,
    /// A POST that takes no key.
    Unkeyed,
    Put,
}

/// A write, as its app sees it.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) sort: Sort,
    pub(crate) track_ids: Vec<String>,
    pub(crate) succeeded: bool,
    /// Requests at Zuora, as the gateway tells; without one, those that were sent.
    pub(crate) attempts: u32,
    pub(crate) latency: Duration,
}

/// All writes that were begun in time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) writes: Vec<Write>,
    /// The answers of those that did not succeed, and how many there were of each.
    pub(crate) failures: BTreeMap<String, usize>,
}

impl Sort {
    pub(crate) const ALL: [Self; 4] = [Self::Keyed, Self::OwnKey, Self::Unkeyed, Self::Put];

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Keyed => "POST, given a key by the gateway",
            Self::OwnKey => "POST with the app's own key",
            Self::Unkeyed => "POST that takes no key",
            Self::Put => "PUT",
        }
    }

    fn request(self, number: u32, by_subscription: bool) -> (Method, String) {
        let account = format!("/v1/accounts/A{number:08}");
        match self {
            _ if by_subscription => (Method::PUT, format!("/v1/subscriptions/A-S{number:08}")),
            Self::Keyed | Self::OwnKey => {
                (Method::POST, format!("{account}/billing-documents/generate"))
            }
            Self::Unkeyed => (Method::POST, format!("{account}/reminders")),
            Self::Put => (Method::PUT, account),
        }
    }
}

impl Load {
    pub(crate) async fn run(self, address: SocketAddr, authorization: String) -> Result<Tally> {
        let end = Instant::now() + self.lasts;
        let mut writers = JoinSet::new();
        for writer in 0..self.writers {
            let connection = Connection::open(address, &authorization).await?;
            writers.spawn(self.keep_writing(connection, writer, end));
        }
        let mut all = Tally::default();
        while let Some(tally) = writers.join_next().await {
            let tally = tally??;
            all.writes.extend(tally.writes);
            for (failure, times) in tally.failures {
                *all.failures.entry(failure).or_default() += times;
            }
        }
        Ok(all)
    }

    async fn keep_writing(
        self,
        mut connection: Connection,
        writer: u32,
        end: Instant,
    ) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut number = 0;
        while Instant::now() < end {
            number += 1;
            let sort = Sort::ALL[rand::random_range(0..Sort::ALL.len())];
            let mut write = Write {
                sort,
                track_ids: Vec::new(),
                succeeded: false,
                attempts: 0,
                latency: Duration::ZERO,
            };
            let by_subscription = rand::random_bool(self.by_subscription);
            let (method, path) =
                sort.request(rand::random_range(1..=self.accounts), by_subscription);
            let begin = Instant::now();
            let mut answer;
            loop {
                let turn = write.track_ids.len();
                let track_id = format!("{APP}-{writer}-{number}-{turn}");
                let mut fields = vec![("zuora-track-id", track_id.as_str())];
                if sort == Sort::OwnKey && !by_subscription {
                    fields.push(("idempotency-key", &track_id));
                }
                let body = Bytes::from_static(br#"{"notes": "x"}"#);
                answer = connection.call(method.clone(), &path, &fields, body).await?;
                write.attempts += attempts(&answer);
                write.track_ids.push(track_id.clone());
                // What only the app can do: the same once more, under another key.
                if sort != Sort::OwnKey || !is_contended(&answer) || turn >= 20 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(rand::random_range(0..200))).await;
            }
            write.latency = begin.elapsed();
            write.succeeded = is_success(&answer);
            if !write.succeeded {
                let text = String::from_utf8_lossy(answer.body()).replace('\n', " ");
                let said = answer.headers().get("zuora-gateway-error");
                let text = format!("{} {said:?} {text}", answer.status());
                // The process id is another each time.
                let text = text.split("processId").next().unwrap_or_default().to_owned();
                *tally.failures.entry(text).or_default() += 1;
            }
            tally.writes.push(write);
        }
        Ok(tally)
    }
}

fn attempts(answer: &Response<Bytes>) -> u32 {
    let told = answer.headers().get("zuora-gateway-attempts");
    told.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(1)
}

fn is_success(answer: &Response<Bytes>) -> bool {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    answer.status() == StatusCode::OK && body["success"] == true
}

/// Category 50, as the answers of these operations have it.
fn is_contended(answer: &Response<Bytes>) -> bool {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let code = body["reasons"][0]["code"].as_u64();
    code.is_some_and(|code| code % 100 == 50)
}
