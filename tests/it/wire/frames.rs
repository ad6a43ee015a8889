//! HTTP/2 by hand: frames as an attacker would write them, and just enough reading to know what came of it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the gateway may take to react to anything here.
const PATIENCE: Duration = Duration::from_secs(5);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Names and values of a header block, in order.
pub(super) type Fields<'a> = Vec<(&'a str, &'a str)>;

/// A connection that speaks HTTP/2 with prior knowledge.
pub(super) struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was answered with this status.
    Answered(u16),
    /// It was reset with this error code.
    Reset(u32),
    /// The connection was ended with this error code.
    GoneAway(u32),
    /// The connection ended without a word.
    Closed,
}

impl Outcome {
    /// Whether the request was refused in one of the ways that HTTP/2 has.
    pub(super) fn is_refusal(&self) -> bool {
        !matches!(self, Self::Answered(status) if !matches!(status, 400..=499 | 501))
    }
}

impl Wire {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::with_settings(address, &[]).await
    }

    /// Connects with settings of our own: pairs of identifier and value.
    pub(super) async fn with_settings(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Self { stream, received: Vec::new() };
        let pairs = settings.iter().flat_map(|(id, value)| {
            [id.to_be_bytes().as_slice(), value.to_be_bytes().as_slice()].concat()
        });
        let payload: Vec<u8> = pairs.collect();
        wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        wire.frame(SETTINGS, 0, 0, &payload).await;
        wire
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        // The other side may have ended the connection already, which reading will tell.
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await;
    }

    pub(super) async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, stream, payload)).await;
    }

    /// A request with these fields, and perhaps a body to follow.
    pub(super) async fn head(&mut self, stream: u32, fields: &Fields<'_>, is_all: bool) {
        let flags = END_HEADERS | if is_all { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, stream, &block(fields)).await;
    }

    pub(super) async fn data(&mut self, stream: u32, data: &[u8], is_last: bool) {
        self.frame(DATA, u8::from(is_last), stream, data).await;
    }

    /// Fields behind the body.
    pub(super) async fn trailers(&mut self, stream: u32, fields: &Fields<'_>) {
        self.head(stream, fields, true).await;
    }

    /// What becomes of a stream: its first answer, or its end.
    pub(super) async fn outcome(&mut self, stream: u32) -> Outcome {
        let reading = async {
            loop {
                let Some((kind, flags, id, payload)) = self.next().await else {
                    return Outcome::Closed;
                };
                let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
                match kind {
                    HEADERS if id == stream => return Outcome::Answered(status(&payload)),
                    RST_STREAM if id == stream => return Outcome::Reset(code(0)),
                    GOAWAY if code(4) != 0 => return Outcome::GoneAway(code(4)),
                    SETTINGS if flags == 0 => self.frame(SETTINGS, 1, 0, &[]).await,
                    _ => {}
                }
            }
        };
        let outcome = timeout(PATIENCE, reading).await;
        outcome.unwrap_or_else(|_| panic!("nothing became of stream {stream} in {PATIENCE:?}"))
    }

    /// The next frame: kind, flags, stream and payload. `None` at the end of the connection.
    async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        while self.received.len() < 9 || self.received.len() < 9 + self.length() {
            let mut more = [0; 16 * 1024];
            match self.stream.read(&mut more).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.received.extend_from_slice(&more[..read]),
            }
        }
        let length = self.length();
        let frame: Vec<u8> = self.received.drain(..9 + length).collect();
        let stream = u32::from_be_bytes(frame[5..9].try_into().unwrap()) & 0x7fff_ffff;
        Some((frame[3], frame[4], stream, frame[9..].to_vec()))
    }

    fn length(&self) -> usize {
        let [a, b, c] = [self.received[0], self.received[1], self.received[2]];
        u32::from_be_bytes([0, a, b, c]) as usize
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header block of literals: nothing indexed, nothing compressed, so that any byte can be in it.
pub(super) fn block(fields: &Fields<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A length of a string that is not compressed: an integer with a prefix of seven bits (RFC 7541 5.1).
fn integer(block: &mut Vec<u8>, value: usize) {
    if value < 127 {
        block.push(u8::try_from(value).unwrap());
        return;
    }
    block.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The status of an answer: the first field of its block, indexed or a literal of three digits.
fn status(block: &[u8]) -> u16 {
    // Before it may stand a new size of the table.
    let block = &block[block.iter().position(|byte| byte & 0xe0 != 0x20).unwrap()..];
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        _ if block[1] & 0x80 == 0 => String::from_utf8_lossy(&block[2..5]).parse().unwrap(),
        _ => digits(&block[2..2 + usize::from(block[1] & 0x7f)]),
    }
}

/// Three digits in Huffman's code: 0, 1 and 2 are 00000, 00001 and 00010; 3 to 9 are 011001 to 011111 (RFC 7541 B).
fn digits(coded: &[u8]) -> u16 {
    let bit = |at: usize| u16::from(coded[at / 8] >> (7 - at % 8) & 1);
    let take = |at: usize, bits: usize| (at..at + bits).fold(0, |sum, at| sum * 2 + bit(at));
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let short = take(at, 5);
        let digit = if short < 3 { short } else { take(at, 6) - 0b01_0110 };
        at += if short < 3 { 5 } else { 6 };
        number = number * 10 + digit;
    }
    number
}
