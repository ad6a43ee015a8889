//! Object query: `/object-query/{objects}`, filtered, sorted, with a cursor.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{Record, Store, singular};
use crate::{
    answers::{self, Answer},
    call::Call,
    category::Category,
    operations::Family,
};

/// The largest page (Zuora: pagination guide).
const LARGEST_PAGE: usize = 99;

/// The page of who does not say.
const USUAL_PAGE: usize = 10;

#[derive(Debug)]
struct Filter {
    field: String,
    comparison: String,
    values: Vec<String>,
}

impl Store {
    pub(super) fn object_query(&self, call: &Call, name: &str, rest: &[&str]) -> Option<Answer> {
        let kind = singular(name);
        match (call.method.as_str(), rest) {
            ("GET", []) => Some(self.query_objects(call, &kind)),
            ("GET", [key]) => Some(match self.find(&kind, key) {
                Some(record) => Answer::ok(&self.expanded(call, &kind, record)),
                None => {
                    let message = format!("The {kind} with key {key} is not found.");
                    answers::failure(Family::ObjectQuery, true, Category::NotFound, &message)
                }
            }),
            _ => None,
        }
    }

    fn query_objects(&self, call: &Call, kind: &str) -> Answer {
        let wrong = |message: &str| {
            answers::failure(Family::ObjectQuery, true, Category::InvalidValue, message)
        };
        let size = match call.parameter("pageSize").map(str::parse::<usize>) {
            None => USUAL_PAGE,
            Some(Ok(size)) if (1..=LARGEST_PAGE).contains(&size) => size,
            Some(_) => return wrong("pageSize must be between 1 and 99."),
        };
        let start = match call.parameter("cursor").map(offset) {
            None => 0,
            Some(Some(offset)) => offset,
            Some(None) => return wrong("The cursor is invalid."),
        };
        let filters: Result<Vec<Filter>, String> = call
            .query
            .iter()
            .filter(|(name, _)| matches!(name.as_str(), "filter[]" | "filter"))
            .map(|(_, text)| read_filter(text))
            .collect();
        let filters = match filters {
            Ok(filters) => filters,
            Err(message) => return wrong(&message),
        };
        let mut found: Vec<&Record> = self
            .rows(kind)
            .filter(|record| filters.iter().all(|filter| filter.holds(record)))
            .collect();
        for (name, text) in call.query.iter().rev() {
            if matches!(name.as_str(), "sort[]" | "sort") {
                sort(&mut found, text);
            }
        }
        let page = found.iter().skip(start).take(size);
        let data: Vec<Value> = page.map(|record| self.expanded(call, kind, record)).collect();
        let end = start.saturating_add(data.len());
        let mut body = Record::new();
        body.insert("data".into(), data.into());
        if end < found.len() {
            body.insert("nextPage".into(), BASE64_STANDARD.encode(end.to_string()).into());
        }
        Answer::ok(&Value::Object(body))
    }

    /// A record with the related objects that `expand[]` asks for.
    fn expanded(&self, call: &Call, kind: &str, record: &Record) -> Value {
        let mut view: Record = record
            .iter()
            .filter(|(name, value)| !name.ends_with('_') && !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let wishes = call.query.iter().filter(|(name, _)| name.starts_with("expand"));
        for (_, wish) in wishes {
            if let Some(related) = self.related(kind, record, wish) {
                view.insert(wish.clone(), related);
            }
        }
        Value::Object(view)
    }

    /// The object that a record names, `billTo` or `account`, or the list of
    /// those that name it, `subscriptions` of an account.
    fn related(&self, kind: &str, record: &Record, wish: &str) -> Option<Value> {
        let named = super::text(record, &format!("{wish}Id"));
        let other = match wish {
            "billTo" | "soldTo" | "shipTo" => "contact".to_owned(),
            _ => wish.to_ascii_lowercase(),
        };
        if let Some(related) = self.find(&other, named) {
            return Some(Value::Object(related.clone()));
        }
        let owner = match kind {
            "account" => "accountId",
            "product" => "productId",
            "productrateplan" => "productRatePlanId",
            "subscription" => "subscriptionId",
            _ => return None,
        };
        let (id, many) = (super::text(record, "id"), singular(wish));
        let rows = self.rows(&many).filter(|row| super::text(row, owner) == id);
        Some(rows.take(LARGEST_PAGE).cloned().map(Value::Object).collect())
    }
}

impl Filter {
    fn holds(&self, record: &Record) -> bool {
        let field = match record.get(&self.field) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let first = self.values.first().map_or("", String::as_str);
        let order = match (field.parse::<f64>(), first.parse::<f64>()) {
            (Ok(left), Ok(right)) => left.total_cmp(&right),
            _ => field.as_str().cmp(first),
        };
        match self.comparison.as_str() {
            "EQ" => field == first,
            "NE" => field != first,
            "LT" => order.is_lt(),
            "LE" => order.is_le(),
            "GT" => order.is_gt(),
            "GE" => order.is_ge(),
            "SW" => field.starts_with(first),
            _ => self.values.contains(&field),
        }
    }
}

/// Reads `name.EQ:Amber` or `status.IN:[Active,Draft]`.
fn read_filter(text: &str) -> Result<Filter, String> {
    let wrong = || format!("The filter {text} is invalid.");
    let (left, value) = text.split_once(':').ok_or_else(wrong)?;
    let (field, comparison) = left.rsplit_once('.').ok_or_else(wrong)?;
    let comparison = comparison.to_ascii_uppercase();
    if !["EQ", "NE", "LT", "LE", "GT", "GE", "SW", "IN"].contains(&comparison.as_str()) {
        return Err(wrong());
    }
    let values = match value.strip_prefix('[').and_then(|value| value.strip_suffix(']')) {
        Some(list) => list.split(',').map(|one| one.trim().to_owned()).collect(),
        None => vec![value.to_owned()],
    };
    Ok(Filter { field: field.to_owned(), comparison, values })
}

/// Sorts by `name.ASC` or `name.DESC`.
fn sort(records: &mut [&Record], text: &str) {
    let (field, direction) = text.rsplit_once('.').unwrap_or((text, "ASC"));
    let key = |record: &&Record| match record.get(field) {
        Some(Value::String(text)) => text.clone(),
        other => other.map(Value::to_string).unwrap_or_default(),
    };
    records.sort_by_key(key);
    if direction.eq_ignore_ascii_case("desc") {
        records.reverse();
    }
}

fn offset(cursor: &str) -> Option<usize> {
    let decoded = BASE64_STANDARD.decode(cursor).ok()?;
    std::str::from_utf8(&decoded).ok()?.parse().ok()
}
