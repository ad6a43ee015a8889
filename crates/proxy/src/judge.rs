//! What becomes of a call after an attempt: its answer goes to the caller, or it goes back to the queue.

use admission::{Ask, Deadline, Ticket};
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use zuora::Verdict;

use crate::answer::{Answer, Content};
use crate::call::{Call, Phase};
use crate::error::{BoxError, Error, Executed};
use crate::headers;
use crate::key::Key;
use crate::leg::Failure;
use crate::outbound::Outbound;
use crate::retry::{Again, End, Kind, Tried, Why, backoff, decide};
use crate::route::Route;

/// How long a call waits before it asks the budget again.
const BUDGET_REST: Duration = Duration::from_millis(500);

/// What happens to a call after an attempt.
pub(crate) enum Next {
    Relay(Box<Answer>),
    /// Back to the queue with this ticket, and not before the moment that it names.
    Requeue(Ticket),
}

/// What becomes of the call. The leg has already told pool, token and circuit what the attempt means for them.
pub(crate) async fn judge(
    route: &Route,
    attempted: Result<Box<Answer>, Failure>,
    ticket: Ticket,
    outbound: &mut Outbound,
    ask: &Ask,
    call: &mut Call,
    closing: &CancellationToken,
) -> Result<Next, Error> {
    let Some(end) = end_of(&attempted) else { return tell(attempted, None, outbound, call) };
    let ticket = attempted.as_ref().ok().and_then(|answer| answer.refused).unwrap_or(ticket);

    // Boxed, as most calls never come here, and all would carry the room for it.
    match Box::pin(again(end, &attempted, route, outbound, ask, call, closing)).await {
        Ok((again, until)) => {
            prepare_next(end, again, &attempted, outbound, call);
            Ok(Next::Requeue(until.map_or(ticket, |until| ticket.resting_until(until))))
        }
        Err(why) => {
            let why = if is_callers(&attempted) { Why::CallerBroke } else { why };
            route.tenant.metrics.retry_abandoned(why.as_str());
            call.not_repeated = Some(why.as_str());
            tell(attempted, Some(end), outbound, call)
        }
    }
}

/// What the attempt came to, if another might come to something else.
fn end_of(attempted: &Result<Box<Answer>, Failure>) -> Option<End> {
    match attempted {
        Err(Failure::Unreachable(_) | Failure::NotSent(_)) => Some(End::NotSent),
        Err(Failure::Timeout(_) | Failure::Broke(..)) => Some(End::Ambiguous),
        Ok(answer) => match answer.verdict {
            Verdict::Relay | Verdict::Failed { is_temporary: false } => None,
            Verdict::Refused(_) => Some(End::Refused),
            Verdict::Unauthenticated => Some(End::Unauthenticated),
            Verdict::Contended => Some(End::Contended),
            Verdict::InProgress => Some(End::InProgress),
            Verdict::Ambiguous { .. } => Some(End::Ambiguous),
            Verdict::Failed { is_temporary: true } => Some(End::Temporary),
        },
    }
}

/// How the call is tried again, and when, if that is not at once.
async fn again(
    end: End,
    attempted: &Result<Box<Answer>, Failure>,
    route: &Route,
    outbound: &Outbound,
    ask: &Ask,
    call: &mut Call,
    closing: &CancellationToken,
) -> Result<(Again, Option<Instant>), Why> {
    let policy = &route.tenant.retry;
    let tried = Tried {
        kind: outbound.kind(),
        in_doubt: call.doubt.is_some(),
        is_replayable: outbound.replayable(),
        attempts: call.attempts - call.uncounted,
    };
    let again = decide(end, &tried, policy)?;
    if let (End::Unauthenticated, Ok(answer)) = (end, attempted)
        && !has_fresh_token(route, answer, ask, call).await
    {
        return Err(Why::NoOtherToken);
    }

    let deadline = moment(ask.deadline);
    let wait = backoff(end, call.attempts).max(named_wait(attempted));
    let until = Instant::now() + wait;
    if end.draws_on_budget() && until >= deadline {
        return Err(Why::Deadline);
    }
    if end.draws_on_budget() {
        // An answer that is still coming holds its permit, so it cannot be waited with.
        let holds_permit =
            attempted.as_ref().is_ok_and(|answer| matches!(answer.content, Content::Begun { .. }));
        let until = if holds_permit { Instant::now() } else { deadline };
        within_budget(route, until, call, closing).await?;
    }
    Ok((again, Some(until).filter(|until| Instant::now() < *until)))
}

/// How long Zuora's edge asked to be left alone.
fn named_wait(attempted: &Result<Box<Answer>, Failure>) -> Duration {
    match attempted {
        Ok(answer) => match answer.verdict {
            Verdict::Ambiguous { wait } => wait,
            _ => Duration::ZERO,
        },
        Err(_) => Duration::ZERO,
    }
}

/// Waits until the pool's budget has room for another repetition: calls that may be repeated are delayed when there are
/// many of them, and given up only when their time is over.
async fn within_budget(
    route: &Route,
    deadline: Instant,
    call: &mut Call,
    closing: &CancellationToken,
) -> Result<(), Why> {
    while !route.tenant.retry.budgets.withdraw(route.pool) {
        let rest = BUDGET_REST.mul_f64(0.5 + rand::random::<f64>());
        if Instant::now() + rest >= deadline {
            return Err(Why::Budget);
        }
        call.enter(Phase::Queue);
        call.waited("retry");
        let rested = closing.run_until_cancelled(sleep(rest)).await;
        call.leave();
        rested.ok_or(Why::Draining)?;
    }
    Ok(())
}

/// Whether there is another token than the one that Zuora did not take. A second refusal is the caller's to see.
async fn has_fresh_token(route: &Route, answer: &Answer, ask: &Ask, call: &mut Call) -> bool {
    if std::mem::replace(&mut call.reauthenticated, true) {
        return false;
    }
    call.enter(Phase::Token);
    let has_other = match answer.token {
        Some(token) => route.tokens().has_other(token, moment(ask.deadline)).await,
        None => false,
    };
    call.leave();
    has_other
}

/// Notes what the next attempt has to know of this one.
fn prepare_next(
    end: End,
    again: Again,
    attempted: &Result<Box<Answer>, Failure>,
    outbound: &mut Outbound,
    call: &mut Call,
) {
    let key = match again {
        Again::AsItWas => "same",
        Again::WithNewKey => "new",
    };
    let attempt = call.attempts;
    tracing::info!(
        track_id = call.track_id().as_str(),
        attempt,
        verdict = end.label().as_str(),
        cause = cause(attempted).map(|cause| cause.to_string()),
        key = matches!(outbound.key, Key::Ours(_)).then_some(key),
        "no answer yet: the call goes back to the queue, to be tried again"
    );
    call.repeats = Some(end.label());
    call.uncounted += u32::from(!end.counts());
    if end.ends_doubt() {
        call.doubt = None;
    } else if end.begins_doubt() && outbound.kind() != Kind::Read {
        call.doubt = cause(attempted);
    }
    if again == Again::WithNewKey {
        outbound.key = Key::mint();
    }
}

/// Why an attempt ended as it did, if Zuora did not say it.
fn cause(attempted: &Result<Box<Answer>, Failure>) -> Option<BoxError> {
    match attempted {
        Err(failure) => Some(failure.to_string().into()),
        Ok(answer) => Some(format!("HTTP {}", answer.head.status.as_u16()).into()),
    }
}

/// What the caller is told of its last attempt, which came to `end` if another might have come to something else.
///
/// Where an earlier attempt may have been executed, an answer that says that this one was not begun would be taken for
/// the outcome of the call.
fn tell(
    attempted: Result<Box<Answer>, Failure>,
    end: Option<End>,
    outbound: &Outbound,
    call: &mut Call,
) -> Result<Next, Error> {
    // Whoever answers a call that failed looks for a doubt.
    let answer = attempted?;
    let kind = outbound.kind();
    match end {
        Some(End::Ambiguous) if kind != Kind::Read => call.executed = Some(Executed::Maybe),
        Some(end) if !end.ends_doubt() && call.doubt.is_some() => return in_doubt(call),
        _ if call.doubt.is_some() && !tells_outcome(&answer) => return in_doubt(call),
        _ => {
            if kind != Kind::Read && answer.head.status.is_server_error() && !tells_outcome(&answer)
            {
                call.executed = Some(Executed::Maybe);
            }
            let is_anothers = kind == Kind::AppKey && names_another_call(&answer, call);
            call.is_replayed = call.doubt.take().is_some() || is_anothers;
        }
    }
    Ok(Next::Relay(answer))
}

fn in_doubt(call: &mut Call) -> Result<Next, Error> {
    let doubt = call.doubt.take().expect("who asks has looked");
    Err(Error::InDoubt(doubt))
}

/// Whether an answer tells how the call ended, or only that the way to Zuora is troubled.
pub(crate) fn tells_outcome(answer: &Answer) -> bool {
    zuora::tells_outcome(answer.head.status, &answer.head.headers, answer.seen())
}

/// Whether the answer is that of an earlier call with the same key: Zuora keeps the fields of an answer as well, and one
/// of them names the call.
fn names_another_call(answer: &Answer, call: &mut Call) -> bool {
    let named = answer.head.headers.get(headers::TRACK_ID);
    named.is_some_and(|named| named.as_bytes() != call.track_id().as_str().as_bytes())
}

fn is_callers(attempted: &Result<Box<Answer>, Failure>) -> bool {
    attempted.as_ref().is_err_and(Failure::is_callers)
}

/// The moment that ends the caller's patience.
pub(crate) fn moment(deadline: Deadline) -> Instant {
    match deadline {
        Deadline::Permit(at) | Deadline::Answer(at) => at,
    }
}
