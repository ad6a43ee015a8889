//! A tenant that keeps the request line of everything that reaches it, and a caller that writes one exactly.

use std::mem::take;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

const GRANT: &str =
    r#"{"access_token":"t","token_type":"bearer","expires_in":3598,"scope":"","jti":"1"}"#;

/// The tenant. It ends when it is dropped.
pub(super) struct Recorder {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    accepting: AbortHandle,
}

impl Recorder {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&lines);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(record(Bytes::new(stream), Arc::clone(&noted)));
            }
        });
        Self { address, lines, accepting: accepting.abort_handle() }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The request lines since the last time, token requests aside.
    pub(super) fn take(&self) -> Vec<String> {
        take(&mut *self.lines.lock().unwrap())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn record(mut connection: Bytes, lines: Arc<Mutex<Vec<String>>>) {
    while let Some(head) = connection.message(true).await {
        let line = head.split("\r\n").next().unwrap_or_default().to_owned();
        let is_token = line.starts_with("POST /oauth/token ");
        let body = if is_token { GRANT } else { "" };
        if !is_token {
            lines.lock().unwrap().push(line);
        }
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        if connection.stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// An app on one connection, or on the next one if the gateway has ended it.
pub(super) struct Caller {
    address: SocketAddr,
    secret: String,
    connection: Bytes,
}

impl Caller {
    pub(super) async fn connect(address: SocketAddr, secret: &str) -> Self {
        let connection = Bytes::new(TcpStream::connect(address).await.unwrap());
        Self { address, secret: secret.to_owned(), connection }
    }

    /// The status of the answer to `method target`.
    pub(super) async fn ask(&mut self, method: &str, target: &str) -> u16 {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\r\n",
            self.secret
        );
        self.connection.stream.write_all(request.as_bytes()).await.unwrap();
        let head = self.connection.message(method != "HEAD").await;
        let head = head.unwrap_or_else(|| panic!("{method} {target}: no answer"));
        if head.to_lowercase().contains("\r\nconnection: close") {
            self.connection = Bytes::new(TcpStream::connect(self.address).await.unwrap());
        }
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// One end of a connection, with what was read ahead.
struct Bytes {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Bytes {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, ahead: Vec::new() }
    }

    /// The head of the next message, once its body has come, too; `None` if the connection ends.
    async fn message(&mut self, has_body: bool) -> Option<String> {
        let end = loop {
            match self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.more().await?,
            }
        };
        let head = String::from_utf8_lossy(&self.ahead[..end]).into_owned();
        self.ahead.drain(..end);
        let fields = head.to_lowercase();
        let length = fields.split("\r\ncontent-length:").nth(1).filter(|_| has_body);
        let length = length.and_then(|rest| rest.split("\r\n").next()?.trim().parse().ok());
        let length: usize = length.unwrap_or(0);
        while self.ahead.len() < length {
            self.more().await?;
        }
        self.ahead.drain(..length);
        Some(head)
    }

    async fn more(&mut self) -> Option<()> {
        let mut read = [0; 8 * 1024];
        let count = self.stream.read(&mut read).await.ok()?;
        self.ahead.extend_from_slice(&read[..count]);
        (count > 0).then_some(())
    }
}
