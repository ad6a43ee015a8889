//! The tokens that the gateway gives to apps.
//!
//! A token names its app and the moment of its issue, and is signed with the gateway's key
//! and the digest of the app's secret. Nothing is stored: it survives a restart, it works on
//! every replica that has the key, and changing the app's secret revokes it.

use std::time::{Duration, SystemTime};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::{secret::SecretDigest, signing_key::SigningKey};

/// Tells a token from an app's secret before anything is computed.
const PREFIX: &[u8] = b"zgw_";
/// The first byte of what is signed, so that a later form cannot be mistaken for this one.
const VERSION: u8 = 1;
const SIGNATURE_BYTES: usize = 32;
/// Version, time of issue, id; the app's name is the rest.
const FIXED_BYTES: usize = 1 + 8 + 16;
/// How long a token is accepted. It is announced as an hour, like Zuora's own, but there are
/// clients that fetch a token once and use it as long as they run; the day gives them, and
/// whoever watches them, time.
const ACCEPTED: Duration = Duration::from_secs(24 * 3600);

/// Returns a new token for an app, and its id.
pub(crate) fn issue(
    key: &SigningKey,
    app: &str,
    secret: &SecretDigest,
    now: SystemTime,
) -> (String, Uuid) {
    let id = Uuid::new_v4();
    let mut bytes = Vec::with_capacity(FIXED_BYTES + app.len() + SIGNATURE_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&seconds(now).to_be_bytes());
    bytes.extend_from_slice(id.as_bytes());
    bytes.extend_from_slice(app.as_bytes());
    let signature = key.sign([&bytes, secret.as_bytes()]);
    bytes.extend_from_slice(signature.as_ref());

    let mut token = String::from_utf8_lossy(PREFIX).into_owned();
    URL_SAFE_NO_PAD.encode_string(&bytes, &mut token);
    (token, id)
}

/// A token as it came, of which nothing is to be believed before
/// [`is_signed`](Presented::is_signed) says so.
pub(crate) struct Presented {
    signed: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
}

impl Presented {
    /// Takes a token apart; returns `None` if it is something else.
    pub(crate) fn read(token: &[u8]) -> Option<Self> {
        let mut signed = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (_, signature) = signed.split_last_chunk::<SIGNATURE_BYTES>()?;
        let signature = *signature;
        signed.truncate(signed.len() - SIGNATURE_BYTES);
        let is_ours = signed.len() >= FIXED_BYTES && signed[0] == VERSION;
        is_ours.then_some(Self { signed, signature })
    }

    /// Returns the name of the app that it claims to be for.
    pub(crate) fn app(&self) -> Option<&str> {
        str::from_utf8(&self.signed[FIXED_BYTES..]).ok()
    }

    /// Returns whether it was signed with this key for the app with this secret. Takes the
    /// same time wherever the signature differs.
    pub(crate) fn is_signed(&self, key: &SigningKey, secret: &SecretDigest) -> bool {
        let expected = key.sign([&self.signed, secret.as_bytes()]);
        verify_slices_are_equal(expected.as_ref(), &self.signature).is_ok()
    }

    /// Returns whether it is too old. One from the future is as suspicious: the clock was
    /// wrong when it was issued, or is wrong now.
    pub(crate) fn has_expired(&self, now: SystemTime) -> bool {
        let mut issued_at = [0; 8];
        issued_at.copy_from_slice(&self.signed[1..9]);
        u64::from_be_bytes(issued_at).abs_diff(seconds(now)) >= ACCEPTED.as_secs()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
