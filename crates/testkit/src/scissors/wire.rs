//! One connection that the scissors may cut.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{How, Scissors, Snip, State};

/// How much is read away at once of what nobody is to see.
const READ_AWAY: usize = 16 * 1024;

/// A connection to Zuora, as the gateway holds it.
#[derive(Debug)]
pub struct Wire<S> {
    scissors: Arc<Scissors>,
    line: usize,
    /// Gone once it is cut.
    inner: Option<S>,
    /// Whether it only passes on what has left the gateway already.
    is_relay: bool,
    /// What somebody in between answers, once its moment has come.
    instead: Option<(Pin<Box<Sleep>>, Vec<u8>)>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire<S> {
    pub(super) fn new(scissors: Arc<Scissors>, line: usize, inner: S) -> Self {
        Self { scissors, line, inner: Some(inner), is_relay: false, instead: None }
    }

    pub(super) fn of_relay(self) -> Self {
        Self { is_relay: true, ..self }
    }

    /// Lets the other side know of the cut; or, if it has received a whole request, lets it work and answer to nobody.
    fn part(&mut self, was_sent: bool) {
        let Some(mut inner) = self.inner.take() else { return };
        if was_sent && tokio::runtime::Handle::try_current().is_ok() {
            tokio::spawn(async move { tokio::io::copy(&mut inner, &mut tokio::io::sink()).await });
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let scissors = Arc::clone(&self.scissors);
        let mut state = scissors.lock();
        let line = &state.lines[self.line];
        if !line.has_begun || line.request.is_whole() {
            scissors.begin(&mut state, self.line, bytes);
        }
        let piece = state.piece.unwrap_or(usize::MAX).min(bytes.len());
        let most = match state.lines[self.line].snip {
            Some(Snip::Request { after, how }) if state.lines[self.line].cut.is_none() => {
                let left = after - sent(&state, self.line).min(after);
                if left == 0 {
                    state.lines[self.line].cut(how);
                }
                left.min(piece)
            }
            _ => piece,
        };
        if let Some(how) = state.lines[self.line].cut {
            self.part(false);
            if self.is_relay || how.swallows() {
                note_request(&mut state, self.line, bytes, 0);
            }
            return Poll::Ready(match how {
                How::Reset => Err(ErrorKind::ConnectionReset.into()),
                How::Pipe => Err(ErrorKind::BrokenPipe.into()),
                How::Closed | How::ResetLate => Ok(bytes.len()),
            });
        }

        let bytes = &bytes[..most];
        let reaches_zuora = !matches!(
            state.lines[self.line].snip,
            Some(Snip::Instead { delivered: false, .. } | Snip::Silence { delivered: false })
        );
        let written = match &mut self.inner {
            Some(inner) if reaches_zuora => ready!(Pin::new(inner).poll_write(cx, bytes))?,
            _ => bytes.len(),
        };
        let delivered = if reaches_zuora { written } else { 0 };
        note_request(&mut state, self.line, &bytes[..written], delivered);
        self.after_write(&mut state);
        Poll::Ready(Ok(written))
    }

    fn after_write(&mut self, state: &mut State) {
        let sent = sent(state, self.line);
        let line = &mut state.lines[self.line];
        match &line.snip {
            Some(Snip::Request { after, how }) if sent == *after => {
                let (how, is_whole) = (*how, line.request.is_whole());
                line.cut(how);
                self.part(is_whole);
            }
            Some(Snip::Instead { status, fields, body, after, .. }) if line.request.is_whole() => {
                let answer = format!(
                    "HTTP/1.1 {status} Instead\r\n{fields}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let due = Box::pin(sleep_until(Instant::now() + *after));
                self.instead = Some((due, answer.into_bytes()));
                line.wake();
            }
            _ => {}
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let scissors = Arc::clone(&self.scissors);
        let mut state = scissors.lock();
        state.lines[self.line].reader = Some(cx.waker().clone());
        if let Some(how) = state.lines[self.line].cut {
            self.part(false);
            return Poll::Ready(match how {
                How::Closed | How::Pipe => Ok(()),
                How::Reset | How::ResetLate => Err(ErrorKind::ConnectionReset.into()),
            });
        }
        if let Some((due, answer)) = &mut self.instead {
            ready!(due.as_mut().poll(cx));
            let some = answer.len().min(to.remaining());
            let some: Vec<u8> = answer.drain(..some).collect();
            note_answer(&mut state, self.line, &some);
            to.put_slice(&some);
            if answer.is_empty() {
                state.lines[self.line].cut(How::Closed);
                self.part(true);
            }
            return Poll::Ready(Ok(()));
        }
        let is_mute = matches!(
            state.lines[self.line].snip,
            Some(Snip::Instead { .. } | Snip::Silence { .. })
        );
        if is_mute {
            return self.read_away(cx);
        }

        let most = state.piece.unwrap_or(usize::MAX).min(to.remaining());
        let limit = match state.lines[self.line].snip {
            Some(Snip::Answer { after, how }) => {
                Some((after - received(&state, self.line).min(after), how))
            }
            _ => None,
        };
        let most = limit.map_or(most, |(left, _)| left.clamp(1, most));
        let Some(inner) = &mut self.inner else { return Poll::Ready(Ok(())) };
        let mut scratch = vec![0; most];
        let mut piece = ReadBuf::new(&mut scratch);
        ready!(Pin::new(inner).poll_read(cx, &mut piece))?;
        let bytes = piece.filled();
        match limit {
            Some((0, how)) if !bytes.is_empty() => {
                state.lines[self.line].cut(how);
                drop(state);
                return self.read(cx, to);
            }
            Some((left, how)) if left == bytes.len() => {
                // It is seen when what came before it has been read.
                state.lines[self.line].cut(how);
            }
            _ => {}
        }
        note_answer(&mut state, self.line, bytes);
        to.put_slice(bytes);
        Poll::Ready(Ok(()))
    }

    /// Lets Zuora answer to nobody, for as long as it does.
    fn read_away(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(inner) = &mut self.inner else { return Poll::Pending };
        let mut scratch = [0; READ_AWAY];
        loop {
            let mut piece = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut *inner).poll_read(cx, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Pending,
            }
        }
    }
}

fn sent(state: &State, line: usize) -> usize {
    state.lines[line].exchange.map_or(0, |at| state.exchanges[at].request.len())
}

fn received(state: &State, line: usize) -> usize {
    state.lines[line].exchange.map_or(0, |at| state.exchanges[at].answer.len())
}

fn note_request(state: &mut State, line: usize, bytes: &[u8], delivered: usize) {
    let line = &mut state.lines[line];
    let passed = line.request.pass(bytes);
    assert_eq!(passed, bytes.len(), "nobody sends a request before the answer to the last");
    if let Some(at) = line.exchange {
        let exchange = &mut state.exchanges[at];
        exchange.request.extend_from_slice(bytes);
        exchange.delivered += delivered;
        exchange.sent = line.request.is_whole().then(Instant::now);
    }
}

fn note_answer(state: &mut State, line: usize, bytes: &[u8]) {
    let line = &mut state.lines[line];
    line.answer.pass(bytes);
    if let Some(at) = line.exchange {
        let exchange = &mut state.exchanges[at];
        exchange.answer.extend_from_slice(bytes);
        exchange.answered = line.answer.is_whole().then(Instant::now);
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.read(cx, to)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
