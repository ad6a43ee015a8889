//! The links of an answer on its way to the caller: they lead back to us, by the address at which the caller found us.
//!
//! An answer that is there as a whole is changed only if it has such a link. One that flows is rewritten as it flows, so
//! its length is not known beforehand, and what was said of its bytes is not said any more.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use tokio::task::coop::poll_proceed;
use zuora::links::{BadGzip, OwnHosts, Packing, Repacker, Rewriter, Text, Whole, text_of};

use crate::arrival::Arrival;
use crate::body::{Body, Broken};
use crate::call::Call;
use crate::headers;
use crate::outbound::Outbound;
use crate::pump::Pumped;
use crate::route::Route;

/// What a step of unpacking takes of a task's budget, of which Tokio gives it 128 before others have their turn: then
/// half a megabyte of text is in the way of nobody for longer than a few milliseconds.
const COST_OF_A_STEP: u32 = 8;

/// How much text is unpacked at once, in the way of everybody else.
const LONGEST_AT_ONCE: usize = 1024 * 1024;

/// How much of a packed body is kept in case that it cannot be unpacked.
const LONGEST_KEPT: usize = 128 * 1024;

/// Where the links of an answer lead, and where they shall lead.
#[derive(Debug)]
pub(crate) struct Links<'c> {
    own: &'c Arc<OwnHosts>,
    arrival: &'c Arrival,
    /// What was asked for.
    path: &'c str,
}

impl<'c> Links<'c> {
    /// `None` for a call that passes untouched in both directions: a browser's, with Zuora's single-use headers (Zuora:
    /// CORS REST).
    pub(crate) fn of(route: &'c Route, outbound: &'c Outbound, call: &'c Call) -> Option<Self> {
        let own = &route.tenant.own_hosts;
        let (arrival, path) = (&call.arrival, outbound.path());
        (!outbound.is_single_use).then_some(Self { own, arrival, path })
    }

    /// Rewrites where the answer sends its caller.
    pub(crate) fn locate(&self, headers: &mut HeaderMap) {
        let Some(location) = headers.get_mut(header::LOCATION) else { return };
        let Some(base) = self.arrival.base_url() else { return };
        let rewritten = self.own.location(location.as_bytes(), &base);
        if let Some(rewritten) = rewritten.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok()) {
            *location = rewritten;
        }
    }

    /// Turns a body that is there as a whole into the caller's, with its links rewritten if it has any.
    pub(crate) fn whole(&self, body: Bytes, head: &mut Parts) -> Body {
        let rewritten = match self.read_whole(&body, head) {
            Whole::AsItCame => return Body::whole(body),
            Whole::Rewritten(rewritten) => rewritten,
            Whole::Long => return self.flowing(Pumped::of(body), head),
        };
        if let Some(length) = head.headers.get_mut(header::CONTENT_LENGTH) {
            *length = rewritten.len().into();
        }
        forget_bytes(&mut head.headers);
        Body::whole(rewritten.into())
    }

    fn read_whole(&self, body: &[u8], head: &Parts) -> Whole {
        let Some((text, packing)) = self.text(head) else { return Whole::AsItCame };
        if body.is_empty() || (packing == Packing::Plain && !self.own.are_in(body)) {
            return Whole::AsItCame;
        }
        let Some(rewriter) = self.rewriter(text) else { return Whole::AsItCame };
        match packing {
            Packing::Plain => rewriter.whole(body).map_or(Whole::AsItCame, Whole::Rewritten),
            Packing::Gzip => rewriter.whole_packed(body, LONGEST_AT_ONCE),
        }
    }

    /// Turns a body that flows into the caller's, with its links rewritten if it may have any.
    pub(crate) fn flowing(&self, pumped: Pumped, head: &mut Parts) -> Body {
        let Some((text, packing)) = self.text(head) else { return Body::flowing(pumped) };
        let Some(rewriter) = self.rewriter(text) else { return Body::flowing(pumped) };
        head.headers.remove(header::CONTENT_LENGTH);
        forget_bytes(&mut head.headers);
        let work = match packing {
            Packing::Plain => Work::Plain(rewriter),
            Packing::Gzip => Work::Gzip(Box::new(Packed::of(rewriter))),
        };
        Body::rewriting(Rewriting { pumped, work })
    }

    fn text(&self, head: &Parts) -> Option<(Text, Packing)> {
        // A part of a body is counted in bytes of the whole, so they must be Zuora's.
        let is_part = head.status == StatusCode::PARTIAL_CONTENT
            || head.headers.contains_key(header::CONTENT_RANGE);
        if is_part { None } else { text_of(self.path, &head.headers) }
    }

    fn rewriter(&self, text: Text) -> Option<Rewriter> {
        Some(Rewriter::new(self.own, text, &self.arrival.base_url()?))
    }
}

/// Takes back what was said of the bytes of the body. It means the same as before, so its `ETag` is still good for
/// comparing meanings (RFC 9110 8.8.1), and no longer for putting parts together.
fn forget_bytes(headers: &mut HeaderMap) {
    headers::of_other_bytes(headers);
    if let Some(tag) = headers.get_mut(header::ETAG)
        && !tag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        *tag = weak;
    }
}

/// A body whose links are rewritten as it flows.
#[derive(Debug)]
pub(crate) struct Rewriting {
    pumped: Pumped,
    work: Work,
}

/// What is done with a body as it flows.
#[derive(Debug)]
enum Work {
    Plain(Rewriter),
    Gzip(Box<Packed>),
    /// It is not what it says it is, so it passes as it came: first these, then the rest.
    AsItCame(VecDeque<Bytes>),
}

/// A body that is unpacked, rewritten and packed again.
#[derive(Debug)]
struct Packed {
    /// `None` at the end.
    repacker: Option<Repacker>,
    /// What was taken from the pump, and not yet unpacked.
    piece: Bytes,
    /// All that came, until something was passed on, or it has become too much.
    came: Option<VecDeque<Bytes>>,
}

/// Why there is no more to be had from a packed body.
enum Stop {
    /// Zuora broke off.
    Broken,
    /// It cannot be unpacked, or is not whole.
    Bad(BadGzip),
}

impl From<BadGzip> for Stop {
    fn from(bad: BadGzip) -> Self {
        Self::Bad(bad)
    }
}

impl Rewriting {
    /// The next bytes, `None` at the end of the answer.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            let came = match &mut self.work {
                Work::Plain(rewriter) => return poll_plain(rewriter, &mut self.pumped, cx),
                Work::AsItCame(came) => match came.pop_front() {
                    Some(piece) => return Poll::Ready(Some(Ok(piece))),
                    None => return self.pumped.poll_next(cx),
                },
                Work::Gzip(packed) => match ready!(packed.poll_next(&mut self.pumped, cx)) {
                    Ok(next) => return Poll::Ready(next.map(Ok)),
                    Err(Stop::Broken) => return Poll::Ready(Some(Err(Broken))),
                    Err(Stop::Bad(bad)) => match packed.came.take() {
                        Some(came) => came,
                        None => {
                            tracing::warn!(error = %bad, "an answer broke off within its gzip");
                            return Poll::Ready(Some(Err(Broken)));
                        }
                    },
                },
            };
            self.work = Work::AsItCame(came);
        }
    }
}

fn poll_plain(
    rewriter: &mut Rewriter,
    pumped: &mut Pumped,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Broken>>> {
    loop {
        let out = match ready!(pumped.poll_next(cx)) {
            Some(Ok(piece)) => match rewriter.push(&piece) {
                Cow::Borrowed(same) => piece.slice_ref(same),
                Cow::Owned(rewritten) => rewritten.into(),
            },
            Some(Err(Broken)) => return Poll::Ready(Some(Err(Broken))),
            None => {
                let rest = Bytes::from(rewriter.finish());
                return Poll::Ready(Some(Ok(rest)).filter(|rest| !is_empty(rest)));
            }
        };
        if !out.is_empty() {
            return Poll::Ready(Some(Ok(out)));
        }
    }
}

fn is_empty(next: &Result<Bytes, Broken>) -> bool {
    next.as_ref().is_ok_and(Bytes::is_empty)
}

impl Packed {
    fn of(rewriter: Rewriter) -> Self {
        let repacker = Some(Repacker::new(rewriter));
        Self { repacker, piece: Bytes::new(), came: Some(VecDeque::new()) }
    }

    fn poll_next(
        &mut self,
        pumped: &mut Pumped,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Stop>> {
        loop {
            match ready!(self.poll_step(pumped, cx))? {
                Some(out) if out.is_empty() => {}
                out => {
                    self.came = None;
                    return Poll::Ready(Ok(out.map(Bytes::from)));
                }
            }
        }
    }

    /// What comes of the next few bytes, which may be nothing; `None` after the last.
    fn poll_step(
        &mut self,
        pumped: &mut Pumped,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Vec<u8>>, Stop>> {
        let Some(repacker) = &mut self.repacker else { return Poll::Ready(Ok(None)) };
        if self.piece.is_empty() {
            match pumped.poll_next(cx) {
                Poll::Ready(Some(Ok(piece))) => self.take_in(piece),
                Poll::Ready(Some(Err(Broken))) => return Poll::Ready(Err(Stop::Broken)),
                Poll::Ready(None) => {
                    let rest = self.repacker.take().map(Repacker::finish).transpose();
                    return Poll::Ready(Ok(rest?));
                }
                // More may take its time, so the caller gets what there is.
                Poll::Pending => {
                    let out = repacker.flush()?;
                    return if out.is_empty() { Poll::Pending } else { Poll::Ready(Ok(Some(out))) };
                }
            }
            return Poll::Ready(Ok(Some(Vec::new())));
        }
        for _ in 0..COST_OF_A_STEP {
            ready!(poll_proceed(cx)).made_progress();
        }
        let taken = repacker.push(&self.piece)?;
        let _ = self.piece.split_to(taken);
        Poll::Ready(Ok(Some(repacker.take())))
    }

    fn take_in(&mut self, piece: Bytes) {
        if let Some(came) = &mut self.came {
            came.push_back(piece.clone());
            if came.iter().map(Bytes::len).sum::<usize>() > LONGEST_KEPT {
                self.came = None;
            }
        }
        self.piece = piece;
    }
}
