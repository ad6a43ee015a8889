//! `explain`: what would happen to a call.

mod later;
mod repeats;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::{Args, ValueEnum};
use config::{App, Config, Priority};
use http::{Method, Request, Uri, header};
use zuora::{LimitType, METHODS, Target, TrackId};

use super::unless_enforced;
use crate::wiring;
use later::Write;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The configuration to judge by.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The app that would call. Default: the only one; needed if there are several.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The host by which the app would reach the gateway: with several tenants, it may choose one.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The SOAP call in the envelope, as `query`.
    #[arg(long, value_name = "CALL")]
    soap: Option<String>,
    /// What the app asks for besides: to have the write carried out later.
    #[arg(long, value_enum, value_name = "PREFERENCE")]
    prefer: Option<Preference>,
    /// The method of the call, as `POST`.
    method: Method,
    /// The path of the call, with or without a query, as `/v1/accounts/A00000001`.
    path: String,
}

/// What an app may ask for in the field `Prefer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preference {
    /// RFC 7240, section 4.1.
    RespondAsync,
}

/// What is asked about.
struct Asked<'a> {
    method: &'a Method,
    /// The path as the app would send it.
    path: &'a str,
    host: Option<&'a str>,
    /// The SOAP call in the envelope.
    soap: Option<&'a str>,
    prefer: Option<Preference>,
}

impl Explain {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let Some(config) = super::load(&self.config) else { return Ok(ExitCode::FAILURE) };
        let app = self.find(&config)?;
        let Ok(uri) = self.path.parse::<Uri>() else { bail!("`{}` is not a path", self.path) };
        if !uri.path().starts_with('/') {
            bail!("a path begins with `/`: `{}`", self.path);
        }
        let asked = Asked {
            method: &self.method,
            path: uri.path(),
            host: self.host.as_deref(),
            soap: self.soap.as_deref(),
            prefer: self.prefer,
        };
        super::say(&explain(&config, app, &asked))
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

/// What happens to a call, as lines of a name and a text. One that is not sent ends early.
fn explain(config: &Config, app: &App, asked: &Asked<'_>) -> String {
    let lines = lines(config, app, asked);
    lines.iter().fold(String::new(), |mut text, (name, what)| {
        let _ = writeln!(text, "{name:<12} {what}");
        text
    })
}

fn lines(config: &Config, app: &App, asked: &Asked<'_>) -> Vec<(&'static str, String)> {
    let Asked { method, path, .. } = asked;
    let mut lines = vec![("call", format!("{method} {path} by `{}`", app.name))];
    if !METHODS.contains(method) {
        let known = METHODS.map(|method| method.to_string()).join(", ");
        lines.push(("refused", format!("with 400: the method is none of {known}")));
        return lines;
    }
    let (tenant, path) = match arrive(config, app, asked) {
        Ok(arrived) => arrived,
        Err(refusal) => {
            lines.push(("refused", refusal));
            return lines;
        }
    };
    let operation = zuora::classify(method, &path);
    if config.tenants.len() > 1 {
        lines.push(("tenant", config.tenants[tenant].name.to_string()));
    }
    if let Some(answer) = own_answer(operation, method, &path) {
        lines.push(("answered", format!("by the gateway itself, {answer}; Zuora sees nothing")));
        return lines;
    }
    lines.push(("operation", known(operation)));
    match policy(app, &Asked { path: &path, ..*asked }) {
        Err(refusal) => lines.push(("refused", refusal)),
        Ok(said) => {
            lines.push(("policy", said.to_owned()));
            if asked.soap.is_some() && !config.tenants[tenant].credentials.serve_soap() {
                let refusal = "with 404: the tenant's `api_key` has no form in SOAP, and there is no `soap_login`";
                lines.push(("refused", refusal.to_owned()));
                return lines;
            }
            let write = Write { config, app, tenant, method, operation, path: &path };
            lines.extend(sent(&write, asked.prefer));
        }
    }
    lines
}

/// The tenant that the call means, by its index, and the path that this tenant would see; else how it is refused.
fn arrive(config: &Config, app: &App, asked: &Asked<'_>) -> Result<(usize, String), String> {
    let request = Request::builder().method(asked.method).uri(asked.path);
    let request = match asked.host {
        Some(host) => request.header(header::HOST, host),
        None => request,
    };
    let mut request = request.body(()).map_err(|error| format!("with 400: {error}"))?;
    let meant = wiring::ways(config).lead(&mut request);
    let tenant = match meant.map_err(|why| format!("with 400: {why}"))? {
        None => app.tenants[0],
        Some(name) => {
            let meant = app.tenants.iter().find(|&&tenant| config.tenants[tenant].name == name);
            *meant.ok_or_else(|| {
                format!("with 403: it means `{name}`, which is no tenant of this app")
            })?
        }
    };
    Ok((tenant, request.uri().path().to_owned()))
}

/// What the gateway answers without Zuora; `None` if the call is for Zuora.
fn own_answer(
    operation: Option<&zuora::Operation>,
    method: &Method,
    path: &str,
) -> Option<&'static str> {
    match operation.map(|operation| operation.path) {
        Some("/oauth/token") => return Some("with a token for the app"),
        Some("/v1/connections") => return Some("with a session for the app"),
        _ => {}
    }
    if !path.starts_with("/_gateway/") {
        return None;
    }
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let is_below = |parent| path.strip_prefix(parent).is_some_and(|rest| !rest.is_empty());
    match path {
        "/_gateway/whoami" if is_read => Some("with who the app is"),
        "/_gateway/async-requests" if is_read => Some("with the app's async requests"),
        _ if is_read && is_below("/_gateway/async-requests/") => {
            Some("with what became of an async request of the app's")
        }
        _ if is_below("/_gateway/callouts/") => {
            Some("if it is a callout of Zuora's, by the password for those")
        }
        _ => Some("with 404: there is nothing at this path"),
    }
}

fn known(operation: Option<&zuora::Operation>) -> String {
    match operation {
        Some(operation) => format!("{} ({} {})", operation.id, operation.method, operation.path),
        None => "not known: it counts as `other`".to_owned(),
    }
}

/// What policy says of a call that the app may make; else how it is refused.
fn policy(app: &App, asked: &Asked<'_>) -> Result<&'static str, String> {
    let target = Target::read(asked.path).map_err(|bad| format!("with 400: {bad}"))?;
    let policy = wiring::policy(app);
    let judged = match asked.soap {
        Some(call) => policy.judge_soap(asked.method, &target, call),
        None if is_soap_service(&target) && !asked.method.is_safe() => {
            return Ok("hangs on the SOAP call in the envelope: name it with --soap");
        }
        None => policy.judge(asked.method, &target),
    };
    judged.map(|()| "allowed").map_err(|refusal| format!("with 403: {refusal}"))
}

fn is_soap_service(target: &Target<'_>) -> bool {
    target.may_be_under(&["apps", "services"])
}

/// Where a path is sent to at a tenant.
fn upstream(tenant: &config::Tenant, path: &str) -> String {
    let is_rest = Target::read(path).is_ok_and(|target| !target.may_be_under(&["apps"]));
    match (&tenant.soap_url, is_rest) {
        (_, true) => format!("{}{path}", tenant.base_url),
        (Some(soap_url), false) => format!("{soap_url}{path}"),
        (None, false) => "nobody: it is answered 404, as the tenant has no `soap_url`".to_owned(),
    }
}

/// Which entity a call is for; `None` if the tenant has only one.
fn entity(tenant: &config::Tenant, app: &App) -> Option<String> {
    let is_own = |id: &Arc<str>| app.entities.is_empty() || app.entities.contains(id);
    let known = tenant.entities.iter().map(|entity| &entity.id).filter(|id| is_own(id)).count();
    let of_tenant = |id: &&Arc<str>| tenant.entities.iter().any(|entity| entity.id == **id);
    let first = app.entities.iter().find(of_tenant);
    let default = first.or_else(|| tenant.entities.first().map(|entity| &entity.id))?;
    Some(format!("the one of {known} that it names, else {default}"))
}

/// What happens to a call that goes to Zuora.
fn sent(write: &Write<'_>, prefer: Option<Preference>) -> Vec<(&'static str, String)> {
    let &Write { config, app, tenant: index, method, operation, path } = write;
    let tenant = &config.tenants[index];
    // A write that is carried out later is counted there, without a key of the gateway's.
    let detour = write.detour(prefer.is_some());
    let path = detour.as_ref().map_or(path, |it| &it.path);
    let counted = match &detour {
        Some(it) => zuora::classify(method, &it.path),
        None => operation,
    };
    let repeated = operation.filter(|_| detour.is_none());
    let mut lines = vec![("sent to", upstream(tenant, path))];
    lines.extend(entity(tenant, app).map(|entity| ("entity", entity)));
    lines.push(("pool", pool(tenant, counted)));
    lines.push(("share", share(config, app, index)));
    if let Some(cap) = app.max_in_flight {
        lines.push(("cap", format!("at most {cap} of the app's calls at once, over all pools")));
    }
    lines.extend(rate(tenant, app).map(|rate| ("rate", rate)));
    if let Some(field) = &app.fairness_key {
        lines.push(("users", format!("share the app's turns alike, told apart by `{field}`")));
    }
    let timeout = app.queue_timeout.unwrap_or(tenant.queue.timeout);
    let waits = format!(
        "at most {timeout:?} for its turn, then it is answered 429 with a short Retry-After"
    );
    lines.push(("waits", waits));
    lines.push(("lanes", repeats::lanes(tenant, method, operation, write.path)));
    lines.push(("idempotency", repeats::idempotency(&tenant.retry, method, repeated)));
    lines.extend(repeats::repeats(tenant, method, repeated));
    lines.push(("async", write.told(prefer.is_some())));
    if prefer.is_none() {
        lines.push(("on request", format!("with Prefer: respond-async, {}", write.told(true))));
    }
    lines.extend([(
        "track id",
        format!("the app's own, else one like {}", TrackId::mint(&app.name)),
    )]);
    let single_use = config.single_use.map(|index| &config.apps[index]);
    if single_use.is_some_and(|it| it.name == app.name) {
        let signed = "with Zuora's single-use signature, or as the preflight before one: passes as it is, without a token, key \
                      or entity of the gateway's or a change of links, and is never sent again once a byte of it has left";
        lines.push(("signed", signed.to_owned()));
    }
    lines
}

fn pool(tenant: &config::Tenant, operation: Option<&zuora::Operation>) -> String {
    let limit_type = match operation.map_or(LimitType::Default, |operation| operation.limit_type) {
        LimitType::Unlimited => LimitType::Default,
        limited => limited,
    };
    let name = limit_type.name();
    let limit = tenant.concurrency.limits.get(name);
    let limit = limit.expect("the configuration has a limit for every type of the table");
    let usable = limit.limit.get() - tenant.concurrency.headroom;
    let note = unless_enforced(limit.enforce);
    format!("{name}: {usable} of {} permits, the rest is headroom{note}", limit.limit)
}

/// What the app may have of the pool when others want it too.
fn share(config: &Config, app: &App, tenant: usize) -> String {
    let priority = match app.priority {
        Priority::Interactive => "interactive",
        Priority::Standard => "standard",
        Priority::Batch => "batch",
        Priority::Scavenger => "scavenger: only what nobody else wants",
    };
    let peers = config.apps.iter().filter(|peer| peer.calls(tenant));
    let weights: u32 = peers.map(|peer| peer.weight.get()).sum();
    let reserve = match app.reserve {
        0 => String::new(),
        reserve => format!("{reserve} permits whenever it asks for them, "),
    };
    format!("{reserve}weight {} of {weights} over all apps, priority {priority}", app.weight)
}

/// How many calls may go in a time; `None` if nothing bounds them.
fn rate(tenant: &config::Tenant, app: &App) -> Option<String> {
    let own = app.rate.map(|rate| {
        let note = unless_enforced(rate.enforce);
        format!("{} a second, {} at once{note}", rate.per_second, rate.burst)
    });
    let rate = &tenant.rate;
    let windows =
        [(rate.per_minute, "a minute"), (rate.per_hour, "an hour"), (rate.per_day, "a day")];
    let windows = windows.map(|(calls, time)| calls.map(|calls| format!("{calls} {time}")));
    let windows: Vec<_> = windows.into_iter().flatten().collect();
    let shared = (!windows.is_empty()).then(|| {
        let note = unless_enforced(rate.enforce);
        format!("{} with all apps together{note}", windows.join(", "))
    });
    let parts: Vec<_> = own.into_iter().chain(shared).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests;
