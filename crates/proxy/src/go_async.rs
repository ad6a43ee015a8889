//! Which writes are carried out later, at `/v1/async/…`.
//!
//! One table decides, and it is a pure function ([`decide`]). A write goes there if its tenant's callouts come back here,
//! if the operation has such a form (Zuora: asynchronous requests guide), if its app's policy permits the other path as
//! well, and if its app asks for it, or the operator chose it. An app that asked and was not given it is told why.

use std::sync::Arc;

use async_requests::{Form, Registry};
use credentials::CalloutCredentials;
use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use tokio::time::Duration;
use zuora::{AsyncForm, Operation, Policy, Rule, Target, async_path, sync_path};

/// Creating an order. Its path at `/v1/async` is an older API of jobs, which no callout tells of.
const ORDER: &str = "POST_Order";

/// What a tenant has to do with writes that are carried out later.
#[derive(Debug)]
pub struct Async {
    /// Where requests and outcomes are remembered, of all tenants.
    pub registry: Arc<Registry>,
    /// What callouts must show. `None` if none come here: then nothing goes there.
    pub callouts: Option<CalloutCredentials>,
    /// Which writes go there. The first that speaks of a call counts; where none does, the app may ask for it.
    pub rewrite: Vec<RewriteRule>,
    /// How long an outcome may stay away before Zuora is asked for it.
    pub reconcile_after: Duration,
    /// How long an outcome may stay away before it is called unknown.
    pub unknown_after: Duration,
}

/// Which apps' writes go there, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteRule {
    /// The apps that it speaks of, by name; empty: all of them.
    pub apps: Vec<Arc<str>>,
    /// The writes that it speaks of; empty: all of them.
    pub operations: Vec<Rule>,
    /// Whether it names `POST /v1/orders` and nothing else, so that an order may become a job.
    pub order_jobs: bool,
    /// When they go there.
    pub when: When,
}

/// When a write is carried out later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Whenever it can be.
    Always,
    /// If the app asks for it.
    OnRequest,
    /// Not even then.
    Never,
    /// If the app asks for it, or if it has waited so long when its turn has come.
    Waiting(Duration),
}

/// What is known of a call when it is decided whether it is carried out later.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'c> {
    /// Who calls, by name.
    pub app: &'c str,
    /// What it may call.
    pub policy: &'c Policy,
    /// The call's method.
    pub method: &'c Method,
    /// Its path, as it would be sent, without the query.
    pub path: &'c str,
    /// What operation that is.
    pub operation: Option<&'static Operation>,
    /// Whether its `Content-Type` is `application/json`.
    pub is_json: bool,
    /// Whether it prefers `respond-async`.
    pub is_asked_for: bool,
    /// Whether Zuora takes its credential only once, and for one address.
    pub is_single_use: bool,
    /// The rules of its tenant; `None` if no callouts come here.
    pub rules: Option<&'c [RewriteRule]>,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is carried out later.
    Now(Detour),
    /// It is carried out later if it has waited so long when its turn has come.
    WhenWaiting(Duration, Detour),
    /// It is sent to `/v1/async/…` by its app, and remembered.
    Direct,
    /// It is carried out at once, as every call.
    Sync(WhySync),
}

/// Where a write is sent to be carried out later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detour {
    /// The path there, without the query.
    pub path: String,
    /// How it is carried out.
    pub form: Form,
}

/// Why a call is carried out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhySync {
    /// Nobody asked for anything else.
    NotAsked,
    /// No callouts of its tenant come here, so nobody would hear of its outcome.
    NotConfigured,
    /// The operator does not want it for this app and operation, or the app may not call the other path.
    Policy,
    /// The operation has no such form, or its answer is worth more than what a callout tells.
    Operation,
    /// Its body is not said to be JSON, and nothing else is taken there.
    ContentType,
    /// Its credential is good for one address, once.
    SingleUse,
}

impl WhySync {
    /// The word for it in `Zuora-Gateway-Not-Async`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAsked => "not-asked",
            Self::NotConfigured => "not-configured",
            Self::Policy => "policy",
            Self::Operation => "operation",
            Self::ContentType => "content-type",
            Self::SingleUse => "single-use",
        }
    }
}

/// Returns what becomes of a call. Nothing is remembered or changed here.
#[must_use]
pub fn decide(asked: &Asked<'_>) -> Plan {
    let Some(rules) = asked.rules else {
        let why = if asked.is_asked_for { WhySync::NotConfigured } else { WhySync::NotAsked };
        return Plan::Sync(why);
    };
    if is_direct(asked) {
        return Plan::Direct;
    }
    detour(asked, rules).unwrap_or_else(Plan::Sync)
}

/// Whether its app itself sends it to where it is carried out later. The outcome comes here all the same.
fn is_direct(asked: &Asked<'_>) -> bool {
    let is_eligible = |path: String| {
        let operation = zuora::classify(asked.method, &path);
        operation.is_some_and(|operation| operation.async_form == AsyncForm::Eligible)
    };
    !asked.is_single_use
        && asked.is_json
        && asked.operation.is_none()
        // Few calls begin like this.
        && sync_path(asked.path).is_some_and(is_eligible)
}

fn detour(asked: &Asked<'_>, rules: &[RewriteRule]) -> Result<Plan, WhySync> {
    let Some(form) = form_of(asked.operation) else {
        // What nearly every call comes to: no rule is looked at for it.
        return Err(if asked.is_asked_for { WhySync::Operation } else { WhySync::NotAsked });
    };
    let after = after(asked, rules, form == Form::OrderJob)?;
    let path = async_path(asked.path).ok_or(WhySync::Operation)?;
    if !asked.is_json {
        return Err(WhySync::ContentType);
    }
    let target = Target::read(&path).map_err(|_| WhySync::Operation)?;
    asked.policy.judge(asked.method, &target).map_err(|_| WhySync::Policy)?;
    if asked.is_single_use {
        return Err(WhySync::SingleUse);
    }
    let detour = Detour { path, form };
    Ok(match after {
        None => Plan::Now(detour),
        Some(after) => Plan::WhenWaiting(after, detour),
    })
}

/// How long the call must have waited to go there, by the rule that speaks of it; `None`: it need not.
fn after(
    asked: &Asked<'_>,
    rules: &[RewriteRule],
    is_order: bool,
) -> Result<Option<Duration>, WhySync> {
    let when = match rules.iter().find(|rule| rule.speaks_of(asked, is_order)) {
        Some(rule) if rule.when == When::Never => When::Never,
        // What an app gets then is a job, in another shape: so only if it asks for that.
        Some(_) if is_order => When::OnRequest,
        Some(rule) => rule.when,
        None if is_order && asked.is_asked_for => return Err(WhySync::Operation),
        None => When::OnRequest,
    };
    match when {
        When::Always => Ok(None),
        When::Waiting(after) if !asked.is_asked_for => Ok(Some(after)),
        _ if !asked.is_asked_for => Err(WhySync::NotAsked),
        When::Never => Err(WhySync::Policy),
        When::OnRequest | When::Waiting(_) => Ok(None),
    }
}

/// How an operation is carried out later, if it can be.
fn form_of(operation: Option<&Operation>) -> Option<Form> {
    let operation = operation?;
    match operation.async_form {
        AsyncForm::Eligible => Some(Form::Async),
        AsyncForm::Ineligible(_) if operation.id == ORDER => Some(Form::OrderJob),
        AsyncForm::Ineligible(_) | AsyncForm::Unknown(_) => None,
    }
}

impl RewriteRule {
    /// Whether it decides this call. What may come of an order must be written for it alone; that nothing shall come of
    /// it may be written for more, and counts for whatever the call may be.
    fn speaks_of(&self, asked: &Asked<'_>, is_order: bool) -> bool {
        let is_for_app = self.apps.is_empty() || self.apps.iter().any(|app| **app == *asked.app);
        let may_decide = !is_order || self.order_jobs || self.when == When::Never;
        let names_it = || {
            let target = Target::read(asked.path);
            target.is_ok_and(|target| match self.when {
                When::Never => target.may_be_named_by(asked.method, &self.operations),
                _ => target.is_named_by(asked.method, &self.operations),
            })
        };
        is_for_app && may_decide && (self.operations.is_empty() || names_it())
    }
}

/// Whether the body is said to be JSON, once and without a doubt: `application/json`, with or without parameters.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).into_iter().map(HeaderValue::as_bytes);
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let essence = only.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests;
