//! Lists and jobs whose answers lead on with links, each in its own way.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::Store;
use crate::{
    answers::{Answer, Content, Repeated},
    call::Call,
};

/// How many event triggers and workflows there are.
const THERE_ARE: usize = 25;

/// The longest listing that may be asked for.
const LONGEST_LISTING: u64 = 16 * 1024 * 1024 * 1024;

impl Store {
    /// `GET /events/event-triggers`: `next` is absolute.
    pub(super) fn event_triggers(&self, call: &Call) -> Option<Answer> {
        let (list, next) = page_from(call, "Event trigger")?;
        let next = next.map(|start| {
            let limit = list.len();
            format!("{}/events/event-triggers?start={start}&limit={limit}", self.base_url)
        });
        Some(Answer::ok(&json!({"data": list, "next": next})))
    }

    /// `GET /workflows`: `next_page` is absolute, in a part of its own.
    pub(super) fn workflows(&self, call: &Call) -> Option<Answer> {
        if call.method != "GET" {
            return None;
        }
        let page = number(call, "page").unwrap_or(1).max(1);
        let length = number(call, "page_length").unwrap_or(20).clamp(1, 50);
        let first = (page - 1).saturating_mul(length).min(THERE_ARE);
        let last = (first + length).min(THERE_ARE);
        let list: Vec<Value> = (first..last).map(|nth| item(nth, "Workflow")).collect();
        let next_page = (last < THERE_ARE)
            .then(|| format!("{}/workflows?page={}&page_length={length}", self.base_url, page + 1));
        let pagination = json!({"page": page, "page_len": length, "next_page": next_page});
        Some(Answer::ok(&json!({"data": list, "pagination": pagination})))
    }

    /// The mass updater: `POST /v1/bulk`, then its files.
    pub(super) fn mass_updater(&mut self, call: &Call, rest: &[&str]) -> Option<Answer> {
        match (call.method.as_str(), rest) {
            ("POST", []) => {
                let key = self.next_id();
                Some(Answer::pretty(StatusCode::OK, &json!({"bulkKey": key, "success": true})))
            }
            ("GET", [key]) => Some(Answer::pretty(
                StatusCode::OK,
                &json!({
                    "actionType": "UpdateAccountingCode", "status": "COMPLETED", "success": true,
                    "uploadedFileUrl": format!("{}/v1/files/{key}-in", self.base_url),
                    "resultFileUrl": format!("{}/v1/files/{key}-out", self.base_url),
                    "totalCount": "10", "errorCount": "0", "processedCount": "10",
                }),
            )),
            _ => None,
        }
    }

    /// `GET /v1/uno/data-backfill/jobs/{id}`, with its `outputURL`.
    pub(super) fn backfill_job(&self, call: &Call, id: &str) -> Option<Answer> {
        let output = format!("{}/v1/files/{id}-out", self.base_url);
        let body = json!({
            "id": id, "status": "COMPLETED", "type": "BOOKING_DATE", "outputURL": output,
            "success": true,
        });
        (call.method == "GET").then(|| Answer::ok(&body))
    }

    /// A list of about so many bytes, made while it is sent:
    /// `GET /v1/listings/{bytes}`. It ends with an absolute `nextPage`, and
    /// with `?links=every` each row has one.
    pub(super) fn listing(&self, call: &Call, bytes: &str) -> Option<Answer> {
        let bytes = bytes.parse::<u64>().ok().filter(|bytes| *bytes <= LONGEST_LISTING)?;
        let next = format!("\"nextPage\":\"{}/v1/listings/{bytes}?page=2\"", self.base_url);
        let own = if call.parameter("links") == Some("every") {
            next.clone()
        } else {
            "\"nextBillDay\":\"https://example.com/not/ours\"".to_owned()
        };
        let row = format!(
            "{{\"id\":\"8ad08f74897c1e5e01897d3f5a0c1b2d\",\"number\":\"INV00001234\",\
             \"amount\":104.50,\"balance\":0E-9,\"currency\":\"USD\",\"status\":\"Posted\",\
             \"accountName\":\"Amber Trading \\\"1\\\"\",\"createdDate\":\"2026-01-31T12:00:00Z\",\
             {own}}}"
        );
        let (first, last) =
            (format!("{{\"invoices\":[{row}"), format!("],{next},\"success\":true}}"));
        let block = format!(",{row}").repeat(256);
        let times = bytes.saturating_sub((first.len() + last.len()) as u64) / block.len() as u64;
        let content = Content::Repeated(Box::new(Repeated {
            first: Bytes::from(first),
            block: Bytes::from(block),
            times,
            last: Bytes::from(last),
        }));
        Some(Answer { content, ..Answer::ok(&Value::Null) })
    }
}

/// A page by `start` and `limit`, and where the next begins.
fn page_from(call: &Call, name: &str) -> Option<(Vec<Value>, Option<usize>)> {
    if call.method != "GET" {
        return None;
    }
    let start = number(call, "start").unwrap_or(0).min(THERE_ARE);
    let end = (start + number(call, "limit").unwrap_or(10).clamp(1, 50)).min(THERE_ARE);
    let list = (start..end).map(|nth| item(nth, name)).collect();
    Some((list, (end < THERE_ARE).then_some(end)))
}

fn number(call: &Call, name: &str) -> Option<usize> {
    call.parameter(name)?.parse().ok()
}

fn item(nth: usize, name: &str) -> Value {
    json!({"id": format!("{:032x}", nth + 1), "name": format!("{name} {}", nth + 1), "active": true})
}
