//! What an attempt carries to prove to Zuora who we are.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header};

const ACCESS_KEY_ID: HeaderName = HeaderName::from_static("apiaccesskeyid");
const SECRET_ACCESS_KEY: HeaderName = HeaderName::from_static("apisecretaccesskey");

/// What proves to Zuora who we are, on one attempt. Cheap to clone; its values are marked sensitive, and `Debug` shows
/// none.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// `Authorization: Bearer …` (Zuora: OAuth 2.0).
    #[non_exhaustive]
    Bearer {
        /// The whole value of the field.
        authorization: HeaderValue,
    },
    /// `apiAccessKeyId` and `apiSecretAccessKey` (Zuora: basic authentication).
    #[non_exhaustive]
    ApiKey {
        /// An API user's name.
        id: HeaderValue,
        /// Its password.
        secret: HeaderValue,
    },
    /// `Cookie: ZSession=…`, a session of `POST /v1/connections`.
    #[non_exhaustive]
    Cookie {
        /// The whole value of the field.
        cookie: HeaderValue,
    },
    /// `Authorization: ZSession …`, a session of the SOAP call `login`.
    #[non_exhaustive]
    Session {
        /// The whole value of the field.
        authorization: HeaderValue,
    },
}

impl Proof {
    /// The proof that is this OAuth token, or `None` if it cannot stand in a header field.
    #[must_use]
    pub fn bearer(token: &str) -> Option<Self> {
        Some(Self::Bearer { authorization: sensitive(format!("Bearer {token}"))? })
    }

    /// The proof that is this API user's name and password, or `None` if they cannot stand in header fields.
    #[must_use]
    pub fn api_key(id: &str, secret: &str) -> Option<Self> {
        Some(Self::ApiKey { id: sensitive(id.to_owned())?, secret: sensitive(secret.to_owned())? })
    }

    /// The proof that is this session of `POST /v1/connections`, or `None` if it cannot stand in a header field.
    #[must_use]
    pub fn cookie(session: &str) -> Option<Self> {
        Some(Self::Cookie { cookie: sensitive(format!("ZSession={session}"))? })
    }

    /// The proof that is this session of a SOAP login, or `None` if it cannot stand in a header field.
    #[must_use]
    pub fn session(session: &str) -> Option<Self> {
        Some(Self::Session { authorization: sensitive(format!("ZSession {session}"))? })
    }

    /// Puts it on a request, in place of what was there.
    pub fn put_on(&self, headers: &mut HeaderMap) {
        match self {
            Self::Bearer { authorization } | Self::Session { authorization } => {
                headers.insert(header::AUTHORIZATION, authorization.clone());
            }
            Self::ApiKey { id, secret } => {
                headers.insert(ACCESS_KEY_ID, id.clone());
                headers.insert(SECRET_ACCESS_KEY, secret.clone());
            }
            Self::Cookie { cookie } => {
                headers.insert(header::COOKIE, cookie.clone());
            }
        }
    }

    /// Puts on a SOAP request what must stand in its fields, besides the [session](Self::soap_session) in its envelope:
    /// only an OAuth token is asked for in both places.
    pub fn put_on_soap(&self, headers: &mut HeaderMap) {
        match self {
            Self::Bearer { .. } => self.put_on(headers),
            Self::ApiKey { .. } | Self::Cookie { .. } | Self::Session { .. } => {}
        }
    }

    /// What stands in a SOAP `SessionHeader`: the session, or an OAuth token, which Zuora takes there beside its field.
    /// `None` if this kind of proof has no such form: an API user's name and password have none.
    #[must_use]
    pub fn soap_session(&self) -> Option<&str> {
        let (value, before) = match self {
            Self::Bearer { authorization } => (authorization, "Bearer "),
            Self::ApiKey { .. } => return None,
            Self::Cookie { cookie } => (cookie, "ZSession="),
            Self::Session { authorization } => (authorization, "ZSession "),
        };
        value.to_str().ok()?.strip_prefix(before)
    }
}

/// A header field's value that nobody prints.
fn sensitive(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Proof {
    /// Returns the word for its kind in the log: the key of the configuration that it comes from.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bearer { .. } => "oauth",
            Self::ApiKey { .. } => "api_key",
            Self::Cookie { .. } => "connection",
            Self::Session { .. } => "soap_login",
        }
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer { .. } => "Bearer(***)",
            Self::ApiKey { .. } => "ApiKey(***)",
            Self::Cookie { .. } => "Cookie(***)",
            Self::Session { .. } => "Session(***)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        proof: &Proof,
        fields: &[(&str, &str)],
        on_soap: &[(&str, &str)],
        session: Option<&str>,
    ) {
        let written = |headers: &HeaderMap| -> Vec<(String, String)> {
            assert!(headers.values().all(HeaderValue::is_sensitive));
            let pair = |(name, value): (&HeaderName, &HeaderValue)| {
                (name.to_string(), value.to_str().unwrap().to_owned())
            };
            headers.iter().map(pair).collect()
        };
        let expected = |fields: &[(&str, &str)]| -> Vec<(String, String)> {
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (mut rest, mut soap) = (HeaderMap::new(), HeaderMap::new());

        proof.put_on(&mut rest);
        proof.put_on_soap(&mut soap);

        assert_eq!(written(&rest), expected(fields));
        assert_eq!(written(&soap), expected(on_soap));
        assert_eq!(proof.soap_session(), session);
        assert!(!format!("{proof:?}").contains("hidden"), "{proof:?}");
    }

    #[test]
    fn each_kind_has_its_fields_and_its_form_in_an_envelope() {
        let bearer = [("authorization", "Bearer hidden")];
        check(&Proof::bearer("hidden").unwrap(), &bearer, &bearer, Some("hidden"));
        let key = [("apiaccesskeyid", "me"), ("apisecretaccesskey", "hidden")];
        check(&Proof::api_key("me", "hidden").unwrap(), &key, &[], None);
        let cookie = [("cookie", "ZSession=hidden==")];
        check(&Proof::cookie("hidden==").unwrap(), &cookie, &[], Some("hidden=="));
        let session = [("authorization", "ZSession hidden")];
        check(&Proof::session("hidden").unwrap(), &session, &[], Some("hidden"));
    }

    #[test]
    fn what_the_request_had_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("ZSession=other"));
        headers.append(header::COOKIE, HeaderValue::from_static("a=b"));

        Proof::cookie("ours").unwrap().put_on(&mut headers);

        assert_eq!(headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), ["ZSession=ours"]);
    }

    #[test]
    fn what_cannot_stand_in_a_field_is_no_proof() {
        assert_eq!(Proof::bearer("a\r\nb"), None);
        assert_eq!(Proof::api_key("a\nb", "c"), None);
        assert_eq!(Proof::api_key("a", "c\n"), None);
        assert_eq!(Proof::cookie("a\n"), None);
        assert_eq!(Proof::session("a\n"), None);
    }
}
