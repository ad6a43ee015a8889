//! Addresses in answers by which callers go on: pages, results, the SOAP server. Where they name the tenant's own host,
//! they are made to name the gateway, so that whoever follows them comes back.
//!
//! | where | what is rewritten |
//! |---|---|
//! | JSON | the string under `nextPage`, `next`, `next_page`, `resultFileUrl`, `uploadedFileUrl`, `outputURL`, in whatever object |
//! | a WSDL | the attribute `location` |
//! | a SOAP answer | the text of `ServerUrl` |
//! | the header | `Location` |
//!
//! Only scheme, host and port change, and only where they are the tenant's. Everything else stays byte for byte: what
//! looks like a link within a text, a pre-signed `dataFile` at a file store, the `uri` of a signature, which must be the
//! address that is called.
//!
//! Nothing is parsed. A listing is searched for the tenant's hosts, which costs a fraction of a nanosecond a byte, and
//! only where one stands it is asked what stands before it. That decides as a parser would: a quote within a JSON string
//! is always escaped, so a bare `"nextPage": "https://` after `{`, `,` or a blank can only be a field. What a parser
//! would take for the same, but nobody writes, is left alone: a host in capitals or with escaped letters, more than a
//! hundred blanks around a colon.

mod hosts;
mod place;
mod repack;
mod rewriter;

#[cfg(test)]
mod tests;

use http::HeaderMap;
use http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE};

pub use hosts::OwnHosts;
pub use repack::{BadGzip, Repacker, Whole};
pub use rewriter::Rewriter;

use crate::answer::Coding;
use crate::media::Media;

/// What a text is, so where links stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// An answer of the REST API.
    Json,
    /// The description of the SOAP API.
    Wsdl,
    /// An answer of the SOAP API.
    Soap,
}

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// With gzip.
    Gzip,
}

/// Whether the answer to a request for `path` may have links in its body, and how that is read. `None` for files, which
/// are the caller's own words, for what is no text of these kinds, and for what is packed otherwise than with gzip.
#[must_use]
pub fn text_of(path: &str, headers: &HeaderMap) -> Option<(Text, Packing)> {
    let media = Media::of(headers.get(CONTENT_TYPE));
    let text = if begins_with(path, "/apps/servlet/GenerateWsdl") {
        (media != Media::Html).then_some(Text::Wsdl)
    } else if begins_with(path, "/apps/services/") {
        (media == Media::Xml).then_some(Text::Soap)
    } else {
        (media == Media::Json && !is_file(path)).then_some(Text::Json)
    }?;
    if headers.contains_key(CONTENT_DISPOSITION) {
        return None;
    }
    let packing = match headers.contains_key(CONTENT_ENCODING) {
        false => Packing::Plain,
        true => match Coding::of(headers) {
            Coding::Identity => Packing::Plain,
            Coding::Gzip => Packing::Gzip,
            Coding::Unreadable => return None,
        },
    };
    Some((text, packing))
}

fn begins_with(path: &str, beginning: &str) -> bool {
    path.get(..beginning.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(beginning))
}

/// `GET /v1/files/{id}`, and its older names.
fn is_file(path: &str) -> bool {
    let path = path.strip_prefix("/rest").or_else(|| path.strip_prefix("/apps")).unwrap_or(path);
    ["/v1/files/", "/v1/file/"].iter().any(|file| begins_with(path, file))
}
