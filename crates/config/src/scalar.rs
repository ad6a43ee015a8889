//! What a single value may be: how it is read, refused and described.

mod addresses;
mod amounts;
mod certificates;
mod names;

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::environment::open_file;
use crate::{
    ContendedWrites, InvalidTrackId, Lanes, LogFormat, LogLevel, OnRefusal, Priority, Renew,
    Secret, ValidTrackId,
};

pub(crate) use addresses::{CalloutsUrl, DataCentreName, HostName, OutcomesUrl, PathPrefix};
pub(crate) use amounts::{Bytes, Count, Share, Span, Whole};
pub(crate) use certificates::{AltName, Subject};
pub(crate) use names::{
    AppName, EntityName, FieldName, KNOWN_LIMITS, LimitType, TenantName, Username,
};

/// A value that is written as one piece of text.
pub(crate) trait Scalar: Sized {
    /// Reads `text`, in which nothing is left to fill in. Relative paths begin
    /// at `directory`.
    ///
    /// # Errors
    /// Why it cannot be read, as far as `expected` does not say it already;
    /// without repeating the text, which may come from a secret place.
    fn read(text: &str, directory: &Path) -> Result<Self, String>;

    /// What should have been written, after "expected".
    fn expected() -> String;

    /// Whether a refused text may be repeated to the operator.
    fn may_be_shown(_text: &str) -> bool {
        true
    }

    /// The JSON Schema of the text.
    fn schema() -> Json {
        json!({"type": "string"})
    }
}

/// Text that is a name of something, elsewhere in the file or at Zuora.
#[derive(Clone, Debug)]
pub(crate) struct Text(pub(crate) String);

/// A UUID with hyphens, as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Uuid(pub(crate) String);

/// A UUID that is half of an app's credential.
#[derive(Clone, Debug)]
pub(crate) struct ClientId(pub(crate) String);

/// A SHA-256 in hexadecimal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest(pub(crate) [u8; 32]);

/// A secret that nobody should be able to guess.
#[derive(Clone, Debug)]
pub(crate) struct SigningKey(pub(crate) Secret);

/// A password as HTTP Basic can hold it.
#[derive(Clone, Debug)]
pub(crate) struct Password(pub(crate) Secret);

/// When the gateway sends a write to `/v1/async`, as far as that does not hang on waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WhenAsked {
    Always,
    OnRequest,
    Never,
}

/// The path of a file that can be opened.
#[derive(Clone, Debug)]
pub(crate) struct ReadableFile(pub(crate) PathBuf);

/// The path of a directory that may be made later.
#[derive(Clone, Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

/// One of a few words.
trait Choice: Copy + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("json", Self::Json), ("text", Self::Text)];
}

impl Choice for LogLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("trace", Self::Trace),
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("warn", Self::Warn),
        ("error", Self::Error),
    ];
}

impl Choice for ValidTrackId {
    const WORDS: &'static [(&'static str, Self)] =
        &[("keep", Self::Keep), ("prefix", Self::Prefix), ("replace", Self::Replace)];
}

impl Choice for InvalidTrackId {
    const WORDS: &'static [(&'static str, Self)] =
        &[("reject", Self::Reject), ("replace", Self::Replace)];
}

impl Choice for OnRefusal {
    const WORDS: &'static [(&'static str, Self)] =
        &[("shrink", Self::Shrink), ("freeze", Self::Freeze)];
}

impl Choice for ContendedWrites {
    const WORDS: &'static [(&'static str, Self)] =
        &[("repeat", Self::Repeat), ("return", Self::Return)];
}

impl Choice for Lanes {
    // To other readers `off` is a truth value. Here it is the word, with quotes or without.
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Self::Off), ("account", Self::Account)];
}

impl Choice for Renew {
    const WORDS: &'static [(&'static str, Self)] =
        &[("timer", Self::Timer), ("on_error", Self::OnError), ("every_call", Self::EveryCall)];
}

impl Choice for WhenAsked {
    const WORDS: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("on_request", Self::OnRequest), ("never", Self::Never)];
}

impl Choice for Priority {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("interactive", Self::Interactive),
        ("standard", Self::Standard),
        ("batch", Self::Batch),
        ("scavenger", Self::Scavenger),
    ];
}

impl<C: Choice> Scalar for C {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let word = C::WORDS.iter().find(|(word, _)| *word == text);
        word.map(|&(_, choice)| choice).ok_or_else(String::new)
    }

    fn expected() -> String {
        let words: Vec<_> = C::WORDS.iter().map(|(word, _)| format!("`{word}`")).collect();
        format!("one of {}", words.join(", "))
    }

    fn schema() -> Json {
        json!({"enum": C::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>()})
    }
}

impl Scalar for bool {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        text.parse().map_err(|_| String::new())
    }

    fn expected() -> String {
        "`true` or `false`".into()
    }

    fn schema() -> Json {
        json!({"type": "boolean"})
    }
}

impl Scalar for Secret {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        if text.is_empty() { Err("it is empty".into()) } else { Ok(Self::new(text)) }
    }

    fn expected() -> String {
        "a secret".into()
    }

    fn may_be_shown(_: &str) -> bool {
        false
    }
}

impl Scalar for SigningKey {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let long_enough = text.chars().count() >= 32;
        if long_enough { Ok(Self(Secret::new(text))) } else { Err("it is shorter".into()) }
    }

    fn expected() -> String {
        "a secret of at least 32 characters".into()
    }

    fn may_be_shown(_: &str) -> bool {
        false
    }
}

impl Scalar for Password {
    fn read(text: &str, directory: &Path) -> Result<Self, String> {
        // RFC 7617 2.
        if text.contains(char::is_control) {
            return Err("it has a control character".into());
        }
        Secret::read(text, directory).map(Self)
    }

    fn expected() -> String {
        "a password".into()
    }

    fn may_be_shown(_: &str) -> bool {
        false
    }
}

impl Scalar for Digest {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let mut digest = [0; 32];
        // Checked before slicing, which must not hit the middle of a character.
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(String::new());
        }
        for (index, byte) in digest.iter_mut().enumerate() {
            let pair = &text[2 * index..2 * index + 2];
            *byte = u8::from_str_radix(pair, 16).map_err(|_| String::new())?;
        }
        Ok(Self(digest))
    }

    fn expected() -> String {
        "a SHA-256 as 64 hexadecimal digits".into()
    }

    fn may_be_shown(_: &str) -> bool {
        false
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"})
    }
}

impl Scalar for Text {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        if text.is_empty() { Err(String::new()) } else { Ok(Self(text.to_owned())) }
    }

    fn expected() -> String {
        "a single value".into()
    }
}

impl Scalar for Uuid {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        if is_uuid(text) { Ok(Self(text.to_owned())) } else { Err(String::new()) }
    }

    fn expected() -> String {
        "a UUID of 36 characters".into()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"})
    }
}

impl Scalar for ClientId {
    fn read(text: &str, directory: &Path) -> Result<Self, String> {
        let Uuid(text) = Uuid::read(text, directory)?;
        Ok(Self(text))
    }

    fn expected() -> String {
        "a UUID of 36 characters (official SDKs take no other client id)".into()
    }

    /// Someone may have put the secret here.
    fn may_be_shown(_: &str) -> bool {
        false
    }

    fn schema() -> Json {
        Uuid::schema()
    }
}

impl Scalar for ReadableFile {
    fn read(text: &str, directory: &Path) -> Result<Self, String> {
        let path = directory.join(text);
        open_file(&path)?;
        Ok(Self(path))
    }

    fn expected() -> String {
        "the path of a readable file".into()
    }
}

impl Scalar for Directory {
    fn read(text: &str, directory: &Path) -> Result<Self, String> {
        if text.is_empty() { Err(String::new()) } else { Ok(Self(directory.join(text))) }
    }

    fn expected() -> String {
        "the path of a directory".into()
    }
}

fn is_uuid(text: &str) -> bool {
    let hyphen = |index| matches!(index, 8 | 13 | 18 | 23);
    let fits = |(index, byte): (usize, u8)| {
        if hyphen(index) { byte == b'-' } else { byte.is_ascii_hexdigit() }
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}
