//! Where links stand, by what stands before them.

use super::Text;

/// How many bytes before an address are looked at.
pub(super) const BEHIND: usize = 128;

const FIELDS: [&[u8]; 6] =
    [b"nextPage", b"next", b"next_page", b"resultFileUrl", b"uploadedFileUrl", b"outputURL"];

impl Text {
    /// Whether an address that follows `behind`, the last [`BEHIND`] bytes before it, is a link.
    pub(super) fn is_place(self, behind: &[u8]) -> bool {
        match self {
            Self::Json => is_field(behind).unwrap_or(false),
            Self::Wsdl => is_attribute(behind).unwrap_or(false),
            Self::Soap => is_element(behind).unwrap_or(false),
        }
    }

    /// Whether an address may begin after this byte, and none goes on beyond it.
    pub(super) fn opens(self, byte: u8) -> bool {
        match self {
            Self::Json => byte == b'"',
            Self::Wsdl => matches!(byte, b'"' | b'\''),
            Self::Soap => byte == b'>',
        }
    }
}

/// `{"nextPage": "`. What stands before the name tells a name from the end of a text.
fn is_field(behind: &[u8]) -> Option<bool> {
    let name = behind.strip_suffix(b"\"")?.trim_ascii_end();
    let name = name.strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"")?;
    let before = FIELDS.iter().find_map(|field| name.strip_suffix(*field)?.strip_suffix(b"\""))?;
    let last = before.last()?;
    Some(matches!(last, b'{' | b',') || last.is_ascii_whitespace())
}

/// `<soap:address location="`.
fn is_attribute(behind: &[u8]) -> Option<bool> {
    let (quote, name) = behind.split_last()?;
    let name = name.trim_ascii_end().strip_suffix(b"=")?.trim_ascii_end();
    let before = name.strip_suffix(b"location")?.last()?;
    Some(matches!(quote, b'"' | b'\'') && before.is_ascii_whitespace())
}

/// `<ns1:ServerUrl>`.
fn is_element(behind: &[u8]) -> Option<bool> {
    let name = behind.strip_suffix(b"ServerUrl>")?;
    let prefix = name.strip_suffix(b":").map_or(name, |name| {
        let is_letter =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        &name[..name.len() - name.iter().rev().take_while(|byte| is_letter(byte)).count()]
    });
    Some(prefix.last() == Some(&b'<'))
}
