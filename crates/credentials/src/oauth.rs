//! The gateway's own `POST /oauth/token` (RFC 6749, section 4.4): what official clients call
//! before anything else.

use std::{borrow::Cow, fmt, time::SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode;
use serde_json::json;

use crate::{
    apps::{Apps, Credential},
    gateway_token,
};

/// What Zuora announces for its own tokens. They are accepted for longer, see the module of
/// the gateway's tokens.
const ANNOUNCED_SECONDS: u64 = 3598;

/// A token for an app.
pub struct IssuedToken {
    access_token: String,
    app: usize,
    app_name: String,
    id: String,
}

/// The answer to a request for a token that gets none (RFC 6749, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct OAuthError {
    kind: Kind,
    description: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    InvalidRequest,
    InvalidClient,
    UnsupportedGrantType,
}

/// The parameters that matter, each given at most once.
#[derive(Default)]
struct Form<'a> {
    grant_type: Option<Cow<'a, str>>,
    client_id: Option<Cow<'a, str>>,
    client_secret: Option<Cow<'a, str>>,
}

const WRONG_CLIENT: OAuthError = OAuthError {
    kind: Kind::InvalidClient,
    description: "the client id and secret of an app of this gateway are needed",
};

impl Apps {
    /// Answers a `POST /oauth/token` with these headers and this body.
    ///
    /// The app proves who it is by `client_id` and `client_secret` in the form, or by Basic.
    /// A `Bearer` field is ignored: clients that renew a token send the old one along.
    ///
    /// The token is announced as living for an hour and accepted for a day, because some
    /// clients never renew it. Changing the app's secret revokes it.
    ///
    /// # Errors
    /// See [`OAuthError`]; it carries everything for the answer.
    pub fn grant(
        &self,
        headers: &HeaderMap,
        form: &[u8],
        now: SystemTime,
    ) -> Result<IssuedToken, OAuthError> {
        if !is_form(headers) {
            return Err(invalid("the body must be application/x-www-form-urlencoded"));
        }
        let form = Form::read(form)?;
        match form.grant_type.as_deref() {
            Some("client_credentials") => {}
            Some(_) => return Err(UNSUPPORTED),
            None => return Err(invalid("`grant_type` is missing")),
        }
        let app = self.client(headers, &form)?;
        let credential = &self.apps[app];
        let (access_token, id) =
            gateway_token::issue(&self.key, &credential.name, &credential.secret, now);
        let (app_name, id) = (credential.name.clone(), id.simple().to_string());
        Ok(IssuedToken { access_token, app, app_name, id })
    }

    /// Returns the app that asks. Where it says who it is twice, both must be right.
    fn client(&self, headers: &HeaderMap, form: &Form<'_>) -> Result<usize, OAuthError> {
        let basic = match Credential::read(headers).map_err(|_| WRONG_CLIENT)? {
            Some(Credential::Basic { name, secret }) => {
                Some(self.by_basic(&name, &secret).ok_or(WRONG_CLIENT)?)
            }
            Some(Credential::Bearer(_)) | None => None,
        };
        let posted = match (&form.client_id, &form.client_secret) {
            (Some(id), Some(secret)) => {
                Some(self.by_secret(id, secret.as_bytes()).ok_or(WRONG_CLIENT)?)
            }
            _ => None,
        };
        match (basic, posted) {
            (Some(one), Some(other)) if one != other => Err(WRONG_CLIENT),
            (Some(app), _) | (None, Some(app)) => Ok(app),
            (None, None) => Err(WRONG_CLIENT),
        }
    }

    /// RFC 6749 has id and secret form-encoded inside of Basic; most clients do not do it.
    fn by_basic(&self, name: &str, secret: &[u8]) -> Option<usize> {
        self.by_secret(name, secret).or_else(|| {
            let name = form_decoded(name.as_bytes());
            self.by_secret(str::from_utf8(&name).ok()?, &form_decoded(secret))
        })
    }
}

impl IssuedToken {
    /// Returns the index of the app it is for.
    #[must_use]
    pub fn app(&self) -> usize {
        self.app
    }

    /// Returns the body of the answer, in the shape of Zuora's. It is a secret: the answer
    /// needs `Cache-Control: no-store` (RFC 6749, section 5.1).
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({
            "access_token": self.access_token,
            "token_type": "bearer",
            "expires_in": ANNOUNCED_SECONDS,
            "scope": format!("app.{}", self.app_name),
            "jti": self.id,
        })
        .to_string()
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("app", &self.app_name)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl OAuthError {
    /// Returns the status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind {
            Kind::InvalidClient => StatusCode::UNAUTHORIZED,
            Kind::InvalidRequest | Kind::UnsupportedGrantType => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the `error` of the body, which also says why in the log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.kind {
            Kind::InvalidRequest => "invalid_request",
            Kind::InvalidClient => "invalid_client",
            Kind::UnsupportedGrantType => "unsupported_grant_type",
        }
    }

    /// Returns the body of the answer.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({"error": self.code(), "error_description": self.description}).to_string()
    }

    /// Returns the `WWW-Authenticate` of the answer, which a 401 must have.
    #[must_use]
    pub fn www_authenticate(&self) -> Option<HeaderValue> {
        (self.kind == Kind::InvalidClient)
            .then(|| HeaderValue::from_static(r#"Basic realm="zuora-gateway""#))
    }
}

impl<'a> Form<'a> {
    fn read(body: &'a [u8]) -> Result<Self, OAuthError> {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            let place = match &*name {
                "grant_type" => &mut form.grant_type,
                "client_id" => &mut form.client_id,
                "client_secret" => &mut form.client_secret,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(invalid("a parameter is given more than once"));
            }
        }
        Ok(form)
    }
}

const UNSUPPORTED: OAuthError = OAuthError {
    kind: Kind::UnsupportedGrantType,
    description: "the only supported grant type is client_credentials",
};

fn invalid(description: &'static str) -> OAuthError {
    OAuthError { kind: Kind::InvalidRequest, description }
}

/// Returns whether the body is a form. Who does not say what it is, means a form.
fn is_form(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

fn form_decoded(text: &[u8]) -> Vec<u8> {
    let spaces = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte });
    percent_decode(&spaces.collect::<Vec<u8>>()).collect()
}

#[cfg(test)]
mod tests;
