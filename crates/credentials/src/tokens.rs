//! One tenant's token, always fresh, fetched by one task for everybody.

use std::{fmt, sync::Arc, time::Duration};

use telemetry::{Metrics, TenantMetrics};
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
    time::{self, Instant},
};

use crate::{
    grant::{FetchError, Grant, TokenEndpoint},
    proof::Proof,
};

mod schedule;

/// A token endpoint that is silent for longer is as good as unreachable.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// A token younger than this is not replaced because it was rejected: the next one would fare
/// no better, and a tenant whose tokens are all rejected must not use up its logins.
const NEW_TOKEN: Duration = Duration::from_secs(5);

/// Keeps the token of one tenant.
///
/// One task fetches tokens: the first at once, the next ahead of the end of the current one.
/// Nobody who asks for a token starts a fetch, so nobody who gives up cancels one, and there
/// is never more than one in flight. While fetches fail, the token at hand serves until it
/// really expires, also when the credentials were changed. Dropping the value ends the task.
pub struct Tokens {
    shared: Arc<Shared>,
    refresher: AbortHandle,
}

/// A token to send with one attempt.
#[derive(Clone, Debug)]
pub struct Token {
    /// What the attempt carries.
    pub proof: Proof,
    /// Counts the tokens of this tenant. [`Tokens::rejected`] takes it, so that a late 401
    /// about an older token does no harm.
    pub generation: u64,
}

/// There is no valid token, and there will be none before the deadline.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no valid token")]
pub struct TokenUnavailable {
    /// When it is worth asking again: the time to the next fetch, and at least a second.
    pub retry_after: Duration,
    /// Why the last fetch failed; `None` when none has ended yet.
    #[source]
    pub cause: Option<FetchError>,
}

struct Shared {
    state: watch::Sender<State>,
    /// Who is asked for tokens.
    endpoint: watch::Sender<Arc<dyn TokenEndpoint>>,
    /// Tells the refresher that something may be due earlier: the current token was rejected, or
    /// somebody else is to be asked.
    demand: Notify,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// The token at hand was rejected and its successor is being fetched.
    is_rejected: bool,
    /// The token at hand belongs to earlier credentials. It serves until those of today have
    /// brought another.
    is_outdated: bool,
    /// Set while fetches fail.
    trouble: Option<Trouble>,
}

struct Held {
    token: Token,
    fetched_at: Instant,
    refresh_at: Instant,
    usable_until: Instant,
    expires_at: Instant,
}

#[derive(Clone, Copy)]
struct Trouble {
    failures: u32,
    error: FetchError,
    next_attempt: Instant,
}

impl Tokens {
    /// Starts to keep the token of `tenant`; the first fetch begins at once.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(tenant: &str, endpoint: impl TokenEndpoint, metrics: &Metrics) -> Arc<Self> {
        let (sender, endpoint) = watch::channel(Arc::new(endpoint) as Arc<dyn TokenEndpoint>);
        let shared = Arc::new(Shared {
            state: watch::Sender::new(State::default()),
            endpoint: sender,
            demand: Notify::new(),
        });
        let refresher = Refresher {
            tenant: tenant.to_owned(),
            endpoint,
            metrics: metrics.tenant(tenant),
            shared: Arc::clone(&shared),
            generation: 0,
        };
        let refresher = tokio::spawn(refresher.run()).abort_handle();
        Arc::new(Self { shared, refresher })
    }

    /// Asks `endpoint` from now on, at once if there is no token or fetches fail.
    ///
    /// `renew` says that it has other credentials: then a token of theirs is fetched at once,
    /// and until it is there, the one at hand serves. Nobody waits because of it, and wrong
    /// credentials do no harm before the token at hand expires.
    pub fn exchange(&self, endpoint: impl TokenEndpoint, renew: bool) {
        self.shared.endpoint.send_replace(Arc::new(endpoint));
        // After the endpoint: whoever writes the state looks first whether that was exchanged.
        self.shared.state.send_modify(|state| {
            state.is_outdated |= renew;
            // Whatever the trouble was, it may be over.
            state.trouble = None;
        });
        self.shared.demand.notify_one();
    }

    /// Returns the current token; waits for one until `deadline` if there is none.
    ///
    /// It waits while the first token is being fetched, after the old one expired, and while
    /// the successor of a rejected one is being fetched. Dropping the future has no effect.
    ///
    /// # Errors
    /// At the deadline, or as soon as it is known that nothing will be tried before it.
    pub async fn current(&self, deadline: Instant) -> Result<Token, TokenUnavailable> {
        if let Some(token) = self.shared.state.borrow().usable(Instant::now()) {
            return Ok(token);
        }
        let mut changes = self.shared.state.subscribe();
        loop {
            if let Some(known) = changes.borrow_and_update().answer(Instant::now(), deadline) {
                return known;
            }
            // Whether something changed or the deadline came, the state has the answer.
            let _ = time::timeout_at(deadline, changes.changed()).await;
        }
    }

    /// Tells that Zuora rejected the token of this generation with a 401.
    ///
    /// If it is still the current one, it is replaced at once, and calls wait for the new one.
    /// Nothing happens when it is an older one, when it is only a few seconds old, or while
    /// fetches fail anyway: then [`Tokens::current`] goes on to give the same generation, which
    /// tells the caller that repeating the attempt is useless.
    pub fn rejected(&self, generation: u64) {
        let mut is_news = false;
        self.shared.state.send_if_modified(|state| {
            is_news = state.reject(generation, Instant::now());
            // Nobody waits for that: whoever waits now waits for a token already.
            false
        });
        if is_news {
            self.shared.demand.notify_one();
        }
    }

    /// Returns the rest of the current token's life, or `None` without a valid token.
    #[must_use]
    pub fn expires_in(&self) -> Option<Duration> {
        let now = Instant::now();
        let state = self.shared.state.borrow();
        state.valid(now).map(|held| held.expires_at.saturating_duration_since(now))
    }

    /// Returns why the last fetch failed; `None` once one has succeeded, and while none has ended.
    #[must_use]
    pub fn trouble(&self) -> Option<FetchError> {
        self.shared.state.borrow().trouble.map(|trouble| trouble.error)
    }

    /// Returns whether there is a valid token now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.state.borrow().valid(Instant::now()).is_some()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.refresher.abort();
    }
}

impl State {
    /// Returns what is held, unless it has expired.
    fn valid(&self, now: Instant) -> Option<&Held> {
        self.held.as_ref().filter(|held| now < held.usable_until)
    }

    /// Returns the token to send now.
    fn usable(&self, now: Instant) -> Option<Token> {
        self.valid(now).filter(|_| !self.is_rejected).map(|held| held.token.clone())
    }

    /// Returns what to tell a caller, or `None` while waiting makes sense.
    fn answer(&self, now: Instant, deadline: Instant) -> Option<Result<Token, TokenUnavailable>> {
        if let Some(token) = self.usable(now) {
            return Some(Ok(token));
        }
        let next_attempt = self.trouble.map_or(now, |trouble| trouble.next_attempt);
        let is_hopeless = now.max(next_attempt) >= deadline;
        is_hopeless.then(|| {
            let wait = next_attempt.saturating_duration_since(now);
            let cause = self.trouble.map(|trouble| trouble.error);
            Err(TokenUnavailable { retry_after: wait.max(Duration::from_secs(1)), cause })
        })
    }

    /// Marks the token as rejected; returns whether it has to be replaced now.
    fn reject(&mut self, generation: u64, now: Instant) -> bool {
        let is_due = self.held.as_ref().is_some_and(|held| {
            held.token.generation == generation && now >= held.fetched_at + NEW_TOKEN
        });
        let is_news = is_due && !self.is_rejected && self.trouble.is_none();
        self.is_rejected |= is_news;
        is_news
    }

    /// Returns when to fetch next.
    fn due(&self, now: Instant) -> Instant {
        match (&self.trouble, &self.held) {
            (Some(trouble), _) => trouble.next_attempt,
            (None, Some(held)) if !self.is_rejected && !self.is_outdated => held.refresh_at,
            (None, _) => now,
        }
    }
}

/// The one task that fetches.
struct Refresher {
    tenant: String,
    endpoint: watch::Receiver<Arc<dyn TokenEndpoint>>,
    metrics: TenantMetrics,
    shared: Arc<Shared>,
    generation: u64,
}

impl Refresher {
    async fn run(mut self) {
        loop {
            let due = self.shared.state.borrow().due(Instant::now());
            tokio::select! {
                () = time::sleep_until(due) => self.refresh().await,
                () = self.shared.demand.notified() => {}
            }
        }
    }

    async fn refresh(&mut self) {
        let asked_at = Instant::now();
        let endpoint = Arc::clone(&self.endpoint.borrow_and_update());
        let fetched = tokio::select! {
            biased;
            // What came of it would say nothing about whom to ask now.
            _ = self.endpoint.changed() => return,
            fetched = fetch(endpoint) => fetched,
        };
        self.metrics.token_refreshed(fetched.is_ok());
        match fetched {
            Ok(grant) => self.keep(grant, asked_at),
            Err(error) => self.put_off(error),
        }
    }

    fn keep(&mut self, grant: Grant, asked_at: Instant) {
        let now = Instant::now();
        self.generation += 1;
        tracing::info!(
            tenant = self.tenant,
            generation = self.generation,
            expires_in_s = grant.life.as_secs(),
            took_ms = millis(now - asked_at),
            "got a Zuora token"
        );
        // Counted from the moment of asking: Zuora began to count some time after it.
        let refresh_at = asked_at + schedule::refresh(grant.life, rand::random());
        let held = Held {
            fetched_at: now,
            refresh_at: refresh_at.max(now + schedule::rest()),
            usable_until: asked_at + schedule::usable(grant.life),
            expires_at: asked_at + grant.life,
            token: Token { proof: grant.proof, generation: self.generation },
        };
        self.shared.state.send_modify(|state| {
            let is_outdated = self.is_exchanged();
            *state = State { held: Some(held), is_rejected: false, is_outdated, trouble: None };
        });
    }

    fn put_off(&self, error: FetchError) {
        let now = Instant::now();
        let failures = self.shared.state.borrow().trouble.map_or(0, |it| it.failures) + 1;
        let pause = schedule::pause(failures, error, rand::random());
        let valid_for = self.shared.state.borrow().valid(now).map(|held| held.usable_until - now);
        tracing::warn!(
            tenant = self.tenant,
            %error,
            failures,
            next_attempt_in_ms = millis(pause),
            old_token_valid_for_s = valid_for.unwrap_or_default().as_secs(),
            "got no Zuora token"
        );
        self.shared.state.send_modify(|state| {
            if self.is_exchanged() {
                return;
            }
            // A token that was rejected, but has no successor, is still the best one there is:
            // one 401 must not keep everybody from trying.
            state.is_rejected = false;
            state.trouble = Some(Trouble { failures, error, next_attempt: now + pause });
        });
    }

    /// Whether somebody else is to be asked than the one who was.
    fn is_exchanged(&self) -> bool {
        self.endpoint.has_changed().unwrap_or(false)
    }
}

/// Fetches once, in a task of its own: a panic there is a failure like any other here.
async fn fetch(endpoint: Arc<dyn TokenEndpoint>) -> Result<Grant, FetchError> {
    let mut task = JoinSet::new();
    task.spawn(async move { endpoint.fetch().await });
    match time::timeout(FETCH_TIMEOUT, task.join_next()).await {
        Ok(Some(Ok(fetched))) => fetched,
        Ok(Some(Err(_)) | None) | Err(_) => Err(FetchError::Unreachable),
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
