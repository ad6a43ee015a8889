//! Secrets, as far as they are kept: their digests.

use std::fmt;

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};

/// The SHA-256 digest of a secret: what is compared, and what is kept in memory.
#[derive(Clone)]
pub struct SecretDigest([u8; 32]);

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
