use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const TOO_MANY: &str = "The total number of concurrent requests has exceeded the limit allowed by the system. Please resubmit your request later.";

/// One answer, and what is judged of it.
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

    fn verdict(&self) -> Verdict {
        judge(StatusCode::from_u16(self.status).unwrap(), &self.headers, &self.body, today())
    }

    fn needs_body(&self) -> bool {
        judge_needs_body(StatusCode::from_u16(self.status).unwrap(), &self.headers)
    }

    #[track_caller]
    fn is(self, expected: Verdict) {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.verdict(), expected, "HTTP {} {:?} {body}", self.status, self.headers);
        if !self.needs_body() {
            let status = StatusCode::from_u16(self.status).unwrap();
            assert_eq!(
                judge(status, &self.headers, &[], today()),
                expected,
                "the body decided after all"
            );
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

fn reasons(codes: &[&str]) -> String {
    let reasons: Vec<_> =
        codes.iter().map(|code| format!(r#"{{"code":{code},"message":"m"}}"#)).collect();
    format!(r#"{{"success":false,"processId":"7F2E","reasons":[{}]}}"#, reasons.join(","))
}

fn soap(code: &str, text: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Header/><soapenv:Body>
<soapenv:Fault xmlns:fns="http://fault.api.zuora.com/"><faultcode>fns:{code}</faultcode><faultstring>{text}</faultstring><detail><fns:ApiFault><fns:FaultCode>{code}</fns:FaultCode><fns:FaultMessage>{text}</fns:FaultMessage></fns:ApiFault></detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>"#
    )
}

#[test]
fn a_concurrency_refusal_is_known_in_every_shape_on_429() {
    let bodies = [
        format!(
            r#"{{"success":false,"processId":"7F","reasons":[{{"code":50000070,"message":"{TOO_MANY}"}}]}}"#
        ),
        reasons(&["50000070"]),
        reasons(&[r#""50000070""#]),
        reasons(&["53100070", "50000070"]),
        reasons(&["40000070"]),
        format!(r#"{{"code":"REQUEST_EXCEEDED_LIMIT","message":"{TOO_MANY}"}}"#),
        r#"{"Success":false,"Errors":[{"Code":"REQUEST_EXCEEDED_LIMIT","Message":"…"}]}"#
            .to_owned(),
        r#"{"FaultCode":"REQUEST_EXCEEDED_LIMIT","FaultMessage":"…"}"#.to_owned(),
        r#"{"faultcode":"fns:REQUEST_EXCEEDED_LIMIT","faultstring":"…"}"#.to_owned(),
        r#"{"message":"request exceeded limit"}"#.to_owned(),
        r#"{"reasons":[{"code":50000070,"message":"…"}],"requestId":"…"}"#.to_owned(),
        "{}".to_owned(),
    ];
    for body in bodies {
        Answer::json(429, body.as_str()).with("retry-after", "120").is(concurrency(120));
        Answer::json(429, body).gzipped().is(concurrency(120));
    }
    for code in ["REQUEST_EXCEEDED_LIMIT", "UNKNOWN_ERROR"] {
        Answer::new(429, "text/xml", soap(code, TOO_MANY))
            .with("retry-after", "7")
            .is(concurrency(7));
    }
    // File downloads, and a HEAD.
    Answer::new(429, "text/plain", TOO_MANY).is(concurrency(120));
    Answer::new(429, "", TOO_MANY).is(concurrency(120));
    Answer::new(429, "", "").with("content-length", "0").is(concurrency(120));
}

#[test]
fn a_rate_refusal_is_told_from_a_concurrency_refusal() {
    let said = r#"{"reasons":[{"code":70,"message":"API Rate limit exceeded for the minute, retry after 600 seconds"}]}"#;

    Answer::json(429, said).is(rate(600));
    Answer::json(429, said).with("ratelimit-reset", "30").is(rate(30));
    Answer::json(429, said).with("ratelimit-reset", "30").with("retry-after", "45").is(rate(45));
    Answer::json(429, r#"{"reasons":[{"code":"70"}]}"#).is(rate(60));
    Answer::json(429, reasons(&["70002005"])).is(rate(60));
    Answer::json(429, "")
        .with("ratelimit-remaining", "0")
        .with("ratelimit-reset", "1200")
        .is(rate(1200));
    Answer::json(429, "{}").with("RateLimit-Remaining".to_lowercase().leak(), "0").is(rate(60));
    Answer::new(429, "text/html", "<html><title>Too Many Requests</title></html>").is(rate(60));
    // Ordinary answers carry `ratelimit-*` too, so a code or a sentence counts for more than they do.
    Answer::json(429, reasons(&["50000070"])).with("ratelimit-reset", "1200").is(concurrency(120));
    Answer::new(429, "text/html", TOO_MANY).is(concurrency(120));
}

#[test]
fn a_refusal_hidden_in_another_status_is_found() {
    for status in [200, 201, 400, 500] {
        Answer::json(status, reasons(&["50000070"])).is(concurrency(120));
        Answer::json(status, reasons(&[r#""50000070""#]))
            .with("retry-after", "3")
            .is(concurrency(3));
        Answer::json(status, r#"{"code":"REQUEST_EXCEEDED_RATE","message":"…"}"#)
            .is(concurrency(120));
        Answer::json(status, r#"{"FaultCode":"REQUEST_EXCEEDED_RATE","FaultMessage":"…"}"#)
            .is(concurrency(120));
        Answer::json(
            status,
            r#"{"success" : false, "errors" : [ {"code" : "REQUEST_EXCEEDED_LIMIT" } ]}"#,
        )
        .is(concurrency(120));
        Answer::new(status, "text/xml;charset=UTF-8", soap("REQUEST_EXCEEDED_RATE", "…"))
            .is(concurrency(120));
        Answer::json(status, reasons(&["70"])).is(rate(60));
        Answer::new(status, "", reasons(&["50000070"])).is(concurrency(120));
    }
    Answer::json(200, reasons(&["50000070"]).replace(':', " : ")).gzipped().is(concurrency(120));
    Answer::new(200, "application/problem+json", reasons(&["50000070"])).is(concurrency(120));
}

#[test]
fn every_reason_has_to_name_a_limit() {
    for codes in [
        &["50000070", "53100020"][..],
        &["50000070", "90000011"],
        &["50000070", r#""SystemError""#],
    ] {
        Answer::json(200, reasons(codes)).is(Verdict::Relay);
    }
    Answer::json(429, reasons(&["50000070", "53100020"])).is(Verdict::Relay);
    Answer::json(429, reasons(&["50000070", "90000011"])).is(Verdict::Relay);
    Answer::json(429, reasons(&["50000050"])).is(Verdict::Relay);
    Answer::json(
        200,
        r#"{"success":false,"reasons":[{"code":50000070},{"message":"and no code"}]}"#,
    )
    .is(Verdict::Relay);
}

#[test]
fn a_limit_that_no_short_wait_cures_is_relayed() {
    let said = "Only two requests are allowed within any 24-hour window.";

    for status in [200, 429] {
        for code in ["53400070", r#""53400070""#, "50000070"] {
            let body = format!(r#"{{"reasons":[{{"code":{code},"message":"{said}"}}]}}"#);
            Answer::json(status, body).is(Verdict::Relay);
        }
        Answer::json(status, reasons(&["53400070"])).is(Verdict::Relay);
    }
}

#[test]
fn success_is_success_whatever_words_are_in_it() {
    for body in [
        r#"{"success":true,"reasons":[{"code":50000070,"message":"of last time"}]}"#,
        r#"{"success":true,"code":"REQUEST_EXCEEDED_LIMIT","message":"a record"}"#,
        r#"{"success":true,"results":[{"success":false,"reasons":[{"code":50000070}]}]}"#,
        r#"{"status":"Failed","errors":"[40000070]: limit","result":null,"success":true}"#,
        r#"{"code":"50000070","message":"a record of the caller's own"}"#,
        r#"{"code":70,"message":"a record of the caller's own"}"#,
        r#"{"code":"REQUEST_EXCEEDED_LIMIT","name":"a record without a message"}"#,
        r#"{"id":"1","notes":"code\":50000070"}"#,
        r#"{"code":{"reasons":[{"code":50000070}]}}"#,
        r#"{"reasons":"REQUEST_EXCEEDED_LIMIT","code\"":1}"#,
        r#"{"reasons":[],"code":"REQUEST_EXCEEDED_LIMIT"}"#,
        // The rows of an Action: some may have been executed.
        r#"[{"Success":true,"Id":"1"},{"Success":false,"Errors":[{"Code":"REQUEST_EXCEEDED_LIMIT","Message":"…"}]}]"#,
        r#"[{"Success":false,"Errors":[{"Code":"REQUEST_EXCEEDED_LIMIT","Message":"…"}]}]"#,
        r#"[false,[{"code":50000070,"message":"…"}]]"#,
        r#""REQUEST_EXCEEDED_LIMIT code\"""#,
    ] {
        Answer::json(200, body).is(Verdict::Relay);
    }
    let in_data = format!(
        "<e:Envelope><e:Body><r><n>{}</n></r></e:Body></e:Envelope>",
        soap("REQUEST_EXCEEDED_RATE", "")
    );
    Answer::new(200, "text/xml", in_data).is(Verdict::Relay);
    Answer::new(200, "text/csv", reasons(&["50000070"])).is(Verdict::Relay);
    Answer::new(200, "application/json-seq", reasons(&["50000070"])).is(Verdict::Relay);
}

#[test]
fn other_failures_are_relayed() {
    for code in [
        "50000020",
        "50000040",
        "50000050",
        "50000060",
        "50000099",
        r#""SystemError""#,
        "null",
        "[70]",
        "7.0",
    ] {
        for status in [200, 400, 404, 409, 500] {
            Answer::json(status, reasons(&[code])).is(Verdict::Relay);
        }
    }
    Answer::json(403, reasons(&["50000070"])).is(Verdict::Relay);
    Answer::json(403, reasons(&["90000011"])).is(Verdict::Relay);
    Answer::json(503, reasons(&["50000070"])).is(Verdict::Relay);
    Answer::json(400, r#"{"message":"No bearer token"}"#).is(Verdict::Relay);
    Answer::json(200, r#"{"errorCode":90028,"message":"too many jobs 70"}"#).is(Verdict::Relay);
    Answer::new(500, "text/plain", "We're sorry, but something went wrong.").is(Verdict::Relay);
    Answer::new(500, "text/xml", soap("INVALID_VALUE", TOO_MANY)).is(Verdict::Relay);
}

#[test]
fn an_unaccepted_token_is_known_by_401_and_by_category_11() {
    Answer::json(401, r#"{"message":"…"}"#).is(Verdict::Unauthenticated);
    Answer::new(401, "", "").is(Verdict::Unauthenticated);
    for code in ["90000011", r#""90000011""#, "50000011"] {
        Answer::json(200, reasons(&[code])).is(Verdict::Unauthenticated);
        Answer::json(200, reasons(&[code])).gzipped().is(Verdict::Unauthenticated);
    }
    Answer::json(200, r#"{"success" : false,"reasons" : [ {"code" : 90000011,"message" : "please sign in first"} ]}"#)
        .is(Verdict::Unauthenticated);
    Answer::json(200, r#"{"faultcode":"fns:INVALID_SESSION","faultstring":"…"}"#)
        .is(Verdict::Unauthenticated);
    Answer::json(200, reasons(&["90000010"])).is(Verdict::Relay);
    Answer::json(200, reasons(&["90000011", "53100020"])).is(Verdict::Relay);
    // A SOAP session is the caller's own, and a new token of ours would not cure it.
    Answer::new(200, "text/xml", soap("INVALID_SESSION", "…")).is(Verdict::Relay);
    Answer::new(500, "text/xml", soap("INVALID_SESSION", "…")).is(Verdict::Relay);
}

#[test]
fn the_wait_is_what_zuora_says_within_reason() {
    #[track_caller]
    fn check(values: &[&str], for_concurrency: u64, for_rate: u64) {
        let answer = |code| {
            let fields = values
                .iter()
                .fold(Answer::json(429, reasons(&[code])), |a, v| a.with("retry-after", v));
            fields.verdict()
        };
        assert_eq!(answer("50000070"), concurrency(for_concurrency), "{values:?}");
        assert_eq!(answer("70"), rate(for_rate), "{values:?}");
    }

    check(&[], 120, 60);
    check(&["120"], 120, 120);
    check(&["0"], 0, 0);
    check(&["5", "30"], 30, 30);
    check(&["30", "5", "abc"], 30, 30);
    check(&["99999999"], 3600, 86_400);
    check(&["99999999999999999999999999"], 3600, 86_400);
    for garbage in ["-1", "abc", "", "1.5", "+5", "5s", "0x10", "120, 30", "\u{e9}"] {
        check(&[garbage], 120, 60);
    }
    check(&["Sun, 06 Nov 1994 08:51:07 GMT"], 90, 90);
    check(&["Sunday, 06-Nov-94 08:51:07 GMT"], 90, 90);
    check(&["Sun Nov  6 08:51:07 1994"], 90, 90);
    check(&["Sun, 06 Nov 1994 08:00:00 GMT"], 0, 0);
    check(&["Sat, 06 Nov 2094 08:00:00 GMT"], 3600, 86_400);
    check(&["Sun, 06 Nov 1994 08:49:40 GMT", "2"], 3, 3);
}

#[test]
fn the_body_is_asked_for_only_where_it_decides() {
    let needs = |status, content_type| Answer::new(status, content_type, "").needs_body();

    for status in [200, 201, 202, 400, 429, 500] {
        assert!(needs(status, "application/json"), "{status}");
        assert!(needs(status, "text/xml"), "{status}");
        assert!(needs(status, ""), "{status}");
    }
    for status in [101, 204, 206, 301, 304, 401, 403, 404, 409, 502, 503, 504] {
        assert!(!needs(status, "application/json"), "{status}");
    }
    assert!(needs(429, "text/plain"));
    for content_type in [
        "text/csv",
        "application/pdf;charset=UTF-8",
        "application/json-seq",
        "text/html",
        "json-like",
    ] {
        assert!(!needs(200, content_type), "{content_type}");
    }

    assert!(Answer::json(200, "").with("content-length", "65536").needs_body());
    assert!(!Answer::json(200, "").with("content-length", "65537").needs_body());
    assert!(!Answer::json(200, "").with("content-length", "0").needs_body());
    assert!(Answer::json(200, "").with("content-encoding", "GZIP").needs_body());
    for coding in ["br", "deflate", "gzip, br", "zstd"] {
        assert!(!Answer::json(200, "").with("content-encoding", coding).needs_body(), "{coding}");
    }
    Answer::json(429, "\u{1}\u{2}").with("content-encoding", "br").is(concurrency(120));
}

#[test]
fn a_body_cut_short_or_out_of_all_measure_is_relayed() {
    let refusal = reasons(&["50000070"]);
    for cut in 0..refusal.len() {
        Answer::json(200, &refusal.as_bytes()[..cut]).is(Verdict::Relay);
        Answer::json(429, &refusal.as_bytes()[..cut]).is(concurrency(120));
    }
    let long = refusal.replace("7F2E", &"x".repeat(ANSWER_LOOK));
    Answer::json(200, &long.as_bytes()[..ANSWER_LOOK]).is(Verdict::Relay);
    Answer::json(200, long.as_bytes()).is(Verdict::Relay);
    Answer::json(200, long.as_bytes()).gzipped().is(Verdict::Relay);

    let deep = format!(r#"{{"code":{}"#, "[".repeat(60_000));
    Answer::json(200, format!("{deep}50000070")).is(Verdict::Relay);
    Answer::json(429, deep).is(concurrency(120));
    Answer::json(
        200,
        format!(
            r#"{{"a":{}1{},"reasons":[{{"code":50000070}}]}}"#,
            "[".repeat(900),
            "]".repeat(900)
        ),
    )
    .is(concurrency(120));
    let twice = r#"{"success":false,"success":false,"reasons":[{"code":50000070}]}"#;
    Answer::json(200, twice).is(Verdict::Relay);
    Answer::json(
        200,
        &b"{\"success\":false,\"reasons\":[{\"code\":50000070,\"message\":\"\xff\"}]}"[..],
    )
    .is(Verdict::Relay);
}

#[test]
fn a_compressed_bomb_is_read_no_further_than_the_look() {
    let bomb = Answer::json(200, vec![b' '; 50_000_000]).gzipped();
    let headers = &bomb.headers;

    assert!(bomb.body.len() < ANSWER_LOOK);
    assert_eq!(decoded(headers, &bomb.body).len(), ANSWER_LOOK);
    bomb.is(Verdict::Relay);
}

/// Whatever the bytes, there is a verdict, and only a body that says so in full makes a 200 a
/// refusal. The bodies are real ones with bytes changed, cut and repeated, from a fixed seed.
#[test]
fn no_bytes_make_it_stumble() {
    let seeds = [
        reasons(&["50000070", r#""90000011""#]),
        soap("REQUEST_EXCEEDED_LIMIT", TOO_MANY),
        r#"{"FaultCode":"INVALID_SESSION","FaultMessage":"…"}"#.to_owned(),
        TOO_MANY.to_owned(),
    ];
    let mut random = Random(0x5eed);
    for round in 0..20_000_usize {
        let mut answer = Answer::json(
            [200, 400, 429, 500][random.below(4)],
            seeds[round % seeds.len()].as_bytes(),
        );
        if random.below(4) == 0 {
            answer = answer.gzipped();
        }
        for _ in 0..random.below(6) {
            let at = random.below(answer.body.len().max(1));
            match random.below(3) {
                0 => answer.body.truncate(at),
                1 => answer.body.insert(at.min(answer.body.len()), random.byte()),
                _ => answer.body.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.byte()),
            }
        }
        let verdict = answer.verdict();

        if answer.status == 429 {
            assert_ne!(verdict, Verdict::Unauthenticated, "{:?}", answer.body);
        }
    }
}

#[test]
fn the_quick_look_never_hides_a_refusal() {
    let mut random = Random(70);
    let pieces = [
        "\"code\"",
        "\"Code\"",
        ":",
        " ",
        "\"",
        "50000070",
        "90000011",
        "70",
        "11",
        "170",
        "5",
        "\n",
        "A",
        "REQUEST_EXCEEDED_RATE",
    ];
    for _ in 0..50_000 {
        let value: String =
            (0..random.below(5)).map(|_| pieces[random.below(pieces.len())]).collect();
        let body = format!(r#"{{"success":false,"reasons":[{{"code":{value}}}]}}"#);
        let Some(complaint) = Complaint::read(body.as_bytes()) else { continue };

        let matters =
            complaint.every_code(|code| code.is_limit() || code == Category::Authentication);
        assert!(!matters || complaint::is_possible(body.as_bytes()), "{body}");
    }
}

/// A small generator (xorshift), so that a failure is the same failure on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}
