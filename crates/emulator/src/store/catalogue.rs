//! The product catalogue.

use serde_json::{Value, json};

use super::{Record, Store, not_found, object, text};
use crate::{answers::Answer, call::Call};

impl Store {
    pub(super) fn catalogue(&mut self, call: &Call, rest: &[&str]) -> Option<Answer> {
        match (call.method.as_str(), rest) {
            ("GET", ["products"]) => {
                let view = |product: Record| self.product_view(&product);
                Some(self.page(call, "product", "products", |_| true, view))
            }
            ("GET", ["product", key]) => Some(match self.find("product", key) {
                Some(product) => {
                    let mut view = object(&self.product_view(product));
                    view.insert("success".into(), true.into());
                    Answer::ok(&Value::Object(view))
                }
                None => not_found(call, "product", key),
            }),
            _ => None,
        }
    }

    /// Adds a rate plan with one recurring charge to a product.
    pub(super) fn add_rate_plan(&mut self, product: &str, name: &str, price: f64) {
        let plan = self.insert(
            "productrateplan",
            object(&json!({
                "productId": product, "name": name, "status": "Active", "description": "",
                "effectiveStartDate": "2020-01-01", "effectiveEndDate": "2099-12-31",
            })),
        );
        self.insert(
            "productrateplancharge",
            object(&json!({
                "productRatePlanId": plan, "name": "Monthly fee", "type": "Recurring",
                "model": "FlatFee", "billingPeriod": "Month", "billingDay": "DefaultFromCustomer",
                "triggerEvent": "ContractEffective", "endDateCondition": "SubscriptionEnd",
                "price": price,
            })),
        );
    }

    fn product_view(&self, product: &Record) -> Value {
        let mut view = product.clone();
        for internal in ["createdDate", "updatedDate"] {
            view.remove(internal);
        }
        let id = text(product, "id");
        // Rate plans follow their product, so this looks at a catalogue of
        // some hundred rows at most in any tenant worth emulating.
        let plans: Vec<Value> = self
            .rows("productrateplan")
            .filter(|plan| text(plan, "productId") == id)
            .map(|plan| self.plan_view(plan))
            .collect();
        view.insert("productRatePlans".into(), plans.into());
        Value::Object(view)
    }

    fn plan_view(&self, plan: &Record) -> Value {
        let id = text(plan, "id");
        let charges: Vec<Value> = self
            .rows("productrateplancharge")
            .filter(|charge| text(charge, "productRatePlanId") == id)
            .map(|charge| {
                json!({
                    "id": charge["id"], "name": charge["name"], "type": charge["type"],
                    "model": charge["model"], "billingPeriod": charge["billingPeriod"],
                    "billingDay": charge["billingDay"], "triggerEvent": charge["triggerEvent"],
                    "endDateCondition": charge["endDateCondition"], "uom": null,
                    "pricing": [{"currency": "USD", "price": charge["price"]}],
                    "pricingSummary": [format!("USD{}", charge["price"])],
                })
            })
            .collect();
        json!({
            "id": id, "name": plan["name"], "description": plan["description"],
            "status": plan["status"], "effectiveStartDate": plan["effectiveStartDate"],
            "effectiveEndDate": plan["effectiveEndDate"], "productRatePlanCharges": charges,
        })
    }
}
