//! What can be told of a body without parsing it, in nanoseconds: that it does not complain.
//!
//! Nearly every answer is a success, and parsing each would cost more than all else that is done
//! with it. A glance may be wrong in one direction only: to send a body to the parser in vain.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// What a glance shows of a body that came with a status of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Glance {
    /// It does not complain.
    Success,
    /// It has a field that a complaint has its code in, and says nowhere that it failed: a complaint
    /// only if nothing else stands in it.
    Suspicious,
    /// It says somewhere that something failed.
    Failure,
}

impl Glance {
    pub(super) fn at(text: &[u8]) -> Self {
        let text = text.trim_ascii_start();
        match text.first() {
            Some(b'{') if begins_with_success(text) => Self::Success,
            Some(b'{' | b'[') if says_success(text, false) => Self::Failure,
            Some(b'{') if has_code(text) => Self::Suspicious,
            Some(b'<') if has_fault(text) => Self::Failure,
            _ => Self::Success,
        }
    }
}

/// `{"success": true`: then nothing that follows makes it a failure.
pub(super) fn begins_with_success(text: &[u8]) -> bool {
    let Some(field) = text.trim_ascii_start().strip_prefix(b"{") else { return false };
    let field = field.trim_ascii_start();
    field
        .strip_prefix(b"\"success\"")
        .or_else(|| field.strip_prefix(b"\"Success\""))
        .and_then(after_colon)
        .is_some_and(|value| value.starts_with(b"true"))
}

/// Whether `success` is set to this anywhere, in whatever object, with whatever spaces.
pub(super) fn says_success(text: &[u8], success: bool) -> bool {
    static KEY: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("uccess\""));
    let word: &[u8] = if success { b"true" } else { b"false" };
    KEY.find_iter(text)
        .filter_map(|at| after_colon(&text[at + KEY.needle().len()..]))
        .any(|value| value.starts_with(word))
}

/// Whether there is a field that a complaint has its code in: all end in `ode"`, and so do
/// `currencyCode` and `taxCode`, which are of no interest.
fn has_code(text: &[u8]) -> bool {
    static END: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("ode\""));
    const BEGINNINGS: [&[u8]; 5] = [b"\"c", b"\"C", b"FaultC", b"faultc", b"errorC"];
    END.find_iter(text).any(|at| BEGINNINGS.iter().any(|beginning| text[..at].ends_with(beginning)))
}

fn has_fault(xml: &[u8]) -> bool {
    static WORDS: LazyLock<[Finder<'_>; 2]> =
        LazyLock::new(|| ["Fault", ":Success>false<"].map(Finder::new));
    WORDS.iter().any(|word| word.find(xml).is_some())
}

fn after_colon(text: &[u8]) -> Option<&[u8]> {
    Some(text.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
}
