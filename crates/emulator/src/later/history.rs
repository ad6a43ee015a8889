//! The history of callouts: what was tried, and what came of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    calendar::{self, Calendar},
    options::{AsyncWrites, HistoryContext},
    tell::Notification,
};
use crate::{answers, answers::Answer, call::Call, category::Category};

/// The largest page, and the one that comes unasked (Zuora: the operation's description).
const PAGE: usize = 40;

/// What the time asked about begins with, before its end, unless told.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a link to the next page begins with: the sample in Zuora's description names such a host
/// and such a prefix.
const NEXT: &str = "https://localhost:8080/apps/v1/notification-history/callout";

#[derive(Debug)]
pub(super) struct History {
    capacity: usize,
    /// In the order of first attempts.
    entries: BTreeMap<u64, Entry>,
    /// Which of them has which id.
    by_id: HashMap<String, u64>,
    last: u64,
}

/// One callout, with its last attempt.
#[derive(Debug)]
struct Entry {
    notification: Arc<Notification>,
    created: Duration,
    attempt: u32,
    status: i32,
    content: Bytes,
}

impl History {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, entries: BTreeMap::new(), by_id: HashMap::new(), last: 0 }
    }

    /// Enters an attempt: the first of a callout, or its last.
    pub(super) fn enter(
        &mut self,
        notification: &Arc<Notification>,
        attempt: u32,
        status: i32,
        content: &Bytes,
        now: Duration,
    ) {
        let id = notification.id.as_str();
        if let Some(entry) = self.by_id.get(id).and_then(|at| self.entries.get_mut(at)) {
            entry.attempt = entry.attempt.max(attempt);
            entry.status = status;
            entry.content = content.clone();
            return;
        }
        self.last += 1;
        self.by_id.insert(id.to_owned(), self.last);
        let (notification, content) = (Arc::clone(notification), content.clone());
        let entry = Entry { notification, created: now, attempt, status, content };
        self.entries.insert(self.last, entry);
        while self.entries.len() > self.capacity
            && let Some((_, oldest)) = self.entries.pop_first()
        {
            self.by_id.remove(&oldest.notification.id);
        }
    }

    /// The callout of this id.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Notification>> {
        let entry = self.entries.get(self.by_id.get(id)?)?;
        Some(Arc::clone(&entry.notification))
    }

    /// Answers `GET /v1/notification-history/callout`, newest first.
    pub(super) fn answer(&self, call: &Call, options: &AsyncWrites, calendar: &Calendar) -> Answer {
        let Some(asked) = Asked::read(call, calendar.now()) else {
            let message = "The query parameter is not valid.";
            let family = call.operation.family;
            return answers::failure(family, call.is_modern(), Category::BadQuery, message);
        };
        let mut matching = self.entries.values().rev().filter(|entry| asked.means(entry));
        let mut rest = matching.by_ref().skip((asked.page - 1).saturating_mul(asked.page_size));
        let list: Vec<Value> =
            rest.by_ref().take(asked.page_size).map(|entry| entry.view(&asked, options)).collect();
        let mut body = Map::new();
        body.insert("calloutHistories".to_owned(), list.into());
        if rest.next().is_some() {
            body.insert("nextPage".to_owned(), asked.next_page(call).into());
        }
        body.insert("success".to_owned(), true.into());
        Answer::ok(&Value::Object(body))
    }
}

impl Entry {
    fn failed(&self) -> bool {
        !(200..300).contains(&self.status)
    }

    fn view(&self, asked: &Asked, options: &AsyncWrites) -> Value {
        let Notification { id, event, definition, body, .. } = &*self.notification;
        let mut view = json!({
            "attemptedNum": self.attempt,
            "createTime": calendar::exact_text(self.created),
            "eventCategory": event.name(),
            "notification": definition.name,
            "requestMethod": definition.method,
            "requestUrl": definition.url,
            "responseCode": self.status,
        });
        if options.history_ids {
            view["id"] = id.as_str().into();
        }
        match options.history_context {
            HistoryContext::Object => {
                view["eventContext"] = serde_json::from_slice(body).unwrap_or_default();
            }
            HistoryContext::Text => {
                view["eventContext"] = String::from_utf8_lossy(body).into_owned().into();
            }
            HistoryContext::Absent => {}
        }
        if asked.with_content {
            view["responseContent"] = String::from_utf8_lossy(&self.content).into_owned().into();
        }
        view
    }
}

/// What the query asks for.
#[derive(Debug)]
struct Asked {
    from: Duration,
    to: Duration,
    failed_only: bool,
    category: Option<String>,
    with_content: bool,
    page: usize,
    page_size: usize,
}

impl Asked {
    /// `None`: something in it cannot be read.
    fn read(call: &Call, now: Duration) -> Option<Self> {
        let time = |name: &str| match call.parameter(name) {
            Some(text) => calendar::read(text).map(Some),
            None => Some(None),
        };
        let number = |name: &str, otherwise: usize| match call.parameter(name) {
            Some(text) => text.parse().ok().filter(|number| *number > 0),
            None => Some(otherwise),
        };
        let flag = |name: &str, otherwise: bool| match call.parameter(name) {
            Some(text) => text.parse().ok(),
            None => Some(otherwise),
        };
        // Up to the end of the second that it names.
        let to = time("endTime")?.map_or(now, |to| to + Duration::from_secs(1));
        Some(Self {
            from: time("startTime")?.unwrap_or_else(|| to.saturating_sub(DAY)),
            to,
            failed_only: flag("failedOnly", true)?,
            category: call.parameter("eventCategory").map(str::to_owned),
            with_content: flag("includeResponseContent", false)?,
            page: number("page", 1)?,
            page_size: number("pageSize", PAGE)?.min(PAGE),
        })
    }

    fn means(&self, entry: &Entry) -> bool {
        (self.from..=self.to).contains(&entry.created)
            && (entry.failed() || !self.failed_only)
            && self.category.as_deref().is_none_or(|name| name == entry.notification.event.name())
    }

    fn next_page(&self, call: &Call) -> String {
        let kept = call.query.iter().filter(|(name, _)| name != "page" && name != "pageSize");
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("page", &(self.page + 1).to_string())
            .append_pair("pageSize", &self.page_size.to_string())
            .extend_pairs(kept)
            .finish();
        format!("{NEXT}?{query}")
    }
}
