//! What a single value may be: how it is read, refused and described.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use http::uri::{Scheme, Uri};
use serde_json::{Value as Json, json};

use crate::environment::open_file;
use crate::{BaseUrl, InvalidTrackId, LogFormat, LogLevel, Pattern, Secret, ValidTrackId};

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

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole<const MIN: u32, const MAX: u32>(pub(crate) u32);

/// A whole number from one to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count<const MAX: u32>(pub(crate) NonZeroU32);

/// A number of bytes, `1MiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

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

/// The path of a file that can be opened.
#[derive(Clone, Debug)]
pub(crate) struct ReadableFile(pub(crate) PathBuf);

/// The path of a directory that may be made later.
#[derive(Clone, Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

/// The name of an app.
#[derive(Debug)]
pub(crate) struct AppName;

/// The name of a tenant.
#[derive(Debug)]
pub(crate) struct TenantName;

/// Zuora's name of a limit type.
#[derive(Debug)]
pub(crate) struct LimitType;

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

impl<const MIN: u32, const MAX: u32> Scalar for Whole<MIN, MAX> {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        // `parse` alone would take `+5`.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number) && digits);
        number.map(Self).ok_or_else(String::new)
    }

    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn schema() -> Json {
        json!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}

impl<const MAX: u32> Scalar for Count<MAX> {
    fn read(text: &str, directory: &Path) -> Result<Self, String> {
        let Whole(number) = Whole::<1, MAX>::read(text, directory)?;
        NonZeroU32::new(number).map(Self).ok_or_else(String::new)
    }

    fn expected() -> String {
        Whole::<1, MAX>::expected()
    }

    fn schema() -> Json {
        Whole::<1, MAX>::schema()
    }
}

impl Scalar for Duration {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
        let milliseconds = measure(text, UNITS)?;
        if milliseconds == 0 {
            return Err("it must be longer than nothing".into());
        }
        if milliseconds > 86_400_000 {
            return Err("it must be at most 24h".into());
        }
        Ok(Self::from_millis(milliseconds))
    }

    fn expected() -> String {
        "a duration such as `30s`".into()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"})
    }
}

impl Scalar for Bytes {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        const UNITS: &[(&str, u64)] = &[
            ("B", 1),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("KB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
        ];
        let bytes = measure(text, UNITS)?;
        if bytes > 1 << 40 {
            return Err("it must be at most 1024GiB".into());
        }
        Ok(Self(bytes))
    }

    fn expected() -> String {
        "a size such as `1MiB`".into()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|KB|MB|GB)$"})
    }
}

impl Scalar for SocketAddr {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        text.parse().map_err(|_| match text.rsplit_once(':') {
            None => "both an address and a port are needed".into(),
            Some((_, port)) if port.parse::<u16>().is_err() => {
                "the port must be a number from 0 to 65535".into()
            }
            Some(_) => "the part before the port must be an IP address, not a name".into(),
        })
    }

    fn expected() -> String {
        "an IP address and a port such as `127.0.0.1:8080`".into()
    }
}

impl Scalar for BaseUrl {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        if text.contains('@') {
            return Err("credentials do not belong into it".into());
        }
        let parts = text.parse::<Uri>().map_err(|_| "it is not a URL")?.into_parts();
        let scheme = parts.scheme.ok_or("it must begin with `https://`")?;
        if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
            return Err("the scheme must be `https` or `http`".into());
        }
        let authority = parts.authority.ok_or("the host is missing")?;
        if authority.host().is_empty() {
            return Err("the host is missing".into());
        }
        // Whatever stands behind the host must be a port, and one that exists.
        if authority.as_str() != authority.host() && authority.port_u16().is_none_or(|p| p == 0) {
            return Err("the port must be a number from 1 to 65535".into());
        }
        let rest = parts.path_and_query.map(|rest| rest.as_str().to_owned()).unwrap_or_default();
        if !matches!(rest.as_str(), "" | "/") || text.contains('#') {
            return Err("it must end after the host and its port: apps send the path".into());
        }
        Ok(Self { scheme, authority })
    }

    fn expected() -> String {
        "scheme and host such as `https://rest.zuora.com`".into()
    }

    fn may_be_shown(text: &str) -> bool {
        !text.contains('@')
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^https?://[^/?#@]+/?$"})
    }
}

impl Scalar for Pattern {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let (method, path) = text.split_once(' ').ok_or("it needs a method and a path")?;
        Ok(Self { method: read_method(method)?, path: read_glob(path)? })
    }

    fn expected() -> String {
        "a method and a path such as `GET /v1/accounts/**`".into()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": r"^(\*|[A-Z]+) /"})
    }
}

/// A method, or `None` for `*`.
fn read_method(text: &str) -> Result<Option<Method>, String> {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    if text == "*" {
        return Ok(None);
    }
    let known = KNOWN.into_iter().find(|method| method.as_str() == text);
    known.map(Some).ok_or_else(|| {
        "the method must be `*`, GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, in capitals".into()
    })
}

fn read_glob(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err("the path must begin with `/`".into());
    }
    if path.contains(['?', '#']) {
        return Err("patterns are about paths, not about queries".into());
    }
    if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err("the path must be as it is sent: visible ASCII without spaces".into());
    }
    let before_last = path.strip_suffix("/**").unwrap_or(path);
    if before_last.contains("**") {
        return Err("`**` stands for any rest, so it must be the whole last segment".into());
    }
    Ok(path.to_owned())
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
        "some text".into()
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

impl Scalar for AppName {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if text.contains('-') {
            return Err("no hyphen, because the name begins the app's track ids and Zuora groups \
                        those by what stands before the first hyphen"
                .into());
        }
        let begins_well = text.starts_with(|c| c != '_' && inner(c));
        let good = begins_well && text.len() <= 24 && text.chars().all(inner);
        if good { Ok(Self) } else { Err(String::new()) }
    }

    fn expected() -> String {
        "an app name of 1 to 24 lower-case letters, digits and `_`, beginning with a letter or \
         digit"
            .into()
    }

    fn schema() -> Json {
        json!({"pattern": "^[a-z0-9][a-z0-9_]{0,23}$"})
    }
}

impl Scalar for TenantName {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let good = begins_well && text.len() <= 64 && text.chars().all(inner);
        if good { Ok(Self) } else { Err(String::new()) }
    }

    fn expected() -> String {
        "a tenant name of 1 to 64 letters, digits, `_`, `-` and `.`, beginning with a letter or \
         digit"
            .into()
    }

    fn schema() -> Json {
        json!({"pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"})
    }
}

/// The limit types that every tenant has, with what Zuora allows by default
/// (Zuora: rate limits guide).
pub(crate) const KNOWN_LIMITS: [(&str, u32); 3] =
    [("Default", 40), ("High-volume transactions", 200), ("Object Query", 80)];

impl Scalar for LimitType {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        // Any other name is taken as Zuora's, so a slip of case would make a
        // limit that never applies.
        let known = KNOWN_LIMITS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        match known {
            Some((name, _)) if name != text => Err(format!("Zuora writes `{name}`")),
            _ if text.trim() != text || text.is_empty() => Err(String::new()),
            _ => Ok(Self),
        }
    }

    fn expected() -> String {
        "a limit type by Zuora's own name".into()
    }

    fn schema() -> Json {
        json!({"minLength": 1})
    }
}

/// A number followed by one of `units`, in the smallest of them.
fn measure(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| String::new())?;
    let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    if unit.is_empty() {
        return Err(format!("write the unit behind the number ({names})"));
    }
    let scale = units.iter().find(|(name, _)| *name == unit);
    let (_, scale) = scale.ok_or_else(|| format!("the unit must be one of {names}"))?;
    number.checked_mul(*scale).ok_or_else(|| "it is too large".into())
}

fn is_uuid(text: &str) -> bool {
    let hyphen = |index| matches!(index, 8 | 13 | 18 | 23);
    let fits = |(index, byte): (usize, u8)| {
        if hyphen(index) { byte == b'-' } else { byte.is_ascii_hexdigit() }
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}
