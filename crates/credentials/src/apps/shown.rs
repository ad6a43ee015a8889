//! What a request shows to prove who sent it, as far as its header fields carry it.

use std::borrow::Cow;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, header};

use crate::{certificate::ClientCertificate, unauthenticated::Why};

/// Clients leave the padding out, or do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The cookie of a session, at Zuora and here.
pub(crate) const SESSION_COOKIE: &str = "ZSession";
/// A session of ours has about 150 characters, Zuora's up to 512.
const LONGEST_SESSION: usize = 4 * 1024;

const ACCESS_KEY_ID: HeaderName = HeaderName::from_static("apiaccesskeyid");
const SECRET_ACCESS_KEY: HeaderName = HeaderName::from_static("apisecretaccesskey");

/// What a request shows to prove who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its header fields, of which `Authorization`, `apiAccessKeyId`, `apiSecretAccessKey` and
    /// `Cookie` count.
    pub headers: &'a HeaderMap,
    /// The certificate of the connection that it came on, verified.
    pub certificate: Option<&'a ClientCertificate>,
    /// The session in the header of its SOAP envelope.
    pub session: Option<&'a str>,
}

/// One thing that proves who somebody is, if it is right.
pub(crate) enum Credential<'a> {
    /// The secret of an app, or a token of the gateway's.
    Bearer(&'a [u8]),
    /// An id or a name, and a secret.
    Pair { name: Cow<'a, str>, secret: Cow<'a, [u8]> },
    /// What the gateway gave for a secret.
    Session(&'a [u8]),
}

impl<'a> From<&'a HeaderMap> for Shown<'a> {
    fn from(headers: &'a HeaderMap) -> Self {
        Self { headers, certificate: None, session: None }
    }
}

impl<'a> Shown<'a> {
    /// Returns the credentials, one after another, without the certificate.
    pub(crate) fn credentials(self) -> impl Iterator<Item = Result<Credential<'a>, Why>> {
        let fields = [Credential::authorization(self.headers), Credential::keys(self.headers)];
        let fields = fields.into_iter().filter_map(Result::transpose);
        let sessions = sessions(self.headers).chain(self.session.map(str::as_bytes));
        fields.chain(sessions.map(Credential::session))
    }
}

impl<'a> Credential<'a> {
    /// Reads the one `Authorization` field, if there is one.
    pub(crate) fn authorization(headers: &'a HeaderMap) -> Result<Option<Self>, Why> {
        let Some(field) = single(headers, &header::AUTHORIZATION)? else { return Ok(None) };
        let field = field.trim_ascii();
        let end_of_scheme = field.iter().position(u8::is_ascii_whitespace).ok_or(Why::Malformed)?;
        let (scheme, value) = field.split_at(end_of_scheme);
        let value = value.trim_ascii();
        match &*scheme.to_ascii_lowercase() {
            b"bearer" => Ok(Some(Self::Bearer(value))),
            b"basic" => Self::basic(value).map(Some).ok_or(Why::Malformed),
            // The second is what some clients send for a session of one of several entities.
            b"zsession" | b"zsession-a3n2w" => Self::session(value).map(Some),
            _ => Err(Why::Malformed),
        }
    }

    fn basic(value: &[u8]) -> Option<Self> {
        let pair = BASE64.decode(value).ok()?;
        let colon = pair.iter().position(|byte| *byte == b':')?;
        let name = str::from_utf8(&pair[..colon]).ok()?.to_owned();
        Some(Self::Pair { name: name.into(), secret: pair[colon + 1..].to_vec().into() })
    }

    /// Reads the fields by which older clients say who they are, on every call. One without the
    /// other is wrong, but not nothing.
    pub(crate) fn keys(headers: &'a HeaderMap) -> Result<Option<Self>, Why> {
        let (id, secret) = (single(headers, &ACCESS_KEY_ID)?, single(headers, &SECRET_ACCESS_KEY)?);
        if id.is_none() && secret.is_none() {
            return Ok(None);
        }
        let name = str::from_utf8(id.unwrap_or_default()).map_err(|_| Why::Malformed)?;
        Ok(Some(Self::Pair { name: name.into(), secret: secret.unwrap_or_default().into() }))
    }

    fn session(session: &'a [u8]) -> Result<Self, Why> {
        if session.len() > LONGEST_SESSION {
            return Err(Why::Malformed);
        }
        Ok(Self::Session(session))
    }
}

/// Returns the sessions among the cookies of a request.
///
/// Clients send them in many ways: among others, in quotes, in fields of their own, and with the
/// attributes of the `Set-Cookie` line that they once got and send back as it was. Other cookies
/// are nobody's credential here.
fn sessions(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(header::COOKIE).into_iter();
    let crumbs = fields.flat_map(|field| field.as_bytes().split(|byte| b";,".contains(byte)));
    crumbs.filter_map(|crumb| {
        let equals = crumb.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (crumb[..equals].trim_ascii(), crumb[equals + 1..].trim_ascii());
        name.eq_ignore_ascii_case(SESSION_COOKIE.as_bytes()).then(|| unquoted(value))
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

/// Returns the one value of a field, `None` if it is absent.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, Why> {
    let mut fields = headers.get_all(name).iter();
    match (fields.next(), fields.next()) {
        (_, Some(_)) => Err(Why::Malformed),
        (field, None) => Ok(field.map(http::HeaderValue::as_bytes)),
    }
}
