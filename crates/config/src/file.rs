//! The file as it is written: every key that exists, what it means, and what
//! holds when it is left out.
//!
//! The descriptions are for operators; editors show them (`schema`).

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};
use zuora::Rule;

use crate::reading::{
    At, Field, Named, OneOrMore, Optional, Placed, Reading, Required, Section, section,
};
use crate::scalar::{
    AltName, AppName, Bytes, CalloutsUrl, ClientId, Count, DataCentreName, Digest, Directory,
    EntityName, FieldName, HostName, LimitType, OutcomesUrl, Password, PathPrefix, ReadableFile,
    Share, SigningKey, Span, Subject, TenantName, Text, Username, Uuid, WhenAsked, Whole,
};
use crate::yaml::{Kind, Node};
use crate::{
    BaseUrl, ContendedWrites, InvalidTrackId, Lanes, LogFormat, LogLevel, OnRefusal, Priority,
    Renew, Secret, ValidTrackId,
};

/// The most calls that a rate may name, in whatever time.
type Calls = Count<1_000_000_000>;

section! {
    /// Configuration of zuora-gateway. Any value may be `${NAME}`, an environment variable, or
    /// `${file:/path}`, the text of a file; `$${` stands for `${` itself. Paths are relative to
    /// the directory of this file.
    File {
        /// Where apps connect.
        listen: Listen,
        /// Where operators connect: metrics and health. Keep it off the Internet.
        admin: Admin,
        /// Signs the tokens that the gateway gives to apps; at least 32 characters, the same on
        /// every replica. When left out, one is made and kept in `state_dir`.
        signing_key: Optional<At<SigningKey>>,
        /// The directory for what must survive a restart: the signing key, async requests and their
        /// outcomes, and the sign that the gateway was killed with calls at Zuora. It is made when
        /// needed.
        state_dir: At<Directory> = "./state",
        /// What is kept of async requests, in `state_dir`.
        async_requests: AsyncRequests,
        /// The Zuora tenants, by a name of your choice, which becomes a label in metrics.
        tenants: Required<Named<TenantName, Tenant>>,
        /// The programs that call the gateway, by a name of up to 24 lower-case letters, digits
        /// and `_`, which becomes a label in metrics and the head of track ids.
        apps: Required<Named<AppName, App>>,
        /// The app that callers without a credential are taken for. Refused unless
        /// `listen.address` is a loopback address.
        anonymous: Optional<At<Text>>,
        /// The app that calls with Zuora's single-use `signature` and `token` fields are taken for,
        /// and the questions that browsers ask before them. Its `allow` and `deny` say which may
        /// come. When left out, such calls need a credential of an app like all others.
        single_use: Optional<At<Text>>,
        /// What is logged, and how.
        log: Log,
    }
}

section! {
    /// The data port.
    Listen {
        /// IP address and port. Port 0 lets the system choose one.
        address: At<SocketAddr> = "127.0.0.1:8080",
        /// Scheme and host by which apps reach the gateway, such as
        /// `https://zuora-gateway.example.com`: links in answers lead there. When left out, the
        /// host that the request itself names.
        public_url: Optional<At<BaseUrl>>,
        /// The certificate to serve. When left out, the gateway speaks plain HTTP.
        tls: Optional<Tls>,
        /// How many connections may be open at once; more wait in the system's backlog.
        max_connections: At<Count<1_000_000>> = 10000,
        /// A port for Zuora's callouts, which then arrive there and only there; it serves nothing
        /// else. When left out, they arrive where apps connect.
        callouts: Optional<ListenCallouts>,
    }
}

section! {
    /// A port for Zuora's callouts.
    ListenCallouts {
        /// IP address and port. Port 0 lets the system choose one.
        address: Required<At<SocketAddr>>,
        /// The certificate to serve. When left out, the port speaks plain HTTP.
        tls: Optional<CalloutsTls>,
    }
}

section! {
    /// A certificate and its key.
    CalloutsTls {
        /// PEM file with the certificate chain, the server's own first.
        certificate: Required<At<ReadableFile>>,
        /// PEM file with the private key.
        key: Required<At<ReadableFile>>,
    }
}

section! {
    /// What is kept of async requests.
    AsyncRequests {
        /// How long those are kept that have ended.
        keep: At<Span> = "7d",
        /// How many are kept. Beyond, those that ended first go first.
        max_records: At<Count<100_000_000>> = 1000000,
        /// How many may be without an outcome. Beyond, async writes are refused. At most
        /// `max_records`.
        max_pending: At<Count<100_000_000>> = 100000,
    }
}

section! {
    /// A certificate and its key.
    Tls {
        /// PEM file with the certificate chain, the server's own first.
        certificate: Required<At<ReadableFile>>,
        /// PEM file with the private key.
        key: Required<At<ReadableFile>>,
        /// PEM file with the authorities whose client certificates count, and with no other
        /// certificates. When left out, clients
        /// are not asked for any. Who has none is let in all the same, and needs another
        /// credential; one by another authority ends the connection.
        client_ca: Optional<At<ReadableFile>>,
    }
}

section! {
    /// The admin port.
    Admin {
        /// IP address and port. Port 0 lets the system choose one.
        address: At<SocketAddr> = "127.0.0.1:9090",
        /// What operators must present as bearer token. Needed when the address is not loopback,
        /// and for actions such as `POST /api/reload`.
        token: Optional<At<Secret>>,
    }
}

section! {
    /// A Zuora tenant.
    Tenant {
        /// Scheme and host of its REST API, such as `https://rest.zuora.com`. Either this or
        /// `environment`.
        base_url: Optional<At<BaseUrl>>,
        /// The name of the environment that it is in, such as `eu-production`, which says where
        /// its REST and SOAP APIs are. `zuora-gateway check --environments` lists them.
        environment: Optional<At<DataCentreName>>,
        /// Scheme and host of its SOAP API, such as `https://www.zuora.com`. When left out, as
        /// `environment` says; where that is left out too, SOAP calls are refused.
        soap_url: Optional<At<BaseUrl>>,
        /// The host names by which apps mean this tenant, without ports. An app that calls it only
        /// does not need them.
        hosts: Optional<At<Vec<At<HostName>>>>,
        /// What stands before the path where apps mean this tenant: with `/sandbox`, its
        /// `/v1/accounts` is their `/sandbox/v1/accounts`.
        path_prefix: Optional<At<PathPrefix>>,
        /// PEM file with the roots to trust for it. When left out, those of the system.
        ca_certificate: Optional<At<ReadableFile>>,
        /// Who the gateway is to Zuora.
        credentials: Required<Placed<Credentials>>,
        /// The ids of its entities if Multi-entity is on; the first is the default. When left
        /// out, the tenant has one entity. An entry may be `{id: …, name: …}`, for apps that send
        /// the older field `entityName`.
        entities: Optional<At<Vec<EntityOrId>>>,
        /// How many requests Zuora allows at the same time.
        concurrency: Concurrency,
        /// How many calls Zuora allows in a window of time, all apps and pools together.
        rate: Rate,
        /// How many requests may wait for a permit, in each pool.
        queue: Queue,
        /// How often a call is tried, and when it is not tried again.
        retry: Retry,
        /// Which calls go one after another: with `account`, writes that name the same account,
        /// subscription or order, so that Zuora does not refuse one for the lock that another
        /// holds. With `off`, none.
        lanes: At<Lanes> = "off",
        /// How long Zuora may take.
        timeouts: Timeouts,
        /// What happens to the track ids that apps send.
        track_id: TrackId,
        /// Which writes are sent to `/v1/async`, and how their outcomes come back.
        r#async: Async,
    }
}

section! {
    /// Which writes are sent to `/v1/async`, and how their outcomes come back.
    Async {
        /// How Zuora's callouts come in, which tell the outcomes. When left out, nothing is sent to
        /// `/v1/async`.
        callouts: Optional<Callouts>,
        /// Which apps may have which writes sent to `/v1/async`, and when; the first entry that
        /// matches counts. Where none does, those are that apps ask for with
        /// `Prefer: respond-async`, orders excepted.
        rewrite: Optional<At<Vec<Placed<Rewrite>>>>,
        /// How long an outcome may stay away before Zuora's callout history is asked for it.
        reconcile_after: At<Duration> = "5m",
        /// How long an outcome may stay away before it is called unknown. More than
        /// `reconcile_after`.
        unknown_after: At<Span> = "24h",
    }
}

section! {
    /// How Zuora's callouts come in.
    Callouts {
        /// Scheme and host by which Zuora reaches the gateway, such as
        /// `https://zuora-callouts.example.com`.
        public_url: Required<At<CalloutsUrl>>,
        /// The user name that Zuora presents.
        username: Required<At<Username>>,
        /// The password that Zuora presents.
        password: Required<At<Password>>,
        /// The password before this one, which is still taken while it is being changed at Zuora.
        previous_password: Optional<At<Password>>,
    }
}

section! {
    /// Which apps may have which writes sent to `/v1/async`, and when: either `when` or
    /// `when_waiting`.
    Rewrite {
        /// The apps that it speaks of. When left out, all that call this tenant.
        apps: Optional<At<Vec<At<Text>>>>,
        /// The writes that it speaks of, written like those of an app's `allow`. When left out, all
        /// that Zuora takes there. Orders are sent there, as jobs, only where an entry names
        /// `POST /v1/orders` and nothing else.
        operations: Optional<At<Vec<At<Rule>>>>,
        /// When they are sent there: `always`, `on_request` of the app, or `never`, not even then.
        when: Optional<At<WhenAsked>>,
        /// They are sent there on request of the app, and when they have waited for their turn so
        /// long.
        when_waiting: Optional<At<Duration>>,
    }
}

section! {
    /// An entity of a tenant.
    Entity {
        /// Its id, with hyphens.
        id: Required<At<Uuid>>,
        /// Its name at Zuora, as apps write it in the field `entityName`.
        name: Optional<At<EntityName>>,
    }
}

/// An entity, or its id alone.
#[derive(Debug)]
pub(crate) struct EntityOrId(pub(crate) Entity);

impl Field for EntityOrId {
    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self> {
        match node.kind {
            Kind::Mapping(_) => <Entity as Field>::read(node, reading).map(Self),
            _ => {
                let id = <At<Uuid> as Field>::read(node, reading)?;
                let name = Optional { written: false, value: None };
                Some(Self(Entity { id: Required(Some(id)), name }))
            }
        }
    }

    fn schema() -> Json {
        json!({"anyOf": [<At<Uuid> as Field>::schema(), <Entity as Section>::schema()]})
    }
}

section! {
    /// Who the gateway is to Zuora: one of `oauth`, `api_key`, `connection` and `soap_login`. A
    /// `soap_login` may also stand beside another one, and then serves SOAP calls only.
    Credentials {
        /// An OAuth client of a Zuora user with API permission.
        oauth: Optional<OAuth>,
        /// An API user's name and password, sent with every request. SOAP calls need a
        /// `soap_login` beside it.
        api_key: Optional<ApiKey>,
        /// An API user's name and password, sent to `POST /v1/connections` for a session.
        connection: Optional<Connection>,
        /// An API user's name and password, sent to the SOAP call `login` for a session. Needs
        /// the tenant's `soap_url`.
        soap_login: Optional<Placed<SoapLogin>>,
    }
}

section! {
    /// An OAuth client.
    OAuth {
        /// The id that Zuora gave to the client.
        client_id: Required<At<Text>>,
        /// The secret that Zuora showed once.
        client_secret: Required<At<Secret>>,
        /// The client before this one. It is tried when Zuora refuses this one, so that secrets
        /// can be exchanged in any order.
        previous: Optional<OAuthClient>,
    }
}

section! {
    /// An OAuth client that is being replaced.
    OAuthClient {
        /// The id that Zuora gave to the client.
        client_id: Required<At<Text>>,
        /// The secret that Zuora showed once.
        client_secret: Required<At<Secret>>,
    }
}

section! {
    /// An API user, by the names that Zuora's request fields have for name and password.
    ApiKey {
        /// What goes into `apiAccessKeyId`.
        id: Required<At<Text>>,
        /// What goes into `apiSecretAccessKey`.
        secret: Required<At<Secret>>,
        /// The key before this one. It is tried when Zuora refuses this one.
        previous: Optional<Key>,
    }
}

section! {
    /// An API user's key that is being replaced.
    Key {
        /// What goes into `apiAccessKeyId`.
        id: Required<At<Text>>,
        /// What goes into `apiSecretAccessKey`.
        secret: Required<At<Secret>>,
    }
}

section! {
    /// An API user and the sessions of `POST /v1/connections`.
    Connection {
        /// What goes into `apiAccessKeyId`.
        id: Required<At<Text>>,
        /// What goes into `apiSecretAccessKey`.
        secret: Required<At<Secret>>,
        /// When a session is followed by another one: with `timer`, every ten minutes, as
        /// Zuora's shortest sessions last fifteen; with `on_error`, when Zuora refuses it; with
        /// `every_call`, before every attempt, of which those share one that asked for it within
        /// the same second.
        renew: At<Renew> = "timer",
        /// The key before this one. It is tried when Zuora refuses this one.
        previous: Optional<Key>,
    }
}

section! {
    /// An API user and the sessions of the SOAP call `login`.
    SoapLogin {
        /// The user's name.
        username: Required<At<Text>>,
        /// The user's password.
        password: Required<At<Secret>>,
        /// When a session is followed by another one: with `timer`, every ten minutes, as
        /// Zuora's shortest sessions last fifteen; with `on_error`, when Zuora refuses it; with
        /// `every_call`, before every attempt, of which those share one that asked for it within
        /// the same second.
        renew: At<Renew> = "timer",
        /// The user before this one. It is tried when Zuora refuses this one.
        previous: Optional<User>,
    }
}

section! {
    /// An API user that is being replaced.
    User {
        /// The user's name.
        username: Required<At<Text>>,
        /// The user's password.
        password: Required<At<Secret>>,
    }
}

section! {
    /// How many requests Zuora allows at the same time.
    Concurrency {
        /// The limit of each limit type, by Zuora's own name for it. Those left out are
        /// `Default: 40`, `High-volume transactions: 200` and `Object Query: 80`; others are
        /// learnt when Zuora names them.
        limits: Optional<Named<LimitType, LimitOrAlone>>,
        /// Permits left to others, people in the UI included, in each pool. Less than every limit.
        headroom: At<Whole<0, 9_999>> = 2,
        /// What a refusal for concurrency does to the calls that were not refused: `shrink` the
        /// pool to what fitted, or `freeze` it for as long as Zuora's `Retry-After` says.
        on_refusal: At<OnRefusal> = "shrink",
        /// The longest that a call refused for concurrency rests before it is sent again. When
        /// left out, as long as Zuora's `Retry-After` says, in practice 120s.
        retry_after_cap: Optional<At<Duration>>,
    }
}

section! {
    /// The limit of one limit type.
    Limit {
        /// How many requests Zuora allows at the same time. When left out, as by default.
        limit: Optional<At<Count<10_000>>>,
        /// Whether requests wait for it. With `false` they are only counted.
        enforce: At<bool> = true,
    }
}

/// A limit, or its figure alone: `40` for `{limit: 40}`.
#[derive(Debug)]
pub(crate) struct LimitOrAlone(pub(crate) Limit);

impl Field for LimitOrAlone {
    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self> {
        match node.kind {
            Kind::Mapping(_) => <Limit as Field>::read(node, reading).map(Self),
            Kind::Scalar(_) => Some(Self(Limit::members(node, &[("limit", node)], reading))),
            Kind::Null | Kind::List(_) => {
                let message = format!("expected a limit such as `40`, found {}", node.describe());
                reading.tell(node.place, &node.path, message);
                None
            }
        }
    }

    fn schema() -> Json {
        let alone = <At<Count<10_000>> as Field>::schema();
        json!({"anyOf": [alone, <Limit as Section>::schema()]})
    }
}

section! {
    /// How many calls Zuora allows in a window of time, all apps and pools together. They are
    /// paced: no window sees more, wherever it begins, and none is used up at its beginning.
    Rate {
        /// In any minute; `null` for no such window.
        per_minute: At<Option<Calls>> = 50000,
        /// In any hour; `null` for no such window.
        per_hour: At<Option<Calls>> = 2250000,
        /// In any day; `null` for no such window.
        per_day: At<Option<Calls>> = 27000000,
        /// Whether calls wait for it. With `false` they are only counted.
        enforce: At<bool> = true,
    }
}

section! {
    /// How many requests may wait for a permit, in each pool.
    Queue {
        /// How many requests may wait.
        max_requests: At<Count<10_000_000>> = 10000,
        /// How much memory the bodies of waiting requests may take.
        max_bytes: At<Bytes> = "256MiB",
        /// How long a request may wait.
        timeout: At<Duration> = "30s",
    }
}

section! {
    /// How often a call is tried, and when it is not tried again. Whatever is written here, no
    /// write is sent again that Zuora may have executed, unless a key keeps it from doing so twice.
    Retry {
        /// Attempts per call, the first included. What Zuora certainly did not execute (refused,
        /// rolled back, not sent) does not count. With 1, nothing is sent again.
        attempts: At<Count<100>> = 5,
        /// The most repeats in each pool, as a share of its calls: `0.2` is one for every five
        /// calls. Below 1 it is one for every whole number of calls: 0.3 counts as 0.33, and 0.6
        /// as 1. Ten a second may always go besides; the others wait. What Zuora refused for a
        /// limit is not counted.
        budget: At<Share<10>> = 0.2,
        /// Whether POST and PATCH calls without an `Idempotency-Key` get one where Zuora takes
        /// them, so that they can be sent again when they were cut off. An app's own key is never
        /// changed.
        mint_idempotency_keys: At<bool> = true,
        /// What happens to a write that Zuora rolled back because another one held the lock
        /// (category 50): `repeat` it, or `return` Zuora's answer. With a key of the app's own, it
        /// is returned in any case.
        contended_writes: At<ContendedWrites> = "repeat",
        /// Request bodies up to this size are kept for another attempt; larger ones are streamed.
        replay_buffer: At<Bytes> = "1MiB",
    }
}

section! {
    /// How long Zuora may take.
    Timeouts {
        /// To connect, the TLS handshake included.
        connect: At<Duration> = "5s",
        /// To answer. Zuora itself gives up after 120s.
        response: At<Duration> = "125s",
    }
}

section! {
    /// What happens to the track ids that apps send.
    TrackId {
        /// One that Zuora would take: `keep` it, `prefix` it with the app's name, or `replace` it.
        valid: At<ValidTrackId> = "keep",
        /// One that Zuora would not take: `reject` the call, or `replace` it.
        invalid: At<InvalidTrackId> = "reject",
    }
}

section! {
    /// A program that calls the gateway.
    App {
        /// The tenant that it calls, or a list of them: then the tenants' `hosts` and
        /// `path_prefix` tell which one a call is for, and it is the first where they do not.
        tenant: Required<OneOrMore<Text>>,
        /// The client id that it presents: a UUID of 36 characters, of your choice.
        client_id: Required<At<ClientId>>,
        /// Its secret. Either this or `secret_sha256`, or neither if it has a `certificate`.
        secret: Optional<At<Secret>>,
        /// The SHA-256 of its secret, as 64 hexadecimal digits.
        secret_sha256: Optional<At<Digest>>,
        /// The secret that it had before, which is still taken while it is being changed.
        previous_secret: Optional<At<Secret>>,
        /// The SHA-256 of the secret that it had before.
        previous_secret_sha256: Optional<At<Digest>>,
        /// The client certificate by which it is known, by an authority of
        /// `listen.tls.client_ca`.
        certificate: Optional<Certificate>,
        /// Who goes first when several apps wait: `interactive`, `standard` or `batch`. A head
        /// start, not a larger share. `scavenger` has only what nobody else wants.
        priority: At<Priority> = "standard",
        /// Its share of each pool, in proportion to the other apps that want more than they get.
        weight: At<Count<1_000>> = 1,
        /// Permits of each pool that it has whenever it asks for them; while it does not, others
        /// do. Those of all apps of a tenant must fit into its limit `Default`, less `headroom`.
        reserve: At<Whole<0, 9_999>> = 0,
        /// The most requests that it may have at Zuora at the same time, over all pools.
        max_in_flight: Optional<At<Count<1_000_000>>>,
        /// How many calls it may make in a second, over all pools. When left out, as many as the
        /// tenant may.
        rate: Optional<AppRate>,
        /// The header field in which it says for whom it calls. Its users then share its turns
        /// alike. The field is not sent to Zuora.
        fairness_key: Optional<At<FieldName>>,
        /// How long its requests may wait. When left out, as the tenant's queue says.
        queue_timeout: Optional<At<Duration>>,
        /// The ids of the entities that it may name, among those of its tenants; the first of each
        /// tenant is its default there. When left out, all of them.
        entities: Optional<At<Vec<At<Uuid>>>>,
        /// Whether it may make only such calls as change nothing.
        read_only: At<bool> = false,
        /// The calls it may make, such as `GET /v1/accounts/**`. The method may be `*`; in the
        /// path, `*` stands for any characters of one segment and a last `**` for any rest. Also
        /// `operation POST_Account`, by the id that `zuora-gateway explain` tells, and `SOAP query`
        /// or `SOAP *`. When left out, all calls.
        allow: Optional<At<Vec<At<Rule>>>>,
        /// The calls it may not make, also if `allow` names them.
        deny: Optional<At<Vec<At<Rule>>>>,
        /// Where the outcomes of its async requests are forwarded to. When left out, it asks the
        /// gateway for them.
        outcomes: Optional<Placed<Outcomes>>,
    }
}

section! {
    /// Where outcomes are forwarded to.
    Outcomes {
        /// They are sent there with `POST`. It must be `https`, unless the host is a loopback one.
        url: Required<At<OutcomesUrl>>,
        /// They are signed with this; at least 32 characters.
        secret: Required<At<SigningKey>>,
    }
}

section! {
    /// What a client certificate is called. Either of the two.
    Certificate {
        /// Its whole subject, as `openssl x509 -noout -subject -nameopt RFC2253` prints it. The
        /// order does not count.
        subject: Optional<At<Subject>>,
        /// One of its subject alternative names: a host name, a URI, a mail address or an IP
        /// address. It is compared as a whole.
        san: Optional<At<AltName>>,
    }
}

section! {
    /// How many calls an app may make in a second.
    AppRate {
        /// In the long run.
        per_second: Required<At<Count<1_000_000>>>,
        /// At once, after a quiet time. When left out, as many as `per_second`.
        burst: Optional<At<Count<1_000_000>>>,
        /// Whether calls wait for it. With `false` they are only counted.
        enforce: At<bool> = true,
    }
}

section! {
    /// What is logged, and how.
    Log {
        /// `json` for machines, `text` for people.
        format: At<LogFormat> = "json",
        /// The least important level that is logged.
        level: At<LogLevel> = "info",
    }
}
