//! Notification definitions: who is told of which event.

use std::net::IpAddr;

use http::{HeaderValue, StatusCode, Uri};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    calendar::{self, Calendar},
    options::{CalloutEvent, Definition},
};
use crate::{
    answers::{self, Answer},
    call::Call,
    category::Category,
};

/// How many definitions of other events a tenant has, for lists to have pages.
const OTHERS: usize = 25;

/// More than this a tenant does not keep.
const MOST: usize = 1_000;

/// All definitions, as they were written, with an `id` each.
#[derive(Debug)]
pub(super) struct Definitions {
    all: Vec<Value>,
}

impl Definitions {
    pub(super) fn new(told: &[Definition]) -> Self {
        let others = (1..=OTHERS).map(|nth| {
            json!({
                "id": format!("{nth:032x}"),
                "name": format!("Definition {nth}"),
                "active": true,
                "eventTypeName": "Subscription Created",
                "calloutActive": false,
                "emailActive": true,
            })
        });
        Self { all: others.chain(told.iter().map(written)).collect() }
    }

    /// Those that tell of asynchronous writes.
    pub(super) fn all(&self) -> Vec<Definition> {
        self.all.iter().filter_map(read).collect()
    }

    /// Answers `/notifications/notification-definitions` and below; `None`: there is no such call.
    pub(super) fn answer(
        &mut self,
        call: &Call,
        rest: &[&str],
        calendar: &Calendar,
    ) -> Option<Answer> {
        Some(match (call.method.as_str(), rest) {
            ("GET", []) => self.list(call),
            ("POST", []) => self.add(call, calendar),
            ("GET", [id]) => match self.position(id) {
                Some(at) => Answer::ok(&shown(&self.all[at])),
                None => missing(id),
            },
            ("PUT", [id]) => match self.position(id) {
                Some(at) => self.change(at, call, calendar),
                None => missing(id),
            },
            ("DELETE", [id]) => match self.position(id) {
                Some(at) => {
                    self.all.remove(at);
                    let none = HeaderValue::from_static("");
                    Answer::new(StatusCode::NO_CONTENT, none, bytes::Bytes::new())
                }
                None => missing(id),
            },
            _ => return None,
        })
    }

    fn position(&self, id: &str) -> Option<usize> {
        self.all.iter().position(|one| one["id"] == id)
    }

    /// A page by `start` and `limit`; `next` is relative.
    fn list(&self, call: &Call) -> Answer {
        let number = |name: &str| call.parameter(name).and_then(|text| text.parse::<usize>().ok());
        let event = call.parameter("eventTypeName");
        let meant = |one: &&Value| event.is_none_or(|it| one["eventTypeName"] == it);
        let matching: Vec<_> = self.all.iter().filter(meant).collect();
        let start = number("start").unwrap_or(0).min(matching.len());
        let limit = number("limit").unwrap_or(10).clamp(1, 50);
        let end = (start + limit).min(matching.len());
        let list: Vec<Value> = matching[start..end].iter().map(|one| shown(one)).collect();
        let next = (end < matching.len()).then(|| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("start", &end.to_string()).append_pair("limit", &limit.to_string());
            if let Some(event) = event {
                query.append_pair("eventTypeName", event);
            }
            format!("/notification-definitions?{}", query.finish())
        });
        Answer::ok(&json!({"data": list, "next": next}))
    }

    fn add(&mut self, call: &Call, calendar: &Calendar) -> Answer {
        let mut wished = object(&call.json);
        let defaults = json!({"active": true, "calloutActive": false, "emailActive": false,
            "communicationProfileId": "8ad0000000000000000000000000c0de"});
        for (name, value) in object(&defaults) {
            wished.entry(name).or_insert(value);
        }
        let mut wished = Value::Object(wished);
        if let Err(message) = self.check(&wished, None) {
            return refused(&message);
        }
        if self.all.len() >= MOST {
            return refused("There are too many notification definitions.");
        }
        let now = calendar::exact_text(calendar.now());
        wished["id"] = Uuid::new_v4().simple().to_string().into();
        wished["createdOn"] = now.clone().into();
        wished["updatedOn"] = now.into();
        let answer = Answer::ok(&shown(&wished));
        self.all.push(wished);
        answer
    }

    /// Takes over what is named; the callout's parts, too, one by one.
    fn change(&mut self, at: usize, call: &Call, calendar: &Calendar) -> Answer {
        let mut changed = object(&self.all[at]);
        for (name, value) in object(&call.json) {
            match (changed.get_mut(&name), value) {
                (_, _) if name == "id" => {}
                (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
                (_, value) => {
                    changed.insert(name, value);
                }
            }
        }
        let mut changed = Value::Object(changed);
        if let Err(message) = self.check(&changed, Some(at)) {
            return refused(&message);
        }
        changed["updatedOn"] = calendar::exact_text(calendar.now()).into();
        let answer = Answer::ok(&shown(&changed));
        self.all[at] = changed;
        answer
    }

    /// What Zuora's description demands.
    fn check(&self, one: &Value, own: Option<usize>) -> Result<(), String> {
        let name = required(one, "name")?;
        required(one, "eventTypeName")?;
        let same = self.all.iter().position(|other| other["name"] == name);
        if same.is_some() && same != own {
            return Err(format!("The name '{name}' is in use."));
        }
        let callout = &one["callout"];
        if !callout.is_object() {
            return match one["calloutActive"] == true {
                true => Err("Missing required value: 'callout'.".to_owned()),
                false => Ok(()),
            };
        }
        if required(callout, "eventTypeName")? != one["eventTypeName"] {
            return Err("The eventTypeName of the callout must be that of the definition.".into());
        }
        required(callout, "name")?;
        let method = required(callout, "httpMethod")?;
        if !["GET", "PUT", "POST", "DELETE"].contains(&method) {
            return Err("The value of 'httpMethod' is not valid.".to_owned());
        }
        let url = required(callout, "calloutBaseurl")?;
        if !url.starts_with("https://") && !is_loopback(url) {
            return Err("The value of 'calloutBaseurl' must start with 'https://'.".to_owned());
        }
        let Value::Bool(with_credentials) = &callout["requiredAuth"] else {
            return Err("Missing required value: 'requiredAuth'.".to_owned());
        };
        if *with_credentials {
            let credentials = &callout["calloutAuth"];
            required(credentials, "username")?;
            required(credentials, "password")?;
        }
        Ok(())
    }
}

fn required<'a>(one: &'a Value, name: &str) -> Result<&'a str, String> {
    match one[name].as_str() {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(format!("Missing required value: '{name}'.")),
    }
}

/// Whether it is a plain address of this machine, where tests listen.
fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    uri.scheme_str() == Some("http")
        && (host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()))
}

/// A definition as it would have been written.
fn written(one: &Definition) -> Value {
    let mut callout = json!({
        "active": true,
        "calloutBaseurl": one.url,
        "calloutRetry": one.retries,
        "eventTypeName": one.event.name(),
        "httpMethod": one.method,
        "name": one.name,
        "requiredAuth": one.credentials.is_some(),
    });
    if let Some((username, password)) = &one.credentials {
        callout["calloutAuth"] =
            json!({"preemptive": one.preemptive, "username": username, "password": password});
    }
    json!({
        "id": Uuid::new_v4().simple().to_string(),
        "name": one.name,
        "active": one.active,
        "eventTypeName": one.event.name(),
        "calloutActive": true,
        "callout": callout,
        "emailActive": false,
    })
}

/// A definition as it is understood; `None`: it tells of something else, or of nothing.
fn read(one: &Value) -> Option<Definition> {
    let callout = &one["callout"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let credentials = &callout["calloutAuth"];
    let credentials = if callout["requiredAuth"] == true {
        Some((text(&credentials["username"])?, text(&credentials["password"])?))
    } else {
        None
    };
    let is_on = |value: &Value| value.as_bool().unwrap_or(true);
    Some(Definition {
        name: text(&one["name"])?,
        event: CalloutEvent::named(one["eventTypeName"].as_str()?)?,
        url: text(&callout["calloutBaseurl"])?,
        method: text(&callout["httpMethod"])?,
        credentials,
        preemptive: callout["calloutAuth"]["preemptive"] == true,
        retries: is_on(&callout["calloutRetry"]),
        active: is_on(&one["active"]) && one["calloutActive"] == true && is_on(&callout["active"]),
    })
}

/// A definition as it is answered: without the password.
fn shown(one: &Value) -> Value {
    let mut shown = one.clone();
    let credentials = shown.pointer_mut("/callout/calloutAuth").and_then(Value::as_object_mut);
    if let Some(credentials) = credentials {
        credentials.remove("password");
    }
    shown
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn refused(message: &str) -> Answer {
    let reason = json!({"code": Category::InvalidValue.code(), "message": message});
    Answer::json(StatusCode::BAD_REQUEST, &json!({"success": false, "reasons": [reason]}))
}

fn missing(id: &str) -> Answer {
    let message = format!("Cannot find the notification definition '{id}'.");
    answers::failure(crate::operations::Family::Other, true, Category::NotFound, &message)
}
