//! Which header fields go on, which end here, and which are ours.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};

/// Hop-by-hop fields: they speak of one connection, so they end with it (RFC 9110 7.6.1). `Trailer` goes with the
/// trailers, which end here too; `Expect` is answered here.
const HOP_BY_HOP: [HeaderName; 12] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::EXPECT,
    header::MAX_FORWARDS,
];

/// What an app proves itself with. It is for us, and never reaches Zuora. Cookies belong here: the only ones in this
/// conversation are sessions.
const CREDENTIALS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("apiaccesskeyid"),
    HeaderName::from_static("apisecretaccesskey"),
    header::COOKIE,
];

/// Fields by which some servers read another method or path than the one that policy judged.
const OVERRIDES: [HeaderName; 7] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    // They frame nothing here, but do where `_` and `-` are the same.
    HeaderName::from_static("content_length"),
    HeaderName::from_static("transfer_encoding"),
];

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
pub(crate) const ERROR: HeaderName = HeaderName::from_static("zuora-gateway-error");
pub(crate) const EXECUTED: HeaderName = HeaderName::from_static("zuora-gateway-executed");

/// Leaves in `headers` what Zuora should see: no hop-by-hop fields, no credential, nothing that frames the body (the
/// client frames it anew), and our `Via`.
pub(crate) fn towards_zuora(headers: &mut HeaderMap) {
    end_hop_by_hop(headers);
    for name in CREDENTIALS.iter().chain(&OVERRIDES) {
        headers.remove(name);
    }
    headers.remove(header::HOST);
    headers.append(header::VIA, VIA);
}

/// Leaves in `headers` what the caller should see: no hop-by-hop fields, none of Zuora's session cookies.
pub(crate) fn towards_caller(headers: &mut HeaderMap) {
    // With both, the encoding frames the body and the length is a leftover (RFC 9112 6.3).
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    end_hop_by_hop(headers);
    headers.remove(header::SET_COOKIE);
    headers.append(header::VIA, VIA);
}

/// How many more intermediaries an `OPTIONS` request may pass (RFC 9110 7.6.2); other methods do not count them.
pub(crate) fn max_forwards(method: &Method, headers: &HeaderMap) -> Option<u32> {
    let counted = headers.get(header::MAX_FORWARDS).filter(|_| *method == Method::OPTIONS)?;
    counted.to_str().ok()?.parse().ok()
}

fn end_hop_by_hop(headers: &mut HeaderMap) {
    // First what `Connection` names, while it is still there to be read.
    if headers.contains_key(header::CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
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
        ];
        check(towards_zuora, &given, &[]);
    }

    #[test]
    fn no_session_of_zuora_reaches_an_app() {
        check(towards_caller, &[("set-cookie", "ZSession=x"), ("etag", "y")], &[("etag", "y")]);
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
