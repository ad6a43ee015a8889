//! `explain`: what would happen to a call.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use config::{App, Config};
use http::{Method, Uri};
use zuora::{AsyncForm, IdempotencyKeys, LimitType, Target, TrackId};

use crate::wiring;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The configuration to judge by.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The app that would call. Default: the only one; needed if there are several.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The method of the call, as `POST`.
    method: Method,
    /// The path of the call, with or without a query, as `/v1/accounts/A00000001`.
    path: String,
}

impl Explain {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let Some(config) = super::load(&self.config) else { return Ok(ExitCode::FAILURE) };
        let app = self.find(&config)?;
        let Ok(uri) = self.path.parse::<Uri>() else { bail!("`{}` is not a path", self.path) };
        if !uri.path().starts_with('/') {
            bail!("a path begins with `/`: `{}`", self.path);
        }
        super::say(&explain(&config, app, &self.method, uri.path()))
    }

    fn find<'a>(&self, config: &'a Config) -> anyhow::Result<&'a App> {
        let names = || config.apps.iter().map(|app| &*app.name).collect::<Vec<_>>().join("`, `");
        match (&self.app, &config.apps[..]) {
            (Some(name), apps) => match apps.iter().find(|app| *app.name == **name) {
                Some(app) => Ok(app),
                None => bail!("no app is called `{name}`; there are `{}`", names()),
            },
            (None, [only]) => Ok(only),
            (None, _) => bail!("say which app would call: --app, one of `{}`", names()),
        }
    }
}

fn explain(config: &Config, app: &App, method: &Method, path: &str) -> String {
    let tenant = config.tenant_of(app);
    let operation = zuora::classify(method, path);
    let limit_type = match operation.map_or(LimitType::Default, |operation| operation.limit_type) {
        LimitType::Unlimited => LimitType::Default,
        limited => limited,
    };
    let pool = limit_type.name();
    let limit = tenant.concurrency.limits.get(pool).map_or(0, |limit| limit.get());
    let usable = limit.saturating_sub(tenant.concurrency.headroom);
    let timeout = app.queue_timeout.unwrap_or(tenant.queue.timeout);

    let mut text = String::new();
    let mut line = |name: &str, what: String| {
        let _ = writeln!(text, "{name:<12} {what}");
    };
    line("call", format!("{method} {path} by `{}`", app.name));
    line("policy", policy(app, method, path));
    line("sent to", format!("{}{path}", tenant.base_url));
    line(
        "operation",
        match operation {
            Some(operation) => {
                format!("{} ({} {})", operation.id, operation.method, operation.path)
            }
            None => "not known: it passes, and counts as `other`".to_owned(),
        },
    );
    line("pool", format!("{pool}: {usable} of {limit} permits, the rest is headroom"));
    line(
        "waits",
        format!(
            "at most {timeout:?} for its turn, then it is answered 429 with a short Retry-After"
        ),
    );
    line("idempotency", idempotency(operation));
    line("async", async_form(operation));
    line("track id", format!("the app's own, else one like {}", TrackId::mint(&app.name)));
    text
}

fn policy(app: &App, method: &Method, path: &str) -> String {
    match Target::read(path) {
        Err(bad) => format!("refused with 400: {bad}"),
        Ok(target) if wiring::policy(app).permits(method, &target) => "allowed".to_owned(),
        Ok(_) => "refused with 403: `allow` does not name it, or `deny` does".to_owned(),
    }
}

fn idempotency(operation: Option<&zuora::Operation>) -> String {
    let text = match operation.map(|operation| operation.idempotency_keys) {
        Some(IdempotencyKeys::Accepted) => "Zuora takes an Idempotency-Key here",
        Some(IdempotencyKeys::NotAccepted) => "Zuora takes no Idempotency-Key here",
        Some(IdempotencyKeys::Undeclared) | None => {
            "not known whether Zuora takes an Idempotency-Key here"
        }
    };
    text.to_owned()
}

fn async_form(operation: Option<&zuora::Operation>) -> String {
    match operation.map(|operation| operation.async_form) {
        Some(AsyncForm::Eligible) => {
            "Zuora would take it at /v1/async; the gateway sends it as it is".to_owned()
        }
        Some(AsyncForm::Ineligible(why)) => format!("Zuora does not take it at /v1/async: {why}"),
        Some(AsyncForm::Unknown(why)) => {
            format!("not known whether Zuora takes it at /v1/async: {why}")
        }
        None => "not known whether Zuora takes it at /v1/async".to_owned(),
    }
}
