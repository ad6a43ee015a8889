//! Which header fields go on, which end here, and which are ours.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};

/// Hop-by-hop fields speak of one connection, so they end with it (RFC 9110 7.6.1). `Trailer` goes with the trailers,
/// which end here too; `Expect` is answered here.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "expect"
            | "max-forwards"
    )
}

/// What an app proves itself with is for us, and never reaches Zuora. Cookies belong here: the only ones in this
/// conversation are sessions.
fn is_credential(name: &str) -> bool {
    matches!(name, "authorization" | "apiaccesskeyid" | "apisecretaccesskey" | "cookie" | "cookie2")
}

/// Fields by which some servers read another method or path than the one that policy judged.
fn is_override(name: &str) -> bool {
    matches!(
        name,
        "x-http-method-override"
            | "x-http-method"
            | "x-method-override"
            | "x-original-url"
            | "x-rewrite-url"
            // They frame nothing here, but do where `_` and `-` are the same.
            | "content_length"
            | "transfer_encoding"
    )
}

/// What frames the body or names the server is made anew for each connection.
fn is_made_anew(name: &str) -> bool {
    matches!(name, "content-length" | "host")
}

pub(crate) const VIA: HeaderValue = HeaderValue::from_static("1.1 zuora-gateway");
pub(crate) const TRACK_ID: HeaderName = HeaderName::from_static("zuora-track-id");
pub(crate) const ENTITY_IDS: HeaderName = HeaderName::from_static("zuora-entity-ids");
/// How entities were named before `Zuora-Entity-Ids`.
pub(crate) const ENTITY_ID: HeaderName = HeaderName::from_static("entityid");
pub(crate) const ENTITY_NAME: HeaderName = HeaderName::from_static("entityname");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("zuora-request-id");
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
pub(crate) const ATTEMPTS: HeaderName = HeaderName::from_static("zuora-gateway-attempts");
pub(crate) const WAITED: HeaderName = HeaderName::from_static("zuora-gateway-waited");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
pub(crate) const ERROR: HeaderName = HeaderName::from_static("zuora-gateway-error");
pub(crate) const EXECUTED: HeaderName = HeaderName::from_static("zuora-gateway-executed");
/// Why a call was carried out at once whose caller asked to be told of its outcome later.
pub(crate) const NOT_ASYNC: HeaderName = HeaderName::from_static("zuora-gateway-not-async");
/// The key under which Zuora can still tell how a call ended that the gateway gave up.
pub(crate) const OUR_KEY: HeaderName = HeaderName::from_static("zuora-gateway-idempotency-key");
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The name that others have for it (Stripe; draft-ietf-httpapi-idempotency-key-header has none).
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Leaves in `headers` what Zuora should see: no hop-by-hop fields, no credential, nothing that frames the body (the
/// client frames it anew), and our `Via`.
pub(crate) fn towards_zuora(headers: &mut HeaderMap) {
    end_fields(headers, |name| {
        is_hop_by_hop(name) || is_credential(name) || is_override(name) || is_made_anew(name)
    });
    headers.append(header::VIA, VIA);
}

/// Takes out of `headers` what was said of the bytes of a body that is changed on its way.
pub(crate) fn of_other_bytes(headers: &mut HeaderMap) {
    for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
        headers.remove(name);
    }
}

/// Leaves in `headers` what the caller should see: no hop-by-hop fields, none of Zuora's session cookies.
pub(crate) fn towards_caller(headers: &mut HeaderMap) {
    // With both, the encoding frames the body and the length is a leftover (RFC 9112 6.3).
    let is_encoded = headers.contains_key(header::TRANSFER_ENCODING);
    end_fields(headers, |name| {
        is_hop_by_hop(name)
            // The second is the first of RFC 2965, which some Java servers still write.
            || matches!(name, "set-cookie" | "set-cookie2")
            // What only we say.
            || name.starts_with("zuora-gateway-")
            || (is_encoded && name == "content-length")
    });
    headers.append(header::VIA, VIA);
}

/// Removes the fields that end here, and those that `Connection` names. It looks at the few that are there, not for
/// each of the many that could be.
fn end_fields(headers: &mut HeaderMap, ends_here: impl Fn(&str) -> bool) {
    let mut ending: Vec<HeaderName> =
        headers.keys().filter(|name| ends_here(name.as_str())).cloned().collect();
    if headers.contains_key(header::CONNECTION) {
        ending.extend(named_by_connection(headers));
    }
    for name in ending {
        headers.remove(name);
    }
}

/// How many more intermediaries an `OPTIONS` request may pass (RFC 9110 7.6.2); other methods do not count them.
pub(crate) fn max_forwards(method: &Method, headers: &HeaderMap) -> Option<u32> {
    let counted = headers.get(header::MAX_FORWARDS).filter(|_| *method == Method::OPTIONS)?;
    counted.to_str().ok()?.parse().ok()
}

pub(crate) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lists =
        headers.get_all(header::CONNECTION).into_iter().filter_map(|list| list.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(clean: fn(&mut HeaderMap), given: &[(&str, &str)], left: &[(&str, &str)]) {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers
                .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }

        clean(&mut headers);

        headers.remove(header::VIA);
        let got: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(got, left);
    }

    #[test]
    fn what_connection_names_ends_here() {
        check(
            towards_zuora,
            &[("connection", "close, X-Hop"), ("x-hop", "1"), ("x-end", "2")],
            &[("x-end", "2")],
        );
        check(towards_caller, &[("connection", "x-hop"), ("x-hop", "1")], &[]);
    }

    #[test]
    fn no_credential_of_an_app_reaches_zuora() {
        let given = [
            ("authorization", "Bearer a"),
            ("authorization", "Bearer b"),
            ("apiAccessKeyId", "u"),
            ("apiSecretAccessKey", "p"),
            ("cookie", "ZSession=x"),
            ("Cookie2", "$Version=1"),
        ];
        check(towards_zuora, &given, &[]);
    }

    #[test]
    fn no_session_of_zuora_reaches_an_app() {
        let given = [("set-cookie", "ZSession=x"), ("Set-Cookie2", "ZSession=x"), ("etag", "y")];
        check(towards_caller, &given, &given[2..]);
    }

    #[test]
    fn nobody_speaks_in_our_name() {
        let given = [("zuora-gateway-executed", "no"), ("zuora-request-id", "7")];
        check(towards_caller, &given, &given[1..]);
    }

    #[test]
    fn doubled_fields_stay_apart_and_in_order() {
        let doubled = [("x-a", "1"), ("x-a", "2")];
        check(towards_zuora, &doubled, &doubled);
    }

    #[test]
    fn a_length_beside_an_encoding_is_a_leftover() {
        check(towards_caller, &[("transfer-encoding", "chunked"), ("content-length", "3")], &[]);
        check(towards_caller, &[("content-length", "3")], &[("content-length", "3")]);
    }
}
