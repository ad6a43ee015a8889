//! Reading Zuora's answer ahead of a slow caller, so that the caller's pace does not hold a permit.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Duration, timeout};

use crate::body::Broken;

/// How far an answer is read ahead of its caller. An answer up to this size gives its permit back as soon as Zuora has
/// sent it, however slowly the caller reads.
pub(crate) const READ_AHEAD: usize = 1024 * 1024;

/// How long a caller may take nothing of an answer that is longer than what is read ahead.
const READER_PATIENCE: Duration = Duration::from_secs(60);

/// The caller's end of an answer that a [`Pump`] reads.
#[derive(Debug)]
pub(crate) struct Pumped {
    chunks: mpsc::UnboundedReceiver<Result<Bytes, Broken>>,
    room: Arc<Semaphore>,
}

/// Zuora's end: owns what must live until Zuora is done (`held`: the permit), independent of the caller.
pub(crate) struct Pump<T> {
    pub(crate) incoming: Incoming,
    /// How long Zuora may stay silent within an answer.
    pub(crate) patience: Duration,
    /// A write is read to its end when the caller leaves; for a read the connection is closed instead.
    pub(crate) to_the_end: bool,
    pub(crate) held: T,
}

impl<T> Pump<T> {
    /// Passes on `first`, then reads until Zuora has sent everything, broken off or fallen silent. The chunks wait in
    /// the returned [`Pumped`], at most [`READ_AHEAD`] bytes of them and one chunk more.
    pub(crate) fn start(self, first: Bytes) -> (Pumped, impl Future<Output = ()>) {
        let (tx, chunks) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(READ_AHEAD));
        let pumped = Pumped { chunks, room: Arc::clone(&room) };
        if !first.is_empty() {
            let _ = tx.send(Ok(first));
        }
        (pumped, self.run(tx, room))
    }

    async fn run(mut self, tx: mpsc::UnboundedSender<Result<Bytes, Broken>>, room: Arc<Semaphore>) {
        let mut reader = Some(tx);
        loop {
            let frame = tokio::select! {
                () = left(reader.as_ref()), if !self.to_the_end => break,
                frame = timeout(self.patience, self.incoming.frame()) => frame,
            };
            match frame {
                Ok(Some(Ok(frame))) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    // A write is read to its end though nobody takes it; for a read the connection is closed.
                    if !hand_over(&mut reader, &room, chunk).await && !self.to_the_end {
                        break;
                    }
                }
                Ok(None) => break,
                Ok(Some(Err(_))) | Err(_) => {
                    let _ = reader.map(|reader| reader.send(Err(Broken)));
                    break;
                }
            }
        }
        // First the connection, and then the permit: a read that was broken off is over when its connection is.
        drop(self.incoming);
        drop(self.held);
    }
}

type Reader = mpsc::UnboundedSender<Result<Bytes, Broken>>;

/// Returns when the reader has left.
async fn left(reader: Option<&Reader>) {
    if let Some(reader) = reader {
        reader.closed().await;
    }
}

/// Gives the reader its next chunk once there is room for it. `false` when there is no reader any more: it has left, or
/// it has not read for so long that it is told no more, as it would hold a permit for ever.
async fn hand_over(reader: &mut Option<Reader>, room: &Semaphore, chunk: Bytes) -> bool {
    let Some(tx) = reader else { return false };
    match timeout(READER_PATIENCE, make_room(room, chunk.len(), tx)).await {
        Ok(true) => return tx.send(Ok(chunk)).is_ok(),
        Ok(false) => {}
        Err(_) => drop(tx.send(Err(Broken))),
    }
    *reader = None;
    false
}

/// Waits until `bytes` more may be read ahead. `false` once the caller is gone.
async fn make_room(
    room: &Semaphore,
    bytes: usize,
    tx: &mpsc::UnboundedSender<Result<Bytes, Broken>>,
) -> bool {
    let bytes = u32::try_from(bytes.min(READ_AHEAD)).unwrap_or(u32::MAX);
    tokio::select! {
        biased;
        permit = room.acquire_many(bytes) => {
            permit.expect("the room is never closed").forget();
            true
        }
        () = tx.closed() => false,
    }
}

impl Pumped {
    /// As if these bytes, and no more, had been pumped.
    pub(crate) fn of(bytes: Bytes) -> Self {
        let (tx, chunks) = mpsc::unbounded_channel();
        let _ = tx.send(Ok(bytes));
        Self { chunks, room: Arc::new(Semaphore::new(0)) }
    }

    /// The next chunk, `None` at the end of the answer.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        let next = ready!(self.chunks.poll_recv(cx));
        if let Some(Ok(chunk)) = &next {
            self.room.add_permits(chunk.len().min(READ_AHEAD));
        }
        Poll::Ready(next)
    }
}
