//! The configuration as the program uses it: complete, and never wrong.
//!
//! These types are made by this crate only (they are `non_exhaustive`), so
//! whoever holds one has nothing left to check.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use zuora::Rule;

use crate::Secret;

/// What one gateway does: the whole file, with every default filled in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where apps connect.
    pub listen: Listen,
    /// Where operators connect.
    pub admin: Admin,
    /// Signs the tokens given to apps, at least 32 characters. `None`: one is
    /// made and kept in `state_dir`.
    pub signing_key: Option<Secret>,
    /// Where the gateway keeps what must survive a restart. It may not exist yet.
    pub state_dir: PathBuf,
    /// What is kept of async requests, in `state_dir`.
    pub async_requests: Registry,
    /// The Zuora tenants in the order of the file; at least one, names are unique.
    pub tenants: Vec<Tenant>,
    /// The apps in the order of the file; at least one. Names, client ids,
    /// secrets and certificates are unique.
    pub apps: Vec<App>,
    /// The app that callers without a credential are taken for: an index into
    /// `apps`. Only ever set if `listen` is a loopback address.
    pub anonymous: Option<usize>,
    /// The app that calls with a single-use signature are taken for: an index into `apps`.
    pub single_use: Option<usize>,
    /// What is logged, and how.
    pub log: Log,
}

/// The data port.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listen {
    /// Address and port; port 0 lets the system choose one.
    pub address: SocketAddr,
    /// How apps reach the gateway. `None`: by the host that each request names.
    pub public_url: Option<BaseUrl>,
    /// The certificate to serve, or `None` for plain HTTP.
    pub tls: Option<Tls>,
    /// How many connections may be open at once.
    pub max_connections: NonZeroUsize,
    /// Where Zuora's callouts arrive. `None`: where apps connect.
    pub callouts: Option<ListenCallouts>,
}

/// A port for Zuora's callouts, and for nothing else.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenCallouts {
    /// Address and port; port 0 lets the system choose one.
    pub address: SocketAddr,
    /// The certificate to serve, which asks clients for none; or `None` for plain HTTP.
    pub tls: Option<Tls>,
}

/// A certificate with its key: PEM files that could be opened when the
/// configuration was read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tls {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authorities whose client certificates count. `None`: clients are
    /// not asked for any.
    pub client_ca: Option<PathBuf>,
}

/// The admin port.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Admin {
    /// Address and port; port 0 lets the system choose one.
    pub address: SocketAddr,
    /// What operators must present. Always set if `address` is not loopback.
    pub token: Option<Secret>,
}

/// What is kept of async requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registry {
    /// How long those are kept that have ended, from their end on.
    pub keep: Duration,
    /// How many are kept; beyond, those that ended first go first.
    pub max_records: NonZeroUsize,
    /// How many may be without an outcome; beyond, no new ones are begun. At most `max_records`.
    pub max_pending: NonZeroUsize,
}

/// A Zuora tenant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tenant {
    /// The name in the file, and the label in metrics.
    pub name: Arc<str>,
    /// Where its REST API is.
    pub base_url: BaseUrl,
    /// Where its SOAP API is, if that is known.
    pub soap_url: Option<BaseUrl>,
    /// The host names by which apps mean it, in lower case and without ports. No two tenants
    /// share one.
    pub hosts: Vec<Arc<str>>,
    /// What stands before the path where apps mean it: `/sandbox`, without a slash at the end. None
    /// of a tenant begins with that of another, or like a path of Zuora's.
    pub path_prefix: Option<Arc<str>>,
    /// The roots to trust for it: a PEM file that could be opened when the
    /// configuration was read. `None`: those of the system.
    pub ca_certificate: Option<PathBuf>,
    /// Who we are to it.
    pub credentials: Credentials,
    /// The entities of a Multi-entity tenant, the first being the default.
    /// Empty: the tenant has one entity, and one set of pools.
    pub entities: Vec<Entity>,
    /// How many requests it allows at the same time.
    pub concurrency: Concurrency,
    /// How many calls it allows in a window of time.
    pub rate: Rate,
    /// How many requests may wait for it.
    pub queue: Queue,
    /// How often a call is tried, and when it is not tried again.
    pub retry: Retry,
    /// Which calls go one after another.
    pub lanes: Lanes,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// What happens to the track ids of apps.
    pub track_id: TrackIdPolicy,
    /// Which writes are sent to `/v1/async`, and how their outcomes come back.
    pub async_requests: Async,
}

/// Which writes are sent to `/v1/async`, and how their outcomes come back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Async {
    /// How Zuora's callouts come in. `None`: nothing is sent there, and `rewrite` is empty.
    pub callouts: Option<Callouts>,
    /// Which apps may have which writes sent there, and when. The first that matches counts; where
    /// none does, those are that apps ask for, orders excepted.
    pub rewrite: Vec<Rewrite>,
    /// How long an outcome may stay away before Zuora is asked for it.
    pub reconcile_after: Duration,
    /// How long an outcome may stay away before it is called unknown. More than `reconcile_after`.
    pub unknown_after: Duration,
}

/// How a tenant's callouts reach the gateway, and what proves that they are Zuora's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Callouts {
    /// By what Zuora reaches the gateway; `http` only for a loopback host.
    pub public_url: BaseUrl,
    /// The user name of HTTP Basic: not empty, without colons and control characters.
    pub username: String,
    /// Its password: not empty, without control characters.
    pub password: Secret,
    /// The password before this one, which is still taken: not the same.
    pub previous_password: Option<Secret>,
}

/// Which apps may have which writes sent to `/v1/async`, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewrite {
    /// The apps that it speaks of: indexes into [`Config::apps`], all of which call the tenant.
    /// Empty: all of them.
    pub apps: Vec<usize>,
    /// The writes that it speaks of: each names at least one that has such a form. Empty: all of
    /// those.
    pub operations: Vec<Rule>,
    /// Whether one of `operations` names `POST /v1/orders` and nothing else: such an order becomes a
    /// job. Then `when` is `OnRequest` or `Never`.
    pub order_jobs: bool,
    /// When they are sent there.
    pub when: When,
}

/// When a write is sent to `/v1/async`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Whenever it can be.
    Always,
    /// If the app asks for it.
    OnRequest,
    /// Not even then.
    Never,
    /// If the app asks for it, or if it has waited for its turn so long.
    Waiting(Duration),
}

/// An entity of a Multi-entity tenant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entity {
    /// Its id, a UUID as written. Unique within the tenant.
    pub id: Arc<str>,
    /// Its name at Zuora, if apps may say that. Unique within the tenant.
    pub name: Option<Arc<str>>,
}

/// Scheme and authority of a tenant: `https://rest.zuora.com`.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

/// How we prove to Zuora who we are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Credentials {
    /// What calls prove it with.
    pub main: Credential,
    /// The SOAP login whose sessions SOAP calls carry. `None`: they carry what all others do.
    pub soap: Option<Credential>,
}

impl Credentials {
    /// Whether SOAP calls have something to prove it with: an API key has no form in an envelope.
    #[must_use]
    pub fn serve_soap(&self) -> bool {
        self.soap.is_some() || self.main.kind != CredentialKind::ApiKey
    }
}

/// One credential, and the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credential {
    /// What Zuora takes it for.
    pub kind: CredentialKind,
    /// What is tried first.
    pub current: Pair,
    /// What is tried when Zuora refuses `current`: not the same as that.
    pub previous: Option<Pair>,
}

/// A name and what proves it. Neither is empty.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pair {
    /// Client id, access key id or user name.
    pub id: String,
    /// Client secret, secret access key or password.
    pub secret: Secret,
}

/// What Zuora takes a credential for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// An OAuth client: `POST /oauth/token` with `client_credentials`.
    OAuth,
    /// The fields `apiAccessKeyId` and `apiSecretAccessKey` of every request.
    ApiKey,
    /// A session of `POST /v1/connections`.
    Connection(Renew),
    /// A session of the SOAP call `login`.
    SoapLogin(Renew),
}

/// When a session is followed by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renew {
    /// Every ten minutes, and when Zuora refuses it.
    Timer,
    /// When Zuora refuses it.
    OnError,
    /// No attempt goes with a session from before it.
    EveryCall,
}

/// The tenant's concurrency limits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Concurrency {
    /// The limit of each limit type, by Zuora's own name for it: `Default`, `High-volume
    /// transactions` and `Object Query` always, and those that the file names besides. No two
    /// names differ in case only.
    pub limits: BTreeMap<Arc<str>, Limit>,
    /// Permits left to others in each pool. Less than every limit.
    pub headroom: u32,
    /// What a refusal does to everybody else.
    pub on_refusal: OnRefusal,
    /// The longest that a refused call rests. `None`: as long as Zuora says.
    pub retry_after_cap: Option<Duration>,
}

/// The limit of one limit type.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limit {
    /// How many requests may be at Zuora at the same time.
    pub limit: NonZeroU32,
    /// Whether requests wait for it; if not, they are only counted.
    pub enforce: bool,
}

/// What a refusal for concurrency does to the calls that were not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefusal {
    /// The pool shrinks to what fitted.
    Shrink,
    /// The whole pool pauses for as long as Zuora says.
    Freeze,
}

/// How many calls the tenant allows in a window of time. `None`: there is no such window. A longer
/// window allows at least as many as a shorter one.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Rate {
    /// In any minute.
    pub per_minute: Option<NonZeroU32>,
    /// In any hour.
    pub per_hour: Option<NonZeroU32>,
    /// In any day.
    pub per_day: Option<NonZeroU32>,
    /// Whether calls wait for it; if not, they are only counted.
    pub enforce: bool,
}

/// The bounds of a pool's queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Queue {
    /// How many requests may wait.
    pub max_requests: NonZeroUsize,
    /// How many bytes of request bodies may be held in memory.
    pub max_bytes: u64,
    /// How long a request may wait. Not zero.
    pub timeout: Duration,
}

/// How often a call is tried, and when it is not tried again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Retry {
    /// Attempts per call, the first included.
    pub attempts: NonZeroU32,
    /// The repeats of a pool as a share of its calls: 0 to 10.
    pub budget: f32,
    /// Whether writes that take an idempotency key, and have none, are given one.
    pub mint_idempotency_keys: bool,
    /// What happens to a write that Zuora rolled back.
    pub contended_writes: ContendedWrites,
    /// Request bodies up to this many bytes are kept for another attempt. At
    /// most `queue.max_bytes`; zero keeps none.
    pub replay_buffer: u64,
}

/// What happens to a write that Zuora rolled back because another one held the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContendedWrites {
    /// It is sent again.
    Repeat,
    /// Its caller gets Zuora's answer.
    Return,
}

/// Which calls go one after another, so that Zuora has no lock to refuse them for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// None.
    Off,
    /// Writes that name the same account, subscription or order.
    Account,
}

/// How long Zuora may take. Neither is zero.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// To connect, the TLS handshake included.
    pub connect: Duration,
    /// To answer a request, from sending it to the end of the answer's head.
    pub response: Duration,
}

/// What happens to the track ids that apps send.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TrackIdPolicy {
    /// One that Zuora would take.
    pub valid: ValidTrackId,
    /// One that Zuora would not take.
    pub invalid: InvalidTrackId,
}

/// What happens to a track id that Zuora would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidTrackId {
    /// It is passed on as it is.
    Keep,
    /// The app's name and a hyphen are put before it.
    Prefix,
    /// It is replaced by one of ours.
    Replace,
}

/// What happens to a track id that Zuora would not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidTrackId {
    /// The call is answered 400.
    Reject,
    /// It is replaced by one of ours.
    Replace,
}

/// A program that calls the gateway.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct App {
    /// The name in the file, the label in metrics and the head of minted track
    /// ids: 1 to 24 lower-case letters, digits and underscores.
    pub name: Arc<str>,
    /// The tenants it calls: indexes into [`Config::tenants`], at least one. The first is meant
    /// where a call does not say which.
    pub tenants: Vec<usize>,
    /// The client id it presents: a UUID in its 36-character form, as written.
    pub client_id: String,
    /// What its secret is compared with: the one that it has, and perhaps the
    /// one that it had before. Empty only if it has a certificate.
    pub secrets: Vec<AppSecret>,
    /// What its client certificate is called. Only ever set if clients are
    /// asked for certificates.
    pub certificate: Option<CertificateName>,
    /// Who goes first when several apps wait.
    pub priority: Priority,
    /// Its share of each pool, in proportion to others.
    pub weight: NonZeroU32,
    /// Permits of each pool that it has whenever it asks. At most `max_in_flight`, and zero for a
    /// scavenger. Those of a tenant's apps fit into what `headroom` leaves of `Default`.
    pub reserve: u32,
    /// The most requests at Zuora at the same time, over all pools.
    pub max_in_flight: Option<NonZeroU32>,
    /// How many calls it may make in a second, over all pools.
    pub rate: Option<AppRate>,
    /// The header field in which it says for whom it calls, in lower case: a field name, and none
    /// that speaks of a connection, holds a credential or means something to Zuora.
    pub fairness_key: Option<Arc<str>>,
    /// How long its requests may wait, if not as long as the tenant's queue says.
    pub queue_timeout: Option<Duration>,
    /// What it may call, unless `deny` says otherwise. Empty if the file does
    /// not restrict it: everything.
    pub allow: Vec<Rule>,
    /// What it may not call.
    pub deny: Vec<Rule>,
    /// Whether it may make only such calls as change nothing.
    pub read_only: bool,
    /// The ids of the entities that it may name, as its tenants write them, the first of each
    /// tenant being its default there. Empty: all of them. If not, each of its tenants that has
    /// entities has one of these.
    pub entities: Vec<Arc<str>>,
    /// Where the outcomes of its async requests are forwarded to. `None`: nowhere.
    pub outcomes: Option<Outcomes>,
}

/// Where outcomes are forwarded to, and what they are signed with.
#[derive(Clone)]
#[non_exhaustive]
pub struct Outcomes {
    /// Absolute, without user information; `http` only for a loopback host.
    pub url: Uri,
    /// At least 32 characters.
    pub secret: Secret,
}

/// Who goes first when several apps wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits for the answer.
    Interactive,
    /// What nothing else is said of.
    Standard,
    /// Work that may take its time.
    Batch,
    /// Only what nobody else wants.
    Scavenger,
}

/// How many calls an app may make in a second.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AppRate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once, after a quiet time.
    pub burst: NonZeroU32,
    /// Whether calls wait for it; if not, they are only counted.
    pub enforce: bool,
}

/// What a client certificate is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// Its subject: attribute types as dotted object identifiers, and values;
    /// in any order, at least one.
    Subject(Vec<(String, String)>),
    /// One of its subject alternative names. Not empty.
    Alt(String),
}

/// An app's secret, as far as the file tells it. `Debug` shows neither.
#[derive(Clone)]
pub enum AppSecret {
    /// The secret itself. Not empty.
    Plain(Secret),
    /// Only its SHA-256.
    Sha256([u8; 32]),
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// The least important level that is logged.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people at a terminal.
    Text,
}

/// How important a log line is, the most talkative first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// What a developer wants to know.
    Debug,
    /// What an operator wants to know.
    Info,
    /// What an operator should look at.
    Warn,
    /// What is broken.
    Error,
}

impl Config {
    /// The tenants that `app` calls, at least one, its default first. `app` must be one of this
    /// configuration.
    pub fn tenants_of<'c>(&'c self, app: &'c App) -> impl Iterator<Item = &'c Tenant> {
        app.tenants.iter().map(|&tenant| &self.tenants[tenant])
    }
}

impl App {
    /// Whether it calls the tenant at this index of [`Config::tenants`].
    #[must_use]
    pub fn calls(&self, tenant: usize) -> bool {
        self.tenants.contains(&tenant)
    }
}

impl BaseUrl {
    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Host and, if the file names one, port. Without user information.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PartialEq for Pair {
    /// Both are the operator's own: nobody learns anything from how long it takes.
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.secret.expose() == other.secret.expose()
    }
}

impl Eq for Pair {}

impl fmt::Debug for Outcomes {
    /// Where it leads, but not the path: that may be what nobody else shall know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.authority().map(Authority::as_str).unwrap_or_default();
        let url = format!("{}://{host}/…", self.url.scheme_str().unwrap_or_default());
        f.debug_struct("Outcomes").field("url", &url).field("secret", &self.secret).finish()
    }
}

impl fmt::Debug for AppSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(***)",
            Self::Sha256(_) => "Sha256(***)",
        })
    }
}
