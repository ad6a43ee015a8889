//! From the file as written to the configuration as used: one function per
//! section, and the checks that concern more than one value.
//!
//! A part that is `None` was told already. Every part is looked at before the
//! first `?`, so that nothing stays untold.

mod asynchronous;
mod credentials;
mod sharing;
mod tenants;

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroUsize;

use aws_lc_rs::digest;
use zuora::Rule;

use crate::reading::{At, Entry, Named, Optional, Placed, Reading, nearest};
use crate::scalar::{Count, Digest, Text};
use crate::{
    Admin, App, AppSecret, CertificateName, Config, Listen, ListenCallouts, Log, Outcomes, Queue,
    Retry, Secret, Tenant, Timeouts, Tls, TrackIdPolicy, file,
};
use asynchronous::{
    asynchronous, registry, tell_apps_that_never_call, tell_outcomes_that_never_come,
};
use credentials::credentials;
use sharing::{
    app_rate, concurrency, rate, tell_reserve_that_cannot_be, tell_reserves_beyond_the_limit,
};
use tenants::{app_entities, called, entities, place, tell_shared_ways};

/// The configuration that `file` means, which counts only if nothing was told
/// while reading it.
pub(crate) fn resolve(file: file::File, reading: &mut Reading<'_>) -> Option<Config> {
    tell_shared_addresses(&file.listen, &file.admin, reading);
    tell_anonymous_from_afar(&file, reading);
    tell_reserves_beyond_the_limit(&file, reading);
    tell_certificates_that_nobody_asks_for(&file, reading);
    tell_apps_that_never_call(&file, reading);
    tell_outcomes_that_never_come(&file, reading);
    if file.state_dir.value.0.exists() && !file.state_dir.value.0.is_dir() {
        reading.tell_at(&file.state_dir, "there is a file of this name, not a directory");
    }

    let listen = listen(file.listen);
    let admin = admin(file.admin, reading);
    let async_requests = registry(&file.async_requests, reading);
    let app_names = file.apps.0.as_ref().map(|apps| names(&apps.entries));
    let tenants = file.tenants.0.map(|it| all_tenants(it, app_names.as_deref(), reading));
    let apps = file.apps.0.map(|apps| all_apps(apps, tenants.as_ref(), reading));
    let mut named = |name: &Optional<At<Text>>| {
        let name = name.value.as_ref().zip(apps.as_ref());
        name.map(|(name, apps)| find(name, "app", &apps.names, reading))
            .map_or(Some(None), |it| it.map(Some))
    };
    let (anonymous, single_use) = (named(&file.anonymous), named(&file.single_use));

    Some(Config {
        listen: listen?,
        admin,
        signing_key: file.signing_key.value.map(|at| at.value.0),
        state_dir: file.state_dir.value.0.components().collect(),
        async_requests,
        tenants: tenants?.values?,
        apps: apps?.values?,
        anonymous: anonymous?,
        single_use: single_use?,
        log: Log { format: file.log.format.value, level: file.log.level.value },
    })
}

/// Things with names: the names of all, and the things if all could be read.
struct All<T> {
    names: Vec<String>,
    values: Option<Vec<T>>,
}

fn listen(file: file::Listen) -> Option<Listen> {
    let tls = match file.tls.value {
        None => None,
        Some(file::Tls { certificate, key, client_ca }) => Some(Tls {
            certificate: certificate.0?.value.0,
            key: key.0?.value.0,
            client_ca: client_ca.value.map(|at| at.value.0),
        }),
    };
    Some(Listen {
        address: file.address.value,
        public_url: file.public_url.value.map(|at| at.value),
        tls,
        max_connections: size(file.max_connections.value),
        callouts: match file.callouts.value {
            None => None,
            Some(callouts) => Some(listen_callouts(callouts)?),
        },
    })
}

fn listen_callouts(file: file::ListenCallouts) -> Option<ListenCallouts> {
    let tls = match file.tls.value {
        None => None,
        Some(file::CalloutsTls { certificate, key }) => {
            Some(Tls { certificate: certificate.0?.value.0, key: key.0?.value.0, client_ca: None })
        }
    };
    Some(ListenCallouts { address: file.address.0?.value, tls })
}

fn admin(file: file::Admin, reading: &mut Reading<'_>) -> Admin {
    if !file.token.written && !file.address.value.ip().is_loopback() {
        let message = "`admin.token` is needed, because this is not a loopback address";
        reading.tell_at(&file.address, message);
    }
    Admin { address: file.address.value, token: file.token.value.map(|at| at.value) }
}

fn all_tenants(
    tenants: Named<crate::scalar::TenantName, file::Tenant>,
    apps: Option<&[String]>,
    reading: &mut Reading<'_>,
) -> All<Tenant> {
    if tenants.entries.is_empty() {
        reading.tell_at(&tenants.at, "at least one tenant is needed");
    }
    tell_shared_ways(&tenants.entries, reading);
    let names = names(&tenants.entries);
    let read = |Entry { name, value }| tenant(&name, value?, apps, reading);
    let values: Vec<_> = tenants.entries.into_iter().map(read).collect();
    All { names, values: values.into_iter().collect() }
}

fn tenant(
    name: &At<String>,
    file: file::Tenant,
    apps: Option<&[String]>,
    reading: &mut Reading<'_>,
) -> Option<Tenant> {
    let place = place(name, &file, reading);
    let entities = entities(file.entities, reading);
    let concurrency = concurrency(file.concurrency, reading);
    let rate = rate(&file.rate, reading);
    let has_soap_url = file.soap_url.written || file.environment.written;
    let credentials =
        file.credentials.0.and_then(|written| credentials(written, has_soap_url, reading));
    if file.retry.replay_buffer.value.0 > file.queue.max_bytes.value.0 {
        let message = "`retry.replay_buffer` must be at most `queue.max_bytes`";
        reading.tell_at(&later(&file.retry.replay_buffer, &file.queue.max_bytes), message);
    }
    let async_requests = asynchronous(file.r#async, apps, reading);
    let hosts = file.hosts.value.map(values).unwrap_or_default();
    let (base_url, soap_url) = place?;
    Some(Tenant {
        name: name.value.as_str().into(),
        base_url,
        soap_url,
        hosts: hosts.into_iter().map(|host| host.0.into()).collect(),
        path_prefix: file.path_prefix.value.map(|at| at.value.0.into()),
        ca_certificate: file.ca_certificate.value.map(|at| at.value.0),
        credentials: credentials?,
        entities,
        concurrency,
        rate,
        queue: Queue {
            max_requests: size(file.queue.max_requests.value),
            max_bytes: file.queue.max_bytes.value.0,
            timeout: file.queue.timeout.value,
        },
        retry: Retry {
            attempts: file.retry.attempts.value.0,
            budget: file.retry.budget.value.0,
            mint_idempotency_keys: file.retry.mint_idempotency_keys.value,
            contended_writes: file.retry.contended_writes.value,
            replay_buffer: file.retry.replay_buffer.value.0,
        },
        lanes: file.lanes.value,
        timeouts: Timeouts {
            connect: file.timeouts.connect.value,
            response: file.timeouts.response.value,
        },
        track_id: TrackIdPolicy {
            valid: file.track_id.valid.value,
            invalid: file.track_id.invalid.value,
        },
        async_requests: async_requests?,
    })
}

fn all_apps(
    apps: Named<crate::scalar::AppName, file::App>,
    tenants: Option<&All<Tenant>>,
    reading: &mut Reading<'_>,
) -> All<App> {
    if apps.entries.is_empty() {
        reading.tell_at(&apps.at, "at least one app is needed");
    }
    tell_shared_credentials(&apps.entries, reading);
    let names = names(&apps.entries);
    let read = |Entry { name, value }| app(&name, value?, tenants, reading);
    let values: Vec<_> = apps.entries.into_iter().map(read).collect();
    All { names, values: values.into_iter().collect() }
}

fn app(
    name: &At<String>,
    file: file::App,
    tenants: Option<&All<Tenant>>,
    reading: &mut Reading<'_>,
) -> Option<App> {
    let secrets = secrets(name, &file, reading);
    tell_reserve_that_cannot_be(&file, reading);
    let certificate = file.certificate.value.map(|it| certificate(name, it, reading));
    let mut makes_soap_calls = true;
    let tenants = file.tenant.0.zip(tenants).and_then(|(names, all)| {
        let found = called(&names.0, &all.names, reading)?;
        if let Some(all) = &all.values {
            makes_soap_calls = found.iter().any(|&tenant| all[tenant].soap_url.is_some());
        }
        let entities = app_entities(name, file.entities.value.as_ref(), &found, all, reading);
        Some((found, entities))
    });
    let allow = match file.allow.value {
        None => Vec::new(),
        Some(patterns) => {
            if patterns.value.is_empty() {
                let message = "an empty list would allow nothing; leave `allow` out to allow all";
                reading.tell_at(&patterns, message);
            }
            tell_entries_that_allow_nothing(
                &patterns.value,
                file.read_only.value,
                makes_soap_calls,
                reading,
            );
            values(patterns)
        }
    };
    let (tenants, entities) = tenants?;
    Some(App {
        name: name.value.as_str().into(),
        tenants,
        client_id: file.client_id.0?.value.0,
        secrets,
        certificate: match certificate {
            Some(certificate) => Some(certificate?),
            None => None,
        },
        priority: file.priority.value,
        weight: file.weight.value.0,
        reserve: file.reserve.value.0,
        max_in_flight: file.max_in_flight.value.map(|at| at.value.0),
        rate: match file.rate.value {
            Some(rate) => Some(app_rate(rate)?),
            None => None,
        },
        fairness_key: file.fairness_key.value.map(|at| at.value.0.as_str().into()),
        queue_timeout: file.queue_timeout.value.map(|at| at.value),
        allow,
        deny: file.deny.value.map(values).unwrap_or_default(),
        read_only: file.read_only.value,
        entities,
        outcomes: match file.outcomes.value {
            Some(Placed { value: file::Outcomes { url, secret }, .. }) => {
                Some(Outcomes { url: url.0?.value.0, secret: secret.0?.value.0 })
            }
            None => None,
        },
    })
}

/// Whoever writes down that an app may do something should hear where it may not all the same.
fn tell_entries_that_allow_nothing(
    allow: &[At<Rule>],
    read_only: bool,
    makes_soap_calls: bool,
    reading: &mut Reading<'_>,
) {
    for entry in allow {
        if entry.value.is_soap() && !makes_soap_calls {
            let message = "no tenant of this app has a `soap_url`, so it makes no SOAP calls";
            reading.tell_at(entry, message);
        } else if read_only && entry.value.names_only_writes() {
            reading.tell_at(entry, "`read_only` refuses every call that this names");
        }
    }
}

/// The secrets of an app: the one that it has, and the one that it had before.
fn secrets(name: &At<String>, file: &file::App, reading: &mut Reading<'_>) -> Vec<AppSecret> {
    let mut tell = |message| reading.tell_at(name, message);
    let (has_one, had_one) = (
        file.secret.written || file.secret_sha256.written,
        file.previous_secret.written || file.previous_secret_sha256.written,
    );
    if file.secret.written && file.secret_sha256.written {
        tell("write `secret` or `secret_sha256`, not both");
    }
    if file.previous_secret.written && file.previous_secret_sha256.written {
        tell("write `previous_secret` or `previous_secret_sha256`, not both");
    }
    match (has_one, had_one, file.certificate.written) {
        (false, false, false) => {
            tell("one of the keys `secret`, `secret_sha256` and `certificate` is needed");
        }
        (false, true, _) => tell("a previous secret without one that takes its place"),
        _ => {}
    }
    let read = |plain: &Optional<At<Secret>>, digest: &Optional<At<Digest>>| {
        let plain = plain.value.as_ref().map(|at| AppSecret::Plain(at.value.clone()));
        plain.or(digest.value.as_ref().map(|at| AppSecret::Sha256(at.value.0)))
    };
    let now = read(&file.secret, &file.secret_sha256);
    let before = read(&file.previous_secret, &file.previous_secret_sha256);
    if let (Some(now), Some(before)) = (&now, &before)
        && digest_of(now) == digest_of(before)
    {
        tell("the previous secret is the same as the one that takes its place");
    }
    now.into_iter().chain(before).collect()
}

fn digest_of(secret: &AppSecret) -> Vec<u8> {
    match secret {
        AppSecret::Plain(secret) => {
            digest::digest(&digest::SHA256, secret.expose().as_bytes()).as_ref().to_vec()
        }
        AppSecret::Sha256(digest) => digest.to_vec(),
    }
}

fn certificate(
    app: &At<String>,
    file: file::Certificate,
    reading: &mut Reading<'_>,
) -> Option<CertificateName> {
    if file.subject.written == file.san.written {
        let path = format!("{}.certificate", app.path);
        reading.tell(app.place, &path, "one of the keys `subject` and `san` is needed, not both");
    }
    let subject = file.subject.value.map(|at| CertificateName::Subject(at.value.0));
    subject.or(file.san.value.map(|at| CertificateName::Alt(at.value.0)))
}

/// A certificate that clients are not asked for would let nobody in.
fn tell_certificates_that_nobody_asks_for(file: &file::File, reading: &mut Reading<'_>) {
    if file.listen.tls.value.as_ref().is_some_and(|tls| tls.client_ca.written) {
        return;
    }
    for Entry { name, value } in file.apps.0.iter().flat_map(|apps| &apps.entries) {
        if value.as_ref().is_some_and(|app| app.certificate.written) {
            let message = "`certificate` needs `listen.tls.client_ca`, the authorities that count";
            reading.tell_at(name, message);
        }
    }
}

/// Tells apps apart: by client id, by secret, which alone is a credential too,
/// and by certificate.
fn tell_shared_credentials(apps: &[Entry<file::App>], reading: &mut Reading<'_>) {
    let mut client_ids = HashMap::new();
    let mut secrets = HashMap::new();
    let mut certificates = HashMap::new();
    for Entry { name, value } in apps {
        let Some(app) = value else { continue };
        if let Some(id) = &app.client_id.0 {
            let key = id.value.0.to_ascii_lowercase();
            tell_shared(&mut client_ids, key, id, name, "client id", reading);
        }
        for secret in [&app.secret, &app.previous_secret].into_iter().flat_map(|it| &it.value) {
            let digest = digest_of(&AppSecret::Plain(secret.value.clone()));
            tell_shared(&mut secrets, digest, secret, name, "secret", reading);
        }
        let digests = [&app.secret_sha256, &app.previous_secret_sha256];
        for secret in digests.into_iter().flat_map(|it| &it.value) {
            tell_shared(&mut secrets, secret.value.0.to_vec(), secret, name, "secret", reading);
        }
        let Some(certificate) = &app.certificate.value else { continue };
        if let Some(subject) = &certificate.subject.value {
            let mut attributes = subject.value.0.clone();
            attributes.sort_unstable();
            let key = CertificateName::Subject(attributes);
            tell_shared(&mut certificates, key, subject, name, "certificate", reading);
        }
        if let Some(alt) = &certificate.san.value {
            let key = CertificateName::Alt(alt.value.0.to_ascii_lowercase());
            tell_shared(&mut certificates, key, alt, name, "certificate", reading);
        }
    }
}

fn tell_shared<'n, K: Eq + Hash, T>(
    seen: &mut HashMap<K, &'n str>,
    key: K,
    at: &At<T>,
    name: &'n At<String>,
    what: &str,
    reading: &mut Reading<'_>,
) {
    match seen.get(&key) {
        // An app with both of `secret` and `secret_sha256`, or one secret twice, is told elsewhere.
        Some(&first) if first != name.value => {
            let message = format!("the apps `{first}` and `{}` have the same {what}", name.value);
            reading.tell_at(at, message);
        }
        Some(_) => {}
        None => {
            seen.insert(key, &name.value);
        }
    }
}

/// One port cannot be listened on twice.
fn tell_shared_addresses(listen: &file::Listen, admin: &file::Admin, reading: &mut Reading<'_>) {
    let callouts = listen.callouts.value.as_ref().and_then(|it| it.address.0.as_ref());
    let callouts = callouts.map(|address| ("listen.callouts.address", address));
    let own = [("listen.address", &listen.address), ("admin.address", &admin.address)];
    let all: Vec<_> = own.into_iter().chain(callouts).collect();
    for (index, (key, at)) in all.iter().enumerate() {
        for (first, before) in &all[..index] {
            if at.value == before.value && at.value.port() != 0 {
                let message = format!("`{first}` and `{key}` are both {}", at.value);
                reading.tell_at(&later(before, at), message);
            }
        }
    }
}

/// Whoever can connect would be the anonymous app.
fn tell_anonymous_from_afar(file: &file::File, reading: &mut Reading<'_>) {
    if let Some(anonymous) = &file.anonymous.value
        && !file.listen.address.value.ip().is_loopback()
    {
        let message = "only allowed while `listen.address` is a loopback address";
        reading.tell_at(anonymous, message);
    }
}

/// The index of the thing called `name`.
fn find(name: &At<Text>, kind: &str, all: &[String], reading: &mut Reading<'_>) -> Option<usize> {
    let found = all.iter().position(|known| *known == name.value.0);
    if found.is_none() {
        let hint = match nearest(&name.value.0, all.iter().map(String::as_str)) {
            Some(near) => format!(", did you mean `{near}`?"),
            None if all.is_empty() => String::new(),
            None => format!("; there is `{}`", all.join("`, `")),
        };
        reading.tell_at(name, format!("there is no {kind} of this name{hint}"));
    }
    found
}

/// The place of the one that was written later in the file. Where two values
/// contradict each other, one of them may be a default, and that has only the
/// place of the section above it.
fn later<A, B>(one: &At<A>, other: &At<B>) -> At<()> {
    let (one, other) = ((one.place, &one.path), (other.place, &other.path));
    let (place, path) = one.max(other);
    At { place, path: path.clone(), value: () }
}

fn values<T>(list: At<Vec<At<T>>>) -> Vec<T> {
    list.value.into_iter().map(|at| at.value).collect()
}

fn names<T>(entries: &[Entry<T>]) -> Vec<String> {
    entries.iter().map(|entry| entry.name.value.clone()).collect()
}

fn size<const MAX: u32>(Count(count): Count<MAX>) -> NonZeroUsize {
    // Where a usize is smaller than the figure, more could not be counted.
    NonZeroUsize::try_from(count).unwrap_or(NonZeroUsize::MAX)
}
