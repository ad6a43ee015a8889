//! The upstream leg: one attempt at Zuora, which lives as long as Zuora works on it.
//!
//! Polled by the call while its caller is there, which costs nothing extra. When the caller leaves, the call is
//! dropped, and the leg goes on in a task of its own: Zuora works on all the same, so the permit stays taken, and a
//! write's outcome is still worth a log line.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use admission::{Lane, Permit, Refused, Said, Ticket};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::Error as ClientError;
use telemetry::{Live, Refused as RefusedKind, Verdict as Label};
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use zuora::{RefusalKind, TrackId, Verdict};

use crate::body::Upload;
use crate::error::{BoxError, Executed, upload_error};
use crate::headers;
use crate::outbound::Gathered;
use crate::progress::Progress;
use crate::pump::Pump;
use crate::route::Route;
use crate::upstream::SendError;

/// How long Zuora may work on a call, with a margin: it gives up after 120 seconds (Zuora: requests and responses
/// guide). A permit stays out as long, though the caller may be told earlier that the answer takes too long.
pub const LONGEST_WORK: Duration = Duration::from_secs(125);

/// How long the rest of an error page may take to arrive. It is short, and comes in one piece with its head.
const PATIENCE_WITH_ERRORS: Duration = Duration::from_secs(1);

/// An attempt on its way to Zuora. Resolves once its answer is understood. Dropped earlier, it goes on by itself.
pub(crate) struct Leg {
    running: Option<Running>,
    then: Option<Afterlife>,
}

type Running = Pin<Box<dyn Future<Output = Result<Box<Answer>, Failure>> + Send>>;

/// What an attempt consists of.
pub(crate) struct Attempt {
    pub(crate) request: Request<Upload>,
    pub(crate) claim: Claim,
    /// Which token it carries.
    pub(crate) token: u64,
    pub(crate) route: Arc<Route>,
    /// Shared with the request's body, which notes it.
    pub(crate) progress: Arc<Progress>,
}

/// What an attempt holds until Zuora is done: its permit, its place among the live legs, and its lane if it has one.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Gone once it was given back before its time.
    permit: Option<Permit>,
    /// Gone with the permit: Zuora works on it no longer, though the rest of its answer may be on the way.
    live: Option<Live>,
    /// Boxed, as few tenants have lanes.
    _lane: Option<Box<Lane>>,
    since: Instant,
    /// Whether the tenant's circuit has heard how it went.
    is_told: bool,
    route: Arc<Route>,
}

impl Claim {
    pub(crate) fn new(
        permit: Permit,
        lane: Option<Box<Lane>>,
        live: Live,
        route: Arc<Route>,
    ) -> Self {
        let since = Instant::now();
        Self { permit: Some(permit), live: Some(live), _lane: lane, since, is_told: false, route }
    }

    /// Tells the circuit whether Zuora is there.
    fn tell(&mut self, is_there: Option<bool>) {
        self.is_told = true;
        let (Some(is_there), Some(permit)) = (is_there, &self.permit) else { return };
        let tenant = &*self.route.tenant.name;
        if is_there {
            if permit.reached() {
                tracing::info!(tenant, "Zuora answers again");
            }
        } else if let Some(until) = permit.unreached() {
            let seconds = (until - Instant::now()).as_secs_f64();
            tracing::warn!(tenant, seconds, "Zuora does not answer, and is left alone for a while");
        }
    }

    /// Takes the permit out before the answer has ended, because Zuora did not begin.
    fn release(&mut self) -> Option<Permit> {
        self.live = None;
        self.permit.take()
    }

    /// Ends the claim of an attempt that brought no answer.
    fn end(mut self, failure: &Failure) {
        self.tell(failure.is_there());
        if !failure.was_sent()
            && let Some(permit) = self.release()
        {
            permit.unused();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_told {
            // Nobody waited long enough to hear of Zuora.
            self.tell(Some(false));
        }
        self.route.pool_metrics().held(self.since.elapsed());
    }
}

/// What is needed to end a leg that nobody waits for.
pub(crate) struct Afterlife {
    pub(crate) tracker: TaskTracker,
    pub(crate) track_id: TrackId,
    pub(crate) is_write: bool,
    /// Whether the caller was told that nobody knows how it ended.
    pub(crate) is_told: bool,
    pub(crate) route: Arc<Route>,
    pub(crate) progress: Arc<Progress>,
}

/// Zuora's answer, understood.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) content: Content,
    pub(crate) verdict: Verdict,
    /// Which token the attempt carried.
    pub(crate) token: u64,
    /// The call's place in the queue after a refusal, with the moment that Zuora named.
    pub(crate) refused: Option<Ticket>,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Content {
    /// All of it. Zuora is done, and the permit is back.
    Whole(Bytes),
    /// Its beginning; the permit stays taken until the rest is there.
    Begun { first: Bytes, rest: Incoming, claim: Box<Claim> },
}

/// An attempt that brought no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was sent, as no connection could be had.
    Unreachable(ClientError),
    /// Nothing was sent: a connection that had lain idle closed first.
    NotSent(ClientError),
    /// Zuora did not answer in time, and may have acted.
    Timeout(Duration),
    /// The exchange broke midway, and Zuora may have acted.
    Broke(BoxError, Executed),
}

impl Leg {
    pub(crate) fn start(attempt: Attempt, then: Afterlife) -> Self {
        Self { running: Some(Box::pin(attempt.run())), then: Some(then) }
    }

    /// The answer, if it begins within `patience` of the last byte that left. Otherwise the leg goes on by itself:
    /// Zuora still works on the call, so its permit stays out.
    pub(crate) async fn within(
        mut self,
        patience: Duration,
        progress: &Progress,
    ) -> Result<Box<Answer>, Failure> {
        let answer = progress.within(patience, &mut self).await;
        answer.unwrap_or_else(|| {
            if let Some(then) = &mut self.then {
                then.is_told = true;
            }
            Err(Failure::Timeout(patience))
        })
    }
}

impl Future for Leg {
    type Output = Result<Box<Answer>, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let running = self.running.as_mut().expect("a leg is not polled again after its end");
        let answer = ready!(running.as_mut().poll(cx));
        self.running = None;
        Poll::Ready(answer)
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        if let (Some(running), Some(then)) = (self.running.take(), self.then.take()) {
            let tracker = then.tracker.clone();
            tracker.spawn(then.see_through(running));
        }
    }
}

impl fmt::Debug for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leg").finish_non_exhaustive()
    }
}

impl Afterlife {
    /// Waits for the answer that nobody else waits for any more, and tells the log how it went.
    async fn see_through(self, running: Running) {
        let track_id = self.track_id.as_str();
        let tenant = &self.route.tenant;
        // Zuora gives up before this, so what is dropped then is over. A request without a body tells no progress, and
        // may have begun with a connection that took its time.
        let patience = LONGEST_WORK.max(tenant.response_timeout) + tenant.connect_timeout;
        match self.progress.within(patience, running).await {
            Some(Ok(answer)) => {
                let fields = &answer.head.headers;
                let is_in_doubt = matches!(answer.verdict, Verdict::Ambiguous { .. });
                tracing::info!(
                    track_id,
                    status = answer.head.status.as_u16(),
                    verdict = label(&answer.verdict).as_str(),
                    executed = self.doubt_if(is_in_doubt),
                    zuora_request_id =
                        fields.get(headers::REQUEST_ID).and_then(|id| id.to_str().ok()),
                    "Zuora answered an attempt that nobody waits for any more"
                );
                self.finish(answer.content).await;
            }
            Some(Err(failure)) => {
                let executed = self.doubt_if(failure.was_sent() && !failure.is_callers());
                tracing::warn!(
                    track_id,
                    %failure,
                    executed,
                    "an attempt that nobody waits for any more failed"
                );
            }
            None => {
                self.route.pool_metrics().attempt(Label::Ambiguous, self.progress.elapsed());
                tracing::warn!(
                    track_id,
                    executed = self.doubt_if(true),
                    "Zuora never answered an attempt that nobody waits for any more"
                );
            }
        }
    }

    /// Counts a write that ended in doubt with nobody there to be told, and says so.
    fn doubt_if(&self, is_in_doubt: bool) -> Option<&'static str> {
        let is_doubtful_write = is_in_doubt && self.is_write;
        is_doubtful_write.then(|| {
            if !self.is_told {
                self.route.app.metrics.in_doubt();
            }
            Executed::Maybe.as_str()
        })
    }

    /// Reads a write's answer to its end. For a read the connection is closed instead, which frees the permit at once.
    async fn finish(self, content: Content) {
        let Content::Begun { rest, claim, .. } = content else { return };
        if !self.is_write {
            drop(rest);
            drop(claim);
            return;
        }
        let pump = Pump {
            incoming: rest,
            patience: self.route.tenant.response_timeout,
            to_the_end: true,
            held: claim,
        };
        // Nobody reads: the pump must know, or it waits for room in a buffer that nobody empties.
        let (unread, pumping) = pump.start(Bytes::new());
        drop(unread);
        pumping.await;
    }
}

impl Attempt {
    async fn run(self) -> Result<Box<Answer>, Failure> {
        let sent = Instant::now();
        let Self { request, claim, token, route, progress } = self;
        let outcome = exchange(&route, request, &progress).await;
        let took = sent.elapsed();
        match outcome {
            Ok((head, content)) => {
                Ok(Box::new(understand(&route, head, content, claim, token, took)))
            }
            Err(failure) => {
                route.pool_metrics().attempt(failure.label(), took);
                claim.end(&failure);
                Err(failure)
            }
        }
    }
}

/// As much of a body as was looked at.
struct Seen {
    first: Bytes,
    rest: Option<Incoming>,
}

/// Sends the request and receives the head of the answer, and of its body what the verdict needs.
async fn exchange(
    route: &Route,
    request: Request<Upload>,
    progress: &Progress,
) -> Result<(http::response::Parts, Seen), Failure> {
    let response = match route.tenant.upstream.send(request).await {
        Ok(response) => response,
        Err(SendError::Unreachable(cause)) => return Err(Failure::Unreachable(cause)),
        Err(SendError::NotSent(cause)) => return Err(Failure::NotSent(cause)),
        Err(SendError::Broke(cause)) => return Err(Failure::Broke(cause.into(), Executed::Maybe)),
    };
    progress.answered();
    let (head, body) = response.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let cause = "it switched protocols, which nobody had asked for";
        return Err(Failure::Broke(cause.into(), Executed::Maybe));
    }
    let content = look(&head, body, route.tenant.response_timeout).await?;
    Ok((head, content))
}

/// Receives the beginning of a body: all of a short one; of a long one as much as a verdict may need, or what has come
/// along with the head, and a little later if the call may have to be repeated: until it is there, it holds a permit.
async fn look(
    head: &http::response::Parts,
    mut body: Incoming,
    patience: Duration,
) -> Result<Seen, Failure> {
    let mut gathered = Gathered::default();
    let is_short = body.size_hint().exact().is_some_and(|bytes| bytes <= zuora::ANSWER_LOOK as u64);
    let is_wanted = is_short || zuora::judge_needs_body(head.status, &head.headers);
    let unwanted_until = Instant::now() + PATIENCE_WITH_ERRORS;
    while !body.is_end_stream() && gathered.len() < zuora::ANSWER_LOOK as u64 {
        let frame = if is_wanted {
            timeout(patience, body.frame()).await.map_err(|_| Failure::Timeout(patience))?
        } else {
            let frame = if head.status.is_server_error() {
                timeout_at(unwanted_until, body.frame()).await.ok()
            } else {
                body.frame().now_or_never()
            };
            match frame {
                Some(frame) => frame,
                None => return Ok(Seen { first: gathered.into_bytes(), rest: Some(body) }),
            }
        };
        match frame {
            None => return Ok(Seen { first: gathered.into_bytes(), rest: None }),
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    gathered.push(chunk);
                }
            }
            Some(Err(cause)) => {
                let executed = executed(head.status, &gathered.into_bytes());
                return Err(Failure::Broke(cause.into(), executed));
            }
        }
    }
    let rest = Some(body).filter(|body| !body.is_end_stream());
    Ok(Seen { first: gathered.into_bytes(), rest })
}

/// What the beginning of an answer whose rest is lost says about the call. Old versions of the API hide failures behind
/// a 200, so there the body must say it.
fn executed(status: StatusCode, body: &[u8]) -> Executed {
    let is_plain = status.is_success() && status != StatusCode::OK;
    if is_plain || (status == StatusCode::OK && zuora::begins_with_success(body)) {
        Executed::Yes
    } else {
        Executed::Maybe
    }
}

/// Reads the answer, and tells everybody whom it concerns: the pool, the token, the metrics.
fn understand(
    route: &Route,
    head: http::response::Parts,
    content: Seen,
    mut claim: Claim,
    token: u64,
    took: Duration,
) -> Answer {
    let verdict = zuora::judge(head.status, &head.headers, &content.first, SystemTime::now());
    let metrics = route.pool_metrics();
    metrics.attempt(label(&verdict), took);
    let is_misplaced = claim.observe(&head.headers);
    claim.tell(match verdict {
        Verdict::Ambiguous { .. } => Some(false),
        // The refusal itself says it: told before, calls that waited for a word would go and be refused as well.
        Verdict::Refused(_) => None,
        _ => Some(true),
    });

    let mut refused = None;
    match &verdict {
        Verdict::Unauthenticated => {
            route.tenant.tokens.rejected(token);
            // Zuora did not begin: while another token is fetched, the permit serves somebody else.
            drop(claim.release());
        }
        Verdict::Refused(refusal) => {
            let until = Instant::now() + refusal.wait;
            let (kind, how) = match refusal.kind {
                // Another pool is full than the one that gave the permit, which need not shrink for it.
                RefusalKind::Concurrency if is_misplaced => {
                    (RefusedKind::Concurrency, Refused::Elsewhere { until })
                }
                RefusalKind::Concurrency => {
                    (RefusedKind::Concurrency, Refused::Concurrency { until })
                }
                RefusalKind::Rate => (RefusedKind::Rate, Refused::Rate { until }),
            };
            metrics.refused(kind);
            // Zuora did not begin, so the permit goes back at once, and this call to the front of its queue.
            refused = claim.release().map(|permit| permit.refused(how));
        }
        Verdict::Relay
        | Verdict::Contended
        | Verdict::InProgress
        | Verdict::Ambiguous { .. }
        | Verdict::Failed { .. } => {}
    }
    let content = match content.rest {
        Some(rest) => Content::Begun { first: content.first, rest, claim: Box::new(claim) },
        None => Content::Whole(content.first),
    };
    Answer { head, content, verdict, token, refused }
}

/// The word for a verdict in metrics and logs.
fn label(verdict: &Verdict) -> Label {
    match verdict {
        Verdict::Relay => Label::Relay,
        Verdict::Refused(_) => Label::Refused,
        Verdict::Unauthenticated => Label::Unauthenticated,
        Verdict::Contended => Label::Contended,
        Verdict::InProgress => Label::InProgress,
        Verdict::Ambiguous { .. } => Label::Ambiguous,
        Verdict::Failed { .. } => Label::Failed,
    }
}

impl Claim {
    /// Tells the pool what Zuora says about its limit. Returns whether Zuora counted the call against another one than
    /// the permit is of; then the pool is told nothing, and the next call is placed better.
    fn observe(&self, headers: &http::HeaderMap) -> bool {
        let Some(said) = zuora::Concurrency::read(headers) else { return false };
        let Some(named) = said.limit_type else { return false };
        if !said.is_of_type(self.route.pool_name()) {
            self.route.learn(named, said.limit);
            return true;
        }
        let said = Said { limit: said.limit, remaining: said.remaining };
        if self.permit.as_ref().is_some_and(|permit| permit.observe(said)) {
            let (tenant, pool, limit) =
                (&*self.route.tenant.name, self.route.pool_name(), said.limit);
            tracing::warn!(
                tenant,
                pool,
                limit,
                "Zuora names another limit than `concurrency.limits`: the smaller one holds; write what Zuora says, and leave \
                 permits to others with `headroom`"
            );
        }
        false
    }
}

impl Failure {
    fn label(&self) -> Label {
        match self {
            Self::Unreachable(_) | Self::NotSent(_) => Label::NotSent,
            _ if self.is_callers() => Label::Failed,
            Self::Timeout(_) | Self::Broke(..) => Label::Ambiguous,
        }
    }

    /// Whether it was the caller's body that did not arrive.
    pub(crate) fn is_callers(&self) -> bool {
        matches!(self, Self::Broke(cause, _) if upload_error(&**cause).is_some())
    }

    pub(crate) fn was_sent(&self) -> bool {
        !matches!(self, Self::Unreachable(_) | Self::NotSent(_))
    }

    /// What it says about Zuora being there; nothing if a connection had lain idle for too long, or the caller failed.
    fn is_there(&self) -> Option<bool> {
        let is_silent = matches!(self, Self::NotSent(_)) || self.is_callers();
        (!is_silent).then_some(false)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(cause) => write!(f, "cannot connect: {cause}"),
            Self::NotSent(cause) => {
                write!(f, "the connection closed before the request left: {cause}")
            }
            Self::Timeout(patience) => write!(f, "no answer in {}s", patience.as_secs()),
            Self::Broke(cause, _) => write!(f, "the exchange broke: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, expected: Executed) {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(executed(status, body.as_bytes()), expected, "{status} {body}");
    }

    #[test]
    fn an_answer_that_began_with_success_was_executed_though_its_rest_is_lost() {
        check(200, r#"{"success":true,"id":"2c92"#, Executed::Yes);
        check(200, "{ \"success\" : true", Executed::Yes);
        check(201, "", Executed::Yes);
    }

    #[test]
    fn the_beginning_of_any_other_answer_leaves_it_open() {
        check(200, "", Executed::Maybe);
        check(200, r#"{"success":fa"#, Executed::Maybe);
        check(200, r#"{"id":"x","success":true"#, Executed::Maybe);
        check(500, r#"{"success":true"#, Executed::Maybe);
    }
}
