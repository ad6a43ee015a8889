//! Memory of a proxy: at rest, per idle connection, per waiting request, and with large bodies.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use benches::{
    client::Connection,
    machine::Memory,
    peers::{Keys, Kind, Peer, Surroundings, authorization},
    table::Table,
    upstream::{PAUSE, TOKEN, Upstream, drain},
};
use http::StatusCode;
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

use crate::{APP, PATH};

/// The tenant's limit, behind which the others wait.
const SLOTS: u32 = 40;

/// Bodies that go through at once.
const PARALLEL: usize = 4;

/// Sizes of bodies, in bytes. Their peaks are to be the same.
const BODIES: [u64; 2] = [10_000_000, 200_000_000];

/// Any one part of the measurement that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(100);

/// Measures all of `kinds`, one after the other, and prints tables.
pub(crate) fn run(kinds: &[Kind], waiting: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // The proxies start on this thread: they end with the thread that started them.
    runtime.block_on(async {
        connections(kinds, waiting).await?;
        bodies(kinds).await
    })
}

async fn connections(kinds: &[Kind], waiting: usize) -> Result<()> {
    let some = waiting / 5;
    println!(
        "Memory: resident size of the proxy. Idle connections have each had one answer of 1 KiB. \
         Requests wait behind {SLOTS} slots of an upstream that answers none of them until all \
         have been counted; what their connections take is included.\n"
    );
    let mut table = Table::new(&[
        "peer",
        "at rest MB",
        &format!("KB per idle connection ({some} / {waiting})"),
        &format!("KB per waiting request ({waiting})"),
        "resident / peak MB then",
        "at the upstream",
        "answered 200",
    ]);
    for kind in kinds {
        let idle = idle(kind, some, waiting).await.with_context(|| kind.name().to_owned())?;
        let queue = queue(kind, waiting).await.with_context(|| kind.name().to_owned())?;
        table.row([
            kind.name().to_owned(),
            format!("{:.1}", mb(idle.at_rest)),
            format!("{:.1} / {:.1}", idle.per_some, idle.per_all),
            if queue.held > SLOTS as usize {
                "no queue".to_owned()
            } else {
                format!("{:.1}", per(queue.waiting.resident, queue.at_rest, waiting))
            },
            format!("{:.0} / {:.0}", mb(queue.waiting.resident), mb(queue.peak)),
            queue.held.to_string(),
            format!("{} of {waiting}", queue.answered),
        ]);
    }
    println!("{table}");
    Ok(())
}

struct Idle {
    at_rest: u64,
    per_some: f64,
    per_all: f64,
}

async fn idle(kind: &Kind, some: usize, all: usize) -> Result<Idle> {
    let dir = tempfile::tempdir()?;
    let upstream = Upstream::start().await?;
    let peer = start(kind, &upstream, dir.path())?;
    let at_rest = settled(&peer).await?;

    let mut open = Vec::with_capacity(all);
    let mut sizes = Vec::new();
    for target in [some, all] {
        while open.len() < target {
            let mut connection = Connection::open(peer.address, &authorization(APP)).await?;
            let answer = time::timeout(PATIENCE, connection.get(PATH)).await??;
            ensure!(answer.status() == StatusCode::OK, "{} amid idle ones", answer.status());
            drain(answer.into_body()).await?;
            open.push(connection);
        }
        sizes.push(per(settled(&peer).await?, at_rest, target));
    }
    Ok(Idle { at_rest, per_some: sizes[0], per_all: sizes[1] })
}

struct Queue {
    at_rest: u64,
    waiting: Memory,
    peak: u64,
    held: usize,
    answered: usize,
}

async fn queue(kind: &Kind, waiting: usize) -> Result<Queue> {
    let dir = tempfile::tempdir()?;
    let upstream = Upstream::start().await?;
    let peer = start(kind, &upstream, dir.path())?;
    let at_rest = settled(&peer).await?;

    let mut calls = JoinSet::new();
    for _ in 0..waiting {
        let mut connection = Connection::open(peer.address, &authorization(APP)).await?;
        calls.spawn(async move {
            let answer = connection.get("/v1/held").await?;
            let status = answer.status();
            drain(answer.into_body()).await?;
            anyhow::Ok(status)
        });
    }
    settled(&peer).await?;
    let memory = Memory::of(peer.id())?;
    let held = upstream.most_held();

    upstream.release();
    let answers = time::timeout(PATIENCE, calls.join_all()).await?;
    let answered =
        answers.iter().filter(|answer| matches!(answer, Ok(status) if *status == 200)).count();
    let peak = Memory::of(peer.id())?.peak;
    Ok(Queue { at_rest, waiting: memory, peak, held, answered })
}

async fn bodies(kinds: &[Kind]) -> Result<()> {
    println!(
        "Peak resident size (VmHWM, MB) while {PARALLEL} bodies at once go through a fresh process; \
         the receiving side begins to read {} ms late.\n",
        PAUSE.as_millis()
    );
    let mut table = Table::new(&[
        "peer",
        "10 MB down",
        "200 MB down",
        "difference",
        "10 MB up",
        "200 MB up",
        "difference",
    ]);
    for kind in kinds {
        let mut cells = vec![kind.name().to_owned()];
        for upwards in [false, true] {
            let mut peaks = Vec::new();
            for size in BODIES {
                let peak = transfer(kind, upwards, size).await;
                peaks.push(mb(peak.with_context(|| kind.name().to_owned())?));
            }
            cells.extend(peaks.iter().map(|peak| format!("{peak:.1}")));
            cells.push(format!("{:+.1}", peaks[1] - peaks[0]));
        }
        table.row(cells);
    }
    println!("{table}");
    Ok(())
}

/// Sends bodies through a fresh process and returns its peak in KiB.
async fn transfer(kind: &Kind, upwards: bool, size: u64) -> Result<u64> {
    let dir = tempfile::tempdir()?;
    let upstream = Upstream::start().await?;
    let peer = start(kind, &upstream, dir.path())?;

    let mut transfers = JoinSet::new();
    for _ in 0..PARALLEL {
        let mut connection = Connection::open(peer.address, &authorization(APP)).await?;
        transfers.spawn(async move {
            let answer = if upwards {
                connection.post("/v1/bodies", size).await?
            } else {
                connection.get(&format!("/v1/bytes/{size}")).await?
            };
            let status = answer.status();
            if !upwards {
                time::sleep(PAUSE).await;
            }
            let received = drain(answer.into_body()).await?;
            ensure!(status == StatusCode::OK, "a body of {size} bytes was answered {status}");
            ensure!(upwards || received == size, "{received} of {size} bytes arrived");
            Ok(())
        });
    }
    for result in time::timeout(PATIENCE, transfers.join_all()).await? {
        result?;
    }
    Ok(Memory::of(peer.id())?.peak)
}

fn start(kind: &Kind, upstream: &Upstream, dir: &Path) -> Result<Peer> {
    kind.start(&Surroundings {
        upstream: upstream.address(),
        limit: Some(SLOTS),
        token: TOKEN,
        apps: &[APP],
        core: None,
        dir,
        keys: Keys::default(),
    })
}

/// Waits until the resident size has not changed for a second, and returns it in KiB.
async fn settled(peer: &Peer) -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(15);
    let mut last = Memory::of(peer.id())?.resident;
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(1) && Instant::now() < deadline {
        time::sleep(Duration::from_millis(100)).await;
        let now = Memory::of(peer.id())?.resident;
        // Housekeeping may move a page or two.
        if now.abs_diff(last) > last / 200 {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(Memory::of(peer.id())?.resident)
}

fn mb(kib: u64) -> f64 {
    kib as f64 * 1.024e-3
}

/// KB for each of `count`, beyond what there was at rest.
fn per(kib: u64, at_rest: u64, count: usize) -> f64 {
    (kib as f64 - at_rest as f64) * 1.024 / count as f64
}
