//! Accepting a request: only one that can be read in one way.
//!
//! hyper has parsed it by now, and has refused most of what is malformed. What it lets pass, and a gateway must not,
//! is refused here, never repaired: two readings of one request are how requests are smuggled.

use http::header::{self, HeaderName};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Request, Version};

use crate::headers;

/// How long a body may be. Zuora's own largest object is a file of 2047 MB.
pub(crate) const LONGEST_BODY: u64 = 2047 * 1024 * 1024;

/// How long a head may be: target and fields together.
pub(crate) const LONGEST_HEAD: usize = 64 * 1024;

/// Why a request is refused before anybody asks whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("`Transfer-Encoding` must be exactly `chunked`, once, and only in HTTP/1.1")]
    TransferEncoding,
    #[error("`Content-Length` must be one decimal number")]
    ContentLength,
    #[error("one valid `Host` is needed")]
    Host,
    #[error("`:authority` and `Host` name different hosts")]
    TwoHosts,
    #[error("the method is none of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS")]
    Method,
    #[error("the request target must be a path or an http URL without user information")]
    Target,
    #[error(transparent)]
    Path(#[from] zuora::BadTarget),
    #[error("this request has passed this gateway before: `Via` names it")]
    Loop,
    #[error(transparent)]
    TrackId(#[from] zuora::TrackIdError),
    #[error("`Zuora-Track-Id` was sent twice")]
    TwoTrackIds,
    #[error("this `Zuora-Track-Id` names another asynchronous request of the tenant")]
    TrackIdTaken,
    #[error(
        "a `Zuora-Track-Id` of `.` or `..` names no outcome that a client could ask for: send another, or none"
    )]
    TrackIdWithoutPlace,
    #[error(
        "`Zuora-Entity-Ids`, `entityId` and `entityName` must name one entity, only one of the older two, and none be named by `Connection`"
    )]
    Entities,
    #[error(
        "which entity? The tenant's token reaches several: name one in `Zuora-Entity-Ids`, or list them under `entities` of the tenant"
    )]
    WhichEntity,
    #[error("the host and the path, or two hosts, mean different tenants of this gateway")]
    TwoTenants,
    #[error(transparent)]
    Envelope(#[from] zuora::soap::BadEnvelope),
    #[error("a SOAP envelope must be sent without `Content-Encoding`")]
    PackedEnvelope,
    #[error("a SOAP envelope must be sent as `Content-Type: text/xml`")]
    NoEnvelope,
    #[error(
        "which entity has this name? List those of the tenant under its `entities`, or log in with `entityId`"
    )]
    UnknownName,
    #[error("`SOAPAction` must be sent at most once, and name no other call than the envelope")]
    SoapAction,
    #[error(
        "the query may say `wait` of one asynchronous request, in seconds, and of all of them `state` (sending, accepted, succeeded, failed or unknown), `limit` (a number) and `after` (what `nextPage` says)"
    )]
    Query,
    #[error("`Last-Event-ID` must be the `id` of an event that came from here")]
    LastEventId,
    #[error("`after` must be what a `nextPage` of the list says")]
    After,
    #[error("the request body did not arrive whole")]
    Body,
    #[error("the request body stopped arriving")]
    SlowBody,
}

impl BadRequest {
    /// Whether the connection must end with the answer, because the next byte on it could be read in two ways.
    pub(crate) fn ends_connection(self) -> bool {
        matches!(
            self,
            Self::TransferEncoding | Self::ContentLength | Self::Host | Self::Body | Self::SlowBody
        )
    }
}

/// Says whether the request can be read in one way only.
pub(crate) fn accept<B>(request: &Request<B>) -> Result<(), BadRequest> {
    framing(request.version(), request.headers())?;
    target(request)?;
    host(request)?;
    no_loop(request.headers())
}

/// Says whether the head is no longer than a head may be.
pub(crate) fn head_fits<B>(request: &Request<B>) -> bool {
    // What a line has besides the name and the value: a colon, a space and its end.
    let line =
        |(name, value): (&HeaderName, &http::HeaderValue)| name.as_str().len() + value.len() + 4;
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    target + request.headers().iter().map(line).sum::<usize>() <= LONGEST_HEAD
}

fn framing(version: Version, headers: &HeaderMap) -> Result<(), BadRequest> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).into_iter();
    if let Some(encoding) = encodings.next() {
        let chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked || encodings.next().is_some() || version != Version::HTTP_11 {
            return Err(BadRequest::TransferEncoding);
        }
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).into_iter();
    let digits =
        lengths.next().is_none_or(|length| length.as_bytes().iter().all(u8::is_ascii_digit));
    if !digits || lengths.next().is_some() {
        return Err(BadRequest::ContentLength);
    }
    Ok(())
}

fn target<B>(request: &Request<B>) -> Result<(), BadRequest> {
    // A tunnel and an echo of the shared token are never meant for Zuora (RFC 9110 9.3.6, 9.3.8). And `get` is not `GET`
    // to policy, but may be to a server that is less strict.
    if !zuora::METHODS.contains(request.method()) {
        return Err(BadRequest::Method);
    }
    let uri = request.uri();
    let absolute =
        uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
    let anonymous = uri.authority().is_none_or(|authority| !authority.as_str().contains('@'));
    if !absolute || !anonymous || !uri.path().starts_with('/') {
        return Err(BadRequest::Target);
    }
    Ok(())
}

/// RFC 9112 3.2 and RFC 9113 8.3.1. The host is only checked: where a request goes is the configuration's to say.
fn host<B>(request: &Request<B>) -> Result<(), BadRequest> {
    let mut hosts = request.headers().get_all(header::HOST).into_iter();
    let given = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(BadRequest::Host),
        (Some(host), None) => {
            Some(host.to_str().ok().and_then(valid_host).ok_or(BadRequest::Host)?)
        }
        (None, _) => None,
    };
    match (request.version(), request.uri().authority(), given) {
        (Version::HTTP_2, None, None) | (Version::HTTP_11, _, None) => Err(BadRequest::Host),
        (Version::HTTP_2, Some(authority), Some(host))
            if !authority.as_str().eq_ignore_ascii_case(host) =>
        {
            Err(BadRequest::TwoHosts)
        }
        _ => Ok(()),
    }
}

fn valid_host(host: &str) -> Option<&str> {
    let port_is_digits = match host.rsplit_once(':') {
        Some((_, port)) if !host.ends_with(']') => port.bytes().all(|byte| byte.is_ascii_digit()),
        _ => true,
    };
    let valid = port_is_digits && !host.contains(['@', ',']) && host.parse::<Authority>().is_ok();
    valid.then_some(host)
}

/// RFC 9110 7.6.3: our own name in `Via` means that somebody sends our requests back to us.
fn no_loop(headers: &HeaderMap) -> Result<(), BadRequest> {
    let ours = headers.get_all(header::VIA).into_iter().filter_map(|via| via.to_str().ok());
    let passed =
        ours.flat_map(|via| via.split(',')).filter(|hop| hop.trim() == headers::VIA).count();
    if passed > 0 { Err(BadRequest::Loop) } else { Ok(()) }
}

/// The single value of a field, `None` if it is absent.
pub(crate) fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    twice: BadRequest,
) -> Result<Option<&'h [u8]>, BadRequest> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(twice),
        (value, None) => Ok(value.map(http::HeaderValue::as_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn request(target: &str, fields: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[track_caller]
    fn check(fields: &[(&str, &str)], expected: Result<(), BadRequest>) {
        assert_eq!(accept(&request("/v1/accounts", fields)), expected, "{fields:?}");
    }

    #[test]
    fn only_exactly_chunked_is_a_transfer_encoding() {
        let host = ("host", "gw");
        check(&[host, ("transfer-encoding", "chunked")], Ok(()));
        check(&[host, ("transfer-encoding", "Chunked")], Ok(()));
        for bad in ["gzip, chunked", "chunked, chunked", ",chunked", "identity", "xchunked", ""] {
            check(&[host, ("transfer-encoding", bad)], Err(BadRequest::TransferEncoding));
        }
        let twice = [host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        check(&twice, Err(BadRequest::TransferEncoding));
    }

    #[test]
    fn one_valid_host_is_needed() {
        for good in ["gw", "gw:8080", "[::1]", "[::1]:80", "10.0.0.1"] {
            check(&[("host", good)], Ok(()));
        }
        for bad in ["a b", "u@h", "h/x", "h, e", "h:8a", "[::1", ""] {
            check(&[("host", bad)], Err(BadRequest::Host));
        }
        check(&[], Err(BadRequest::Host));
        check(&[("host", "a"), ("host", "b")], Err(BadRequest::Host));
    }

    #[test]
    fn our_own_name_in_via_is_a_loop() {
        check(&[("host", "gw"), ("via", "1.1 other")], Ok(()));
        check(&[("host", "gw"), ("via", "1.1 other, 1.1 zuora-gateway")], Err(BadRequest::Loop));
    }

    #[test]
    fn user_information_and_foreign_schemes_are_no_targets() {
        for bad in ["http://gw@evil/v1", "ftp://gw/v1", "*", "evil:443"] {
            let got = accept(&request(bad, &[("host", "gw")]));
            assert_eq!(got, Err(BadRequest::Target), "{bad}");
        }
        assert_eq!(accept(&request("http://elsewhere/v1", &[("host", "gw")])), Ok(()));
    }

    #[test]
    fn neither_tunnel_nor_echo_nor_a_method_that_zuora_does_not_have() {
        let others = ["get", "PURGE", "M-SEARCH"].map(|name| name.parse().unwrap());
        for method in [Method::CONNECT, Method::TRACE].into_iter().chain(others) {
            let mut asked = request("/v1", &[("host", "gw")]);
            *asked.method_mut() = method;
            assert!(matches!(accept(&asked), Err(BadRequest::Method)));
        }
    }
}
