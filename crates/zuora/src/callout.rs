//! Callouts: how Zuora tells that an async request has ended.
//!
//! There are two events, *Async Request Succeeded* and *Async Request Failed*, each with a body of its own (Zuora:
//! asynchronous requests guide). Neither body is described in more than an example, so what can be read is read, and only
//! what leaves open which request it is, or how that ended, is no callout.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The longest id of a request that is taken for one: Zuora's have 32 or 36 characters, track ids at most 64.
const LONGEST_ID: usize = 256;

/// How many levels of arrays and objects are taken. Whoever keeps what it tells wraps it in some more, and must be able to
/// read that again: serde_json reads 127.
pub(crate) const DEEPEST: usize = 64;

/// What one callout tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Callout {
    /// Zuora's id of the request, as it was in the answer to its submission.
    pub request_id: Option<String>,
    /// The `Zuora-Track-Id` that the request was submitted with.
    pub track_id: Option<String>,
    /// The method of the request.
    pub method: Option<String>,
    /// Its URL.
    pub url: Option<String>,
    /// When it was submitted, as Zuora writes it.
    pub submitted: Option<String>,
    /// When it had ended, as Zuora writes it.
    pub completed: Option<String>,
    /// How it ended.
    pub end: End,
}

/// How a request ended.
#[derive(Clone, PartialEq)]
pub enum End {
    /// It was executed.
    Succeeded {
        /// What Zuora tells of its result: the `id` of what was made or changed, and no more.
        data: Map<String, Value>,
    },
    /// It was not executed.
    Failed {
        /// Why, each with a `code` and a `message`.
        reasons: Vec<Value>,
        /// What Zuora's support finds it by.
        process_id: Option<String>,
    },
}

/// Why a body is no callout of an async request.
#[derive(Debug, thiserror::Error)]
pub enum BadCallout {
    /// It is not JSON, or an object in it has the same member twice, so that it could be read in two ways.
    #[error("it cannot be read")]
    Json(#[source] serde_json::Error),
    /// It is JSON of another shape.
    #[error("it is no JSON object, or one of more than {DEEPEST} levels")]
    Shape,
    /// It names no request.
    #[error("it has neither a `request.id` nor a `request.trackId`")]
    Unnamed,
    /// It does not tell how the request ended.
    #[error("its `state` is neither `succeeded` nor `failed`")]
    State,
}

impl Callout {
    /// Reads the body of a callout of either event. It says nothing about who sent it.
    ///
    /// # Errors
    /// If it leaves open which request it is about or how that ended, or could be read in two ways.
    pub fn read(body: &[u8]) -> Result<Self, BadCallout> {
        let Unambiguous(body) = serde_json::from_slice(body).map_err(BadCallout::Json)?;
        Self::of(body)
    }

    /// Takes a body of either event that was read already, as the callout history has it.
    ///
    /// # Errors
    /// If it leaves open which request it is about or how that ended.
    pub fn of(body: Value) -> Result<Self, BadCallout> {
        if is_deeper(&body, DEEPEST) {
            return Err(BadCallout::Shape);
        }
        let Value::Object(mut body) = body else { return Err(BadCallout::Shape) };
        let end = End::of(&mut body)?;
        let Some(Value::Object(mut request)) = body.remove("request") else {
            return Err(BadCallout::Unnamed);
        };
        let request_id = request.remove("id").and_then(id);
        let track_id = request.remove("trackId").and_then(id);
        if request_id.is_none() && track_id.is_none() {
            return Err(BadCallout::Unnamed);
        }
        Ok(Self {
            request_id,
            track_id,
            method: request.remove("method").and_then(text),
            url: request.remove("url").and_then(text),
            submitted: body.remove("createTime").and_then(text),
            completed: body.remove("completeTime").and_then(text),
            end,
        })
    }
}

impl End {
    fn of(body: &mut Map<String, Value>) -> Result<Self, BadCallout> {
        let data = match body.remove("data") {
            Some(Value::Object(data)) => Some(data),
            _ => None,
        };
        let reasons = match body.remove("reasons") {
            Some(Value::Array(reasons)) => Some(reasons),
            Some(reason @ Value::Object(_)) => Some(vec![reason]),
            _ => None,
        };
        let state = body.remove("state").filter(|state| !state.is_null());
        let has_succeeded = match (&state, &data, &reasons) {
            (Some(Value::String(state)), _, _) if state.eq_ignore_ascii_case("succeeded") => true,
            (Some(Value::String(state)), _, _) if state.eq_ignore_ascii_case("failed") => false,
            // Each event has a member that the other does not have.
            (None, Some(_), None) => true,
            (None, None, Some(_)) => false,
            _ => return Err(BadCallout::State),
        };
        Ok(if has_succeeded {
            Self::Succeeded { data: data.unwrap_or_default() }
        } else {
            let process_id = body.remove("processId").and_then(text);
            Self::Failed { reasons: reasons.unwrap_or_default(), process_id }
        })
    }
}

/// Whether a value has more levels of arrays and objects than `most`.
pub(crate) fn is_deeper(value: &Value, most: usize) -> bool {
    let is_inside = |value: &Value| is_deeper(value, most - 1);
    match value {
        Value::Array(items) => most == 0 || items.iter().any(is_inside),
        Value::Object(members) => most == 0 || members.values().any(is_inside),
        _ => false,
    }
}

/// An id: a word or a number, neither empty nor longer than one can be.
fn id(value: Value) -> Option<String> {
    text(value).filter(|id| !id.is_empty() && id.len() <= LONGEST_ID)
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A JSON value of which no object has the same member twice: of two, one reader takes the first and another the last.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Unambiguous(value))) = members.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("an object has a member twice"));
            }
        }
        Ok(object.into())
    }
}

// How a request ended is the app's business: what is printed is which way.
impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded { .. } => f.write_str("Succeeded(***)"),
            Self::Failed { reasons, .. } => write!(f, "Failed({} reasons)", reasons.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SUCCEEDED: &str = r#"{"createTime":"2021-10-03T10:33:12Z","completeTime":"2021-10-03T10:34:22Z",
        "request":{"id":"R1","method":"POST","url":"/v1/accounts","trackId":"app-1"},
        "state":"succeeded","data":{"id":"8ad0"}}"#;

    const FAILED: &str = r#"{"createTime":"2021-10-03T10:33:12Z","completeTime":"2021-10-03T10:34:22Z",
        "request":{"id":"R1","method":"POST","url":"/v1/accounts","trackId":"app-1"},
        "state":"failed","reasons":[{"code":"53100020","message":"no"}],"processId":"7F"}"#;

    fn succeeded(data: Value) -> End {
        let Value::Object(data) = data else { panic!("data is an object") };
        End::Succeeded { data }
    }

    fn failed(reasons: &[Value], process_id: Option<&str>) -> End {
        End::Failed { reasons: reasons.to_vec(), process_id: process_id.map(str::to_owned) }
    }

    /// How a body is understood, with these members instead of the usual ones; `null` takes one away.
    #[track_caller]
    fn read(body: &str, instead: &Value) -> Result<Callout, BadCallout> {
        let mut body: Value = serde_json::from_str(body).unwrap();
        for (name, value) in instead.as_object().unwrap() {
            body[name] = value.clone();
        }
        Callout::read(body.to_string().as_bytes())
    }

    #[test]
    fn both_events_are_understood() {
        let expected = Callout {
            request_id: Some("R1".to_owned()),
            track_id: Some("app-1".to_owned()),
            method: Some("POST".to_owned()),
            url: Some("/v1/accounts".to_owned()),
            submitted: Some("2021-10-03T10:33:12Z".to_owned()),
            completed: Some("2021-10-03T10:34:22Z".to_owned()),
            end: succeeded(json!({"id": "8ad0"})),
        };
        assert_eq!(Callout::read(SUCCEEDED.as_bytes()).unwrap(), expected);
        let reasons = [json!({"code": "53100020", "message": "no"})];
        let expected = Callout { end: failed(&reasons, Some("7F")), ..expected };
        assert_eq!(Callout::read(FAILED.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn one_of_the_two_ids_is_enough() {
        for (request, ids) in [
            (json!({"id": "R1"}), (Some("R1"), None)),
            (json!({"trackId": "T1"}), (None, Some("T1"))),
            (json!({"id": 17, "trackId": null}), (Some("17"), None)),
            (json!({"id": "", "trackId": "T1"}), (None, Some("T1"))),
            (json!({"id": "x".repeat(257), "trackId": "T1"}), (None, Some("T1"))),
            (json!({"id": {"id": "R1"}, "trackId": "T1"}), (None, Some("T1"))),
        ] {
            let callout = read(SUCCEEDED, &json!({"request": request})).unwrap();
            assert_eq!((callout.request_id.as_deref(), callout.track_id.as_deref()), ids);
        }
        for request in [json!({}), json!({"id": "", "trackId": [1]}), json!("R1"), Value::Null] {
            let bad = read(SUCCEEDED, &json!({"request": request}));
            assert!(matches!(bad, Err(BadCallout::Unnamed)), "{bad:?}");
        }
    }

    #[test]
    fn the_state_counts_and_only_where_there_is_none_what_came_with_it() {
        for word in ["succeeded", "Succeeded", "SUCCEEDED"] {
            let callout = read(SUCCEEDED, &json!({"state": word})).unwrap();
            assert_eq!(callout.end, succeeded(json!({"id": "8ad0"})));
        }
        let reasons = [json!({"code": "53100020", "message": "no"})];
        assert_eq!(
            read(FAILED, &json!({"state": null})).unwrap().end,
            failed(&reasons, Some("7F"))
        );
        assert_eq!(
            read(SUCCEEDED, &json!({"state": null})).unwrap().end,
            succeeded(json!({"id": "8ad0"}))
        );
        assert_eq!(read(SUCCEEDED, &json!({"state": "failed"})).unwrap().end, failed(&[], None));
        let neither = [
            json!({"state": "processing"}),
            json!({"state": true}),
            json!({"state": null, "data": null}),
            json!({"state": null, "reasons": []}),
        ];
        for instead in neither {
            let bad = read(SUCCEEDED, &instead);
            assert!(matches!(bad, Err(BadCallout::State)), "{instead}: {bad:?}");
        }
    }

    #[test]
    fn a_failure_keeps_its_reasons_as_they_are() {
        let long = "x".repeat(60 * 1024);
        for (given, reasons) in [
            (json!([{"code": 50000040, "message": long, "more": [1]}]), 1),
            (json!([{"code": "1"}, {"code": "2"}]), 2),
            (json!({"code": "1", "message": "alone"}), 1),
            (json!([]), 0),
            (json!("no"), 0),
        ] {
            let End::Failed { reasons: got, process_id } =
                read(FAILED, &json!({"reasons": given})).unwrap().end
            else {
                panic!("it failed");
            };
            assert_eq!((got.len(), process_id.as_deref()), (reasons, Some("7F")));
            let kept = if given.is_array() { given } else { json!([given]) };
            assert!(reasons == 0 || json!(got) == kept);
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        for (once, twice) in [
            (r#""state":"succeeded""#, r#""state":"failed","state":"succeeded""#),
            (r#""id":"R1""#, r#""id":"R2","id":"R1""#),
            (r#""id":"R1""#, r#""id":"R2","i\u0064":"R1""#),
            (r#""id":"8ad0""#, r#""id":"8ad0","id":"8ad0""#),
            (r#""data":{"#, r#""more":[{"a":1,"a":1}],"data":{"#),
        ] {
            assert!(SUCCEEDED.contains(once));
            let bad = Callout::read(SUCCEEDED.replace(once, twice).as_bytes());
            assert!(matches!(bad, Err(BadCallout::Json(_))), "{twice}: {bad:?}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_no_callout() {
        for body in ["", "{", "<a/>", "state=succeeded", "{} {}", "\u{feff}{}"] {
            assert!(matches!(Callout::read(body.as_bytes()), Err(BadCallout::Json(_))), "{body}");
        }
        for body in ["[]", "null", "1", "\"succeeded\""] {
            assert!(matches!(Callout::read(body.as_bytes()), Err(BadCallout::Shape)), "{body}");
        }
        assert!(matches!(Callout::read(b"\"\xff\""), Err(BadCallout::Json(_))));
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(Callout::read(deep.as_bytes()), Err(BadCallout::Json(_))));
    }

    #[test]
    fn what_is_nested_too_deeply_to_be_kept_is_no_callout() {
        let data = |levels: usize| {
            let nested = format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
            SUCCEEDED.replace(r#"{"id":"8ad0"}"#, &nested)
        };

        // The body itself is a level.
        assert!(Callout::read(data(63).as_bytes()).is_ok());
        for levels in [64, 100, 126] {
            let bad = Callout::read(data(levels).as_bytes());
            assert!(matches!(bad, Err(BadCallout::Shape)), "{levels}: {bad:?}");
        }
    }

    #[test]
    fn nothing_of_an_outcome_is_printed() {
        let printed = format!("{:?}", Callout::read(SUCCEEDED.as_bytes()).unwrap());
        assert!(!printed.contains("8ad0"), "{printed}");
        let printed = format!("{:?}", Callout::read(FAILED.as_bytes()).unwrap());
        assert!(!printed.contains("53100020"), "{printed}");
    }
}
