//! The part of a body that is looked at, as text.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::GzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue};

use super::ANSWER_LOOK;

/// What a look shows: at most [`ANSWER_LOOK`] bytes of text.
pub(crate) struct Look<'a> {
    pub(crate) text: Cow<'a, [u8]>,
    /// That is all of it. What was cut may have said anything behind the cut.
    pub(super) is_whole: bool,
}

impl<'a> Look<'a> {
    /// Empty when it cannot be read.
    pub(crate) fn at(headers: &HeaderMap, body: &'a [u8]) -> Self {
        let body = &body[..body.len().min(ANSWER_LOOK)];
        match Coding::of(headers) {
            Coding::Identity => {
                Self { text: Cow::Borrowed(body), is_whole: body.len() < ANSWER_LOOK }
            }
            Coding::Gzip => Self::at_gzip(body),
            Coding::Unreadable => Self { text: Cow::Borrowed(&[]), is_whole: false },
        }
    }

    fn at_gzip(body: &[u8]) -> Look<'static> {
        // Text like Zuora's is made five to ten times smaller.
        let mut text = Vec::with_capacity((8 * body.len()).min(ANSWER_LOOK));
        let end = GzDecoder::new(body).take(ANSWER_LOOK as u64).read_to_end(&mut text);
        let is_whole = end.is_ok() && text.len() < ANSWER_LOOK;
        Look { text: Cow::Owned(text), is_whole }
    }
}

/// How a body is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Unreadable,
}

impl Coding {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut codings = headers.get_all(CONTENT_ENCODING).into_iter().map(HeaderValue::as_bytes);
        let is =
            |coding: &[u8], name: &str| coding.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        match (codings.next(), codings.next()) {
            (None, _) => Self::Identity,
            (Some(coding), None) if is(coding, "identity") || is(coding, "") => Self::Identity,
            (Some(coding), None) if is(coding, "gzip") || is(coding, "x-gzip") => Self::Gzip,
            _ => Self::Unreadable,
        }
    }
}

pub(super) fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
