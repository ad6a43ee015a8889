//! Which app a request comes from.

use std::{collections::HashMap, fmt, time::SystemTime};

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, header};

use crate::{gateway_token::Presented, signing_key::SigningKey};

/// Clients leave the padding out, or do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What an app of the configuration authenticates with.
#[derive(Clone, Debug)]
pub struct AppCredential {
    /// Its name in the configuration.
    pub name: String,
    /// The id it uses where a client asks for one, in Basic and in `POST /oauth/token`.
    pub client_id: String,
    /// Digest of its secret.
    pub secret: SecretDigest,
}

/// The SHA-256 digest of a secret: what is compared, and what is kept in memory.
#[derive(Clone)]
pub struct SecretDigest([u8; 32]);

/// The apps, as far as telling who is who is concerned.
///
/// An app is known by its index in the list it was made of.
pub struct Apps {
    pub(crate) apps: Vec<AppCredential>,
    /// Client ids and names. Where an app has the name of another one's id, the id counts.
    by_name: HashMap<String, usize>,
    pub(crate) key: SigningKey,
    anonymous: Option<usize>,
}

/// It is not known which app a request comes from. The caller is told the same in every case,
/// or an attacker would learn how close a guess was; [`reason`](Unauthenticated::reason) is for
/// the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a valid credential is needed: `Authorization: Bearer <secret of the app>`, or Basic with \
     its client id and secret, or a token from `POST /oauth/token`"
)]
pub enum Unauthenticated {
    /// No credential at all.
    Missing,
    /// Something that cannot be a credential, or more than one.
    Malformed,
    /// A credential of no app.
    Unknown,
    /// A token that was good once.
    Expired,
}

/// What a request says about who sent it.
pub(crate) enum Credential<'a> {
    Bearer(&'a [u8]),
    Basic { name: String, secret: Vec<u8> },
}

impl SecretDigest {
    /// Returns the digest of a secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self::of_bytes(secret.as_bytes())
    }

    /// Says whether this is the digest of `secret`. Takes the same time for every wrong one.
    #[must_use]
    pub fn matches(&self, secret: &str) -> bool {
        self.is_same(&Self::of(secret))
    }

    pub(crate) fn of_bytes(secret: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes the same time wherever the digests differ.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl From<[u8; 32]> for SecretDigest {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(***)")
    }
}

impl Apps {
    /// Returns the apps with these credentials. `anonymous` is the index of the app that
    /// requests without any credential count as, if there is such an app.
    #[must_use]
    pub fn new(apps: Vec<AppCredential>, key: SigningKey, anonymous: Option<usize>) -> Self {
        let names = apps.iter().map(|app| &app.name);
        let ids = apps.iter().map(|app| &app.client_id);
        let by_name = names.enumerate().chain(ids.enumerate());
        let by_name = by_name.map(|(index, name)| (name.clone(), index)).collect();
        Self { apps, by_name, key, anonymous }
    }

    /// Returns the index of the app that a request with these headers comes from.
    ///
    /// Only the `Authorization` field counts: the secret of an app or a token of the gateway
    /// as `Bearer`, or client id (or name) and secret as `Basic`. The query and other fields
    /// are written by anybody.
    ///
    /// # Errors
    /// When there is no such app. A wrong credential never counts as none.
    pub fn identify(&self, headers: &HeaderMap, now: SystemTime) -> Result<usize, Unauthenticated> {
        match Credential::read(headers)? {
            Some(Credential::Bearer(bearer)) => self.by_bearer(bearer, now),
            Some(Credential::Basic { name, secret }) => {
                self.by_secret(&name, &secret).ok_or(Unauthenticated::Unknown)
            }
            None if has_api_key(headers) => Err(Unauthenticated::Unknown),
            None => self.anonymous.ok_or(Unauthenticated::Missing),
        }
    }

    /// Returns the app with this client id or name, if the secret is its own.
    pub(crate) fn by_secret(&self, name: &str, secret: &[u8]) -> Option<usize> {
        // An unknown name costs as much as a wrong secret, so that names cannot be probed.
        let presented = SecretDigest::of_bytes(secret);
        let index = self.by_name.get(name).copied();
        let expected = index.map_or(&SecretDigest([0; 32]), |index| &self.apps[index].secret);
        let is_same = presented.is_same(expected);
        index.filter(|_| is_same && !secret.is_empty())
    }

    fn by_bearer(&self, bearer: &[u8], now: SystemTime) -> Result<usize, Unauthenticated> {
        if let Some(token) = Presented::read(bearer) {
            return self.by_token(&token, now);
        }
        let presented = SecretDigest::of_bytes(bearer);
        let mut matching = None;
        // All of them, always: when it takes long tells nothing about whom it was compared with.
        for (index, app) in self.apps.iter().enumerate() {
            if presented.is_same(&app.secret) {
                matching = Some(index);
            }
        }
        matching.ok_or(Unauthenticated::Unknown)
    }

    fn by_token(&self, token: &Presented, now: SystemTime) -> Result<usize, Unauthenticated> {
        let index = token.app().and_then(|name| self.apps.iter().position(|it| it.name == name));
        let index = index.ok_or(Unauthenticated::Unknown)?;
        if !token.is_signed(&self.key, &self.apps[index].secret) {
            return Err(Unauthenticated::Unknown);
        }
        if token.has_expired(now) { Err(Unauthenticated::Expired) } else { Ok(index) }
    }
}

impl fmt::Debug for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apps")
            .field("apps", &self.apps)
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

impl Unauthenticated {
    /// Returns why, in one word for the log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
        }
    }
}

impl<'a> Credential<'a> {
    /// Reads the one `Authorization` field, if there is one.
    pub(crate) fn read(headers: &'a HeaderMap) -> Result<Option<Self>, Unauthenticated> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let Some(field) = fields.next() else { return Ok(None) };
        if fields.next().is_some() {
            return Err(Unauthenticated::Malformed);
        }
        Self::parse(field.as_bytes()).map(Some).ok_or(Unauthenticated::Malformed)
    }

    fn parse(field: &'a [u8]) -> Option<Self> {
        let field = field.trim_ascii();
        let end_of_scheme = field.iter().position(u8::is_ascii_whitespace)?;
        let (scheme, value) = field.split_at(end_of_scheme);
        let value = value.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return Some(Self::Bearer(value));
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let pair = BASE64.decode(value).ok()?;
        let colon = pair.iter().position(|byte| *byte == b':')?;
        let name = str::from_utf8(&pair[..colon]).ok()?.to_owned();
        Some(Self::Basic { name, secret: pair[colon + 1..].to_vec() })
    }
}

/// Returns whether the caller sends Zuora's older kind of credential. It is not accepted here,
/// but who sends it is not anonymous.
fn has_api_key(headers: &HeaderMap) -> bool {
    headers.contains_key("apiaccesskeyid") || headers.contains_key("apisecretaccesskey")
}

#[cfg(test)]
mod tests;
