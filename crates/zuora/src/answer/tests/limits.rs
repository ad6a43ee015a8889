//! Refusals: which limit, and how long to wait.

use super::*;

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
        Answer::new(429, "text/xml", soap_fault(code, TOO_MANY))
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
        Answer::new(status, "text/xml;charset=UTF-8", soap_fault("REQUEST_EXCEEDED_RATE", "…"))
            .is(concurrency(120));
        Answer::json(status, reasons(&["70"])).is(rate(60));
        Answer::new(status, "", reasons(&["50000070"])).is(concurrency(120));
    }
    Answer::json(200, pretty(&reasons(&["50000070"]))).gzipped().is(concurrency(120));
    Answer::new(200, "application/problem+json", reasons(&["50000070"])).is(concurrency(120));
}

#[test]
fn every_reason_has_to_name_a_limit() {
    for codes in [
        &["50000070", "53100020"][..],
        &["50000070", "90000011"],
        &["50000070", r#""INVALID_VALUE""#],
    ] {
        Answer::json(200, reasons(codes)).is(FAILED);
    }
    Answer::json(429, reasons(&["50000070", "53100020"])).is(FAILED);
    Answer::json(429, reasons(&["50000070", "90000011"])).is(FAILED);
    Answer::json(429, reasons(&["50000050"])).is(FAILED);
    Answer::json(
        200,
        r#"{"success":false,"reasons":[{"code":50000070},{"message":"and no code"}]}"#,
    )
    .is(FAILED);
}

#[test]
fn a_limit_that_no_short_wait_cures_is_relayed() {
    let said = "Only two requests are allowed within any 24-hour window.";

    for status in [200, 429] {
        for code in ["53400070", r#""53400070""#, "50000070"] {
            let body = format!(r#"{{"reasons":[{{"code":{code},"message":"{said}"}}]}}"#);
            Answer::json(status, body).is(FAILED);
        }
        Answer::json(status, reasons(&["53400070"])).is(FAILED);
    }
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
