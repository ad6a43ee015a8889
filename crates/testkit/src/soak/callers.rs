//! Callers: some stay to the end, some read slowly, and some leave, at any stage.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::calls::{Call, Memory, up_to};
use super::scene::{Pipe, Scene};

/// Longer than anybody is kept waiting: what takes longer hangs.
const AGES: Duration = Duration::from_secs(900);

/// What of an answer is taken at a time.
const SIP: usize = 16 * 1024;

/// How far a caller was when it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Within the head of its call.
    InHead,
    /// Within the body of its call.
    InBody,
    /// Before an answer began: in the queue, before a lane, at Zuora, or while the call rested.
    BeforeAnswer,
    /// With a part of the answer.
    InAnswer,
}

impl Stage {
    /// The words for it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::InHead => "within the head of the call",
            Self::InBody => "within its body",
            Self::BeforeAnswer => "before the answer",
            Self::InAnswer => "within the answer",
        }
    }
}

/// What a caller means to do.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// It waits for all of the answer, and takes so long over each sip.
    Stays(Duration),
    /// It sends so many bytes, and leaves.
    SendsOnly(usize),
    /// It leaves after so long, wherever its call is.
    LeavesAfter(Duration),
    /// It leaves after so long and when somebody gets an answer: its own turn may have come with it.
    LeavesAtATurn(Duration),
    /// It leaves with so many bytes of the answer.
    Takes(usize),
}

/// What came of a call.
enum End {
    Answered(u16),
    Broken,
    Left(Stage),
}

pub(super) struct Caller {
    scene: Scene,
    dice: StdRng,
    name: String,
    memory: Memory,
}

/// How much of the exchange has happened.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    sent: usize,
    received: usize,
    status: Option<u16>,
}

impl Caller {
    pub(super) fn new(scene: Scene, seed: u64, number: u64) -> Self {
        let dice = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number));
        Self { scene, dice, name: format!("soak-{seed}-{number}"), memory: Memory::default() }
    }

    pub(super) async fn keep_calling(mut self) {
        let mut number = 0;
        while Instant::now() < self.scene.until {
            sleep(Duration::from_millis(self.dice.random_range(0..200))).await;
            number += 1;
            let track_id = format!("{}-{number}", self.name);
            let call = Call::any(&mut self.dice, &mut self.memory, &track_id);
            let manner = self.manner(&call);
            let end = self.call(&call, manner).await;
            self.scene.watch().glance();
            let mut seen = self.scene.watch().seen();
            match end {
                Some(End::Answered(status)) => *seen.answered.entry(status).or_default() += 1,
                Some(End::Broken) => seen.broken += 1,
                Some(End::Left(stage)) => *seen.left.entry(stage).or_default() += 1,
                None => {
                    drop(seen);
                    self.scene.watch().tell(&format!("{track_id} was never answered: {manner:?}"));
                }
            }
        }
    }

    fn manner(&mut self, call: &Call) -> Manner {
        let dice = &mut self.dice;
        match dice.random_range(0..10) {
            0..4 => Manner::Stays(Duration::ZERO),
            4 => Manner::Stays(Duration::from_millis(dice.random_range(1..10))),
            5 => Manner::SendsOnly(dice.random_range(0..call.bytes.len())),
            6 => Manner::SendsOnly(dice.random_range(0..=call.head)),
            // All orders of magnitude alike, from 1 ms to 5 s.
            7 => {
                let seconds = 10_f64.powf(dice.random_range(-3.0..0.7));
                Manner::LeavesAfter(Duration::from_secs_f64(seconds))
            }
            8 => Manner::LeavesAtATurn(Duration::from_millis(dice.random_range(1..500))),
            _ => Manner::Takes(up_to(1_000_000, dice)),
        }
    }

    /// `None` if it hangs. Whoever leaves drops the connection, and everything on its way with it.
    async fn call(&mut self, call: &Call, manner: Manner) -> Option<End> {
        let connection = self.scene.connect().await;
        let mut progress = Progress::default();
        let answers = Arc::clone(&self.scene.answers);
        let patience = async {
            match manner {
                Manner::LeavesAfter(time) => sleep(time).await,
                Manner::LeavesAtATurn(time) => {
                    sleep(time).await;
                    // Sockets are not watched.
                    let _ = timeout(Duration::from_secs(1), answers.notified()).await;
                }
                _ => sleep(AGES).await,
            }
        };
        let exchange = self.exchange(connection, call, manner, &mut progress);
        let ended = tokio::select! {
            biased;
            () = patience => false,
            () = exchange => true,
        };
        match (ended, manner) {
            (true, Manner::SendsOnly(sent)) => {
                Some(End::Left(if sent < call.head { Stage::InHead } else { Stage::InBody }))
            }
            (true, Manner::Takes(bytes)) if progress.received >= bytes => {
                Some(End::Left(Stage::InAnswer))
            }
            (true, _) => Some(progress.status.map_or(End::Broken, End::Answered)),
            (false, Manner::LeavesAfter(_) | Manner::LeavesAtATurn(_)) => {
                Some(End::Left(match progress {
                    Progress { received: 1.., .. } => Stage::InAnswer,
                    Progress { sent, .. } if sent < call.head => Stage::InHead,
                    Progress { sent, .. } if sent < call.bytes.len() => Stage::InBody,
                    Progress { .. } => Stage::BeforeAnswer,
                }))
            }
            (false, _) => None,
        }
    }

    async fn exchange(
        &mut self,
        connection: Box<dyn Pipe>,
        call: &Call,
        manner: Manner,
        progress: &mut Progress,
    ) {
        let (mut reader, mut writer) = split(connection);
        let Progress { sent, received, status } = progress;
        let watch = self.scene.watch();
        let most = if let Manner::SendsOnly(most) = manner { most } else { call.bytes.len() };
        let pace = if let Manner::Stays(pace) = manner { pace } else { Duration::ZERO };
        let last = if let Manner::Takes(bytes) = manner { bytes } else { usize::MAX };
        let sending = async {
            while *sent < most {
                // An answer may come before the call is whole, and then nobody takes the rest.
                let Ok(bytes) = writer.write(&call.bytes[*sent..most]).await else { break };
                *sent += bytes;
                watch.glance();
            }
        };
        if matches!(manner, Manner::SendsOnly(_)) {
            return sending.await;
        }
        let receiving = async {
            let mut sip = vec![0; SIP];
            while *received < last {
                let Ok(bytes @ 1..) = reader.read(&mut sip).await else { break };
                // The status line comes in one piece: it is written with the head.
                if status.is_none() {
                    let line = String::from_utf8_lossy(&sip[..bytes.min(16)]).into_owned();
                    *status = line.split(' ').nth(1).and_then(|code| code.get(..3)?.parse().ok());
                }
                *received += bytes;
                watch.glance();
                if !pace.is_zero() {
                    sleep(pace).await;
                }
            }
        };
        tokio::select! {
            () = receiving => {}
            // It is sent, and what remains is to receive. Without an answer the connection ends.
            () = async { sending.await; std::future::pending().await } => {}
        }
    }
}
