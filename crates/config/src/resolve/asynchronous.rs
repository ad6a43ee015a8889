//! Which writes are sent to `/v1/async`, how their outcomes come back, and what is kept of them.

use zuora::{AsyncForm, Operation, Rule};

use super::{find, later, size, values};
use crate::reading::{At, Entry, OneOrMore, Placed, Reading};
use crate::scalar::{Text, WhenAsked};
use crate::{Async, Callouts, Registry, Rewrite, When, file};

/// The operation that becomes a job, if an entry names it by itself.
const ORDER: &str = "POST_Order";

/// What is kept of async requests.
pub(super) fn registry(file: &file::AsyncRequests, reading: &mut Reading<'_>) -> Registry {
    let (records, pending) = (&file.max_records, &file.max_pending);
    if pending.value.0 > records.value.0 {
        let message = "`max_pending` must be at most `max_records`";
        reading.tell_at(&later(pending, records), message);
    }
    Registry {
        keep: file.keep.value.0,
        max_records: size(records.value),
        max_pending: size(pending.value),
    }
}

/// The async requests of a tenant. `apps` are the names of all apps, if they could be read.
pub(super) fn asynchronous(
    file: file::Async,
    apps: Option<&[String]>,
    reading: &mut Reading<'_>,
) -> Option<Async> {
    let (reconcile, unknown) = (&file.reconcile_after, &file.unknown_after);
    if unknown.value.0 <= reconcile.value {
        let message = "`unknown_after` must be longer than `reconcile_after`";
        reading.tell_at(&later(reconcile, unknown), message);
    }
    let (reconcile_after, unknown_after) = (reconcile.value, unknown.value.0);
    if let Some(rewrite) = &file.rewrite.value
        && !file.callouts.written
    {
        let message = "`rewrite` needs `callouts`: without them, nobody would hear of an outcome";
        reading.tell_at(rewrite, message);
    }
    let callouts = file.callouts.value.map(|it| callouts(it, reading));
    let entries = file.rewrite.value.map(|at| at.value).unwrap_or_default();
    let entries: Vec<_> = entries.into_iter().map(|it| rewrite(it, apps, reading)).collect();
    Some(Async {
        callouts: match callouts {
            Some(callouts) => Some(callouts?),
            None => None,
        },
        rewrite: entries.into_iter().collect::<Option<_>>()?,
        reconcile_after,
        unknown_after,
    })
}

fn callouts(file: file::Callouts, reading: &mut Reading<'_>) -> Option<Callouts> {
    let previous = file.previous_password.value;
    if let (Some(now), Some(before)) = (&file.password.0, &previous)
        && now.value.0.expose() == before.value.0.expose()
    {
        let message = "the previous password is the same as the one that takes its place";
        reading.tell_at(before, message);
    }
    Some(Callouts {
        public_url: file.public_url.0?.value.0,
        username: file.username.0?.value.0,
        password: file.password.0?.value.0,
        previous_password: previous.map(|at| at.value.0),
    })
}

fn rewrite(
    Placed { at, value: file }: Placed<file::Rewrite>,
    names: Option<&[String]>,
    reading: &mut Reading<'_>,
) -> Option<Rewrite> {
    let when = when(&at, &file, reading);
    let apps = file.apps.value.map(|written| meant(&written, names, reading));
    let operations = file.operations.value;
    if let Some(written) = operations.as_ref().filter(|written| written.value.is_empty()) {
        reading.tell_at(written, "an empty list; leave `operations` out if all are meant");
    }
    let mut order_jobs = false;
    for entry in operations.iter().flat_map(|written| &written.value) {
        let named: Vec<_> = entry.value.operations().collect();
        order_jobs |= is_order(&named);
        if let Some(message) = why_not(&entry.value, &named, when) {
            reading.tell_at(entry, message);
        }
    }
    let apps = match apps {
        Some(apps) => apps?,
        None => Vec::new(),
    };
    let operations = operations.map(values).unwrap_or_default();
    Some(Rewrite { apps, operations, order_jobs, when: when? })
}

/// The apps that an entry of `rewrite` speaks of.
fn meant(
    written: &At<Vec<At<Text>>>,
    names: Option<&[String]>,
    reading: &mut Reading<'_>,
) -> Option<Vec<usize>> {
    let names = names?;
    if written.value.is_empty() {
        reading.tell_at(written, "an empty list; leave `apps` out if all are meant");
    }
    let found: Vec<_> =
        written.value.iter().map(|name| find(name, "app", names, reading)).collect();
    for (at, name) in written.value.iter().enumerate() {
        if found[at].is_some() && found[..at].contains(&found[at]) {
            reading.tell_at(name, "this app is in the list already");
        }
    }
    found.into_iter().collect()
}

fn when(at: &At<()>, file: &file::Rewrite, reading: &mut Reading<'_>) -> Option<When> {
    if file.when.written == file.when_waiting.written {
        let message = "one of the keys `when` and `when_waiting` is needed, not both";
        reading.tell_at(at, message);
    }
    let asked = file.when.value.as_ref().map(|at| match at.value {
        WhenAsked::Always => When::Always,
        WhenAsked::OnRequest => When::OnRequest,
        WhenAsked::Never => When::Never,
    });
    asked.or(file.when_waiting.value.as_ref().map(|at| When::Waiting(at.value)))
}

fn is_order(named: &[&Operation]) -> bool {
    matches!(named, [only] if only.id == ORDER)
}

/// Why an entry of `rewrite` cannot do what it says, if it cannot.
fn why_not(entry: &Rule, named: &[&Operation], when: Option<When>) -> Option<String> {
    if named.iter().any(|operation| operation.async_form == AsyncForm::Eligible) {
        return None;
    }
    if is_order(named) {
        let asks = matches!(when, None | Some(When::OnRequest | When::Never));
        let message = "an order becomes a job, and only on request: write `when: on_request`";
        return (!asks).then(|| message.to_owned());
    }
    Some(match named {
        _ if entry.is_soap() => "no SOAP call can be sent to `/v1/async`".to_owned(),
        [] => "no operation that is known is named by it".to_owned(),
        [only] => match only.async_form {
            AsyncForm::Unknown(why) => {
                format!("not known whether Zuora takes it at `/v1/async`: {why}")
            }
            AsyncForm::Ineligible(why) => format!("it is not for `/v1/async`: {why}"),
            AsyncForm::Eligible => return None,
        },
        more => format!("none of the {} operations that it names is for `/v1/async`", more.len()),
    })
}

/// Apps that `rewrite` names for a tenant which they do not call.
pub(super) fn tell_apps_that_never_call(file: &file::File, reading: &mut Reading<'_>) {
    let (Some(tenants), Some(apps)) = (&file.tenants.0, &file.apps.0) else { return };
    for Entry { name: tenant, value } in &tenants.entries {
        let rewrite = value.iter().flat_map(|tenant| &tenant.r#async.rewrite.value);
        let entries = rewrite.flat_map(|at| &at.value);
        for name in entries.flat_map(|it| &it.value.apps.value).flat_map(|at| &at.value) {
            let app = apps.entries.iter().find(|app| app.name.value == name.value.0);
            let called = app.and_then(|app| app.value.as_ref()?.tenant.0.as_ref());
            let calls = |called: &OneOrMore<Text>| {
                called.0.value.iter().any(|called| called.value.0 == tenant.value)
            };
            if called.is_some_and(|called| !calls(called)) {
                reading.tell_at(name, "this app does not call this tenant");
            }
        }
    }
}

/// Outcomes that apps want to have forwarded, and none of their tenants would tell.
pub(super) fn tell_outcomes_that_never_come(file: &file::File, reading: &mut Reading<'_>) {
    let (Some(tenants), Some(apps)) = (&file.tenants.0, &file.apps.0) else { return };
    for app in apps.entries.iter().filter_map(|app| app.value.as_ref()) {
        let (Some(outcomes), Some(called)) = (&app.outcomes.value, &app.tenant.0) else { continue };
        let tenants = tenants.entries.iter().filter(|tenant| {
            called.0.value.iter().any(|called| called.value.0 == tenant.name.value)
        });
        let mut tenants = tenants.map(|tenant| &tenant.value).peekable();
        // A tenant that is not there, or could not be read, was told already.
        let may_tell = |tenant: &Option<file::Tenant>| {
            tenant.as_ref().is_none_or(|tenant| tenant.r#async.callouts.written)
        };
        if tenants.peek().is_some() && !tenants.any(may_tell) {
            let message = "no tenant of this app has `async.callouts`, so there are no outcomes";
            reading.tell_at(&outcomes.at, message);
        }
    }
}
