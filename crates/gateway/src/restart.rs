//! What takes effect at the next start only.

use config::{Config, Secret};

/// The keys by which `now` differs from what the gateway was started with, and which it cannot follow while it serves:
/// ports and where they are, and what was read once.
pub(crate) fn keys(started: &Config, now: &Config) -> Vec<&'static str> {
    let tls = |config: &Config| config.listen.tls.is_some();
    // Other certificates are followed there, too.
    let callouts = |config: &Config| {
        config.listen.callouts.as_ref().map(|callouts| (callouts.address, callouts.tls.is_some()))
    };
    let differences = [
        ("listen.address", started.listen.address != now.listen.address),
        // Other certificates are followed.
        ("listen.tls", tls(started) != tls(now)),
        ("listen.max_connections", started.listen.max_connections != now.listen.max_connections),
        ("listen.callouts", callouts(started) != callouts(now)),
        ("admin.address", started.admin.address != now.admin.address),
        ("admin.token", !are_same(started.admin.token.as_ref(), now.admin.token.as_ref())),
        ("signing_key", !are_same(started.signing_key.as_ref(), now.signing_key.as_ref())),
        ("state_dir", started.state_dir != now.state_dir),
        ("async_requests", started.async_requests != now.async_requests),
        // Allowed because of an address that is not in use yet.
        ("anonymous", now.anonymous.is_some() && anonymous(started, now).is_none()),
        ("log.format", started.log.format != now.log.format),
        ("log.level", started.log.level != now.log.level),
    ];
    differences.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

/// The app that callers without a credential are taken for, in `now`: nobody, unless the address that is really
/// listened at is loopback.
pub(crate) fn anonymous(started: &Config, now: &Config) -> Option<usize> {
    now.anonymous.filter(|_| started.listen.address.ip().is_loopback())
}

fn are_same(one: Option<&Secret>, other: Option<&Secret>) -> bool {
    one.map(Secret::expose) == other.map(Secret::expose)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(more: &str) -> Config {
        let text = format!(
            "tenants:
  production:
    base_url: https://rest.zuora.com
    credentials: {{oauth: {{client_id: id, client_secret: hidden}}}}
apps:
  app: {{tenant: production, client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11, secret: hidden-too}}
{more}"
        );
        config::parse(&text, Path::new("F"), &config::ProcessEnvironment).unwrap()
    }

    #[track_caller]
    fn check(started: &str, now: &str, expected: &[&str]) {
        assert_eq!(keys(&config(started), &config(now)), expected, "{started} -> {now}");
    }

    #[test]
    fn each_key_that_needs_a_restart_is_named_and_no_other() {
        check("", "", &[]);
        check("", "listen: {address: \"127.0.0.1:8000\"}", &["listen.address"]);
        check("", "listen: {max_connections: 5}", &["listen.max_connections"]);
        check("", "admin: {address: \"127.0.0.1:9000\"}", &["admin.address"]);
        let callouts = "listen: {callouts: {address: \"127.0.0.1:8443\"}}";
        check("", callouts, &["listen.callouts"]);
        check(callouts, &callouts.replace('3', "4"), &["listen.callouts"]);
        check("admin: {token: one}", "admin: {token: two}", &["admin.token"]);
        check("", "admin: {token: one}", &["admin.token"]);
        check("", "signing_key: a key of at least thirty-two characters", &["signing_key"]);
        check("", "state_dir: ./elsewhere", &["state_dir"]);
        check("", "async_requests: {keep: 8d}", &["async_requests"]);
        check("", "async_requests: {max_pending: 9}", &["async_requests"]);
        check("", "async_requests: {keep: 168h}", &[]);
        check("", "log: {format: text, level: warn}", &["log.format", "log.level"]);
        check("", "anonymous: app", &[]);
    }

    #[test]
    fn a_certificate_is_followed_but_not_the_beginning_or_end_of_tls() {
        let directory = tempfile::tempdir().unwrap();
        let tls = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, "").unwrap();
            format!("{{certificate: {0}, key: {0}}}", path.display())
        };
        let callouts =
            |tls: &str| format!("listen: {{callouts: {{address: \"127.0.0.1:0\", tls: {tls}}}}}");
        let tls_of_callouts = |name: &str| callouts(&tls(name));
        let tls = |name: &str| format!("listen: {{tls: {}}}", tls(name));

        check(&tls("one"), &tls("another"), &[]);
        check("", &tls("one"), &["listen.tls"]);
        check(&tls("one"), "", &["listen.tls"]);
        check(&tls_of_callouts("one"), &tls_of_callouts("another"), &[]);
        check(&callouts("null"), &tls_of_callouts("one"), &["listen.callouts"]);
    }

    #[test]
    fn nobody_is_anonymous_at_an_address_that_others_can_reach() {
        let afar = config("listen: {address: \"0.0.0.0:8080\"}");
        let here = config("anonymous: app");

        assert_eq!(keys(&afar, &here), ["listen.address", "anonymous"]);
        assert_eq!(anonymous(&afar, &here), None);
        assert_eq!(anonymous(&config(""), &here), Some(0));
    }
}
