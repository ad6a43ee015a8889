//! Calls that browsers make directly (CORS REST): a server has a signature and
//! a token made for one call, and they are good for that call, once.

use std::{collections::HashMap, sync::Arc, sync::Mutex};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{StatusCode, Uri};
use serde_json::json;
use uuid::Uuid;

use crate::{
    answers::Answer,
    call::Call,
    credential::{Brought, Credential},
    gate::{Caller, Who},
    locks::lock,
};

/// More than this are not out at once.
const MOST_OUT: usize = 10_000;

/// The code for an address that nothing can be signed for.
const BAD_URI: u32 = 59_010_220;

/// What has been signed and not been used.
#[derive(Debug, Default)]
pub(crate) struct SingleUse {
    out: Mutex<HashMap<String, Signed>>,
}

/// The one call that a token is good for.
#[derive(Debug)]
struct Signed {
    signature: String,
    method: String,
    /// The host of the address, with its port if it has one.
    host: String,
    /// Its path and query.
    target: String,
    /// Who had it signed.
    who: Arc<Who>,
}

/// Why a signed call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsigned {
    /// Not signed, used before, or signed for another call.
    Unknown,
    /// No browser may make this call, signed or not.
    NotEnabled,
}

impl SingleUse {
    /// Answers `POST /v1/hmac-signatures`.
    pub(crate) fn sign(&self, call: &Call) -> Answer {
        let uri = call.json["uri"].as_str().and_then(|uri| uri.parse::<Uri>().ok());
        let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
        let host = uri.as_ref().and_then(Uri::authority).map(|host| host.as_str().to_owned());
        let method = call.json["method"].as_str().unwrap_or_default().to_ascii_uppercase();
        let (Some(uri), Some(host), Some(caller)) = (uri, host, &call.caller) else {
            let reason = json!({"code": BAD_URI, "message": "The uri is not valid."});
            return Answer::ok(&json!({"success": false, "reasons": [reason]}));
        };
        let token = Uuid::new_v4().simple().to_string();
        let digest: [u8; 32] = rand::random();
        let signature = BASE64_STANDARD.encode(digest);
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let who = Arc::clone(&caller.who);
        let mut out = lock(&self.out);
        if out.len() >= MOST_OUT {
            out.clear();
        }
        let signed = Signed { signature: signature.clone(), method, host, target, who };
        out.insert(token.clone(), signed);
        Answer::ok(&json!({"signature": signature, "token": token, "success": true}))
    }

    /// Who had this call signed. Whatever comes of it, the token is used up.
    pub(crate) fn redeem(&self, call: &Call) -> Result<Caller, Unsigned> {
        let signed = call.header("token").and_then(|token| lock(&self.out).remove(token));
        let signed = signed.ok_or(Unsigned::Unknown)?;
        if !is_enabled(call) {
            return Err(Unsigned::NotEnabled);
        }
        // Nobody but the browser can have added another credential: Zuora says
        // nothing of such a call, and here it is refused.
        let alone = Brought::only(Credential::SingleUse);
        let is_the_call = call.header("signature") == Some(signed.signature.as_str())
            && signed.method == call.method.as_str()
            && signed.host.eq_ignore_ascii_case(&call.host)
            && signed.target == call.target
            && Brought::with(&call.headers, false) == alone;
        if !is_the_call {
            return Err(Unsigned::Unknown);
        }
        Ok(Caller { credential: Credential::SingleUse, who: signed.who, session: None })
    }
}

/// The answer to a signed call that is refused.
pub(crate) fn refused(why: Unsigned) -> Answer {
    let (status, code, message) = match why {
        Unsigned::Unknown => (StatusCode::UNAUTHORIZED, 90_000_011, "Authentication error"),
        Unsigned::NotEnabled => {
            (StatusCode::FORBIDDEN, 90_000_010, "The operation is not enabled for CORS.")
        }
    };
    let reason = json!({"code": code, "message": message});
    Answer::json(status, &json!({"success": false, "reasons": [reason]}))
}

/// The calls that browsers may make (Zuora: CORS REST).
fn is_enabled(call: &Call) -> bool {
    matches!(
        (call.method.as_str(), call.parts().as_slice()),
        ("POST", ["v1", "payment-methods", "credit-cards"])
            | ("POST", ["v1", "accounts" | "rsa-signatures"])
            | ("GET", ["v1", "files", _])
    )
}
