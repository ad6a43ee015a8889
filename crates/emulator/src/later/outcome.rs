//! What the answer of the synchronous form means for an asynchronous write.

use serde_json::Value;
use uuid::Uuid;

use super::told::{AsyncOutcome, Reason};
use crate::{answers::Answer, call::Call, category::Category};

/// Reads the answer of the synchronous form.
pub(super) fn of(call: &Call, answer: &Answer) -> AsyncOutcome {
    let body = answer.bytes().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let body = body.unwrap_or_default();
    if answer.succeeded() {
        return AsyncOutcome::Succeeded { id: id_of(call, &body), result: body };
    }
    let process_id = body["processId"].as_str().map(str::to_owned);
    AsyncOutcome::Failed {
        reasons: reasons_of(&body),
        process_id: process_id.unwrap_or_else(|| Uuid::new_v4().simple().to_string()),
    }
}

/// The id of what was made or changed: as the answer has it, or as the path names it.
fn id_of(call: &Call, body: &Value) -> String {
    let named = |name: &str| body[name].as_str().map(str::to_owned);
    let parts = call.parts();
    let collection = parts.get(1).copied().unwrap_or_default();
    let own = format!("{}Id", collection.strip_suffix('s').unwrap_or(collection));
    let of_path = || parts.get(2).map(|key| (*key).to_owned());
    named("id").or_else(|| named("Id")).or_else(|| named(&own)).or_else(of_path).unwrap_or_default()
}

fn reasons_of(body: &Value) -> Vec<Reason> {
    let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let reason = |one: &Value, code: &str, message: &str| Reason {
        code: text(&one[code]),
        message: text(&one[message]),
    };
    let of_v1 = list("reasons").into_iter().map(|one| reason(&one, "code", "message"));
    let of_rows = list("Errors").into_iter().map(|one| reason(&one, "Code", "Message"));
    let reasons: Vec<Reason> = of_v1.chain(of_rows).collect();
    if reasons.is_empty() {
        // A failure in a shape that has none of its own.
        let (code, message) = (Category::Internal.code().to_string(), Category::Internal.message());
        return vec![Reason { code, message: message.to_owned() }];
    }
    reasons
}
