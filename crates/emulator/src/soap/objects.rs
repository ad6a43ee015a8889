//! The types of objects that the SOAP API describes, with their fields.

use serde_json::{Value, json};

/// A type of objects.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) name: &'static str,
    /// Its fields besides `Id`, in the order of the schema.
    pub(crate) own: &'static [(&'static str, Kind)],
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Whole,
    Decimal,
    Truth,
    Date,
    Moment,
}

use Kind::{Date, Decimal, Moment, Text, Truth, Whole};

/// As much of Zuora's schema as the emulated tenant has data for.
pub(crate) const OBJECTS: [Object; 11] = [
    Object {
        name: "Account",
        own: &[
            ("AccountNumber", Text),
            ("AutoPay", Truth),
            ("Balance", Decimal),
            ("Batch", Text),
            ("BcdSettingOption", Text),
            ("BillCycleDay", Whole),
            ("BillToId", Text),
            ("CreatedById", Text),
            ("CreatedDate", Moment),
            ("CreditBalance", Decimal),
            ("CrmId", Text),
            ("Currency", Text),
            ("InvoiceDeliveryPrefsEmail", Truth),
            ("InvoiceDeliveryPrefsPrint", Truth),
            ("Mrr", Decimal),
            ("Name", Text),
            ("Notes", Text),
            ("PaymentTerm", Text),
            ("SoldToId", Text),
            ("Status", Text),
            ("TotalInvoiceBalance", Decimal),
            ("UpdatedById", Text),
            ("UpdatedDate", Moment),
        ],
    },
    Object {
        name: "Amendment",
        own: &[
            ("ContractEffectiveDate", Date),
            ("CreatedDate", Moment),
            ("Name", Text),
            ("Status", Text),
            ("SubscriptionId", Text),
            ("Type", Text),
            ("UpdatedDate", Moment),
        ],
    },
    Object {
        name: "Contact",
        own: &[
            ("AccountId", Text),
            ("Address1", Text),
            ("City", Text),
            ("Country", Text),
            ("CreatedDate", Moment),
            ("FirstName", Text),
            ("LastName", Text),
            ("PostalCode", Text),
            ("State", Text),
            ("UpdatedDate", Moment),
            ("WorkEmail", Text),
        ],
    },
    Object {
        name: "Invoice",
        own: &[
            ("AccountId", Text),
            ("Amount", Decimal),
            ("Balance", Decimal),
            ("CreatedDate", Moment),
            ("InvoiceDate", Date),
            ("InvoiceNumber", Text),
            ("Status", Text),
            ("UpdatedDate", Moment),
        ],
    },
    Object {
        name: "Payment",
        own: &[
            ("AccountId", Text),
            ("Amount", Decimal),
            ("CreatedDate", Moment),
            ("EffectiveDate", Date),
            ("PaymentMethodId", Text),
            ("PaymentNumber", Text),
            ("Status", Text),
            ("Type", Text),
            ("UpdatedDate", Moment),
        ],
    },
    Object {
        name: "PaymentMethod",
        own: &[
            ("AccountId", Text),
            ("Active", Truth),
            ("CreatedDate", Moment),
            ("CreditCardHolderName", Text),
            ("CreditCardMaskNumber", Text),
            ("PaymentMethodStatus", Text),
            ("Type", Text),
            ("UpdatedDate", Moment),
        ],
    },
    Object {
        name: "Product",
        own: &[
            ("Category", Text),
            ("CreatedDate", Moment),
            ("Description", Text),
            ("EffectiveEndDate", Date),
            ("EffectiveStartDate", Date),
            ("Name", Text),
            ("SKU", Text),
            ("UpdatedDate", Moment),
        ],
    },
    Object {
        name: "ProductRatePlan",
        own: &[
            ("CreatedDate", Moment),
            ("Description", Text),
            ("EffectiveEndDate", Date),
            ("EffectiveStartDate", Date),
            ("Name", Text),
            ("ProductId", Text),
            ("UpdatedDate", Moment),
        ],
    },
    Object {
        name: "ProductRatePlanCharge",
        own: &[
            ("BillingPeriod", Text),
            ("CreatedDate", Moment),
            ("EndDateCondition", Text),
            ("Name", Text),
            ("ProductRatePlanId", Text),
            ("TriggerEvent", Text),
            ("UpdatedDate", Moment),
        ],
    },
    Object {
        name: "Subscription",
        own: &[
            ("AccountId", Text),
            ("AutoRenew", Truth),
            ("ContractEffectiveDate", Date),
            ("CreatedDate", Moment),
            ("InitialTerm", Whole),
            ("Name", Text),
            ("Notes", Text),
            ("RenewalTerm", Whole),
            ("Status", Text),
            ("TermEndDate", Date),
            ("TermStartDate", Date),
            ("TermType", Text),
            ("UpdatedDate", Moment),
            ("Version", Whole),
        ],
    },
    Object {
        name: "Usage",
        own: &[
            ("AccountId", Text),
            ("CreatedDate", Moment),
            ("Quantity", Decimal),
            ("StartDateTime", Moment),
            ("UOM", Text),
            ("UpdatedDate", Moment),
        ],
    },
];

impl Object {
    /// The type of this name, whatever its case.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        OBJECTS.iter().find(|object| object.name.eq_ignore_ascii_case(name))
    }

    /// The names of its fields in the order of the schema, `Id` first.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once("Id").chain(self.own.iter().map(|(name, _)| *name))
    }

    /// What its field of this name holds.
    pub(crate) fn kind_of(&self, field: &str) -> Option<Kind> {
        let own = self.own.iter().find(|(name, _)| name.eq_ignore_ascii_case(field));
        own.map(|(_, kind)| *kind)
    }
}

impl Kind {
    /// Its name in XML Schema.
    pub(crate) fn in_schema(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Whole => "int",
            Self::Decimal => "decimal",
            Self::Truth => "boolean",
            Self::Date => "date",
            Self::Moment => "dateTime",
        }
    }

    /// Its name where Zuora describes objects.
    pub(crate) fn in_description(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Whole => "integer",
            Self::Decimal => "decimal",
            Self::Truth => "boolean",
            Self::Date => "date",
            Self::Moment => "datetime",
        }
    }

    /// The value that a text stands for; the text itself if it stands for none.
    pub(crate) fn read(self, text: &str) -> Value {
        let number = |text: &str| serde_json::from_str::<serde_json::Number>(text).ok();
        match (self, text) {
            (Self::Truth, "true" | "1") => true.into(),
            (Self::Truth, "false" | "0") => false.into(),
            (Self::Whole | Self::Decimal, text) => {
                number(text).map_or_else(|| text.into(), Value::Number)
            }
            _ => json!(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_can_be_replicated_by_its_updated_date() {
        for object in &OBJECTS {
            let names: Vec<&str> = object.fields().collect();
            assert!(names.contains(&"UpdatedDate"), "{}", object.name);
            assert!(names[1..].is_sorted(), "{}", object.name);
        }
    }

    #[test]
    fn a_text_is_read_as_what_its_field_holds() {
        let read = |field: &str, text: &str| {
            Object::named("account").unwrap().kind_of(field).unwrap().read(text)
        };

        assert_eq!(read("autoPay", "1"), json!(true));
        assert_eq!(read("BillCycleDay", "31"), json!(31));
        assert_eq!(read("BillCycleDay", "first"), json!("first"));
        assert_eq!(read("Name", "31"), json!("31"));
    }
}
