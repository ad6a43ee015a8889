//! Rewriting a text that is packed with gzip.

use std::fmt;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};

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
        match has_links(self.clone(), packed, at_once) {
            Ok(Some(true)) => self.repacked(packed).map_or(Whole::AsItCame, Whole::Rewritten),
            Ok(Some(false)) | Err(_) => Whole::AsItCame,
            Ok(None) => Whole::Long,
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

/// `None` if it unpacks to more than `at_once` bytes.
fn has_links(mut rewriter: Rewriter, packed: &[u8], at_once: usize) -> io::Result<Option<bool>> {
    let mut unpacking = MultiGzDecoder::new(Vec::new());
    let mut rest = packed;
    let mut unpacked = 0;
    while !rest.is_empty() {
        rest = &rest[unpacking.write(rest)?..];
        if rest.is_empty() {
            unpacking.flush()?;
        }
        rewriter.push(unpacking.get_ref());
        unpacked += unpacking.get_ref().len();
        if unpacked > at_once {
            return Ok(None);
        }
        unpacking.get_mut().clear();
    }
    Ok(Some(rewriter.rewritten() > 0))
}
