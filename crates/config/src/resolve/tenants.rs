//! Which tenants there are and where, how apps mean one, and which entities.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use zuora::DataCentre;

use super::{All, find};
use crate::reading::{At, Entry, Optional, Reading};
use crate::scalar::{Scalar, Text, Uuid};
use crate::{BaseUrl, Entity, Tenant, file};

/// Where a tenant's REST and SOAP APIs are; the latter may not be known.
pub(super) fn place(
    name: &At<String>,
    file: &file::Tenant,
    reading: &mut Reading<'_>,
) -> Option<(BaseUrl, Option<BaseUrl>)> {
    match (file.base_url.written, file.environment.written) {
        (false, false) => {
            reading.tell_at(name, "one of the keys `base_url` and `environment` is needed");
        }
        (true, true) => reading.tell_at(name, "write `base_url` or `environment`, not both"),
        _ => {}
    }
    let known = file.environment.value.as_ref().map(|at| at.value.0);
    let of_known = |url: fn(&DataCentre) -> &'static str| known.as_ref().map(url).map(read_url);
    let base_url = file.base_url.value.as_ref().map(|at| at.value.clone());
    let soap_url = file.soap_url.value.as_ref().map(|at| at.value.clone());
    Some((
        base_url.or_else(|| of_known(|known| known.base_url))?,
        soap_url.or_else(|| of_known(|known| known.soap_url)),
    ))
}

fn read_url(url: &str) -> BaseUrl {
    BaseUrl::read(url, "".as_ref()).expect("the table of environments holds base URLs")
}

/// Ways to mean a tenant that mean another one as well.
pub(super) fn tell_shared_ways(tenants: &[Entry<file::Tenant>], reading: &mut Reading<'_>) {
    let mut hosts = HashMap::<&str, &str>::new();
    let mut prefixes = Vec::<(&str, &str)>::new();
    for Entry { name, value } in tenants {
        let Some(tenant) = value else { continue };
        for host in tenant.hosts.value.iter().flat_map(|hosts| &hosts.value) {
            match hosts.insert(&host.value.0, &name.value) {
                Some(first) if first == name.value => {
                    reading.tell_at(host, "this host is in the list already");
                }
                Some(first) => {
                    reading.tell_at(host, format!("this host means the tenant `{first}` already"));
                }
                None => {}
            }
        }
        if let Some(prefix) = &tenant.path_prefix.value {
            let own = prefix.value.0.as_str();
            let first = prefixes.iter().find(|(other, _)| begins(own, other) || begins(other, own));
            if let Some((other, first)) = first {
                let message = format!(
                    "the tenant `{first}` has `{other}`: neither may be the beginning of the other"
                );
                reading.tell_at(prefix, message);
            }
            prefixes.push((own, &name.value));
        }
    }
}

/// Whether the first segments of `path` are those of `prefix`.
fn begins(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The entities of a tenant.
pub(super) fn entities(
    file: Optional<At<Vec<file::EntityOrId>>>,
    reading: &mut Reading<'_>,
) -> Vec<Entity> {
    let (mut ids, mut names) = (HashSet::new(), HashSet::new());
    let mut entities = Vec::new();
    let Some(written) = file.value else { return entities };
    if written.value.is_empty() {
        reading.tell_at(&written, "an empty list; leave `entities` out if there is only one");
    }
    for file::EntityOrId(file::Entity { id, name }) in written.value {
        let Some(id) = id.0 else { continue };
        if !ids.insert(id.value.0.to_ascii_lowercase()) {
            reading.tell_at(&id, "this entity is in the list already");
        }
        if let Some(name) = &name.value
            && !names.insert(name.value.0.clone())
        {
            reading.tell_at(name, "another entity has this name");
        }
        let name = name.value.map(|at| at.value.0.into());
        entities.push(Entity { id: id.value.0.into(), name });
    }
    entities
}

/// The tenants that an app calls.
pub(super) fn called(
    names: &At<Vec<At<Text>>>,
    tenants: &[String],
    reading: &mut Reading<'_>,
) -> Option<Vec<usize>> {
    if names.value.is_empty() {
        reading.tell_at(names, "at least one tenant is needed");
    }
    let found: Vec<_> =
        names.value.iter().map(|name| find(name, "tenant", tenants, reading)).collect();
    for (at, name) in names.value.iter().enumerate() {
        if found[at].is_some() && found[..at].contains(&found[at]) {
            reading.tell_at(name, "this tenant is in the list already");
        }
    }
    found.into_iter().collect()
}

/// The ids of the entities that an app may name, as its tenants write them.
pub(super) fn app_entities(
    name: &At<String>,
    written: Option<&At<Vec<At<Uuid>>>>,
    called: &[usize],
    tenants: &All<Tenant>,
    reading: &mut Reading<'_>,
) -> Vec<Arc<str>> {
    let (Some(written), Some(tenants)) = (written, &tenants.values) else { return Vec::new() };
    if written.value.is_empty() {
        reading.tell_at(written, "an empty list; leave `entities` out if it may name all");
    }
    let called = || called.iter().map(|&tenant| &tenants[tenant]);
    let mut ids = Vec::<Arc<str>>::new();
    for entity in &written.value {
        let known = called().flat_map(|tenant| &tenant.entities);
        let found =
            known.map(|known| &known.id).find(|id| id.eq_ignore_ascii_case(&entity.value.0));
        match found {
            None => reading.tell_at(entity, "no tenant of this app has this entity"),
            Some(id) if ids.contains(id) => {
                reading.tell_at(entity, "this entity is in the list already");
            }
            Some(id) => ids.push(Arc::clone(id)),
        }
    }
    let is_shut = |tenant: &&Tenant| {
        !tenant.entities.is_empty() && !tenant.entities.iter().any(|it| ids.contains(&it.id))
    };
    if let Some(shut) = called().find(is_shut).filter(|_| !ids.is_empty()) {
        let message = format!(
            "`entities` names none of the tenant `{}`, so the app could not call it",
            shut.name
        );
        reading.tell_at(name, message);
    }
    ids
}
