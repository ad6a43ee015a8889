//! A call as the tenant reads it.

use std::io::Read as _;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, header, request::Parts, uri::Authority};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    gate::Caller,
    operations::{Family, Operation, OperationKind, classify},
    soap::Envelope,
};

/// Bodies up to this size are read as JSON; of larger ones only the size is known.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// The first API version whose failures have statuses of their own.
const MODERN: &str = "2024-05-20";

/// A call: its head, and once it has been read, its body.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The path as received, without the query.
    pub(crate) path: String,
    /// The host as the call names it, with its port if it does.
    pub(crate) host: String,
    /// The path and the query as received.
    pub(crate) target: String,
    /// Its decoded parts, in the form `/v1/…`.
    pub(crate) segments: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) operation: Operation,
    /// The body as JSON; `Null` while unread, or when it is something else.
    pub(crate) json: Value,
    /// The body, if it is small and no upload.
    pub(crate) body: Bytes,
    /// How long the body was on the wire.
    pub(crate) body_bytes: u64,
    /// What the tenant calls it.
    pub(crate) request_id: HeaderValue,
    /// Who makes it, once that is known.
    pub(crate) caller: Option<Caller>,
    /// The entity it is about, if the tenant has several.
    pub(crate) entity: Option<String>,
    /// The envelope, if it is a SOAP call whose body has been read.
    pub(crate) soap: Option<Envelope>,
}

/// The body stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfinished;

impl Call {
    pub(crate) fn read(head: Parts) -> Self {
        let path = head.uri.path().to_owned();
        let target = head.uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
        let segments = segments(&path);
        let query = head
            .uri
            .query()
            .map(|query| form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>());
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = head.uri.authority().map(Authority::as_str).or(host).unwrap_or_default();
        let host = host.to_owned();
        let operation = classify(&head.method, &segments);
        let request_id = HeaderValue::try_from(Uuid::new_v4().to_string());
        Self {
            method: head.method,
            path,
            host,
            target,
            segments,
            query: query.unwrap_or_default(),
            headers: head.headers,
            operation,
            json: Value::Null,
            body: Bytes::new(),
            body_bytes: 0,
            request_id: request_id.expect("a UUID is plain text"),
            caller: None,
            entity: None,
            soap: None,
        }
    }

    /// Reads the body to its end, keeping it only if it is small and no upload.
    pub(crate) async fn take_body(&mut self, mut incoming: Incoming) -> Result<(), Unfinished> {
        let keep = !self.is_upload();
        let mut kept = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame.map_err(|_| Unfinished)?.into_data() else { continue };
            self.body_bytes += data.len() as u64;
            if keep && self.body_bytes <= KEPT_BYTES as u64 {
                kept.extend_from_slice(&data);
            }
        }
        if keep && self.body_bytes <= KEPT_BYTES as u64 {
            self.body = self.unzip(kept.freeze());
            self.json = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        }
        Ok(())
    }

    /// The value of a query parameter; the last one if it is repeated.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether failures have statuses of their own in the version asked for.
    pub(crate) fn is_modern(&self) -> bool {
        // `2025-08-12` compares like a date, and `215.0` is no date at all.
        self.header("zuora-version").is_some_and(|version| {
            version.len() == MODERN.len() && version.as_bytes()[4] == b'-' && version >= MODERN
        })
    }

    pub(crate) fn accepts_gzip(&self) -> bool {
        self.headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|coding| {
                let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
                let refused = matches!(weight.replace(' ', "").as_str(), "q=0" | "q=0.0");
                name.trim().eq_ignore_ascii_case("gzip") && !refused
            })
    }

    /// The call that this one hands in: the same without `/async`.
    pub(crate) fn synchronous(&self) -> Self {
        let path = self.path.replacen("/async/", "/", 1);
        let segments = segments(&path);
        let operation = classify(&self.method, &segments);
        let target = self.target.replacen("/async/", "/", 1);
        Self { path, target, segments, operation, ..self.clone() }
    }

    /// The parts of the path, for a `match`.
    pub(crate) fn parts(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    fn is_upload(&self) -> bool {
        let text = |value: &HeaderValue| value.to_str().map(str::to_ascii_lowercase);
        self.headers.get(header::CONTENT_TYPE).and_then(|value| text(value).ok()).is_some_and(
            |kind| kind.starts_with("multipart/") || kind.starts_with("application/octet-stream"),
        )
    }

    fn unzip(&self, bytes: Bytes) -> Bytes {
        if self.header("content-encoding").is_none_or(|coding| !coding.contains("gzip")) {
            return bytes;
        }
        let mut plain = Vec::new();
        let bound = KEPT_BYTES as u64;
        match flate2::read::GzDecoder::new(&bytes[..]).take(bound).read_to_end(&mut plain) {
            Ok(_) => Bytes::from(plain),
            Err(_) => Bytes::new(),
        }
    }
}

/// The decoded parts of a path; `/rest/v1` reads as `/v1`, and so do the
/// spellings of the older hosts, `/apps/v1` and `/apps/api`.
fn segments(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect();
    match parts.first_chunk().map(|first: &[String; 2]| first.each_ref().map(String::as_str)) {
        Some(["rest" | "apps", "v1"]) => {
            parts.remove(0);
        }
        Some(["apps", "api"]) => {
            parts.remove(0);
            parts[0] = "v1".to_owned();
        }
        _ => {}
    }
    parts
}

/// Whether Zuora takes it as a track id: at most 64 US-ASCII characters
/// without `:`, `;`, `"` and `'` (Zuora: the header's description).
pub(crate) fn is_track_id(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=64).contains(&bytes.len())
        && bytes.iter().all(|byte| matches!(byte, 0x20..=0x7e) && !b":;\"'".contains(byte))
}

impl Call {
    /// Whether this is the call that hands out tokens.
    pub(crate) fn is_login(&self) -> bool {
        self.method == Method::POST && self.parts() == ["oauth", "token"]
    }

    /// Whether it hands a write in under `/v1/async`.
    pub(crate) fn is_submission(&self) -> bool {
        self.operation.kind == OperationKind::Submission
    }

    /// Whether this is the login of older clients.
    pub(crate) fn is_connection(&self) -> bool {
        self.method == Method::POST && self.parts() == ["v1", "connections"]
    }

    /// Whether it is a SOAP call, its version aside.
    pub(crate) fn is_soap(&self) -> bool {
        self.operation.family == Family::Soap && self.method == Method::POST
    }

    /// Whether it asks for the description of the SOAP API.
    pub(crate) fn is_wsdl(&self) -> bool {
        self.method == Method::GET && self.parts() == ["apps", "servlet", "GenerateWsdl"]
    }

    /// Whether it asks for the signature of a call that a browser will make.
    pub(crate) fn is_signing(&self) -> bool {
        self.method == Method::POST && self.parts() == ["v1", "hmac-signatures"]
    }

    /// Whether it says that it was signed, and is not made by who calls.
    pub(crate) fn is_signed(&self) -> bool {
        self.headers.contains_key("signature") && self.headers.contains_key("token")
    }

    /// The version of the SOAP API that it names; 0: none that can be read.
    pub(crate) fn soap_version(&self) -> f32 {
        let version = match self.parts().as_slice() {
            ["apps", "services", "a", version] => version.parse().ok(),
            _ => self.parameter("version").and_then(|version| version.parse().ok()),
        };
        version.unwrap_or_default()
    }

    /// Whether answers say how full the limit is: everything under `/v1`, and
    /// object query since January 2026.
    pub(crate) fn shows_limits(&self) -> bool {
        !matches!(self.operation.family, Family::Other | Family::Soap | Family::Nowhere)
    }
}
