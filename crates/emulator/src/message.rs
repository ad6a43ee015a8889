//! Where an HTTP/1.1 message ends: followed byte by byte, without changing any.

/// A longer head is none that could be followed.
const LONGEST_HEAD: usize = 256 * 1024;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Answer,
}

/// One message as far as it has passed.
#[derive(Debug)]
pub(crate) struct Message {
    direction: Direction,
    /// Whether it answers a `HEAD`, so that nothing follows its head.
    pub(crate) to_head: bool,
    head: Vec<u8>,
    part: Part,
    passed: u64,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head,
    Bytes(u64),
    Chunks(Chunks),
    /// Until the connection ends.
    Endless,
    Whole,
    /// It cannot be followed.
    Lost,
}

/// The place in a body that comes in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunks {
    Size {
        value: u64,
        ended: bool,
    },
    Data(u64),
    /// The line end behind the data of a chunk.
    Behind,
    /// The lines behind the last chunk; how long the present one is so far.
    Trailer(u64),
}

impl Message {
    pub(crate) fn new(direction: Direction) -> Self {
        let part = Part::Head;
        Self { direction, to_head: false, head: Vec::new(), part, passed: 0 }
    }

    /// Takes note of `bytes` that follow; how many of them belong to it. After
    /// an interim answer (`100 Continue`) it begins anew.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let taken = match self.part {
                Part::Head => self.follow_head(rest),
                Part::Bytes(left) => {
                    let taken = upto(left, rest.len());
                    let left = left - taken as u64;
                    self.part = if left == 0 { Part::Whole } else { Part::Bytes(left) };
                    taken
                }
                Part::Chunks(place) => self.follow_chunks(place, rest),
                Part::Endless | Part::Lost => rest.len(),
                Part::Whole => break,
            };
            at += taken;
            if self.is_interim() {
                *self = Self { to_head: self.to_head, ..Self::new(self.direction) };
            } else {
                self.passed += taken as u64;
            }
        }
        at
    }

    /// How many of its bytes have passed.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.part == Part::Whole
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.part == Part::Lost
    }

    /// Whether nothing of it has passed.
    pub(crate) fn is_new(&self) -> bool {
        self.passed == 0
    }

    /// Whether its head begins with this.
    pub(crate) fn begins_with(&self, text: &[u8]) -> bool {
        self.head.starts_with(text)
    }

    fn is_interim(&self) -> bool {
        self.direction == Direction::Answer && self.part == Part::Whole && is_interim(&self.head)
    }

    fn follow_head(&mut self, bytes: &[u8]) -> usize {
        // The end may lie across what was there before.
        let before = self.head.len();
        let from = before.saturating_sub(3);
        self.head.extend_from_slice(bytes);
        let end = self.head[from..].windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end.map(|at| from + at + 4) else {
            if self.head.len() > LONGEST_HEAD {
                self.part = Part::Lost;
            }
            return bytes.len();
        };
        self.head.truncate(end);
        self.part = self.body();
        end - before
    }

    /// What follows the head.
    fn body(&self) -> Part {
        let none = self.direction == Direction::Answer
            && (self.to_head
                || is_interim(&self.head)
                || matches!(status(&self.head), Some(204 | 304)));
        if none {
            return Part::Whole;
        }
        let mut part = match self.direction {
            Direction::Request => Part::Whole,
            Direction::Answer => Part::Endless,
        };
        for line in self.head.split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                return if value.to_ascii_lowercase().ends_with(b"chunked") {
                    Part::Chunks(Chunks::Size { value: 0, ended: false })
                } else {
                    Part::Lost
                };
            }
            if name.eq_ignore_ascii_case(b"content-length") {
                part = match std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) {
                    Some(0) => Part::Whole,
                    Some(length) => Part::Bytes(length),
                    None => Part::Lost,
                };
            }
        }
        part
    }

    fn follow_chunks(&mut self, place: Chunks, bytes: &[u8]) -> usize {
        let first = bytes[0];
        let (next, taken) = match (place, first) {
            (Chunks::Data(left), _) => {
                let taken = upto(left, bytes.len());
                let left = left - taken as u64;
                (if left == 0 { Chunks::Behind } else { Chunks::Data(left) }, taken)
            }
            (Chunks::Size { value: 0, .. }, b'\n') => (Chunks::Trailer(0), 1),
            (Chunks::Size { value, .. }, b'\n') => (Chunks::Data(value), 1),
            (Chunks::Size { value, ended }, _) => {
                let digit = char::from(first).to_digit(16).filter(|_| !ended);
                let value = digit.map_or(value, |digit| (value << 4) | u64::from(digit));
                (Chunks::Size { value, ended: digit.is_none() }, 1)
            }
            (Chunks::Behind, b'\n') => (Chunks::Size { value: 0, ended: false }, 1),
            (Chunks::Behind, _) => (Chunks::Behind, 1),
            (Chunks::Trailer(0), b'\n') => {
                self.part = Part::Whole;
                return 1;
            }
            (Chunks::Trailer(_), b'\n') => (Chunks::Trailer(0), 1),
            (Chunks::Trailer(length), b'\r') => (Chunks::Trailer(length), 1),
            (Chunks::Trailer(length), _) => (Chunks::Trailer(length + 1), 1),
        };
        self.part = Part::Chunks(next);
        taken
    }
}

/// The length of the interim answer that `bytes` begin with; 0: they do not.
pub(crate) fn interim_length(bytes: &[u8]) -> usize {
    if !is_interim(bytes) {
        return 0;
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    end.map_or(bytes.len(), |at| at + 4)
}

fn is_interim(head: &[u8]) -> bool {
    head.starts_with(b"HTTP/1.1 1")
}

fn status(head: &[u8]) -> Option<u16> {
    std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}

fn upto(left: u64, there: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole after exactly `length` bytes, however they come in pieces.
    #[track_caller]
    fn check(direction: Direction, to_head: bool, bytes: &str, length: usize) {
        for size in [1, 2, 3, 7, bytes.len()] {
            let mut message = Message { to_head, ..Message::new(direction) };
            let mut taken = 0;
            for piece in bytes.as_bytes().chunks(size) {
                assert!(taken < length || message.is_whole(), "{bytes:?} in pieces of {size}");
                taken += message.follow(piece);
            }
            assert_eq!((taken, message.is_whole()), (length, true), "{bytes:?} by {size}");
        }
    }

    #[test]
    fn a_message_ends_where_its_head_says() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        check(Direction::Request, false, &format!("{get}GET"), get.len());
        let post = "POST / HTTP/1.1\r\ncontent-LENGTH:  3 \r\n\r\nabc";
        check(Direction::Request, false, &format!("{post}x"), post.len());
        let chunked = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3;x=4\r\nabc\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\n\r\n";
        check(Direction::Request, false, &format!("{chunked}x"), chunked.len());
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        check(Direction::Answer, false, ok, ok.len());
        let empty = "HTTP/1.1 204 No Content\r\n\r\n";
        check(Direction::Answer, false, empty, empty.len());
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        check(Direction::Answer, true, head, head.len());
    }

    #[test]
    fn an_interim_answer_is_no_answer() {
        let (interim, ok) = ("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
        let mut message = Message::new(Direction::Answer);

        message.follow(interim.as_bytes());
        assert!(message.is_new() && !message.is_whole());
        message.follow(format!("{interim}{ok}").as_bytes());

        assert_eq!(message.passed(), ok.len() as u64);
        assert!(!message.is_whole(), "without a length it ends with the connection");
        assert_eq!(interim_length(format!("{interim}{ok}").as_bytes()), interim.len());
        assert_eq!(interim_length(ok.as_bytes()), 0);
    }
}
