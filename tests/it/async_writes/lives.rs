//! Ten thousand writes through twenty deaths of the gateway, with callouts that come twice, late, early, or never: in
//! the end the gateway's records and the tenant's ledger tell the same story. A failing seed prints itself, and
//! `ASYNC_SEED=n` draws the same fates again; which of them meet is up to the machine.

mod cast;
mod judge;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use emulator::{
    AsyncWrites, Definition, Fault, FaultKind, HistoryContext, Mishap, Options, ServiceTime, Tenant,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use self::cast::{Fate, Relay, write_all};
use super::stage::{PASSWORD, USER, yaml};
use crate::running::{Ended, Running};

const WRITES: usize = 10_000;
const DEATHS: usize = 20;
/// Callers at once, each with a connection of its own.
const CALLERS: usize = 32;
/// Of a pending request: long enough that it is asked for several times, after the last death too.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(35);

/// What the tenant is: quick, and unreliable in what it tells.
fn tenant(url: &str, seed: u64) -> Options {
    let quick = ServiceTime::Constant(Duration::from_millis(4));
    let async_writes = AsyncWrites {
        submit_time: quick,
        work_time: Some(quick),
        workers: 16,
        definitions: Definition::both(url, USER, PASSWORD),
        retry_interval: Duration::from_millis(1500),
        late_by: Duration::from_millis(300),
        early_within: Duration::from_millis(500),
        // What was lost must be asked for: nothing can be read of it.
        history_context: HistoryContext::Absent,
        mishaps: vec![
            (Mishap::Fails, 0.10),
            (Mishap::LongReasons, 0.002),
            (Mishap::Duplicated, 0.10),
            (Mishap::Late, 0.10),
            (Mishap::Early, 0.03),
            (Mishap::Lost, 0.01),
            (Mishap::Vanished, 0.01),
        ],
        ..AsyncWrites::default()
    };
    Options { service_time: quick, seed, async_writes, ..Options::default() }
}

/// Now and then the wire to Zuora is cut while a write is handed in, before or after Zuora took it.
fn cut_the_wire(tenant: &Tenant) {
    let kinds = [
        FaultKind::CutRequest { after: 1 << 20, executed: true, reset: false },
        FaultKind::CutRequest { after: 1 << 20, executed: false, reset: true },
        FaultKind::CutAnswer { after: 30, reset: false },
        FaultKind::CutRequest { after: 120, executed: false, reset: true },
    ];
    for at in 0..40 {
        tenant.fault(Fault {
            method: Some("POST".to_owned()),
            path: "/v1/async/accounts".to_owned(),
            after: 200,
            times: 1,
            kind: kinds[at % kinds.len()].clone(),
        });
    }
}

/// What was said in all lives, and the last of them.
struct Survivor {
    running: Running,
    earlier: Vec<Ended>,
}

/// Kills the gateway each time that so many more writes have ended, and begins another life.
async fn kill_at(
    moments: Vec<(usize, Duration)>,
    done: &AtomicUsize,
    relay: &Relay,
    text: &str,
    directory: &TempDir,
) -> Survivor {
    let mut running = Running::start(text, directory).await;
    relay.lead_to(Some(running.address));
    let mut earlier = Vec::new();
    for (moment, pause) in moments {
        while done.load(Ordering::Relaxed) < moment {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(pause).await;
        running.signal("KILL").await;
        relay.lead_to(None);
        earlier.push(running.ended().await);
        running = Running::start(text, directory).await;
        relay.lead_to(Some(running.address));
    }
    Survivor { running, earlier }
}

#[expect(clippy::print_stdout, reason = "shown if the test fails")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_comes_back_through_twenty_deaths() {
    let seed = std::env::var_os("ASYNC_SEED").and_then(|seed| seed.to_str()?.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let told = Arc::new(AtomicBool::new(false));
    let _seed = cast::Seed(seed, Arc::clone(&told));
    let mut random = StdRng::seed_from_u64(seed);

    let relay = Relay::start().await;
    let url = format!("http://{}/_gateway/callouts/production", relay.address());
    let tenant = Tenant::start(tenant(&url, seed)).await.unwrap();
    cut_the_wire(&tenant);
    let directory = TempDir::new().unwrap();
    let times = format!(", reconcile_after: 2s, unknown_after: {}s", GIVEN_UP_AFTER.as_secs());
    let text = yaml("", &times).text(&tenant.base_url(), &directory.path().join("state"));
    let mut moments: Vec<_> = (0..DEATHS)
        .map(|_| {
            (
                random.random_range(50..WRITES - 50),
                Duration::from_micros(random.random_range(0..30_000)),
            )
        })
        .collect();
    moments.sort();

    let began = Instant::now();
    let done = AtomicUsize::new(0);
    let (survivor, fates) = tokio::join!(
        kill_at(moments, &done, &relay, &text, &directory),
        write_all(relay.address(), WRITES, CALLERS, &done),
    );
    let written = began.elapsed();

    judge::settled(&survivor.running, GIVEN_UP_AFTER + Duration::from_secs(120)).await;
    let settled = began.elapsed();
    let records = judge::records(survivor.running.address).await;
    let metrics = crate::caller::look(survivor.running.admin, "/metrics").await.text();
    let last = survivor.running.stop().await;
    let lives: Vec<&Ended> = survivor.earlier.iter().chain([&last]).collect();
    let warned = judge::warned(&lives);
    let ledger = tenant.ledger();

    let verdict = judge::compare(&ledger, &records, &fates, &warned);
    println!("seed {seed}: written in {written:?}, settled in {settled:?}, {}", verdict.told());
    assert_eq!(verdict.faults(), Vec::<String>::new(), "seed {seed}: {}", verdict.told());
    // The last life counted what it gave up; what it warned of is the same.
    let given_up = super::stage::metric(&metrics, "async_requests_total", &[("state", "unknown")]);
    let in_last_life = judge::warned(&[&last]).len();
    assert_eq!(given_up as usize, in_last_life, "seed {seed}");
    // What an earlier life wrote down at its last instant it may have had no time to say.
    assert!(verdict.of("unknown without a word") <= DEATHS, "seed {seed}: {}", verdict.told());
    assert_eq!(last.status.code(), Some(0));
    // A test in which nothing went wrong proves nothing.
    assert!(verdict.is_worth_its_time(), "seed {seed}: {}", verdict.told());
    told.store(true, Ordering::Relaxed);
}

/// What was found wrong, and how much there was to be found.
#[derive(Debug, Default)]
struct Verdict {
    counts: BTreeMap<&'static str, usize>,
    faults: Vec<String>,
}

impl Verdict {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn of(&self, what: &str) -> usize {
        self.counts.get(what).copied().unwrap_or_default()
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// The first few; there may be thousands of one kind.
    fn faults(&self) -> Vec<String> {
        self.faults.iter().take(10).cloned().collect()
    }

    fn told(&self) -> String {
        format!("{} faults, {:?}", self.faults.len(), self.counts)
    }

    fn is_worth_its_time(&self) -> bool {
        let enough = [
            ("succeeded", 5_000),
            ("failed", 300),
            ("unknown", 20),
            ("told nothing", 10),
            ("told maybe", 5),
            ("told the outcome", 100),
            ("duplicated callouts", 300),
            ("resent callouts", 20),
        ];
        enough.iter().all(|(what, least)| self.of(what) >= *least)
    }
}

/// What became of each write, by its track id, as its caller knows.
type Fates = BTreeMap<String, Fate>;

/// A record of the gateway's list.
type Record = Value;
