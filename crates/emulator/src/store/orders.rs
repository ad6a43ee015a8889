//! Orders.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Record, Store, dates, malformed, merge, missing, not_found, object, text};
use crate::{answers::Answer, call::Call};

impl Store {
    pub(super) fn orders(&mut self, call: &Call, rest: &[&str]) -> Option<Answer> {
        match (call.method.as_str(), rest) {
            ("POST", []) => Some(self.post_order(call)),
            ("POST", ["preview"]) => Some(preview(call)),
            ("GET", []) => Some(self.list_orders(call, |_| true)),
            ("GET", ["subscriptionOwner" | "invoiceOwner", key]) => {
                let owner = (*key).to_owned();
                Some(self.list_orders(call, |one| text(one, "existingAccountNumber") == owner))
            }
            ("GET", ["subscription", key]) => Some(self.list_orders(call, |one| has(one, key))),
            ("GET", [number]) => Some(self.get_order(call, number)),
            ("PUT", [number]) => Some(self.put_order(call, number, "update")),
            ("PUT", [number, action]) => Some(self.put_order(call, number, action)),
            ("DELETE", [number]) => Some(match self.remove("order", number) {
                Some(_) => Answer::pretty(StatusCode::OK, &json!({"success": true})),
                None => not_found(call, "order", number),
            }),
            _ => None,
        }
    }

    fn post_order(&mut self, call: &Call) -> Answer {
        let Some(wish) = call.json.as_object() else { return malformed(call) };
        if text(wish, "orderDate").is_empty() {
            return missing(call, "orderDate");
        }
        let existing = text(wish, "existingAccountNumber");
        let account = match wish.get("newAccount").and_then(Value::as_object) {
            Some(account) => {
                let made = self.create_account(account);
                (made.id, made.number)
            }
            None => match self.find("account", existing) {
                Some(account) => {
                    (text(account, "id").to_owned(), text(account, "accountNumber").to_owned())
                }
                None => return not_found(call, "account", existing),
            },
        };
        let wished = wish.get("subscriptions").and_then(Value::as_array);
        let mut numbers = Vec::new();
        for subscription in wished.into_iter().flatten() {
            numbers.push(self.order_subscription(&account.0, subscription));
        }
        let number = match text(wish, "orderNumber") {
            "" => self.next_number("order"),
            wished => wished.to_owned(),
        };
        let mut order = object(&json!({
            "orderNumber": number,
            "orderDate": text(wish, "orderDate"),
            "existingAccountNumber": account.1,
            "accountId": account.0,
            "status": "Completed",
            "currency": "USD",
            "category": "NewSales",
            "createdBy": "2c92c0f9000040008000000000000002",
            "updatedBy": "2c92c0f9000040008000000000000002",
        }));
        order.insert("subscriptionNumbers".into(), numbers.clone().into());
        for name in ["description", "reasonCode", "externallyManagedBy"] {
            if let Some(value) = wish.get(name) {
                order.insert(name.to_owned(), value.clone());
            }
        }
        let id = self.insert("order", order);
        let ids: Vec<Value> = numbers
            .iter()
            .filter_map(|number| self.find("subscription", number))
            .map(|one| one["id"].clone())
            .collect();
        let body = json!({
            "success": true,
            "orderId": id,
            "orderNumber": number,
            "accountId": account.0,
            "accountNumber": account.1,
            "status": "Completed",
            "subscriptionNumbers": numbers,
            "subscriptionIds": ids,
        });
        Answer::pretty(StatusCode::OK, &body)
    }

    /// One subscription of an order: made, or changed by its actions.
    fn order_subscription(&mut self, account: &str, wish: &Value) -> String {
        let known = wish.get("subscriptionNumber").and_then(Value::as_str);
        let cancels = wish["orderActions"]
            .as_array()
            .is_some_and(|actions| actions.iter().any(|one| one["type"] == "CancelSubscription"));
        if let Some(number) = known
            && self.find("subscription", number).is_some()
        {
            self.update("subscription", number, |record| {
                if cancels {
                    record.insert("status".into(), "Cancelled".into());
                }
            });
            return number.to_owned();
        }
        let made = object(&json!({"subscriptionNumber": known.unwrap_or_default()}));
        self.create_subscription(account, &made).1
    }

    fn get_order(&self, call: &Call, number: &str) -> Answer {
        match self.find("order", number) {
            Some(order) => {
                Answer::ok(&json!({"success": true, "order": order_view(order.clone())}))
            }
            None => not_found(call, "order", number),
        }
    }

    fn list_orders(&self, call: &Call, belongs: impl Fn(&Record) -> bool) -> Answer {
        self.page(call, "order", "orders", belongs, order_view)
    }

    fn put_order(&mut self, call: &Call, number: &str, action: &str) -> Answer {
        let status = match action {
            "activate" => Some("Completed"),
            "cancel" => Some("Cancelled"),
            _ => None,
        };
        let mut changes = object(&call.json);
        changes.retain(|_, value| !value.is_object() && !value.is_array());
        let changed = self.update("order", number, |record| {
            merge(record, &Value::Object(changes));
            if let Some(status) = status {
                record.insert("status".into(), status.into());
            }
        });
        match changed {
            Some(_) => {
                let body = json!({"success": true, "orderNumber": number, "status": status});
                Answer::pretty(StatusCode::OK, &body)
            }
            None => not_found(call, "order", number),
        }
    }
}

fn order_view(mut order: Record) -> Value {
    let numbers = order.remove("subscriptionNumbers").unwrap_or_default();
    let subscriptions: Vec<Value> = numbers
        .as_array()
        .into_iter()
        .flatten()
        .map(|number| json!({"subscriptionNumber": number, "orderActions": []}))
        .collect();
    for internal in ["id", "accountId"] {
        order.remove(internal);
    }
    order.insert("subscriptions".into(), subscriptions.into());
    Value::Object(order)
}

fn has(order: &Record, subscription: &str) -> bool {
    let numbers = order.get("subscriptionNumbers").and_then(Value::as_array);
    numbers.is_some_and(|numbers| numbers.iter().any(|one| one == subscription))
}

fn preview(call: &Call) -> Answer {
    if !call.json.is_object() {
        return malformed(call);
    }
    let body = json!({
        "success": true,
        "previewResult": {
            "invoices": [{
                "amount": 49.99, "amountWithoutTax": 49.99, "taxAmount": 0,
                "targetDate": dates::today(), "invoiceItems": [],
            }],
            "orderMetrics": [], "chargeMetrics": [],
        },
    });
    Answer::pretty(StatusCode::OK, &body)
}
