//! What is listened on, what is called, and what may be called.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use serde_json::{Value as Json, json};
use zuora::{DATA_CENTRES, DataCentre, Rule, RuleError, SOAP_CALLS};

use super::Scalar;
use crate::BaseUrl;
use crate::reading::nearest;

impl Scalar for SocketAddr {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        text.parse().map_err(|_| match text.rsplit_once(':') {
            None => "both an address and a port are needed".into(),
            Some((_, port)) if port.parse::<u16>().is_err() => {
                "the port must be a number from 0 to 65535".into()
            }
            Some(_) => "the part before the port must be an IP address, not a name".into(),
        })
    }

    fn expected() -> String {
        "an IP address and a port such as `127.0.0.1:8080`".into()
    }
}

impl Scalar for BaseUrl {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        if text.contains('@') {
            return Err("credentials do not belong into it".into());
        }
        let url = text.parse::<Uri>().map_err(|_| "it is not a URL")?;
        let origin = origin(&url)?;
        let rest = url.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
        if !matches!(rest, "" | "/") || text.contains('#') {
            return Err("it must end after the host and its port: the path is no part of it".into());
        }
        Ok(origin)
    }

    fn expected() -> String {
        "scheme and host such as `https://rest.zuora.com`".into()
    }

    fn may_be_shown(text: &str) -> bool {
        !text.contains('@')
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^https?://[^/?#@]+/?$"})
    }
}

/// Scheme and authority of a URL.
fn origin(url: &Uri) -> Result<BaseUrl, String> {
    let scheme = url.scheme().cloned().ok_or("it must begin with `https://`")?;
    if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
        return Err("the scheme must be `https` or `http`".into());
    }
    let authority = url.authority().cloned().ok_or("the host is missing")?;
    if authority.host().is_empty() {
        return Err("the host is missing".into());
    }
    // Whatever stands behind the host must be a port, and one that exists.
    if authority.as_str() != authority.host() && authority.port_u16().is_none_or(|p| p == 0) {
        return Err("the port must be a number from 1 to 65535".into());
    }
    Ok(BaseUrl { scheme, authority })
}

/// Scheme and host by which others' servers reach the gateway.
#[derive(Clone, Debug)]
pub(crate) struct CalloutsUrl(pub(crate) BaseUrl);

/// A URL that outcomes are sent to.
#[derive(Clone, Debug)]
pub(crate) struct OutcomesUrl(pub(crate) Uri);

/// The name of one of Zuora's environments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataCentreName(pub(crate) DataCentre);

/// A host without a port, in lower case.
#[derive(Clone, Debug)]
pub(crate) struct HostName(pub(crate) String);

/// The first segments of a path, as `/sandbox`.
#[derive(Clone, Debug)]
pub(crate) struct PathPrefix(pub(crate) String);

impl Scalar for CalloutsUrl {
    fn read(text: &str, directory: &Path) -> Result<Self, String> {
        let url = BaseUrl::read(text, directory)?;
        check_privacy(&url)?;
        Ok(Self(url))
    }

    fn expected() -> String {
        "scheme and host such as `https://zuora-callouts.example.com`".into()
    }

    fn may_be_shown(text: &str) -> bool {
        BaseUrl::may_be_shown(text)
    }

    fn schema() -> Json {
        BaseUrl::schema()
    }
}

impl Scalar for OutcomesUrl {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let url = text.parse::<Uri>().map_err(|_| "it is not a URL")?;
        if text.contains('#') {
            return Err("what `#` begins is sent to nobody: leave it out".into());
        }
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("credentials do not belong into it: outcomes are signed".into());
        }
        let origin = origin(&url)?;
        check_privacy(&origin)?;
        Ok(Self(url))
    }

    fn expected() -> String {
        "a URL such as `https://app.example.com/outcomes`".into()
    }

    /// Whoever knows a URL of this kind may be taken for somebody.
    fn may_be_shown(_: &str) -> bool {
        false
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^https?://[^/?#@]+([/?][^#]*)?$"})
    }
}

/// Refuses plain HTTP to another machine.
fn check_privacy(BaseUrl { scheme, authority }: &BaseUrl) -> Result<(), String> {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match *scheme == Scheme::HTTPS || is_loopback {
        true => Ok(()),
        false => Err("it must begin with `https://`, unless the host is a loopback one".into()),
    }
}

impl Scalar for DataCentreName {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let named = DataCentre::named(text).map(Self);
        named.ok_or_else(|| match nearest(text, DATA_CENTRES.iter().map(|known| known.name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => String::new(),
        })
    }

    fn expected() -> String {
        let names = DATA_CENTRES.map(|known| format!("`{}`", known.name));
        format!("one of Zuora's environments, {}", names.join(", "))
    }

    fn schema() -> Json {
        json!({"enum": DATA_CENTRES.map(|known| known.name)})
    }
}

impl Scalar for HostName {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let authority = text.parse::<Authority>().map_err(|_| String::new())?;
        if authority.as_str() != authority.host() {
            return Err("write the host alone: calls to any of its ports count".into());
        }
        if text.contains('*') {
            return Err("write each name of the host: none stands for others".into());
        }
        let host = text.strip_suffix('.').unwrap_or(text);
        if host.is_empty() { Err(String::new()) } else { Ok(Self(host.to_ascii_lowercase())) }
    }

    fn expected() -> String {
        "a host name such as `zuora-sandbox.example.com`".into()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$"})
    }
}

impl Scalar for PathPrefix {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else { return Err(String::new()) };
        // What needs no encoding has one spelling only (RFC 3986 2.3).
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
        for segment in rest.split('/') {
            if matches!(segment, "" | "." | "..") || !segment.chars().all(plain) {
                return Err("its segments are letters, digits, `-`, `_`, `.` and `~`".into());
            }
        }
        let first = rest.split('/').next().unwrap_or(rest);
        if is_of_zuora(first) || first.eq_ignore_ascii_case("_gateway") {
            return Err("paths of Zuora's or of the gateway's own begin like that".into());
        }
        Ok(Self(text.to_owned()))
    }

    fn expected() -> String {
        "the beginning of a path such as `/sandbox`".into()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(/[A-Za-z0-9._~-]+)+$"})
    }
}

/// Whether a path of Zuora's API begins with this segment.
fn is_of_zuora(first: &str) -> bool {
    let known = zuora::operations().iter().filter_map(|operation| operation.path.split('/').nth(1));
    known.chain(["rest", "apps"]).any(|known| known.eq_ignore_ascii_case(first))
}

impl Scalar for Rule {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let name = text.split_whitespace().nth(1);
        let rule = Self::parse(text).map_err(|error| match (error, name) {
            (RuleError::Operation, Some(id)) => {
                let ids = zuora::operations().iter().map(|operation| operation.id);
                match nearest(id, ids) {
                    Some(near) => format!("did you mean `operation {near}`?"),
                    None => error.to_string(),
                }
            }
            (RuleError::Soap, Some(name)) => match nearest(name, SOAP_CALLS) {
                Some(near) => format!("did you mean `SOAP {near}`?"),
                None => error.to_string(),
            },
            _ => error.to_string(),
        })?;
        // Zuora may have calls that are not known here, but hardly ones that are named so alike.
        match (&rule, name) {
            (Self::Soap(_), Some(name)) if name != "*" && !SOAP_CALLS.contains(&name) => {
                match nearest(name, SOAP_CALLS) {
                    Some(near) => Err(format!("did you mean `SOAP {near}`?")),
                    None => Ok(rule),
                }
            }
            _ => Ok(rule),
        }
    }

    fn expected() -> String {
        "a method and a path such as `GET /v1/accounts/**`, `operation POST_Account` or `SOAP query`"
            .into()
    }

    fn schema() -> Json {
        let pattern = r"^\s*(\*|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)\s+/[^\s%;?#\\{}]*\s*$";
        let operation = r"^\s*operation\s+[A-Za-z0-9_-]+\s*$";
        let soap = r"^\s*SOAP\s+(\*|[A-Za-z_][A-Za-z0-9_.-]*)\s*$";
        let patterns = [pattern, operation, soap].map(|it| json!({"pattern": it}));
        json!({"type": "string", "anyOf": patterns})
    }
}
