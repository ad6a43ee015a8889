//! Actions: many objects in one call, each with a row of its own in the answer.

use serde_json::{Value, json};

use super::{Record, Store, object, objects::kind_of, text, zoql};
use crate::{
    answers::{self, Answer},
    call::Call,
    category::Category,
    operations::Family,
};

/// More objects in one call are refused (Zuora: SOAP and action limits).
const MOST_OBJECTS: usize = 50;

/// Rows in one answer of a query.
const QUERY_BATCH: usize = 2000;

impl Store {
    pub(super) fn action(&mut self, call: &Call, action: &str) -> Option<Answer> {
        let body = object(&call.json);
        match action {
            "create" | "update" | "generate" => Some(self.write_objects(&body, action)),
            "delete" => Some(self.delete_objects(&body)),
            "query" => Some(self.query(&body)),
            "queryMore" => Some(self.query_more(&body)),
            "subscribe" => Some(self.subscribe(&body)),
            "amend" => Some(self.amend(&body)),
            "execute" => Some(execute(&body)),
            _ => None,
        }
    }

    fn write_objects(&mut self, body: &Record, action: &str) -> Answer {
        let Some(objects) = body.get("objects").and_then(Value::as_array) else {
            return fault("MISSING_REQUIRED_VALUE", "objects is required");
        };
        if objects.len() > MOST_OBJECTS {
            return fault("MAX_RECORDS_EXCEEDED", "Too many objects: at most 50 in one call.");
        }
        let kind = kind_of(text(body, "type"));
        let rows: Vec<Value> = objects
            .iter()
            .map(|wish| {
                let wish = object(wish);
                if action == "update" {
                    let id = text(&wish, "Id").to_owned();
                    self.update_row(&kind, &id, &Value::Object(wish))
                } else if wish.is_empty() {
                    answers::row_failure(Category::MissingField, "The object has no fields.")
                } else {
                    self.create_row(&kind, &wish)
                }
            })
            .collect();
        Answer::ok(&Value::Array(rows))
    }

    fn delete_objects(&mut self, body: &Record) -> Answer {
        let Some(ids) = body.get("ids").and_then(Value::as_array) else {
            return fault("MISSING_REQUIRED_VALUE", "ids is required");
        };
        if ids.len() > MOST_OBJECTS {
            return fault("MAX_RECORDS_EXCEEDED", "Too many objects: at most 50 in one call.");
        }
        let kind = kind_of(text(body, "type"));
        let rows = ids.iter().map(|id| self.delete_row(&kind, id.as_str().unwrap_or_default()));
        Answer::ok(&Value::Array(rows.collect()))
    }

    fn query(&self, body: &Record) -> Answer {
        let batch = body.get("conf").and_then(|conf| conf.get("batchSize")).and_then(Value::as_u64);
        let batch = batch.and_then(|size| usize::try_from(size).ok()).unwrap_or(QUERY_BATCH);
        self.query_from(text(body, "queryString"), 0, batch.clamp(1, QUERY_BATCH))
    }

    /// A query locator is the place to go on from, the batch size, and the
    /// query itself: it needs no memory here.
    fn query_more(&self, body: &Record) -> Answer {
        let mut parts = text(body, "queryLocator").splitn(3, '|');
        let start = parts.next().and_then(|text| text.parse::<usize>().ok());
        let batch = parts.next().and_then(|text| text.parse::<usize>().ok());
        match (start, batch, parts.next()) {
            (Some(start), Some(batch), Some(query)) => {
                self.query_from(query, start, batch.clamp(1, QUERY_BATCH))
            }
            _ => fault("INVALID_QUERY_LOCATOR", "The query locator is not valid."),
        }
    }

    fn query_from(&self, text: &str, start: usize, batch: usize) -> Answer {
        let query = match zoql::parse(text) {
            Ok(query) => query,
            Err(message) => return fault("MALFORMED_QUERY", &message),
        };
        let matching: Vec<&Record> =
            self.rows(&query.kind).filter(|record| query.matches(record)).collect();
        let records: Vec<Value> =
            matching.iter().skip(start).take(batch).map(|record| query.view(record)).collect();
        let end = start.saturating_add(records.len());
        let done = end >= matching.len();
        let mut body = object(&json!({"size": matching.len(), "records": records, "done": done}));
        if !done {
            body.insert("queryLocator".into(), format!("{end}|{batch}|{text}").into());
        }
        Answer::ok(&Value::Object(body))
    }

    fn subscribe(&mut self, body: &Record) -> Answer {
        let Some(wishes) = body.get("subscribes").and_then(Value::as_array) else {
            return fault("MISSING_REQUIRED_VALUE", "subscribes is required");
        };
        if wishes.len() > MOST_OBJECTS {
            return fault("MAX_RECORDS_EXCEEDED", "Too many objects: at most 50 in one call.");
        }
        let rows: Vec<Value> = wishes
            .iter()
            .map(|wish| {
                let account = object(&wish["Account"]);
                let known = self.find("account", text(&account, "Id"));
                let id = match known.map(|one| text(one, "id").to_owned()) {
                    Some(id) => id,
                    None => match self.create_row("account", &account)["Id"].as_str() {
                        Some(id) => id.to_owned(),
                        None => {
                            let message = "Account.Name is required";
                            return answers::row_failure(Category::MissingField, message);
                        }
                    },
                };
                let number = self.find("account", &id).map(|one| text(one, "accountNumber"));
                let number = number.unwrap_or_default().to_owned();
                let (subscription, name) = self.create_subscription(&id, &Record::new());
                json!({
                    "Success": true, "AccountId": id, "AccountNumber": number,
                    "SubscriptionId": subscription, "SubscriptionNumber": name,
                })
            })
            .collect();
        Answer::ok(&Value::Array(rows))
    }

    fn amend(&mut self, body: &Record) -> Answer {
        let Some(requests) = body.get("requests").and_then(Value::as_array) else {
            return fault("MISSING_REQUIRED_VALUE", "requests is required");
        };
        let results: Vec<Value> = requests
            .iter()
            .take(MOST_OBJECTS)
            .map(|request| {
                let amendments = request["Amendments"].as_array().map_or(0, Vec::len);
                let ids: Vec<String> = (0..amendments.min(3)).map(|_| self.next_id()).collect();
                json!({"Success": true, "AmendmentIds": ids, "TotalDeltaMrr": 0})
            })
            .collect();
        Answer::ok(&json!({"results": results}))
    }
}

fn execute(body: &Record) -> Answer {
    let ids = body.get("ids").and_then(Value::as_array).cloned().unwrap_or_default();
    let rows = ids.iter().take(MOST_OBJECTS).map(|id| json!({"Success": true, "Id": id}));
    Answer::ok(&Value::Array(rows.collect()))
}

fn fault(code: &str, message: &str) -> Answer {
    debug_assert!(!code.is_empty());
    let body = json!({"FaultCode": code, "FaultMessage": message});
    let failure = answers::failure(Family::Action, true, Category::InvalidValue, message);
    Answer::json(failure.status, &body)
}
