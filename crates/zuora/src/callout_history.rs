//! Zuora's own record of the callouts that it made, where outcomes can be looked up that did not arrive.
//!
//! `GET /v1/notification-history/callout` tells of them in pages of at most forty (Zuora: API reference, "List callout
//! notification histories"). An entry is described without an id, and without a word on what the callout said; what an
//! entry holds besides is read where it can be understood.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::callout::Callout;

/// Where the history is.
pub const HISTORY_PATH: &str = "/v1/notification-history/callout";

/// Where callouts are asked for once more.
pub const RESEND_PATH: &str = "/notifications/callout-histories/resend";

/// How many can be asked for at once (Zuora: callout retries guide).
pub const MOST_RESENT: usize = 1000;

/// The most entries that a page holds.
const PAGE_SIZE: u32 = 40;

/// The longest word that may name a request: track ids have at most 64 characters, and ids of Zuora's fewer.
const LONGEST_NAME: usize = 64;

/// The members of an entry that may hold what the callout said. What was answered to it is not among them.
const BODIES: [&str; 7] = [
    "eventContext",
    "requestContent",
    "requestBody",
    "requestPayload",
    "content",
    "body",
    "payload",
];

/// A page of the history.
#[derive(Debug)]
pub struct HistoryPage {
    /// What it tells of.
    pub entries: Vec<HistoryEntry>,
    /// The query of the next page, if there is one. Whatever host and path Zuora names for it, they are the same.
    pub next: Option<String>,
}

/// A callout that Zuora made, or tried to.
pub struct HistoryEntry {
    /// By what it can be asked for once more.
    pub id: Option<String>,
    /// Where it was sent.
    pub url: Option<String>,
    /// What was answered; `None` if nothing was.
    pub response_code: Option<u16>,
    /// What it said, if the entry holds that.
    pub callout: Option<Callout>,
    /// The words that may name a request.
    names: HashSet<String>,
}

/// Why an answer is no page of the history.
#[derive(Debug, thiserror::Error)]
pub enum BadHistory {
    /// It is not JSON.
    #[error("it cannot be read")]
    Json(#[source] serde_json::Error),
    /// It lists nothing.
    #[error("it has no `calloutHistories`")]
    Shape,
}

/// The query of the first page: callouts made `from` that moment on, those that failed `only` or all.
#[must_use]
pub fn history_query(from: SystemTime, only_failed: bool) -> String {
    let from = written(from);
    format!(
        "failedOnly={only_failed}&startTime={from}&pageSize={PAGE_SIZE}&includeResponseContent=false"
    )
}

impl HistoryPage {
    /// Reads a page.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(body: &[u8]) -> Result<Self, BadHistory> {
        let mut body: Value = serde_json::from_slice(body).map_err(BadHistory::Json)?;
        let Value::Array(entries) = body["calloutHistories"].take() else {
            return Err(BadHistory::Shape);
        };
        let next = body.get("nextPage").and_then(Value::as_str);
        let next = next.and_then(|next| next.split_once('?'));
        let query = next.map(|(_, query)| query.split('#').next().unwrap_or_default());
        Ok(Self {
            entries: entries.iter().map(HistoryEntry::of).collect(),
            next: query.filter(|query| !query.is_empty()).map(str::to_owned),
        })
    }
}

impl HistoryEntry {
    fn of(entry: &Value) -> Self {
        let text = |name: &str| match entry.get(name) {
            Some(Value::String(text)) => Some(text.trim().to_owned()).filter(|it| !it.is_empty()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let told: Vec<_> = BODIES.iter().filter_map(|name| entry.get(*name)).map(opened).collect();
        let mut names = HashSet::new();
        told.iter().for_each(|told| gather(told, &mut names));
        Self {
            id: text("id"),
            url: text("requestUrl"),
            response_code: text("responseCode").and_then(|code| code.parse().ok()),
            callout: told.into_iter().find_map(|told| Callout::of(told).ok()),
            names,
        }
    }

    /// Whether whoever was called took it.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.response_code.is_some_and(|code| (200..300).contains(&code))
    }

    /// The words in it that may name a request.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether it may be about the request with one of these names: it says so, or names none at all.
    #[must_use]
    pub fn may_be_about(&self, named: impl Fn(&str) -> bool) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| named(name))
    }
}

/// What a member holds, be it JSON or a text of JSON.
fn opened(member: &Value) -> Value {
    let text = member.as_str().filter(|text| text.trim_start().starts_with('{'));
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| member.clone())
}

/// Gathers the words in `told` that may name a request.
fn gather(told: &Value, names: &mut HashSet<String>) {
    match told {
        Value::String(word) if word.len() <= LONGEST_NAME && !word.is_empty() => {
            names.insert(word.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, names)),
        Value::Object(members) => members.values().for_each(|member| gather(member, names)),
        _ => {}
    }
}

/// A moment as Zuora wants it here: `2026-01-31T12:00:00`, in UTC.
fn written(moment: SystemTime) -> String {
    let since_1970 = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since_1970.as_secs();
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let (year, month, day) = date(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of a number of days since 1970-01-01. The calendar repeats every 400 years, and in a year that
/// begins in March the leap day is the last (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let era_day = days % 146_097;
    let year_of_era = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let day_of_year = era_day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (days / 146_097 * 400 + year_of_era + u64::from(month <= 2), month, day)
}

// Callouts tell of customers' data: what is printed is where it went and what was answered.
impl fmt::Debug for HistoryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryEntry")
            .field("id", &self.id)
            .field("response_code", &self.response_code)
            .field("has_callout", &self.callout.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(value: &Value) -> HistoryEntry {
        HistoryEntry::of(value)
    }

    fn callout() -> Value {
        json!({"request": {"id": "R1", "trackId": "app-1"}, "state": "succeeded", "data": {"id": "8a"}})
    }

    #[test]
    fn a_page_is_read_as_zuora_describes_it() {
        let body = json!({
            "calloutHistories": [{
                "attemptedNum": 3, "createTime": "2025-10-15T13:53:36.310Z", "eventCategory": 1210,
                "eventContext": {"<Account.ID>": "402881e54ade80c8014ade884c48000b"},
                "notification": "New Subscription Created", "requestMethod": "POST",
                "requestUrl": "https://www.google.com", "responseCode": 405,
            }],
            "nextPage": "https://localhost:8080/apps/v1/notification-history/callout?page=2&pageSize=1",
            "success": true,
        });

        let page = HistoryPage::read(body.to_string().as_bytes()).unwrap();

        assert_eq!(page.next.as_deref(), Some("page=2&pageSize=1"));
        let [entry] = &page.entries[..] else { panic!("there is one") };
        assert_eq!(entry.url.as_deref(), Some("https://www.google.com"));
        assert_eq!((&entry.id, entry.response_code, &entry.callout), (&None, Some(405), &None));
        assert!(!entry.is_delivered());
        assert!(entry.may_be_about(|name| name == "402881e54ade80c8014ade884c48000b"));
        assert!(!entry.may_be_about(|name| name == "app-1"));
    }

    #[test]
    fn the_last_page_names_no_other() {
        for next in [json!(null), json!(""), json!("https://rest.zuora.com/v1/x"), json!("?")] {
            let body = json!({"calloutHistories": [], "nextPage": next}).to_string();
            assert_eq!(HistoryPage::read(body.as_bytes()).unwrap().next, None, "{body}");
        }
        assert!(HistoryPage::read(b"{}").is_err());
        assert!(HistoryPage::read(br#"{"success":false,"reasons":[]}"#).is_err());
        assert!(HistoryPage::read(b"<html>").is_err());
    }

    #[test]
    fn what_a_callout_said_is_found_as_json_and_as_text() {
        for name in BODIES {
            for told in [callout(), json!(callout().to_string())] {
                let entry = entry(&json!({name: told}));
                let found = entry.callout.as_ref().unwrap_or_else(|| panic!("{name}"));
                assert_eq!(found.request_id.as_deref(), Some("R1"));
                assert!(entry.may_be_about(|name| name == "app-1"), "{name}");
            }
        }
    }

    #[test]
    fn what_was_answered_and_what_customers_wrote_are_no_callout() {
        assert!(entry(&json!({"responseContent": callout()})).callout.is_none());
        let inside = json!({"eventContext": {"<Account.Name>": callout().to_string()}});
        assert!(entry(&inside).callout.is_none());
        assert!(entry(&json!({"eventContext": {"<Account>": callout()}})).callout.is_none());
    }

    #[test]
    fn codes_and_ids_are_read_as_text_and_as_numbers() {
        let text = entry(&json!({"id": "h1", "responseCode": "200"}));
        let numbers = entry(&json!({"id": 17, "responseCode": 503}));
        assert_eq!((text.id.as_deref(), text.is_delivered()), (Some("h1"), true));
        assert_eq!((numbers.id.as_deref(), numbers.is_delivered()), (Some("17"), false));
        let none = entry(&json!({"id": "", "responseCode": -1}));
        assert_eq!((none.id, none.response_code), (None, None));
    }

    #[test]
    fn an_entry_that_names_nothing_may_be_about_anything() {
        assert!(entry(&json!({"responseCode": 500})).may_be_about(|_| false));
    }

    #[test]
    fn moments_are_written_without_a_zone() {
        let from = SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_400 + 3_661);
        assert_eq!(
            history_query(from, true),
            "failedOnly=true&startTime=2000-02-29T01:01:01&pageSize=40&includeResponseContent=false"
        );
        assert!(
            history_query(SystemTime::UNIX_EPOCH, false).contains("startTime=1970-01-01T00:00:00&")
        );
    }
}
