//! All objects of one kind, in the order they were made.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::Record;

/// The fields that name an object besides its id.
const KEY_FIELDS: [&str; 7] =
    ["id", "accountNumber", "subscriptionNumber", "orderNumber", "number", "invoiceNumber", "sku"];

/// More objects of a kind than this are not kept; the oldest go first.
const MOST_ROWS: usize = 100_000;

/// Objects of one kind.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<u64, Record>,
    by_key: HashMap<String, u64>,
    last: u64,
}

impl Table {
    pub(super) fn rows(&self) -> impl Iterator<Item = &Record> {
        self.rows.values()
    }

    pub(super) fn find(&self, key: &str) -> Option<&Record> {
        self.rows.get(self.by_key.get(key)?)
    }

    pub(super) fn insert(&mut self, record: Record) {
        if self.rows.len() >= MOST_ROWS
            && let Some((row, oldest)) = self.rows.pop_first()
        {
            self.forget_keys(row, &oldest);
        }
        self.last += 1;
        self.learn_keys(self.last, &record);
        self.rows.insert(self.last, record);
    }

    /// Changes an object and returns its id.
    pub(super) fn update(&mut self, key: &str, change: impl FnOnce(&mut Record)) -> Option<String> {
        let row = *self.by_key.get(key)?;
        let mut record = self.rows.remove(&row)?;
        self.forget_keys(row, &record);
        change(&mut record);
        self.learn_keys(row, &record);
        let id = super::text(&record, "id").to_owned();
        self.rows.insert(row, record);
        Some(id)
    }

    /// Removes an object and returns its id.
    pub(super) fn remove(&mut self, key: &str) -> Option<String> {
        let row = *self.by_key.get(key)?;
        let record = self.rows.remove(&row)?;
        self.forget_keys(row, &record);
        Some(super::text(&record, "id").to_owned())
    }

    fn learn_keys(&mut self, row: u64, record: &Record) {
        for key in keys(record) {
            self.by_key.insert(key.to_owned(), row);
        }
    }

    fn forget_keys(&mut self, row: u64, record: &Record) {
        for key in keys(record) {
            if self.by_key.get(key) == Some(&row) {
                self.by_key.remove(key);
            }
        }
    }
}

fn keys(record: &Record) -> impl Iterator<Item = &str> {
    KEY_FIELDS.iter().filter_map(|field| record.get(*field).and_then(Value::as_str))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_found_by_its_id_and_by_its_present_number() {
        let mut table = Table::default();
        table.insert(super::super::object(&json!({"id": "1", "accountNumber": "A1"})));

        table.update("A1", |record| {
            record.insert("accountNumber".into(), "A2".into());
        });

        assert!(table.find("A1").is_none());
        assert_eq!(table.find("A2").unwrap()["id"], "1");
        assert_eq!(table.remove("1").as_deref(), Some("1"));
        assert!(table.find("A2").is_none());
    }
}
