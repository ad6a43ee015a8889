//! Apps that always have one more write on each connection.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use anyhow::{Context, Result, ensure};
use benches::{client::Connection, peers};
use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

/// An app, and how many connections it has.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// What became of an app's writes, those of the warm-up included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// When a write was answered 200, and how long that took.
    pub(crate) done: Vec<(Instant, Duration)>,
    /// When a write was answered 202, and how long that took.
    pub(crate) accepted: Vec<(Instant, Duration)>,
    /// When a write was answered in another way, or not at all.
    pub(crate) failed: Vec<Instant>,
    /// The first of those, for whoever wonders.
    pub(crate) example: Option<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.done.extend(other.done);
        self.accepted.extend(other.accepted);
        self.failed.extend(other.failed);
        self.example = self.example.take().or(other.example);
    }

    fn fail(&mut self, example: String) {
        self.failed.push(Instant::now());
        self.example.get_or_insert(example);
    }
}

/// All apps write until `end`. What is still under way then is hung up on, and not counted.
pub(crate) async fn call(apps: &[App], address: SocketAddr, end: Instant) -> Result<Vec<Tally>> {
    let mut all = Vec::new();
    for app in apps {
        let mut connections = JoinSet::new();
        for number in 0..app.connections {
            let app = app.name.clone();
            connections.spawn(async move {
                let mut tally = Tally::default();
                let writes = keep_writing(&app, address, number, &mut tally);
                let _ = time::timeout_at(end, writes).await;
                tally
            });
        }
        all.push(connections);
    }
    let mut tallies = Vec::new();
    for connections in all {
        let mut tally = Tally::default();
        connections.join_all().await.into_iter().for_each(|one| tally.add(one));
        tallies.push(tally);
    }
    Ok(tallies)
}

/// Writes on one connection, and on another one if it breaks.
async fn keep_writing(app: &str, address: SocketAddr, number: u32, tally: &mut Tally) {
    let authorization = peers::authorization(app);
    // Everybody writes to accounts of its own, of those that there are.
    let path = format!("/v1/accounts/A{:08}", number % 100 + 1);
    loop {
        let mut connection = match Connection::open(address, &authorization).await {
            Ok(connection) => connection,
            Err(error) => {
                tally.fail(format!("{error:#}"));
                time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        loop {
            let begin = Instant::now();
            let body = Bytes::from_static(br#"{"notes": "x"}"#);
            let answer = match connection.call(Method::PUT, &path, &[], body).await {
                Ok(answer) => answer,
                Err(error) => {
                    tally.fail(format!("{error:#}"));
                    break;
                }
            };
            let moment = (Instant::now(), begin.elapsed());
            match answer.status() {
                StatusCode::OK => tally.done.push(moment),
                StatusCode::ACCEPTED => tally.accepted.push(moment),
                status => {
                    let text = String::from_utf8_lossy(answer.body()).into_owned();
                    tally.fail(format!("{status} {text}"));
                    time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}
