//! Which ends of a call lead to another attempt, and which calls go one after another.

use config::{ContendedWrites, Lanes, Retry, Tenant};
use http::Method;
use zuora::{IdempotencyKeys, Operation, SubjectKind};

/// What kind of call it is, as far as repeating it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// It changes nothing.
    Read,
    /// Zuora executes what has the same `Idempotency-Key` once.
    Keyed,
    /// Zuora cannot tell a second one from the first.
    Plain,
}

impl Sort {
    fn of(method: &Method, operation: Option<&Operation>) -> Self {
        // Queries are sent as POST, and change nothing.
        let is_query =
            |it: &Operation| matches!(it.id, "Action_POSTquery" | "Action_POSTqueryMore");
        let takes_keys = |it: &Operation| it.idempotency_keys == IdempotencyKeys::Accepted;
        if method.is_safe() || operation.is_some_and(is_query) {
            Self::Read
        } else if operation.is_some_and(takes_keys) {
            Self::Keyed
        } else {
            Self::Plain
        }
    }
}

/// Whose idempotency key the call has.
pub(super) fn idempotency(retry: &Retry, method: &Method, operation: Option<&Operation>) -> String {
    let text = match operation.map(|operation| operation.idempotency_keys) {
        Some(IdempotencyKeys::Accepted) => "Zuora takes an Idempotency-Key here",
        Some(IdempotencyKeys::NotAccepted) => "Zuora takes no Idempotency-Key here",
        Some(IdempotencyKeys::Undeclared) | None => {
            "not known whether Zuora takes an Idempotency-Key here"
        }
    };
    let ours = match (Sort::of(method, operation), retry.mint_idempotency_keys) {
        (Sort::Keyed, true) => "; if the app sends none, the gateway makes one",
        (Sort::Keyed, false) => "; only the app's own, says `retry.mint_idempotency_keys`",
        (Sort::Read | Sort::Plain, _) => "",
    };
    format!("{text}{ours}")
}

/// Whether the call is sent again, end by end, as lines of a name and a text.
pub(super) fn repeats(
    tenant: &Tenant,
    method: &Method,
    operation: Option<&Operation>,
) -> Vec<(&'static str, String)> {
    let retry = &tenant.retry;
    if retry.attempts.get() == 1 {
        return vec![("attempts", "one: nothing is sent again, says `retry.attempts`".to_owned())];
    }
    let attempts = format!(
        "up to {} while its time lasts, {}; repeats in the pool are {} of its calls at most, and 10 a second",
        retry.attempts,
        kept_bodies(retry.replay_buffer),
        retry.budget,
    );
    let refused = match tenant.concurrency.retry_after_cap {
        None => "sent again when Zuora's Retry-After is over".to_owned(),
        Some(cap) => format!(
            "sent again when Zuora's Retry-After is over, for want of a permit after {cap:?}"
        ),
    };
    let sort = Sort::of(method, operation);
    vec![
        ("attempts", attempts),
        ("if refused", format!("{refused}; nothing was executed")),
        ("if not sent", "sent again: no byte of it left the gateway".to_owned()),
        ("if contended", contended(retry, sort)),
        ("if cut off", cut_off(retry, sort)),
        ("if failed", failed(sort).to_owned()),
    ]
}

/// What becomes of it when another write holds the lock.
fn contended(retry: &Retry, sort: Sort) -> String {
    let plain = match retry.contended_writes {
        ContendedWrites::Repeat => "sent again: Zuora rolled it back",
        ContendedWrites::Return => "Zuora's answer is returned, says `retry.contended_writes`",
    };
    match (sort, retry.mint_idempotency_keys) {
        (Sort::Read, _) => "sent again: it only reads".to_owned(),
        (Sort::Plain, _) => plain.to_owned(),
        (Sort::Keyed, true) => format!(
            "sent again with another key: Zuora rolled it back, and keeps that under the first one; {OWN_KEY}"
        ),
        (Sort::Keyed, false) => format!("{plain}; {OWN_KEY}"),
    }
}

/// What becomes of a rolled back write that has a key of the app's.
const OWN_KEY: &str =
    "with the app's own key, Zuora's answer is returned: only the app can choose another";

/// What becomes of it when the connection broke, the time was over, or only the edge answered.
fn cut_off(retry: &Retry, sort: Sort) -> String {
    const IN_DOUBT: &str = "not sent again: Zuora may have executed it, and would do it twice; the \
                            caller is told `Zuora-Gateway-Executed: maybe`";
    match (sort, retry.mint_idempotency_keys) {
        (Sort::Read, _) => "sent again: it only reads".to_owned(),
        (Sort::Keyed, true) => {
            "sent again with the same key, under which Zuora executes it once".to_owned()
        }
        (Sort::Keyed, false) => format!("{IN_DOUBT}; with the app's own key, it is sent again"),
        (Sort::Plain, _) => IN_DOUBT.to_owned(),
    }
}

/// What becomes of it when Zuora says that it failed, in any other way.
fn failed(sort: Sort) -> &'static str {
    match sort {
        Sort::Read => {
            "Zuora's answer is returned; sent again first, at most twice, if the cause may pass by itself"
        }
        Sort::Keyed | Sort::Plain => "Zuora's answer is returned",
    }
}

/// Which calls can be sent again at all, as far as their bodies are concerned.
fn kept_bodies(most: u64) -> String {
    const MIB: u64 = 1 << 20;
    const KIB: u64 = 1 << 10;
    match most {
        0 => "only without a body".to_owned(),
        whole if whole % MIB == 0 => format!("with a body of at most {}MiB", whole / MIB),
        whole if whole % KIB == 0 => format!("with a body of at most {}KiB", whole / KIB),
        bytes => format!("with a body of at most {bytes}B"),
    }
}

/// Which calls it waits for, or keeps waiting.
pub(super) fn lanes(
    tenant: &Tenant,
    method: &Method,
    operation: Option<&Operation>,
    path: &str,
) -> String {
    match tenant.lanes {
        Lanes::Off => return "none, says `lanes`".to_owned(),
        Lanes::Account if method.is_safe() => return "none: it only reads".to_owned(),
        Lanes::Account => {}
    }
    let subjects = zuora::subjects(operation, path, None, b"");
    let named = subjects.iter().map(|subject| {
        let kind = match subject.kind {
            SubjectKind::Account => "account",
            SubjectKind::Subscription => "subscription",
            SubjectKind::Order => "order",
        };
        format!("{kind} `{}`, ", subject.name.escape_debug())
    });
    let named: String = named.collect();
    let and = if named.is_empty() { "" } else { "and " };
    format!(
        "{named}{and}whatever account, subscription or order its JSON body names: one call at a time for each"
    )
}
