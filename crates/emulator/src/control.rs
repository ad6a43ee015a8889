//! The tenant's own controls, under `/emulator/…` on the same port.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    answers::Answer,
    body::{AnswerBody, Cut},
    call::Call,
    dress,
    faults::Fault,
    later::options::Mishap,
    limits::Outsider,
    locks::lock,
    road::Shows,
    server::Inner,
};

/// How many executed calls `GET /emulator/ledger` lists unless told.
const LISTED: usize = 1000;

/// The outsiders that came through the controls.
#[derive(Debug, Default)]
pub(crate) struct Outsiders {
    here: Mutex<HashMap<String, Outsider>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutsiderWish {
    limit_type: String,
    permits: u32,
}

/// Who may log in from now on: pairs of a name and a secret. What is not named stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersWish {
    clients: Option<Vec<(String, String)>>,
    api_keys: Option<Vec<(String, String)>>,
    soap_users: Option<Vec<(String, String)>>,
}

/// What goes wrong with asynchronous writes from now on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MishapWish {
    chances: Option<BTreeMap<Mishap, f64>>,
    #[serde(default)]
    next: Vec<Mishap>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AsyncWish {
    paused: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FaultWish {
    Many(Vec<Fault>),
    One(Fault),
}

/// Answers a call of the controls. They need no credential and are in no ledger.
pub(crate) async fn answer(
    tenant: &Inner,
    mut call: Call,
    body: Incoming,
) -> Result<Response<AnswerBody>, Cut> {
    call.take_body(body).await.map_err(|_| Cut)?;
    let answer = match (call.method.as_str(), call.parts().get(1..).unwrap_or_default()) {
        ("GET", ["ledger"]) => ledger(tenant, &call),
        ("POST", ["reset"]) => {
            tenant.reset();
            done()
        }
        ("POST", ["faults"]) => read(&call).map_or_else(identity, |wish| add_faults(tenant, wish)),
        ("GET", ["faults"]) => Answer::ok(&json!({
            "waiting": tenant.faults.waiting(),
            "struck": tenant.faults.struck(),
        })),
        ("DELETE", ["faults"]) => {
            tenant.faults.clear();
            done()
        }
        ("POST", ["mishaps"]) => {
            read(&call).map_or_else(identity, |wish| set_mishaps(tenant, &wish))
        }
        ("POST", ["async"]) => read(&call).map_or_else(identity, |wish: AsyncWish| {
            tenant.later.pause(wish.paused);
            done()
        }),
        ("POST", ["limits"]) => read(&call).map_or_else(identity, |wish| set_limits(tenant, &wish)),
        ("POST", ["outsider"]) => {
            read(&call).map_or_else(identity, |wish| set_outsider(tenant, &wish))
        }
        ("GET", ["bucket", file]) => tenant.stored_file(&call, file),
        ("POST", ["revoke"]) => {
            tenant.gate.revoke();
            tenant.gate.end_sessions();
            done()
        }
        ("POST", ["credentials"]) => {
            read(&call).map_or_else(identity, |wish| set_users(tenant, &wish))
        }
        _ => trouble(StatusCode::NOT_FOUND, "no such control"),
    };
    Ok(dress::response(&call, answer, &Shows::default(), None))
}

fn ledger(tenant: &Inner, call: &Call) -> Answer {
    let listed = call.parameter("executed").and_then(|text| text.parse().ok()).unwrap_or(LISTED);
    let ledger = tenant.snapshot(listed);
    Answer::ok(&json!(ledger))
}

fn add_faults(tenant: &Inner, wish: FaultWish) -> Answer {
    let faults = match wish {
        FaultWish::Many(faults) => faults,
        FaultWish::One(fault) => vec![fault],
    };
    for fault in faults {
        tenant.faults.add(fault);
    }
    done()
}

fn set_limits(tenant: &Inner, wish: &BTreeMap<String, Option<u32>>) -> Answer {
    if let Some(unknown) = wish.keys().find(|name| tenant.limits.pool(None, name).is_none()) {
        return trouble(StatusCode::NOT_FOUND, &format!("no limit type `{unknown}`"));
    }
    for (limit_type, limit) in wish {
        tenant.limits.set(limit_type, *limit);
    }
    done()
}

fn set_mishaps(tenant: &Inner, wish: &MishapWish) -> Answer {
    if let Some(chances) = &wish.chances {
        let chances: Vec<_> = chances.iter().map(|(mishap, chance)| (*mishap, *chance)).collect();
        tenant.later.set_mishaps(&chances);
    }
    for mishap in &wish.next {
        tenant.later.plan(*mishap, 1);
    }
    done()
}

fn set_users(tenant: &Inner, wish: &UsersWish) -> Answer {
    if let Some(clients) = &wish.clients {
        tenant.gate.set_clients(clients);
    }
    if let Some(keys) = &wish.api_keys {
        tenant.gate.set_api_keys(keys);
    }
    if let Some(users) = &wish.soap_users {
        tenant.gate.set_soap_users(users);
    }
    done()
}

fn set_outsider(tenant: &Inner, wish: &OutsiderWish) -> Answer {
    let Some(pool) = tenant.limits.pool(None, &wish.limit_type) else {
        return trouble(StatusCode::NOT_FOUND, &format!("no limit type `{}`", wish.limit_type));
    };
    let mut here = lock(&tenant.outsiders.here);
    let outsider = here.entry(wish.limit_type.clone()).or_insert_with(|| pool.occupy(0));
    outsider.change(wish.permits);
    done()
}

fn read<T: DeserializeOwned>(call: &Call) -> Result<T, Answer> {
    T::deserialize(&call.json).map_err(|error| {
        trouble(StatusCode::BAD_REQUEST, &format!("the body is not what is expected here: {error}"))
    })
}

fn done() -> Answer {
    Answer::ok(&json!({"success": true}))
}

fn trouble(status: StatusCode, message: &str) -> Answer {
    let body: Value = json!({"success": false, "message": message});
    Answer::json(status, &body)
}

fn identity(answer: Answer) -> Answer {
    answer
}
