//! Callers that do as little as they can, so that the gateway is what is measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use anyhow::{Context, Result, ensure};

/// How many connections short answers come on.
const CONNECTIONS: u32 = 8;

/// Asks once, and reads until the connection ends.
pub(crate) fn read_to_the_end(address: SocketAddr, path: &str, own: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: {own}\r\nConnection: close\r\n\r\n"
    )?;
    let mut buffer = vec![0; 256 * 1024];
    let mut first = Vec::new();
    let mut last = Vec::new();
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        if first.len() < 4096 {
            first.extend_from_slice(&buffer[..read.min(4096)]);
        }
        last.extend_from_slice(&buffer[read.saturating_sub(8)..read]);
        last.drain(..last.len().saturating_sub(8));
    }
    let head = String::from_utf8_lossy(&first);
    ensure!(head.starts_with("HTTP/1.1 200"), "it was answered {head}");
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    ensure!(!is_chunked || last.ends_with(b"0\r\n\r\n"), "the answer broke off");
    Ok(())
}

/// Asks so often, on some connections at once, for answers whose length is told.
pub(crate) fn read_often(address: SocketAddr, path: &str, own: &str, requests: u32) -> Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: {own}\r\n\r\n");
    let request = &request;
    thread::scope(|scope| {
        let read = || scope.spawn(move || read_some(address, request, requests / CONNECTIONS));
        let reading: Vec<_> = (0..CONNECTIONS).map(|_| read()).collect();
        reading.into_iter().try_for_each(|reading| {
            reading.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?
        })
    })
}

fn read_some(address: SocketAddr, request: &str, requests: u32) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    for _ in 0..requests {
        stream.write_all(request.as_bytes())?;
        let (mut read, mut whole) = (0, None);
        while whole.is_none_or(|whole| read < whole) {
            let more = stream.read(&mut buffer[read..])?;
            ensure!(more > 0, "the connection ended");
            read += more;
            if whole.is_none() {
                whole = whole_length(&buffer[..read])?;
            }
        }
    }
    Ok(())
}

/// How long head and body are together, once the head is there.
fn whole_length(received: &[u8]) -> Result<Option<usize>> {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    ensure!(head.starts_with("http/1.1 200"), "it was answered {head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("the length is not told")?.trim().parse()?;
    Ok(Some(end + 4 + length))
}
