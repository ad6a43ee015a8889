//! `check`: is this configuration sound?

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use http::uri::Scheme;
use proxy::POOLS;

use super::unless_enforced;
use crate::works;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration to read.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Check {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let Some(config) = super::load(&self.config) else { return Ok(ExitCode::FAILURE) };
        let unusable = works::unusable(&config);
        if !unusable.is_empty() {
            for problem in unusable {
                super::complain(&problem.into());
            }
            return Ok(ExitCode::FAILURE);
        }
        let mut text = format!("{}: good\n", self.config.display());
        for tenant in &config.tenants {
            let limits = tenant.concurrency.limits.iter().map(|(name, limit)| {
                format!("{name} {}{}", limit.limit, unless_enforced(limit.enforce))
            });
            let limits = limits.collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "  tenant `{}` at {}: {limits}", tenant.name, tenant.base_url);
        }
        for tenant in config.tenants.iter().filter(|tenant| sends_in_clear(tenant)) {
            let _ = writeln!(
                text,
                "  warning: `{}` is not https: the client secret, every token and every answer of tenant `{}` cross the \
                 network in clear",
                tenant.base_url, tenant.name
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
        for app in &config.apps {
            let tenants: Vec<_> = config.tenants_of(app).map(|tenant| &*tenant.name).collect();
            let _ = writeln!(text, "  app `{}` calls `{}`", app.name, tenants.join("`, `"));
        }
        super::say(&text)
    }
}

/// The limit types that have a limit and no operation: new ones of Zuora's, or mistyped ones.
fn unknown_limit_types(tenant: &config::Tenant) -> impl Iterator<Item = (&config::Tenant, &str)> {
    let is_known = |name: &str| POOLS.iter().any(|known| known.name() == name);
    let names = tenant.concurrency.limits.keys().map(|name| &**name);
    names.filter(move |name| !is_known(name)).map(move |name| (tenant, name))
}

/// Whether calls to the tenant leave this machine without encryption.
fn sends_in_clear(tenant: &config::Tenant) -> bool {
    let host = tenant.base_url.authority().host().trim_matches(['[', ']']);
    let is_here =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    *tenant.base_url.scheme() == Scheme::HTTP && !is_here
}
