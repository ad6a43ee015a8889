//! A tenant that answers with listings, each made once.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;
use benches::upstream::TOKEN;

use crate::listing::Listing;

/// Answers that were made, by the last part of their path.
type Made = Arc<Mutex<HashMap<String, Arc<Vec<u8>>>>>;

/// Listens on loopback, for as long as this program runs.
///
/// | request | answer |
/// |---|---|
/// | `POST /oauth/token` | a token |
/// | `GET …/{listing}-{bytes}` | a listing of about so many bytes, its length told |
/// | any other | a short listing |
pub(crate) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let made = Made::default();
        for stream in listener.incoming().flatten() {
            let made = Arc::clone(&made);
            // A proxy that hangs up shows at the caller, where it matters.
            thread::spawn(move || serve(stream, address, &made));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream, address: SocketAddr, made: &Made) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    loop {
        let end = loop {
            match received.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => receive(&mut stream, &mut received)?,
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
        let length = head.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
        let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        while received.len() < end + length {
            receive(&mut stream, &mut received)?;
        }
        received.drain(..end + length);

        let target = head.split(' ').nth(1).unwrap_or_default();
        let (body, coding) = answer(target, address, made);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{coding}\r\n",
            body.len()
        );
        if body.len() < 64 * 1024 {
            stream.write_all(&[head.as_bytes(), &body].concat())?;
        } else {
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)?;
        }
    }
}

fn receive(stream: &mut TcpStream, received: &mut Vec<u8>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        read => {
            received.extend_from_slice(&buffer[..read]);
            Ok(())
        }
    }
}

fn answer(target: &str, address: SocketAddr, made: &Made) -> (Arc<Vec<u8>>, &'static str) {
    if target == "/oauth/token" {
        let grant =
            format!(r#"{{"access_token":"{TOKEN}","token_type":"bearer","expires_in":3598}}"#);
        return (Arc::new(grant.into_bytes()), "");
    }
    let name = target.rsplit('/').next().unwrap_or_default();
    let (listing, bytes) = name.split_once('-').unwrap_or((name, "1000"));
    let listing = Listing::of(listing).unwrap_or(Listing::Plain);
    let bytes = bytes.parse().unwrap_or(1000);
    let coding = if listing.is_packed() { "Content-Encoding: gzip\r\n" } else { "" };
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    let body = made.entry(name.to_owned()).or_insert_with(|| {
        let text = listing.text_of(&address.to_string(), bytes).into_iter();
        // The upstream has no TLS, and its links say so.
        let text =
            String::from_utf8_lossy(&text.collect::<Vec<_>>()).replace("https://", "http://");
        Arc::new(match listing.is_packed() {
            true => listing.packed(text.as_bytes()),
            false => text.into_bytes(),
        })
    });
    (Arc::clone(body), coding)
}
