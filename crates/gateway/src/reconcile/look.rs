//! Looking up outcomes that stayed away in Zuora's callout history.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use async_requests::{Form, Key, Record, Registry, StoreError, Taken};
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use proxy::{Errand, ErrandFailed, Proxy};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Duration, Instant};
use zuora::callout_history::{HISTORY_PATH, MOST_RESENT, RESEND_PATH, history_query};
use zuora::{BadHistory, Callout, HistoryEntry, HistoryPage};

use super::{LONGEST_AWAY, Why, age, give_up};

/// How many requests are looked after at once, the oldest first.
const MOST_PENDING: usize = 10_000;

/// How many pages of the history are read in one look. Forty entries each. The next look reads on.
const MOST_PAGES: usize = 250;

/// How much earlier than the oldest request the history is read from: Zuora does not say in whose time zone it reads a
/// time, and none is further from UTC.
const ZONES: Duration = Duration::from_secs(14 * 60 * 60);

/// In how many looks once the callouts that Zuora takes for delivered are read as well: there are many of them, and few
/// of whom we do not know. They are before anything is given up, too.
const EVERYTHING_EACH: u32 = 4;

/// The longest pause before a callout is asked for once more.
const LONGEST_RESEND_PAUSE: Duration = Duration::from_secs(60 * 60);

/// How often callouts are asked for in one look, where asking for all at once was refused: enough to find two that are
/// gone among a thousand.
const MOST_QUESTIONS: usize = 40;

/// How many ids of callouts are remembered between looks.
const MOST_REMEMBERED: usize = 100_000;

/// How long requests of a tenant that is not configured are waited for: as long as where nothing else is said.
const UNCONFIGURED: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a tenant may have been missing in the file by mistake.
const MISTAKEN: Duration = Duration::from_secs(5 * 60);

/// What is known of a tenant that matters here.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The path at which the tenant's callouts arrive, or did.
    pub(crate) callouts_path: Arc<str>,
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
    begun: Instant,
    looks: u32,
    /// Callouts of which the registry knows.
    taken: HashSet<String>,
    /// Callouts that were asked for, and the requests that they are about: how often, and when last.
    resent: HashMap<String, (u32, Instant)>,
    /// Where each outcome was looked for, since Zuora was last of no help.
    searched: HashMap<Key, Searched>,
    /// By entity, what is left to be read.
    left: HashMap<Option<String>, Left>,
}

/// Where an outcome was looked for.
#[derive(Clone, Copy, Debug, Default)]
struct Searched {
    /// Since when it is among no callouts that failed, or those were asked for.
    failed: Option<Instant>,
    /// Whether it was not among all others either.
    all: bool,
}

/// What is left of a history that is longer than one look reads.
#[derive(Debug, Default)]
struct Left {
    failed: Option<Rest>,
    all: Option<Rest>,
}

/// A history to be read.
#[derive(Debug)]
struct Rest {
    query: String,
    /// When its first page was asked for: what is newer is not in it.
    since: SystemTime,
}

/// A callout that is to be sent once more.
#[derive(Debug)]
struct Wanted {
    id: String,
    /// The requests that it names.
    about: Vec<String>,
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
    #[error("Zuora answered {status} when asked to send callouts once more")]
    NotResent { status: u16 },
}

impl Look {
    pub(crate) fn new(proxy: Arc<Proxy>, registry: Arc<Registry>, tenant: Arc<str>) -> Self {
        let (taken, resent) = (HashSet::new(), HashMap::new());
        let (searched, left) = (HashMap::new(), HashMap::new());
        let begun = Instant::now();
        Self { proxy, registry, tenant, begun, looks: 0, taken, resent, searched, left }
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
        let overdue = |record: &&Record| {
            record.form == Form::Async && age(&self.registry, record) >= settings.reconcile_after
        };
        let overdue: Vec<_> = pending.iter().filter(overdue).collect();
        let mut seen = Seen { overdue: overdue.len(), ..Seen::default() };
        self.forget(&overdue);
        let mut trouble = None;
        for (entity, due) in by_entity(&overdue) {
            if let Err(met) = self.look_up(entity, &due, settings, &mut seen).await {
                // It may have more to tell the next time.
                for record in &due {
                    self.searched.remove(&record.key);
                }
                trouble = Some(met);
            }
        }
        self.looks = self.looks.wrapping_add(u32::from(!overdue.is_empty()));
        for record in &pending {
            if let Some(why) = self.why_given_up(record, settings) {
                seen.given_up += usize::from(give_up(&self.registry, record, why).await?);
            }
        }
        Ok((seen, trouble))
    }

    /// Gives up what has been waited for too long, of a tenant that cannot be asked as it is not configured.
    pub(crate) async fn run_alone(&self) -> Result<(), StoreError> {
        if self.begun.elapsed() < MISTAKEN {
            return Ok(());
        }
        let pending = self.registry.pending(&self.tenant, MOST_PENDING).await?;
        for record in pending.iter().filter(|it| age(&self.registry, it) >= UNCONFIGURED) {
            give_up(&self.registry, record, Why::NotConfigured).await?;
        }
        Ok(())
    }

    /// Why nobody need wait for a request any longer, if so. Jobs that can be asked for are for those who do to give up.
    fn why_given_up(&self, record: &Record, settings: &Settings) -> Option<Why> {
        let age = age(&self.registry, record);
        if age < settings.unknown_after {
            return None;
        }
        if record.form == Form::OrderJob {
            return record.zuora_id.is_none().then_some(Why::Nameless);
        }
        // What Zuora was asked for needs time to come.
        let patience = settings.reconcile_after;
        let searched = self.searched.get(&record.key).filter(|searched| searched.all);
        let searched = searched.and_then(|searched| searched.failed);
        if searched.is_some_and(|since| since.elapsed() >= patience) {
            return Some(Why::Searched);
        }
        let is_hopeless = age >= settings.unknown_after.saturating_mul(LONGEST_AWAY)
            && self.begun.elapsed() >= patience;
        is_hopeless.then_some(Why::NotSearched)
    }

    async fn look_up(
        &mut self,
        entity: Option<&str>,
        due: &[&Record],
        settings: &Settings,
        seen: &mut Seen,
    ) -> Result<(), Trouble> {
        let (now, path) = (self.registry.now(), &*settings.callouts_path);
        let oldest = due.iter().map(|record| record.begun).min();
        let from = oldest.unwrap_or(SystemTime::UNIX_EPOCH).checked_sub(ZONES);
        let from = from.unwrap_or(SystemTime::UNIX_EPOCH);
        let anew = |only_failed| Rest { query: history_query(from, only_failed), since: now };
        let mut names = Names::of(due);
        let mut undelivered = Vec::new();

        // In trouble all is read anew.
        let mut left = self.left.remove(&entity.map(str::to_owned)).unwrap_or_default();
        let failed = left.failed.take().unwrap_or_else(|| anew(true));
        let failed_since = failed.since;
        left.failed =
            self.read(entity, failed, path, &mut names, Some(&mut undelivered), seen).await?;
        let mut all_since = None;
        if !names.is_empty() && (left.all.is_some() || self.is_time_for_all(due, settings)) {
            let all = left.all.take().unwrap_or_else(|| anew(false));
            let since = all.since;
            left.all = self.read(entity, all, path, &mut names, None, seen).await?;
            all_since = left.all.is_none().then_some(since);
        }
        let failed_since = left.failed.is_none().then_some(failed_since);
        if names.is_empty() {
            return Ok(());
        }
        if left.failed.is_some() || left.all.is_some() {
            tracing::info!(
                tenant = &*self.tenant,
                pages = MOST_PAGES,
                "Zuora's callout history is longer than is read at once: it is read on in the next look"
            );
            self.left.insert(entity.map(str::to_owned), left);
        }

        let wanted = undelivered.iter().filter_map(|entry| Wanted::of(entry, &names));
        let wanted: Vec<_> =
            wanted.filter(|it| self.may_resend(it, settings.reconcile_after)).collect();
        if !wanted.is_empty() && !self.resend(entity, &wanted, seen).await? {
            return Ok(());
        }
        for record in due {
            let was_due = |since: SystemTime| {
                since.duration_since(record.begun).unwrap_or_default() >= settings.reconcile_after
            };
            let searched = self.searched.entry(record.key.clone()).or_default();
            if failed_since.is_some_and(was_due) {
                searched.failed.get_or_insert_with(Instant::now);
            }
            searched.all |= all_since.is_some_and(was_due);
        }
        Ok(())
    }

    /// Whether the callouts that Zuora takes for delivered are to be read now.
    fn is_time_for_all(&self, due: &[&Record], settings: &Settings) -> bool {
        let is_last_chance = |record: &&Record| {
            age(&self.registry, record) >= settings.unknown_after
                && !self.searched.get(&record.key).is_some_and(|searched| searched.all)
        };
        self.looks % EVERYTHING_EACH == EVERYTHING_EACH - 1 || due.iter().any(is_last_chance)
    }

    /// Reads the history from there on, until all that is looked for is found, or enough is read for now; returns what is
    /// left then. What was not delivered and does not tell its outcome is put into `undelivered`, if that is wanted.
    async fn read(
        &mut self,
        entity: Option<&str>,
        Rest { mut query, since }: Rest,
        path: &str,
        names: &mut Names,
        mut undelivered: Option<&mut Vec<HistoryEntry>>,
        seen: &mut Seen,
    ) -> Result<Option<Rest>, Trouble> {
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
                _ => return Ok(None),
            }
        }
        Ok(Some(Rest { query, since }))
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

    /// Whether a callout may be asked for now: each time it was, or another about the same request, the pause is twice as
    /// long. Zuora may list what it sends again as another.
    fn may_resend(&self, wanted: &Wanted, first: Duration) -> bool {
        wanted.words().filter_map(|word| self.resent.get(word)).all(|(times, last)| {
            let pause =
                first.saturating_mul(2_u32.saturating_pow(*times)).min(LONGEST_RESEND_PAUSE);
            last.elapsed() >= pause
        })
    }

    /// Asks for callouts once more. Returns whether all could be asked for.
    async fn resend(
        &mut self,
        entity: Option<&str>,
        wanted: &[Wanted],
        seen: &mut Seen,
    ) -> Result<bool, Trouble> {
        let before = seen.resent;
        let asked = self.ask_for(entity, wanted, seen).await;
        tracing::info!(
            tenant = &*self.tenant,
            callouts = wanted.len(),
            taken = seen.resent - before,
            "asked Zuora to send callouts once more that did not arrive"
        );
        asked
    }

    /// Asks for as many at once as may be. Where one of them is gone all are refused for it: then for either half.
    async fn ask_for(
        &mut self,
        entity: Option<&str>,
        wanted: &[Wanted],
        seen: &mut Seen,
    ) -> Result<bool, Trouble> {
        let mut lots: Vec<&[Wanted]> = wanted.chunks(MOST_RESENT).rev().collect();
        for _ in 0..MOST_QUESTIONS {
            let Some(lot) = lots.pop() else { break };
            let ids: Vec<_> = lot.iter().map(|wanted| &wanted.id).collect();
            let target = PathAndQuery::from_static(RESEND_PATH);
            let errand = Errand::post(target, json!(ids).to_string()).to_entity(entity);
            let status = self.proxy.run(&self.tenant, errand).await?.status;
            match lot {
                _ if status.is_success() => {
                    seen.resent += lot.len();
                    self.note(lot.iter().flat_map(Wanted::words).collect());
                }
                _ if status != StatusCode::BAD_REQUEST => {
                    return Err(Trouble::NotResent { status: status.as_u16() });
                }
                [gone] => self.note(HashSet::from([&*gone.id])),
                _ => {
                    let (first, second) = lot.split_at(lot.len() / 2);
                    lots.extend([second, first]);
                }
            }
        }
        Ok(lots.is_empty())
    }

    /// Notes that these were asked for now.
    fn note(&mut self, words: HashSet<&str>) {
        for word in words {
            let (times, last) = self.resent.entry(word.to_owned()).or_insert((0, Instant::now()));
            (*times, *last) = (times.saturating_add(1), Instant::now());
        }
    }

    /// Forgets what matters no more to what is overdue now.
    fn forget(&mut self, overdue: &[&Record]) {
        if self.taken.len() > MOST_REMEMBERED {
            self.taken.clear();
        }
        if self.resent.len() > MOST_REMEMBERED {
            self.resent.clear();
        }
        let overdue_keys: HashSet<_> = overdue.iter().map(|record| &record.key).collect();
        self.searched.retain(|key, _| overdue_keys.contains(key));
        let entities: HashSet<_> = overdue.iter().map(|record| record.entity.as_deref()).collect();
        self.left.retain(|entity, _| entities.contains(&entity.as_deref()));
    }
}

impl Wanted {
    /// What is to be asked for of a callout that may be about one of these requests.
    fn of(entry: &HistoryEntry, names: &Names) -> Option<Self> {
        if !entry.may_be_about(|name| names.has(name)) {
            return None;
        }
        let about = entry.names().filter(|name| names.has(name)).map(str::to_owned);
        Some(Self { id: entry.id.clone()?, about: about.collect() })
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.id).chain(self.about.iter().map(|name| &**name))
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
