//! Which ends of a call lead to another attempt, and which calls go one after another.

use config::{Lanes, Retry, Tenant};
use http::Method;
use proxy::{Again, End, Kind, Tried, Why};
use zuora::{IdempotencyKeys, Operation, SubjectKind};

use crate::wiring;

/// A call, as far as repeating it is concerned.
#[derive(Clone, Copy)]
struct Call {
    /// Without a key of the app's.
    plain: Kind,
    /// Whether Zuora would go by a key of the app's.
    takes_keys: bool,
    /// Whether its parts succeed and fail one by one.
    has_rows: bool,
}

impl Call {
    fn of(retry: &Retry, method: &Method, operation: Option<&Operation>) -> Self {
        let kind =
            |has_key| proxy::kind_of(method, operation, has_key, retry.mint_idempotency_keys);
        let is_action = |it: &Operation| it.path.starts_with("/v1/action/");
        let plain = kind(false);
        Self {
            plain,
            takes_keys: kind(true) == Kind::AppKey,
            has_rows: plain != Kind::Read && operation.is_some_and(is_action),
        }
    }

    /// What the proxy decides after a first attempt that came to `end`.
    fn decide(self, retry: &Retry, end: End) -> Result<Again, Why> {
        let first = Tried { kind: self.plain, in_doubt: false, is_replayable: true, attempts: 1 };
        proxy::decide(end, &first, &wiring::retry(retry, None))
    }

    fn only_reads(self) -> bool {
        self.plain == Kind::Read
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
    let call = Call::of(retry, method, operation);
    let ours = match call.plain {
        Kind::OurKey => "; if the app sends none, the gateway makes one",
        _ if call.takes_keys => "; only the app's own, says `retry.mint_idempotency_keys`",
        _ => "",
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
        "up to {} that Zuora may have executed, others while its time lasts, {}; repeats in the pool are {} of its calls at most, and 10 a second",
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
    let call = Call::of(retry, method, operation);
    vec![
        ("attempts", attempts),
        ("if refused", format!("{refused}; nothing was executed")),
        ("if not sent", "sent again: no byte of it left the gateway".to_owned()),
        ("if contended", contended(retry, call)),
        ("if cut off", cut_off(retry, call)),
        ("if failed", failed(retry, call).to_owned()),
    ]
}

/// What becomes of it when another write holds the lock.
fn contended(retry: &Retry, call: Call) -> String {
    let decision = call.decide(retry, End::Contended);
    let text = match decision {
        Ok(Again::AsItWas) if call.only_reads() => "sent again: it only reads",
        Ok(Again::AsItWas) => "sent again: Zuora rolled it back",
        Ok(Again::WithNewKey) => {
            "sent again with another key: Zuora rolled it back, and keeps that under the first one"
        }
        Err(_) => return "Zuora's answer is returned, says `retry.contended_writes`".to_owned(),
    };
    let own = if call.takes_keys { OWN_KEY } else { "" };
    let rows = if call.has_rows { ROWS } else { "" };
    format!("{text}{own}{rows}")
}

/// What becomes of a rolled back write that has a key of the app's.
const OWN_KEY: &str =
    "; with the app's own key, Zuora's answer is returned: only the app can choose another";

/// What becomes of an Action's rows, of which some may have succeeded.
const ROWS: &str = "; an answer with rows is returned, whatever became of each";

/// What becomes of it when the connection broke, the time was over, or only the edge answered.
fn cut_off(retry: &Retry, call: Call) -> String {
    match call.decide(retry, End::Ambiguous) {
        Ok(_) if call.only_reads() => "sent again: it only reads".to_owned(),
        Ok(_) => "sent again with the same key, under which Zuora executes it once".to_owned(),
        Err(_) => {
            let own =
                if call.takes_keys { "; with the app's own key, it is sent again" } else { "" };
            format!(
                "not sent again: Zuora may have executed it, and would do it twice; the caller is told \
                 `Zuora-Gateway-Executed: maybe`{own}"
            )
        }
    }
}

/// What becomes of it when Zuora says that it failed, in any other way.
fn failed(retry: &Retry, call: Call) -> &'static str {
    match call.decide(retry, End::Temporary) {
        Ok(_) => {
            "Zuora's answer is returned; sent again first, at most twice, if the cause may pass by itself"
        }
        Err(_) => "Zuora's answer is returned",
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
