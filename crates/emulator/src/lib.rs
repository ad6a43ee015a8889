//! An emulated Zuora tenant on loopback: for tests, for demonstrations, and
//! for trying an application against Zuora's limits without an account.
//!
//! It behaves as Zuora's documentation, its OpenAPI description and public
//! recordings say that Zuora behaves, above all where an application gets into
//! trouble: limits that refuse at once, work that goes on after the caller hung
//! up, failures behind HTTP 200, answers that never arrive. It keeps a ledger
//! of what it really executed, so that a test can ask the tenant instead of
//! believing the client. It shares no code with the gateway, which it judges.
//!
//! ```
//! use emulator::{Fault, FaultKind, Options, Tenant};
//!
//! # async fn example() -> std::io::Result<()> {
//! let tenant = Tenant::start(Options::default()).await?;
//! tenant.fault(Fault::once("/v1/accounts", FaultKind::Cut { executed: true }).method("POST"));
//!
//! // Point the application at this address and let it work.
//! let address = tenant.base_url();
//!
//! let ledger = tenant.ledger();
//! assert!(ledger.most_in_flight["Default"] <= 40);
//! assert_eq!(ledger.refused_concurrency, 0, "{address} had to refuse");
//! tenant.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What is emulated
//!
//! - **Tokens.** `POST /oauth/token` with the client in the form or as HTTP
//!   Basic; 32 opaque hexadecimal digits that expire; several valid at once;
//!   100 calls a minute and address, told by `X-RateLimit-*-minute`.
//!   [`Options::api_key`] and the `ZSession` cookie of `POST /v1/connections`
//!   are accepted too, as older clients use them.
//! - **Concurrency limits** per limit type and entity: `Default` 40,
//!   `High-volume transactions` 200, `Object Query` 80. One call more is
//!   refused at once with HTTP 429 and `Retry-After: 120`, in the shape of its
//!   family. `Concurrency-Limit-*` is on answers under `/v1` and
//!   `/object-query`; `Remaining` is a snapshot as old as the last full second.
//! - **Work.** A call holds its permit from its head until its service time is
//!   over and, for files, until the last byte is sent. When the caller hangs up
//!   the work goes on, with its permit, and is entered in the ledger. A call
//!   whose body never ends is not executed.
//! - **Rate windows**, if asked for: `ratelimit-*`, and a bare code 70 without
//!   `Retry-After`. Refused calls count.
//! - **Idempotency keys** on `POST` and `PATCH`: outcomes, failures included,
//!   kept for 24 hours; 409 while the first call is being worked on, 422 for
//!   another method or path, and HTTP 400 for `PUT`, as seen on real tenants.
//! - **Versions.** With `Zuora-Version` 2024-05-20 or later failures have
//!   statuses of their own; before that, and without it, they hide behind 200.
//! - **Data**: accounts with contacts, subscriptions, orders (and the older
//!   asynchronous orders), the product catalogue, payment methods, CRUD objects
//!   of any type, actions with rows that succeed and fail one by one, ZOQL
//!   queries with `queryMore`, object queries with `filter[]`, `sort[]`,
//!   `expand[]` and cursors, `describe` as XML, usage uploads, and files of any
//!   size: `GET /v1/files/size-1048576`. Lists under `/v1` have an absolute
//!   `nextPage`. The same object is seen by every family. Anything else under
//!   `/v1` succeeds and is remembered.
//! - **Transport**: HTTP/1.1 and HTTP/2 with prior knowledge; bodies streamed
//!   both ways without being held; gzip for who asks; a `ZSession` cookie on
//!   every HTTP 200; answers pretty-printed as in old recordings where Zuora
//!   does that; large ones in chunks.
//!
//! # What is not
//!
//! TLS; SOAP; the asynchronous form `/v1/async/…` of other operations and its
//! callouts; AQuA, data queries and other jobs (they succeed at once, without
//! results); prices, invoices and any other reckoning: amounts are made up.
//! CRUD failures come as HTTP 200, and tokens know no permissions. Nothing was
//! compared with a real tenant.
//!
//! # Controls
//!
//! On the same port, without a credential, for tests in other languages:
//!
//! | call | body | what it does |
//! |---|---|---|
//! | `GET /emulator/ledger?executed=N` | | the [`Ledger`] as JSON, with the last N calls and refusals (1000) |
//! | `POST /emulator/reset` | | forgets ledger, idempotency keys and faults |
//! | `POST /emulator/faults` | a [`Fault`], or a list | adds faults |
//! | `GET`, `DELETE /emulator/faults` | | lists those that wait; takes them back |
//! | `POST /emulator/limits` | `{"Default": 20, "Object Query": null}` | changes limits; `null` lifts one |
//! | `POST /emulator/outsider` | `{"limit_type": "Default", "permits": 10}` | somebody else holds so many permits from now on |
//! | `POST /emulator/revoke` | | takes all tokens back |
//!
//! The data begins with accounts `A00000001` onward, each with a subscription
//! `A-S00000001` onward, and with products of one rate plan each.

mod answers;
mod body;
mod call;
mod category;
mod contention;
mod control;
mod dress;
mod faults;
mod idempotency;
mod ledger;
mod limits;
mod locks;
mod message;
mod oauth;
mod operations;
mod options;
mod rate;
mod road;
mod server;
mod service_time;
mod shapes;
mod store;
mod wire;

pub use category::Category;
pub use faults::{Fault, FaultKind, Strike};
pub use ledger::{AppTotals, Executed, ExecutedTwice, Ledger, Refusal};
pub use limits::Outsider;
pub use operations::OperationKind;
pub use options::{Options, RateWindow, Reclassified};
pub use server::Tenant;
pub use service_time::{ServiceTime, ServiceTimeError};
pub use shapes::ErrorShape;
