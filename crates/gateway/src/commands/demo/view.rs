//! What the demo shows: a live picture on a terminal, a line now and then elsewhere, and a table at the end.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use admission::{Admission, PoolSnapshot};
use emulator::{Ledger, Tenant};
use tokio::time::Instant;

use super::apps::{APPS, Load};
use super::writes::Outcomes;

/// The pool that the demo's apps share.
const POOL: &str = "Default";

const WIDTH: usize = 40;

/// Reads everybody and draws.
#[derive(Debug)]
pub(super) struct View<'a> {
    loads: &'a [Arc<Load>],
    tenant: &'a Tenant,
    /// The gateway's own view; absent without a gateway.
    admission: Option<&'a Admission>,
    is_terminal: bool,
    began: Instant,
    last: RefCell<Last>,
}

/// What the last frame showed, to draw over it and to tell rates.
#[derive(Debug)]
struct Last {
    lines: usize,
    at: Instant,
    answered: [u64; APPS.len()],
}

impl<'a> View<'a> {
    pub(super) fn new(
        loads: &'a [Arc<Load>],
        tenant: &'a Tenant,
        admission: Option<&'a Admission>,
    ) -> Self {
        let now = Instant::now();
        let last = RefCell::new(Last { lines: 0, at: now, answered: [0; APPS.len()] });
        let is_terminal = std::io::stdout().is_terminal();
        Self { loads, tenant, admission, is_terminal, began: now, last }
    }

    /// How often to draw.
    pub(super) fn pace(&self) -> Duration {
        if self.is_terminal { Duration::from_millis(250) } else { Duration::from_secs(5) }
    }

    /// The picture of this moment.
    pub(super) fn frame(&self) -> String {
        let ledger = self.tenant.counters();
        let pool = self.admission.and_then(pool);
        let rates = self.rates();
        if !self.is_terminal {
            return self.line(&ledger, rates);
        }
        let picture = self.picture(&ledger, pool.as_ref(), rates);
        let mut last = self.last.borrow_mut();
        // Back to the first line of the last frame, and over it.
        let back =
            if last.lines > 0 { format!("\x1b[{}A\x1b[J", last.lines) } else { String::new() };
        last.lines = picture.lines().count();
        back + &picture
    }

    fn picture(
        &self,
        ledger: &Ledger,
        pool: Option<&PoolSnapshot>,
        rates: [f64; APPS.len()],
    ) -> String {
        let (now, limit) = (in_flight(ledger), limit(ledger));
        let mut text =
            format!("\n  {:>5.1}s  permits at the tenant\n", self.began.elapsed().as_secs_f64());
        let _ = writeln!(
            text,
            "          [{}] {now} of {limit}, at most {} so far",
            bar(now, limit),
            most(ledger)
        );
        let _ = writeln!(text, "          refused by the tenant: {}\n", ledger.refused_concurrency);
        let _ = writeln!(
            text,
            "  {:<10}{:>12}{:>10}{:>10}{:>12}{:>12}{:>10}",
            "app", "connections", "permits", "waiting", "longest", "answers/s", "429s"
        );
        for (index, load) in self.loads.iter().enumerate() {
            let seen =
                pool.and_then(|pool| pool.apps.iter().find(|seen| &*seen.app == load.app.name));
            let (permits, waiting, longest) = match seen {
                Some(seen) => (
                    seen.in_use.to_string(),
                    seen.queued.to_string(),
                    format!("{:.2}s", seen.oldest_wait.as_secs_f64()),
                ),
                None => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
            };
            let refused = load.refused.load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "  {:<10}{:>12}{permits:>10}{waiting:>10}{longest:>12}{:>12.0}{refused:>10}",
                load.app.name, load.app.connections, rates[index],
            );
        }
        text
    }

    fn line(&self, ledger: &Ledger, rates: [f64; APPS.len()]) -> String {
        let mut text = format!(
            "{:>5.1}s  {} of {} permits",
            self.began.elapsed().as_secs_f64(),
            in_flight(ledger),
            limit(ledger)
        );
        for (load, rate) in self.loads.iter().zip(rates) {
            let _ = write!(text, "  {} {rate:.0}/s", load.app.name);
        }
        text + "\n"
    }

    fn rates(&self) -> [f64; APPS.len()] {
        let mut last = self.last.borrow_mut();
        let now = Instant::now();
        let seconds = (now - last.at).as_secs_f64().max(0.001);
        let mut rates = [0.0; APPS.len()];
        for (index, load) in self.loads.iter().enumerate() {
            let answered = load.answered.load(Ordering::Relaxed);
            rates[index] = (answered - last.answered[index]) as f64 / seconds;
            last.answered[index] = answered;
        }
        last.at = now;
        rates
    }

    /// What each app got in `lasted`, what the tenant says about it, and what became of writes that were done later.
    pub(super) fn summary(&self, lasted: Duration, outcomes: Option<Outcomes>) -> String {
        let ledger = self.tenant.counters();
        let total: u64 = self.loads.iter().map(|load| load.answered.load(Ordering::Relaxed)).sum();
        let mut text = String::from("\n");
        let _ = writeln!(
            text,
            "  {:<10}{:>12}{:>10}{:>8}{:>10}{:>10}{:>10}{:>10}",
            "app", "connections", "answers", "share", "p50", "p99", "429s", "failed"
        );
        for load in self.loads {
            let answered = load.answered.load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "  {:<10}{:>12}{answered:>10}{:>7.0}%{:>10}{:>10}{:>10}{:>10}",
                load.app.name,
                load.app.connections,
                100.0 * answered as f64 / total.max(1) as f64,
                millis(load.latency(0.5)),
                millis(load.latency(0.99)),
                load.refused.load(Ordering::Relaxed),
                load.failed.load(Ordering::Relaxed),
            );
        }
        let _ = writeln!(
            text,
            "\n  the tenant: limit {}, at most {} at once, {} refused; tokens issued: {}",
            limit(&ledger),
            most(&ledger),
            ledger.refused_concurrency,
            ledger.token_calls - ledger.token_refused
        );
        text += &goodput(&ledger, total as f64 / lasted.as_secs_f64());
        if let Some(Outcomes { accepted, known }) = outcomes {
            let _ = writeln!(
                text,
                "  {} also had {accepted} accounts made later, with Prefer: respond-async; outcomes that came back: {known}",
                APPS[0].name
            );
        }
        if self.admission.is_some() {
            text += "\n  the same without a gateway: zuora-gateway demo --no-gateway\n";
        }
        text
    }
}

/// How much of what the tenant could do was done. Nothing can be said of calls that take no time, or of none.
fn goodput(ledger: &Ledger, rate: f64) -> String {
    let mean = ledger.mean_service_seconds;
    if mean < 0.001 || ledger.executed_total == 0 {
        return String::new();
    }
    let ideal = f64::from(limit(ledger)) / mean;
    let share = 100.0 * rate / ideal;
    let mean = millis(Duration::from_secs_f64(mean));
    format!(
        "  goodput: {rate:.0} answers/s of {ideal:.0} possible ({share:.1} %): limit ÷ mean service time of {mean}\n"
    )
}

fn pool(admission: &Admission) -> Option<PoolSnapshot> {
    admission.snapshot().pools.into_iter().find(|pool| &*pool.name == POOL)
}

fn in_flight(ledger: &Ledger) -> u32 {
    ledger.in_flight.get(POOL).copied().unwrap_or_default()
}

fn most(ledger: &Ledger) -> u32 {
    ledger.most_in_flight.get(POOL).copied().unwrap_or_default()
}

fn limit(ledger: &Ledger) -> u32 {
    ledger.limits.get(POOL).copied().unwrap_or_default()
}

fn bar(now: u32, limit: u32) -> String {
    let full = WIDTH * now.min(limit) as usize / limit.max(1) as usize;
    "#".repeat(full) + &".".repeat(WIDTH - full)
}

fn millis(time: Duration) -> String {
    format!("{:.0}ms", time.as_secs_f64() * 1000.0)
}
