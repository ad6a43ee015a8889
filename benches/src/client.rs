//! Callers of a proxy: one that does many things at once, and one that is on time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{task::JoinHandle, time::Instant};

use crate::upstream::Zeros;

/// A proxy that takes longer to answer a request that need not wait is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// One keep-alive connection. Dropping it hangs up at once, also amid a request.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    authorization: String,
    sender: SendRequest<BoxBody<Bytes, std::convert::Infallible>>,
    task: JoinHandle<()>,
}

impl Connection {
    /// Connects; every request will carry this `Authorization`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(address: SocketAddr, authorization: &str) -> Result<Self> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(async {
            // What breaks a connection is seen by the request on it.
            let _ = connection.await;
        });
        Ok(Self { address, authorization: authorization.to_owned(), sender, task })
    }

    /// Sends a GET and waits for the head of its answer.
    ///
    /// # Errors
    /// When the connection breaks first.
    pub async fn get(&mut self, path: &str) -> Result<Response<Incoming>> {
        self.send(Method::GET, path, None, Empty::new().boxed()).await
    }

    /// Sends a GET that has a track id already and waits for the head of its answer.
    ///
    /// # Errors
    /// When the connection breaks first.
    pub async fn get_tracked(&mut self, path: &str, track_id: &str) -> Result<Response<Incoming>> {
        self.send(Method::GET, path, Some(track_id), Empty::new().boxed()).await
    }

    /// Sends a call with these fields and a JSON body, and receives the whole answer.
    ///
    /// # Errors
    /// When the connection breaks first.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        fields: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<Response<Bytes>> {
        self.sender.ready().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = self.sender.send_request(request.body(Full::new(body).boxed())?).await?;
        let (head, body) = answer.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Sends a POST of so many bytes and waits for the head of its answer.
    ///
    /// # Errors
    /// When the connection breaks first.
    pub async fn post(&mut self, path: &str, length: u64) -> Result<Response<Incoming>> {
        self.send(Method::POST, path, None, Zeros { left: length }.boxed()).await
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        track_id: Option<&str>,
        body: BoxBody<Bytes, std::convert::Infallible>,
    ) -> Result<Response<Incoming>> {
        self.sender.ready().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/octet-stream");
        if let Some(track_id) = track_id {
            request = request.header("zuora-track-id", track_id);
        }
        Ok(self.sender.send_request(request.body(body)?).await?)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends one GET on a connection of its own and returns status and body. For checks, not for load.
///
/// # Errors
/// When there is no whole answer within ten seconds.
pub fn get(address: SocketAddr, path: &str, authorization: &str) -> Result<(StatusCode, String)> {
    let mut caller = Caller::open(address, get_request(address, path, authorization))?;
    let status = caller.call()?;
    Ok((status, String::from_utf8_lossy(&caller.answer[caller.head..]).into_owned()))
}

fn get_request(address: SocketAddr, path: &str, authorization: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {authorization}\r\n\r\n")
}

/// Fetches a token, as an OAuth client of a tenant does that takes any.
///
/// # Errors
/// When there is none in the answer.
pub fn token(tenant: SocketAddr) -> Result<String> {
    let form = "client_id=bench&client_secret=bench-secret&grant_type=client_credentials";
    let request = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: {tenant}\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    );
    let mut caller = Caller::open(tenant, request)?;
    let status = caller.call()?;
    let answer: serde_json::Value = serde_json::from_slice(&caller.answer[caller.head..])?;
    let token = answer["access_token"].as_str();
    Ok(token.with_context(|| format!("no token, but {status}"))?.to_owned())
}

/// A caller on a thread of its own: it blocks, so that neither a runtime nor its clock of
/// whole milliseconds stand between an answer and the moment that is taken down for it.
#[derive(Debug)]
struct Caller {
    stream: TcpStream,
    request: String,
    answer: Vec<u8>,
    head: usize,
}

impl Caller {
    fn open(address: SocketAddr, request: String) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, request, answer: Vec::with_capacity(16 * 1024), head: 0 })
    }

    /// Sends the request once more and reads the whole answer.
    fn call(&mut self) -> Result<StatusCode> {
        self.stream.write_all(self.request.as_bytes())?;
        self.answer.clear();
        let head = loop {
            if let Some(end) = self.answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            self.read()?;
        };
        self.head = head;
        let (status, length) = read_head(&self.answer[..head])?;
        while self.answer.len() < head + length {
            self.read()?;
        }
        Ok(status)
    }

    fn read(&mut self) -> Result<()> {
        let mut chunk = [0; 4096];
        let length = self.stream.read(&mut chunk)?;
        ensure!(length > 0, "the connection was closed amid an answer");
        self.answer.extend_from_slice(&chunk[..length]);
        Ok(())
    }
}

/// The status and the length of the body, which must be given: all peers pass it on.
fn read_head(head: &[u8]) -> Result<(StatusCode, usize)> {
    let text = std::str::from_utf8(head)?;
    let mut lines = text.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
    for line in lines {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            return Ok((status.parse()?, value.trim().parse()?));
        }
    }
    bail!("an answer without Content-Length:\n{text}")
}

/// What came of calls at a fixed rate.
#[derive(Clone, Debug, Default)]
pub struct OnTime {
    /// Latency of every answer, the shortest first.
    pub latencies: Vec<Duration>,
    /// Answers with another status than 200.
    pub errors: usize,
}

/// Sends GETs at `rate` a second in all over `connections`, at random moments as from many
/// independent callers, for so long. It does not slow down when answers are late.
///
/// Latency counts from the moment that a request was due if its connection was still busy
/// then, else from the moment that it was sent: being woken late is our own fault, not the proxy's.
///
/// # Errors
/// When a connection breaks.
pub fn at_rate(
    (address, path, authorization): (SocketAddr, &str, &str),
    rate: f64,
    connections: u32,
    duration: Duration,
) -> Result<OnTime> {
    let gap = f64::from(connections) / rate;
    let end = Instant::now() + duration;
    let results: Vec<Result<OnTime>> = thread::scope(|scope| {
        let one = || scope.spawn(|| keep_calling(address, path, authorization, gap, end));
        let threads: Vec<_> = (0..connections).map(|_| one()).collect();
        threads.into_iter().map(|thread| thread.join().expect("a caller never panics")).collect()
    });

    let mut all = OnTime::default();
    for result in results {
        let one = result?;
        all.latencies.extend(one.latencies);
        all.errors += one.errors;
    }
    all.latencies.sort_unstable();
    Ok(all)
}

fn keep_calling(
    address: SocketAddr,
    path: &str,
    authorization: &str,
    gap: f64,
    end: Instant,
) -> Result<OnTime> {
    let mut caller = Caller::open(address, get_request(address, path, authorization))?;
    let mut result = OnTime::default();
    let mut due = Instant::now() + pause(gap);
    while due < end {
        let now = Instant::now();
        let start = if due > now {
            thread::sleep(due - now);
            Instant::now()
        } else {
            due
        };
        let status = caller.call()?;
        result.latencies.push(start.elapsed());
        result.errors += usize::from(status != StatusCode::OK);
        due += pause(gap);
    }
    Ok(result)
}

/// A pause of a Poisson process, `mean` seconds long on average.
fn pause(mean: f64) -> Duration {
    let left: f64 = 1.0 - rand::random::<f64>();
    Duration::from_secs_f64(-left.ln() * mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_tells_status_and_length() {
        let head = b"HTTP/1.1 429 Too Many Requests\r\ncontent-LENGTH: 12\r\n\r\n";

        assert_eq!(read_head(head).unwrap(), (StatusCode::TOO_MANY_REQUESTS, 12));
        assert!(read_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn pauses_average_to_what_was_asked_for() {
        let sum: f64 = (0..10_000).map(|_| pause(2.0).as_secs_f64()).sum();

        assert!((1.8..2.2).contains(&(sum / 10_000.0)), "{sum}");
    }
}
