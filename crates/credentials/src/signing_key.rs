//! The key that signs the gateway's own tokens.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{hmac, rand};

/// Where a key that was made here is kept, inside the state directory.
const FILE_NAME: &str = "signing.key";
/// As long as the output of SHA-256: a longer key adds nothing.
const KEY_BYTES: usize = 32;
/// Keeps a key derived from a secret apart from anything else derived from it.
const PURPOSE: &[u8] = b"zuora-gateway signing key 1";

/// Signs tokens and checks them. Replicas that share it accept each other's tokens.
#[derive(Clone)]
pub struct SigningKey {
    key: hmac::Key,
}

/// The signing key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// Reading or writing failed.
    #[error("{doing} `{}`", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The file is there, but is not a key: cut off, or not written by the gateway.
    #[error(
        "`{}` is not a signing key: expected {} hexadecimal digits; restore it, or remove it to \
         have a new one made, after which apps need new tokens",
        path.display(),
        KEY_BYTES * 2
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

impl SigningKey {
    /// Derives the key from a secret of the configuration.
    #[must_use]
    pub fn from_secret(secret: &str) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, PURPOSE), secret.as_bytes());
        Self::from_bytes(derived.as_ref())
    }

    /// Reads the key from `signing.key` in `state_dir`; makes both when they are absent.
    ///
    /// The file appears complete or not at all, and only its owner may read it. Two gateways
    /// that start at once end up with the same key.
    ///
    /// # Errors
    /// When the directory cannot be used, or the file holds something else than a key: it is
    /// never replaced, because every token out there was signed with it.
    pub fn load_or_create(state_dir: &Path) -> Result<Self, SigningKeyError> {
        let path = state_dir.join(FILE_NAME);
        match Self::load(&path) {
            Err(SigningKeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create(state_dir, &path)?;
                Self::load(&path)
            }
            loaded => loaded,
        }
    }

    fn load(path: &Path) -> Result<Self, SigningKeyError> {
        let failed = |source| io_error("reading", path, source);
        let text = fs::read(path).map_err(failed)?;
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            let path = path.display();
            tracing::warn!(%path, "others than its owner may read the signing key");
        }
        let bytes = from_hex(text.trim_ascii_end())
            .ok_or_else(|| SigningKeyError::Damaged { path: path.to_owned() })?;
        Ok(Self::from_bytes(&bytes))
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, bytes) }
    }

    /// Returns the signature of a message given in parts.
    pub(crate) fn sign(&self, parts: [&[u8]; 2]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

/// Writes a new key beside `path` and gives it that name, unless somebody was quicker.
fn create(state_dir: &Path, path: &Path) -> Result<(), SigningKeyError> {
    let mut bytes = [0; KEY_BYTES];
    let mut suffix = [0; 8];
    rand::fill(&mut bytes).map_err(|_| SigningKeyError::NoRandomness)?;
    rand::fill(&mut suffix).map_err(|_| SigningKeyError::NoRandomness)?;

    let mut directory = fs::DirBuilder::new();
    directory.recursive(true).mode(0o700);
    directory.create(state_dir).map_err(|source| io_error("creating", state_dir, source))?;
    let temporary = state_dir.join(format!("{FILE_NAME}.{}", to_hex(&suffix)));
    let written = write_new(&temporary, to_hex(&bytes).as_bytes())
        .map_err(|source| io_error("writing", &temporary, source))
        .and_then(|()| {
            publish(&temporary, path).map_err(|source| io_error("creating", path, source))
        });
    // After a rename it is gone already.
    let _ = fs::remove_file(&temporary);
    written
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Gives a complete file its name. A link, unlike a rename, does not replace what another
/// gateway put there in the meantime; file systems without links get the rename.
fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => fs::rename(temporary, path),
    }
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> SigningKeyError {
    SigningKeyError::Io { doing, path: path.to_owned(), source }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads exactly 64 hexadecimal digits.
fn from_hex(text: &[u8]) -> Option<[u8; KEY_BYTES]> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(key: &SigningKey) -> Vec<u8> {
        key.sign([b"a", b"b"]).as_ref().to_vec()
    }

    #[test]
    fn a_key_survives_a_restart_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");

        let first = SigningKey::load_or_create(&state_dir).unwrap();
        let second = SigningKey::load_or_create(&state_dir).unwrap();

        assert_eq!(signature(&first), signature(&second));
        let names: Vec<_> = fs::read_dir(&state_dir).unwrap().map(|it| it.unwrap()).collect();
        assert_eq!(names.len(), 1, "no temporary file is left: {names:?}");
        assert_eq!(names[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&state_dir).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn gateways_that_start_at_once_get_the_same_key() {
        let directory = tempfile::tempdir().unwrap();
        let start = || {
            let state_dir = directory.path().to_owned();
            std::thread::spawn(move || signature(&SigningKey::load_or_create(&state_dir).unwrap()))
        };

        let starts: Vec<_> = std::iter::repeat_with(start).take(8).collect();
        let keys: Vec<_> = starts.into_iter().map(|it| it.join().unwrap()).collect();

        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        for text in ["", "0123", &"0".repeat(63), &"g".repeat(64), &"0".repeat(66)] {
            fs::write(&path, text).unwrap();

            let error = SigningKey::load_or_create(directory.path()).unwrap_err();

            assert!(matches!(error, SigningKeyError::Damaged { .. }), "{text:?}: {error}");
            assert!(error.to_string().contains("signing.key"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();

        let error = SigningKey::load_or_create(&file).unwrap_err();

        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }

    #[test]
    fn equal_secrets_give_equal_keys_and_no_key_is_printed() {
        let key = SigningKey::from_secret("correct horse");

        assert_eq!(signature(&key), signature(&SigningKey::from_secret("correct horse")));
        assert_ne!(signature(&key), signature(&SigningKey::from_secret("correct horsf")));
        assert_eq!(format!("{key:?}"), "SigningKey(***)");
    }
}
