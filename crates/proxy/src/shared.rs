//! Questions that several callers ask at once, and Zuora is asked once.
//!
//! Whoever wants to know how far a job has come asks again and again, and where many do, they ask for the same at the same
//! time. So while one of them has its question at Zuora, the others, each when its turn has come, give their permit back
//! and take the answer of the one. Nobody waits for a question that is not at Zuora: a call of lower priority holds up no
//! other. If the one leaves, the next asks for all. If it gets no answer worth sharing, each asks for itself, as equal
//! questions would wait for one another for nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use admission::{Permit, Ticket};
use bytes::Bytes;
use http::header;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use tokio::sync::watch;
use zuora::Verdict;

use crate::answer::{Answer, Content};
use crate::call::{Call, Phase};
use crate::headers;
use crate::outbound::Outbound;
use crate::route::Route;

/// What many may ask for: the state of a job.
const SHARED: &str = "GET_JobStatusAndResponse";

/// The fields that tell calls apart, and no answer from another.
const TELL_CALLS_APART: [HeaderName; 5] = [
    headers::TRACK_ID,
    header::USER_AGENT,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];

/// The questions that are at Zuora now.
#[derive(Debug, Default)]
pub(crate) struct Questions(Mutex<HashMap<Question, watch::Receiver<News>>>);

/// All that Zuora goes by when it answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    tenant: Arc<str>,
    entity: usize,
    uri: Uri,
    fields: Vec<(HeaderName, HeaderValue)>,
}

/// What came of a question: nothing yet; or an answer, `None` if it is not to be shared.
type News = Option<Option<Arc<Told>>>;

/// An answer that is whole.
#[derive(Debug)]
struct Told {
    head: http::response::Parts,
    body: Bytes,
}

/// Whoever asks for all. Dropped, it leaves the others to themselves.
#[derive(Debug)]
pub(crate) struct Asker<'q> {
    questions: &'q Questions,
    question: Question,
    tell: watch::Sender<News>,
}

/// What becomes of a call whose turn has come.
pub(crate) enum Turn<'q> {
    /// It is sent, and perhaps it asks for others as well.
    Asks(Permit, Option<Box<Asker<'q>>>),
    /// Another's answer is its own.
    Told(Box<Answer>),
    /// The other got none: it goes back to the queue.
    Requeue(Ticket),
}

impl Questions {
    /// Lets the call ask, or wait for the answer of another that asks the same.
    pub(crate) async fn take_turn(
        &self,
        permit: Permit,
        route: &Route,
        outbound: &mut Outbound,
        call: &mut Call,
    ) -> Turn<'_> {
        let question = Question::of(route, outbound).filter(|_| !outbound.asks_alone);
        let Some(question) = question else {
            return Turn::Asks(permit, None);
        };
        let mut told = match self.join(question) {
            Ok(asker) => return Turn::Asks(permit, Some(asker)),
            Err(told) => told,
        };
        let ticket = permit.unused();
        call.enter(Phase::Upstream);
        let news = told.wait_for(Option::is_some).await.ok().and_then(|news| news.clone());
        call.leave();
        // Without any news the other has left, and somebody else may ask for all.
        outbound.asks_alone = matches!(news, Some(None));
        let Some(told) = news.flatten() else { return Turn::Requeue(ticket) };
        call.is_shared = true;
        Turn::Told(Box::new(told.to_answer()))
    }

    fn join(&self, question: Question) -> Result<Box<Asker<'_>>, watch::Receiver<News>> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = asked.get(&question) {
            return Err(told.clone());
        }
        let (tell, told) = watch::channel(None);
        asked.insert(question.clone(), told);
        // Boxed, as few calls carry one.
        Ok(Box::new(Asker { questions: self, question, tell }))
    }
}

impl Question {
    /// The question that a call is, if it is one that is shared.
    fn of(route: &Route, outbound: &Outbound) -> Option<Self> {
        let operation = outbound.operation()?;
        // A head has no body to share.
        if operation.id != SHARED || *outbound.method() != Method::GET {
            return None;
        }
        let fields = outbound.headers().iter();
        let fields = fields.filter(|(name, _)| !TELL_CALLS_APART.contains(name));
        let mut fields: Vec<_> =
            fields.map(|(name, value)| (name.clone(), value.clone())).collect();
        // In whichever order they came. Values of one name keep theirs.
        fields.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        Some(Self {
            tenant: Arc::clone(&route.tenant.name),
            entity: route.entity,
            uri: outbound.uri().clone(),
            fields,
        })
    }
}

impl Asker<'_> {
    /// Tells the others the answer, if it is worth it: one that is whole, and no failure. Else, that they must ask for
    /// themselves.
    pub(crate) fn tell(self, answer: &Answer) {
        let told = match (&answer.content, &answer.verdict, answer.head.status) {
            (Content::Whole(body), Verdict::Relay, StatusCode::OK) => {
                Some(Arc::new(Told { head: answer.head.clone(), body: body.clone() }))
            }
            _ => None,
        };
        self.tell.send_replace(Some(told));
    }
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        // Whoever comes from now on asks anew.
        let mut asked = self.questions.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.remove(&self.question);
    }
}

impl Told {
    fn to_answer(&self) -> Answer {
        Answer {
            head: self.head.clone(),
            content: Content::Whole(self.body.clone()),
            verdict: Verdict::Relay,
            token: None,
            refused: None,
        }
    }
}
