//! How a tenant's limits are shared: what it allows, and what each app may have of that.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::later;
use crate::reading::{Entry, Reading};
use crate::scalar::{KNOWN_LIMITS, LimitType, Scalar};
use crate::{AppRate, Concurrency, Limit, Priority, Rate, file};

pub(super) fn concurrency(file: file::Concurrency, reading: &mut Reading<'_>) -> Concurrency {
    let known = KNOWN_LIMITS.map(|(name, limit)| (name.into(), Limit { limit, enforce: true }));
    let mut limits = BTreeMap::from(known);
    let (mut places, mut first) = (HashMap::<Arc<str>, _>::new(), HashMap::new());
    for Entry { name, value } in file.limits.value.into_iter().flat_map(|limits| limits.entries) {
        // What is no name of a limit type was told already.
        if LimitType::read(&name.value, Path::new("")).is_err() {
            continue;
        }
        // An answer names its limit type in whatever case, and must mean one pool.
        if let Some(first) = first.insert(name.value.to_ascii_lowercase(), name.value.clone()) {
            let message = format!("`{first}` and `{}` are the same limit type", name.value);
            reading.tell_at(&name, message);
        }
        let Some(file::LimitOrAlone(file::Limit { limit, enforce })) = value else { continue };
        let key = Arc::from(name.value.as_str());
        let by_default = limits.get(&key).map(|known| known.limit);
        if by_default.is_none() && !limit.written {
            let message = "the key `limit` is missing: no default is known for this limit type";
            reading.tell_at(&name, message);
        }
        let figure = limit.value.as_ref().map(|at| at.value.0);
        if let Some(figure) = figure.or(by_default) {
            limits.insert(Arc::clone(&key), Limit { limit: figure, enforce: enforce.value });
        }
        if let Some(limit) = limit.value {
            places.insert(key, limit);
        }
    }
    let headroom = file.headroom.value.0;
    for (name, Limit { limit, .. }) in &limits {
        if limit.get() > headroom {
            continue;
        }
        let message = format!(
            "`headroom` must leave at least 1 of every limit, but it is {headroom}, and the limit \
             of `{name}` is {limit}"
        );
        match places.get(name) {
            Some(limit) => reading.tell_at(&later(&file.headroom, limit), message),
            None => reading.tell_at(&file.headroom, message),
        }
    }
    Concurrency {
        limits,
        headroom,
        on_refusal: file.on_refusal.value,
        retry_after_cap: file.retry_after_cap.value.map(|at| at.value),
    }
}

pub(super) fn rate(file: &file::Rate, reading: &mut Reading<'_>) -> Rate {
    let windows = [
        ("per_minute", &file.per_minute),
        ("per_hour", &file.per_hour),
        ("per_day", &file.per_day),
    ];
    let written = windows.iter().filter_map(|(key, at)| Some((*key, *at, at.value?.0)));
    let written: Vec<_> = written.collect();
    for [(short, short_at, calls), (long, long_at, more)] in written.array_windows() {
        if calls > more {
            let message = format!(
                "`{short}` is {calls} and `{long}` only {more}: write what Zuora allows in each, \
                 or `null` where it has no such limit"
            );
            reading.tell_at(&later(short_at, long_at), message);
        }
    }
    let [per_minute, per_hour, per_day] = windows.map(|(_, at)| at.value.map(|calls| calls.0));
    Rate { per_minute, per_hour, per_day, enforce: file.enforce.value }
}

pub(super) fn app_rate(file: file::AppRate) -> Option<AppRate> {
    let per_second = file.per_second.0?.value.0;
    let burst = file.burst.value.map_or(per_second, |at| at.value.0);
    Some(AppRate { per_second, burst, enforce: file.enforce.value })
}

/// A reserve that the app's own keys contradict.
pub(super) fn tell_reserve_that_cannot_be(file: &file::App, reading: &mut Reading<'_>) {
    let reserve = &file.reserve;
    if reserve.value.0 == 0 {
        return;
    }
    if file.priority.value == Priority::Scavenger {
        let message = "a `scavenger` has only what nobody else wants, so it cannot have a \
                       `reserve`: leave one of them out";
        reading.tell_at(&later(reserve, &file.priority), message);
    }
    if let Some(cap) = &file.max_in_flight.value
        && reserve.value.0 > cap.value.0.get()
    {
        let message = format!(
            "`reserve` is {} and `max_in_flight` only {}: the app could never use what is reserved",
            reserve.value.0, cap.value.0
        );
        reading.tell_at(&later(reserve, cap), message);
    }
}

/// What apps are promised must be there to be had.
pub(super) fn tell_reserves_beyond_the_limit(file: &file::File, reading: &mut Reading<'_>) {
    let (Some(tenants), Some(apps)) = (&file.tenants.0, &file.apps.0) else { return };
    for Entry { name: tenant, value } in &tenants.entries {
        let Some(concurrency) = value.as_ref().map(|tenant| &tenant.concurrency) else { continue };
        let headroom = concurrency.headroom.value.0;
        // What leaves nothing at all was told already.
        let Some(limit) = default_limit(concurrency).filter(|limit| *limit > headroom) else {
            continue;
        };
        let left = limit - headroom;
        let of_tenant = |app: &&file::App| {
            let names = app.tenant.0.iter().flat_map(|names| &names.0.value);
            names.into_iter().any(|name| name.value.0 == tenant.value)
        };
        let apps = apps.entries.iter().filter_map(|app| app.value.as_ref()).filter(of_tenant);
        let reserves: Vec<_> = apps.map(|app| &app.reserve).collect();
        let all: u32 = reserves.iter().map(|reserve| reserve.value.0).sum();
        let mut so_far = 0;
        let too_much = reserves.iter().find(|reserve| {
            so_far += reserve.value.0;
            so_far > left
        });
        if let Some(reserve) = too_much {
            let message = format!(
                "the apps of `{}` reserve {all} permits together, and `Default` has {left} for \
                 them (its limit of {limit}, less `headroom`): reserve less",
                tenant.value
            );
            reading.tell_at(reserve, message);
        }
    }
}

/// The limit that most calls count against; `None` if what was written for it was told already.
fn default_limit(file: &file::Concurrency) -> Option<u32> {
    let (name, by_default) = KNOWN_LIMITS[0];
    let mut written = file.limits.value.iter().flat_map(|limits| &limits.entries);
    let Some(entry) = written.find(|entry| entry.name.value == name) else {
        return Some(by_default.get());
    };
    let file::LimitOrAlone(file::Limit { limit, .. }) = entry.value.as_ref()?;
    match (&limit.value, limit.written) {
        (Some(figure), _) => Some(figure.value.0.get()),
        (None, false) => Some(by_default.get()),
        (None, true) => None,
    }
}
