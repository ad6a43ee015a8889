//! CRUD: `/v1/object/{type}`, with capitalised fields.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Record, Store, dates, malformed, merge, object};
use crate::{
    answers::{self, Answer},
    call::Call,
    category::Category,
};

impl Store {
    pub(super) fn objects(&mut self, call: &Call, kind: &str, rest: &[&str]) -> Option<Answer> {
        let kind = kind_of(kind);
        match (call.method.as_str(), rest) {
            ("POST", []) => Some(match call.json.as_object() {
                Some(wish) => Answer::ok(&self.create_row(&kind, wish)),
                None => malformed(call),
            }),
            ("GET", [id]) => Some(match self.find(&kind, id) {
                Some(found) => Answer::ok(&Value::Object(capitalised(found))),
                None => Answer::json(
                    StatusCode::NOT_FOUND,
                    &json!({"size": 0, "records": [], "done": true}),
                ),
            }),
            ("PUT", [id]) => Some(Answer::ok(&self.update_row(&kind, id, &call.json))),
            ("DELETE", [id]) => Some(Answer::ok(&self.delete_row(&kind, id))),
            _ => None,
        }
    }

    /// Makes an object of capitalised fields; the row that tells of it.
    pub(super) fn create_row(&mut self, kind: &str, wish: &Record) -> Value {
        let mut record = uncapitalised(wish);
        if kind == "account" && !record.contains_key("name") {
            return answers::row_failure(Category::MissingField, "Missing required value: Name");
        }
        if kind == "account" {
            record.entry("status").or_insert_with(|| "Draft".into());
            let number = self.next_number(kind);
            record.entry("accountNumber").or_insert_with(|| number.into());
        }
        if kind == "product" {
            record.entry("effectiveStartDate").or_insert_with(|| dates::today().into());
            record.entry("effectiveEndDate").or_insert_with(|| dates::in_a_year().into());
        }
        let id = self.insert(kind, record);
        json!({"Success": true, "Id": id})
    }

    pub(super) fn update_row(&mut self, kind: &str, id: &str, changes: &Value) -> Value {
        let mut changes = uncapitalised(&object(changes));
        changes.remove("id");
        match self.update(kind, id, |record| merge(record, &Value::Object(changes))) {
            Some(id) => json!({"Success": true, "Id": id}),
            None => unknown(id),
        }
    }

    pub(super) fn delete_row(&mut self, kind: &str, id: &str) -> Value {
        match self.remove(kind, id) {
            Some(id) => json!({"success": true, "id": id, "Success": true, "Id": id}),
            None => unknown(id),
        }
    }
}

/// The table of a type: `product-rate-plan`, `ProductRatePlan` and
/// `productrateplan` are one.
pub(super) fn kind_of(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

/// `accountNumber` as `AccountNumber`; values of nested objects stay.
pub(super) fn capitalised(record: &Record) -> Record {
    let plain = record.iter().filter(|(name, _)| !name.ends_with('_'));
    plain
        .map(|(name, value)| (first_letter(name, char::to_ascii_uppercase), value.clone()))
        .collect()
}

fn uncapitalised(record: &Record) -> Record {
    let renamed = record.iter();
    renamed
        .map(|(name, value)| (first_letter(name, char::to_ascii_lowercase), value.clone()))
        .collect()
}

fn first_letter(name: &str, change: impl Fn(&char) -> char) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| change(&first)).into_iter().chain(letters).collect()
}

fn unknown(id: &str) -> Value {
    answers::row_failure(Category::NotFound, &format!("invalid id: {id}"))
}
