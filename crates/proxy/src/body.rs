//! Bodies on their way through: whole in memory, or flowing with a bounded buffer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use admission::Kept;
use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Duration, Instant, Sleep, sleep_until};
use zuora::soap::{BadEnvelope, Splice};

use crate::call::Call;
use crate::links::Rewriting;
use crate::outbound::BODY_PATIENCE;
use crate::progress::Progress;
use crate::pump::Pumped;
use crate::received::{BadBody, Received};
use crate::request::LONGEST_BODY;

/// How long an upload may take in all: it holds a permit. The longest body at 2.3 MB a second.
const LONGEST_UPLOAD: Duration = Duration::from_secs(15 * 60);

/// What a caller receives. Ends the call it belongs to when it is dropped: at its last byte, or when
/// the caller leaves.
#[derive(Debug)]
pub struct Body {
    content: Content,
    call: Option<Box<Call>>,
}

enum Content {
    Whole(Option<Bytes>),
    Flowing(Pumped),
    /// Boxed, as few answers are so long.
    Rewriting(Box<Rewriting>),
    /// What the gateway itself tells bit by bit.
    Streaming(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
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

    pub(crate) fn rewriting(rewriting: Rewriting) -> Self {
        Self { content: Content::Rewriting(Box::new(rewriting)), call: None }
    }

    pub(crate) fn streaming(stream: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self { content: Content::Streaming(Box::pin(stream)), call: None }
    }

    /// Keeps the call open until this body ends.
    pub(crate) fn of(mut self, mut call: Box<Call>) -> Self {
        if call.is_head() || http_body::Body::is_end_stream(&self) {
            call.completed();
        }
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
            Content::Rewriting(rewriting) => ready!(rewriting.poll_next(cx)),
            Content::Streaming(stream) => ready!(stream.as_mut().poll_next(cx)).map(Ok),
        };
        let is_whole = matches!(self.content, Content::Whole(_));
        if let Some(call) = &mut self.call {
            match &next {
                Some(Ok(bytes)) => call.sent(bytes.len()),
                Some(Err(Broken)) => {}
                None => call.completed(),
            }
            if is_whole {
                call.completed();
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
            Content::Flowing(_) | Content::Rewriting(_) | Content::Streaming(_) => {
                SizeHint::default()
            }
        }
    }
}

/// What Zuora receives.
#[derive(Debug)]
pub(crate) struct Upload {
    content: UploadContent,
    progress: Arc<Progress>,
}

/// A body that is kept, so that it can be sent again, or one that flows through once.
pub(crate) enum UploadContent {
    Kept(Option<Bytes>),
    Flowing(Box<Flow>),
}

/// A body too long to keep: what was read of it already, then the rest as it arrives.
pub(crate) struct Flow {
    first: Option<Bytes>,
    /// Counts `first` as long as it is here.
    counted: Option<Kept>,
    rest: Received,
    /// How many bytes may still come.
    room: u64,
    patience: Option<Patience>,
}

/// With a caller that uploads: it holds a permit, so it must go on, and come to an end. Begins when somebody waits for
/// its bytes, which may be long after it was told to wait itself.
struct Patience {
    ends: Instant,
    silence: Pin<Box<Sleep>>,
}

/// Why an upload ended before it was complete. Zuora then never gets a complete request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the caller's body broke off")]
    Caller(#[source] hyper::Error),
    #[error("the caller's SOAP envelope became ambiguous")]
    Envelope(#[source] BadEnvelope),
    #[error("the caller's body stopped arriving")]
    Silent,
    #[error("the caller's body is too long")]
    TooLong,
}

impl Upload {
    pub(crate) fn new(content: UploadContent, progress: Arc<Progress>) -> Self {
        Self { content, progress }
    }
}

impl UploadContent {
    /// Puts a session into the envelope that it is.
    pub(crate) fn splice(&mut self, splice: &Splice, session: &str) {
        match self {
            Self::Kept(bytes) => {
                *bytes = bytes.take().map(|bytes| splice.put(&bytes, session).into());
            }
            Self::Flowing(flow) => flow.splice(splice, session),
        }
    }
}

impl Flow {
    /// `first`, counted by `counted`, and then `rest`.
    pub(crate) fn new(first: Bytes, counted: Option<Kept>, rest: Received) -> Self {
        let room = LONGEST_BODY.saturating_sub(len(&first));
        let first = Some(first).filter(|bytes| !bytes.is_empty());
        Self { first, counted, rest, room, patience: None }
    }

    /// Puts a session into the envelope that it is, of which as much was read as that needs.
    pub(crate) fn splice(&mut self, splice: &Splice, session: &str) {
        let first = self.first.take().unwrap_or_else(|| self.rest.take_again());
        self.first = Some(splice.put(&first, session).into());
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Some(first) = self.first.take() {
            self.counted = None;
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let patience = self.patience.get_or_insert_with(Patience::begin);
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.rest).poll_frame(cx) else {
                ready!(patience.silence.as_mut().poll(cx));
                return Poll::Ready(Some(Err(UploadError::Silent)));
            };
            patience.go_on();
            // Trailers end here: RFC 9110 6.5.1 lets an intermediary discard them, and Zuora defines none.
            let data = match frame {
                Some(Ok(frame)) if frame.is_data() => frame,
                Some(Ok(_)) => continue,
                Some(Err(bad)) => return Poll::Ready(Some(Err(bad.into()))),
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

impl From<BadBody> for UploadError {
    fn from(bad: BadBody) -> Self {
        match bad {
            BadBody::Cut(cause) => Self::Caller(cause),
            BadBody::Envelope(bad) => Self::Envelope(bad),
        }
    }
}

impl Patience {
    fn begin() -> Self {
        let now = Instant::now();
        Self { ends: now + LONGEST_UPLOAD, silence: Box::pin(sleep_until(now + BODY_PATIENCE)) }
    }

    fn go_on(&mut self) {
        let next = (Instant::now() + BODY_PATIENCE).min(self.ends);
        self.silence.as_mut().reset(next);
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let frame = match &mut self.content {
            UploadContent::Kept(bytes) => bytes.take().map(Frame::data).map(Ok),
            UploadContent::Flowing(flow) => ready!(flow.poll_frame(cx)),
        };
        self.progress.sent();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            UploadContent::Kept(bytes) => bytes.is_none(),
            UploadContent::Flowing(flow) => flow.first.is_none() && flow.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            UploadContent::Kept(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, len)),
            UploadContent::Flowing(flow) => {
                let first = flow.first.as_ref().map_or(0, len);
                let rest = flow.rest.size_hint().exact();
                rest.map(|rest| SizeHint::with_exact(first + rest)).unwrap_or_default()
            }
        }
    }
}

// Bodies may hold customers' data, and tokens: what is printed of them is their length.

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.as_ref().map_or(0, len)),
            Self::Flowing(_) => f.write_str("Flowing"),
            Self::Rewriting(_) => f.write_str("Rewriting"),
            Self::Streaming(_) => f.write_str("Streaming"),
        }
    }
}

impl fmt::Debug for UploadContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(bytes) => write!(f, "Kept({} bytes)", bytes.as_ref().map_or(0, len)),
            Self::Flowing(flow) => flow.fmt(f),
        }
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flow({} bytes, and the rest)", self.first.as_ref().map_or(0, len))
    }
}

fn len(bytes: &Bytes) -> u64 {
    bytes.len() as u64
}
