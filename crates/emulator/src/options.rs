//! What kind of tenant to emulate.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::{faults::Fault, later::options::AsyncWrites, service_time::ServiceTime};

/// The tenant to emulate. `Options::default()` is a production tenant with
/// service times of 50 ms, on a free port of the loopback.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// What `nextPage` and other absolute links begin with. `None`: the
    /// address listened on, over `http`.
    pub public_url: Option<String>,
    /// What the `ServerUrl` of a SOAP login and the address in the WSDL begin
    /// with. `None`: what other links begin with. Zuora has SOAP on a host of
    /// its own; here one address serves both.
    pub soap_public_url: Option<String>,
    /// The limit of each limit type; a type that is not named has none.
    pub limits: Vec<(String, u32)>,
    /// Whether calls over a limit are refused. With `false` they are let in
    /// and counted, so that `most_in_flight` shows how many there really were.
    pub enforce_limits: bool,
    /// Calls that belong to another limit type than Zuora's table says, first
    /// match wins. This is how a limit type that no client knows comes about.
    pub reclassified: Vec<Reclassified>,
    /// The entities of a Multi-entity tenant. Each has limits of its own; the
    /// first is meant when a call names none. A token is for the entity that
    /// its own call named, and for all of them otherwise; so are sessions.
    /// Empty: one entity, and whatever names one is not looked at.
    pub entities: Vec<String>,
    /// Names of entities for the older `entityName`, each with its id.
    pub entity_names: Vec<(String, String)>,
    /// Whether a call must name its entity if its token is for several, as
    /// Zuora says of `Zuora-Entity-Ids`. Otherwise the first is meant.
    pub entity_required: bool,
    /// How long the tenant works on a call.
    pub service_time: ServiceTime,
    /// Whether writes on the same account that overlap in time contend: the
    /// later one is rolled back, with category 50. An account is meant by its
    /// own name, or by that of a subscription or order of it. Off unless asked
    /// for: who tests something else may write in parallel and count calls.
    pub lock_contention: bool,
    /// The only client id that gets a token; `None`: any.
    pub client_id: Option<String>,
    /// The only client secret that gets a token; `None`: any.
    pub client_secret: Option<String>,
    /// `apiAccessKeyId` and `apiSecretAccessKey` that are accepted in place of
    /// a token; `None`: such headers are no credential.
    pub api_key: Option<(String, String)>,
    /// Whether any such headers are a credential.
    pub any_api_key: bool,
    /// The only user name and password that SOAP `login` takes; `None`: any.
    pub soap_user: Option<(String, String)>,
    /// How long a token is valid.
    pub token_lifetime: Duration,
    /// How long a session lives after its last call (Zuora: session timeout of
    /// the security policies, 15 minutes at least).
    pub session_lifetime: Duration,
    /// How long a job takes after it was accepted: AQuA, exports, data queries.
    pub job_time: Duration,
    /// The `Retry-After` of a refusal for concurrency.
    pub retry_after: Duration,
    /// How many logins of any kind one address may make in a minute.
    pub auth_per_minute: u32,
    /// The rate windows of the API class; empty: no rate limit, no headers.
    pub rate: Vec<RateWindow>,
    /// The largest page of a list under `/v1`; larger wishes are cut to it.
    pub page_size: usize,
    /// How many accounts exist at the start, each with a subscription.
    pub accounts: usize,
    /// How many products the catalogue has at the start.
    pub products: usize,
    /// Where service times and ids come from: the same seed, the same tenant.
    pub seed: u64,
    /// How many executed calls, and how many refusals, the ledger remembers
    /// one by one; the counters go on.
    pub ledger_capacity: usize,
    /// Faults that wait for their calls from the start.
    pub faults: Vec<Fault>,
    /// How writes under `/v1/async` are done and told of.
    pub async_writes: AsyncWrites,
}

/// So many calls in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateWindow {
    /// Calls allowed in one window; refused ones count too.
    pub limit: u64,
    /// The length of the window in seconds; at least 1.
    pub seconds: u64,
}

/// A rule that moves calls to another limit type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reclassified {
    /// The method it applies to, in capitals; `None`: every method.
    pub method: Option<String>,
    /// What the path begins with.
    pub path: String,
    /// The limit type of such calls, with a limit in [`Options::limits`].
    pub limit_type: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            public_url: None,
            soap_public_url: None,
            limits: vec![
                ("Default".into(), 40),
                ("High-volume transactions".into(), 200),
                ("Object Query".into(), 80),
            ],
            enforce_limits: true,
            reclassified: Vec::new(),
            entities: Vec::new(),
            entity_names: Vec::new(),
            entity_required: false,
            service_time: ServiceTime::Constant(Duration::from_millis(50)),
            lock_contention: false,
            client_id: None,
            client_secret: None,
            api_key: None,
            any_api_key: false,
            soap_user: None,
            token_lifetime: Duration::from_secs(3598),
            session_lifetime: Duration::from_secs(15 * 60),
            job_time: Duration::ZERO,
            retry_after: Duration::from_secs(120),
            auth_per_minute: 100,
            rate: Vec::new(),
            page_size: 40,
            accounts: 100,
            products: 60,
            seed: 1,
            ledger_capacity: 200_000,
            faults: Vec::new(),
            async_writes: AsyncWrites::default(),
        }
    }
}

impl fmt::Debug for Options {
    /// Everything but the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address)
            .field("limits", &self.limits)
            .field("enforce_limits", &self.enforce_limits)
            .field("entities", &self.entities)
            .field("service_time", &self.service_time)
            .field("lock_contention", &self.lock_contention)
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret.as_ref().map(|_| "***"))
            .field("api_key", &self.api_key.as_ref().map(|_| "***"))
            .field("any_api_key", &self.any_api_key)
            .field("soap_user", &self.soap_user.as_ref().map(|_| "***"))
            .field("token_lifetime", &self.token_lifetime)
            .field("session_lifetime", &self.session_lifetime)
            .field("retry_after", &self.retry_after)
            .field("auth_per_minute", &self.auth_per_minute)
            .field("rate", &self.rate)
            .field("accounts", &self.accounts)
            .field("products", &self.products)
            .field("seed", &self.seed)
            .field("async_writes", &self.async_writes)
            .finish_non_exhaustive()
    }
}
