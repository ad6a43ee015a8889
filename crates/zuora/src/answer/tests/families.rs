//! One verdict per kind of failure, the same in the shape of every API family.

use super::*;

/// Shapes in which one code and a message are told; `{code}` is a word or digits with quotes or
/// without, `{message}` a text. And the statuses on which the body decides.
const SHAPES: [(&str, &str); 10] = [
    (
        "v1",
        r#"{"success":false,"processId":"7F2E4C89A1B3C4D5","reasons":[{"code":{code},"message":"{message}"}]}"#,
    ),
    (
        "v1 with a request id",
        r#"{"success":false,"processId":"7F","reasons":[{"code":{code},"message":"{message}"}],"requestId":"5d"}"#,
    ),
    (
        "v1 without a flag",
        r#"{"processId":"7F","reasons":[{"code":{code},"message":"{message}"}]}"#,
    ),
    (
        "v1, twice the same",
        r#"{"success":false,"reasons":[{"code":{code},"message":"{message}"},{"code":{code},"message":"again"}]}"#,
    ),
    ("object query", r#"{"reasons":[{"code":{code},"message":"{message}"}],"requestId":"1f2e"}"#),
    ("CRUD", r#"{"Success":false,"Errors":[{"Code":{code},"Message":"{message}"}]}"#),
    ("Action", r#"{"success":false,"errors":[{"code":{code},"message":"{message}"}]}"#),
    ("Action fault", r#"{"FaultCode":{code},"FaultMessage":"{message}"}"#),
    ("Action fault of SOAP", r#"{"faultcode":{code},"faultstring":"{message}"}"#),
    (
        "v1, pretty",
        "{\n  \"success\" : false,\n  \"reasons\" : [ {\n    \"code\" : {code},\n    \"message\" : \"{message}\"\n  } ]\n}",
    ),
];

/// Codes as they are written, the message, and what it comes to.
const FAILURES: [(&str, &str, Verdict); 26] = [
    ("50000050", LOCKED, CONTENDED),
    (r#""50000050""#, LOCKED, CONTENDED),
    ("53100050", LOCKED, CONTENDED),
    ("40000050", LOCKED, CONTENDED),
    (r#""LOCK_COMPETITION""#, LOCKED, CONTENDED),
    (r#""fns:LOCK_COMPETITION""#, LOCKED, CONTENDED),
    ("50000060", "…", TEMPORARY),
    ("50000061", "…", TEMPORARY),
    (r#""58730061""#, "…", TEMPORARY),
    (r#""SERVER_UNAVAILABLE""#, "…", TEMPORARY),
    (r#""TEMPORARY_ERROR""#, "…", TEMPORARY),
    (r#""SystemError""#, "internal server error", TEMPORARY),
    ("53100320", "…", FAILED),
    ("50000010", "…", FAILED),
    ("50000030", "…", FAILED),
    ("50000040", "…", FAILED),
    ("50000090", "…", FAILED),
    ("50000099", "…", FAILED),
    (r#""INVALID_VALUE""#, "…", FAILED),
    // The third party may have done its part, or nobody knows.
    (r#""TRANSACTION_TIMEOUT""#, "…", FAILED),
    (r#""UNKNOWN_ERROR""#, LOCKED, FAILED),
    (r#""API_DISABLED""#, "…", FAILED),
    (r#""TRANSACTION_TERMINATED""#, "…", FAILED),
    // Some of the batch may stand.
    (r#""BATCH_FAIL_ERROR""#, "Batch update … optimistic locking failed", FAILED),
    // The Settings API's codes have no category.
    ("70000050", "…", FAILED),
    ("5000050", "…", FAILED),
];

#[test]
fn every_family_says_the_same_with_the_same_code() {
    for (family, shape) in SHAPES {
        for (code, message, expected) in FAILURES {
            let body = shape.replace("{code}", code).replace("{message}", message);
            for status in [200, 201, 400, 500] {
                let answer = Answer::json(status, body.as_str());
                assert_eq!(answer.verdict(), expected, "{family}, HTTP {status}: {body}");
                assert_eq!(answer.gzipped().verdict(), expected, "{family}, gzip: {body}");
            }
        }
    }
}

#[test]
fn a_code_beside_a_message_is_a_complaint_if_nothing_else_stands_there() {
    for status in [200, 400, 500] {
        let lock = format!(r#"{{"code":"LOCK_COMPETITION","message":"{LOCKED}"}}"#);
        Answer::json(status, lock).is(CONTENDED);
        Answer::json(status, r#"{"code":"TEMPORARY_ERROR","message":"…","details":{"a":[1]}}"#)
            .is(TEMPORARY);
        Answer::json(status, r#"{"code":"ClientError","message":"…"}"#).is(FAILED);
        Answer::json(status, r#"{"success":false,"code":50000050,"message":"…"}"#).is(CONTENDED);
    }
    let record = r#"{"Id":"6e","code":"LOCK_COMPETITION","message":"of the caller's own"}"#;
    Answer::json(200, record).is(Verdict::Relay);
    Answer::json(400, record).is(TEMPORARY);
    Answer::json(400, r#"{"message":"Error - unrecognised fields"}"#).is(FAILED);
}

#[test]
fn several_reasons_count_as_one_only_if_they_are_of_one_kind() {
    let lock = "50000050";
    for (codes, expected) in [
        (&[lock, "53100050", r#""LOCK_COMPETITION""#][..], CONTENDED),
        (&["50000060", "50000061"], TEMPORARY),
        // Each may pass, but neither says that nothing was done.
        (&[lock, "50000061"], TEMPORARY),
        (&[lock, "50000070"], TEMPORARY),
        (&["50000070", "50000061"], TEMPORARY),
        (&[lock, "53100020"], FAILED),
        (&["53100020", lock], FAILED),
        (&[lock, "90000011"], FAILED),
        (&[lock, "null"], FAILED),
        (&[lock, "[50]"], FAILED),
        (&[lock, r#""""#], FAILED),
        (&["50000061", "53100020"], FAILED),
        (&["50000050.0"], FAILED),
        (&[], FAILED),
    ] {
        for status in [200, 400] {
            Answer::json(status, reasons(codes)).is(expected);
            Answer::json(status, pretty(&reasons(codes))).is(expected);
        }
    }
    Answer::json(200, r#"{"success":false,"reasons":[{"code":50000050},{"message":"no code"}]}"#)
        .is(FAILED);
    // Two shapes in one body have to agree, too.
    let two = r#"{"success":false,"reasons":[{"code":50000050}],"code":"{}","message":"…"}"#;
    Answer::json(200, two.replace("{}", "LOCK_COMPETITION")).is(CONTENDED);
    Answer::json(200, two.replace("{}", "INVALID_VALUE")).is(FAILED);
}

#[test]
fn what_tells_of_more_than_a_failure_was_perhaps_done() {
    for body in [
        r#"{"success":false,"orderNumber":"O-1","reasons":[{"code":50000050,"message":"…"}]}"#,
        r#"{"success":false,"reasons":[{"code":50000050}],"results":[{"success":true,"id":"1"}]}"#,
        r#"{"success":false,"reasons":[{"code":50000050}],"details":{"Success" : true}}"#,
        r#"{"success":false,"reasons":[{"code":50000070}],"invoices":[]}"#,
        r#"{"success":false,"reasons":[{"code":90000011}],"id":"1"}"#,
    ] {
        for status in [200, 400, 409, 500] {
            let verdict = Answer::json(status, body).verdict();
            assert!(matches!(verdict, Verdict::Failed { .. }), "HTTP {status} {verdict:?}: {body}");
        }
    }
}

#[test]
fn rows_of_an_action_are_never_sent_again() {
    let done = r#"{"Success":true,"Id":"2c92"}"#;
    let locked = r#"{"Success":false,"Errors":[{"Code":"LOCK_COMPETITION","Message":"…"}]}"#;
    let refused = r#"{"Success":false,"Errors":[{"Code":"REQUEST_EXCEEDED_RATE","Message":"…"}]}"#;

    for (rows, on_200) in [
        (vec![done], Verdict::Relay),
        (vec![done, locked], Verdict::Relay),
        (vec![refused, done], Verdict::Relay),
        (vec![locked], FAILED),
        (vec![locked, refused], FAILED),
        (vec![], Verdict::Relay),
    ] {
        let body = format!("[{}]", rows.join(", "));
        Answer::json(200, body.as_str()).is(on_200);
        Answer::json(200, pretty(&body)).is(on_200);
        Answer::json(400, body.as_str()).is(FAILED);
        Answer::json(429, body.as_str()).is(FAILED);
        if !rows.is_empty() {
            Answer::json(500, body.as_str()).is(FAILED);
        }
    }
}

#[test]
fn soap_says_it_with_a_fault() {
    for (code, expected) in [
        ("LOCK_COMPETITION", CONTENDED),
        ("SERVER_UNAVAILABLE", TEMPORARY),
        ("TEMPORARY_ERROR", TEMPORARY),
        ("INVALID_VALUE", FAILED),
        ("TRANSACTION_TIMEOUT", FAILED),
        ("UNKNOWN_ERROR", FAILED),
        ("INVALID_SESSION", Verdict::Unauthenticated),
    ] {
        for status in [200, 500] {
            Answer::xml(status, soap_fault(code, "…")).is(expected);
            Answer::xml(status, soap_fault(code, "…")).gzipped().is(expected);
            Answer::new(status, "", soap_fault(code, "…")).is(expected);
            Answer::new(status, "application/soap+xml", soap_fault(code, "…") + "\n").is(expected);
        }
    }
    // Rows, as of an Action.
    Answer::xml(200, soap_rows(&["LOCK_COMPETITION"])).is(FAILED);
    Answer::xml(200, soap_rows(&["LOCK_COMPETITION", ""])).is(Verdict::Relay);
    Answer::xml(200, soap_rows(&[""])).is(Verdict::Relay);
    // A fault among somebody's data.
    let quoted = soap(&format!("<r><n>{}</n></r>", soap_fault("LOCK_COMPETITION", "")));
    Answer::xml(200, quoted).is(Verdict::Relay);
}

#[test]
fn aqua_complains_with_five_digits_on_200() {
    for (code, expected) in
        [("90010", TEMPORARY), (r#""90022""#, TEMPORARY), ("90027", FAILED), ("90028", FAILED)]
    {
        let body = format!(r#"{{"errorCode":{code},"message":"There are 50 jobs running"}}"#);
        Answer::json(200, body).is(expected);
    }
    // A job that failed in its time is what was asked for.
    let job = r#"{"batches":[],"status":"error","errorCode":90010,"message":"…","id":"2c"}"#;
    Answer::json(200, job).is(Verdict::Relay);
}

#[test]
fn the_data_query_complains_under_data() {
    let said = |code| format!(r#"{{"data":{{"errorCode":"{code}","errorMessage":"…"}}}}"#);
    for status in [200, 400, 500] {
        Answer::json(status, said("LINK_10000005")).is(TEMPORARY);
        Answer::json(status, said("LINK_30000007")).is(FAILED);
    }
    let job = r#"{"data":{"id":"5e","queryStatus":"failed","errorCode":"LINK_10000005","errorMessage":"…"}}"#;
    Answer::json(200, job).is(Verdict::Relay);
    Answer::json(200, r#"{"data":[{"errorCode":"LINK_10000005"}]}"#).is(Verdict::Relay);
}

#[test]
fn workflows_spring_and_the_edge_are_known_by_their_status() {
    let workflow = r#"{"errors":[{"code":"invalid","status":422,"title":"…"}]}"#;
    Answer::json(200, workflow).is(FAILED);
    Answer::json(422, workflow).is(FAILED);
    let spring = |status| {
        format!(
            r#"{{"timestamp":"2026-01-01T00:00:00Z","status":{status},"error":"…","message":"…","path":"/v1/x"}}"#
        )
    };
    Answer::json(400, spring(400)).is(FAILED);
    Answer::json(404, spring(404)).is(FAILED);
    Answer::json(500, spring(500)).is(TEMPORARY);
    Answer::json(503, spring(503)).is(Verdict::Ambiguous { wait: Duration::ZERO });
    Answer::json(429, spring(429)).is(concurrency(120));
    for (status, expected) in [
        (403, FAILED),
        (414, FAILED),
        (500, TEMPORARY),
        (503, Verdict::Ambiguous { wait: Duration::ZERO }),
        (429, rate(60)),
    ] {
        let page = "<html><head><title>AkamaiGHost</title></head>\r\n<body>…</body></html>";
        Answer::new(status, "text/html", page).is(expected);
    }
}
