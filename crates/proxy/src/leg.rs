//! The upstream leg: one attempt at Zuora, which lives as long as Zuora works on it.
//!
//! Polled by the call while its caller is there, which costs nothing extra. When the caller leaves, the call is
//! dropped, and the leg goes on in a task of its own: Zuora works on all the same, so the permit stays taken, and a
//! write's outcome is still worth a log line.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, StatusCode};
use hyper_util::client::legacy::Error as ClientError;
use telemetry::Verdict as Label;
use tokio::time::{Duration, Instant};
use tokio_util::task::TaskTracker;
use zuora::{TrackId, Verdict};

use crate::answer::{Answer, Content, Seen, label, look, understand};
use crate::body::Upload;
use crate::claim::Claim;
use crate::error::{BoxError, Executed, chain, upload_error};
use crate::headers;
use crate::passage::Passage;
use crate::progress::Progress;
use crate::pump::Pump;
use crate::route::Route;
use crate::upstream::SendError;

/// How long Zuora may work on a call, with a margin: it gives up after 120 seconds (Zuora: requests and responses
/// guide). A permit stays out as long, though the caller may be told earlier that the answer takes too long.
pub const LONGEST_WORK: Duration = Duration::from_secs(125);

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
    /// Which token of the tenant it carries, if any.
    pub(crate) token: Option<u64>,
    /// What is told whether Zuora took it, if it is carried out later.
    pub(crate) passage: Option<Arc<Passage>>,
    pub(crate) route: Arc<Route>,
    /// Shared with the request's body, which notes it.
    pub(crate) progress: Arc<Progress>,
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
        &mut self,
        patience: Duration,
        progress: &Progress,
    ) -> Result<Box<Answer>, Failure> {
        let answer = progress.within(patience, &mut *self).await;
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
        let Self { request, claim, token, passage, route, progress } = self;
        let outcome = exchange(&route, request, &progress).await;
        let took = sent.elapsed();
        let attempted = match outcome {
            Ok((head, content)) => {
                Ok(Box::new(understand(&route, head, content, claim, token, took)))
            }
            Err(failure) => {
                route.pool_metrics().attempt(failure.label(), took);
                claim.end(&failure);
                Err(failure)
            }
        };
        if let Some(passage) = passage {
            Box::pin(passage.learn(&attempted)).await;
        }
        attempted
    }
}

/// Sends the request and receives the head of the answer, and of its body what the verdict needs.
async fn exchange(
    route: &Route,
    request: Request<Upload>,
    progress: &Progress,
) -> Result<(http::response::Parts, Seen), Failure> {
    let response = match route.upstream().send(request).await {
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
    pub(crate) fn is_there(&self) -> Option<bool> {
        let is_silent = matches!(self, Self::NotSent(_)) || self.is_callers();
        (!is_silent).then_some(false)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(cause) => write!(f, "cannot connect: {}", chain(cause)),
            Self::NotSent(cause) => {
                write!(f, "the connection closed before the request left: {}", chain(cause))
            }
            Self::Timeout(patience) => write!(f, "no answer in {}s", patience.as_secs()),
            Self::Broke(cause, _) => write!(f, "the exchange broke: {}", chain(&**cause)),
        }
    }
}
