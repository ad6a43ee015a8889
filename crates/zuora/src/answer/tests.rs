//! Answers as Zuora sends them, and what is judged of each.

mod conflicts;
mod families;
mod hostile;
mod limits;
mod statuses;
mod successes;
mod tokens;

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

pub(super) const TOO_MANY: &str = "The total number of concurrent requests has exceeded the limit allowed by the system. Please resubmit your request later.";
pub(super) const LOCKED: &str = "Operation failed due to a lock competition, please retry later.";

const CONTENDED: Verdict = Verdict::Contended;
const FAILED: Verdict = Verdict::Failed { is_temporary: false };
const TEMPORARY: Verdict = Verdict::Failed { is_temporary: true };

/// One answer.
#[derive(Clone)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let answer = Self { status, headers: HeaderMap::new(), body: body.into() };
        if content_type.is_empty() { answer } else { answer.with("content-type", content_type) }
    }

    fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "application/json;charset=utf-8", body)
    }

    fn xml(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "text/xml;charset=UTF-8", body)
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    fn gzipped(mut self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.body).unwrap();
        self.body = encoder.finish().unwrap();
        self.with("content-encoding", "gzip")
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap()
    }

    fn verdict(&self) -> Verdict {
        judge(self.status(), &self.headers, &self.body, today())
    }

    fn needs_body(&self) -> bool {
        judge_needs_body(self.status(), &self.headers)
    }

    #[track_caller]
    fn is(self, expected: Verdict) {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(1000)]);
        assert_eq!(self.verdict(), expected, "HTTP {} {:?} {body}", self.status, self.headers);
        if !self.needs_body() {
            let unread = judge(self.status(), &self.headers, &[], today());
            assert_eq!(unread, expected, "the body decided after all");
        }
    }
}

/// Sun, 06 Nov 1994 08:49:37 GMT.
fn today() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
}

fn concurrency(seconds: u64) -> Verdict {
    Verdict::Refused(Refusal { kind: RefusalKind::Concurrency, wait: Duration::from_secs(seconds) })
}

fn rate(seconds: u64) -> Verdict {
    Verdict::Refused(Refusal { kind: RefusalKind::Rate, wait: Duration::from_secs(seconds) })
}

/// A failure of v1 with these codes, written as they come.
fn reasons(codes: &[&str]) -> String {
    reasons_saying("m", codes)
}

fn reasons_saying(message: &str, codes: &[&str]) -> String {
    let reason = |code: &&str| format!(r#"{{"code":{code},"message":"{message}"}}"#);
    let reasons: Vec<_> = codes.iter().map(reason).collect();
    format!(r#"{{"success":false,"processId":"7F2E","reasons":[{}]}}"#, reasons.join(","))
}

/// With line breaks and a space on both sides of the colon, as many recorded answers are.
fn pretty(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    serde_json::to_string_pretty(&value).unwrap().replace("\": ", "\" : ")
}

fn soap(body: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Header/><soapenv:Body>
{body}</soapenv:Body></soapenv:Envelope>"#
    )
}

fn soap_fault(code: &str, text: &str) -> String {
    soap(&format!(
        r#"<soapenv:Fault xmlns:fns="http://fault.api.zuora.com/"><faultcode>fns:{code}</faultcode><faultstring>{text}</faultstring><detail><fns:ApiFault><fns:FaultCode>{code}</fns:FaultCode><fns:FaultMessage>{text}</fns:FaultMessage></fns:ApiFault></detail></soapenv:Fault>"#
    ))
}

fn soap_row(outcome: &str) -> String {
    let prefixed = |field: &str, value: &str| format!("<ns1:{field}>{value}</ns1:{field}>");
    let error = prefixed("Code", outcome) + &prefixed("Message", "…");
    let content = match outcome {
        "" => prefixed("Id", "2c92") + &prefixed("Success", "true"),
        _ => prefixed("Errors", &error) + &prefixed("Success", "false"),
    };
    prefixed("result", &content)
}

fn soap_rows(outcomes: &[&str]) -> String {
    let rows: String = outcomes.iter().map(|outcome| soap_row(outcome)).collect();
    soap(&format!(
        r#"<ns1:createResponse xmlns:ns1="http://api.zuora.com/">{rows}</ns1:createResponse>"#
    ))
}
