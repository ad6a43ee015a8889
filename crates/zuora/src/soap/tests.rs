//! Envelopes as clients send them, and as nobody should.

mod heads;
mod hostile;
mod logins;
mod random;
mod splices;

use super::*;

/// The envelope that `body` and `header` (a whole element, or nothing) make.
fn envelope(header: &str, body: &str) -> String {
    format!(
        "<soapenv:Envelope xmlns:soapenv=\"{SOAP}\">{header}<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    )
}

/// A header with that session.
fn with_session(session: &str) -> String {
    format!(
        "<soapenv:Header><ns1:SessionHeader xmlns:ns1=\"{API}\"><ns1:session>{session}</ns1:session></ns1:SessionHeader></soapenv:Header>"
    )
}

const QUERY: &str = "<ns1:query xmlns:ns1=\"http://api.zuora.com/\"><ns1:queryString>select Id from Account</ns1:queryString></ns1:query>";

/// Reads a whole envelope, whatever the pieces it comes in.
fn read_in(envelope: &[u8], pieces: usize) -> Result<Head, BadEnvelope> {
    let mut reading = Envelope::new();
    for piece in envelope.chunks(pieces) {
        reading.read(piece)?;
    }
    reading.end()?;
    Ok(reading.head().expect("a complete envelope has a head").clone())
}

/// The same in one piece, and in every size of pieces up to a few bytes: they must not matter.
#[track_caller]
fn read(envelope: &str) -> Result<Head, BadEnvelope> {
    let whole = read_in(envelope.as_bytes(), envelope.len().max(1));
    for pieces in [1, 2, 3, 7, 64] {
        assert_eq!(read_in(envelope.as_bytes(), pieces), whole, "in pieces of {pieces}");
    }
    whole
}
