//! A caller's body as it arrives, and what becomes of the rest when nobody wants it any more.

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

/// How much of a body is read that nobody wants. Most callers send everything before they look for the answer; a
/// connection that closes under them takes the answer along.
const LINGER: u64 = 16 * 1024 * 1024;

/// How long it is read.
const LINGER_TIME: Duration = Duration::from_secs(5);

/// A caller's body. When it is dropped before its end, the rest is read by a task of its own, within bounds, and thrown
/// away.
#[derive(Debug)]
pub(crate) struct Received {
    /// Gone once it has ended, well or badly.
    incoming: Option<Incoming>,
    lingers: bool,
}

impl Received {
    pub(crate) fn of(request: Request<Incoming>) -> Request<Self> {
        // A stream of HTTP/2 can be ended alone. And who waits for `100 Continue` would be told to go on.
        let lingers = request.version() < Version::HTTP_2 && !expects(request.headers());
        request.map(|incoming| Self { incoming: Some(incoming), lingers })
    }

    /// Whether the connection ends if the rest of this body is not wanted.
    pub(crate) fn ends_connection(&self) -> bool {
        !self.is_end_stream()
            && (!self.lingers || self.size_hint().upper().is_none_or(|length| length > LINGER))
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.incoming = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
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
