//! Which accounts a write changes: those it names, and those that own the
//! subscriptions and orders it names.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Record, Store, objects::kind_of, singular, text};
use crate::{call::Call, operations::Family};

/// What a field may name, and how such a field ends.
const NAMED: [&str; 3] = ["account", "subscription", "order"];
const BY: [&str; 3] = ["key", "number", "id"];

impl Store {
    /// The ids of the accounts that a call is about, as far as they exist.
    pub(crate) fn accounts_touched(&self, call: &Call) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        for pair in call.segments.windows(2) {
            touched.extend(self.owner(&singular(&pair[0]), &pair[1]));
        }
        self.look_into(&call.json, "", &mut touched);
        if matches!(call.operation.family, Family::Action | Family::Soap) {
            self.look_at_rows(&call.json, &mut touched);
        }
        touched
    }

    /// The objects that an action names by type and id.
    fn look_at_rows(&self, body: &Value, touched: &mut BTreeSet<String>) {
        let kind = kind_of(body["type"].as_str().unwrap_or_default());
        let rows = body["objects"].as_array().into_iter().flatten().map(|row| &row["Id"]);
        let ids = body["ids"].as_array().into_iter().flatten();
        for id in rows.chain(ids).filter_map(Value::as_str) {
            touched.extend(self.owner(&kind, id));
        }
    }

    /// Looks through a body; `name` is the field that holds it.
    fn look_into(&self, value: &Value, name: &str, touched: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    let field = field.to_ascii_lowercase();
                    // `"Account": {"Id": …}` names it like `AccountId`.
                    let field = if field == "id" { format!("{name}id") } else { field };
                    self.look_into(value, &field, touched);
                }
            }
            Value::Array(values) => {
                let one = name.strip_suffix('s').unwrap_or(name);
                values.iter().for_each(|value| self.look_into(value, one, touched));
            }
            Value::String(key) => {
                let kind = BY.iter().find_map(|by| name.strip_suffix(by));
                let kind = kind.and_then(|kind| NAMED.iter().find(|named| kind.ends_with(**named)));
                touched.extend(kind.and_then(|kind| self.owner(kind, key)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The account that an object is or belongs to.
    fn owner(&self, kind: &str, key: &str) -> Option<String> {
        let record = self.find(kind, key)?;
        if kind == "account" {
            return Some(text(record, "id").to_owned());
        }
        self.owner_of(record).or_else(|| {
            // A rate plan belongs to a subscription.
            self.owner_of(self.find("subscription", text(record, "subscriptionId"))?)
        })
    }

    fn owner_of(&self, record: &Record) -> Option<String> {
        let account = self.find("account", text(record, "accountId"))?;
        Some(text(account, "id").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use serde_json::json;

    use super::*;
    use crate::options::Options;

    #[track_caller]
    fn check(store: &Store, method: &str, path: &str, body: &Value, expected: &[&str]) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let mut call = Call::read(request.into_parts().0);
        call.body = Bytes::from(body.to_string());
        call.json = body.clone();

        let touched = store.accounts_touched(&call);

        let numbers: Vec<&str> = touched
            .iter()
            .map(|id| text(store.find("account", id).unwrap(), "accountNumber"))
            .collect();
        assert_eq!(numbers, expected, "{method} {path} {body}");
    }

    #[test]
    fn an_account_is_touched_by_name_and_through_what_belongs_to_it() {
        let mut store = Store::new(&Options::default(), "http://localhost", "http://localhost");
        let id = text(store.find("account", "A00000003").unwrap(), "id").to_owned();
        let order = super::super::object(&json!({"orderNumber": "O-7", "accountId": id}));
        store.insert("order", order);
        let subscription =
            text(store.find("subscription", "A-S00000005").unwrap(), "id").to_owned();
        let none = json!(null);

        check(
            &store,
            "PUT",
            "/v1/accounts/A00000001",
            &json!({"notes": "A00000002"}),
            &["A00000001"],
        );
        check(&store, "PUT", "/rest/v1/subscriptions/A-S00000002/cancel", &none, &["A00000002"]);
        check(&store, "DELETE", "/v1/orders/O-7", &none, &["A00000003"]);
        check(&store, "PUT", &format!("/v1/object/account/{id}"), &none, &["A00000003"]);
        check(&store, "POST", "/v1/payments", &json!({"accountId": id}), &["A00000003"]);
        check(
            &store,
            "POST",
            "/v1/subscriptions",
            &json!({"accountKey": "A00000004"}),
            &["A00000004"],
        );
        let order = json!({
            "existingAccountNumber": "A00000001",
            "subscriptions": [{"subscriptionNumber": "A-S00000002"}],
        });
        check(&store, "POST", "/v1/orders", &order, &["A00000001", "A00000002"]);
        let update = json!({"type": "Subscription", "objects": [{"Id": subscription}]});
        check(&store, "POST", "/v1/action/update", &update, &["A00000005"]);
        let subscribe = json!({"subscribes": [{"Account": {"Id": id}}]});
        check(&store, "POST", "/v1/action/subscribe", &subscribe, &["A00000003"]);
        check(&store, "POST", "/v1/accounts", &json!({"accountNumber": "NEW", "name": "A"}), &[]);
    }
}
