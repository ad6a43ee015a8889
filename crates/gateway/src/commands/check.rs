//! `check`: is this configuration sound?

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

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
        let mut text = format!("{}: good\n", self.config.display());
        for tenant in &config.tenants {
            let limits =
                tenant.concurrency.limits.iter().map(|(name, limit)| format!("{name} {limit}"));
            let limits = limits.collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "  tenant `{}` at {}: {limits}", tenant.name, tenant.base_url);
        }
        for app in &config.apps {
            let _ = writeln!(text, "  app `{}` calls `{}`", app.name, config.tenant_of(app).name);
        }
        super::say(&text)
    }
}
