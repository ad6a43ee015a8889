//! Which kind of text a `Content-Type` announces.

use http::HeaderValue;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Xml,
    Html,
    /// No `Content-Type`: the first byte of the body tells.
    Unknown,
    Other,
}

impl Media {
    pub(crate) fn of(content_type: Option<&HeaderValue>) -> Self {
        let Some(value) = content_type else { return Self::Unknown };
        let value = value.as_bytes();
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let essence = value[..end].trim_ascii();
        let subtype = &essence[memchr::memchr(b'/', essence).map_or(0, |slash| slash + 1)..];
        let suffix = &subtype[memchr::memrchr(b'+', subtype).map_or(0, |plus| plus + 1)..];
        if suffix.eq_ignore_ascii_case(b"json") {
            Self::Json
        } else if suffix.eq_ignore_ascii_case(b"xml") && !subtype.eq_ignore_ascii_case(b"xhtml+xml")
        {
            Self::Xml
        } else if subtype.eq_ignore_ascii_case(b"html")
            || subtype.eq_ignore_ascii_case(b"xhtml+xml")
        {
            Self::Html
        } else {
            Self::Other
        }
    }
}
