//! The body of an answer: whole, made on the way, or broken on purpose.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::{answers::Repeated, limits::Permit};

/// A piece of a file that is made while it is sent.
static FILLER: [u8; 64 * 1024] = [b'z'; 64 * 1024];

/// How long a broken answer rests before it breaks off, so that what was said
/// before has left: the server would otherwise drop it with the connection.
const BEFORE_THE_CUT: Duration = Duration::from_millis(20);

/// The connection is closed here, because a fault asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the emulated tenant closed the connection, as a fault asked it to")]
pub(crate) struct Cut;

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    /// All there. `chunked`: its size is not announced.
    Whole { bytes: Bytes, chunked: bool },
    /// So many bytes made on the way. The call is worked on until the last of
    /// them, so its permit travels along.
    Filler { left: u64, permit: Option<Permit> },
    /// A text made on the way; its size is not announced.
    Repeated { text: Repeated, began: bool, permit: Option<Permit> },
    /// Announced in full, sent in part.
    Broken { first: Bytes, left: u64 },
    /// All that will be sent is on its way.
    Breaking { rest: Pin<Box<Sleep>>, left: u64 },
    /// Everything is sent.
    Done,
}

impl AnswerBody {
    pub(crate) fn whole(bytes: Bytes, chunked: bool) -> Self {
        let shape = if bytes.is_empty() { Shape::Done } else { Shape::Whole { bytes, chunked } };
        Self { shape }
    }

    pub(crate) fn filler(bytes: u64, permit: Option<Permit>) -> Self {
        let shape = if bytes == 0 { Shape::Done } else { Shape::Filler { left: bytes, permit } };
        Self { shape }
    }

    pub(crate) fn repeated(text: Repeated, permit: Option<Permit>) -> Self {
        Self { shape: Shape::Repeated { text, began: false, permit } }
    }

    /// `whole`, of which only the first `after` bytes arrive.
    pub(crate) fn broken(whole: &Bytes, after: u64) -> Self {
        let after = usize::try_from(after).unwrap_or(usize::MAX).min(whole.len());
        let left = (whole.len() - after) as u64;
        // Even a cut behind the last byte must be seen as a cut.
        Self { shape: Shape::Broken { first: whole.slice(..after), left: left.max(1) } }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match std::mem::replace(&mut self.shape, Shape::Done) {
            Shape::Whole { bytes, .. } => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Shape::Filler { left, permit } => {
                let size = left.min(FILLER.len() as u64);
                if left > size {
                    self.shape = Shape::Filler { left: left - size, permit };
                }
                // Else the permit ends here, before the last byte leaves: who
                // has read it all may rely on there being room again.
                let size = usize::try_from(size).unwrap_or(FILLER.len());
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FILLER[..size])))))
            }
            Shape::Repeated { mut text, began, permit } => {
                let piece = match (began, text.times) {
                    (false, _) => text.first.clone(),
                    (true, 0) => return Poll::Ready(Some(Ok(Frame::data(text.last)))),
                    (true, _) => {
                        text.times -= 1;
                        text.block.clone()
                    }
                };
                self.shape = Shape::Repeated { text, began: true, permit };
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Shape::Broken { first, left } => {
                self.shape = Shape::Breaking { rest: Box::pin(sleep(BEFORE_THE_CUT)), left };
                if first.is_empty() {
                    return self.poll_frame(context);
                }
                Poll::Ready(Some(Ok(Frame::data(first))))
            }
            Shape::Breaking { mut rest, left } => {
                let rested = rest.as_mut().poll(context);
                self.shape = Shape::Breaking { rest, left };
                ready!(rested);
                Poll::Ready(Some(Err(Cut)))
            }
            Shape::Done => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.shape, Shape::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.shape {
            Shape::Whole { chunked: true, .. } | Shape::Repeated { .. } => SizeHint::default(),
            Shape::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Shape::Filler { left, .. } => SizeHint::with_exact(*left),
            Shape::Broken { first, left } => SizeHint::with_exact(first.len() as u64 + left),
            Shape::Breaking { left, .. } => SizeHint::with_exact(*left),
            Shape::Done => SizeHint::with_exact(0),
        }
    }
}
