//! The tenant's data, and what each call does with it.
//!
//! Every object is kept once, as a flat record with camel-case fields; the
//! families of the API are views of it: nested under `/v1`, capitalised under
//! `/v1/object` and `/v1/action`, as it is under `/object-query`.

mod accounts;
mod actions;
mod catalogue;
pub(crate) mod dates;
mod elsewhere;
mod exports;
mod files;
mod object_query;
mod objects;
mod orders;
mod payments;
mod seed;
mod soap;
mod subscriptions;
mod table;
mod touched;
mod zoql;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use http::StatusCode;
use serde_json::{Map, Value, json};

use self::{exports::Exports, table::Table};
use crate::{
    answers::{self, Answer},
    call::Call,
    category::Category,
    operations::Family,
    options::Options,
};

/// A flat record.
pub(crate) type Record = Map<String, Value>;

/// More kinds of objects than this do not come about.
const MOST_KINDS: usize = 500;

/// More answers than this are not remembered at once, nor larger ones.
const MOST_ANSWERS: usize = 1_000;
const LARGEST_ANSWER: usize = 16 * 1024;

/// The data of a tenant.
#[derive(Debug)]
pub(crate) struct Store {
    tables: BTreeMap<String, Table>,
    base_url: String,
    /// Where the object store is.
    bucket_url: String,
    exports: Exports,
    job_time: Duration,
    page_size: usize,
    /// Answers to reads since the last change: until then they stay the same,
    /// and a tenant that is measured should not be what is slow.
    answers: HashMap<(String, bool), Answer>,
    /// What every id begins with.
    prefix: u32,
    /// The last number given to anything.
    sequence: u64,
}

impl Store {
    /// A tenant with the accounts and products of the options.
    pub(crate) fn new(options: &Options, base_url: &str, bucket_url: &str) -> Self {
        let mut store = Self {
            tables: BTreeMap::new(),
            base_url: base_url.trim_end_matches('/').to_owned(),
            bucket_url: bucket_url.to_owned(),
            exports: Exports::default(),
            job_time: options.job_time,
            page_size: options.page_size.max(1),
            answers: HashMap::new(),
            prefix: 0x8ad0_0000 | u32::try_from(options.seed & 0xffff).unwrap_or(0),
            sequence: 0,
        };
        seed::fill(&mut store, options.accounts, options.products);
        store
    }

    /// Executes a call; every call has an answer.
    pub(crate) fn execute(&mut self, call: &Call) -> Answer {
        if call.method != "GET" {
            self.answers.clear();
            return self.answer(call);
        }
        if is_about_jobs(call) {
            return self.answer(call);
        }
        let asked = (call.target.clone(), call.is_modern());
        if let Some(answer) = self.answers.get(&asked) {
            return answer.clone();
        }
        let answer = self.answer(call);
        if self.answers.len() >= MOST_ANSWERS {
            self.answers.clear();
        }
        if answer.bytes().is_none_or(|bytes| bytes.len() <= LARGEST_ANSWER) {
            self.answers.insert(asked, answer.clone());
        }
        answer
    }

    fn answer(&mut self, call: &Call) -> Answer {
        let parts = call.parts();
        let answer = match parts.as_slice() {
            ["v1", "connections"] => Some(Answer::ok(&json!({"success": true}))),
            ["v1", "accounts", rest @ ..] => self.accounts(call, rest),
            ["v1", "subscriptions", rest @ ..] => self.subscriptions(call, rest),
            ["v1", "orders", rest @ ..] => self.orders(call, rest),
            ["v1", "catalog", rest @ ..] => self.catalogue(call, rest),
            ["v1", "payment-methods", rest @ ..] => self.payment_methods(call, rest),
            ["v1", "batch-query", rest @ ..] => self.batch_query(call, rest),
            ["v1", "object", "export", rest @ ..] => self.exports(call, rest),
            ["v1", "object", kind, rest @ ..] => self.objects(call, kind, rest),
            ["v1", "action", action] => self.action(call, action),
            ["v1", "describe"] => Some(self.describe_all()),
            ["v1", "describe", kind] => Some(self.describe(kind)),
            ["v1", "usage", rest @ ..] => self.usage(call, rest),
            ["v1", "files" | "file", id] => {
                self.exported_file(call, id).or_else(|| files::download(call, id))
            }
            ["v1", "bulk", rest @ ..] => self.mass_updater(call, rest),
            ["v1", "uno", "data-backfill", "jobs", id] => self.backfill_job(call, id),
            ["v1", "listings", bytes] => self.listing(call, bytes),
            ["query", "jobs", rest @ ..] => self.data_query(call, rest),
            ["events", "event-triggers"] => self.event_triggers(call),
            ["workflows"] => self.workflows(call),
            ["apps", "services", ..] => self.soap(call),
            ["object-query", kind, rest @ ..] => self.object_query(call, kind, rest),
            ["v1", collection, rest @ ..] => self.collection(call, collection, rest),
            _ => None,
        };
        answer.unwrap_or_else(|| self.anything(call))
    }

    /// A list that every `/v1` resource has: its records, paged; and records
    /// by their key, made by `POST`, changed by `PUT`, removed by `DELETE`.
    fn collection(&mut self, call: &Call, collection: &str, rest: &[&str]) -> Option<Answer> {
        let kind = singular(collection);
        match (call.method.as_str(), rest) {
            ("GET", []) if self.tables.contains_key(&kind) => {
                Some(self.page(call, &kind, &camel(collection), |_| true, Value::Object))
            }
            ("GET", [key]) => {
                let mut found = self.find(&kind, key)?.clone();
                found.insert("success".into(), true.into());
                Some(Answer::ok(&Value::Object(found)))
            }
            ("POST", []) => {
                let number = self.next_number(&kind);
                let mut record = object(&call.json);
                record.entry("number").or_insert_with(|| number.clone().into());
                let id = self.insert(&kind, record);
                let body = json!({"success": true, "id": id, "number": number});
                Some(Answer::pretty(StatusCode::OK, &body))
            }
            ("PUT", [key]) => {
                let id = self.update(&kind, key, |record| merge(record, &call.json))?;
                Some(Answer::pretty(StatusCode::OK, &json!({"success": true, "id": id})))
            }
            ("DELETE", [key]) => {
                let id = self.remove(&kind, key)?;
                Some(Answer::pretty(StatusCode::OK, &json!({"success": true, "id": id})))
            }
            _ => None,
        }
    }

    /// The answer to calls that this tenant knows nothing special about.
    fn anything(&mut self, call: &Call) -> Answer {
        let read = matches!(call.method.as_str(), "GET" | "HEAD");
        match call.operation.family {
            Family::ObjectQuery if read => {
                answers::failure(Family::ObjectQuery, true, Category::NotFound, "Not found.")
            }
            Family::Nowhere => answers::html_not_found(),
            _ if read => Answer::ok(&json!({"success": true})),
            _ => {
                let id = self.next_id();
                Answer::pretty(StatusCode::OK, &json!({"success": true, "id": id}))
            }
        }
    }

    /// One page of a list under `/v1`, with an absolute `nextPage` while more follow.
    fn page(
        &self,
        call: &Call,
        kind: &str,
        field: &str,
        belongs: impl Fn(&Record) -> bool,
        view: impl Fn(Record) -> Value,
    ) -> Answer {
        let number = |name: &str| call.parameter(name).and_then(|text| text.parse::<usize>().ok());
        let size = number("pageSize").unwrap_or(self.page_size).clamp(1, self.page_size);
        let page = number("page").unwrap_or(1).max(1);
        let rows = self.rows(kind).filter(|row| belongs(row));
        let mut rows = rows.skip((page - 1).saturating_mul(size));
        let list: Vec<Value> = rows.by_ref().take(size).cloned().map(view).collect();
        let mut body = Record::new();
        body.insert(field.to_owned(), list.into());
        if rows.next().is_some() {
            body.insert("nextPage".into(), self.next_page(call, page + 1, size).into());
        }
        body.insert("success".into(), true.into());
        Answer::ok(&Value::Object(body))
    }

    fn next_page(&self, call: &Call, page: usize, size: usize) -> String {
        let kept = call.query.iter().filter(|(name, _)| name != "page" && name != "pageSize");
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept)
            .append_pair("page", &page.to_string())
            .append_pair("pageSize", &size.to_string())
            .finish();
        format!("{}{}?{query}", self.base_url, call.path)
    }

    fn rows(&self, kind: &str) -> impl Iterator<Item = &Record> {
        self.tables.get(kind).into_iter().flat_map(Table::rows)
    }

    fn find(&self, kind: &str, key: &str) -> Option<&Record> {
        self.tables.get(kind)?.find(key)
    }

    /// Adds a record and returns its id; the oldest of its kind goes when
    /// there are too many.
    fn insert(&mut self, kind: &str, mut record: Record) -> String {
        let id = self.next_id();
        let now = dates::now();
        record.insert("id".into(), id.clone().into());
        record.entry("createdDate").or_insert_with(|| now.clone().into());
        record.entry("updatedDate").or_insert_with(|| now.into());
        let kind = if self.tables.len() < MOST_KINDS { kind } else { "other" };
        self.tables.entry(kind.to_owned()).or_default().insert(record);
        id
    }

    fn update(
        &mut self,
        kind: &str,
        key: &str,
        change: impl FnOnce(&mut Record),
    ) -> Option<String> {
        let now = dates::now();
        self.tables.get_mut(kind)?.update(key, |record| {
            change(record);
            record.insert("updatedDate".into(), now.into());
        })
    }

    fn remove(&mut self, kind: &str, key: &str) -> Option<String> {
        self.tables.get_mut(kind)?.remove(key)
    }

    fn next_id(&mut self) -> String {
        self.sequence += 1;
        format!("{:08x}{:024x}", self.prefix, self.sequence)
    }

    /// A number as Zuora gives them: letters for the kind, then eight digits.
    fn next_number(&mut self, kind: &str) -> String {
        self.sequence += 1;
        let letters = match kind {
            "account" => "A",
            "subscription" => "A-S",
            "order" => "O-",
            "invoice" => "INV",
            "payment" => "P-",
            _ => "N-",
        };
        format!("{letters}{:08}", self.sequence)
    }
}

/// Whether the answer depends on the clock.
fn is_about_jobs(call: &Call) -> bool {
    matches!(
        call.parts().as_slice(),
        ["v1", "batch-query", ..] | ["v1", "object", "export", ..] | ["query", ..]
    )
}

/// The failure of a call whose object does not exist.
fn not_found(call: &Call, kind: &str, key: &str) -> Answer {
    let message = format!("Cannot find entity by key: '{key}' of {kind}.");
    answers::failure(call.operation.family, call.is_modern(), Category::NotFound, &message)
}

/// The failure of a call that lacks something.
fn missing(call: &Call, field: &str) -> Answer {
    let message = format!("Missing required value: '{field}'.");
    answers::failure(call.operation.family, call.is_modern(), Category::MissingField, &message)
}

/// The failure of a call whose body is no JSON object.
fn malformed(call: &Call) -> Answer {
    let message = "Malformed JSON request body.";
    answers::failure(call.operation.family, call.is_modern(), Category::Malformed, message)
}

fn object(value: &Value) -> Record {
    value.as_object().cloned().unwrap_or_default()
}

/// Takes over the fields that hold plain values.
fn merge(record: &mut Record, changes: &Value) {
    for (name, value) in changes.as_object().into_iter().flatten() {
        if name != "id" {
            record.insert(name.clone(), value.clone());
        }
    }
}

fn text<'a>(record: &'a Record, name: &str) -> &'a str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// `product-rate-plans` as the name of a table: `productrateplan`.
fn singular(collection: &str) -> String {
    let joined: String = collection
        .chars()
        .filter(|c| c.is_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect();
    match joined.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => joined.strip_suffix('s').map(str::to_owned).unwrap_or(joined),
    }
}

/// `credit-memos` as the name of a field: `creditMemos`.
fn camel(collection: &str) -> String {
    let mut parts = collection.split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut name, part| {
        let mut letters = part.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}
