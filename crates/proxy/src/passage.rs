//! The record of a call that is carried out later, from before it is sent until it is known whether Zuora took it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_requests::{Key, StoreError, Submission};
use tokio::runtime::Handle;
use tokio::time::{Duration, timeout};
use tokio_util::task::TaskTracker;
use zuora::{Rejected, Submitted, Verdict};

use crate::answer::Answer;
use crate::error::Executed;
use crate::judge::tells_outcome;
use crate::leg::Failure;

/// How long the registry may take to write that Zuora took a call, or did not. It holds a permit meanwhile.
const PATIENCE_WITH_REGISTRY: Duration = Duration::from_secs(10);

/// As much of an answer as is printed, in bytes: it holds an id.
const LONGEST_PRINT: usize = 1024;

/// Whether an answer to a submission has been printed: what it looks like is published nowhere.
static IS_PRINTED: AtomicBool = AtomicBool::new(false);

/// The record of a call that goes there. Shared by the call and its upstream leg, either of which may be the last to know
/// what became of it.
///
/// Dropped before it was sent, or after Zuora refused it, it is forgotten. Dropped in between it stays: its outcome may
/// still come.
#[derive(Debug)]
pub(crate) struct Passage {
    key: Key,
    course: Mutex<Course>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Course {
    standing: Standing,
    /// Until what became of it is written down.
    submission: Option<Submission>,
    /// Its caller was told where the outcome will be: there must be one then.
    is_promised: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Zuora certainly has nothing of it.
    Here,
    /// It was sent, and nobody knows whether Zuora took it.
    Away,
    Taken,
    /// It is forgotten, or has ended.
    Withdrawn,
}

/// What an attempt says about whether Zuora took the request.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Taken(Submitted),
    NotTaken,
    Unknown,
}

impl Passage {
    pub(crate) fn new(submission: Submission, tasks: &TaskTracker) -> Self {
        let key = submission.key().clone();
        let (standing, submission) = (Standing::Here, Some(submission));
        let course = Mutex::new(Course { standing, submission, is_promised: false });
        Self { key, course, tasks: tasks.clone() }
    }

    /// What names it.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Notes that it is being sent.
    pub(crate) fn depart(&self) {
        let mut course = self.course();
        if course.standing == Standing::Here {
            course.standing = Standing::Away;
        }
    }

    /// Takes in what became of an attempt. Once this returns, that Zuora took it is durable.
    pub(crate) async fn learn(&self, attempted: &Result<Box<Answer>, Failure>) {
        match Fate::of(attempted) {
            Fate::Unknown => {}
            Fate::NotTaken => {
                if let Some(submission) = self.come_back() {
                    end(submission, attempted).await;
                }
            }
            Fate::Taken(submitted) => {
                if let Ok(answer) = attempted
                    && !IS_PRINTED.swap(true, Ordering::Relaxed)
                {
                    self.print(answer);
                }
                self.accept(submitted).await;
            }
        }
    }

    /// It may be sent again, or be forgotten. If its outcome was promised, it is neither: what is returned then must be
    /// told that it ended.
    fn come_back(&self) -> Option<Submission> {
        let mut course = self.course();
        if course.standing != Standing::Away {
            return None;
        }
        if course.is_promised {
            course.standing = Standing::Withdrawn;
            return course.submission.take();
        }
        course.standing = Standing::Here;
        None
    }

    async fn accept(&self, submitted: Submitted) {
        let submission = {
            let mut course = self.course();
            if course.standing != Standing::Withdrawn {
                course.standing = Standing::Taken;
            }
            course.submission.take()
        };
        let Some(submission) = submission else { return };
        let track_id = &*self.key.track_id;
        if submitted.id.is_none() {
            tracing::warn!(
                track_id,
                "Zuora took a request without naming it in a way that is known: its outcome is found by its track id"
            );
        }
        if let Err(error) = in_time(submission.accepted(submitted.id.as_deref())).await {
            // It is remembered all the same, as one of which nobody knows yet.
            tracing::warn!(track_id, %error, "that Zuora took a request could not be written down");
        }
    }

    /// Forgets it if Zuora certainly did not take it. Otherwise its outcome is promised from here on. Returns whether there
    /// is none to come.
    pub(crate) async fn withdraw_or_promise(&self) -> bool {
        let submission = {
            let mut course = self.course();
            match course.standing {
                Standing::Here => course.withdraw(),
                Standing::Withdrawn => return true,
                Standing::Away | Standing::Taken => {
                    course.is_promised = true;
                    return false;
                }
            }
        };
        if let Some(submission) = submission {
            forget(submission).await;
        }
        true
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.course().standing == Standing::Taken
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, answer: &Answer) {
        let seen = answer.seen();
        let body = String::from_utf8_lossy(&seen[..seen.len().min(LONGEST_PRINT)]);
        tracing::debug!(
            track_id = &*self.key.track_id,
            status = answer.head.status.as_u16(),
            %body,
            "the first answer of Zuora's to a request that is carried out later"
        );
    }
}

impl Course {
    fn withdraw(&mut self) -> Option<Submission> {
        self.standing = Standing::Withdrawn;
        self.submission.take()
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let mut course = self.course();
        let submission = (course.standing == Standing::Here).then(|| course.withdraw()).flatten();
        drop(course);
        if let (Some(submission), Ok(runtime)) = (submission, Handle::try_current()) {
            self.tasks.spawn_on(forget(submission), &runtime);
        }
    }
}

async fn forget(submission: Submission) {
    let track_id = Arc::clone(&submission.key().track_id);
    if let Err(error) = in_time(submission.withdrawn()).await {
        let track_id = &*track_id;
        tracing::warn!(track_id, %error, "that Zuora did not take a request could not be written down");
    }
}

/// Ends what Zuora did not take after all.
async fn end(submission: Submission, attempted: &Result<Box<Answer>, Failure>) {
    let rejected = match attempted {
        Ok(answer) => Rejected::read(&answer.head.headers, answer.seen()),
        Err(_) => Rejected::default(),
    };
    let track_id = Arc::clone(&submission.key().track_id);
    let process_id = rejected.process_id.map(Arc::from);
    if let Err(error) = in_time(submission.refused(rejected.reasons, process_id)).await {
        let track_id = &*track_id;
        tracing::warn!(track_id, %error, "that Zuora did not take a request could not be written down");
    }
}

/// What the registry came to. Given up, it may still write: nobody waits for it.
async fn in_time<T>(writing: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let slow = || StoreError("it took too long to write".into());
    timeout(PATIENCE_WITH_REGISTRY, writing).await.unwrap_or_else(|_| Err(slow()))
}

impl Fate {
    fn of(attempted: &Result<Box<Answer>, Failure>) -> Self {
        let answer = match attempted {
            Ok(answer) => answer,
            Err(failure) if !failure.was_sent() || failure.is_callers() => return Self::NotTaken,
            Err(Failure::Broke(_, Executed::Yes)) => return Self::Taken(Submitted::default()),
            Err(_) => return Self::Unknown,
        };
        let head = &answer.head;
        match answer.verdict {
            Verdict::Ambiguous { .. } => Self::Unknown,
            Verdict::Failed { .. } if head.status.is_server_error() && !tells_outcome(answer) => {
                Self::Unknown
            }
            Verdict::Relay => match Submitted::read(head.status, &head.headers, answer.seen()) {
                Some(submitted) => Self::Taken(submitted),
                None => Self::NotTaken,
            },
            Verdict::Failed { .. }
            | Verdict::Refused(_)
            | Verdict::Unauthenticated
            | Verdict::Contended
            | Verdict::InProgress => Self::NotTaken,
        }
    }
}
