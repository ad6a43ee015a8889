//! Payment methods.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Record, Store, malformed, merge, missing, not_found, object, text};
use crate::{answers::Answer, call::Call};

impl Store {
    pub(super) fn payment_methods(&mut self, call: &Call, rest: &[&str]) -> Option<Answer> {
        match (call.method.as_str(), rest) {
            ("POST", []) => Some(self.post_payment_method(call)),
            ("POST", ["credit-cards"]) => Some(self.post_credit_card(call)),
            ("GET", ["credit-cards", "accounts", key]) => Some(self.credit_cards(call, key)),
            ("GET", [id]) => Some(match self.find("paymentmethod", id) {
                Some(found) => {
                    let mut view = found.clone();
                    view.insert("success".into(), true.into());
                    Answer::ok(&Value::Object(view))
                }
                None => not_found(call, "payment method", id),
            }),
            ("PUT", [id] | [id, _]) => {
                let changed = self.update("paymentmethod", id, |record| merge(record, &call.json));
                Some(outcome(call, changed, id))
            }
            ("DELETE", [id]) => {
                let removed = self.remove("paymentmethod", id);
                Some(outcome(call, removed, id))
            }
            _ => None,
        }
    }

    /// The methods of an account, with its default.
    pub(super) fn account_payment_methods(&self, call: &Call, key: &str) -> Answer {
        let Some(account) = self.find("account", key) else {
            return not_found(call, "account", key);
        };
        let id = text(account, "id");
        let of_account = |one: &&Record| text(one, "accountId") == id;
        let methods: Vec<&Record> = self.rows("paymentmethod").filter(of_account).collect();
        if call.path.trim_end_matches('/').ends_with("/default") {
            let default = methods.first().map(|one| (*one).clone()).unwrap_or_default();
            let mut view = default;
            view.insert("success".into(), true.into());
            return Answer::ok(&Value::Object(view));
        }
        let of_type = |wanted: &str| -> Vec<&Record> {
            methods.iter().filter(|one| text(one, "type") == wanted).copied().collect()
        };
        Answer::ok(&json!({
            "success": true,
            "defaultPaymentMethodId": methods.first().map(|one| one["id"].clone()),
            "paymentGateway": null,
            "creditcard": of_type("CreditCard"),
            "ach": of_type("ACH"),
        }))
    }

    fn post_payment_method(&mut self, call: &Call) -> Answer {
        let Some(wish) = call.json.as_object() else { return malformed(call) };
        let kind = text(wish, "type");
        if kind.is_empty() {
            return missing(call, "type");
        }
        let mut record = object(&json!({"type": kind, "status": "Active", "isDefault": false}));
        let account = self.find("account", text(wish, "accountKey"));
        if let Some(account) = account.map(|one| text(one, "id").to_owned()) {
            record.insert("accountId".into(), account.into());
        }
        let number = text(wish, "cardNumber");
        let last = number.get(number.len().saturating_sub(4)..).unwrap_or_default();
        record.insert("cardNumber".into(), format!("************{last}").into());
        for name in ["cardType", "expirationMonth", "expirationYear"] {
            if let Some(value) = wish.get(name) {
                record.insert(name.to_owned(), value.clone());
            }
        }
        let id = self.insert("paymentmethod", record);
        Answer::pretty(StatusCode::OK, &json!({"success": true, "id": id}))
    }

    /// The older way, whose card has names of its own.
    fn post_credit_card(&mut self, call: &Call) -> Answer {
        let Some(wish) = call.json.as_object() else { return malformed(call) };
        let (owner, number) = (text(wish, "accountKey"), text(wish, "creditCardNumber"));
        let Some(account) = self.find("account", owner).map(|one| text(one, "id").to_owned())
        else {
            return not_found(call, "account", owner);
        };
        if number.is_empty() {
            return missing(call, "creditCardNumber");
        }
        let last = number.get(number.len().saturating_sub(4)..).unwrap_or_default();
        let id = self.insert(
            "paymentmethod",
            object(&json!({
                "type": "CreditCard", "status": "Active", "isDefault": false, "accountId": account,
                "cardNumber": format!("************{last}"), "cardType": wish.get("creditCardType"),
                "expirationMonth": wish.get("expirationMonth"), "expirationYear": wish.get("expirationYear"),
            })),
        );
        Answer::pretty(StatusCode::OK, &json!({"success": true, "paymentMethodId": id}))
    }

    fn credit_cards(&self, call: &Call, key: &str) -> Answer {
        let Some(account) = self.find("account", key) else {
            return not_found(call, "account", key);
        };
        let id = text(account, "id");
        let belongs = |one: &Record| text(one, "accountId") == id;
        self.page(call, "paymentmethod", "creditCards", belongs, Value::Object)
    }
}

fn outcome(call: &Call, id: Option<String>, key: &str) -> Answer {
    match id {
        Some(id) => Answer::pretty(StatusCode::OK, &json!({"success": true, "id": id})),
        None => not_found(call, "payment method", key),
    }
}
