//! A caller's body as it arrives, and what becomes of the rest when nobody wants it any more.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header;
use http::{HeaderMap, Request, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::{Duration, timeout};
use zuora::soap::{BadEnvelope, Envelope};

/// How much of a body is read that nobody wants. Most callers send everything before they look for the answer; a
/// connection that closes under them takes the answer along.
const LINGER: u64 = 16 * 1024 * 1024;

/// How long it is read.
const LINGER_TIME: Duration = Duration::from_secs(5);

/// A caller's body. When it is dropped before its end, the rest is read by a task of its own, within bounds, and thrown
/// away.
pub(crate) struct Received {
    /// What was read of it and put back.
    again: Bytes,
    /// Watches the rest, if it is an envelope of which only the head was understood.
    envelope: Option<Box<Envelope>>,
    /// Gone once it has ended, well or badly.
    incoming: Option<Incoming>,
    lingers: bool,
}

impl Received {
    pub(crate) fn of(request: Request<Incoming>) -> Request<Self> {
        // A stream of HTTP/2 can be ended alone. And who waits for `100 Continue` would be told to go on.
        let lingers = request.version() < Version::HTTP_2 && !expects(request.headers());
        request.map(|incoming| Self {
            again: Bytes::new(),
            envelope: None,
            incoming: Some(incoming),
            lingers,
        })
    }

    /// Puts back what was read of it, so that it comes again, in one piece. `envelope` has seen this much, and sees the
    /// rest as it comes: where it refuses, the body ends with its error.
    pub(crate) fn put_back(&mut self, read: Bytes, envelope: Box<Envelope>) {
        self.envelope = (!self.has_all_come()).then_some(envelope);
        self.again = read;
    }

    /// Takes out what was put back.
    pub(crate) fn take_again(&mut self) -> Bytes {
        std::mem::take(&mut self.again)
    }

    /// Shows the envelope, if there is one, what has come of it. Its end is seen with its last piece: whoever sends it on
    /// does not ask again once it has as much as was announced.
    fn watch(&mut self, piece: Option<&Bytes>) -> Result<(), BadEnvelope> {
        let is_last = self.has_all_come();
        let Some(envelope) = &mut self.envelope else { return Ok(()) };
        if let Some(piece) = piece {
            envelope.read(piece)?;
        }
        if is_last {
            envelope.end()?;
            self.envelope = None;
        }
        Ok(())
    }

    /// Whether nothing more of it can arrive. Over HTTP/2, the last of an announced length may be there before its end is
    /// told.
    pub(crate) fn has_all_come(&self) -> bool {
        let has_come =
            |body: &Incoming| body.is_end_stream() || body.size_hint().exact() == Some(0);
        self.incoming.as_ref().is_none_or(has_come)
    }

    /// Whether the connection ends if the rest of this body is not wanted.
    pub(crate) fn ends_connection(&self) -> bool {
        !self.is_end_stream()
            && (!self.lingers || self.size_hint().upper().is_none_or(|length| length > LINGER))
    }
}

/// Why a caller's body ended too early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadBody {
    #[error("the body broke off")]
    Cut(#[from] hyper::Error),
    #[error(transparent)]
    Envelope(#[from] BadEnvelope),
}

impl Body for Received {
    type Data = Bytes;
    type Error = BadBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BadBody>>> {
        let again = self.take_again();
        if !again.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(again))));
        }
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.incoming = None;
        }
        let frame = frame.transpose()?;
        self.watch(frame.as_ref().and_then(Frame::data_ref))?;
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.again.is_empty() && self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let again = self.again.len() as u64;
        let rest = self.incoming.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint);
        let mut all = SizeHint::new();
        all.set_lower(again + rest.lower());
        if let Some(upper) = rest.upper() {
            all.set_upper(again + upper);
        }
        all
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Received");
        shown.field("has_ended", &self.is_end_stream()).finish_non_exhaustive()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let unread = self.incoming.take().filter(|incoming| !incoming.is_end_stream());
        if let (Some(unread), true, Ok(runtime)) = (unread, self.lingers, Handle::try_current()) {
            runtime.spawn(timeout(LINGER_TIME, throw_away(unread)));
        }
    }
}

async fn throw_away(mut body: Incoming) {
    let mut room = LINGER;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        let Some(left) = room.checked_sub(length) else { return };
        room = left;
    }
}

fn expects(headers: &HeaderMap) -> bool {
    headers.contains_key(header::EXPECT)
}
