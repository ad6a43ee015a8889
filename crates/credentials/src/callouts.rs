//! What Zuora proves to us with when it calls us: a name and a password that the operator gave it.

use std::fmt;

use http::HeaderMap;

use crate::apps::Credential;
use crate::secret::SecretDigest;
use crate::unauthenticated::{Unauthenticated, Why};

/// What callouts of one tenant must show: HTTP Basic, with the one name and one of up to two passwords. `Debug` shows
/// none of it.
#[derive(Clone)]
pub struct CalloutCredentials(Vec<SecretDigest>);

impl CalloutCredentials {
    /// The credentials of this user with either of these passwords: the second is for the time in which one is exchanged.
    #[must_use]
    pub fn new(username: &str, password: &str, previous_password: Option<&str>) -> Self {
        let passwords = [Some(password), previous_password].into_iter().flatten();
        let pairs =
            passwords.map(|password| pair(username.as_bytes(), password.as_bytes())).collect();
        Self(pairs)
    }

    /// Those that nobody has: to compare with where there are none, in the time that it takes where there are.
    #[must_use]
    pub fn of_nobody() -> Self {
        Self(vec![SecretDigest::from([0; 32])])
    }

    /// Says whether a request with these fields shows them. Takes the same time for every wrong pair of a length.
    ///
    /// # Errors
    /// If it shows nothing, which is how Zuora begins unless it is set up to be preemptive (Zuora: callout
    /// authentication), or something else.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Unauthenticated> {
        let shown = Credential::authorization(headers).map_err(Why::of_nobody)?;
        let Some(shown) = shown else { return Err(Why::Missing.of_nobody()) };
        let Credential::Pair { name, secret } = shown else {
            return Err(Why::Malformed.of_nobody());
        };
        let shown = pair(name.as_bytes(), &secret);
        let mut is_right = false;
        // All of them, always: when it takes long tells nothing about which was right.
        for expected in &self.0 {
            is_right |= shown.is_same(expected);
        }
        if is_right { Ok(()) } else { Err(Why::Unknown.of_nobody()) }
    }
}

/// A name holds no colon (RFC 7617 2), so no two pairs are written alike.
fn pair(name: &[u8], secret: &[u8]) -> SecretDigest {
    SecretDigest::of_bytes(&[name, b":", secret].concat())
}

impl fmt::Debug for CalloutCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CalloutCredentials(***)")
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use http::{HeaderValue, header};

    use super::*;

    fn headers(fields: &[&str]) -> HeaderMap {
        let fields = fields.iter().map(|field| HeaderValue::from_str(field).unwrap());
        fields.map(|field| (header::AUTHORIZATION, field)).collect()
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    /// What comes of these `Authorization` fields: the reason, or nothing if they are right.
    #[track_caller]
    fn check(credentials: &CalloutCredentials, fields: &[&str], expected: Result<(), &str>) {
        let got = credentials.check(&headers(fields)).map_err(Unauthenticated::reason);
        assert_eq!(got, expected, "{fields:?}");
    }

    #[test]
    fn the_name_and_either_password_are_right() {
        let credentials = CalloutCredentials::new("zuora", "a:b c", Some("old"));

        check(&credentials, &[&basic("zuora:a:b c")], Ok(()));
        check(&credentials, &[&basic("zuora:old")], Ok(()));
        check(&credentials, &[&basic("zuora:a:b c").replace("Basic", "bAsIc")], Ok(()));
    }

    #[test]
    fn everything_else_is_wrong_and_nothing_is_only_missing() {
        let credentials = CalloutCredentials::new("zuora", "secret", None);

        check(&credentials, &[], Err("missing"));
        for pair in ["zuora:secret2", "zuora:", "Zuora:secret", ":secret", "zuora:secret:", ":"] {
            check(&credentials, &[&basic(pair)], Err("unknown"));
        }
        let right = basic("zuora:secret");
        for field in ["", "Basic", "Basic ?", "Basic enVvcmE", "Bearer secret", "Digest a=b"] {
            check(&credentials, &[field], Err("malformed"));
        }
        check(&credentials, &[&right, &right], Err("malformed"));
        check(&credentials, &[&format!("{right}, {right}")], Err("malformed"));
    }

    #[test]
    fn nobody_has_those_of_nobody() {
        let nobody = CalloutCredentials::of_nobody();

        check(&nobody, &[], Err("missing"));
        for pair in ["zuora:secret", ":", "nobody:"] {
            check(&nobody, &[&basic(pair)], Err("unknown"));
        }
    }

    #[test]
    fn nothing_of_them_is_printed() {
        let credentials = CalloutCredentials::new("zuora", "secret", None);
        assert_eq!(format!("{credentials:?}"), "CalloutCredentials(***)");
    }
}
