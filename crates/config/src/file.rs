//! The file as it is written: every key that exists, what it means, and what
//! holds when it is left out.
//!
//! The descriptions are for operators; editors show them (`schema`).

use std::net::SocketAddr;
use std::time::Duration;

use zuora::Pattern;

use crate::reading::{At, Named, Optional, Required, section};
use crate::scalar::{
    AppName, Bytes, ClientId, Count, Digest, Directory, LimitType, ReadableFile, SigningKey,
    TenantName, Text, Uuid, Whole,
};
use crate::{BaseUrl, InvalidTrackId, LogFormat, LogLevel, Secret, ValidTrackId};

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
        /// The directory for what must survive a restart. It is made when needed.
        state_dir: At<Directory> = "./state",
        /// The Zuora tenants, by a name of your choice, which becomes a label in metrics.
        tenants: Required<Named<TenantName, Tenant>>,
        /// The programs that call the gateway, by a name of up to 24 lower-case letters, digits
        /// and `_`, which becomes a label in metrics and the head of track ids.
        apps: Required<Named<AppName, App>>,
        /// The app that callers without a credential are taken for. Refused unless
        /// `listen.address` is a loopback address.
        anonymous: Optional<At<Text>>,
        /// What is logged, and how.
        log: Log,
    }
}

section! {
    /// The data port.
    Listen {
        /// IP address and port. Port 0 lets the system choose one.
        address: At<SocketAddr> = "127.0.0.1:8080",
        /// The certificate to serve. When left out, the gateway speaks plain HTTP.
        tls: Optional<Tls>,
        /// How many connections may be open at once; more wait in the system's backlog.
        max_connections: At<Count<1_000_000>> = 10000,
    }
}

section! {
    /// A certificate and its key.
    Tls {
        /// PEM file with the certificate chain, the server's own first.
        certificate: Required<At<ReadableFile>>,
        /// PEM file with the private key.
        key: Required<At<ReadableFile>>,
    }
}

section! {
    /// The admin port.
    Admin {
        /// IP address and port. Port 0 lets the system choose one.
        address: At<SocketAddr> = "127.0.0.1:9090",
        /// What operators must present as bearer token. Needed when the address is not loopback.
        token: Optional<At<Secret>>,
    }
}

section! {
    /// A Zuora tenant.
    Tenant {
        /// Scheme and host of its REST API, such as `https://rest.zuora.com`.
        base_url: Required<At<BaseUrl>>,
        /// PEM file with the roots to trust for it. When left out, those of the system.
        ca_certificate: Optional<At<ReadableFile>>,
        /// Who the gateway is to Zuora.
        credentials: Required<Credentials>,
        /// The ids of its entities if Multi-entity is on; the first is the default. When left
        /// out, the tenant has one entity.
        entities: Optional<At<Vec<At<Uuid>>>>,
        /// How many requests Zuora allows at the same time.
        concurrency: Concurrency,
        /// How many requests may wait for a permit, in each pool.
        queue: Queue,
        /// How often a call is tried.
        retry: Retry,
        /// How long Zuora may take.
        timeouts: Timeouts,
        /// What happens to the track ids that apps send.
        track_id: TrackId,
    }
}

section! {
    /// Who the gateway is to Zuora.
    Credentials {
        /// An OAuth client of a Zuora user with API permission.
        oauth: Required<OAuth>,
    }
}

section! {
    /// An OAuth client.
    OAuth {
        /// The id that Zuora gave to the client.
        client_id: Required<At<Text>>,
        /// The secret that Zuora showed once.
        client_secret: Required<At<Secret>>,
    }
}

section! {
    /// How many requests Zuora allows at the same time.
    Concurrency {
        /// The limit of each limit type, by Zuora's own name for it; there are no others. Those
        /// left out are `Default: 40`, `High-volume transactions: 200` and `Object Query: 80`.
        limits: Optional<Named<LimitType, At<Count<10_000>>>>,
        /// Permits left to others, people in the UI included, in each pool. Less than every limit.
        headroom: At<Whole<0, 9_999>> = 2,
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
    /// How often a call is tried.
    Retry {
        /// Attempts per call, the first included.
        attempts: At<Count<100>> = 5,
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
        /// The tenant that it calls.
        tenant: Required<At<Text>>,
        /// The client id that it presents: a UUID of 36 characters, of your choice.
        client_id: Required<At<ClientId>>,
        /// Its secret. Either this or `secret_sha256`.
        secret: Optional<At<Secret>>,
        /// The SHA-256 of its secret, as 64 hexadecimal digits.
        secret_sha256: Optional<At<Digest>>,
        /// How long its requests may wait. When left out, as the tenant's queue says.
        queue_timeout: Optional<At<Duration>>,
        /// The calls it may make, such as `GET /v1/accounts/**`. The method may be `*`; in the
        /// path, `*` stands for any characters of one segment and a last `**` for any rest. When
        /// left out, all calls.
        allow: Optional<At<Vec<At<Pattern>>>>,
        /// The calls it may not make, also if `allow` names them.
        deny: Optional<At<Vec<At<Pattern>>>>,
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
