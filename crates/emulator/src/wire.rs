//! The bytes of a connection, below everything that reads them as HTTP: here
//! it can be cut between any two of them.
//!
//! Requests and answers are only followed, never changed. A connection that
//! turns out to speak HTTP/2, or something else, is left alone.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use crate::{
    faults::{FaultKind, Met, Strike},
    ledger::Event,
    locks::lock,
    message::{Direction, Message, interim_length},
    server::Inner,
};

/// How much is read from the stream at once.
const READ_BYTES: usize = 16 * 1024;

/// A longer request line is not read for faults.
const LONGEST_LINE: usize = 16 * 1024;

/// What every connection of HTTP/2 with prior knowledge begins with.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

/// How long what still arrives is read away after our end was said, so that it
/// is not answered with a reset that would overtake the bytes before it.
const FAREWELL: Duration = Duration::from_millis(250);

/// A byte stream that can be broken off.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Ends it so that the other side notices more than an end.
    fn reset(self);
}

impl Stream for TcpStream {
    fn reset(self) {
        // Without it the other side would be told of an ordinary end, which a
        // system that cannot do better may do.
        self.set_zero_linger().unwrap_or_default();
    }
}

impl Stream for DuplexStream {
    fn reset(self) {}
}

/// What the two readers of a connection, its bytes and its calls, tell each other.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// What the present request met, if its line was read for faults.
    met: Mutex<Option<Met>>,
    /// How the connection ends when a call asks for its end.
    resets: AtomicBool,
}

/// A stream that follows what passes, and cuts it where a fault says so.
#[derive(Debug)]
pub(crate) struct Wire<S: Stream> {
    /// `None` once it has been cut.
    stream: Option<S>,
    tenant: Arc<Inner>,
    link: Arc<Link>,
    /// Bytes received and not yet passed on.
    held: BytesMut,
    request: Message,
    answer: Message,
    /// Whether the line of the present request has been read for faults.
    is_judged: bool,
    /// Whether the caller has said its end, or vanished.
    has_left: bool,
    /// Whether the connection cannot be followed any more.
    is_opaque: bool,
    strike: Option<Strike>,
}

impl Link {
    /// What the request that is being answered met, told once.
    pub(crate) fn take(&self) -> Option<Met> {
        lock(&self.met).take()
    }

    /// Has the connection reset instead of closed when the call ends it.
    pub(crate) fn reset(&self) {
        self.resets.store(true, Ordering::Relaxed);
    }
}

impl<S: Stream> Wire<S> {
    pub(crate) fn new(stream: S, tenant: Arc<Inner>, link: Arc<Link>) -> Self {
        Self {
            stream: Some(stream),
            tenant,
            link,
            held: BytesMut::new(),
            request: Message::new(Direction::Request),
            answer: Message::new(Direction::Answer),
            is_judged: false,
            has_left: false,
            is_opaque: false,
            strike: None,
        }
    }

    /// How many of the bytes held may be passed on now; `None`: the stream
    /// must be read first.
    fn passable(&mut self) -> Option<usize> {
        if self.is_opaque {
            return Some(self.held.len()).filter(|there| *there > 0);
        }
        if self.request.is_whole() && self.answer.is_whole() {
            self.request = Message::new(Direction::Request);
            self.answer = Message::new(Direction::Answer);
            self.is_judged = false;
        }
        if self.held.is_empty() {
            return None;
        }
        if !self.is_judged && !self.judges() {
            return None;
        }
        // Whoever asks again before the answer has come waits for it.
        Some(if self.request.is_whole() { 0 } else { self.held.len() })
    }

    /// Reads the request line for faults; whether it was all there.
    fn judges(&mut self) -> bool {
        let line = self.held.iter().position(|byte| *byte == b'\n').map(|end| &self.held[..end]);
        let is_over = self.has_left || self.held.len() > LONGEST_LINE;
        if line.is_none() && !is_over && HTTP2.starts_with(&self.held[..self.held.len().min(3)]) {
            // `P` might become `POST` or the other protocol.
            return false;
        }
        if self.held.starts_with(b"PRI ") {
            self.is_opaque = true;
            return true;
        }
        if !self.tenant.faults.concern_wires() {
            self.is_judged = true;
            return true;
        }
        let Some(line) = line else {
            self.is_judged = is_over;
            return is_over;
        };
        self.is_judged = true;
        if let Some((method, path)) = read_line(line)
            && !is_control(path)
        {
            let met = self.tenant.faults.take_on_wire(method, path);
            if let Some(Met::Struck(kind)) = &met {
                let at_ms = self.tenant.book.now_ms();
                self.strike = Some(Strike::new(at_ms, method, path, kind.clone()));
                self.tenant.book.count(Event::Faulted);
            }
            *lock(&self.link.met) = met;
        }
        true
    }

    /// After how many bytes of the request the connection ends.
    fn request_bound(&self) -> Option<u64> {
        match self.strike.as_ref().map(|strike| &strike.kind) {
            Some(FaultKind::CutRequest { after, .. }) => Some(*after),
            _ => None,
        }
    }

    /// After how many bytes of the answer the connection ends.
    fn answer_bound(&self) -> Option<u64> {
        match self.strike.as_ref().map(|strike| &strike.kind) {
            Some(FaultKind::CutRequest { .. }) => Some(0),
            Some(FaultKind::CutAnswer { after, .. }) => Some(*after),
            _ => None,
        }
    }

    /// Passes bytes that are held on to whoever reads; cuts behind the last
    /// one that may pass.
    fn pass_on(&mut self, most: usize, out: &mut ReadBuf<'_>) {
        let most = most.min(out.remaining());
        let bound = self.request_bound();
        let left = bound.map_or(u64::MAX, |bound| bound.saturating_sub(self.request.passed()));
        let most = usize::try_from(left).map_or(most, |left| left.min(most));
        let passed = if self.is_opaque { most } else { self.request.follow(&self.held[..most]) };
        out.put_slice(&self.held[..passed]);
        self.held.advance(passed);
        if self.request.is_lost() {
            self.is_opaque = true;
        }
        if bound.is_some_and(|bound| self.request.passed() >= bound) && !self.request.is_whole() {
            self.end();
        }
    }

    /// Takes note of bytes that were sent; cuts behind the last one that may be.
    fn sent(&mut self, bytes: &[u8], context: &Context<'_>) {
        self.answer.to_head = self.request.begins_with(b"HEAD ");
        self.answer.follow(bytes);
        if self.answer.is_lost() {
            self.is_opaque = true;
        }
        let is_struck = matches!(&self.strike, Some(Strike { kind: FaultKind::CutAnswer { after, .. }, .. })
            if self.answer.is_whole() || self.answer.passed() >= *after && !self.answer.is_new());
        if is_struck {
            self.end();
        }
        if self.stream.is_none() || self.answer.is_whole() && !self.held.is_empty() {
            // Whoever reads must look again: here is an end, or more.
            context.waker().wake_by_ref();
        }
    }

    /// Ends the connection, as the fault has it.
    fn end(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        let resets = self.enter_strike(false);
        if resets {
            stream.reset();
        } else {
            self.tenant.see_off(farewell(stream));
        }
    }

    /// Enters the strike, if there is one, as over; whether it wants a reset.
    fn enter_strike(&mut self, came_too_late: bool) -> bool {
        let Some(mut strike) = self.strike.take() else { return false };
        let (message, resets) = match &strike.kind {
            FaultKind::CutRequest { reset, .. } => (&self.request, *reset),
            FaultKind::CutAnswer { reset, .. } => (&self.answer, *reset),
            _ => return false,
        };
        strike.passed = Some(message.passed());
        strike.whole = message.is_whole();
        strike.came_too_late = came_too_late;
        strike.at_ms = self.tenant.book.now_ms();
        self.tenant.faults.enter(strike);
        resets
    }
}

impl<S: Stream> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.stream.is_none() {
                return Poll::Ready(Ok(()));
            }
            match this.passable() {
                Some(0) => return Poll::Pending,
                Some(most) => {
                    // A cut before the first byte leaves nothing to pass on.
                    if this.request_bound() == Some(0) {
                        this.end();
                        return Poll::Ready(Ok(()));
                    }
                    this.pass_on(most, out);
                    return Poll::Ready(Ok(()));
                }
                None if this.has_left => return Poll::Ready(Ok(())),
                None => {}
            }
            let Some(stream) = &mut this.stream else { return Poll::Ready(Ok(())) };
            if this.is_opaque {
                return Pin::new(stream).poll_read(context, out);
            }
            let mut piece = [std::mem::MaybeUninit::uninit(); READ_BYTES];
            let mut piece = ReadBuf::uninit(&mut piece);
            let read = ready!(Pin::new(stream).poll_read(context, &mut piece));
            this.has_left = read.is_err() || piece.filled().is_empty();
            read?;
            this.held.extend_from_slice(piece.filled());
        }
    }
}

impl<S: Stream> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut most = bytes.len();
        if let Some(bound) = this.answer_bound() {
            let interim = if this.answer.is_new() { interim_length(bytes) } else { 0 };
            let left = bound.saturating_sub(this.answer.passed());
            most = match interim {
                0 => usize::try_from(left).map_or(most, |left| left.min(most)),
                interim => interim,
            };
            if most == 0 && !bytes.is_empty() {
                this.end();
                context.waker().wake_by_ref();
            }
        }
        let Some(stream) = &mut this.stream else { return Poll::Ready(Err(gone())) };
        let sent = ready!(Pin::new(stream).poll_write(context, &bytes[..most]))?;
        if !this.is_opaque {
            this.sent(&bytes[..sent], context);
        }
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.strike.is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| slice));
        }
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else { return Poll::Ready(Err(gone())) };
        let sent = ready!(Pin::new(stream).poll_write_vectored(context, slices))?;
        let mut left = sent;
        for slice in slices {
            let of_this = left.min(slice.len());
            if of_this > 0 && !this.is_opaque {
                this.sent(&slice[..of_this], context);
            }
            left -= of_this;
        }
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Some(stream) => Pin::new(stream).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Some(stream) => Pin::new(stream).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<S: Stream> Drop for Wire<S> {
    /// The call ended the connection, or the caller did.
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        let cut_by_call = self.request_bound().is_some() && !self.has_left;
        let resets = self.enter_strike(!cut_by_call) | self.link.resets.load(Ordering::Relaxed);
        if resets && !self.has_left {
            stream.reset();
        }
    }
}

/// Says the end of our side, and lets what was said before arrive.
async fn farewell(mut stream: impl Stream) {
    // Whoever has gone already needs no farewell.
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut piece = vec![0; READ_BYTES];
    let reading = async { while let Ok(1..) = stream.read(&mut piece).await {} };
    timeout(FAREWELL, reading).await.unwrap_or_default();
}

/// Method and path of a request line.
fn read_line(line: &[u8]) -> Option<(&str, &str)> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (method, target) = (words.next()?, words.next()?);
    let target = match target.split_once("://") {
        // An absolute target names the host too.
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => target,
    };
    Some((method, target.split(['?', '#']).next().unwrap_or_default()))
}

/// Whether it is one of the tenant's own controls, which no fault strikes.
fn is_control(path: &str) -> bool {
    path.split('/').find(|part| !part.is_empty()) == Some("emulator")
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, crate::body::Cut)
}
