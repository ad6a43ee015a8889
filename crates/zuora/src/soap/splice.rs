//! Another session in an envelope, and every other byte as it was.

use std::ops::Range;

use quick_xml::escape::escape;

use super::API;

/// Where in an envelope a session is to be written: in the place of the one that stands there, or where one belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The bytes that make room for it.
    range: Range<usize>,
    /// What stands before the session and after it.
    around: [Box<str>; 2],
}

impl Splice {
    /// In the place of the text in `range`.
    pub(super) fn text(range: Range<usize>) -> Self {
        Self { range, around: Default::default() }
    }

    /// As the content of an element that has none, `<name/>`, of which `range` is the end, `/>`.
    pub(super) fn content(range: Range<usize>, name: &str) -> Self {
        Self::around(range, ">", &format!("</{name}>"))
    }

    /// As the `session` of a `SessionHeader` whose content begins `at`.
    pub(super) fn session(at: usize) -> Self {
        Self::around(at..at, "", "").in_session()
    }

    /// As the `session` of a `SessionHeader` that has no content.
    pub(super) fn session_in_empty(range: Range<usize>, name: &str) -> Self {
        Self::content(range, name).in_session()
    }

    /// As the `SessionHeader` in a `Header` whose content begins `at`.
    pub(super) fn session_header(at: usize) -> Self {
        Self::around(at..at, "", "").in_session_header()
    }

    /// As the `SessionHeader` in a `Header` that has no content.
    pub(super) fn session_header_in_empty(range: Range<usize>, name: &str) -> Self {
        Self::content(range, name).in_session_header()
    }

    /// As a `Header` of that name, `at` where the `Body` begins.
    pub(super) fn header(at: usize, name: &str) -> Self {
        Self::around(at..at, &format!("<{name}>"), &format!("</{name}>")).in_session_header()
    }

    fn around(range: Range<usize>, before: &str, after: &str) -> Self {
        Self { range, around: [before.into(), after.into()] }
    }

    fn in_session(self) -> Self {
        self.wrapped(&format!("<ns1:session xmlns:ns1=\"{API}\">"), "</ns1:session>")
    }

    fn in_session_header(self) -> Self {
        self.wrapped(
            &format!("<ns1:SessionHeader xmlns:ns1=\"{API}\"><ns1:session>"),
            "</ns1:session></ns1:SessionHeader>",
        )
    }

    fn wrapped(self, before: &str, after: &str) -> Self {
        let [outer_before, outer_after] = self.around;
        let around =
            [format!("{outer_before}{before}").into(), format!("{after}{outer_after}").into()];
        Self { range: self.range, around }
    }

    /// How many of an envelope's first bytes [`put`](Self::put) needs.
    pub fn needs(&self) -> usize {
        self.range.end
    }

    /// Returns `envelope`, or as much of its beginning as there is, with `session` in its place.
    ///
    /// # Panics
    /// If fewer bytes are there than it [`needs`](Self::needs).
    pub fn put(&self, envelope: &[u8], session: &str) -> Vec<u8> {
        let session = escape(session);
        let [before, after] = &self.around;
        [
            &envelope[..self.range.start],
            before.as_bytes(),
            session.as_bytes(),
            after.as_bytes(),
            &envelope[self.range.end..],
        ]
        .concat()
    }
}
