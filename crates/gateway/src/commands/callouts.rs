//! `callouts`: what has Zuora tell how async requests ended.

mod definition;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use admission::Start;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use config::{Config, Secret, Tenant};
use http::uri::PathAndQuery;
use proxy::{Errand, Proxy, Reply};
use serde_json::Value;

use crate::wiring;
use crate::works::Works;
use definition::{EVENTS, Wanted, id};

/// Where Zuora keeps notification definitions.
const DEFINITIONS: &str = "/notifications/notification-definitions";

/// How many definitions are asked for at a time.
const PAGE: usize = 40;

/// How many pages are read: no tenant has a thousand definitions for one event.
const MOST_PAGES: usize = 25;

/// What to do about the definitions.
#[derive(Debug, Subcommand)]
pub enum Callouts {
    /// Create the two notification definitions that have Zuora tell how async requests ended, where they are not there
    /// yet; where Zuora does not let it, tell what to set in its UI.
    Register(Which),
    /// Show the two notification definitions, and whether they are as they should be. Changes nothing.
    Status(Which),
}

/// Whose definitions.
#[derive(Debug, Args)]
pub struct Which {
    /// The configuration, with `async.callouts` of the tenants.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The tenant. Default: each that has `async.callouts`.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
}

/// What became of definitions, in words.
struct Told {
    text: String,
    /// Whether all is well with them.
    is_good: bool,
    /// Whether somebody can help in Zuora's UI.
    takes_hands: bool,
}

/// Why there is no good answer, without secrets.
struct Refused {
    why: String,
    /// Whether Zuora understood the call, and will not do it for this user.
    is_by_zuora: bool,
}

impl Callouts {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let (Which { config, tenant }, creates) = match self {
            Self::Register(which) => (which, true),
            Self::Status(which) => (which, false),
        };
        let Some(config) = super::load(&config) else { return Ok(ExitCode::FAILURE) };
        let chosen = choose(&config, tenant.as_deref())?;
        super::runtime(1)?.block_on(async {
            let mut is_good = true;
            for tenant in chosen {
                let told = of_tenant(&config, tenant, creates).await.unwrap_or_else(|cause| Told {
                    takes_hands: false,
                    ..Told::bad(format!("{cause:#}\n"))
                });
                super::say(&told.text)?;
                is_good &= told.is_good;
            }
            Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}

/// The tenants that are meant, all of which have callouts.
fn choose<'c>(config: &'c Config, name: Option<&str>) -> anyhow::Result<Vec<&'c Tenant>> {
    let is_meant = |tenant: &&Tenant| name.is_none_or(|name| *tenant.name == *name);
    let meant: Vec<_> = config.tenants.iter().filter(is_meant).collect();
    if let (Some(name), []) = (name, &meant[..]) {
        let names: Vec<_> = config.tenants.iter().map(|tenant| &*tenant.name).collect();
        bail!("no tenant is called `{name}`; there are `{}`", names.join("`, `"));
    }
    let has_callouts = |tenant: &&Tenant| tenant.async_requests.callouts.is_some();
    let chosen: Vec<_> = meant.into_iter().filter(has_callouts).collect();
    match (name, &chosen[..]) {
        (Some(name), []) => bail!("the tenant `{name}` has no `async.callouts`"),
        (None, []) => bail!("no tenant has `async.callouts`"),
        _ => Ok(chosen),
    }
}

/// The definitions of one tenant, in each of its entities: Zuora keeps them by entity.
async fn of_tenant(config: &Config, tenant: &Tenant, creates: bool) -> anyhow::Result<Told> {
    let works = Works::start(&alone(config, tenant), Start::Full)
        .with_context(|| format!("tenant `{}`", tenant.name))?;
    let zuora = Zuora { proxy: &works.proxy, tenant: &tenant.name };
    let callouts = tenant.async_requests.callouts.as_ref().context("it has no callouts")?;
    let mut all = Told::good(String::new());
    for entity in wiring::each_entity(tenant) {
        let of = entity.as_ref().map(|id| format!(", entity {id}")).unwrap_or_default();
        let url = Wanted::new(EVENTS[0], &tenant.name, callouts).url;
        let _ = writeln!(all.text, "tenant `{}`{of}: callouts to {url}", tenant.name);
        for event in EVENTS {
            let wanted = Wanted::new(event, &tenant.name, callouts);
            let told = zuora.see_to(&wanted, entity.as_deref(), creates).await;
            all.is_good &= told.is_good;
            let _ = writeln!(all.text, "  {event}: {}", told.text);
            if told.takes_hands {
                let _ = writeln!(all.text, "    In Zuora's UI it is a notification with:");
                for (name, what) in wanted.by_hand() {
                    let _ = writeln!(all.text, "      {name:<15} {what}");
                }
            }
        }
    }
    Ok(all)
}

/// A configuration of this tenant and nothing else, which touches nothing that a serving gateway holds.
fn alone(config: &Config, tenant: &Tenant) -> Config {
    let mut alone = config.clone();
    alone.tenants = vec![tenant.clone()];
    alone.apps = Vec::new();
    // They name apps, of which there are none.
    alone.tenants.iter_mut().for_each(|tenant| tenant.async_requests.rewrite.clear());
    (alone.anonymous, alone.single_use) = (None, None);
    (alone.listen.tls, alone.listen.callouts) = (None, None);
    // Signs nothing, and keeps one from being made in `state_dir`.
    alone.signing_key = Some(Secret::new(uuid::Uuid::new_v4().to_string()));
    alone
}

/// The tenant, as it is called with its own token.
struct Zuora<'a> {
    proxy: &'a Proxy,
    tenant: &'a str,
}

impl Zuora<'_> {
    /// Finds the definition that is wanted, and creates it if it is missing and `creates`.
    async fn see_to(&self, wanted: &Wanted<'_>, entity: Option<&str>, creates: bool) -> Told {
        let of_event = match self.definitions(wanted, entity).await {
            Ok(found) => found,
            Err(Refused { why, is_by_zuora }) => {
                let told = Told::bad(format!("cannot be seen: {why}"));
                // Where Zuora cannot be reached, its UI is not what to look at.
                return Told { takes_hands: is_by_zuora, ..told };
            }
        };
        let (ours, others): (Vec<_>, Vec<_>) =
            of_event.iter().partition(|found| wanted.leads_here(found));
        let mut told = match (&ours[..], creates) {
            ([], true) => self.create(wanted, entity).await,
            ([], false) => {
                Told::bad("missing; `zuora-gateway callouts register` creates it".to_owned())
            }
            (ours, _) => describe(wanted, ours),
        };
        if !others.is_empty() {
            let lead = if others.len() == 1 { "leads" } else { "lead" };
            let _ = write!(told.text, " ({} more of this event {lead} elsewhere)", others.len());
        }
        told
    }

    /// All definitions of the wanted event.
    async fn definitions(
        &self,
        wanted: &Wanted<'_>,
        entity: Option<&str>,
    ) -> Result<Vec<Value>, Refused> {
        let mut found = Vec::new();
        for page in 0..MOST_PAGES {
            let event = wanted.event.replace(' ', "%20");
            let start = page * PAGE;
            let target = format!("{DEFINITIONS}?eventTypeName={event}&start={start}&limit={PAGE}");
            let target = PathAndQuery::try_from(target).expect("an event's name is plain text");
            let reply = self.ask(Errand::get(target), wanted, entity).await?;
            let definitions = reply["data"].as_array();
            let definitions =
                definitions.ok_or_else(|| Refused::by_zuora("Zuora's answer holds no list"))?;
            found.extend(definitions.iter().filter(|it| wanted.tells(it)).cloned());
            if reply["next"].is_null() {
                return Ok(found);
            }
        }
        let most = MOST_PAGES * PAGE;
        Err(Refused::by_zuora(format!("Zuora has more than {most} definitions")))
    }

    async fn create(&self, wanted: &Wanted<'_>, entity: Option<&str>) -> Told {
        let target = PathAndQuery::from_static(DEFINITIONS);
        let errand = Errand::post(target, wanted.body().to_string());
        match self.ask(errand, wanted, entity).await {
            Ok(created) => Told::good(format!("created ({})", id(&created))),
            Err(Refused { why, .. }) => Told::bad(format!("not created: {why}")),
        }
    }

    /// One call, as JSON.
    async fn ask(
        &self,
        errand: Errand,
        wanted: &Wanted<'_>,
        entity: Option<&str>,
    ) -> Result<Value, Refused> {
        let reply = self.proxy.run(self.tenant, errand.to_entity(entity)).await;
        let Reply { status, body, .. } = reply.map_err(|failed| Refused {
            why: wanted.without_secrets(&failed.to_string()),
            is_by_zuora: false,
        })?;
        let answer = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        if status.is_success() && answer["success"] != false {
            return Ok(answer);
        }
        let code = status.as_u16();
        let why = match why(&answer) {
            Some(why) => format!("Zuora answered {code}: {}", wanted.without_secrets(&why)),
            None => format!("Zuora answered {code}"),
        };
        Err(Refused { why, is_by_zuora: !status.is_server_error() })
    }
}

impl Refused {
    fn by_zuora(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_by_zuora: true }
    }
}

impl Told {
    fn good(text: String) -> Self {
        Self { text, is_good: true, takes_hands: false }
    }

    fn bad(text: String) -> Self {
        Self { text, is_good: false, takes_hands: true }
    }
}

/// What is to be said of the definitions that lead here, at least one.
fn describe(wanted: &Wanted<'_>, ours: &[&Value]) -> Told {
    let is_good = |found: &&Value| wanted.differences(found).is_empty();
    match ours {
        [only] if is_good(only) => Told::good(format!(
            "there ({}), and as it should be, but for the password, which Zuora does not show",
            id(only)
        )),
        [only] => {
            let differences = wanted.differences(only);
            let differences: Vec<_> = differences.iter().map(ToString::to_string).collect();
            Told::bad(format!("there ({}), but {}", id(only), differences.join(", ")))
        }
        several => {
            let ids: Vec<_> = several.iter().map(|found| id(found)).collect();
            let text = format!("there {} times ({}): one is enough", ids.len(), ids.join(", "));
            if several.iter().any(is_good) { Told::good(text) } else { Told::bad(text) }
        }
    }
}

/// Zuora's words for what is wrong, of the forms that its APIs have for them.
fn why(answer: &Value) -> Option<String> {
    let reasons = answer["reasons"].as_array().into_iter().flatten();
    let reasons: Vec<_> = reasons.filter_map(|reason| reason["message"].as_str()).collect();
    if !reasons.is_empty() {
        return Some(reasons.join("; ").trim_end_matches('.').to_owned());
    }
    let words = ["message", "title", "error"].into_iter();
    words
        .filter_map(|word| answer[word].as_str())
        .next()
        .map(|it| it.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests;
