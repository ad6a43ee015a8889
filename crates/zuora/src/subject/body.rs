//! Names in a JSON body.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{SubjectKind, Subjects};
use crate::operation::Operation;

/// Reads a body, or the beginning of one: what was found before the cut counts.
pub(super) fn read(operation: Option<&Operation>, body: &[u8], found: &mut Subjects) {
    if !matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return;
    }
    let path = operation.map_or("", |operation| operation.path);
    if path.starts_with("/v1/action/") {
        read_rows(body, found);
    }
    let names_bank_accounts = path.contains("payment-method");
    let walk = Walk { names_bank_accounts, of: Of::Nothing, found };
    // An error is the end of the look, of the room for subjects, or of what is JSON.
    let _ = walk.deserialize(&mut serde_json::Deserializer::from_slice(body));
}

/// `{"type": "Account", "objects": [{"Id": …}]}` and `{"type": "Account", "ids": […]}`: what the
/// names are of stands elsewhere in the body.
fn read_rows(body: &[u8], found: &mut Subjects) {
    #[derive(Deserialize)]
    struct Rows<'a> {
        #[serde(rename = "type", borrow)]
        of: Cow<'a, str>,
        #[serde(default, borrow)]
        objects: Vec<Row<'a>>,
        #[serde(default, borrow)]
        ids: Vec<Cow<'a, str>>,
    }

    #[derive(Deserialize)]
    struct Row<'a> {
        #[serde(rename = "Id", default, borrow)]
        id: Cow<'a, str>,
    }

    let Ok(rows) = serde_json::from_slice::<Rows<'_>>(body) else { return };
    if let Some(kind) = SubjectKind::of_word(&rows.of) {
        rows.objects.iter().map(|row| &row.id).chain(&rows.ids).for_each(|id| found.add(kind, id));
    }
}

/// What the field before a value says of it.
#[derive(Clone, Copy)]
enum Of {
    Nothing,
    /// The value is the name: `"accountKey": "A00000001"`.
    Name(SubjectKind),
    /// The value is the thing itself: `"Account": {"Id": …}`.
    Thing(SubjectKind),
}

/// A walk through one value of the body.
struct Walk<'f> {
    /// `accountNumber` is the number of an account at a bank.
    names_bank_accounts: bool,
    of: Of,
    found: &'f mut Subjects,
}

impl Walk<'_> {
    fn below(&mut self, of: Of) -> Walk<'_> {
        Walk { names_bank_accounts: self.names_bank_accounts, of, found: &mut *self.found }
    }

    fn name<E: Error>(self, name: &str) -> Result<(), E> {
        if let Of::Name(kind) = self.of {
            self.found.add(kind, name);
        }
        if self.found.is_full() { Err(E::custom("enough")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<(), M::Error> {
        let (of, names_bank_accounts) = (self.of, self.names_bank_accounts);
        while let Some(next) = map.next_key_seed(Field { of, names_bank_accounts })? {
            map.next_value_seed(self.below(next))?;
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut seq: S) -> Result<(), S::Error> {
        while seq.next_element_seed(self.below(Of::Nothing))?.is_some() {}
        Ok(())
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        self.name(name)
    }

    /// Some clients write a number for a number.
    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.name(&number.to_string())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a field's name for what it says of the value.
struct Field {
    /// What the object is.
    of: Of,
    names_bank_accounts: bool,
}

impl<'de> DeserializeSeed<'de> for Field {
    type Value = Of;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Of, D::Error> {
        key.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Field {
    type Value = Of;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Of, E> {
        let of = match (name, self.of) {
            ("Id" | "id", Of::Thing(kind)) => Of::Name(kind),
            ("Account", _) => Of::Thing(SubjectKind::Account),
            ("Subscription", _) => Of::Thing(SubjectKind::Subscription),
            _ if self.names_bank_accounts && name.eq_ignore_ascii_case("accountNumber") => {
                Of::Nothing
            }
            _ => SubjectKind::of_field(name).map_or(Of::Nothing, Of::Name),
        };
        Ok(of)
    }
}
