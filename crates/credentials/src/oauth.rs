//! The gateway's own `POST /oauth/token` (RFC 6749, section 4.4): what official clients call
//! before anything else.

use std::{borrow::Cow, fmt, time::SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode;
use serde_json::json;

use crate::{
    apps::{Apps, Credential, Login, SESSION_COOKIE, Shown},
    gateway_token,
    unauthenticated::{Unauthenticated, Why},
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
    /// Set if somebody failed to prove who it is.
    stranger: Option<Unauthenticated>,
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

impl Apps {
    /// Answers a `POST /oauth/token` that shows this and has this body.
    ///
    /// The app proves who it is by `client_id` and `client_secret` in the form, or by Basic, or by
    /// its client certificate (RFC 8705, section 2). A `Bearer` field, and cookies, are ignored:
    /// clients that renew a token send the old one along.
    ///
    /// # Errors
    /// See [`OAuthError`]; it carries everything for the answer.
    pub fn grant(
        &self,
        shown: Shown<'_>,
        form: &[u8],
        now: SystemTime,
    ) -> Result<IssuedToken, OAuthError> {
        if !is_form(shown.headers) {
            return Err(invalid("the body must be application/x-www-form-urlencoded"));
        }
        let form = Form::read(form)?;
        match form.grant_type.as_deref() {
            Some("client_credentials") => {}
            Some(_) => return Err(UNSUPPORTED),
            None => return Err(invalid("`grant_type` is missing")),
        }
        Ok(self.issue(&self.client(shown, &form)?, now))
    }

    /// Returns a new token for an app, which is a session as well.
    ///
    /// It is announced as living for an hour and accepted for a day, because some clients never
    /// renew it. It is accepted only as long as the app has the secret, or the certificate, that
    /// it was issued for.
    #[must_use]
    pub fn issue(&self, login: &Login, now: SystemTime) -> IssuedToken {
        let app = login.app();
        let app_name = self.apps[app].name.clone();
        let (access_token, id) = gateway_token::issue(&self.key, &app_name, login.anchor(), now);
        IssuedToken { access_token, app, app_name, id: id.simple().to_string() }
    }

    /// Returns the app that asks. Where it says who it is in several ways, all must be right.
    fn client(&self, shown: Shown<'_>, form: &Form<'_>) -> Result<Login, Unauthenticated> {
        let mut found = self.by_certificate_login(shown.certificate)?;
        let authorization = Credential::authorization(shown.headers).map_err(Why::of_nobody)?;
        if let Some(Credential::Pair { name, secret }) = authorization {
            found = Some(self.by_basic(&name, &secret)?.beside(found)?);
        }
        let names_itself = |id| found.as_ref().is_some_and(|it| self.by_name(id) == Some(it.app()));
        match (form.client_id.as_deref(), form.client_secret.as_deref()) {
            (None, None) => {}
            // Beside another proof that is enough.
            (Some(id), None) if names_itself(id) => {}
            (id, secret) => {
                let secret = secret.unwrap_or_default().as_bytes();
                let login = self.by_pair(id.unwrap_or_default(), secret)?;
                found = Some(login.beside(found)?);
            }
        }
        found.ok_or(Why::Missing.of_nobody())
    }

    /// RFC 6749 has id and secret form-encoded inside of Basic; most clients do not do it.
    fn by_basic(&self, name: &str, secret: &[u8]) -> Result<Login, Unauthenticated> {
        self.by_pair(name, secret).or_else(|as_it_is| {
            let name = form_decoded(name.as_bytes());
            let name = str::from_utf8(&name).map_err(|_| as_it_is)?;
            let claimed = as_it_is.claimed().or(self.by_name(name));
            self.by_pair(name, &form_decoded(secret)).map_err(|_| Why::Unknown.claimed_by(claimed))
        })
    }
}

impl IssuedToken {
    /// Returns the index of the app it is for.
    #[must_use]
    pub fn app(&self) -> usize {
        self.app
    }

    /// Returns the token itself, as the session of a SOAP header. It is a secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.access_token
    }

    /// Returns the `Set-Cookie` that makes it a session, as `POST /v1/connections` answers. It is a
    /// secret. `is_secure` says whether the app came by TLS: a cookie that is marked so is not sent
    /// without.
    #[must_use]
    pub fn to_cookie(&self, is_secure: bool) -> HeaderValue {
        let secure = if is_secure { "; Secure" } else { "" };
        let line = format!("{SESSION_COOKIE}={}; Path=/{secure}; HttpOnly", self.access_token);
        let mut value =
            HeaderValue::try_from(line).expect("a token consists of letters, digits, `-` and `_`");
        value.set_sensitive(true);
        value
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

    /// Returns who could not prove who it is, if that is what is wrong.
    #[must_use]
    pub fn stranger(&self) -> Option<Unauthenticated> {
        self.stranger
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
    stranger: None,
};

impl From<Unauthenticated> for OAuthError {
    fn from(stranger: Unauthenticated) -> Self {
        Self {
            kind: Kind::InvalidClient,
            description: "the client id and secret of an app of this gateway are needed",
            stranger: Some(stranger),
        }
    }
}

fn invalid(description: &'static str) -> OAuthError {
    OAuthError { kind: Kind::InvalidRequest, description, stranger: None }
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
