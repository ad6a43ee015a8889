//! The shapes of complaints in JSON, all of them read by one parser in one pass.
//!
//! | family | shape |
//! |---|---|
//! | v1 | `{"success": false, "processId": "…", "reasons": [{"code": 53100320, "message": "…"}]}` |
//! | object query | `{"reasons": [{"code": …, "message": "…"}], "requestId": "…"}` |
//! | CRUD | `{"Success": false, "Errors": [{"Code": "INVALID_VALUE", "Message": "…"}]}` |
//! | Actions | `{"success": false, "errors": […]}`, `{"FaultCode": "…", "FaultMessage": "…"}`, `{"faultcode": "fns:…", "faultstring": "…"}` |
//! | rows of an Action | `[{"Success": true, "Id": "…"}, {"Success": false, "Errors": […]}]` |
//! | custom objects, and others | `{"code": "…", "message": "…", "details": …}` |
//! | AQuA | `{"errorCode": 90028, "message": "…"}` |
//! | data query | `{"data": {"errorCode": "LINK_10000005", "errorMessage": "…"}}` |
//! | workflow | `{"errors": [{"code": "invalid", "status": 422, "title": "…"}]}` |
//! | Spring | `{"timestamp": …, "status": 500, "error": "…", "message": "…", "path": "…"}` |

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::category::Category;
use super::complaint::Complaint;

/// `None` if the text is not whole JSON, has one of the fields twice, or has something else under
/// its name than a complaint would; with `only_pure` also as soon as it has a field that a complaint
/// does not have.
pub(super) fn read(text: &[u8], only_pure: bool) -> Option<Complaint> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let complaint = Reader { only_pure }.deserialize(&mut json).ok()?;
    json.end().ok()?;
    Some(complaint)
}

/// Whether it is JSON at all, of whatever shape.
pub(super) fn is_whole(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// The fields of an object that matter, in all their spellings.
#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier)]
enum Field {
    #[serde(rename = "success", alias = "Success")]
    Success,
    #[serde(rename = "reasons", alias = "errors", alias = "Errors")]
    Reasons,
    #[serde(rename = "FaultCode", alias = "faultcode")]
    FaultCode,
    #[serde(rename = "FaultMessage", alias = "faultstring")]
    FaultMessage,
    #[serde(rename = "code")]
    Code,
    #[serde(rename = "message")]
    Message,
    #[serde(rename = "errorCode")]
    ErrorCode,
    #[serde(rename = "errorMessage")]
    ErrorMessage,
    #[serde(rename = "data")]
    Data,
    /// Stands beside a complaint and says nothing here.
    #[serde(
        rename = "processId",
        alias = "requestId",
        alias = "details",
        alias = "timestamp",
        alias = "status",
        alias = "error",
        alias = "path"
    )]
    Beside,
    #[serde(other)]
    Strange,
}

#[derive(Default, Deserialize)]
struct Reason {
    #[serde(alias = "Code")]
    code: Option<Code>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

/// Zuora writes codes as numbers and as strings.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Number(u64),
    Word(String),
    Neither(IgnoredAny),
}

impl Code {
    fn category(&self) -> Category {
        match self {
            Self::Number(number) => Category::of(&number.to_string()),
            Self::Word(word) => Category::of(word),
            Self::Neither(_) => Category::Missing,
        }
    }

    fn is_number(&self) -> bool {
        match self {
            Self::Number(_) => true,
            Self::Word(word) => word.bytes().all(|byte| byte.is_ascii_digit()),
            Self::Neither(_) => false,
        }
    }
}

/// What an object holds, before it is known which shape it has.
#[derive(Default)]
struct Object {
    success: Option<bool>,
    reasons: Option<Vec<Reason>>,
    fault_code: Option<Code>,
    fault_message: Option<String>,
    code: Option<Code>,
    message: Option<String>,
    error_code: Option<Code>,
    error_message: Option<String>,
    data: Option<Data>,
    is_strange: bool,
}

impl Object {
    fn read<'de, M: MapAccess<'de>>(mut map: M, only_pure: bool) -> Result<Self, M::Error> {
        let mut object = Self::default();
        let mut seen = 0_u16;
        while let Some(field) = map.next_key::<Field>()? {
            match field {
                Field::Success => object.success = map.next_value()?,
                Field::Reasons => object.reasons = map.next_value()?,
                Field::FaultCode => object.fault_code = map.next_value()?,
                Field::FaultMessage => object.fault_message = map.next_value()?,
                Field::Code => object.code = map.next_value()?,
                Field::Message => object.message = map.next_value()?,
                Field::ErrorCode => object.error_code = map.next_value()?,
                Field::ErrorMessage => object.error_message = map.next_value()?,
                Field::Data => object.data = map.next_value()?,
                Field::Strange if only_pure => return Err(M::Error::custom("not a complaint")),
                Field::Beside | Field::Strange => {
                    map.next_value::<IgnoredAny>()?;
                    object.is_strange |= matches!(field, Field::Strange);
                    continue;
                }
            }
            // Which of two counts is a matter of taste, and must not be one here.
            let place = 1 << field as u16;
            if seen & place != 0 {
                return Err(M::Error::custom("one thing said twice"));
            }
            seen |= place;
        }
        Ok(object)
    }
}

impl From<Object> for Complaint {
    fn from(object: Object) -> Self {
        let mut complaint =
            Self { success: object.success, holds_more: object.is_strange, ..Self::default() };
        for reason in object.reasons.iter().flatten() {
            let category = reason.code.as_ref().map_or(Category::Missing, Code::category);
            complaint.add(category, reason.message.as_deref());
        }
        if let Some(code) = &object.fault_code {
            complaint.add(code.category(), object.fault_message.as_deref());
        }
        if let Some(code) = &object.error_code {
            complaint.add(code.category(), object.error_message.as_deref());
        }
        if let Some(Data::Complaint { code, message }) = &object.data {
            complaint.add(code.category(), message.as_deref());
        } else if object.data.is_some() {
            complaint.holds_more = true;
        }
        match (&object.code, &object.message) {
            (Some(code), Some(message)) => {
                complaint.is_lone_number = complaint.codes.is_empty() && code.is_number();
                complaint.add(code.category(), Some(message));
            }
            (Some(_), None) => complaint.holds_more = true,
            (None, message) => complaint.say(message.as_deref()),
        }
        complaint
    }
}

/// What stands under `data`. Of a job that failed in its time it tells, too; that has an id and a
/// status, and is the answer that was asked for.
enum Data {
    Complaint { code: Code, message: Option<String> },
    Else,
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(DataVisitor)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Data, M::Error> {
        let Object { error_code, error_message, is_strange, .. } = Object::read(map, false)?;
        Ok(match error_code.filter(|_| !is_strange) {
            Some(code) => Data::Complaint { code, message: error_message },
            None => Data::Else,
        })
    }
}

/// One row of an Action's answer.
#[derive(Deserialize)]
struct Row {
    #[serde(rename = "Success", alias = "success")]
    success: Option<bool>,
}

/// Reads an object or rows.
struct Reader {
    only_pure: bool,
}

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Complaint;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Complaint, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Complaint;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or rows")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Complaint, M::Error> {
        Object::read(map, self.only_pure).map(Complaint::from)
    }

    /// It failed if every row did; if some did, it is for the caller to tell them apart.
    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Complaint, S::Error> {
        let (mut rows, mut failed) = (0, 0);
        while let Some(row) = seq.next_element::<Row>()? {
            rows += 1;
            failed += usize::from(row.success == Some(false));
        }
        let success = (rows > 0).then_some(failed < rows);
        Ok(Complaint { success, is_rows: true, ..Complaint::default() })
    }
}
