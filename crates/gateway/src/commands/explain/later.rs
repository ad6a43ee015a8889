//! Whether a write is carried out later, at `/v1/async`.

use async_requests::Form;
use config::{App, Config};
use http::Method;
use proxy::{Asked, Detour, Plan, RewriteRule, WhySync};
use zuora::{AsyncForm, Operation, Target};

use crate::wiring;

/// A call, as far as it decides that.
pub(super) struct Write<'a> {
    pub(super) config: &'a Config,
    pub(super) app: &'a App,
    /// The index of its tenant.
    pub(super) tenant: usize,
    pub(super) method: &'a Method,
    pub(super) operation: Option<&'static Operation>,
    /// Its path as the tenant would see it.
    pub(super) path: &'a str,
}

impl Write<'_> {
    /// What becomes of it, in words. Its body is taken to be JSON.
    pub(super) fn told(&self, is_asked_for: bool) -> String {
        match self.plan(is_asked_for) {
            Plan::Now(Detour { path, form: Form::OrderJob }) => {
                format!("carried out later, as a job: sent to {path}, if its body is JSON")
            }
            Plan::Now(Detour { path, .. }) => {
                format!("carried out later: sent to {path}, if its body is JSON, and answered 202")
            }
            Plan::WhenWaiting(after, Detour { path, .. }) => format!(
                "carried out later if it has waited {after:?} for its turn: sent to {path} then, if its body is JSON, and \
                 answered 202; else carried out at once"
            ),
            Plan::Direct => {
                "carried out later as it stands; the gateway keeps its outcome for the app"
                    .to_owned()
            }
            Plan::Sync(WhySync::NotAsked) => {
                "carried out at once: the app does not ask for anything else".to_owned()
            }
            Plan::Sync(why) if is_asked_for => {
                let word = why.as_str();
                format!("carried out at once (Zuora-Gateway-Not-Async: {word}): {}", self.why(why))
            }
            Plan::Sync(why) => format!("carried out at once: {}", self.why(why)),
        }
    }

    /// Where it goes to be carried out later, if it does so in any case.
    pub(super) fn detour(&self, is_asked_for: bool) -> Option<Detour> {
        match self.plan(is_asked_for) {
            Plan::Now(detour) => Some(detour),
            _ => None,
        }
    }

    fn plan(&self, is_asked_for: bool) -> Plan {
        let written = &self.config.tenants[self.tenant].async_requests;
        let rules = written.rewrite.iter().map(|rule| wiring::rewrite_rule(self.config, rule));
        let rules: Vec<RewriteRule> = rules.collect();
        proxy::plan(&Asked {
            app: &self.app.name,
            policy: &wiring::policy(self.app),
            method: self.method,
            path: self.path,
            operation: self.operation,
            is_json: true,
            is_asked_for,
            is_single_use: false,
            rules: written.callouts.is_some().then_some(&rules[..]),
        })
    }

    fn why(&self, why: WhySync) -> String {
        match why {
            WhySync::NotAsked => "the app does not ask for anything else".to_owned(),
            WhySync::NotConfigured => {
                "the tenant has no `async.callouts`, so nobody would hear of its outcome".to_owned()
            }
            WhySync::Policy => match self.refused_there() {
                Some(refused) => refused,
                None => "the entry of `async.rewrite` that speaks of it says `never`".to_owned(),
            },
            WhySync::Operation => no_form(self.operation),
            WhySync::ContentType => "its body is not JSON".to_owned(),
            WhySync::SingleUse => "its credential is good for its own address only".to_owned(),
        }
    }

    /// How the app's policy refuses the path under `/v1/async`, if it does.
    fn refused_there(&self) -> Option<String> {
        let path = zuora::async_path(self.path)?;
        let policy = wiring::policy(self.app);
        let refused = policy.judge(self.method, &Target::read(&path).ok()?).err()?;
        Some(format!("the app may not call {path}: {refused}"))
    }
}

/// Why an operation is not carried out later.
fn no_form(operation: Option<&Operation>) -> String {
    match operation.map(|operation| (operation.id, operation.async_form)) {
        Some(("POST_Order", _)) => {
            "no entry of `async.rewrite` names POST /v1/orders for this app".to_owned()
        }
        Some((_, AsyncForm::Ineligible(why))) => why.to_owned(),
        Some((_, AsyncForm::Unknown(why))) => {
            format!("not known whether Zuora takes it at /v1/async: {why}")
        }
        Some((_, AsyncForm::Eligible)) | None => {
            "not known whether Zuora takes it at /v1/async".to_owned()
        }
    }
}
