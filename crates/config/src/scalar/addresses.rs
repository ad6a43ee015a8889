//! What is listened on, what is called, and what may be called.

use std::net::SocketAddr;
use std::path::Path;

use http::uri::{Scheme, Uri};
use serde_json::{Value as Json, json};
use zuora::Pattern;

use super::Scalar;
use crate::BaseUrl;

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
        let parts = text.parse::<Uri>().map_err(|_| "it is not a URL")?.into_parts();
        let scheme = parts.scheme.ok_or("it must begin with `https://`")?;
        if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
            return Err("the scheme must be `https` or `http`".into());
        }
        let authority = parts.authority.ok_or("the host is missing")?;
        if authority.host().is_empty() {
            return Err("the host is missing".into());
        }
        // Whatever stands behind the host must be a port, and one that exists.
        if authority.as_str() != authority.host() && authority.port_u16().is_none_or(|p| p == 0) {
            return Err("the port must be a number from 1 to 65535".into());
        }
        let rest = parts.path_and_query.map(|rest| rest.as_str().to_owned()).unwrap_or_default();
        if !matches!(rest.as_str(), "" | "/") || text.contains('#') {
            return Err("it must end after the host and its port: apps send the path".into());
        }
        Ok(Self { scheme, authority })
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

impl Scalar for Pattern {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        Self::parse(text).map_err(|error| error.to_string())
    }

    fn expected() -> String {
        "a method and a path such as `GET /v1/accounts/**`".into()
    }

    fn schema() -> Json {
        let pattern = r"^\s*(\*|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)\s+/[^\s%;?#\\{}]*\s*$";
        json!({"type": "string", "pattern": pattern})
    }
}
