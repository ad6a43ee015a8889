//! Finds records in a file that is no store any more.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memchr::memmem;

use super::frame::{Framed, HEADER_BYTES, Header, MAGIC};
use crate::record::Key;

/// How much is read at a time.
const PIECE: usize = 1024 * 1024;

/// The whole records in a file, wherever they are: of each the one that was written last.
///
/// What had been forgotten before may be among them: nothing tells a record that was removed from one that was lost.
#[derive(Debug)]
pub(super) struct Salvage {
    file: File,
    /// By number: where the latest revision is.
    found: BTreeMap<u64, Place>,
    /// The number of the last request of each key: those before it were withdrawn, or it could not have begun.
    last: HashMap<Key, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    revision: u32,
    offset: u64,
}

impl Salvage {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut salvage =
            Self { file: File::open(path)?, found: BTreeMap::new(), last: HashMap::new() };
        salvage.look()?;
        Ok(salvage)
    }

    /// Those found, in the order of their numbers.
    pub(super) fn records(&self) -> impl Iterator<Item = Framed> {
        self.found.values().filter_map(|place| self.framed_at(place.offset))
    }

    fn look(&mut self) -> io::Result<()> {
        let magic = memmem::Finder::new(&MAGIC);
        let mut piece = vec![0; PIECE];
        let mut from = 0;
        loop {
            let read = self.file.read_at(&mut piece, from)?;
            for at in magic.find_iter(&piece[..read]) {
                self.note(from + at as u64);
            }
            if read < MAGIC.len() {
                return Ok(());
            }
            // What straddles two pieces is seen in the second.
            from += (read - (MAGIC.len() - 1)) as u64;
        }
    }

    fn note(&mut self, offset: u64) {
        let Some(Framed { number, revision, record }) = self.framed_at(offset) else { return };
        let last = self.last.entry(record.key).or_insert(number);
        if *last > number {
            return;
        }
        let before = std::mem::replace(last, number);
        if before < number {
            self.found.remove(&before);
        }
        let known = self.found.get(&number).map(|place| place.revision);
        if known.is_none_or(|known| known <= revision) {
            self.found.insert(number, Place { revision, offset });
        }
    }

    fn framed_at(&self, offset: u64) -> Option<Framed> {
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut header, offset).ok()?;
        let mut bytes = header.to_vec();
        bytes.resize(HEADER_BYTES + Header::from_bytes(&header)?.text_bytes(), 0);
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Framed::from_bytes(&bytes)
    }
}
