//! A client that writes exactly the bytes it is given, as an attacker would.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long a test waits for bytes before it concludes that none will come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer as it came off the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code; 0 if the connection ended without an answer.
    pub status: u16,
    /// Names in lower case and values, in order, doubled ones apart.
    pub fields: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Raw {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        Self { stream, received: Vec::new() }
    }

    /// Connects from an address of the loopback that nobody else here calls from: what one caller does is not held
    /// against the next.
    pub async fn connect_as_stranger(address: SocketAddr) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let [_, high, middle, low] = LAST.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let socket = TcpSocket::new_v4().expect("a socket");
        let own = SocketAddr::from(([127, high + 1, middle, low], 0));
        socket.bind(own).expect("an address of the loopback");
        let stream = socket.connect(address).await.expect("somebody listens");
        Self { stream, received: Vec::new() }
    }

    /// Connects, writes `bytes`, and reads one answer.
    pub async fn ask(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
        let mut raw = Self::connect(address).await;
        raw.write(bytes).await;
        raw.answer().await
    }

    /// Writes. A connection that the other side has closed takes no more, which the next read will tell.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Says that no more bytes will come.
    pub async fn end(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads one final answer; 1xx ones before it are passed over. Status 0 if the connection ends first.
    pub async fn answer(&mut self) -> Answer {
        loop {
            let answer = self.next().await;
            if !(100..200).contains(&answer.status) {
                return answer;
            }
        }
    }

    /// Reads one answer, be it an interim one.
    pub async fn next(&mut self) -> Answer {
        let none = Answer { status: 0, fields: Vec::new(), body: Vec::new() };
        let end = loop {
            match find(&self.received, b"\r\n\r\n") {
                Some(end) => break end,
                None if self.more().await => {}
                None => return none,
            }
        };
        let head = String::from_utf8_lossy(&self.received[..end]).into_owned();
        self.received.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields =
            fields.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        let mut answer = Answer { status: status.unwrap_or(0), fields, body: Vec::new() };
        if answer.status >= 200 {
            answer.body = self.body(&answer).await;
        }
        answer
    }

    async fn body(&mut self, answer: &Answer) -> Vec<u8> {
        if answer.field("transfer-encoding").is_some_and(|value| value == "chunked") {
            return self.chunks().await;
        }
        match answer.field("content-length").and_then(|length| length.parse().ok()) {
            Some(length) => self.exactly(length).await,
            None if matches!(answer.status, 204 | 304) => Vec::new(),
            None => {
                while self.more().await {}
                std::mem::take(&mut self.received)
            }
        }
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            while find(&self.received, b"\r\n").is_none() {
                if !self.more().await {
                    return body;
                }
            }
            let end = find(&self.received, b"\r\n").unwrap_or(0);
            let size = String::from_utf8_lossy(&self.received[..end]).into_owned();
            self.received.drain(..end + 2);
            let size = usize::from_str_radix(size.split(';').next().unwrap_or("0").trim(), 16)
                .unwrap_or(0);
            let chunk = self.exactly(size + 2).await;
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size.min(chunk.len())]);
        }
    }

    /// `length` bytes, or fewer if the connection ends.
    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length && self.more().await {}
        let length = length.min(self.received.len());
        self.received.drain(..length).collect()
    }

    /// Whether the other side ends the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        self.received.is_empty() && !self.more().await
    }

    /// Waits until something has come.
    pub async fn some(&mut self) {
        assert!(self.more().await, "the connection ended before a byte");
    }

    /// Everything until the connection ends.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.received)
    }

    async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match timeout(PATIENCE, self.stream.read(&mut buffer)).await {
            Ok(Ok(read)) => {
                self.received.extend_from_slice(&buffer[..read]);
                read > 0
            }
            Ok(Err(_)) => false,
            Err(_) => panic!("nothing came in {PATIENCE:?}, and the connection stayed open"),
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
