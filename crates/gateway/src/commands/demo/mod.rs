//! `demo`: an emulated tenant, the gateway, and three apps that want more than the tenant allows.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use emulator::{Definition, Options, ServiceTime, Tenant};
use tokio::time::Instant;

use crate::gateway::Gateway;
use apps::{APPS, App, Load};
use view::View;
use writes::Writing;

mod apps;
mod view;
mod writes;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// How long to run, as `30s` or `2m`.
    #[arg(long, default_value = "60s", value_parser = duration)]
    duration: Duration,
    /// Let the apps call the bare tenant, each with a token of its own, to see the difference.
    #[arg(long)]
    no_gateway: bool,
    /// How long a call takes at the tenant: `50ms`, or `lognormal:MEDIAN:P99`.
    #[arg(long, default_value = "lognormal:40ms:400ms")]
    service_time: ServiceTime,
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        _ => return Err("write a number with `s` or `m`, as `30s`".to_owned()),
    };
    match digits.parse::<u64>() {
        Ok(number) if (1..=3600).contains(&number.saturating_mul(seconds)) => {
            Ok(Duration::from_secs(number * seconds))
        }
        _ => Err("write a time between `1s` and `60m`".to_owned()),
    }
}

impl Demo {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        super::runtime(2)?.block_on(self.run())
    }

    async fn run(self) -> anyhow::Result<ExitCode> {
        let options =
            Options { service_time: self.service_time, ledger_capacity: 0, ..Options::default() };
        let tenant = Tenant::start(options).await.context("cannot start the emulated tenant")?;
        let gateway = match self.no_gateway {
            true => None,
            false => {
                let gateway = gateway_for(&tenant.base_url()).await?;
                let callouts = format!("http://{}/_gateway/callouts/demo", gateway.address());
                tenant.set_definitions(&Definition::both(&callouts, "demo", CALLOUT_PASSWORD));
                Some(gateway)
            }
        };
        let (address, headline) = match &gateway {
            Some(gateway) => (gateway.address(), headline(gateway, &tenant)),
            None => (
                tenant.address(),
                format!(
                    "three apps against the bare tenant at {}; one that is refused tries again after {} ms\n",
                    tenant.base_url(),
                    apps::PAUSE.as_millis(),
                ),
            ),
        };
        super::say(&headline)?;

        let loads = APPS.map(|app| Arc::new(Load::of(app)));
        let calling: Vec<_> = loads.iter().map(|load| Arc::clone(load).start(address)).collect();
        // Without a gateway, nobody hears of outcomes.
        let writing = gateway.as_ref().map(|_| Writing::start(APPS[0], address));
        let admissions = gateway.as_ref().map(Gateway::admissions).unwrap_or_default();
        let admission = admissions.first().map(|(_, admission)| admission.as_ref());
        let view = View::new(&loads, &tenant, admission);
        let began = Instant::now();
        watch(&view, self.duration).await;
        let lasted = began.elapsed();
        for calling in calling {
            calling.stop();
        }
        let outcomes = match writing {
            Some(writing) => Some(writing.finish().await),
            None => None,
        };
        super::say(&view.summary(lasted, outcomes))?;

        if let Some(gateway) = gateway {
            gateway.stop(Duration::from_secs(5)).await;
            // Nothing in it is worth keeping.
            let _ = std::fs::remove_dir_all(state_dir());
        }
        tenant.stop().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Shows what happens until the time is over or the watcher has seen enough.
async fn watch(view: &View<'_>, lasting: Duration) {
    let showing = async {
        let mut ticks = tokio::time::interval(view.pace());
        loop {
            ticks.tick().await;
            // A terminal that has gone is no reason to stop: the summary may go to a file.
            let _ = super::say(&view.frame());
        }
    };
    tokio::select! {
        () = showing => {}
        () = tokio::time::sleep(lasting) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn headline(gateway: &Gateway, tenant: &Tenant) -> String {
    format!(
        "an emulated tenant at {}\nthe gateway at http://{}, its metrics at http://{}/metrics\n",
        tenant.base_url(),
        gateway.address(),
        gateway.admin_address()
    )
}

/// What the emulated tenant proves its callouts with; nobody else reaches the demo.
const CALLOUT_PASSWORD: &str = "a password that everybody knows";

/// What a demo keeps while it runs.
fn state_dir() -> PathBuf {
    std::env::temp_dir().join(format!("zuora-gateway-demo-{}", std::process::id()))
}

/// A gateway in front of `base_url`, configured as anybody would configure one.
async fn gateway_for(base_url: &str) -> anyhow::Result<Gateway> {
    let apps = APPS.map(App::yaml).concat();
    let yaml = format!(
        "listen: {{address: \"127.0.0.1:0\"}}
admin: {{address: \"127.0.0.1:0\"}}
signing_key: a demo signs its tokens with a key that everybody knows
state_dir: {}
tenants:
  demo:
    base_url: {base_url}
    credentials:
      oauth: {{client_id: demo, client_secret: demo}}
    concurrency: {{headroom: 0}}
    rate: {{per_minute: null, per_hour: null, per_day: null}}
    async:
      callouts: {{public_url: \"https://zuora-gateway.example\", username: demo, password: {CALLOUT_PASSWORD}}}
apps:
{apps}",
        state_dir().display()
    );
    let config =
        config::parse(&yaml, std::path::Path::new("demo.yaml"), &config::ProcessEnvironment);
    let config = config.map_err(|problems| anyhow::anyhow!("{problems}"))?;
    Gateway::start(&config).await.context("cannot start the gateway")
}
