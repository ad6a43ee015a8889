//! Zuora's operations: what is known of each, and which one a call is.
//!
//! The table is `operations.tsv` beside this file, one line per operation, sorted by path and
//! method. It was drawn from Zuora's OpenAPI description, its older API and Quickstart references,
//! and the rules of the guides on limits, async and idempotent requests; operations of other hosts
//! (SCIM, configurable payment retry) are not in it, because no call to them comes this way. Where
//! Zuora uses one operation id twice, the Quickstart one carries its family as a suffix, so that an
//! id is a unique metric label.

mod table;
mod trie;

use std::sync::LazyLock;

use http::Method;

/// One operation of the API: a method, a path template, and the rules Zuora publishes for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Zuora's operation id, unique in the table and safe as a metric label.
    pub id: &'static str,
    /// One of GET, POST, PUT, DELETE and PATCH.
    pub method: Method,
    /// The path template, with parameters in braces: `/v1/accounts/{account-key}`.
    pub path: &'static str,
    /// The concurrency limit it counts against.
    pub limit_type: LimitType,
    /// Whether it has the generic `/v1/async/…` form.
    pub async_form: AsyncForm,
    /// Whether it takes an `Idempotency-Key`.
    pub idempotency_keys: IdempotencyKeys,
    place: usize,
}

impl Operation {
    /// Its place in [`operations`].
    pub fn place(&self) -> usize {
        self.place
    }

    /// Whether it changes nothing: all of GET, and queries, which are sent as `POST`.
    pub fn only_reads(&self) -> bool {
        self.method == Method::GET || matches!(self.id, "Action_POSTquery" | "Action_POSTqueryMore")
    }
}

/// The concurrency limit that an operation counts against, fixed by Zuora per operation.
///
/// These are the ones known today (Zuora: rate limits guide). An answer may name another; see
/// [`Concurrency`](crate::Concurrency), which keeps the name as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitType {
    /// Everything that no other type has, and calls that the table does not know.
    Default,
    /// Accounts, orders and subscriptions being written or previewed, and RSA signatures.
    HighVolume,
    /// Every `/object-query` and Quickstart (`/v2`) call.
    ObjectQuery,
    /// Exempt from concurrency limits: getting a token, and the older `POST /v1/connections`.
    Unlimited,
}

impl LimitType {
    /// Zuora's own name, as `Concurrency-Limit-Type` carries it; `Unlimited` is our word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::HighVolume => "High-volume transactions",
            Self::ObjectQuery => "Object Query",
            Self::Unlimited => "Unlimited",
        }
    }
}

/// Whether an operation can be sent to `/v1/async/…` instead (Zuora: asynchronous requests guide).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AsyncForm {
    /// The published rule covers it, and a caller can live with the bare id that is its outcome.
    Eligible,
    /// It has no such form, or its answer is worth more than an id. Says why.
    Ineligible(&'static str),
    /// The published rule leaves it open. Says why.
    Unknown(&'static str),
}

/// Whether an operation takes an `Idempotency-Key` (Zuora: idempotent requests guide).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdempotencyKeys {
    /// Declared: Zuora answers a repeated key with the stored outcome for 24 hours.
    Accepted,
    /// Not to be sent; on PUT it is answered with HTTP 400.
    NotAccepted,
    /// The guide speaks of every POST and PATCH, the description does not declare it here. Whoever
    /// must not execute twice cannot rely on it.
    Undeclared,
}

static TABLE: LazyLock<Vec<Operation>> = LazyLock::new(table::read);
static TRIE: LazyLock<trie::Trie> = LazyLock::new(|| trie::Trie::new(&TABLE));

/// All operations, sorted by path and method.
pub fn operations() -> &'static [Operation] {
    &TABLE
}

/// Finds the operation of a call, or `None` when the path is unknown or lacks that method.
///
/// `path` is the raw path without its query. A trailing slash and doubled slashes are ignored,
/// `/rest/v1` is read as `/v1`, and HEAD counts as GET. A literal segment wins over a parameter; if
/// that leads nowhere, the parameter is tried. Allocates nothing, and takes time in proportion to
/// the path's length.
pub fn classify(method: &Method, path: &str) -> Option<&'static Operation> {
    let operation = TRIE.find(method, path)?;
    TABLE.get(operation)
}

#[cfg(test)]
mod tests;
