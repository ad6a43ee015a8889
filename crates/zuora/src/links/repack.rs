//! Rewriting a text that is packed with gzip.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};

use flate2::write::{GzEncoder, MultiGzDecoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};

use super::Rewriter;

/// Less than this is not worth passing on alone, as long as there is more to come at once.
const LITTLE: usize = 8 * 1024;

/// Unpacks, rewrites and packs again, a bounded step at a time: what a few bytes unpack to may be a thousand times as
/// long.
pub struct Repacker {
    unpacking: MultiGzDecoder<Vec<u8>>,
    rewriter: Rewriter,
    packing: GzEncoder<Vec<u8>>,
    /// Whether something was put in that has not come out.
    holds: bool,
}

/// It is not gzip, or not whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not packed as it says")]
pub struct BadGzip(#[from] io::Error);

impl fmt::Debug for Repacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repacker").field("rewriter", &self.rewriter).finish_non_exhaustive()
    }
}

impl Repacker {
    /// Unpacks for `rewriter`.
    #[must_use]
    pub fn new(rewriter: Rewriter) -> Self {
        Self {
            unpacking: MultiGzDecoder::new(Vec::new()),
            rewriter,
            packing: GzEncoder::new(Vec::new(), Compression::fast()),
            holds: false,
        }
    }

    /// Takes in the beginning of `packed`, and returns how much of it: as much as unpacks to a few tens of kilobytes, and
    /// something of it.
    ///
    /// # Errors
    /// If it cannot be unpacked. What came out before is what it began with.
    pub fn push(&mut self, packed: &[u8]) -> Result<usize, BadGzip> {
        let taken = self.unpacking.write(packed)?;
        if taken == packed.len() {
            self.unpacking.flush()?;
        }
        self.rewrite()?;
        Ok(taken)
    }

    fn rewrite(&mut self) -> Result<(), BadGzip> {
        let text = self.unpacking.get_mut();
        if !text.is_empty() {
            self.packing.write_all(&self.rewriter.push(text))?;
            text.clear();
            self.holds = true;
        }
        Ok(())
    }

    /// What has come out, packed; nothing as long as that is little.
    pub fn take(&mut self) -> Vec<u8> {
        let out = self.packing.get_mut();
        if out.len() < LITTLE { Vec::new() } else { std::mem::take(out) }
    }

    /// All that can be said of the text now, for a reader who would have to wait for more.
    ///
    /// # Errors
    /// None, as memory takes everything.
    pub fn flush(&mut self) -> Result<Vec<u8>, BadGzip> {
        if std::mem::take(&mut self.holds) {
            self.packing.flush()?;
        }
        Ok(std::mem::take(self.packing.get_mut()))
    }

    /// The rest.
    ///
    /// # Errors
    /// If the gzip is not whole: then this is not the end of the text either, and must not look like it.
    pub fn finish(mut self) -> Result<Vec<u8>, BadGzip> {
        self.unpacking.try_finish()?;
        self.rewrite()?;
        self.packing.write_all(&self.rewriter.finish())?;
        Ok(self.packing.finish()?)
    }
}

/// What becomes of a packed text that is there as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    /// It has no link of ours, or cannot be unpacked.
    AsItCame,
    /// With its links rewritten, and packed again.
    Rewritten(Vec<u8>),
    /// It unpacks to so much that it is better rewritten a step at a time.
    Long,
}

impl Rewriter {
    /// Rewrites all of a text that is packed with gzip, unless it unpacks to more than `at_once` bytes.
    #[must_use]
    pub fn whole_packed(self, packed: &[u8], at_once: usize) -> Whole {
        // Few answers have links, and packing costs more than all else.
        match LOOKING.with_borrow_mut(|unpacker| unpacker.look(&mut self.clone(), packed, at_once))
        {
            Some(Look::Links) => self.repacked(packed).map_or(Whole::AsItCame, Whole::Rewritten),
            Some(Look::NoLinks) | None => Whole::AsItCame,
            Some(Look::Long) => Whole::Long,
        }
    }

    fn repacked(self, packed: &[u8]) -> Result<Vec<u8>, BadGzip> {
        let mut repacker = Repacker::new(self);
        let mut rest = packed;
        while !rest.is_empty() {
            rest = &rest[repacker.push(rest)?..];
        }
        repacker.finish()
    }
}

thread_local! {
    /// Kept, as making one costs more than unpacking a short answer.
    static LOOKING: RefCell<Unpacker> = RefCell::new(Unpacker::new());
}

/// How much is unpacked in a step of looking.
const STEP: usize = 32 * 1024;

/// Unpacks to look, and no more. Whether checksums are right shows when it is packed again.
struct Unpacker {
    inflate: Decompress,
    text: Vec<u8>,
}

/// What a look at a packed text shows.
enum Look {
    Links,
    NoLinks,
    /// It unpacks to more than is looked at.
    Long,
}

impl Unpacker {
    fn new() -> Self {
        Self { inflate: Decompress::new(false), text: vec![0; STEP] }
    }

    /// `None` if it is not gzip, or not whole.
    fn look(&mut self, rewriter: &mut Rewriter, packed: &[u8], at_once: usize) -> Option<Look> {
        let mut rest = packed;
        let mut unpacked = 0;
        while !rest.is_empty() {
            rest = after_head(rest)?;
            self.inflate.reset(false);
            loop {
                let (taken, made) = (self.inflate.total_in(), self.inflate.total_out());
                let step = self.inflate.decompress(rest, &mut self.text, FlushDecompress::None);
                let status = step.ok()?;
                let taken = usize::try_from(self.inflate.total_in() - taken).ok()?;
                let made = usize::try_from(self.inflate.total_out() - made).ok()?;
                rest = &rest[taken..];
                rewriter.push(&self.text[..made]);
                unpacked += made;
                if unpacked > at_once {
                    return Some(Look::Long);
                }
                match status {
                    Status::StreamEnd => break,
                    Status::Ok | Status::BufError if taken + made > 0 => {}
                    Status::Ok | Status::BufError => return None,
                }
            }
            // Checksum and length (RFC 1952 2.3.1).
            rest = rest.get(8..)?;
        }
        Some(if rewriter.rewritten() > 0 { Look::Links } else { Look::NoLinks })
    }
}

/// What follows the head of a member of gzip (RFC 1952 2.3).
fn after_head(packed: &[u8]) -> Option<&[u8]> {
    const CHECKSUM: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let (head, mut rest) = packed.split_at_checked(10)?;
    let flags = head[3];
    if !head.starts_with(&[0x1f, 0x8b, 8]) {
        return None;
    }
    if flags & EXTRA > 0 {
        let (length, after) = rest.split_at_checked(2)?;
        rest = after.get(usize::from(u16::from_le_bytes([length[0], length[1]]))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text > 0 {
            rest = &rest[memchr::memchr(0, rest)? + 1..];
        }
    }
    if flags & CHECKSUM > 0 { rest.get(2..) } else { Some(rest) }
}
