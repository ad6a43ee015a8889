//! How a call reached us: what its app must use to reach us again.

use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::{Request, Uri};

/// How a call reached us.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrival {
    is_tls: bool,
    /// The host that it named; none in HTTP/1.0.
    host: Option<HeaderValue>,
    /// What stands before Zuora's path: the prefix that chose the tenant.
    pub(crate) prefix: Option<Arc<str>>,
    /// The tenant that it means, if the way that it came says so.
    pub(crate) tenant: Option<Arc<str>>,
    /// Scheme and host by which apps reach us, whatever they name.
    pub(crate) public_url: Option<Arc<str>>,
}

impl Arrival {
    pub(crate) fn of<B>(request: &Request<B>, is_tls: bool) -> Self {
        let host = request.headers().get(header::HOST).cloned().or_else(|| {
            let authority = request.uri().authority().map(http::uri::Authority::as_str);
            authority.and_then(|authority| HeaderValue::from_str(authority).ok())
        });
        Self { is_tls, host, ..Self::default() }
    }

    /// The host that it named, with its port.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_ref()?.to_str().ok()
    }

    /// Whether it came by TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Where the app finds Zuora's paths: `https://gateway:8443/sandbox`, without a slash at its end. `None` if the
    /// request did not say where it found us.
    pub(crate) fn base_url(&self) -> Option<String> {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        if let Some(public_url) = &self.public_url {
            return Some(format!("{public_url}{prefix}"));
        }
        let scheme = if self.is_tls { "https" } else { "http" };
        let base = format!("{scheme}://{}{prefix}", self.host()?);
        base.parse::<Uri>().is_ok().then_some(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_finds_us_where_it_found_us() {
        let request = Request::builder().uri("/v1/accounts").header("host", "gw:8080").body(());
        let mut arrival = Arrival::of(&request.unwrap(), false);
        assert_eq!(arrival.base_url().unwrap(), "http://gw:8080");
        arrival.prefix = Some("/sandbox".into());
        assert_eq!(arrival.base_url().unwrap(), "http://gw:8080/sandbox");

        let over_h2 = Request::builder().uri("https://gw/v1/accounts").body(()).unwrap();
        assert_eq!(Arrival::of(&over_h2, true).base_url().unwrap(), "https://gw");
    }

    #[test]
    fn who_does_not_say_where_is_told_nothing() {
        let request = Request::builder().uri("/v1/accounts").body(()).unwrap();
        assert_eq!(Arrival::of(&request, false).base_url(), None);
    }
}
