//! A record as bytes that tell by themselves whether they are whole: it can be found again in a file whose structure is
//! lost.

use crate::record::Record;

/// What a frame begins with; the last byte is the version of what follows. No text in a record can look like it: 0xFF is
/// no byte of UTF-8.
pub(super) const MAGIC: [u8; 4] = [0xFF, b'A', b'R', 1];
/// Magic, length of the text, number, revision, checksum.
pub(super) const HEADER_BYTES: usize = 4 + 4 + 8 + 4 + 8;
/// Longer texts are not ours: a callout brings 256 KiB at most, a job's answer 8 MiB.
const MOST_BYTES: u32 = 16 * 1024 * 1024;

/// A record with its number, and how often it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Framed {
    pub(super) number: u64,
    pub(super) revision: u32,
    pub(super) record: Record,
}

/// Why a record is not written down.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// It cannot be written, or not be read again.
    #[error("it could not be read again: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It is longer than anything that is read.
    #[error("it has {0} bytes, and may have {MOST_BYTES}")]
    Long(usize),
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    length: u32,
    pub(super) number: u64,
    pub(super) revision: u32,
    checksum: u64,
}

impl Framed {
    /// # Errors
    /// Why what was written would not be read again.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Unfit> {
        let mut bytes = vec![0; HEADER_BYTES];
        serde_json::to_writer(&mut bytes, &self.record)?;
        let (header, text) = bytes.split_at_mut(HEADER_BYTES);
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        if length > MOST_BYTES {
            return Err(Unfit::Long(text.len()));
        }
        if self.record.outcome.is_some() {
            // The only part that somebody else made: it may be nested as deep as can just be read by itself.
            serde_json::from_slice::<Record>(text)?;
        }
        let (number, revision) = (self.number, self.revision);
        let checksum = checksum(number, revision, text);
        header.copy_from_slice(&Header { length, number, revision, checksum }.to_bytes());
        Ok(bytes)
    }

    /// Returns `None` unless this is a whole frame and nothing else.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (header, text) = bytes.split_first_chunk()?;
        let header = Header::from_bytes(header)?;
        header.is_of(text).then_some(())?;
        let record = serde_json::from_slice(text).ok()?;
        Some(Self { number: header.number, revision: header.revision, record })
    }
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.revision.to_le_bytes());
        bytes[20..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (revision, rest) = rest.split_first_chunk()?;
        let header = Self {
            length: u32::from_le_bytes(*length),
            number: u64::from_le_bytes(*number),
            revision: u32::from_le_bytes(*revision),
            checksum: u64::from_le_bytes(rest.try_into().ok()?),
        };
        (*magic == MAGIC && header.length <= MOST_BYTES).then_some(header)
    }

    /// How long the text after it is.
    pub(super) fn text_bytes(self) -> usize {
        self.length as usize
    }

    /// Whether `text` is what this was written for.
    fn is_of(self, text: &[u8]) -> bool {
        text.len() == self.text_bytes()
            && self.checksum == checksum(self.number, self.revision, text)
    }
}

/// FNV-1a, of 64 bits: what tears or rots is noticed, and nobody forges a file of ours to fool us.
fn checksum(number: u64, revision: u32, text: &[u8]) -> u64 {
    let head = number.to_le_bytes().into_iter().chain(revision.to_le_bytes());
    head.chain(text.iter().copied()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
