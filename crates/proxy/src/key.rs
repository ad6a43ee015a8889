//! The `Idempotency-Key` of a call: whose it is, and what it allows.
//!
//! Zuora keeps the outcome of a `POST` or `PATCH` under its key for 24 hours and tells it to whoever comes with the same
//! key again (Zuora: idempotent requests guide). Where an operation takes one and the app sent none, the gateway makes
//! one for each call, so that an attempt whose end is not known can be repeated. Never for `PUT`, which Zuora answers
//! with 400, nor for `GET` and `DELETE`.

use http::{HeaderMap, HeaderValue, Method};
use uuid::Uuid;
use zuora::{IdempotencyKeys, Operation};

use crate::headers;
use crate::retry::Kind;

/// Zuora takes fewer than 255 characters (Zuora: idempotent requests guide).
const LONGEST_KEY: usize = 254;

/// The key of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// There is none.
    None,
    /// The app's own, which is passed on as it came. Whether it is one that Zuora can go by.
    Apps { is_sound: bool },
    /// One of ours.
    Ours(HeaderValue),
}

impl Key {
    /// A key that nobody has used before.
    pub(crate) fn mint() -> Self {
        let mut buffer = Uuid::encode_buffer();
        let text = Uuid::new_v4().simple().encode_lower(&mut buffer);
        Self::Ours(HeaderValue::from_str(text).expect("hexadecimal digits are a header value"))
    }

    /// The key for a call of `operation` with these fields; one of ours only if `may_mint`.
    pub(crate) fn of(operation: Option<&Operation>, fields: &HeaderMap, may_mint: bool) -> Self {
        if fields.contains_key(headers::IDEMPOTENCY_KEY) {
            let mut given = fields.get_all(headers::IDEMPOTENCY_KEY).iter();
            let is_sound = given.next().is_some_and(is_sound) && given.next().is_none();
            Self::Apps { is_sound }
        } else if may_mint && operation.is_some_and(honours_keys) {
            Self::mint()
        } else {
            Self::None
        }
    }

    /// The key, if it is one of ours.
    pub(crate) fn ours(&self) -> Option<HeaderValue> {
        match self {
            Self::Ours(key) => Some(key.clone()),
            Self::None | Self::Apps { .. } => None,
        }
    }

    /// What kind of call it makes, as far as repeating it is concerned.
    pub(crate) fn kind(&self, method: &Method, operation: Option<&Operation>) -> Kind {
        if is_read(method, operation) {
            return Kind::Read;
        }
        match self {
            Self::Ours(_) => Kind::OurKey,
            Self::Apps { is_sound: true } if operation.is_some_and(honours_keys) => Kind::AppKey,
            Self::Apps { .. } | Self::None => Kind::NoKey,
        }
    }
}

/// Returns what kind of call it is as far as executing it twice is concerned, by whether the app sends a key of its own,
/// and the gateway may make one.
#[must_use]
pub fn kind_of(
    method: &Method,
    operation: Option<&Operation>,
    has_apps_key: bool,
    may_mint: bool,
) -> Kind {
    let key = match has_apps_key {
        true => Key::Apps { is_sound: true },
        false => Key::of(operation, &HeaderMap::new(), may_mint),
    };
    key.kind(method, operation)
}

/// Whether Zuora tells a repeated call of `operation` from a second one.
fn honours_keys(operation: &Operation) -> bool {
    let takes_keys = matches!(operation.method, Method::POST | Method::PATCH);
    takes_keys && operation.idempotency_keys == IdempotencyKeys::Accepted && !operation.only_reads()
}

/// Whether Zuora takes it for a key: anything else may be read in more than one way, or ignored.
fn is_sound(key: &HeaderValue) -> bool {
    let is_text = key.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~'));
    is_text && (1..=LONGEST_KEY).contains(&key.len())
}

/// Whether a call changes nothing.
pub(crate) fn is_read(method: &Method, operation: Option<&Operation>) -> bool {
    method.is_safe() || operation.is_some_and(Operation::only_reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(method: &Method, path: &str) -> Option<&'static Operation> {
        Some(zuora::classify(method, path).expect("the table has it"))
    }

    fn fields(key: Option<&str>) -> HeaderMap {
        let value = |key: &str| HeaderValue::from_bytes(key.as_bytes()).unwrap();
        key.map(|key| (headers::IDEMPOTENCY_KEY, value(key))).into_iter().collect()
    }

    #[track_caller]
    fn check(method: &Method, path: &str, given: Option<&str>, kind: Kind) {
        let operation = operation(method, path);
        let key = Key::of(operation, &fields(given), true);
        assert_eq!(key.kind(method, operation), kind);
        assert_eq!(matches!(key, Key::Ours(_)), kind == Kind::OurKey);
    }

    #[test]
    fn a_key_is_minted_where_zuora_takes_one_and_the_app_sent_none() {
        check(&Method::POST, "/v1/orders", None, Kind::OurKey);
        check(&Method::POST, "/v1/orders", Some("app-1"), Kind::AppKey);
        check(&Method::PUT, "/v1/subscriptions/A-S1/cancel", None, Kind::NoKey);
        check(&Method::DELETE, "/v1/accounts/A1", None, Kind::NoKey);
        check(&Method::GET, "/v1/accounts/A1", None, Kind::Read);
    }

    #[test]
    fn a_key_of_the_app_where_zuora_ignores_it_is_as_good_as_none() {
        check(&Method::PUT, "/v1/subscriptions/A-S1/cancel", Some("app-1"), Kind::NoKey);
        check(&Method::GET, "/v1/accounts/A1", Some("app-1"), Kind::Read);
    }

    #[test]
    fn no_key_is_minted_for_put_get_or_delete_whatever_the_table_says() {
        for operation in zuora::operations() {
            let key = Key::of(Some(operation), &HeaderMap::new(), true);
            let takes = matches!(operation.method, Method::POST | Method::PATCH);
            assert!(takes || key == Key::None, "{operation:?}");
        }
    }

    #[test]
    fn queries_are_reads_and_need_no_key() {
        check(&Method::POST, "/v1/action/query", None, Kind::Read);
        check(&Method::POST, "/v1/action/queryMore", Some("app-1"), Kind::Read);
    }

    #[test]
    fn an_unknown_operation_gets_no_key() {
        assert_eq!(Key::of(None, &HeaderMap::new(), true), Key::None);
        assert_eq!(Key::Apps { is_sound: true }.kind(&Method::POST, None), Kind::NoKey);
    }

    #[test]
    fn a_key_that_zuora_may_not_go_by_is_as_good_as_none() {
        check(&Method::POST, "/v1/orders", Some(""), Kind::NoKey);
        check(&Method::POST, "/v1/orders", Some(&"k".repeat(255)), Kind::NoKey);
        check(&Method::POST, "/v1/orders", Some(&"k".repeat(254)), Kind::AppKey);
        check(&Method::POST, "/v1/orders", Some("commande-é-1"), Kind::NoKey);
        let mut two = fields(Some("a"));
        two.append(headers::IDEMPOTENCY_KEY, HeaderValue::from_static("b"));
        let operation = operation(&Method::POST, "/v1/orders");
        let key = Key::of(operation, &two, true);
        assert_eq!(key.kind(&Method::POST, operation), Kind::NoKey);
    }

    #[test]
    fn no_key_is_minted_twice() {
        assert_ne!(Key::mint(), Key::mint());
    }
}
