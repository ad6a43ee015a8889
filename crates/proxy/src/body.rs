//! Bodies on their way through: whole in memory, or flowing with a bounded buffer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::call::Call;
use crate::outbound::BODY_PATIENCE;
use crate::pump::Pumped;
use crate::received::Received;
use crate::request::LONGEST_BODY;

/// What a caller receives. Ends the call it belongs to when it is dropped: at its last byte, or when
/// the caller leaves.
#[derive(Debug)]
pub struct Body {
    content: Content,
    call: Option<Box<Call>>,
}

#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    Flowing(Pumped),
}

/// Zuora's answer ended before it was complete, so the caller must not take it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off upstream")]
pub struct Broken;

impl Body {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self { content: Content::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())), call: None }
    }

    pub(crate) fn flowing(pumped: Pumped) -> Self {
        Self { content: Content::Flowing(pumped), call: None }
    }

    /// Keeps the call open until this body ends.
    pub(crate) fn of(mut self, call: Box<Call>) -> Self {
        self.call = Some(call);
        self
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let next = match &mut self.content {
            Content::Whole(bytes) => bytes.take().map(Ok),
            Content::Flowing(pumped) => ready!(pumped.poll_next(cx)),
        };
        if let (Some(call), Some(next)) = (&mut self.call, &next) {
            match next {
                Ok(bytes) => call.sent(bytes.len()),
                Err(Broken) => call.broke(),
            }
        }
        Poll::Ready(next.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, len)),
            Content::Flowing(_) => SizeHint::default(),
        }
    }
}

/// What Zuora receives: a body that is kept, so that it can be sent again, or one that flows through once.
#[derive(Debug)]
pub(crate) enum Upload {
    Kept(Option<Bytes>),
    Flowing(Box<Flow>),
}

/// A body too long to keep: what was read of it already, then the rest as it arrives.
#[derive(Debug)]
pub(crate) struct Flow {
    first: Option<Bytes>,
    rest: Received,
    /// How many bytes may still come.
    room: u64,
    /// Ends an upload whose caller has stopped sending: it holds a permit.
    silence: Pin<Box<Sleep>>,
}

/// Why an upload ended before it was complete. Zuora then never gets a complete request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the caller's body broke off")]
    Caller(#[source] hyper::Error),
    #[error("the caller's body stopped arriving")]
    Silent,
    #[error("the caller's body is too long")]
    TooLong,
}

impl Flow {
    pub(crate) fn new(first: Bytes, rest: Received) -> Self {
        let room = LONGEST_BODY.saturating_sub(len(&first));
        let silence = Box::pin(sleep(BODY_PATIENCE));
        Self { first: Some(first).filter(|bytes| !bytes.is_empty()), rest, room, silence }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.rest).poll_frame(cx) else {
                ready!(self.silence.as_mut().poll(cx));
                return Poll::Ready(Some(Err(UploadError::Silent)));
            };
            self.silence.as_mut().reset(Instant::now() + BODY_PATIENCE);
            // Trailers end here: RFC 9110 6.5.1 lets an intermediary discard them, and Zuora defines none.
            let data = match frame {
                Some(Ok(frame)) if frame.is_data() => frame,
                Some(Ok(_)) => continue,
                Some(Err(cause)) => return Poll::Ready(Some(Err(UploadError::Caller(cause)))),
                None => return Poll::Ready(None),
            };
            let Some(room) = self.room.checked_sub(data.data_ref().map_or(0, len)) else {
                return Poll::Ready(Some(Err(UploadError::TooLong)));
            };
            self.room = room;
            return Poll::Ready(Some(Ok(data)));
        }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match &mut *self {
            Self::Kept(bytes) => Poll::Ready(bytes.take().map(Frame::data).map(Ok)),
            Self::Flowing(flow) => flow.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Kept(bytes) => bytes.is_none(),
            Self::Flowing(flow) => flow.first.is_none() && flow.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Kept(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, len)),
            Self::Flowing(flow) => {
                let first = flow.first.as_ref().map_or(0, len);
                flow.rest
                    .size_hint()
                    .exact()
                    .map(|rest| SizeHint::with_exact(first + rest))
                    .unwrap_or_default()
            }
        }
    }
}

fn len(bytes: &Bytes) -> u64 {
    bytes.len() as u64
}
