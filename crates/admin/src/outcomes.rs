//! Async requests and the outcomes that could not be forwarded, as operators see them.

use std::sync::Arc;
use std::time::SystemTime;

use async_requests::{
    AppReadings, Delivery, Key, Record, Registry, Stage, StoreError, StoreReadings,
};
use serde_json::{Map, Value, json};
use telemetry::{AsyncReading, RegistryReading, log::rfc3339};

/// The most dead letters that one answer shows.
pub(crate) const MOST_SHOWN: usize = 1000;

/// How many dead letters are read at a time when all are tried again.
const STEP: usize = 256;

/// Which dead letters an operator means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// All, or all of a tenant.
    All { tenant: Option<Arc<str>> },
    /// One.
    One(Key),
}

impl Meant {
    /// Those that a query names: `tenant` and `track_id`, only `tenant`, or none of them. Nothing else may be in it, as
    /// whoever mistypes a name would mean all.
    pub(crate) fn read(query: &str) -> Result<Self, String> {
        let (mut tenant, mut track_id) = (None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let meant = match &*name {
                "tenant" => &mut tenant,
                "track_id" => &mut track_id,
                other => {
                    return Err(format!("`{other}` is not known: only tenant and track_id are"));
                }
            };
            if meant.replace(Arc::from(&*value)).is_some() {
                return Err(format!("`{name}` is there twice"));
            }
        }
        match (tenant, track_id) {
            (Some(tenant), Some(track_id)) => Ok(Self::One(Key { tenant, track_id })),
            (tenant, None) => Ok(Self::All { tenant }),
            (None, Some(_)) => {
                Err("a track_id names a request together with its tenant".to_owned())
            }
        }
    }

    /// The tenant and the track id that it names.
    pub(crate) fn names(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::All { tenant } => (tenant.as_deref(), None),
            Self::One(Key { tenant, track_id }) => (Some(tenant), Some(track_id)),
        }
    }

    fn is_meant(&self, record: &Record) -> bool {
        match self {
            Self::All { tenant } => tenant.as_ref().is_none_or(|it| *it == record.key.tenant),
            Self::One(key) => *key == record.key,
        }
    }
}

/// The dead letters that are meant, in the order of their keys, as many as one answer shows; and whether there are more.
pub(crate) async fn dead_letters(registry: &Registry, meant: &Meant) -> Result<Value, StoreError> {
    if let Meant::One(key) = meant {
        let found = registry.find(key).await?;
        let dead = found.filter(|it| it.delivery.as_ref().is_some_and(Delivery::is_dead));
        let shown: Vec<_> = dead.iter().map(dead_letter).collect();
        return Ok(json!({"dead_letters": shown, "more": false}));
    }
    let mut shown = Vec::new();
    let mut after = None;
    let more = loop {
        let page = registry.dead_letters(after, STEP).await?;
        let Some(last) = page.last() else { break false };
        after = Some(last.key.clone());
        let meant = page.iter().filter(|record| meant.is_meant(record));
        shown.extend(meant.map(dead_letter));
        if shown.len() > MOST_SHOWN {
            break true;
        }
    };
    shown.truncate(MOST_SHOWN);
    Ok(json!({"dead_letters": shown, "more": more}))
}

/// Has those that are meant tried again, and returns how many they were.
pub(crate) async fn revive(registry: &Arc<Registry>, meant: &Meant) -> Result<u64, StoreError> {
    if let Meant::One(key) = meant {
        return Ok(registry.revive(key).await?.is_some().into());
    }
    let (mut revived, mut after) = (0, None);
    loop {
        let page = registry.dead_letters(after, STEP).await?;
        let Some(last) = page.last() else { return Ok(revived) };
        after = Some(last.key.clone());
        for record in page.iter().filter(|record| meant.is_meant(record)) {
            revived += u64::from(registry.revive(&record.key).await?.is_some());
        }
    }
}

fn dead_letter(record: &Record) -> Value {
    let mut told = Map::new();
    let mut tell = |name: &str, value: Value| drop(told.insert(name.to_owned(), value));
    tell("tenant", (*record.key.tenant).into());
    tell("track_id", (*record.key.track_id).into());
    tell("app", (*record.app).into());
    tell("operation", record.operation.as_deref().into());
    tell("state", record.state.as_str().into());
    tell("ended", record.ended.map(rfc3339).into());
    if let Some(Delivery { stage: Stage::Dead(at), failed, trouble }) = &record.delivery {
        tell("given_up", rfc3339(*at).into());
        tell("attempts", (*failed).into());
        tell("trouble", trouble.as_deref().into());
    }
    told.into()
}

/// What there is, for the state of the whole.
pub(crate) fn state(readings: &StoreReadings, now: SystemTime) -> Value {
    let apps = readings.apps.iter().map(|app| {
        json!({
            "tenant": &*app.tenant,
            "app": &*app.app,
            "pending": app.pending,
            "oldest_pending_seconds": app.oldest_pending.map(|since| age(since, now).as_secs()),
            "unknown": app.unknown,
            "dead_letters": app.dead_letters,
        })
    });
    json!({
        "records": readings.records,
        "bytes": readings.bytes,
        "writable": readings.is_writable,
        "apps": apps.collect::<Vec<_>>(),
    })
}

pub(crate) fn reading(app: &AppReadings, now: SystemTime) -> AsyncReading<'_> {
    AsyncReading {
        tenant: &app.tenant,
        app: &app.app,
        pending: app.pending,
        oldest_pending: app.oldest_pending.map(|since| age(since, now)).unwrap_or_default(),
        unknown: app.unknown,
        dead_letters: app.dead_letters,
    }
}

pub(crate) fn registry_reading(readings: &StoreReadings) -> RegistryReading {
    RegistryReading { bytes: readings.bytes, records: readings.records }
}

/// How long ago that was.
fn age(since: SystemTime, now: SystemTime) -> std::time::Duration {
    now.duration_since(since).unwrap_or_default()
}

#[cfg(test)]
mod tests;
