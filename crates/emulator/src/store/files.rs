//! Uploads, downloads, and the description of objects.

use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::{Record, Store, objects::capitalised};
use crate::{
    answers::{self, Answer, Content},
    call::Call,
    category::Category,
    soap::{Kind, Object},
};

/// The size of a file whose id names none.
const USUAL_BYTES: u64 = 16 * 1024;

/// Larger files are refused by the edge (Zuora: file download reference).
const LARGEST_BYTES: u64 = 2047 * 1024 * 1024;

impl Store {
    /// Usage files: `POST` takes one, `…/status` tells that it was read.
    pub(super) fn usage(&mut self, call: &Call, rest: &[&str]) -> Option<Answer> {
        match (call.method.as_str(), rest) {
            ("POST", []) => {
                let id = self.next_id();
                let body = json!({
                    "checkImportStatus": format!("/v1/usage/{id}/status"),
                    "size": call.body_bytes,
                    "success": true,
                });
                Some(Answer::pretty(StatusCode::OK, &body))
            }
            ("GET", [_, "status"]) => {
                let body = json!({"importStatus": "Completed", "message": null, "success": true});
                Some(Answer::pretty(StatusCode::OK, &body))
            }
            ("GET", ["accounts", _]) => Some(Answer::ok(&json!({"usage": [], "success": true}))),
            _ => None,
        }
    }

    /// The fields of an object, as XML; of an object that the schema does not
    /// have, those of the first there is.
    pub(super) fn describe(&self, kind: &str) -> Answer {
        let table = super::objects::kind_of(kind);
        let mut fields = String::new();
        let known = Object::named(&table).into_iter().flat_map(Object::fields);
        let mut described: Vec<(String, &str)> = known
            .map(|name| {
                let kind = Object::named(&table).and_then(|object| object.kind_of(name));
                (name.to_owned(), kind.map_or("text", Kind::in_description))
            })
            .collect();
        if described.is_empty() {
            let example: Record = self.rows(&table).next().map(capitalised).unwrap_or_default();
            described.extend(
                example.into_iter().map(|(name, value)| {
                    (name, if value.is_number() { "decimal" } else { "text" })
                }),
            );
        }
        for (name, kind) in described {
            fields.push_str(&format!(
                "    <field><name>{name}</name><label>{name}</label><selectable>true</selectable>\
                 <createable>true</createable><updateable>true</updateable>\
                 <filterable>true</filterable><custom>false</custom><maxlength>255</maxlength>\
                 <required>false</required><type>{kind}</type>\
                 <contexts><context>soap</context><context>export</context></contexts>\
                 </field>\n",
            ));
        }
        let safe: String = kind.chars().filter(char::is_ascii_alphanumeric).collect();
        let has_account =
            Object::named(&table).is_some_and(|object| object.kind_of("AccountId").is_some());
        let related = if has_account {
            format!(
                "<object href=\"{}/v1/describe/Account\"><name>Account</name>\
                 <label>Account</label></object>",
                self.base_url
            )
        } else {
            String::new()
        };
        let href = format!("{}/v1/describe/{safe}", self.base_url);
        let page = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<object href=\"{href}\">\n  \
             <name>{safe}</name>\n  <label>{safe}</label>\n  <fields>\n{fields}  </fields>\n  \
             <related-objects>{related}</related-objects>\n</object>\n",
        );
        Answer::text(StatusCode::OK, "text/xml;charset=UTF-8", page)
    }
}

/// A file of as many bytes as its id says, `size-1048576`; made while it is sent.
pub(super) fn download(call: &Call, id: &str) -> Option<Answer> {
    if call.method != "GET" && call.method != "HEAD" {
        return None;
    }
    let bytes = match id.strip_prefix("size-") {
        None => USUAL_BYTES,
        Some(size) => match size.parse::<u64>() {
            Ok(size) => size,
            Err(_) => {
                let family = call.operation.family;
                let message = "The file id is invalid.";
                return Some(answers::failure(family, true, Category::InvalidValue, message));
            }
        },
    };
    if bytes > LARGEST_BYTES {
        let page = "<security:max-object-size>2047MB</security:max-object-size>".to_owned();
        return Some(Answer::text(StatusCode::FORBIDDEN, "text/xml", page));
    }
    let kind = "application/pdf;charset=UTF-8";
    let mut answer = Answer::text(StatusCode::OK, kind, String::new());
    answer.content = Content::Filler(bytes);
    let safe: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{safe}.pdf\""));
    Some(match disposition {
        Ok(value) => answer.with(header::CONTENT_DISPOSITION, value),
        Err(_) => answer,
    })
}
