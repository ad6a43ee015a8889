//! Zuora's answer: as much of it as must be seen to understand it, and who has to know what it means.

use std::time::SystemTime;

use admission::{Refused, Ticket};
use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use telemetry::{Refused as RefusedKind, Verdict as Label};
use tokio::time::{Duration, Instant, timeout, timeout_at};
use zuora::{RefusalKind, Verdict};

use crate::claim::Claim;
use crate::error::Executed;
use crate::leg::Failure;
use crate::outbound::Gathered;
use crate::route::Route;

/// How long the rest of an error page may take to arrive. It is short, and comes in one piece with its head.
const PATIENCE_WITH_ERRORS: Duration = Duration::from_secs(1);

/// Zuora's answer, understood.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) content: Content,
    pub(crate) verdict: Verdict,
    /// Which token of the tenant the attempt carried, if any.
    pub(crate) token: Option<u64>,
    /// The call's place in the queue after a refusal, with the moment that Zuora named.
    pub(crate) refused: Option<Ticket>,
}

impl Answer {
    /// As much of its body as was looked at.
    pub(crate) fn seen(&self) -> &[u8] {
        match &self.content {
            Content::Whole(bytes) => bytes,
            Content::Begun { first, .. } => first,
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Content {
    /// All of it. Zuora is done, and the permit is back.
    Whole(Bytes),
    /// Its beginning; the permit stays taken until the rest is there.
    Begun { first: Bytes, rest: Incoming, claim: Box<Claim> },
}

/// As much of a body as was looked at.
pub(crate) struct Seen {
    first: Bytes,
    rest: Option<Incoming>,
}

/// Receives the beginning of a body: all of a short one; of a long one as much as a verdict may need, or what has come
/// along with the head, and a little later if the call may have to be repeated: until it is there, it holds a permit.
pub(crate) async fn look(
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
pub(crate) fn understand(
    route: &Route,
    head: http::response::Parts,
    content: Seen,
    mut claim: Claim,
    token: Option<u64>,
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
            if let Some(token) = token {
                route.tokens().rejected(token);
            }
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
pub(crate) fn label(verdict: &Verdict) -> Label {
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
