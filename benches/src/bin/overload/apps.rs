//! Apps that always want more: every connection has one call under way, without a pause.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use anyhow::{Context, Result, ensure};
use benches::{client::Connection, upstream::drain};
use http::StatusCode;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{self, Instant},
};

/// A read that Zuora counts against `Default`.
const PATH: &str = "/v1/accounts/A00000001";

/// How long an app rests after a refusal or a broken connection, as the simplest of clients do.
const REST: Duration = Duration::from_millis(50);

/// An app and how many connections it has.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) connections: u32,
}

impl FromStr for App {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, connections) = text.split_once('=').context("write NAME=CONNECTIONS")?;
        let connections = connections.parse()?;
        ensure!(connections > 0 && !name.is_empty(), "an app has a name and connections");
        Ok(Self { name: name.to_owned(), connections })
    }
}

/// What became of an app's calls, those that ended within the measurement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Latency of each call that was answered 200; after [`App::call`] the shortest first.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) refused: u64,
    pub(crate) other_status: u64,
    pub(crate) broken: u64,
    pub(crate) hung_up: u64,
    /// The first answer that was neither 200 nor 429, or the first break, for whoever wonders.
    pub(crate) example: Option<String>,
}

enum Outcome {
    Answered(StatusCode),
    Broken(anyhow::Error),
    HungUp,
}

impl App {
    /// Calls on all connections until `end`; what ends from `begin` on is counted.
    pub(crate) fn call(
        &self,
        address: SocketAddr,
        authorization: String,
        hang_ups: f64,
        begin: Instant,
        end: Instant,
    ) -> JoinHandle<Tally> {
        let connections = self.connections;
        tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            for _ in 0..connections {
                let authorization = authorization.clone();
                tasks.spawn(async move {
                    let mut tally = Tally::default();
                    let calls = keep_calling(address, &authorization, hang_ups, begin, &mut tally);
                    // What is still under way at the end is hung up on, and not counted.
                    let _ = time::timeout_at(end, calls).await;
                    tally
                });
            }
            let mut all = Tally::default();
            for tally in tasks.join_all().await {
                all.add(tally);
            }
            all.latencies.sort_unstable();
            all
        })
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.refused += other.refused;
        self.other_status += other.other_status;
        self.broken += other.broken;
        self.hung_up += other.hung_up;
        self.example = self.example.take().or(other.example);
    }

    fn count(&mut self, outcome: &Outcome, latency: Duration) {
        match outcome {
            Outcome::Answered(StatusCode::OK) => self.latencies.push(latency),
            Outcome::Answered(StatusCode::TOO_MANY_REQUESTS) => self.refused += 1,
            Outcome::Answered(status) => {
                self.other_status += 1;
                self.example.get_or_insert_with(|| status.to_string());
            }
            Outcome::Broken(error) => {
                self.broken += 1;
                self.example.get_or_insert_with(|| format!("{error:#}"));
            }
            Outcome::HungUp => self.hung_up += 1,
        }
    }
}

async fn keep_calling(
    address: SocketAddr,
    authorization: &str,
    hang_ups: f64,
    begin: Instant,
    tally: &mut Tally,
) {
    let mut connection = None;
    loop {
        let start = Instant::now();
        let outcome = match patience(hang_ups) {
            Some(patience) => {
                let call = call(&mut connection, address, authorization);
                time::timeout(patience, call).await.unwrap_or(Outcome::HungUp)
            }
            None => call(&mut connection, address, authorization).await,
        };
        if Instant::now() >= begin {
            tally.count(&outcome, start.elapsed());
        }
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

async fn call(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    authorization: &str,
) -> Outcome {
    match try_call(connection, address, authorization).await {
        Ok(status) => Outcome::Answered(status),
        Err(error) => Outcome::Broken(error),
    }
}

async fn try_call(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    authorization: &str,
) -> Result<StatusCode> {
    let connection = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(address, authorization).await?),
    };
    let answer = connection.get(PATH).await?;
    let status = answer.status();
    drain(answer.into_body()).await?;
    Ok(status)
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
    fn an_app_is_a_name_and_its_connections() {
        let app: App = "big=400".parse().unwrap();
        assert_eq!((app.name.as_str(), app.connections), ("big", 400));

        assert!("big".parse::<App>().is_err());
        assert!("big=0".parse::<App>().is_err());
    }

    #[test]
    fn clients_give_up_as_often_as_asked_for() {
        assert_eq!(patience(0.0), None);

        let patience = patience(1.0).unwrap();

        assert!((Duration::from_millis(1)..Duration::from_secs(1)).contains(&patience));
    }
}
