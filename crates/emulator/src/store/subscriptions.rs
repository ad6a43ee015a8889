//! Subscriptions.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Record, Store, dates, malformed, merge, missing, not_found, object, text};
use crate::{
    answers::{self, Answer},
    call::Call,
    category::Category,
};

impl Store {
    pub(super) fn subscriptions(&mut self, call: &Call, rest: &[&str]) -> Option<Answer> {
        match (call.method.as_str(), rest) {
            ("POST", []) => Some(self.post_subscription(call)),
            ("POST", ["preview"] | [_, "preview"]) => Some(preview()),
            ("GET", ["accounts", key]) => Some(self.subscriptions_of(call, key)),
            ("GET", [key]) => Some(self.get_subscription(call, key)),
            ("GET", [key, "versions", _]) => Some(self.get_subscription(call, key)),
            ("PUT", [key]) => Some(self.change_subscription(call, key, "update")),
            ("PUT", [key, action]) => Some(self.change_subscription(call, key, action)),
            _ => None,
        }
    }

    fn post_subscription(&mut self, call: &Call) -> Answer {
        let Some(wish) = call.json.as_object() else { return malformed(call) };
        let key = text(wish, "accountKey");
        if key.is_empty() {
            return missing(call, "accountKey");
        }
        let Some(account) = self.find("account", key).map(|one| text(one, "id").to_owned()) else {
            return not_found(call, "account", key);
        };
        let (id, number) = self.create_subscription(&account, wish);
        let body = json!({
            "success": true,
            "subscriptionId": id,
            "subscriptionNumber": number,
            "contractedMrr": 49.99,
            "totalContractedValue": 599.88,
        });
        Answer::pretty(StatusCode::OK, &body)
    }

    /// Makes a subscription of an account; its id and number.
    pub(super) fn create_subscription(&mut self, account: &str, wish: &Record) -> (String, String) {
        let owner = self.find("account", account);
        let owner_number = owner.map(|one| text(one, "accountNumber").to_owned());
        let owner_name = owner.map(|one| text(one, "name").to_owned());
        let number = match text(wish, "subscriptionNumber") {
            "" => self.next_number("subscription"),
            wished => wished.to_owned(),
        };
        let (today, end) = (dates::today(), dates::in_a_year());
        let start = Some(text(wish, "contractEffectiveDate")).filter(|date| !date.is_empty());
        let start = start.unwrap_or(&today).to_owned();
        let mut record = object(&json!({
            "subscriptionNumber": number,
            "name": number,
            "accountId": account,
            "accountNumber_": owner_number,
            "accountName": owner_name,
            "status": "Active",
            "version": 1,
            "termType": "TERMED",
            "initialTerm": 12,
            "initialTermPeriodType": "Month",
            "renewalTerm": 12,
            "renewalTermPeriodType": "Month",
            "currentTerm": 12,
            "currentTermPeriodType": "Month",
            "autoRenew": false,
            "contractEffectiveDate": start,
            "serviceActivationDate": start,
            "customerAcceptanceDate": start,
            "subscriptionStartDate": start,
            "subscriptionEndDate": end,
            "termStartDate": start,
            "termEndDate": end,
            "invoiceOwnerId": account,
            "contractedMrr": 49.99,
            "totalContractedValue": 599.88,
        }));
        let mut kept = wish.clone();
        for part in ["subscribeToRatePlans", "accountKey", "subscriptionNumber", "runBilling"] {
            kept.remove(part);
        }
        kept.retain(|_, value| !value.is_object() && !value.is_array());
        merge(&mut record, &Value::Object(kept));
        let id = self.insert("subscription", record);
        for plan in wish.get("subscribeToRatePlans").and_then(Value::as_array).into_iter().flatten()
        {
            self.subscribe_plan(&id, plan);
        }
        (id, number)
    }

    fn subscribe_plan(&mut self, subscription: &str, plan: &Value) {
        let wanted = plan.get("productRatePlanId").and_then(Value::as_str).unwrap_or_default();
        let name = self.find("productrateplan", wanted).map(|found| text(found, "name").to_owned());
        let record = object(&json!({
            "subscriptionId": subscription,
            "productRatePlanId": wanted,
            "name": name.unwrap_or_else(|| "Monthly".to_owned()),
        }));
        self.insert("rateplan", record);
    }

    fn get_subscription(&self, call: &Call, key: &str) -> Answer {
        let Some(found) = self.find("subscription", key) else {
            return not_found(call, "subscription", key);
        };
        let mut view = object(&self.subscription_view(found));
        view.insert("success".into(), true.into());
        Answer::ok(&Value::Object(view))
    }

    fn subscriptions_of(&self, call: &Call, key: &str) -> Answer {
        let Some(account) = self.find("account", key) else {
            return not_found(call, "account", key);
        };
        let id = text(account, "id");
        let belongs = |one: &Record| text(one, "accountId") == id;
        self.page(call, "subscription", "subscriptions", belongs, |one| {
            self.subscription_view(&one)
        })
    }

    /// The view of `/v1`: with its rate plans, and the account's number by its
    /// usual name, which in the record would be a key of the subscription.
    fn subscription_view(&self, record: &Record) -> Value {
        let mut view = record.clone();
        if let Some(number) = view.remove("accountNumber_") {
            view.insert("accountNumber".into(), number);
        }
        view.remove("name");
        let id = text(record, "id");
        let plans: Vec<Value> = self
            .rows("rateplan")
            .filter(|plan| text(plan, "subscriptionId") == id)
            .map(|plan| {
                json!({
                    "id": plan["id"], "productRatePlanId": plan["productRatePlanId"],
                    "ratePlanName": plan["name"], "ratePlanCharges": [],
                })
            })
            .collect();
        view.insert("ratePlans".into(), plans.into());
        Value::Object(view)
    }

    fn change_subscription(&mut self, call: &Call, key: &str, action: &str) -> Answer {
        let Some(found) = self.find("subscription", key) else {
            return not_found(call, "subscription", key);
        };
        if text(found, "status") == "Cancelled" && action != "delete" {
            let family = call.operation.family;
            let message = "The subscription is cancelled and cannot be changed.";
            return answers::failure(family, call.is_modern(), Category::Rule, message);
        }
        let today = dates::today();
        let status = match action {
            "cancel" => Some("Cancelled"),
            "suspend" => Some("Suspended"),
            "resume" | "renew" => Some("Active"),
            _ => None,
        };
        let id = if action == "delete" {
            self.remove("subscription", key)
        } else {
            let mut changes = call.json.clone();
            if let Some(fields) = changes.as_object_mut() {
                fields.retain(|name, value| is_plain(value) && name != "subscriptionNumber");
            }
            self.update("subscription", key, |record| {
                merge(record, &changes);
                if let Some(status) = status {
                    record.insert("status".into(), status.into());
                }
                if action == "cancel" {
                    record.insert("cancelledDate".into(), today.clone().into());
                }
                let version = record.get("version").and_then(Value::as_u64).unwrap_or(0) + 1;
                record.insert("version".into(), version.into());
            })
        };
        let mut body = object(&json!({"success": true, "subscriptionId": id}));
        match action {
            "cancel" => {
                body.insert("cancelledDate".into(), today.into());
            }
            "renew" => {
                body.insert("termStartDate".into(), today.into());
                body.insert("termEndDate".into(), dates::in_a_year().into());
            }
            "suspend" => {
                body.insert("suspendDate".into(), today.into());
            }
            "resume" => {
                body.insert("resumeDate".into(), today.into());
            }
            _ => {}
        }
        Answer::pretty(StatusCode::OK, &Value::Object(body))
    }
}

/// A preview promises nothing and keeps nothing.
fn preview() -> Answer {
    Answer::pretty(
        StatusCode::OK,
        &json!({
            "success": true,
            "contractedMrr": 49.99,
            "totalContractedValue": 599.88,
            "documentDate": dates::today(),
            "targetDate": dates::today(),
        }),
    )
}

fn is_plain(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}
