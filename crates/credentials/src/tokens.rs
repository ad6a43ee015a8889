//! The token of one tenant's entity, always fresh, fetched by one task for everybody.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use telemetry::{Metrics, Refresh, TenantMetrics};
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
    time::{self, Instant},
};

use crate::{
    grant::{FetchError, Grant, Renewal, TokenEndpoint, Which},
    logins::Logins,
    proof::Proof,
};

mod schedule;

/// A token endpoint that is silent for longer is as good as unreachable.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// A token younger than this is not replaced because it was rejected: the next one would fare
/// no better, and a tenant whose tokens are all rejected must not use up its logins.
const NEW_TOKEN: Duration = Duration::from_secs(5);
/// The same of one that the previous credentials got: that it is rejected most likely means that they have just been
/// taken back, and that the current ones are good now.
const NEW_PREVIOUS_TOKEN: Duration = Duration::from_secs(1);

/// Keeps the token of one tenant's entity, or the session or key that serves in its place.
///
/// One task fetches tokens: the first at once, the next ahead of the end of the current one.
/// Nobody who asks for a token starts a fetch, so nobody who gives up cancels one, and there
/// is never more than one in flight. While fetches fail, the token at hand serves until it
/// really expires, also when the credentials were changed. Where Zuora refuses a credential, the
/// one before it is tried, and at the next renewal the credential itself again. Dropping the value
/// ends the task.
pub struct Tokens {
    shared: Arc<Shared>,
    refresher: AbortHandle,
}

/// Whose token it is, and who else logs in.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// The entity's id, if the tenant has several.
    pub entity: Option<Arc<str>>,
    /// Whether the first token is fetched when somebody asks for one, and none when nobody asked
    /// for one during the life of the last. What needs no fetch is at hand all the same.
    pub is_lazy: bool,
    /// Keeps all logins of this process apart.
    pub logins: Arc<Logins>,
}

/// A token to send with one attempt.
#[derive(Clone, Debug)]
pub struct Token {
    /// What the attempt carries.
    pub proof: Proof,
    /// Counts the tokens of this entity. [`Tokens::rejected`] takes it, so that a late 401
    /// about an older token does no harm.
    pub generation: u64,
}

/// The rest of a token's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It ends in so long.
    Ends(Duration),
    /// It is used until Zuora refuses it: a session or a key.
    Open,
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
    /// Somebody asked for a token since the last fetch began.
    asked: AtomicBool,
    /// The current token reaches more than one entity.
    reaches_several: AtomicBool,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// The generation of what was held last.
    generation: u64,
    /// When tokens are followed by others.
    renewal: Renewal,
    /// The token at hand was rejected and its successor is being fetched.
    is_rejected: bool,
    /// The token at hand belongs to earlier credentials. It serves until those of today have
    /// brought another.
    is_outdated: bool,
    /// Nobody asked for a while, so nothing is held and nothing is fetched until somebody does.
    is_idle: bool,
    /// Somebody waits for a token that is fetched from now on.
    is_wanted: bool,
    /// How many fetches have begun.
    fetches: u64,
    /// When the last one began.
    fetched_at: Option<Instant>,
    /// Set while fetches fail.
    trouble: Option<Trouble>,
}

struct Held {
    token: Token,
    which: Which,
    /// Which fetch brought it.
    fetch: u64,
    /// From when on it is replaced when it is rejected.
    replaceable_from: Instant,
    /// `None`: not ahead of time.
    refresh_at: Option<Instant>,
    ends: Option<Ends>,
}

/// When a token that tells its life may no more be used, and when it expires.
#[derive(Clone, Copy)]
struct Ends {
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
        let logins = Arc::default();
        let scope = Scope { tenant: tenant.into(), entity: None, is_lazy: false, logins };
        Self::start_for(scope, endpoint, metrics)
    }

    /// Starts to keep the token of `scope`.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start_for(scope: Scope, endpoint: impl TokenEndpoint, metrics: &Metrics) -> Arc<Self> {
        let at_hand = endpoint.at_hand();
        let state = State {
            renewal: endpoint.renewal(),
            is_idle: scope.is_lazy && at_hand.is_none(),
            generation: u64::from(at_hand.is_some()),
            held: at_hand.map(|grant| Held::at_hand(grant, 1, 0)),
            ..State::default()
        };
        let (sender, endpoint) = watch::channel(Arc::new(endpoint) as Arc<dyn TokenEndpoint>);
        let shared = Arc::new(Shared {
            state: watch::Sender::new(state),
            endpoint: sender,
            demand: Notify::new(),
            asked: AtomicBool::new(false),
            reaches_several: AtomicBool::new(false),
        });
        let refresher = Refresher {
            metrics: metrics.tenant(&scope.tenant),
            scope,
            endpoint,
            shared: Arc::clone(&shared),
        };
        let refresher = tokio::spawn(refresher.run()).abort_handle();
        Arc::new(Self { shared, refresher })
    }

    /// Asks `endpoint` from now on, at once if there is no token or fetches fail.
    ///
    /// `renew` says that it has other credentials: then a token of theirs is fetched at once,
    /// and until it is there, the one at hand serves. Nobody waits because of it, and wrong
    /// credentials do no harm before the token at hand expires. What needs no fetch is used at
    /// once.
    pub fn exchange(&self, endpoint: impl TokenEndpoint, renew: bool) {
        let (at_hand, renewal) = (endpoint.at_hand(), endpoint.renewal());
        if at_hand.is_some() {
            // A key does not say what it reaches.
            self.shared.reaches_several.store(false, Ordering::Relaxed);
        }
        self.shared.endpoint.send_replace(Arc::new(endpoint));
        // After the endpoint: whoever writes the state looks first whether that was exchanged.
        self.shared.state.send_modify(|state| {
            state.renewal = renewal;
            // Whatever the trouble was, it may be over.
            state.trouble = None;
            match at_hand {
                Some(grant) if renew || state.held.is_none() => state.take_at_hand(grant),
                _ => state.is_outdated |= renew,
            }
        });
        self.shared.demand.notify_one();
    }

    /// Returns the current token; waits for one until `deadline` if there is none.
    ///
    /// It waits while the first token is being fetched, after the old one expired, while
    /// the successor of a rejected one is being fetched, and where every attempt goes with a
    /// token of its own: those who wait at the same time get the same. Dropping the future has no
    /// effect.
    ///
    /// # Errors
    /// At the deadline, or as soon as it is known that nothing will be tried before it.
    pub async fn current(&self, deadline: Instant) -> Result<Token, TokenUnavailable> {
        if !self.shared.asked.load(Ordering::Relaxed) {
            self.shared.asked.store(true, Ordering::Relaxed);
        }
        if let Some(token) = self.shared.state.borrow().usable(Instant::now(), Since::NEVER) {
            return Ok(token);
        }
        let mut changes = self.shared.state.subscribe();
        let since = self.want();
        loop {
            let known = changes.borrow_and_update().answer(Instant::now(), deadline, since);
            if let Some(known) = known {
                return known;
            }
            // Whether something changed or the deadline came, the state has the answer.
            let _ = time::timeout_at(deadline, changes.changed()).await;
        }
    }

    /// Makes sure that something is fetched, and returns which fetch is recent enough.
    fn want(&self) -> Since {
        let mut since = Since::ANY;
        self.shared.state.send_if_modified(|state| {
            state.is_idle = false;
            if state.renewal == Renewal::EveryCall {
                state.is_wanted = true;
                since = Since(state.fetches + 1);
            }
            // Nobody but the refresher has to do anything about it.
            false
        });
        self.shared.demand.notify_one();
        since
    }

    /// Returns whether an attempt from now on may carry another token than the one of this
    /// generation; waits until `deadline` for that to be known. An error counts as no.
    pub async fn has_other(&self, generation: u64, deadline: Instant) -> bool {
        if self.shared.state.borrow().renewal == Renewal::EveryCall {
            return true;
        }
        self.current(deadline).await.is_ok_and(|token| token.generation != generation)
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
    pub fn life(&self) -> Option<Life> {
        let now = Instant::now();
        let state = self.shared.state.borrow();
        state.valid(now).map(|held| match held.ends {
            Some(ends) => Life::Ends(ends.expires_at.saturating_duration_since(now)),
            None => Life::Open,
        })
    }

    /// Returns whether the last token said that it reaches more than one entity: then a call that
    /// names none may be for any of them.
    #[must_use]
    pub fn reaches_several(&self) -> bool {
        self.shared.reaches_several.load(Ordering::Relaxed)
    }

    /// Returns why the last fetch failed; `None` once one has succeeded, and while none has ended.
    #[must_use]
    pub fn trouble(&self) -> Option<FetchError> {
        self.shared.state.borrow().trouble.map(|trouble| trouble.error)
    }

    /// Returns whether the current token is one of the previous credentials, because Zuora refused
    /// those that are to be used.
    #[must_use]
    pub fn is_of_previous(&self) -> bool {
        let state = self.shared.state.borrow();
        state.held.as_ref().is_some_and(|held| held.which == Which::Previous)
    }

    /// Returns whether nobody asked for a token for so long that none is kept.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.state.borrow().is_idle
    }

    /// Returns whether there is a valid token now; where every attempt goes with one of its own,
    /// whether the last could be had.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.shared.state.borrow();
        let is_doubtful = state.renewal == Renewal::EveryCall && state.trouble.is_some();
        state.valid(Instant::now()).is_some() && !is_doubtful
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

/// The first fetch whose token will do.
#[derive(Clone, Copy)]
struct Since(u64);

impl Since {
    const ANY: Self = Self(0);
    /// Where every attempt goes with a token of its own, none that is there will do.
    const NEVER: Self = Self(u64::MAX);
}

impl State {
    /// Returns what is held, unless it has expired.
    fn valid(&self, now: Instant) -> Option<&Held> {
        self.held.as_ref().filter(|held| held.ends.is_none_or(|ends| now < ends.usable_until))
    }

    /// Returns the token to send now.
    fn usable(&self, now: Instant, since: Since) -> Option<Token> {
        let is_for_anybody = self.renewal != Renewal::EveryCall;
        self.valid(now)
            .filter(|held| !self.is_rejected && (is_for_anybody || held.is_since(since)))
            .map(|held| held.token.clone())
    }

    /// Returns what to tell a caller, or `None` while waiting makes sense.
    fn answer(
        &self,
        now: Instant,
        deadline: Instant,
        since: Since,
    ) -> Option<Result<Token, TokenUnavailable>> {
        if let Some(token) = self.usable(now, since) {
            return Some(Ok(token));
        }
        // Without anything due, something is under way.
        let next_attempt = self.due(now).unwrap_or(now);
        let is_hopeless = now.max(next_attempt) >= deadline;
        is_hopeless.then(|| {
            let wait = next_attempt.saturating_duration_since(now);
            let cause = self.trouble.map(|trouble| trouble.error);
            Err(TokenUnavailable { retry_after: wait.max(Duration::from_secs(1)), cause })
        })
    }

    /// Marks the token as rejected; returns whether it has to be replaced now.
    fn reject(&mut self, generation: u64, now: Instant) -> bool {
        let is_replaced = match self.renewal {
            Renewal::Ahead | Renewal::OnError => true,
            // The next attempt goes with another one anyway, or there is no other.
            Renewal::EveryCall | Renewal::Never => false,
        };
        let is_due = self.held.as_ref().is_some_and(|held| {
            held.token.generation == generation && now >= held.replaceable_from
        });
        let is_news = is_replaced && is_due && !self.is_rejected && self.trouble.is_none();
        self.is_rejected |= is_news;
        is_news
    }

    /// Returns when to fetch next; `None` before something happens.
    fn due(&self, now: Instant) -> Option<Instant> {
        if self.is_idle {
            return None;
        }
        match (&self.trouble, &self.held) {
            (Some(trouble), _) => Some(trouble.next_attempt),
            (None, Some(_)) if self.is_rejected || self.is_outdated => Some(now),
            (None, Some(_)) if self.renewal == Renewal::EveryCall => {
                let rested = self.fetched_at.map_or(now, |at| at + schedule::every_call());
                self.is_wanted.then_some(rested)
            }
            (None, Some(held)) => held.refresh_at,
            (None, None) => Some(now),
        }
    }

    /// Notes that a fetch begins, and returns its number.
    fn begin(&mut self, now: Instant) -> u64 {
        self.fetches += 1;
        self.fetched_at = Some(now);
        self.is_wanted = false;
        self.fetches
    }

    fn take_at_hand(&mut self, grant: Grant) {
        self.generation += 1;
        self.fetches += 1;
        self.held = Some(Held::at_hand(grant, self.generation, self.fetches));
        self.is_rejected = false;
        self.is_outdated = false;
        self.is_idle = false;
    }
}

impl Held {
    /// What needed no fetch.
    fn at_hand(grant: Grant, generation: u64, fetch: u64) -> Self {
        Self {
            token: Token { proof: grant.proof, generation },
            which: Which::Current,
            fetch,
            // Nobody has looked at it yet, so the first rejection says something.
            replaceable_from: Instant::now(),
            refresh_at: None,
            ends: None,
        }
    }

    fn is_since(&self, since: Since) -> bool {
        self.fetch >= since.0
    }
}

/// The one task that fetches.
struct Refresher {
    scope: Scope,
    endpoint: watch::Receiver<Arc<dyn TokenEndpoint>>,
    metrics: TenantMetrics,
    shared: Arc<Shared>,
}

/// A fetch that is under way.
#[derive(Clone, Copy)]
struct Fetch {
    number: u64,
    asked_at: Instant,
}

impl Refresher {
    async fn run(mut self) {
        loop {
            let now = Instant::now();
            let due = self.shared.state.borrow().due(now);
            tokio::select! {
                () = time::sleep_until(due.unwrap_or(now)), if due.is_some() => {
                    if !self.lets_go() {
                        self.refresh().await;
                    }
                }
                () = self.shared.demand.notified() => {}
            }
        }
    }

    /// Lets go of the token if nobody has asked for one since the last fetch began, and nobody
    /// waits for one.
    fn lets_go(&self) -> bool {
        if !self.scope.is_lazy {
            return false;
        }
        let mut lets_go = false;
        self.shared.state.send_if_modified(|state| {
            // Under the lock of the state: whoever asks says so before, and takes the lock then.
            let is_asked_for = self.shared.asked.swap(false, Ordering::SeqCst)
                || self.shared.state.receiver_count() > 0;
            lets_go = !is_asked_for;
            if lets_go {
                state.is_idle = true;
                state.held = None;
                state.trouble = None;
            }
            false
        });
        if lets_go {
            let (tenant, entity) = (&*self.scope.tenant, self.scope.entity.as_deref());
            tracing::info!(tenant, entity, "nobody asks for this Zuora token, so none is kept");
        }
        lets_go
    }

    async fn refresh(&mut self) {
        let endpoint = Arc::clone(&self.endpoint.borrow_and_update());
        let mut which = Which::Current;
        let (fetch, fetched) = loop {
            let login = Self::login(&self.scope, &self.shared, Arc::clone(&endpoint), which);
            let (fetch, fetched) = tokio::select! {
                biased;
                // What came of it would say nothing about whom to ask now.
                _ = self.endpoint.changed() => return self.begin_again(),
                fetched = login => fetched,
            };
            let is_refused = fetched.as_ref().err() == Some(&FetchError::Refused);
            let has_another = which == Which::Current && endpoint.has_previous();
            if !(is_refused && has_another) {
                break (fetch, fetched);
            }
            self.metrics.token_refreshed(Refresh::Error);
            let (tenant, entity) = (&*self.scope.tenant, self.scope.entity.as_deref());
            tracing::warn!(
                tenant,
                entity,
                "Zuora refuses the credentials, the previous ones are tried"
            );
            which = Which::Previous;
        };
        self.metrics.token_refreshed(match (&fetched, which) {
            (Ok(_), Which::Current) => Refresh::Ok,
            (Ok(_), Which::Previous) => Refresh::Previous,
            (Err(_), _) => Refresh::Error,
        });
        match fetched {
            Ok(grant) => self.keep(grant, which, fetch),
            Err(error) => self.put_off(error),
        }
    }

    /// Leaves a fetch unfinished. Whoever waits for it waits for the next one.
    fn begin_again(&self) {
        self.shared.state.send_if_modified(|state| {
            state.is_wanted = true;
            false
        });
    }

    /// Logs in once, when it is this one's turn.
    async fn login(
        scope: &Scope,
        shared: &Shared,
        endpoint: Arc<dyn TokenEndpoint>,
        which: Which,
    ) -> (Fetch, Result<Grant, FetchError>) {
        scope.logins.turn().await;
        let asked_at = Instant::now();
        let mut number = 0;
        shared.state.send_if_modified(|state| {
            number = state.begin(asked_at);
            false
        });
        (Fetch { number, asked_at }, fetch(endpoint, which).await)
    }

    fn keep(&mut self, grant: Grant, which: Which, Fetch { number, asked_at }: Fetch) {
        let now = Instant::now();
        let renewal = self.shared.state.borrow().renewal;
        let generation = self.shared.state.borrow().generation + 1;
        self.tell(&grant, which, generation, now - asked_at);
        self.shared.reaches_several.store(grant.entities.len() > 1, Ordering::Relaxed);
        // Counted from the moment of asking: Zuora began to count some time after it.
        let refresh_in = schedule::refresh(grant.life, renewal, which, rand::random());
        let held = Held {
            token: Token { proof: grant.proof, generation },
            which,
            fetch: number,
            replaceable_from: now
                + match which {
                    Which::Current => NEW_TOKEN,
                    Which::Previous => NEW_PREVIOUS_TOKEN,
                },
            refresh_at: refresh_in.map(|after| (asked_at + after).max(now + schedule::rest())),
            ends: grant.life.map(|life| Ends {
                usable_until: asked_at + schedule::usable(life),
                expires_at: asked_at + life,
            }),
        };
        self.shared.state.send_modify(|state| {
            let is_exchanged = self.is_exchanged();
            if is_exchanged && state.generation >= generation {
                // What was put in its place meanwhile is of today.
                return;
            }
            state.held = Some(held);
            state.generation = generation;
            state.is_rejected = false;
            state.is_outdated = is_exchanged;
            state.trouble = None;
        });
    }

    /// Tells the log of a new token; where every attempt has its own, only those who ask for it.
    fn tell(&self, grant: &Grant, which: Which, generation: u64, took: Duration) {
        let (tenant, entity) = (&*self.scope.tenant, self.scope.entity.as_deref());
        let expires_in_s = grant.life.map(|life| life.as_secs());
        let (kind, took_ms) = (grant.proof.kind(), millis(took));
        let is_of_previous = which == Which::Previous;
        if entity.is_none() && grant.entities.len() > 1 {
            let entities = grant.entities.join(", ");
            let message = "this Zuora token reaches several entities: list them under `entities` of the tenant";
            tracing::warn!(tenant, entities, message);
        }
        if self.shared.state.borrow().renewal == Renewal::EveryCall {
            tracing::debug!(
                tenant,
                entity,
                kind,
                generation,
                is_of_previous,
                took_ms,
                "got a Zuora token"
            );
        } else {
            tracing::info!(
                tenant,
                entity,
                kind,
                generation,
                is_of_previous,
                expires_in_s,
                took_ms,
                "got a Zuora token"
            );
        }
    }

    fn put_off(&self, error: FetchError) {
        let now = Instant::now();
        let failures = self.shared.state.borrow().trouble.map_or(0, |it| it.failures) + 1;
        let pause = schedule::pause(failures, error, rand::random());
        let valid_for = self.shared.state.borrow().valid(now).map(|held| match held.ends {
            Some(ends) => (ends.usable_until - now).as_secs().to_string(),
            None => "until it is refused".to_owned(),
        });
        tracing::warn!(
            tenant = &*self.scope.tenant,
            entity = self.scope.entity.as_deref(),
            %error,
            failures,
            next_attempt_in_ms = millis(pause),
            old_token_valid_for_s = valid_for.as_deref().unwrap_or("0"),
            "got no Zuora token"
        );
        self.shared.state.send_modify(|state| {
            if self.is_exchanged() {
                state.is_wanted = true;
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
async fn fetch(endpoint: Arc<dyn TokenEndpoint>, which: Which) -> Result<Grant, FetchError> {
    let mut task = JoinSet::new();
    task.spawn(async move { endpoint.fetch(which).await });
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
