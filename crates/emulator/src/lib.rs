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
//!   100 logins a minute and address, told by `X-RateLimit-*-minute`. Clients
//!   come and go at run time ([`Tenant::set_clients`]).
//! - **Sessions**, as older clients use them: the `ZSession` cookie of `POST
//!   /v1/connections` with [`Options::api_key`], and the session of a SOAP
//!   `login`. Each serves as a cookie, as `Authorization: ZSession`, and in
//!   SOAP; each ends [`Options::session_lifetime`] after its last call. Every
//!   HTTP 200 sets a cookie that names the session of whoever called.
//! - **SOAP 1.1** at `/apps/services/a/{version}`: `login`, `query`,
//!   `queryMore`, `create`, `update`, `delete`, `generate`, `subscribe` and
//!   `getUserInfo`, on the same data. The session is taken from the envelope
//!   alone, where its namespace has it; a token does, too, if the
//!   `Authorization` header holds one of the same client. `GET
//!   /apps/servlet/GenerateWsdl` describes what there is, with Zuora's names.
//! - **Entities** ([`Options::entities`]), named by `Zuora-Entity-Ids`, or by
//!   the older `entityId` or `entityName`. A token is for the entity that its
//!   own call named, as its `scope` tells, or for all; so are sessions. Another
//!   one is refused with code 90000020.
//! - **Calls that browsers make**: `POST /v1/hmac-signatures` signs one call,
//!   and its `signature` and `token` headers are good for exactly that call,
//!   host, path and query included, once (90000011), without any other
//!   credential, and for what is enabled (90000010): new accounts, credit
//!   cards, RSA signatures, files. Preflights are answered to everybody.
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
//!   kept for 24 hours with status, headers and body; 409 while the first call
//!   is being worked on, also when its connection is long gone; 422 for another
//!   method or URL, and HTTP 400 for `PUT`, as seen on real tenants. What was
//!   refused before any work (401, 429) is not kept.
//! - **Lock contention**, if [`Options::lock_contention`] asks for it: of two
//!   writes on one account that overlap in time, the later one takes its time
//!   and is rolled back, with category 50 in the shape of its family. A write
//!   is on the accounts that its path or its JSON names, and on those whose
//!   subscriptions or orders it names, as far as they exist.
//! - **Versions.** With `Zuora-Version` 2024-05-20 or later failures have
//!   statuses of their own; before that, and without it, they hide behind 200.
//! - **Asynchronous writes** ([`Options::async_writes`]): `POST`, `PUT` and
//!   `DELETE` of JSON under `/v1/async` are answered 202 with the id of the
//!   request, done later by the tenant's own workers as their synchronous form
//!   would be, tried again when they meet another write on their account, and
//!   told of by callouts to the definitions of `Async Request Succeeded` and
//!   `Async Request Failed`: preset, or made with `POST
//!   /notifications/notification-definitions`. A callout goes out with HTTP
//!   Basic by challenge, or preemptively; has 25 seconds; is tried three times,
//!   half an hour apart, after 1xx, 403, 408, 429, 5xx and without an answer.
//!   All attempts share a `Zuora-Notification-Id`. `GET
//!   /v1/notification-history/callout` tells what was tried, and `POST
//!   /notifications/callout-histories/resend` sends it again by a list of ids.
//!   Actions are refused; a few operations are done and told of by nobody.
//!   `/v1/async/orders`, its `preview` and its deletion are jobs instead, polled
//!   at `/v1/async-jobs/{id}`, which has `success: true` also when they failed.
//! - **Data**: accounts with contacts, subscriptions, orders, the product catalogue, payment methods, CRUD objects
//!   of any type, actions with rows that succeed and fail one by one, ZOQL
//!   queries with `queryMore`, object queries with `filter[]`, `sort[]`,
//!   `expand[]` and cursors, `describe` as XML, usage uploads, and files of any
//!   size: `GET /v1/files/size-1048576`. The same object is seen by every
//!   family. Anything else under `/v1` succeeds and is remembered.
//! - **Exports**: AQuA (`/v1/batch-query/`), `/v1/object/export` and data
//!   queries (`/query/jobs`), each a job that takes [`Options::job_time`] and
//!   leaves a file. The file of a data query is in an object store, at
//!   `/emulator/bucket/…`: it opens by the signature in its address, and not
//!   for who brings another credential besides.
//! - **Links** as each place has them: an absolute `nextPage` on lists under
//!   `/v1` and one that names a host of Zuora's own on
//!   `/v1/notification-history/callout`; `next` of `/events/event-triggers`,
//!   relative on `/notifications/notification-definitions`; `next_page` of
//!   `/workflows`; `uploadedFileUrl` and `resultFileUrl` of `/v1/bulk/{key}`;
//!   `outputURL` of `/v1/uno/data-backfill/jobs/{id}`; `Location` of
//!   asynchronous orders. `GET /v1/listings/104857600` is a list of about so
//!   many bytes with one `nextPage`; with `?links=every` each row has one.
//! - **Transport**: HTTP/1.1 and HTTP/2 with prior knowledge; bodies streamed
//!   both ways without being held; gzip for who asks; a `ZSession` cookie on
//!   every HTTP 200; answers pretty-printed as in old recordings where Zuora
//!   does that; large ones in chunks.
//!
//! # What is not
//!
//! TLS towards callers; a host of its own for SOAP; callouts of other events, and
//! their NTLM, OAuth and HMAC; incremental AQuA, SQL beyond what exports take, and other jobs (they succeed
//! at once, without results); prices, invoices and any other reckoning: amounts are made up.
//! CRUD failures come as HTTP 200, and tokens know no permissions. An action
//! that contends is rolled back with all its rows. Cuts between bytes need
//! HTTP/1.1, and over a connection in memory a reset looks like an end.
//! Nothing was compared with a real tenant.
//!
//! # Faults
//!
//! A [`Fault`] strikes calls by method and path, as often as it says; a call
//! meets one at most. [`FaultKind`] has them all; what it means for the work:
//!
//! | kind | the caller sees | the work |
//! |---|---|---|
//! | `answer` | this answer | undone, or done: `executed` |
//! | `fail` | a category, in a shape, of a length | undone, kept under the key |
//! | `contended` | category 50 | rolled back, kept under the key |
//! | `refuse_concurrency`, `refuse_rate`, `limit_in_body`, `unauthenticated`, `html_unavailable` | a refusal | undone |
//! | `gateway_timeout` | HTTP 504 of the edge, `after_ms` | done `completes_after_ms` later, or never |
//! | `cut` | the connection ends without an answer | undone, or done before: `executed` |
//! | `cut_later` | the same, as soon as the request is there | done `milliseconds` later |
//! | `cut_request` | the connection ends `after` so many bytes of the request | undone; done if it came whole and `executed` says so |
//! | `cut_answer` | the connection ends `after` so many bytes of the answer | done |
//! | `cut_body` | the answer's body breaks off `after` so many bytes | done |
//! | `delay`, `body_size` | an answer that is late, or of any size | done |
//!
//! `cut_later`, `cut_request` and `cut_answer` can `reset` the connection
//! instead of closing it. [`Tenant::strikes`] tells what struck, with how many
//! bytes passed, so that a test which counts `after` up knows when it has seen
//! them all. [`Ledger::executed_twice`] says whether any write took effect more
//! than once.
//!
//! The work of an asynchronous write is struck as the path of its synchronous
//! form, by `fail`, `contended` and `delay` alone; its hand-in like any call. What
//! goes wrong with its callout is a [`Mishap`], planned with
//! [`Tenant::plan_mishap`] or drawn by lot: `fails`, `long_reasons`,
//! `duplicated`, `late`, `early`, `contradicted`, `lost`, `vanished`.
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
//! | `GET /emulator/faults` | | those `waiting`, and the last thousand that `struck`: how many bytes `passed`, and whether that was the `whole` message |
//! | `DELETE /emulator/faults` | | takes back those that wait |
//! | `POST /emulator/mishaps` | `{"chances": {"duplicated": 0.1}, "next": ["lost"]}` | mishaps of asynchronous writes, by lot and for the next ones; what is absent stays |
//! | `POST /emulator/async` | `{"paused": true}` | lets asynchronous writes rest that are not begun |
//! | `POST /emulator/limits` | `{"Default": 20, "Object Query": null}` | changes limits; `null` lifts one |
//! | `POST /emulator/outsider` | `{"limit_type": "Default", "permits": 10}` | somebody else holds so many permits from now on |
//! | `POST /emulator/revoke` | | takes all tokens back and ends all sessions |
//! | `POST /emulator/credentials` | `{"clients": [["id", "secret"]], "api_keys": [], "soap_users": []}` | who may log in from now on; what is absent stays |
//!
//! Cuts are faults like the others:
//!
//! ```sh
//! tenant=http://127.0.0.1:8081/emulator
//!
//! # The next POST of an account ends 200 bytes into the request, with a reset.
//! curl $tenant/faults -d '{"method": "POST", "path": "/v1/accounts",
//!     "kind": {"cut_request": {"after": 200, "reset": true}}}'
//! # Two calls arrive whole and are done, and no byte of an answer comes back.
//! curl $tenant/faults -d '{"path": "/v1", "times": 2,
//!     "kind": {"cut_request": {"after": 1000000, "executed": true}}}'
//! # The answer ends in the midst of its status line.
//! curl $tenant/faults -d '{"path": "/v1/orders", "kind": {"cut_answer": {"after": 12}}}'
//! # The connection ends at once, and the order is done three seconds later.
//! curl $tenant/faults -d '{"path": "/v1/orders", "kind": {"cut_later": {"milliseconds": 3000}}}'
//! # The edge gives up after two seconds; the work is done a second after that.
//! curl $tenant/faults -d '{"path": "/v1/orders",
//!     "kind": {"gateway_timeout": {"after_ms": 2000, "completes_after_ms": 1000}}}'
//! # A temporary failure as a SOAP fault, large enough to be compressed.
//! curl $tenant/faults -d '{"path": "/v1",
//!     "kind": {"fail": {"category": 61, "shape": "soap_fault", "message_bytes": 2000}}}'
//! # What struck, and what took effect.
//! curl $tenant/faults
//! curl "$tenant/ledger?executed=10"
//! ```
//!
//! The data begins with accounts `A00000001` onward, each with a subscription
//! `A-S00000001` onward, and with products of one rate plan each.

mod answers;
mod body;
mod call;
mod category;
mod contention;
mod control;
mod credential;
mod dress;
mod entities;
mod faults;
mod gate;
mod idempotency;
mod later;
mod ledger;
mod limits;
mod locks;
mod message;
mod operations;
mod options;
mod rate;
mod road;
mod server;
mod service_time;
mod sessions;
mod shapes;
mod single_use;
mod soap;
mod store;
mod wire;

pub use category::Category;
pub use credential::Credential;
pub use faults::{Fault, FaultKind, Strike};
pub use later::options::{AsyncWrites, CalloutEvent, Definition, HistoryContext, Mishap};
pub use later::told::{AsyncOutcome, AsyncRequest, CalloutAttempt, Reason};
pub use ledger::{AppTotals, Executed, ExecutedTwice, Ledger, Login, LoginKind, Refusal};
pub use limits::Outsider;
pub use operations::OperationKind;
pub use options::{Options, RateWindow, Reclassified};
pub use server::Tenant;
pub use service_time::{ServiceTime, ServiceTimeError};
pub use shapes::ErrorShape;
