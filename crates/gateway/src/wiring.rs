//! From the configuration to what the parts are told: one function for each, and nothing but translation.

use std::collections::HashMap;
use std::sync::Arc;

use admission::{
    Admission, AppRate, AppSettings, OnRefusal, PoolSettings, Priority, QueueBounds, RateLimits,
    Settings,
};
use config::{AppSecret, Config, InvalidTrackId};
use credentials::{
    AltName, AppCredential, CalloutCredentials, CertificateName, DistinguishedName, SecretDigest,
};
use http::HeaderName;
use proxy::{
    App, Async, Budgets, Connector, Destination, Entity, OWN_APP, POOLS, RetryPolicy, RewriteRule,
    Tenant, TrackIdPolicy, ValidTrackId, Ways, When,
};
use telemetry::{Inventory, Metrics};
use tokio::time::Duration;
use zuora::Policy;

use crate::reconcile;
use crate::remembering::Remembering;
use crate::tokens::OfEntity;

/// The names that become labels.
pub(crate) fn inventory(config: &Config) -> Inventory {
    Inventory {
        tenants: config.tenants.iter().map(|tenant| tenant.name.to_string()).collect(),
        apps: config
            .apps
            .iter()
            .map(|app| app.name.to_string())
            .chain([OWN_APP.to_owned()])
            .collect(),
    }
}

/// What the admission of a tenant is told.
pub(crate) fn admission_settings(config: &Config, tenant: usize) -> Settings {
    let settings = &config.tenants[tenant];
    let concurrency = &settings.concurrency;
    let on_refusal = match concurrency.on_refusal {
        config::OnRefusal::Shrink => OnRefusal::Shrink,
        config::OnRefusal::Freeze => OnRefusal::Freeze,
    };
    let pools = each_entity(settings).flat_map(|entity| {
        concurrency.limits.iter().map(move |(name, limit)| PoolSettings {
            name: Arc::clone(name),
            entity: entity.clone(),
            ceiling: limit.limit,
            headroom: concurrency.headroom,
            enforce: limit.enforce,
            on_refusal,
            retry_after_cap: concurrency.retry_after_cap,
        })
    });
    let queue = QueueBounds {
        max_requests: settings.queue.max_requests.get(),
        max_bytes: settings.queue.max_bytes,
    };
    let rate = RateLimits {
        per_minute: settings.rate.per_minute,
        per_hour: settings.rate.per_hour,
        per_day: settings.rate.per_day,
        enforce: settings.rate.enforce,
    };
    let apps = config.apps.iter().filter(|app| app.calls(tenant)).map(app_settings);
    let apps = apps.chain([own_app_settings()]).collect();
    Settings { pools: pools.collect(), apps, queue, rate }
}

/// The gateway itself goes when nobody else wants to.
fn own_app_settings() -> AppSettings {
    AppSettings { priority: Priority::Scavenger, ..AppSettings::named(OWN_APP) }
}

fn app_settings(settings: &config::App) -> AppSettings {
    AppSettings {
        name: Arc::clone(&settings.name),
        weight: settings.weight,
        reserve: settings.reserve,
        max_in_flight: settings.max_in_flight,
        priority: match settings.priority {
            config::Priority::Interactive => Priority::Interactive,
            config::Priority::Standard => Priority::Standard,
            config::Priority::Batch => Priority::Batch,
            config::Priority::Scavenger => Priority::Scavenger,
        },
        rate: settings.rate.map(|rate| AppRate {
            per_second: rate.per_second,
            burst: rate.burst,
            enforce: rate.enforce,
        }),
    }
}

/// What operators see that the apps of a tenant may have.
pub(crate) fn shown_apps(config: &Config, tenant: usize) -> Vec<admin::App> {
    let apps = config.apps.iter().filter(|app| app.calls(tenant));
    let shown = apps.map(|app| admin::App {
        settings: app_settings(app),
        queue_timeout: queue_timeout(&config.tenants[tenant], app),
    });
    shown.collect()
}

/// How long the calls of an app may wait.
fn queue_timeout(tenant: &config::Tenant, app: &config::App) -> Duration {
    app.queue_timeout.unwrap_or(tenant.queue.timeout)
}

/// The entities of a tenant; one without an id if it has only one.
pub(crate) fn each_entity(settings: &config::Tenant) -> impl Iterator<Item = Option<Arc<str>>> {
    let only = settings.entities.is_empty().then_some(None);
    only.into_iter().chain(settings.entities.iter().map(|entity| Some(Arc::clone(&entity.id))))
}

/// The entities of a tenant, each with its tokens, and with what was learnt about it `before`.
pub(crate) fn entities(
    settings: &config::Tenant,
    admission: &Admission,
    tokens: &[OfEntity],
    before: &[Entity],
) -> Vec<Entity> {
    each_entity(settings)
        .zip(tokens)
        .map(|(id, tokens)| {
            let pool = |limit_type: zuora::LimitType| {
                let known = admission.pool(id.as_deref(), limit_type.name());
                known.expect("the configuration names every limit type that operations have")
            };
            let pools = POOLS.map(pool);
            let learnt = before.iter().find(|entity| entity.id == id);
            let learnt = learnt.map(|entity| Arc::clone(&entity.learnt)).unwrap_or_default();
            let written = settings.entities.iter().find(|entity| Some(&entity.id) == id.as_ref());
            let name = written.and_then(|entity| entity.name.clone());
            let OfEntity { tokens, soap_tokens } = tokens.clone();
            Entity { id, name, pools, tokens, soap_tokens, learnt }
        })
        .collect()
}

/// How apps mean each tenant.
pub(crate) fn ways(config: &Config) -> Ways {
    let mut ways = Ways::new(config.listen.public_url.as_ref().map(ToString::to_string));
    for tenant in &config.tenants {
        ways.lead_to(&tenant.name, &tenant.hosts, tenant.path_prefix.as_ref());
    }
    ways
}

/// An app, at each of the `tenants` that it calls, the one that it means by default first.
pub(crate) fn app(
    config: &Config,
    settings: &config::App,
    tenants: &[Arc<Tenant>],
    metrics: &Metrics,
) -> Vec<App> {
    let at = |&tenant: &usize| {
        let queue_timeout = queue_timeout(&config.tenants[tenant], settings);
        app_at(&tenants[tenant], settings, queue_timeout, metrics)
    };
    settings.tenants.iter().map(at).collect()
}

fn app_at(
    tenant: &Arc<Tenant>,
    settings: &config::App,
    queue_timeout: Duration,
    metrics: &Metrics,
) -> App {
    App {
        name: Arc::clone(&settings.name),
        id: tenant.admission.app(&settings.name).expect("an app is among those of its tenant"),
        policy: policy(settings),
        entities: entities_of(settings, &tenant.entities),
        queue_timeout,
        fairness_key: settings
            .fairness_key
            .as_ref()
            .map(|field| HeaderName::try_from(&**field).expect("the configuration checked it")),
        metrics: metrics.app(&tenant.name, &settings.name),
        pools: POOLS
            .map(|limit_type| metrics.pool(&tenant.name, &settings.name, limit_type.name())),
        tenant: Arc::clone(tenant),
    }
}

/// The gateway itself, as an app of a tenant.
pub(crate) fn own_app(settings: &config::Tenant, tenant: &Arc<Tenant>, metrics: &Metrics) -> App {
    App {
        name: OWN_APP.into(),
        id: tenant.admission.app(OWN_APP).expect("the gateway is an app of every tenant"),
        policy: Policy::default(),
        entities: (0..tenant.entities.len()).collect(),
        queue_timeout: settings.queue.timeout,
        fairness_key: None,
        metrics: metrics.app(&tenant.name, OWN_APP),
        pools: POOLS.map(|limit_type| metrics.pool(&tenant.name, OWN_APP, limit_type.name())),
        tenant: Arc::clone(tenant),
    }
}

/// The places among a tenant's entities of those that an app may name, its default first.
fn entities_of(settings: &config::App, known: &[Entity]) -> Vec<usize> {
    let place = |id: &Arc<str>| known.iter().position(|entity| entity.id.as_ref() == Some(id));
    let named: Vec<_> = settings.entities.iter().filter_map(place).collect();
    // Whoever is kept to no entity may name all; so may whoever is kept to some, where there is only one.
    if named.is_empty() { (0..known.len()).collect() } else { named }
}

/// What an app may call.
pub(crate) fn policy(settings: &config::App) -> Policy {
    Policy {
        allow: settings.allow.clone(),
        deny: settings.deny.clone(),
        read_only: settings.read_only,
    }
}

/// What an app is known by.
pub(crate) fn credential(app: &config::App) -> AppCredential {
    let digest = |secret: &AppSecret| match secret {
        AppSecret::Plain(secret) => SecretDigest::of(secret.expose()),
        AppSecret::Sha256(digest) => SecretDigest::from(*digest),
    };
    let certificate = app.certificate.as_ref().map(|name| match name {
        config::CertificateName::Subject(attributes) => {
            CertificateName::Subject(DistinguishedName::new(attributes.iter().cloned()))
        }
        config::CertificateName::Alt(name) => CertificateName::Alt(AltName::meant_by(name)),
    });
    AppCredential {
        name: app.name.to_string(),
        client_id: app.client_id.clone(),
        secrets: app.secrets.iter().map(digest).collect(),
        certificate,
    }
}

/// What happens to the track ids of apps.
pub(crate) fn track_ids(policy: config::TrackIdPolicy) -> TrackIdPolicy {
    let valid = match policy.valid {
        config::ValidTrackId::Keep => ValidTrackId::Keep,
        config::ValidTrackId::Prefix => ValidTrackId::Prefix,
        config::ValidTrackId::Replace => ValidTrackId::Replace,
    };
    TrackIdPolicy { valid, replace_invalid: policy.invalid == InvalidTrackId::Replace }
}

/// Which writes of a tenant are carried out later, and what tells of their outcomes.
pub(crate) fn async_requests(
    config: &Config,
    written: &config::Async,
    remembering: &Remembering,
) -> Async {
    let callouts = written.callouts.as_ref().filter(|_| remembering.is_lasting);
    let callouts = callouts.map(|callouts| {
        let previous = callouts.previous_password.as_ref().map(config::Secret::expose);
        CalloutCredentials::new(&callouts.username, callouts.password.expose(), previous)
    });
    Async {
        registry: Arc::clone(&remembering.registry),
        callouts,
        rewrite: written.rewrite.iter().map(|rule| rewrite_rule(config, rule)).collect(),
        reconcile_after: written.reconcile_after,
        unknown_after: written.unknown_after,
    }
}

/// Which apps' writes are carried out later, and when.
pub(crate) fn rewrite_rule(config: &Config, written: &config::Rewrite) -> RewriteRule {
    RewriteRule {
        apps: written.apps.iter().map(|&app| Arc::clone(&config.apps[app].name)).collect(),
        operations: written.operations.clone(),
        order_jobs: written.order_jobs,
        when: match written.when {
            config::When::Always => When::Always,
            config::When::OnRequest => When::OnRequest,
            config::When::Never => When::Never,
            config::When::Waiting(after) => When::Waiting(after),
        },
    }
}

/// Where the outcomes of apps are forwarded to, through `connector`.
pub(crate) fn destinations(
    config: &Config,
    connector: &Connector,
) -> HashMap<Arc<str>, Destination> {
    let destination = |app: &config::App| {
        let config::Outcomes { url, secret, .. } = app.outcomes.as_ref()?;
        let destination = Destination::new(url.clone(), secret.expose(), connector.clone());
        Some((Arc::clone(&app.name), destination))
    };
    config.apps.iter().filter_map(destination).collect()
}

/// Counts what may become of the apps' async requests, and of callouts, from zero on: a counter that is there only since
/// its first time was never seen to rise, and after a restart that may be when an outcome is given up. Also for tenants
/// whose callouts were taken away: something of theirs may still be waited for.
pub(crate) fn count_async_requests(config: &Config, metrics: &Metrics) {
    for (index, tenant) in config.tenants.iter().enumerate() {
        let _ = metrics.callouts(&tenant.name);
        for app in config.apps.iter().filter(|app| app.calls(index)) {
            let _ = metrics.async_requests(&tenant.name, &app.name);
        }
    }
}

/// How the outcomes of a tenant's asynchronous requests are looked after.
pub(crate) fn reconciling(written: &config::Tenant) -> reconcile::Settings {
    let settings = &written.async_requests;
    reconcile::Settings {
        // Where they came while they came is where those went that are still looked for.
        callouts_path: format!("/_gateway/callouts/{}", written.name).into(),
        reconcile_after: settings.reconcile_after,
        unknown_after: settings.unknown_after,
    }
}

/// When calls of a tenant are tried again. What was repeated `before` counts on, if the share is the same.
pub(crate) fn retry(written: &config::Retry, before: Option<&RetryPolicy>) -> RetryPolicy {
    let known = before.filter(|before| before.budgets.share() == written.budget);
    RetryPolicy {
        attempts: written.attempts,
        mint_idempotency_keys: written.mint_idempotency_keys,
        repeats_contended: written.contended_writes == config::ContendedWrites::Repeat,
        budgets: match known {
            Some(before) => Arc::clone(&before.budgets),
            None => Arc::new(Budgets::new(written.budget)),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What admission is told of a file with these keys of the tenant and of the app.
    fn settings(tenant: &str, app: &str) -> Settings {
        admission_settings(&config(tenant, app), 0)
    }

    /// A file with these keys of the tenant and of the app.
    fn config(tenant: &str, app: &str) -> Config {
        let text = format!(
            "tenants:
  production:
    base_url: https://rest.zuora.com
    credentials: {{oauth: {{client_id: id, client_secret: secret}}}}
{tenant}
  sandbox:
    base_url: https://rest.test.zuora.com
    credentials: {{oauth: {{client_id: id, client_secret: secret}}}}
apps:
  job: {{tenant: sandbox, client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d, secret: other}}
  storefront:
    client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11
    secret: secret
{own}{app}
",
            own = if app.contains("tenant:") { "" } else { "    tenant: production\n" },
        );
        config::parse(&text, Path::new("F"), &config::ProcessEnvironment).unwrap()
    }

    #[test]
    fn what_is_left_out_is_plain_and_enforced() {
        let Settings { pools, apps, rate, .. } = settings("", "");

        let shown: Vec<_> = pools.iter().map(|pool| (&*pool.name, pool.ceiling.get())).collect();
        assert_eq!(
            shown,
            [("Default", 40), ("High-volume transactions", 200), ("Object Query", 80)]
        );
        for pool in &pools {
            assert_eq!((pool.entity.as_deref(), pool.headroom, pool.enforce), (None, 2, true));
            assert_eq!((pool.on_refusal, pool.retry_after_cap), (OnRefusal::Shrink, None));
        }
        let plain = AppSettings::named("storefront");
        let own = own_app_settings();
        assert_eq!(format!("{apps:?}"), format!("{:?}", [plain, own]));
        let windows = [rate.per_minute, rate.per_hour, rate.per_day].map(|it| it.unwrap().get());
        assert_eq!((windows, rate.enforce), ([50_000, 2_250_000, 27_000_000], true));
    }

    #[test]
    fn what_is_written_arrives() {
        let Settings { pools, apps, queue, rate } = settings(
            "    entities: [6f1f2c52-7d0c-4b57-9d4c-000000000001, 6f1f2c52-7d0c-4b57-9d4c-000000000002]
    concurrency:
      limits: {Object Query: {limit: 9, enforce: false}, Billing Engine: 10}
      headroom: 3
      on_refusal: freeze
      retry_after_cap: 2s
    rate: {per_minute: 2500, per_hour: null, per_day: 10000, enforce: false}
    queue: {max_requests: 7, max_bytes: 2MiB}",
            "    priority: interactive
    weight: 4
    reserve: 5
    max_in_flight: 6
    rate: {per_second: 50, burst: 100, enforce: false}",
        );

        let of_entity = |entity: &str| -> Vec<_> {
            let pools = pools.iter().filter(|pool| pool.entity.as_deref() == Some(entity));
            pools.map(|pool| (&*pool.name, pool.ceiling.get(), pool.enforce)).collect()
        };
        let expected = [
            ("Billing Engine", 10, true),
            ("Default", 40, true),
            ("High-volume transactions", 200, true),
            ("Object Query", 9, false),
        ];
        assert_eq!(of_entity("6f1f2c52-7d0c-4b57-9d4c-000000000001"), expected);
        assert_eq!(of_entity("6f1f2c52-7d0c-4b57-9d4c-000000000002"), expected);
        for pool in &pools {
            let cap = Some(std::time::Duration::from_secs(2));
            assert_eq!((pool.headroom, pool.on_refusal), (3, OnRefusal::Freeze));
            assert_eq!(pool.retry_after_cap, cap);
        }
        let [app, own] = &apps[..] else { panic!("apps of other tenants are theirs: {apps:?}") };
        assert_eq!((&*own.name, own.priority), (OWN_APP, Priority::Scavenger));
        assert_eq!((&*app.name, app.weight.get(), app.reserve), ("storefront", 4, 5));
        assert_eq!(app.max_in_flight.map(std::num::NonZero::get), Some(6));
        assert_eq!(app.priority, Priority::Interactive);
        let app_rate = app.rate.unwrap();
        let app_rate = (app_rate.per_second.get(), app_rate.burst.get(), app_rate.enforce);
        assert_eq!(app_rate, (50, 100, false));
        let windows = [rate.per_minute, rate.per_hour, rate.per_day];
        let windows = windows.map(|calls| calls.map(std::num::NonZero::get));
        assert_eq!((windows, rate.enforce), ([Some(2500), None, Some(10_000)], false));
        assert_eq!((queue.max_requests, queue.max_bytes), (7, 2 << 20));
    }

    #[test]
    fn what_is_written_of_retries_arrives() {
        let told = |written: &str| {
            let tenant = format!("    retry: {{{written}}}");
            let policy = retry(&config(&tenant, "").tenants[0].retry, None);
            let RetryPolicy { attempts, mint_idempotency_keys, repeats_contended, budgets } =
                policy;
            (attempts.get(), mint_idempotency_keys, repeats_contended, format!("{budgets:?}"))
        };
        let budgets = |share: &str| format!("Budgets {{ share: {share}, .. }}");

        assert_eq!(told(""), (5, true, true, budgets("0.2")));
        assert_eq!(told("attempts: 3"), (3, true, true, budgets("0.2")));
        assert_eq!(told("mint_idempotency_keys: false"), (5, false, true, budgets("0.2")));
        assert_eq!(told("contended_writes: return"), (5, true, false, budgets("0.2")));
        assert_eq!(told("budget: 10"), (5, true, true, budgets("10.0")));
    }

    #[test]
    fn operators_see_what_each_app_of_the_tenant_may_have() {
        let app = "    priority: batch\n    reserve: 5";
        let config = config("    queue: {timeout: 7s}", app);

        let [storefront] = &shown_apps(&config, 0)[..] else { panic!("apps of others are theirs") };
        assert_eq!(&*storefront.settings.name, "storefront");
        assert_eq!(
            (storefront.settings.priority, storefront.settings.reserve),
            (Priority::Batch, 5)
        );
        assert_eq!(storefront.queue_timeout, Duration::from_secs(7));
        assert_eq!(shown_apps(&config, 1)[0].queue_timeout, Duration::from_secs(30));
    }

    #[test]
    fn an_app_has_its_turns_at_each_of_its_tenants() {
        let both = config("", "    tenant: [production, sandbox]\n    weight: 3");

        let names = |tenant| -> Vec<_> {
            let apps = admission_settings(&both, tenant).apps;
            apps.iter().map(|app| (app.name.to_string(), app.weight.get())).collect()
        };
        let own = || (OWN_APP.to_owned(), 1);
        assert_eq!(names(0), [("storefront".to_owned(), 3), own()]);
        assert_eq!(names(1), [("job".to_owned(), 1), ("storefront".to_owned(), 3), own()]);
        assert_eq!(shown_apps(&both, 1).len(), 2);
    }

    #[test]
    fn every_priority_is_its_own() {
        for (word, priority) in [
            ("interactive", Priority::Interactive),
            ("standard", Priority::Standard),
            ("batch", Priority::Batch),
            ("scavenger", Priority::Scavenger),
        ] {
            let settings = settings("", &format!("    priority: {word}"));
            assert_eq!(settings.apps[0].priority, priority, "{word}");
        }
    }
}
