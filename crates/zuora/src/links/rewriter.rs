//! Rewriting a text that comes in pieces.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::hosts::{Read, scheme_before};
use super::place::BEHIND;
use super::{OwnHosts, Text};

/// Rewrites the links of one text. Where it is cut into pieces does not matter.
///
/// Of what was pushed it holds back at most what may be the beginning of a link, which is shorter than an address.
#[derive(Clone)]
pub struct Rewriter {
    own: Arc<OwnHosts>,
    text: Text,
    base: Base,
    /// The last bytes that were passed on, as they came.
    behind: Vec<u8>,
    /// What may be the beginning of a link.
    held: Vec<u8>,
    rewritten: u64,
}

/// What is put in the place of an own host.
#[derive(Clone, Debug)]
struct Base {
    plain: String,
    escaped: String,
}

/// A link to rewrite: where scheme and authority stand.
#[derive(Debug)]
struct Link {
    address: Range<usize>,
    has_escaped_slashes: bool,
}

// What is held, and what is behind, may be a customer's.
impl fmt::Debug for Rewriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewriter")
            .field("text", &self.text)
            .field("base", &self.base)
            .field("rewritten", &self.rewritten)
            .finish_non_exhaustive()
    }
}

impl Rewriter {
    /// Puts `base` (scheme and authority, a path if need be, no slash at its end) in the place of `own` hosts. A `base`
    /// with anything in it that is not meant for an address rewrites nothing.
    #[must_use]
    pub fn new(own: &Arc<OwnHosts>, text: Text, base: &str) -> Self {
        let own = if is_address(base) { Arc::clone(own) } else { Arc::default() };
        let base = Base { plain: base.to_owned(), escaped: base.replace('/', r"\/") };
        Self { own, text, base, behind: Vec::new(), held: Vec::new(), rewritten: 0 }
    }

    /// What can be said of the text now, with links rewritten. Borrowed if that is a part of `piece` as it is.
    pub fn push<'p>(&mut self, piece: &'p [u8]) -> Cow<'p, [u8]> {
        if self.held.is_empty() {
            return self.pass(piece);
        }
        // What is held needs no more than this to be decided.
        let taken = piece.len().min(self.own.longest());
        let mut seam = std::mem::take(&mut self.held);
        seam.extend_from_slice(&piece[..taken]);
        let mut out = self.pass(&seam).into_owned();
        if taken < piece.len() {
            let held = self.held.len();
            self.held.clear();
            out.extend_from_slice(&self.pass(&piece[taken - held..]));
        }
        Cow::Owned(out)
    }

    /// What was held back: the text has ended, so it was no link.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// How many links were rewritten.
    #[must_use]
    pub fn rewritten(&self) -> u64 {
        self.rewritten
    }

    /// All of a text with its links rewritten; `None` if it has none of ours.
    #[must_use]
    pub fn whole(mut self, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = self.push(text).into_owned();
        if self.rewritten == 0 {
            return None;
        }
        out.extend(self.finish());
        Some(out)
    }

    /// Rewrites `piece`, with nothing held before it, but for what is held at its end.
    fn pass<'p>(&mut self, piece: &'p [u8]) -> Cow<'p, [u8]> {
        let links = self.links(piece);
        let certain = piece.len() - self.undecided(piece);
        let out = if links.is_empty() {
            Cow::Borrowed(&piece[..certain])
        } else {
            Cow::Owned(self.base.put(&links, &piece[..certain]))
        };
        self.rewritten += links.len() as u64;
        self.held.extend_from_slice(&piece[certain..]);
        self.remember(&piece[..certain]);
        out
    }

    /// The links that certainly stand in `piece`, in order.
    fn links(&self, piece: &[u8]) -> Vec<Link> {
        let mut links: Vec<_> =
            self.own.all_in(piece).filter_map(|host| self.link(piece, host)).collect();
        links.sort_unstable_by_key(|link| link.address.start);
        links.dedup_by_key(|link| link.address.start);
        links
    }

    /// The link whose own host stands at `host`.
    fn link(&self, piece: &[u8], host: usize) -> Option<Link> {
        let start = host - scheme_before(&piece[..host])?;
        match self.own.read(&piece[start..]) {
            Read::Own { end, has_escaped_slashes } if self.is_place(piece, start) => {
                Some(Link { address: start..start + end, has_escaped_slashes })
            }
            _ => None,
        }
    }

    /// How many bytes at the end of `piece` may be the beginning of a link.
    fn undecided(&self, piece: &[u8]) -> usize {
        let from = piece.len().saturating_sub(self.own.longest());
        let tail = &piece[from..];
        let opened = tail.iter().rposition(|byte| self.text.opens(*byte));
        let start = match opened {
            Some(quote) => from + quote + 1,
            None if from == 0 => 0,
            None => return 0,
        };
        let is_partial = self.own.read(&piece[start..]) == Read::Partial;
        if is_partial && self.is_place(piece, start) { piece.len() - start } else { 0 }
    }

    /// Whether an address at `start` is a link, by what stands before it.
    fn is_place(&self, piece: &[u8], start: usize) -> bool {
        if start >= BEHIND {
            return self.text.is_place(&piece[start - BEHIND..start]);
        }
        let before = self.behind.len().min(BEHIND - start);
        let before = &self.behind[self.behind.len() - before..];
        self.text.is_place(&[before, &piece[..start]].concat())
    }

    fn remember(&mut self, passed: &[u8]) {
        let passed = &passed[passed.len().saturating_sub(BEHIND)..];
        let kept = self.behind.len().min(BEHIND - passed.len());
        self.behind.drain(..self.behind.len() - kept);
        self.behind.extend_from_slice(passed);
    }
}

impl Base {
    fn put(&self, links: &[Link], text: &[u8]) -> Vec<u8> {
        let longer: usize =
            links.iter().map(|link| self.escaped.len().saturating_sub(link.address.len())).sum();
        let mut out = Vec::with_capacity(text.len() + longer);
        let mut done = 0;
        for Link { address, has_escaped_slashes } in links {
            out.extend_from_slice(&text[done..address.start]);
            let base = if *has_escaped_slashes { &self.escaped } else { &self.plain };
            out.extend_from_slice(base.as_bytes());
            done = address.end;
        }
        out.extend_from_slice(&text[done..]);
        out
    }
}

/// Whether it can stand in JSON and XML as it is.
fn is_address(base: &str) -> bool {
    let is_meant = |byte: u8| byte.is_ascii_alphanumeric() || b":/[]%-._~".contains(&byte);
    !base.is_empty() && base.bytes().all(is_meant)
}
