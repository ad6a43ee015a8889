//! Which tenant a call means, by where it came to.

use std::collections::HashMap;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{Request, Uri};

use crate::arrival::Arrival;
use crate::request::BadRequest;

/// The ways to mean one of several tenants: the host that a request names, and what stands before its path. They are
/// names only. What a call may do there is its app's to be allowed.
#[derive(Debug, Default)]
pub struct Ways {
    /// Scheme and host by which apps reach us, if the configuration says it.
    public_url: Option<Arc<str>>,
    /// The tenants by host, in lower case and without a port.
    hosts: HashMap<Arc<str>, Arc<str>>,
    /// The prefixes, none of which begins with another, and their tenants.
    prefixes: Vec<(Arc<str>, Arc<str>)>,
}

impl Ways {
    /// No way to mean a tenant, yet. Apps reach us at `public_url`, or by the host that they name.
    #[must_use]
    pub fn new(public_url: Option<String>) -> Self {
        Self { public_url: public_url.map(Arc::from), ..Self::default() }
    }

    /// Lets apps mean `tenant` by these hosts, in lower case and without ports, and by this beginning of the path, which
    /// begins with a slash and ends without one.
    pub fn lead_to(&mut self, tenant: &Arc<str>, hosts: &[Arc<str>], prefix: Option<&Arc<str>>) {
        self.hosts.extend(hosts.iter().map(|host| (Arc::clone(host), Arc::clone(tenant))));
        self.prefixes.extend(prefix.map(|prefix| (Arc::clone(prefix), Arc::clone(tenant))));
    }

    /// Takes the prefix off the request's path, so that from here on everything is about the path that Zuora will see, and
    /// notes in `arrival` which tenant is meant. Whoever means two at once is refused.
    pub(crate) fn arrive<B>(
        &self,
        request: &mut Request<B>,
        arrival: &mut Arrival,
    ) -> Result<(), BadRequest> {
        arrival.public_url.clone_from(&self.public_url);
        let by_host = self.by_host(request, arrival)?;
        let by_prefix = self.by_prefix(request.uri());
        if let Some((prefix, _)) = by_prefix {
            *request.uri_mut() = without(request.uri(), prefix);
            arrival.prefix = Some(Arc::clone(prefix));
        }
        arrival.tenant = match (by_host, by_prefix.map(|(_, tenant)| tenant)) {
            (Some(one), Some(other)) if one != other => return Err(BadRequest::TwoTenants),
            (by_host, by_prefix) => by_prefix.or(by_host).cloned(),
        };
        Ok(())
    }

    /// Takes the prefix off the path of a request as [`Proxy`](crate::Proxy) does, and returns the tenant that it means, if
    /// it says so.
    ///
    /// # Errors
    /// If it means two tenants.
    pub fn lead<B>(&self, request: &mut Request<B>) -> Result<Option<Arc<str>>, String> {
        let mut arrival = Arrival::of(request, false);
        self.arrive(request, &mut arrival).map_err(|error| error.to_string())?;
        Ok(arrival.tenant)
    }

    /// A target in absolute form names a host as well, which counts (RFC 9112 3.2.2), but not for everybody.
    fn by_host<B>(
        &self,
        request: &Request<B>,
        arrival: &Arrival,
    ) -> Result<Option<&Arc<str>>, BadRequest> {
        if self.hosts.is_empty() {
            return Ok(None);
        }
        let by_field = arrival.host().and_then(|host| self.tenant_at(host));
        match request.uri().authority() {
            Some(target) if self.tenant_at(target.as_str()) != by_field => {
                Err(BadRequest::TwoTenants)
            }
            _ => Ok(by_field),
        }
    }

    fn tenant_at(&self, host: &str) -> Option<&Arc<str>> {
        self.hosts.get(bare(host).as_str())
    }

    fn by_prefix(&self, uri: &Uri) -> Option<&(Arc<str>, Arc<str>)> {
        self.prefixes.iter().find(|(prefix, _)| {
            let rest = uri.path().strip_prefix(&**prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// A host as it is compared: in lower case, without its port and the dot that may end a name.
fn bare(host: &str) -> String {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// `uri` without the first segments of its path, to the byte.
fn without(uri: &Uri, prefix: &str) -> Uri {
    let target = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let rest = target.strip_prefix(prefix).unwrap_or(target);
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rest.parse().expect("the end of a target is a target"));
    Uri::from_parts(parts).expect("only its path is another")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways() -> Ways {
        let mut ways = Ways::new(None);
        ways.lead_to(&"production".into(), &["gw.example.com".into(), "[::1]".into()], None);
        ways.lead_to(&"sandbox".into(), &["test.example.com".into()], Some(&"/sandbox".into()));
        ways.lead_to(&"other".into(), &[], Some(&"/other/one".into()));
        ways
    }

    /// Where a request leads: the tenant, and the target that is left.
    fn arrive(target: &str, host: &str) -> Result<(Option<Arc<str>>, String), BadRequest> {
        let request = Request::builder().uri(target).header("host", host);
        let mut request = request.body(()).unwrap();
        let mut arrival = Arrival::of(&request, false);
        ways().arrive(&mut request, &mut arrival)?;
        Ok((arrival.tenant, request.uri().to_string()))
    }

    #[track_caller]
    fn check(target: &str, host: &str, tenant: Option<&str>, left: &str) {
        let (got, target) = arrive(target, host).unwrap();
        assert_eq!((got.as_deref(), target.as_str()), (tenant, left));
    }

    #[test]
    fn a_host_means_a_tenant_at_any_port_and_in_any_case() {
        for host in ["gw.example.com", "GW.Example.Com:8443", "gw.example.com.:80", "[::1]:8080"] {
            check("/v1/accounts?a=b", host, Some("production"), "/v1/accounts?a=b");
        }
        for host in ["example.com", "gw.example.com.evil", "localhost:8080", "[::2]"] {
            check("/v1/accounts", host, None, "/v1/accounts");
        }
    }

    #[test]
    fn a_prefix_means_a_tenant_and_is_taken_off_to_the_byte() {
        for (target, left) in [
            ("/sandbox/v1/accounts?a=/sandbox/x", "/v1/accounts?a=/sandbox/x"),
            ("/sandbox", "/"),
            ("/sandbox/", "/"),
            ("/sandbox?a", "/?a"),
            ("/sandbox//v1/A%2fB/", "//v1/A%2fB/"),
            ("/sandbox/sandbox/v1", "/sandbox/v1"),
            ("/sandbox/other/one", "/other/one"),
        ] {
            check(target, "gw", Some("sandbox"), left);
        }
        check("/other/one/v1", "gw", Some("other"), "/v1");
    }

    #[test]
    fn what_is_not_quite_a_prefix_is_a_path() {
        for target in [
            "/sandboxes/v1",
            "/Sandbox/v1",
            "/%73andbox/v1",
            "//sandbox/v1",
            "/other/v1",
            "/sandbox;v=1/v1",
        ] {
            check(target, "gw", None, target);
        }
    }

    #[test]
    fn nobody_means_two_tenants() {
        check("/sandbox/v1", "test.example.com", Some("sandbox"), "/v1");
        assert_eq!(arrive("/sandbox/v1", "gw.example.com"), Err(BadRequest::TwoTenants));
        check(
            "http://gw.example.com/v1",
            "gw.example.com:80",
            Some("production"),
            "http://gw.example.com/v1",
        );
        for target in ["http://test.example.com/v1", "http://elsewhere/v1"] {
            assert_eq!(arrive(target, "gw.example.com"), Err(BadRequest::TwoTenants));
        }
        assert_eq!(arrive("http://gw.example.com/v1", "elsewhere"), Err(BadRequest::TwoTenants));
    }

    #[test]
    fn links_lead_to_the_public_url_where_there_is_one() {
        let mut ways = Ways::new(Some("https://public.example.com".to_owned()));
        ways.lead_to(&"sandbox".into(), &[], Some(&"/sandbox".into()));
        let mut request =
            Request::builder().uri("/sandbox/v1").header("host", "gw").body(()).unwrap();
        let mut arrival = Arrival::of(&request, false);

        ways.arrive(&mut request, &mut arrival).unwrap();

        assert_eq!(arrival.base_url().unwrap(), "https://public.example.com/sandbox");
    }
}
