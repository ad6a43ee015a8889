//! `emulate`: the emulated tenant alone.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use emulator::{AsyncWrites, Definition, Ledger, Mishap, Options, ServiceTime, Tenant};
use percent_encoding::percent_decode_str;

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
    /// Where outcomes of writes under `/v1/async` are told, with the user and the password of HTTP
    /// Basic, as `http://zuora:word@127.0.0.1:8090/_gateway/callouts/main`. Without it, nobody is
    /// told until somebody makes notification definitions.
    #[arg(long, value_name = "URL", value_parser = callouts)]
    callouts: Option<Callouts>,
    /// The certificate, as PEM, of the authority whose servers get callouts over TLS; a self-signed one of the server
    /// itself is none.
    #[arg(long, value_name = "FILE")]
    callout_ca: Option<PathBuf>,
    /// How long after a callout that did not arrive the next attempt follows, in seconds. Zuora
    /// waits half an hour.
    #[arg(long, default_value_t = 1800)]
    callout_retry: u64,
    /// How long it takes to accept a write under `/v1/async`.
    #[arg(long, default_value = "50ms")]
    submit_time: ServiceTime,
    /// How long it takes to do one: as long as other calls unless told.
    #[arg(long, value_name = "TIME")]
    async_time: Option<ServiceTime>,
    /// How many of them are done at once.
    #[arg(long, value_name = "N", default_value_t = 8)]
    async_workers: usize,
    /// How likely a mishap is for each of them, as `duplicated=0.1`; may be given for each mishap.
    #[arg(long = "mishap", value_name = "NAME=CHANCE", value_parser = mishap)]
    mishaps: Vec<(Mishap, f64)>,
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

fn mishap(text: &str) -> Result<(Mishap, f64), String> {
    let (name, chance) =
        text.split_once('=').ok_or("write a mishap and a chance, as `duplicated=0.1`")?;
    match chance.trim().parse::<f64>() {
        Ok(chance) if (0.0..=1.0).contains(&chance) => Ok((name.trim().parse()?, chance)),
        _ => Err(format!("`{chance}` is no chance between 0 and 1")),
    }
}

/// Where callouts are sent, and what they prove themselves with.
#[derive(Clone)]
struct Callouts {
    url: String,
    username: String,
    password: String,
}

impl fmt::Debug for Callouts {
    /// Everything but the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callouts").field("url", &self.url).finish_non_exhaustive()
    }
}

fn callouts(text: &str) -> Result<Callouts, String> {
    let read = || {
        let (scheme, rest) = text.split_once("://")?;
        let host_ends = rest.find('/').unwrap_or(rest.len());
        let (user, _) = rest[..host_ends].rsplit_once('@')?;
        let (username, password) = user.split_once(':')?;
        let url = format!("{scheme}://{}", &rest[user.len() + 1..]);
        let uri: http::Uri = url.parse().ok()?;
        let host = uri.host()?.trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        // Outcomes and the password leave this machine over TLS only.
        let known = scheme == "https" || (scheme == "http" && is_here);
        let word = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        known.then(|| Callouts { url, username: word(username), password: word(password) })
    };
    let example = "http://zuora:word@127.0.0.1:8090/_gateway/callouts/main";
    read().ok_or_else(|| {
        format!("write a URL of https, or of http on this machine, with a user and a password, as `{example}`")
    })
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
        let callout_ca = match &self.callout_ca {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read `{}`", path.display()))?,
            ),
            None => None,
        };
        let definitions = self.callouts.map_or_else(Vec::new, |callouts| {
            Definition::both(&callouts.url, &callouts.username, &callouts.password)
        });
        let mut options = Options {
            address: self.address,
            service_time: self.service_time,
            retry_after: Duration::from_secs(self.retry_after),
            token_lifetime: Duration::from_secs(self.token_lifetime),
            lock_contention: !self.no_lock_contention,
            any_api_key: true,
            accounts: self.accounts,
            seed: self.seed,
            async_writes: AsyncWrites {
                submit_time: self.submit_time,
                workers: self.async_workers,
                work_time: self.async_time,
                definitions,
                retry_interval: Duration::from_secs(self.callout_retry),
                callout_ca,
                mishaps: self.mishaps,
                ..AsyncWrites::default()
            },
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
    if ledger.async_accepted > 0 {
        let _ = writeln!(
            text,
            "  {} accepted under /v1/async, {} of them not done yet; callouts tried: {}",
            ledger.async_accepted, ledger.async_pending, ledger.callout_attempts
        );
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callouts_are_a_url_with_a_user_and_a_password() {
        let read = callouts("http://zuora:w%40rd@127.0.0.1:8090/_gateway/callouts/main").unwrap();

        assert_eq!(read.url, "http://127.0.0.1:8090/_gateway/callouts/main");
        assert_eq!((read.username.as_str(), read.password.as_str()), ("zuora", "w@rd"));
        assert!(!format!("{read:?}").contains("w@rd"));
        assert!(callouts("https://zuora:word@gateway.example/c").is_ok());
        for wrong in [
            "http://127.0.0.1/c",
            "http://zuora@127.0.0.1/c",
            "http://zuora:word@gateway.example/c",
            "ftp://zuora:word@127.0.0.1/c",
            "zuora:word@127.0.0.1",
            "https://gateway.example/a:b@c",
        ] {
            assert!(callouts(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mishap_has_a_name_and_a_chance() {
        assert_eq!(mishap("duplicated=0.1"), Ok((Mishap::Duplicated, 0.1)));
        for wrong in ["duplicated", "duplicated=2", "exploded=0.1", "lost=-1", "lost=NaN"] {
            assert!(mishap(wrong).is_err(), "{wrong}");
        }
    }
}
