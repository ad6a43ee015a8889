//! Apps that always want more: every connection has one call under way, without a pause.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use anyhow::{Context, Result, ensure};
use benches::{client::Connection, stats::percentile, upstream::drain};
use http::StatusCode;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{self, Instant},
};

use crate::clock::Clock;

/// A read that Zuora counts against `Default`.
const PATH: &str = "/v1/accounts/A00000001";

/// How long an app rests after a refusal or a broken connection, as the simplest of clients do.
const REST: Duration = Duration::from_millis(50);

/// An app, how many connections it has, and its weight among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) connections: u32,
    pub(crate) weight: u32,
}

impl FromStr for App {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, wants) = text.split_once('=').context("write NAME=CONNECTIONS[*WEIGHT]")?;
        let (connections, weight) = wants.split_once('*').unwrap_or((wants, "1"));
        let (connections, weight) = (connections.parse()?, weight.parse()?);
        ensure!(connections > 0 && !name.is_empty(), "an app has a name and connections");
        ensure!(weight > 0, "an app has a weight of at least 1");
        Ok(Self { name: name.to_owned(), connections, weight })
    }
}

/// What became of an app's calls, those of the warm-up included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// When a call was answered 200, and how long that took.
    pub(crate) answered: Vec<(Instant, Duration)>,
    /// When a call was answered 429.
    pub(crate) refused: Vec<Instant>,
    /// When a call ended in another way: another status, or a broken connection.
    pub(crate) failed: Vec<Instant>,
    /// When the app itself gave up.
    pub(crate) hung_up: Vec<Instant>,
    /// The first answer that was neither 200 nor 429, or the first break, for whoever wonders.
    pub(crate) example: Option<String>,
}

enum Outcome {
    Answered(StatusCode),
    Broken(anyhow::Error),
    HungUp,
}

/// What all connections of an app have in common.
#[derive(Clone, Debug)]
struct Caller {
    app: String,
    address: SocketAddr,
    authorization: String,
    hang_ups: f64,
    start: Instant,
}

impl App {
    /// Calls on all connections until `end`. What is still under way then is hung up on, and not counted.
    pub(crate) fn call(
        &self,
        address: SocketAddr,
        authorization: String,
        hang_ups: f64,
        clock: Clock,
        end: Instant,
    ) -> JoinHandle<Tally> {
        let connections = self.connections;
        let app = self.name.clone();
        let caller = Caller { app, address, authorization, hang_ups, start: clock.start };
        tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            for connection in 0..connections {
                let caller = caller.clone();
                tasks.spawn(async move {
                    let mut tally = Tally::default();
                    let calls = caller.keep_calling(connection, &mut tally);
                    let _ = time::timeout_at(end, calls).await;
                    tally
                });
            }
            let mut all = Tally::default();
            for tally in tasks.join_all().await {
                all.add(tally);
            }
            all
        })
    }
}

impl Tally {
    /// How long answers took that came from `from` to `to`, the shortest first.
    pub(crate) fn latencies(&self, from: Instant, to: Instant) -> Vec<Duration> {
        let within = self.answered.iter().filter(|(at, _)| (from..to).contains(at));
        let mut latencies: Vec<Duration> = within.map(|(_, latency)| *latency).collect();
        latencies.sort_unstable();
        latencies
    }

    /// A percentile of these, in milliseconds.
    pub(crate) fn ms(&self, share: f64, from: Instant, to: Instant) -> f64 {
        percentile(&self.latencies(from, to), share).as_secs_f64() * 1e3
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.answered.extend(other.answered);
        self.refused.extend(other.refused);
        self.failed.extend(other.failed);
        self.hung_up.extend(other.hung_up);
        self.example = self.example.take().or(other.example);
    }

    fn count(&mut self, outcome: &Outcome, latency: Duration) {
        let now = Instant::now();
        match outcome {
            Outcome::Answered(StatusCode::OK) => self.answered.push((now, latency)),
            Outcome::Answered(StatusCode::TOO_MANY_REQUESTS) => self.refused.push(now),
            Outcome::Answered(status) => {
                self.failed.push(now);
                self.example.get_or_insert_with(|| status.to_string());
            }
            Outcome::Broken(error) => {
                self.failed.push(now);
                self.example.get_or_insert_with(|| format!("{error:#}"));
            }
            Outcome::HungUp => self.hung_up.push(now),
        }
    }
}

/// How many of these moments are from `from` to `to`.
pub(crate) fn within(moments: &[Instant], from: Instant, to: Instant) -> usize {
    moments.iter().filter(|at| (from..to).contains(at)).count()
}

/// When the call with this track id was sent, in microseconds since the load began.
pub(crate) fn sent_at(track_id: &str) -> Option<u64> {
    u64::from_str_radix(track_id.split('-').nth(1)?, 16).ok()
}

impl Caller {
    async fn keep_calling(&self, number: u32, tally: &mut Tally) {
        let mut connection = None;
        loop {
            let start = Instant::now();
            let call = self.call(&mut connection, number);
            let outcome = match patience(self.hang_ups) {
                Some(patience) => time::timeout(patience, call).await.unwrap_or(Outcome::HungUp),
                None => call.await,
            };
            tally.count(&outcome, start.elapsed());
            match outcome {
                Outcome::Answered(StatusCode::OK) => {}
                Outcome::Answered(_) => time::sleep(REST).await,
                // Dropping the connection is how one hangs up.
                Outcome::HungUp => connection = None,
                Outcome::Broken(_) => {
                    connection = None;
                    time::sleep(REST).await;
                }
            }
        }
    }

    async fn call(&self, connection: &mut Option<Connection>, number: u32) -> Outcome {
        match self.try_call(connection, number).await {
            Ok(status) => Outcome::Answered(status),
            Err(error) => Outcome::Broken(error),
        }
    }

    async fn try_call(
        &self,
        connection: &mut Option<Connection>,
        number: u32,
    ) -> Result<StatusCode> {
        let connection = match connection {
            Some(open) => open,
            None => connection.insert(Connection::open(self.address, &self.authorization).await?),
        };
        let track_id = self.track_id(number);
        let answer = connection.get_tracked(PATH, &track_id).await?;
        let status = answer.status();
        drain(answer.into_body()).await?;
        Ok(status)
    }

    /// No two calls have the same, and the tenant's book tells by it when a call was sent.
    fn track_id(&self, connection: u32) -> String {
        format!("{}-{:x}-{connection}", self.app, self.start.elapsed().as_micros())
    }
}

/// How long the client of one call will wait, if it is one that gives up: all orders of magnitude
/// from 1 ms to 1 s alike, so that some leave the queue and some leave a call that is under way.
fn patience(hang_ups: f64) -> Option<Duration> {
    let gives_up = rand::random::<f64>() < hang_ups;
    gives_up.then(|| Duration::from_secs_f64(10_f64.powf(rand::random_range(-3.0..0.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_a_name_its_connections_and_perhaps_a_weight() {
        let app =
            |name: &str, connections, weight| App { name: name.to_owned(), connections, weight };

        assert_eq!("big=400".parse::<App>().unwrap(), app("big", 400, 1));
        assert_eq!("mid=40*3".parse::<App>().unwrap(), app("mid", 40, 3));
        for wrong in ["big", "big=0", "=4", "big=4*0", "big=4*"] {
            assert!(wrong.parse::<App>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn clients_give_up_as_often_as_asked_for() {
        assert_eq!(patience(0.0), None);

        let patience = patience(1.0).unwrap();

        assert!((Duration::from_millis(1)..Duration::from_secs(1)).contains(&patience));
    }

    #[test]
    fn a_track_id_tells_when_its_call_was_sent() {
        let caller = Caller {
            app: "big".to_owned(),
            address: "127.0.0.1:1".parse().unwrap(),
            authorization: String::new(),
            hang_ups: 0.0,
            start: Instant::now() - Duration::from_secs(1),
        };

        let sent = sent_at(&caller.track_id(7)).unwrap();

        assert!((1_000_000..2_000_000).contains(&sent), "{sent}");
        assert_eq!(sent_at("bench-no_number"), None);
    }
}
