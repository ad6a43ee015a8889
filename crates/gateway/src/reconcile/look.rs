//! Looking up outcomes that stayed away in Zuora's callout history.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use async_requests::{Form, Key, Record, Registry, StoreError, Taken};
use http::Uri;
use http::uri::PathAndQuery;
use proxy::{Errand, ErrandFailed, Proxy};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Duration, Instant};
use zuora::callout_history::{HISTORY_PATH, MOST_RESENT, RESEND_PATH, history_query};
use zuora::{BadHistory, Callout, HistoryEntry, HistoryPage};

/// How many requests are looked after at once, the oldest first.
const MOST_PENDING: usize = 10_000;

/// How many pages of the history are read in one look. Forty entries each.
const MOST_PAGES: usize = 250;

/// How much earlier than the oldest request the history is read from: Zuora does not say in whose time zone it reads a
/// time, and none is further from UTC.
const ZONES: Duration = Duration::from_secs(14 * 60 * 60);

/// In how many looks once the callouts that Zuora takes for delivered are read as well: there are many of them, and few
/// of whom we do not know.
const EVERYTHING_EACH: u32 = 4;

/// The longest pause before a callout is asked for once more.
const LONGEST_RESEND_PAUSE: Duration = Duration::from_secs(60 * 60);

/// How many callouts are asked for one by one, where asking for all at once was refused.
const MOST_ALONE: usize = 20;

/// How many ids of callouts are remembered between looks.
const MOST_REMEMBERED: usize = 100_000;

/// What is known of a tenant that matters here.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The path at which the tenant's callouts arrive; `None` if none come here.
    pub(crate) callouts_path: Option<Arc<str>>,
    /// How long an outcome may stay away before it is looked up.
    pub(crate) reconcile_after: Duration,
    /// How long it may stay away before it is called unknown.
    pub(crate) unknown_after: Duration,
}

/// Looks after the requests of one tenant, look after look.
#[derive(Debug)]
pub(crate) struct Look {
    proxy: Arc<Proxy>,
    registry: Arc<Registry>,
    tenant: Arc<str>,
    looks: u32,
    /// Callouts of which the registry knows.
    taken: HashSet<String>,
    /// Callouts that were asked for: how often, and when last.
    resent: HashMap<String, (u32, Instant)>,
}

/// What a look came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Requests whose outcome was still due to be looked up when it began.
    pub(crate) overdue: usize,
    /// Outcomes that were found.
    pub(crate) found: usize,
    /// Callouts that were asked for.
    pub(crate) resent: usize,
    /// Requests that were given up.
    pub(crate) given_up: usize,
}

/// Why nothing could be looked up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot ask Zuora for its callout history: {0}")]
    Errand(#[from] ErrandFailed),
    #[error("Zuora answered {status} when asked for its callout history")]
    Refused { status: u16 },
    #[error("cannot read Zuora's callout history")]
    Unreadable(#[from] BadHistory),
}

impl Look {
    pub(crate) fn new(proxy: Arc<Proxy>, registry: Arc<Registry>, tenant: Arc<str>) -> Self {
        let (taken, resent) = (HashSet::new(), HashMap::new());
        Self { proxy, registry, tenant, looks: 0, taken, resent }
    }

    /// Looks up what is overdue, gives up what has been for too long, and hands on the `jobs` that are to be followed. Returns
    /// what came of it, and why the history could not be read if it could not.
    pub(crate) async fn run(
        &mut self,
        settings: &Settings,
        jobs: &UnboundedSender<Record>,
    ) -> Result<(Seen, Option<Trouble>), StoreError> {
        let pending = self.registry.pending(&self.tenant, MOST_PENDING).await?;
        for job in pending.iter().filter(|record| record.form == Form::OrderJob) {
            // Gone only with whoever follows them.
            let _ = jobs.send(job.clone());
        }
        let mut seen = Seen::default();
        let overdue = |record: &&Record| {
            record.form == Form::Async && self.age(record) >= settings.reconcile_after
        };
        let overdue: Vec<_> = pending.iter().filter(overdue).collect();
        seen.overdue = overdue.len();
        let mut trouble = None;
        if let (Some(path), false) = (&settings.callouts_path, overdue.is_empty()) {
            self.forget();
            for (entity, due) in by_entity(&overdue) {
                let looked = self.look_up(entity, &due, path, settings, &mut seen).await;
                trouble = looked.err().or(trouble);
            }
            self.looks = self.looks.wrapping_add(1);
        }
        // Where Zuora could not be asked, it may well be the next time.
        let patience = match trouble {
            Some(_) => settings.unknown_after + settings.reconcile_after,
            None => settings.unknown_after,
        };
        for record in pending.iter().filter(|record| self.age(record) >= patience) {
            seen.given_up += usize::from(self.give_up(&record.key, settings).await?);
        }
        Ok((seen, trouble))
    }

    fn age(&self, record: &Record) -> Duration {
        self.registry.now().duration_since(record.begun).unwrap_or_default()
    }

    /// Says that nobody knows how a request ended. Returns whether that was news.
    async fn give_up(&self, key: &Key, settings: &Settings) -> Result<bool, StoreError> {
        let Some(record) = self.registry.give_up(key).await? else { return Ok(false) };
        tracing::warn!(
            tenant = &*self.tenant,
            app = &*record.app,
            track_id = &*key.track_id,
            zuora_id = record.zuora_id.as_deref(),
            operation = record.operation.as_deref(),
            waited_s = settings.unknown_after.as_secs(),
            "nobody knows how an asynchronous request ended: Zuora told no outcome, neither by callout nor in its history. \
             See at Zuora whether it was done, before it is done again"
        );
        Ok(true)
    }

    async fn look_up(
        &mut self,
        entity: Option<&str>,
        due: &[&Record],
        path: &str,
        settings: &Settings,
        seen: &mut Seen,
    ) -> Result<(), Trouble> {
        let oldest = due.iter().map(|record| record.begun).min();
        let from = oldest.unwrap_or(SystemTime::UNIX_EPOCH).checked_sub(ZONES);
        let from = from.unwrap_or(SystemTime::UNIX_EPOCH);
        let mut names = Names::of(due);
        let mut resend = Vec::new();
        self.read(entity, &history_query(from, true), path, &mut names, Some(&mut resend), seen)
            .await?;
        if self.looks % EVERYTHING_EACH == EVERYTHING_EACH - 1 && !names.is_empty() {
            self.read(entity, &history_query(from, false), path, &mut names, None, seen).await?;
        }
        let resend: Vec<_> = resend
            .into_iter()
            .filter(|entry| entry.may_be_about(|name| names.has(name)))
            .filter_map(|entry| entry.id)
            .filter(|id| self.may_resend(id, settings.reconcile_after))
            .collect();
        if !names.is_empty() && !resend.is_empty() {
            self.resend(entity, &resend, seen).await?;
        }
        Ok(())
    }

    /// Reads the history from this query on, until all that is looked for is found. What was not delivered and does not tell
    /// its outcome is put into `undelivered`, if that is wanted.
    async fn read(
        &mut self,
        entity: Option<&str>,
        query: &str,
        path: &str,
        names: &mut Names,
        mut undelivered: Option<&mut Vec<HistoryEntry>>,
        seen: &mut Seen,
    ) -> Result<(), Trouble> {
        let mut query = query.to_owned();
        for _ in 0..MOST_PAGES {
            let page = self.page(entity, &query).await?;
            for mut entry in page.entries {
                // What was sent elsewhere is about something else, which anybody's customer could have worded.
                if !entry.url.as_deref().is_some_and(|url| leads_to(url, path)) {
                    continue;
                }
                match entry.callout.take() {
                    Some(callout) => self.take_in(entry.id, callout, names, seen).await?,
                    None if entry.is_delivered() => {}
                    None => {
                        if let Some(undelivered) = &mut undelivered {
                            undelivered.push(entry);
                        }
                    }
                }
            }
            match page.next {
                // One that names itself would be read for ever.
                Some(next) if next != query && !names.is_empty() => query = next,
                _ => break,
            }
        }
        Ok(())
    }

    async fn page(&self, entity: Option<&str>, query: &str) -> Result<HistoryPage, Trouble> {
        let target = PathAndQuery::try_from(format!("{HISTORY_PATH}?{query}"));
        // A next page that cannot be asked for is none.
        let Ok(target) = target else { return Ok(HistoryPage { entries: Vec::new(), next: None }) };
        let reply = self.proxy.run(&self.tenant, Errand::get(target).to_entity(entity)).await?;
        if !reply.status.is_success() {
            return Err(Trouble::Refused { status: reply.status.as_u16() });
        }
        Ok(HistoryPage::read(&reply.body)?)
    }

    /// Takes in what the history tells of a callout, as if it had come.
    async fn take_in(
        &mut self,
        id: Option<String>,
        callout: Callout,
        names: &mut Names,
        seen: &mut Seen,
    ) -> Result<(), StoreError> {
        if id.as_ref().is_some_and(|id| self.taken.contains(id)) {
            return Ok(());
        }
        names.forget(&callout);
        let report = proxy::report(callout, None);
        let track_id = report.track_id.clone();
        let taken = self.registry.take_in(&self.tenant, report).await?;
        if let Taken::News(record) = taken {
            seen.found += 1;
            tracing::info!(
                tenant = &*self.tenant,
                app = &*record.app,
                track_id = track_id.as_deref(),
                state = record.state.as_str(),
                "found the outcome of an asynchronous request in Zuora's callout history"
            );
        }
        self.taken.extend(id);
        Ok(())
    }

    /// Whether a callout may be asked for now: each time it was, the pause is twice as long.
    fn may_resend(&self, id: &str, first: Duration) -> bool {
        self.resent.get(id).is_none_or(|(times, last)| {
            let pause =
                first.saturating_mul(2_u32.saturating_pow(*times)).min(LONGEST_RESEND_PAUSE);
            last.elapsed() >= pause
        })
    }

    /// Asks for callouts once more.
    async fn resend(
        &mut self,
        entity: Option<&str>,
        ids: &[String],
        seen: &mut Seen,
    ) -> Result<(), Trouble> {
        for ids in ids.chunks(MOST_RESENT) {
            let taken = match self.ask_for(entity, ids).await? {
                true => ids.len(),
                // One of them may be gone, and all were refused for it.
                false if ids.len() > 1 => {
                    let mut taken = 0;
                    for id in ids.iter().take(MOST_ALONE) {
                        let alone = std::slice::from_ref(id);
                        taken += usize::from(self.ask_for(entity, alone).await?);
                    }
                    taken
                }
                false => 0,
            };
            seen.resent += taken;
            tracing::info!(
                tenant = &*self.tenant,
                callouts = ids.len(),
                taken,
                "asked Zuora to send callouts once more that did not arrive"
            );
        }
        Ok(())
    }

    /// Returns whether Zuora will send them.
    async fn ask_for(&mut self, entity: Option<&str>, ids: &[String]) -> Result<bool, Trouble> {
        let errand = Errand::post(PathAndQuery::from_static(RESEND_PATH), json!(ids).to_string());
        let reply = self.proxy.run(&self.tenant, errand.to_entity(entity)).await?;
        for id in ids {
            let (times, last) = self.resent.entry(id.clone()).or_insert((0, Instant::now()));
            (*times, *last) = (times.saturating_add(1), Instant::now());
        }
        Ok(reply.status.is_success())
    }

    fn forget(&mut self) {
        if self.taken.len() > MOST_REMEMBERED {
            self.taken.clear();
        }
        if self.resent.len() > MOST_REMEMBERED {
            self.resent.clear();
        }
    }
}

/// The names of requests whose outcome is looked for.
#[derive(Debug)]
struct Names(HashSet<Arc<str>>, usize);

impl Names {
    fn of(records: &[&Record]) -> Self {
        let names = records.iter().flat_map(|record| {
            [Some(&record.key.track_id), record.zuora_id.as_ref()].into_iter().flatten().cloned()
        });
        Self(names.collect(), records.len())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    fn is_empty(&self) -> bool {
        self.1 == 0
    }

    /// It need not be looked for any more.
    fn forget(&mut self, callout: &Callout) {
        let named = [&callout.request_id, &callout.track_id].into_iter().flatten();
        let known = named.filter(|name| self.0.remove(name.as_str())).count();
        self.1 -= usize::from(known > 0).min(self.1);
    }
}

fn by_entity<'r>(overdue: &[&'r Record]) -> Vec<(Option<&'r str>, Vec<&'r Record>)> {
    let mut all: Vec<(Option<&str>, Vec<&Record>)> = Vec::new();
    for record in overdue {
        let entity = record.entity.as_deref();
        match all.iter_mut().find(|(known, _)| *known == entity) {
            Some((_, records)) => records.push(record),
            None => all.push((entity, vec![record])),
        }
    }
    all
}

/// Whether a callout to this address was sent to us. By which name Zuora reaches us does not matter: it may have changed.
fn leads_to(url: &str, path: &str) -> bool {
    let url: Option<Uri> = url.parse().ok();
    url.is_some_and(|url| url.path().trim_end_matches('/') == path)
}
