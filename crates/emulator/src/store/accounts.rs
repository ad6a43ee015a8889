//! Accounts and their contacts.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Record, Store, dates, malformed, merge, missing, not_found, object, text};
use crate::{
    answers::{self, Answer},
    call::Call,
    category::Category,
};

/// The parts of an account's view, and the fields that do not belong in it.
const CONTACTS: [(&str, &str); 3] =
    [("billToContact", "billToId"), ("soldToContact", "soldToId"), ("shipToContact", "shipToId")];

/// An account that has just been made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) id: String,
    pub(super) number: String,
    bill_to: Option<String>,
    sold_to: Option<String>,
}

impl Store {
    pub(super) fn accounts(&mut self, call: &Call, rest: &[&str]) -> Option<Answer> {
        match (call.method.as_str(), rest) {
            ("POST", []) => Some(self.post_account(call)),
            ("GET", [key]) => Some(self.get_account(call, key)),
            ("GET", [key, "summary"]) => Some(self.account_summary(call, key)),
            ("GET", [key, "payment-methods", ..]) => Some(self.account_payment_methods(call, key)),
            ("PUT", [key]) => Some(self.put_account(call, key)),
            ("DELETE", [key]) => Some(self.delete_account(call, key)),
            _ => None,
        }
    }

    fn post_account(&mut self, call: &Call) -> Answer {
        let Some(wish) = call.json.as_object() else { return malformed(call) };
        for field in ["name", "currency"] {
            if text(wish, field).is_empty() {
                return missing(call, field);
            }
        }
        let number = text(wish, "accountNumber");
        if !number.is_empty() && self.find("account", number).is_some() {
            let message = format!("The account number {number} is invalid.");
            let family = call.operation.family;
            return answers::failure(family, call.is_modern(), Category::InvalidValue, &message);
        }
        let made = self.create_account(wish);
        let mut body = object(&json!({
            "success": true,
            "accountId": made.id,
            "accountNumber": made.number,
            "billToContactId": made.bill_to,
            "soldToContactId": made.sold_to,
        }));
        if let Some(subscription) = wish.get("subscription").and_then(Value::as_object) {
            let (id, number) = self.create_subscription(&made.id, subscription);
            body.insert("subscriptionId".into(), id.into());
            body.insert("subscriptionNumber".into(), number.into());
        }
        body.retain(|_, value| !value.is_null());
        Answer::pretty(StatusCode::OK, &Value::Object(body))
    }

    /// Makes an account and its contacts.
    pub(super) fn create_account(&mut self, wish: &Record) -> Made {
        let bill_to = self.create_contact(wish.get("billToContact"));
        let sold_to = self.create_contact(wish.get("soldToContact")).or_else(|| bill_to.clone());
        let number = match text(wish, "accountNumber") {
            "" => self.next_number("account"),
            wished => wished.to_owned(),
        };
        let mut record = object(&json!({
            "accountNumber": number,
            "status": "Active",
            "autoPay": false,
            "balance": 0.0,
            "creditBalance": 0.0,
            "totalInvoiceBalance": 0.0,
            "mrr": 0.0,
            "batch": "Batch1",
            "bcdSettingOption": "ManualSet",
            "billCycleDay": 1,
            "paymentTerm": "Due Upon Receipt",
            "invoiceDeliveryPrefsEmail": true,
            "invoiceDeliveryPrefsPrint": false,
            "billToId": bill_to,
            "soldToId": sold_to,
            "createdById": "2c92c0f9000040008000000000000002",
            "updatedById": "2c92c0f9000040008000000000000002",
        }));
        merge(&mut record, &Value::Object(wish.clone()));
        for part in ["billToContact", "soldToContact", "shipToContact", "subscription"] {
            record.remove(part);
        }
        for part in ["creditCard", "paymentMethod", "accountNumber"] {
            record.remove(part);
        }
        record.insert("accountNumber".into(), number.clone().into());
        let id = self.insert("account", record);
        for contact in bill_to.iter().chain(sold_to.iter()) {
            self.update("contact", contact, |record| {
                record.insert("accountId".into(), id.clone().into());
            });
        }
        Made { id, number, bill_to, sold_to }
    }

    fn create_contact(&mut self, wish: Option<&Value>) -> Option<String> {
        let wish = wish?.as_object()?.clone();
        Some(self.insert("contact", wish))
    }

    fn get_account(&self, call: &Call, key: &str) -> Answer {
        match self.find("account", key) {
            Some(account) => Answer::ok(&Value::Object(self.account_view(account))),
            None => not_found(call, "account", key),
        }
    }

    /// The nested view of `/v1`.
    fn account_view(&self, account: &Record) -> Record {
        let pick = |names: &[&str]| -> Value {
            let kept = |name: &&str| account.get(*name).filter(|value| !value.is_null());
            names
                .iter()
                .filter_map(|name| kept(name).map(|value| ((*name).to_owned(), value.clone())))
                .collect::<Record>()
                .into()
        };
        let mut basic = object(&pick(&[
            "id",
            "name",
            "accountNumber",
            "notes",
            "status",
            "crmId",
            "batch",
            "parentId",
            "salesRep",
            "communicationProfileId",
            "purchaseOrderNumber",
        ]));
        for (name, value) in account.iter().filter(|(name, _)| name.ends_with("__c")) {
            basic.insert(name.clone(), value.clone());
        }
        let billing = pick(&[
            "billCycleDay",
            "bcdSettingOption",
            "currency",
            "paymentTerm",
            "paymentGateway",
            "defaultPaymentMethodId",
            "invoiceDeliveryPrefsEmail",
            "invoiceDeliveryPrefsPrint",
            "additionalEmailAddresses",
            "autoPay",
        ]);
        let mut view = object(&json!({
            "basicInfo": basic,
            "billingAndPayment": billing,
            "metrics": {
                "balance": 0.0, "totalInvoiceBalance": 0.0, "creditBalance": 0.0,
                "contractedMrr": 0.0, "currency": text(account, "currency"),
            },
            "success": true,
        }));
        for (part, id) in CONTACTS {
            if let Some(contact) = self.find("contact", text(account, id)) {
                view.insert(part.to_owned(), contact_view(contact));
            }
        }
        view
    }

    fn account_summary(&self, call: &Call, key: &str) -> Answer {
        let Some(account) = self.find("account", key) else {
            return not_found(call, "account", key);
        };
        let mut view = self.account_view(account);
        view.remove("billingAndPayment");
        view.remove("metrics");
        if let Some(basic) = view.get_mut("basicInfo").and_then(Value::as_object_mut) {
            for (name, value) in [
                ("balance", account.get("balance")),
                ("currency", account.get("currency")),
                ("billCycleDay", account.get("billCycleDay")),
            ] {
                basic.insert(name.to_owned(), value.cloned().unwrap_or(Value::Null));
            }
        }
        let id = text(account, "id");
        let subscriptions: Vec<Value> = self
            .rows("subscription")
            .filter(|one| text(one, "accountId") == id)
            .map(|one| {
                json!({
                    "id": one["id"], "subscriptionNumber": one["subscriptionNumber"],
                    "status": one["status"], "termType": one["termType"],
                    "subscriptionStartDate": one["subscriptionStartDate"],
                    "ratePlans": [],
                })
            })
            .collect();
        view.insert("subscriptions".into(), subscriptions.into());
        for list in ["invoices", "payments", "usage"] {
            view.insert(list.to_owned(), json!([]));
        }
        Answer::ok(&Value::Object(view))
    }

    fn put_account(&mut self, call: &Call, key: &str) -> Answer {
        let Some(wish) = call.json.as_object() else { return malformed(call) };
        let mut changes = wish.clone();
        let mut contacts = Vec::new();
        for (part, id) in CONTACTS {
            contacts.extend(changes.remove(part).map(|contact| (id, contact)));
        }
        changes.remove("accountNumber");
        let Some(account) = self.find("account", key) else {
            return not_found(call, "account", key);
        };
        let known: Vec<(String, Value)> = contacts
            .into_iter()
            .map(|(id, contact)| (text(account, id).to_owned(), contact))
            .collect();
        for (id, contact) in known {
            self.update("contact", &id, |record| merge(record, &contact));
        }
        self.update("account", key, |record| merge(record, &Value::Object(changes)));
        Answer::pretty(StatusCode::OK, &json!({"success": true}))
    }

    fn delete_account(&mut self, call: &Call, key: &str) -> Answer {
        match self.remove("account", key) {
            Some(id) => Answer::pretty(
                StatusCode::OK,
                &json!({"success": true, "id": id, "deletedDate": dates::today()}),
            ),
            None => not_found(call, "account", key),
        }
    }
}

fn contact_view(contact: &Record) -> Value {
    let mut view = contact.clone();
    for internal in ["createdDate", "updatedDate", "accountId"] {
        view.remove(internal);
    }
    Value::Object(view)
}
