//! A tenant made of sockets: it keeps every byte that reaches it, and answers with whatever bytes it is told to.

use std::collections::VecDeque;
use std::mem::take;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// The token that every `POST /oauth/token` is answered with.
pub(crate) const SHARED_TOKEN: &str = "5hared00token00of00the00tenant00";

/// What a request is answered with that nobody has scripted.
const USUAL: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"success\":true}";

/// The tenant. It ends when it is dropped.
pub(crate) struct RawUpstream {
    address: SocketAddr,
    book: Arc<Book>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Book {
    script: Mutex<VecDeque<Play>>,
    /// What came in, by connection.
    received: Mutex<Vec<Received>>,
}

/// What came in on one connection, token requests aside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) requests: Vec<Message>,
    /// The beginning of a request whose end has not come.
    pub(crate) unfinished: Vec<u8>,
    pub(crate) ended: bool,
}

/// A whole request, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message(pub(crate) Vec<u8>);

/// How one request is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Play {
    /// Whether it is answered before its body has come.
    early: bool,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    Until(Arc<Notify>),
    Close,
    Reset,
}

impl Play {
    /// Sends `bytes`, and keeps the connection.
    pub(crate) fn send(bytes: impl AsRef<[u8]>) -> Self {
        Self::default().then(bytes)
    }

    /// Closes the connection without a byte.
    pub(crate) fn close() -> Self {
        Self::default().and_close()
    }

    /// Resets the connection without a byte.
    pub(crate) fn reset() -> Self {
        Self { early: false, steps: vec![Step::Reset] }
    }

    /// Answers as soon as the head of the request is there.
    pub(crate) fn early(mut self) -> Self {
        self.early = true;
        self
    }

    pub(crate) fn then(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Send(bytes.as_ref().to_vec()));
        self
    }

    pub(crate) fn pause(mut self, pause: Duration) -> Self {
        self.steps.push(Step::Pause(pause));
        self
    }

    /// Waits for a word of the test.
    pub(crate) fn until(mut self, word: &Arc<Notify>) -> Self {
        self.steps.push(Step::Until(Arc::clone(word)));
        self
    }

    pub(crate) fn and_close(mut self) -> Self {
        self.steps.push(Step::Close);
        self
    }

    pub(crate) fn and_reset(mut self) -> Self {
        self.steps.push(Step::Reset);
        self
    }
}

impl RawUpstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let book = Arc::<Book>::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&book))).abort_handle();
        Self { address, book, accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next request that nothing is scripted for with `play`.
    pub(crate) fn play(&self, play: Play) {
        self.book.script().push_back(play);
    }

    /// What came in, one entry for each connection that brought anything but token requests.
    pub(crate) fn received(&self) -> Vec<Received> {
        let heard = |it: &&Received| !it.requests.is_empty() || !it.unfinished.is_empty();
        self.book.received().iter().filter(heard).cloned().collect()
    }

    /// The whole requests.
    pub(crate) fn requests(&self) -> Vec<Message> {
        self.received().into_iter().flat_map(|connection| connection.requests).collect()
    }

    /// The request lines of the whole requests.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Message::line).collect()
    }

    /// Forgets what came in and what is still scripted.
    pub(crate) fn forget(&self) {
        self.book.script().clear();
        for connection in self.book.received().iter_mut() {
            connection.requests.clear();
            connection.unfinished.clear();
        }
    }

    /// Stops listening, so that connecting is refused.
    pub(crate) fn refuse_connections(&self) {
        self.accepting.abort();
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Book {
    fn script(&self) -> MutexGuard<'_, VecDeque<Play>> {
        self.script.lock().unwrap()
    }

    fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        self.received.lock().unwrap()
    }

    /// Notes what came in on connection `index`.
    fn note(&self, index: usize, note: impl FnOnce(&mut Received)) {
        note(&mut self.received()[index]);
    }
}

impl Message {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// Method, target and version.
    pub(crate) fn line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// All values of a field, in order.
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields
            .filter(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// The body with its framing.
    pub(crate) fn body(&self) -> &[u8] {
        let end = find(&self.0, b"\r\n\r\n").map_or(self.0.len(), |at| at + 4);
        &self.0[end..]
    }
}

async fn accept(listener: TcpListener, book: Arc<Book>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let index = book.received().len();
        book.received().push(Received::default());
        let book = Arc::clone(&book);
        tokio::spawn(async move {
            serve(stream, &book, index).await;
            book.note(index, |it| it.ended = true);
        });
    }
}

async fn serve(mut stream: TcpStream, book: &Book, index: usize) {
    let mut bytes = Vec::new();
    let mut answered_early = false;
    loop {
        let whole = length(&bytes);
        let early = || book.script().front().is_some_and(|play| play.early);
        if let Some(length) = whole {
            let request: Vec<u8> = bytes.drain(..length).collect();
            let is_token = request.starts_with(b"POST /oauth/token");
            if !is_token {
                book.note(index, |it| it.requests.push(Message(request)));
            }
            let rest = if is_token { Vec::new() } else { bytes.clone() };
            book.note(index, |it| it.unfinished = rest);
            let play = match (is_token, take(&mut answered_early)) {
                (true, _) => Play::send(grant()),
                (false, true) => Play::default(),
                (false, false) => book.script().pop_front().unwrap_or_else(|| Play::send(USUAL)),
            };
            if !perform(&mut stream, play).await {
                return;
            }
        } else if !answered_early && find(&bytes, b"\r\n\r\n").is_some() && early() {
            answered_early = true;
            let play = book.script().pop_front().unwrap_or_default();
            if !perform(&mut stream, play).await {
                return;
            }
        } else {
            let mut more = [0; 64 * 1024];
            match stream.read(&mut more).await {
                Ok(0) | Err(_) => return,
                Ok(read) => bytes.extend_from_slice(&more[..read]),
            }
            if !bytes.starts_with(b"POST /oauth/token") {
                let known = book.received()[index].unfinished.len().min(bytes.len());
                book.note(index, |it| it.unfinished.extend_from_slice(&bytes[known..]));
            }
        }
    }
}

/// Whether the connection goes on.
async fn perform(stream: &mut TcpStream, play: Play) -> bool {
    for step in play.steps {
        match step {
            Step::Send(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return false;
                }
            }
            Step::Pause(pause) => sleep(pause).await,
            Step::Until(word) => word.notified().await,
            Step::Close => return false,
            Step::Reset => {
                // A linger of zero makes the close a reset.
                stream.set_zero_linger().unwrap();
                return false;
            }
        }
    }
    true
}

fn grant() -> Vec<u8> {
    let body = format!(
        r#"{{"access_token":"{SHARED_TOKEN}","token_type":"bearer","expires_in":3598,"scope":"","jti":"1"}}"#
    );
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// How long the first request in `bytes` is, once it is whole.
fn length(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let fields = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    if fields.contains("\r\ntransfer-encoding:") {
        return chunks(&bytes[head..]).map(|body| head + body);
    }
    let declared =
        fields.split("\r\ncontent-length:").nth(1).and_then(|it| it.split("\r\n").next());
    let whole = head + declared.map_or(0, |it| it.trim().parse::<usize>().unwrap());
    (bytes.len() >= whole).then_some(whole)
}

fn chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let size = String::from_utf8_lossy(&bytes[at..at + line]).into_owned();
        let size = usize::from_str_radix(&size, 16).unwrap();
        at += line + 2 + size + 2;
        if bytes.len() < at {
            return None;
        }
        if size == 0 {
            return Some(at);
        }
    }
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
