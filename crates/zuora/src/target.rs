//! What policy reads of a request's path, and whether it permits it.
//!
//! A path can be read in more than one way: `%2F` as a slash or as a character of a key, `//` as one
//! slash or two, `;v=1` as part of a name or as nothing. Which reading Zuora's servers choose is
//! theirs to know. The path is sent as it came, so nothing is repaired here. Instead, what can only
//! be meant to deceive is refused ([`Target::read`]), and what remains must be permitted under
//! **every** reading ([`Policy::judge`]).

mod pattern;
mod readings;
mod rule;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::operation::operations;

pub use pattern::{METHODS, Pattern, PatternError};
pub use rule::{OperationRule, Rule, RuleError, SOAP_CALLS, SoapRule};

use readings::{Reading, readings};
use rule::soap_only_reads;

/// A path that can be judged: none of its readings climbs, hides, or breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The path without its query.
    path: &'a str,
}

/// How long a path may be, without its query. Those of Zuora's have a few hundred bytes; every reading of one with many
/// small segments costs a hundred times its length, before anybody is known.
const LONGEST_PATH: usize = 8 * 1024;

/// Why a path is refused, whoever asks. `Display` says it in words meant for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// No slash at the beginning, as in `*` and in absolute form.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// More than 8 KB.
    #[error("the path is longer than {LONGEST_PATH} bytes")]
    Long,
    /// A space, `#`, a control character or a byte outside US-ASCII, as it is.
    #[error("the path has a character that must be percent-encoded, byte 0x{0:02x}")]
    RawByte(u8),
    /// `%zz`, or `%2` at the end.
    #[error("the path has a `%` that two hexadecimal digits do not follow")]
    BrokenEncoding,
    /// Decoding leaves another encoding, as in `%252e`.
    #[error("the path is percent-encoded twice")]
    EncodedTwice,
    /// `%00`, `%0d` and their like.
    #[error("the path has an encoded control character, byte 0x{0:02x}")]
    Control(u8),
    /// Some servers take it for a slash, raw or as `%5c`.
    #[error("the path has a backslash")]
    Backslash,
    /// Overlong forms such as `%c0%af` among them.
    #[error("the path is not UTF-8 when decoded")]
    NotUtf8,
    /// In any coding, with `;parameters` or without.
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
}

impl<'a> Target<'a> {
    /// Reads a raw path, as it stands in the request line. A query behind it is not read.
    pub fn read(raw: &'a str) -> Result<Self, BadTarget> {
        let path = &raw[..memchr::memchr(b'?', raw.as_bytes()).unwrap_or(raw.len())];
        if !path.starts_with('/') {
            return Err(BadTarget::NotAbsolute);
        }
        if path.len() > LONGEST_PATH {
            return Err(BadTarget::Long);
        }
        path.bytes().try_for_each(check_raw)?;
        if path.contains('%') {
            check_encoding(path)?;
        } else {
            check_segments(path)?;
        }
        Ok(Self { path })
    }

    /// The raw path, without its query.
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// Whether each of its readings is named by one of these rules, to the letter.
    pub fn is_named_by(&self, method: &Method, rules: &[Rule]) -> bool {
        let is_named = |path: &Reading<'_>| rules.iter().any(|rule| rule.allows(method, path));
        readings(self.path).iter().all(is_named)
    }

    /// Whether one of its readings may be named by one of these rules, if letter case did not count: what is kept from
    /// happening to what they name is kept from it, too.
    pub fn may_be_named_by(&self, method: &Method, rules: &[Rule]) -> bool {
        let may_be_named = |path: &Reading<'_>| rules.iter().any(|rule| rule.denies(method, path));
        readings(self.path).iter().any(may_be_named)
    }

    /// Whether any reading of the path begins with these segments, in any letter case.
    pub fn may_be_under(&self, segments: &[&str]) -> bool {
        let is_plain = !self.path.contains(['%', ';']) && !self.path.contains("//");
        if is_plain {
            let mut path = self.path.split('/').skip(1);
            return segments.iter().all(|segment| {
                path.next().is_some_and(|found| found.eq_ignore_ascii_case(segment))
            });
        }
        readings(self.path).iter().any(|reading| readings::begins(reading, segments))
    }
}

/// What an app may call. Empty, it permits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// One of these must name every reading; none at all means that everything is allowed.
    pub allow: Vec<Rule>,
    /// None of these may name any reading, in any letter case. Wins over `allow`.
    pub deny: Vec<Rule>,
    /// Whether only what changes nothing is allowed.
    pub read_only: bool,
}

/// Which rule of a policy refuses a call. `Display` says it in words meant for the caller, the entry as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPermitted<'p> {
    /// The call may be what this entry names, or hides what it names.
    #[error("an entry of `deny` refuses it: `{0}`")]
    Denied(&'p Rule),
    /// No entry names any reading of it.
    #[error("no entry of `allow` names it")]
    NotAllowed,
    /// Entries name it, but not in every reading.
    #[error("`allow` names it in some of the ways in which it could be read, not in all")]
    NotAllowedThroughout,
    /// It may change something.
    #[error("`read_only` permits only what is known to change nothing")]
    NotRead,
}

/// The operations that are sent as `POST` and change nothing, whatever path they are read from.
static READ_OPERATIONS: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let reads = operations().iter().filter(|operation| operation.only_reads());
    reads.map(|operation| Rule::Operation(operation.into())).collect()
});

impl Policy {
    /// Judges a call. HEAD is judged as GET too: what denies one denies both, what allows GET allows
    /// HEAD. `/rest/v1/…` is `/v1/…`; `/v1/async/X` needs both itself and `/v1/X` to be permitted. A
    /// call to where the SOAP API is, whose envelope nobody has read, is not permitted where the
    /// policy speaks of SOAP calls.
    ///
    /// # Errors
    /// If it is not permitted.
    pub fn judge(&self, method: &Method, target: &Target<'_>) -> Result<(), NotPermitted<'_>> {
        if self.is_open() {
            return Ok(());
        }
        let readings = readings(target.path);
        if let Some(refusal) = self.refuses_unread()
            && readings.iter().any(is_soap_service)
        {
            return Err(refusal);
        }
        self.check_denied(method, &readings)?;
        self.check_allowed(method, &readings)?;
        self.check_reads(|| only_reads(method, &readings))
    }

    /// Judges the SOAP call `name`, sent with this method and path: the name of the first element in
    /// the envelope's body, without its prefix. It is allowed by its name or by its path, and denied
    /// by either.
    ///
    /// # Errors
    /// If it is not permitted.
    pub fn judge_soap(
        &self,
        method: &Method,
        target: &Target<'_>,
        name: &str,
    ) -> Result<(), NotPermitted<'_>> {
        if self.is_open() {
            return Ok(());
        }
        let readings = readings(target.path);
        if let Some(rule) = self.deny.iter().find(|rule| rule.denies_soap(name)) {
            return Err(NotPermitted::Denied(rule));
        }
        self.check_denied(method, &readings)?;
        if !self.allow.iter().any(|rule| rule.allows_soap(name)) {
            self.check_allowed(method, &readings)?;
        }
        self.check_reads(|| soap_only_reads(name))
    }

    /// Judges the question of a browser whether this call would be permitted: as the call itself,
    /// unless asking is denied.
    ///
    /// # Errors
    /// If it is not permitted.
    pub fn judge_preflight(
        &self,
        asked_for: &Method,
        target: &Target<'_>,
    ) -> Result<(), NotPermitted<'_>> {
        self.judge(asked_for, target)?;
        self.check_denied(&Method::OPTIONS, &readings(target.path))
    }

    fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty() && !self.read_only
    }

    /// What refuses a SOAP call whose name is not known, because it would have to be.
    fn refuses_unread(&self) -> Option<NotPermitted<'_>> {
        let by_name = self.deny.iter().find(|rule| matches!(rule, Rule::Soap(_)));
        by_name.map(NotPermitted::Denied).or(self.read_only.then_some(NotPermitted::NotRead))
    }

    fn check_denied(
        &self,
        method: &Method,
        readings: &[Reading<'_>],
    ) -> Result<(), NotPermitted<'_>> {
        let denies = |rule: &&Rule| readings.iter().any(|path| rule.denies(method, path));
        self.deny.iter().find(denies).map_or(Ok(()), |rule| Err(NotPermitted::Denied(rule)))
    }

    fn check_allowed(
        &self,
        method: &Method,
        readings: &[Reading<'_>],
    ) -> Result<(), NotPermitted<'_>> {
        let allows = |path: &Reading<'_>| self.allow.iter().any(|rule| rule.allows(method, path));
        if self.allow.is_empty() || readings.iter().all(allows) {
            return Ok(());
        }
        match readings.iter().any(allows) {
            true => Err(NotPermitted::NotAllowedThroughout),
            false => Err(NotPermitted::NotAllowed),
        }
    }

    fn check_reads(&self, only_reads: impl FnOnce() -> bool) -> Result<(), NotPermitted<'_>> {
        if self.read_only && !only_reads() { Err(NotPermitted::NotRead) } else { Ok(()) }
    }
}

/// Whether every reading changes nothing.
fn only_reads(method: &Method, readings: &[Reading<'_>]) -> bool {
    let is_read =
        |path: &Reading<'_>| READ_OPERATIONS.iter().any(|operation| operation.allows(method, path));
    method.is_safe() || readings.iter().all(is_read)
}

/// Whether Zuora's SOAP API may be what is called.
fn is_soap_service(path: &Reading<'_>) -> bool {
    let is = |at: usize, name: &str| path.get(at).is_some_and(|it| it.eq_ignore_ascii_case(name));
    is(0, "apps") && is(1, "services")
}

fn check_raw(byte: u8) -> Result<(), BadTarget> {
    match byte {
        b'\\' => Err(BadTarget::Backslash),
        b'#' | 0..=b' ' | 0x7f.. => Err(BadTarget::RawByte(byte)),
        _ => Ok(()),
    }
}

/// Everything that percent-encoding can hide.
fn check_encoding(path: &str) -> Result<(), BadTarget> {
    if !encodings_are_whole(path.as_bytes()) {
        return Err(BadTarget::BrokenEncoding);
    }
    // Overlong forms of dots and slashes are not UTF-8.
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| BadTarget::NotUtf8)?;
    for byte in decoded.bytes() {
        match byte {
            b'\\' => return Err(BadTarget::Backslash),
            _ if byte.is_ascii_control() => return Err(BadTarget::Control(byte)),
            _ => {}
        }
    }
    if has_encoding(decoded.as_bytes()) {
        return Err(BadTarget::EncodedTwice);
    }
    check_segments(&decoded)
}

/// Refuses dot segments, also those that appear once `;parameters` or outer spaces are taken off.
fn check_segments(path: &str) -> Result<(), BadTarget> {
    let is_dots = |segment: &str| {
        let name = segment.split(';').next().unwrap_or(segment);
        matches!(name.trim(), "." | "..")
    };
    if path.split('/').any(is_dots) { Err(BadTarget::DotSegment) } else { Ok(()) }
}

fn encodings_are_whole(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path).all(|at| is_encoding(&path[at..]))
}

fn has_encoding(text: &[u8]) -> bool {
    memchr::memchr_iter(b'%', text).any(|at| is_encoding(&text[at..]))
}

fn is_encoding(text: &[u8]) -> bool {
    matches!(text, [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}
