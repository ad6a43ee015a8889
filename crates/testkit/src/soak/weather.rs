//! What goes wrong at Zuora and on the way to it.

use emulator::{Category, Fault, FaultKind, Tenant};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Duration, Instant, sleep};

use super::{Soak, Wire};

/// More faults than this do not wait at a time.
const MOST_WAITING: usize = 4;

pub(super) struct Weather {
    dice: StdRng,
    /// Whether tokens are rejected, too.
    rejects: bool,
}

impl Weather {
    pub(super) fn new(soak: &Soak) -> Self {
        Self { dice: StdRng::seed_from_u64(soak.seed), rejects: soak.wire == Wire::Pipes }
    }

    /// Fine weather, in which now and then something goes wrong with one of the next calls, foul weather, and times at
    /// which nobody is there. Never ends.
    pub(super) async fn keep_striking(&mut self, tenant: &Tenant) {
        loop {
            let lasts = Duration::from_millis(self.dice.random_range(500..4_000));
            match self.dice.random_range(0..5) {
                0 => {
                    let nobody = Fault::once("/v1", FaultKind::HtmlUnavailable).times(u32::MAX);
                    tenant.fault(nobody);
                    sleep(lasts).await;
                    tenant.clear_faults();
                }
                1 => self.strike(tenant, lasts, 60).await,
                _ => self.strike(tenant, lasts, 500).await,
            }
        }
    }

    /// A fault every so many milliseconds, more or less.
    async fn strike(&mut self, tenant: &Tenant, lasts: Duration, every: u64) {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            sleep(Duration::from_millis(self.dice.random_range(1..2 * every))).await;
            if tenant.faults().len() < MOST_WAITING {
                let fault = Fault::once("/v1", self.kind()).after(self.dice.random_range(0..4));
                tenant.fault(fault);
            }
        }
    }

    /// Anything after which the tenant works no longer than the connection lives, or the answer lasts: whoever holds
    /// permits cannot know of other work.
    fn kind(&mut self) -> FaultKind {
        let dice = &mut self.dice;
        match dice.random_range(0..16) {
            0 => FaultKind::Cut { executed: false },
            1 => FaultKind::Cut { executed: true },
            2 => FaultKind::CutBody { after: dice.random_range(0..200) },
            3 => FaultKind::CutRequest {
                after: dice.random_range(0..700),
                executed: dice.random_bool(0.5),
                reset: dice.random_bool(0.5),
            },
            4 => FaultKind::CutAnswer {
                after: dice.random_range(0..700),
                reset: dice.random_bool(0.5),
            },
            5 => FaultKind::RefuseConcurrency,
            6 if dice.random_bool(0.3) => FaultKind::RefuseRate { reset: 1 },
            6 | 7 => FaultKind::LimitInBody,
            8 => FaultKind::Contended,
            9 => FaultKind::HtmlUnavailable,
            10 => FaultKind::GatewayTimeout {
                after_ms: dice.random_range(1..500),
                completes_after_ms: None,
            },
            11 => FaultKind::Delay { milliseconds: dice.random_range(1..1000) },
            12 => FaultKind::BodySize { bytes: dice.random_range(1..4_000_000) },
            13 if self.rejects => FaultKind::Unauthenticated,
            14 => self.long_complaint(),
            _ => FaultKind::Fail {
                category: Category::Internal,
                shape: None,
                message_bytes: dice.random_range(0..60_000),
            },
        }
    }

    /// An answer that says before its end that nothing was begun.
    fn long_complaint(&mut self) -> FaultKind {
        let status = if self.rejects && self.dice.random_bool(0.5) { 401 } else { 429 };
        let code = if status == 429 { 50_000_070 } else { 90_000_011 };
        let more = "x".repeat(self.dice.random_range(0..3_000_000));
        let body = format!(
            r#"{{"success": false, "reasons": [{{"code": {code}, "message": "no"}}], "more": "{more}"}}"#
        );
        FaultKind::Answer {
            status,
            body,
            content_type: "application/json".to_owned(),
            headers: vec![("retry-after".to_owned(), "1".to_owned())],
            executed: false,
        }
    }
}
