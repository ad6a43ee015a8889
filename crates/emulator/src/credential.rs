//! Kinds of credentials, and which of them a call brings along.

use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};

/// A way in which a call says who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// `Authorization: Bearer` with a token.
    Bearer,
    /// `Authorization: Basic`, or any scheme that is none of the others. It
    /// opens nothing here.
    Basic,
    /// `apiAccessKeyId` or `apiSecretAccessKey`.
    ApiKey,
    /// A `ZSession` cookie.
    Cookie,
    /// `Authorization: ZSession` with a session.
    #[serde(rename = "zsession")]
    ZSession,
    /// A session, or a token, in the header of a SOAP envelope.
    SoapSession,
    /// The `signature` and `token` headers of a call that a browser makes.
    SingleUse,
}

impl Credential {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Bearer,
        Self::Basic,
        Self::ApiKey,
        Self::Cookie,
        Self::ZSession,
        Self::SoapSession,
        Self::SingleUse,
    ];

    /// Its name in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::ApiKey => "api_key",
            Self::Cookie => "cookie",
            Self::ZSession => "zsession",
            Self::SoapSession => "soap_session",
            Self::SingleUse => "single_use",
        }
    }
}

/// Everything that a call brings along, valid or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Brought(u8);

impl Brought {
    /// How many different sets there can be.
    pub(crate) const SETS: usize = 1 << Credential::ALL.len();

    pub(crate) fn with(headers: &HeaderMap, soap_session: bool) -> Self {
        let mut brought = Self::default();
        for value in headers.get_all(header::AUTHORIZATION) {
            brought.add(scheme(value));
        }
        let any = |names: [&str; 2]| names.iter().any(|name| headers.contains_key(*name));
        if any(["apiaccesskeyid", "apisecretaccesskey"]) {
            brought.add(Credential::ApiKey);
        }
        if any(["signature", "token"]) {
            brought.add(Credential::SingleUse);
        }
        if headers.contains_key(header::COOKIE) {
            brought.add(Credential::Cookie);
        }
        if soap_session {
            brought.add(Credential::SoapSession);
        }
        brought
    }

    /// This one and nothing else.
    pub(crate) fn only(credential: Credential) -> Self {
        let mut brought = Self::default();
        brought.add(credential);
        brought
    }

    /// Its place among all sets.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The names of the set at this place, `none` for the empty one.
    pub(crate) fn name_of(index: usize) -> String {
        let names: Vec<&str> = Credential::ALL
            .into_iter()
            .filter(|one| index & (1 << *one as usize) != 0)
            .map(Credential::name)
            .collect();
        if names.is_empty() { "none".to_owned() } else { names.join("+") }
    }

    fn add(&mut self, credential: Credential) {
        self.0 |= 1 << credential as u8;
    }
}

fn scheme(authorization: &HeaderValue) -> Credential {
    let text = String::from_utf8_lossy(authorization.as_bytes()).trim().to_ascii_lowercase();
    match text.split(' ').next() {
        Some("bearer") => Credential::Bearer,
        Some("zsession") => Credential::ZSession,
        _ => Credential::Basic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], soap_session: bool, expected: &str) {
        let headers = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        });

        let brought = Brought::with(&headers.collect(), soap_session);

        assert_eq!(Brought::name_of(brought.index()), expected);
    }

    #[test]
    fn every_credential_that_a_call_brings_is_seen() {
        check(&[], false, "none");
        check(&[("authorization", "bearer x")], false, "bearer");
        check(&[("authorization", "Digest x"), ("cookie", "a=b")], false, "basic+cookie");
        check(&[("authorization", "ZSession x"), ("token", "t")], false, "zsession+single_use");
        check(&[("apisecretaccesskey", "x")], true, "api_key+soap_session");
    }
}
