//! Where an HTTP/1.1 message ends: just enough of RFC 9112 to count its bytes.

/// The longest head that anybody here sends.
const LONGEST_HEAD: usize = 256 * 1024;

/// A message on its way, of which bytes pass in pieces of any size.
#[derive(Debug)]
pub(super) struct Message {
    is_answer: bool,
    /// It answers HEAD: what it says about its body is about another.
    ends_with_head: bool,
    head: Vec<u8>,
    awaits: Awaits,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Awaits {
    Head,
    /// So many bytes of body.
    Bytes(u64),
    /// The line that tells the length of the next chunk, as far as it has come.
    ChunkLine(Vec<u8>),
    /// So many bytes of a chunk and its line break.
    Chunk(u64),
    /// The rest of the trailers: the line that is coming.
    Trailers(Vec<u8>),
    /// Whatever comes until the connection ends.
    Everything,
    Nothing,
}

impl Message {
    pub(super) fn request() -> Self {
        let (is_answer, ends_with_head) = (false, false);
        Self { is_answer, ends_with_head, head: Vec::new(), awaits: Awaits::Head }
    }

    pub(super) fn answer() -> Self {
        Self { is_answer: true, ..Self::request() }
    }

    pub(super) fn answer_to_head() -> Self {
        Self { ends_with_head: true, ..Self::answer() }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.awaits == Awaits::Nothing
    }

    /// Lets `bytes` pass, and returns how many of them still belong to the message.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && !self.is_whole() {
            match &mut self.awaits {
                Awaits::Everything => at = bytes.len(),
                Awaits::Bytes(left) | Awaits::Chunk(left) => {
                    let some = (*left).min((bytes.len() - at) as u64);
                    *left -= some;
                    at += usize::try_from(some).expect("no more than there are");
                    self.after_counted();
                }
                _ => {
                    self.byte(bytes[at]);
                    at += 1;
                }
            }
        }
        at
    }

    fn after_counted(&mut self) {
        match self.awaits {
            Awaits::Bytes(0) => self.awaits = Awaits::Nothing,
            Awaits::Chunk(0) => self.awaits = Awaits::ChunkLine(Vec::new()),
            _ => {}
        }
    }

    fn byte(&mut self, byte: u8) {
        match &mut self.awaits {
            Awaits::Head => {
                self.head.push(byte);
                assert!(self.head.len() <= LONGEST_HEAD, "this is no HTTP/1.1 message");
                if self.head.ends_with(b"\r\n\r\n") {
                    self.awaits = self.body();
                }
            }
            Awaits::ChunkLine(line) => {
                line.push(byte);
                if line.ends_with(b"\r\n") {
                    let text = String::from_utf8_lossy(line);
                    let size = text.split(';').next().unwrap_or_default().trim();
                    let size = u64::from_str_radix(size, 16).expect("the length of a chunk");
                    self.awaits = match size {
                        0 => Awaits::Trailers(Vec::new()),
                        size => Awaits::Chunk(size + 2),
                    };
                }
            }
            Awaits::Trailers(line) => {
                line.push(byte);
                if line.ends_with(b"\r\n") {
                    let is_last = line.len() == 2;
                    line.clear();
                    if is_last {
                        self.awaits = Awaits::Nothing;
                    }
                }
            }
            Awaits::Bytes(_) | Awaits::Chunk(_) | Awaits::Everything | Awaits::Nothing => {}
        }
    }

    /// What follows the head. An interim answer is followed by another.
    fn body(&mut self) -> Awaits {
        let head = String::from_utf8_lossy(&self.head).to_lowercase();
        let field = |name: &str| {
            head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        let status: Option<u16> = match self.is_answer {
            true => head.split(' ').nth(1).and_then(|code| code.parse().ok()),
            false => None,
        };
        match status {
            Some(100..=199) => {
                self.head.clear();
                return Awaits::Head;
            }
            Some(204 | 304) => return Awaits::Nothing,
            _ if self.ends_with_head => return Awaits::Nothing,
            _ => {}
        }
        if field("transfer-encoding").is_some_and(|coding| coding.trim() == "chunked") {
            return Awaits::ChunkLine(Vec::new());
        }
        match field("content-length").map(|length| length.trim().parse().expect("a length")) {
            Some(0) => Awaits::Nothing,
            Some(length) => Awaits::Bytes(length),
            None if self.is_answer => Awaits::Everything,
            None => Awaits::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the message ends, whatever the pieces in which it comes.
    #[track_caller]
    fn check(new: fn() -> Message, text: &str, ends: usize) {
        for piece in [1, 2, 3, 7, 1000] {
            let mut message = new();
            let mut passed = 0;
            for piece in text.as_bytes().chunks(piece) {
                let some = message.pass(piece);
                passed += some;
                if some < piece.len() {
                    break;
                }
            }
            assert_eq!((message.is_whole(), passed), (true, ends), "{text:?} in {piece}s");
        }
    }

    #[test]
    fn a_message_ends_where_its_framing_says() {
        let get = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
        check(Message::request, &format!("{get}GET"), get.len());
        let post = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        check(Message::request, &format!("{post}d"), post.len());
        let chunked =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na;x\r\n0123456789\r\n0\r\n\r\n";
        check(Message::answer, &format!("{chunked}H"), chunked.len());
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n!";
        check(Message::answer, interim, interim.len());
        check(Message::answer, "HTTP/1.1 204 No Content\r\n\r\n", 27);
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
        check(Message::answer_to_head, head, head.len());
    }

    #[test]
    fn an_answer_without_framing_lasts_as_long_as_its_connection() {
        let mut answer = Message::answer();

        answer.pass(b"HTTP/1.1 200 OK\r\n\r\nabc");

        assert!(!answer.is_whole());
    }
}
