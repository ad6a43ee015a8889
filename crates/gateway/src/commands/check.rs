//! `check`: is this configuration sound?

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use config::{BaseUrl, Config, When};
use http::uri::Scheme;
use proxy::POOLS;
use zuora::{DATA_CENTRES, DataCentre};

use super::unless_enforced;
use crate::works;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration to read.
    #[arg(long, value_name = "FILE", required_unless_present = "environments")]
    config: Option<PathBuf>,
    /// List Zuora's environments, as `environment` names them, with where each is.
    #[arg(long, conflicts_with = "config")]
    environments: bool,
}

impl Check {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let Some(path) = &self.config else { return super::say(&environments()) };
        let Some(config) = super::load(path) else { return Ok(ExitCode::FAILURE) };
        let unusable = works::unusable(&config);
        if !unusable.is_empty() {
            for problem in unusable {
                super::complain(&problem.into());
            }
            return Ok(ExitCode::FAILURE);
        }
        let mut text = format!("{}: good\n", path.display());
        for tenant in &config.tenants {
            let limits = tenant.concurrency.limits.iter().map(|(name, limit)| {
                format!("{name} {}{}", limit.limit, unless_enforced(limit.enforce))
            });
            let limits = limits.collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "  tenant `{}` at {}: {limits}", tenant.name, tenant.base_url);
            ways(&mut text, tenant);
        }
        for (tenant, url) in config.tenants.iter().flat_map(in_clear) {
            let _ = writeln!(
                text,
                "  warning: `{url}` is not https: the credentials, every token and every answer of tenant `{}` cross the \
                 network in clear",
                tenant.name
            );
        }
        for (tenant, name) in config.tenants.iter().flat_map(unknown_limit_types) {
            let _ = writeln!(
                text,
                "  note: no operation is known to count against `{name}`: this limit of tenant `{}` holds for those that \
                 Zuora says do",
                tenant.name
            );
        }
        for tenant in later_unasked(&config) {
            let _ = writeln!(
                text,
                "  note: `async.rewrite` of tenant `{}` has writes answered 202 that did not ask for it: their apps must \
                 read that as \"not yet\"",
                tenant.name
            );
        }
        for app in &config.apps {
            let tenants: Vec<_> = config.tenants_of(app).map(|tenant| &*tenant.name).collect();
            let reads = if app.read_only { ", and only reads" } else { "" };
            let _ = writeln!(text, "  app `{}` calls `{}`{reads}", app.name, tenants.join("`, `"));
        }
        for (app, tenant) in config.apps.iter().flat_map(|app| unreachable(&config, app)) {
            let _ = writeln!(
                text,
                "  warning: nothing tells calls of app `{app}` to tenant `{tenant}` from those to its first one: give \
                 the tenant `hosts` or a `path_prefix`"
            );
        }
        if let Some(app) = config.anonymous {
            let name = &config.apps[app].name;
            let _ = writeln!(text, "  calls without a credential are those of app `{name}`");
        }
        if let Some(app) = config.single_use {
            let name = &config.apps[app].name;
            let _ = writeln!(
                text,
                "  calls with Zuora's single-use signature are those of app `{name}`"
            );
        }
        super::say(&text)
    }
}

/// Zuora's environments, one in a line.
fn environments() -> String {
    DATA_CENTRES.iter().fold(String::new(), |mut text, known| {
        let DataCentre { name, base_url, soap_url } = known;
        let _ = writeln!(text, "{name:<30} {base_url:<36} SOAP {soap_url}");
        text
    })
}

/// How apps reach a tenant, besides by being its.
fn ways(text: &mut String, tenant: &config::Tenant) {
    if let Some(soap_url) = &tenant.soap_url {
        let but = match tenant.credentials.serve_soap() {
            true => "",
            false => {
                ", but no SOAP calls: an API key has no form in them, a `soap_login` beside it has"
            }
        };
        let _ = writeln!(text, "    SOAP at {soap_url}{but}");
    }
    let hosts = tenant.hosts.iter().map(|host| format!("host {host}"));
    let prefix = tenant.path_prefix.iter().map(|prefix| format!("paths below {prefix}"));
    let ways: Vec<_> = hosts.chain(prefix).collect();
    if !ways.is_empty() {
        let _ = writeln!(text, "    meant by {}", ways.join(", "));
    }
    for (at, entity) in tenant.entities.iter().enumerate() {
        let name = entity.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
        let default = if at == 0 { ", the default" } else { "" };
        let _ = writeln!(text, "    entity {}{name}{default}", entity.id);
    }
    if let Some(callouts) = &tenant.async_requests.callouts {
        let url = &callouts.public_url;
        let _ = writeln!(text, "    callouts to {url}/_gateway/callouts/{}", tenant.name);
    }
}

/// The tenants some of whose writes are carried out later although nobody asked for it.
fn later_unasked(config: &Config) -> impl Iterator<Item = &config::Tenant> {
    config.tenants.iter().filter(|tenant| {
        let mut rewrite = tenant.async_requests.rewrite.iter();
        rewrite.any(|entry| matches!(entry.when, When::Always | When::Waiting(_)))
    })
}

/// The tenants of an app that none of its calls can mean, with its name.
fn unreachable<'c>(
    config: &'c Config,
    app: &'c config::App,
) -> impl Iterator<Item = (&'c str, &'c str)> {
    let others = config.tenants_of(app).skip(1);
    let lost = others.filter(|tenant| tenant.hosts.is_empty() && tenant.path_prefix.is_none());
    lost.map(|tenant| (&*app.name, &*tenant.name))
}

/// The limit types that have a limit and no operation: new ones of Zuora's, or mistyped ones.
fn unknown_limit_types(tenant: &config::Tenant) -> impl Iterator<Item = (&config::Tenant, &str)> {
    let is_known = |name: &str| POOLS.iter().any(|known| known.name() == name);
    let names = tenant.concurrency.limits.keys().map(|name| &**name);
    names.filter(move |name| !is_known(name)).map(move |name| (tenant, name))
}

/// Where calls to the tenant leave this machine without encryption.
fn in_clear(tenant: &config::Tenant) -> impl Iterator<Item = (&config::Tenant, &BaseUrl)> {
    let is_here = |host: &str| {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    let urls = [Some(&tenant.base_url), tenant.soap_url.as_ref()].into_iter().flatten();
    urls.filter(move |url| {
        *url.scheme() == Scheme::HTTP && !is_here(url.authority().host().trim_matches(['[', ']']))
    })
    .map(move |url| (tenant, url))
}
