//! `emulate`: the emulated tenant alone.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use emulator::{Ledger, Options, ServiceTime, Tenant};

/// Arguments of `emulate`.
///
/// It takes any credentials, and shows what it saw at `GET /emulator/ledger`.
#[derive(Debug, Args)]
pub struct Emulate {
    /// Where to listen; port 0 lets the system choose one.
    #[arg(long, default_value = "127.0.0.1:8081")]
    address: SocketAddr,
    /// How long a call takes: `50ms`, or `lognormal:MEDIAN:P99` as `lognormal:40ms:400ms`.
    #[arg(long, default_value = "lognormal:40ms:400ms")]
    service_time: ServiceTime,
    /// A concurrency limit, as `Default=40`; may be given for each limit type.
    #[arg(long = "limit", value_name = "TYPE=N", value_parser = limit)]
    limits: Vec<(String, u32)>,
    /// The `Retry-After` of a refusal, in seconds. Zuora sends 120.
    #[arg(long, default_value_t = 120)]
    retry_after: u64,
    /// How long a token is valid, in seconds.
    #[arg(long, default_value_t = 3598)]
    token_lifetime: u64,
    /// Let writes on one account overlap in time. Otherwise the later one is rolled back for lock
    /// contention, category 50, as Zuora does.
    #[arg(long)]
    no_lock_contention: bool,
    /// How many accounts there are from the start.
    #[arg(long, default_value_t = 100)]
    accounts: usize,
    /// The seed of everything that is drawn by lot.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn limit(text: &str) -> Result<(String, u32), String> {
    let parts =
        text.split_once('=').map(|(name, limit)| (name.trim(), limit.trim().parse::<u32>()));
    match parts {
        Some((name, Ok(limit))) if limit > 0 => Ok((name.to_owned(), limit)),
        _ => Err("write a limit type and a number of at least 1, as `Default=40`".to_owned()),
    }
}

impl Emulate {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        super::runtime(2)?.block_on(self.serve())
    }

    async fn serve(self) -> anyhow::Result<ExitCode> {
        let address = self.address;
        let tenant = Tenant::start(self.options()?).await;
        let tenant = tenant.with_context(|| format!("cannot listen at `{address}`"))?;
        super::say(&format!(
            "an emulated Zuora tenant at {url}\n  what it saw: {url}/emulator/ledger\n  Ctrl-C ends it\n",
            url = tenant.base_url()
        ))?;
        tokio::signal::ctrl_c().await?;
        let summary = summary(&tenant.counters());
        tenant.stop().await;
        super::say(&summary)
    }

    fn options(self) -> anyhow::Result<Options> {
        let mut options = Options {
            address: self.address,
            service_time: self.service_time,
            retry_after: Duration::from_secs(self.retry_after),
            token_lifetime: Duration::from_secs(self.token_lifetime),
            lock_contention: !self.no_lock_contention,
            any_api_key: true,
            accounts: self.accounts,
            seed: self.seed,
            ..Options::default()
        };
        for (name, limit) in self.limits {
            let Some(known) =
                options.limits.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name))
            else {
                let names: Vec<_> = options.limits.iter().map(|(name, _)| name.as_str()).collect();
                bail!(
                    "no operation has the limit type `{name}`; there are `{}`",
                    names.join("`, `")
                );
            };
            known.1 = limit;
        }
        Ok(options)
    }
}

/// What the tenant saw, in a few lines.
fn summary(ledger: &Ledger) -> String {
    let mut text = format!(
        "\n{} calls executed, {} of them writes\n",
        ledger.executed_total, ledger.executed_writes
    );
    if ledger.contended_calls > 0 {
        let _ = writeln!(text, "  {} writes met another on their account", ledger.contended_calls);
    }
    for (limit_type, most) in &ledger.most_in_flight {
        let limit = ledger.limits.get(limit_type).map_or("none".to_owned(), ToString::to_string);
        let refused = ledger.refused_by_limit_type.get(limit_type).copied().unwrap_or_default();
        let _ = writeln!(
            text,
            "  {limit_type}: at most {most} at once (limit {limit}), {refused} refused"
        );
    }
    text
}
