//! What the status alone decides, and when the body is asked for.

use super::*;

#[test]
fn a_gateway_error_leaves_it_open_whatever_the_body_says() {
    for status in [502, 503, 504] {
        for body in ["", &reasons(&["50000070"]), &reasons(&["50000050"]), r#"{"success":true}"#] {
            Answer::json(status, body).is(Verdict::Ambiguous { wait: Duration::ZERO });
        }
        for (retry_after, seconds) in [
            ("7", 7),
            ("999999", 3600),
            ("soon", 0),
            ("Sun, 06 Nov 1994 08:51:07 GMT", 90),
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ] {
            Answer::new(status, "text/html", "<html>503 Service Unavailable</html>")
                .with("retry-after", retry_after)
                .is(Verdict::Ambiguous { wait: Duration::from_secs(seconds) });
        }
    }
}

#[test]
fn an_internal_error_without_a_code_may_pass() {
    Answer::new(500, "text/plain", "We're sorry, but something went wrong.").is(TEMPORARY);
    Answer::json(500, r#"{"reasons":[{"code":"SystemError","message":"internal server error"}]}"#)
        .is(TEMPORARY);
    for body in ["", "{}", "{", "[", r#"{"message":"…"}"#, r#"{"success":false}"#, "<e:Envelope>"]
    {
        Answer::json(500, body).is(TEMPORARY);
    }
    Answer::json(500, reasons(&["null"])).is(TEMPORARY);
    Answer::json(500, reasons(&["53100020"])).is(FAILED);
    Answer::json(500, r#"{"success":true}"#).is(FAILED);
    Answer::json(501, "").is(FAILED);
}

#[test]
fn other_errors_are_failures_whatever_their_body() {
    for status in [402, 403, 404, 405, 406, 408, 413, 414, 415, 422, 423, 499, 505, 599] {
        for body in [reasons(&["50000070"]), reasons(&["50000050"]), reasons(&["90000011"])] {
            Answer::json(status, body).is(FAILED);
        }
    }
    Answer::json(404, r#"{"size":0,"records":[],"done":true}"#).is(FAILED);
    Answer::json(400, r#"{"message":"No bearer token"}"#).is(FAILED);
    Answer::json(400, "").is(FAILED);
}

#[test]
fn what_is_no_error_is_relayed() {
    for status in [204, 205, 206, 301, 302, 304] {
        Answer::json(status, reasons(&["50000050"])).is(Verdict::Relay);
    }
}

#[test]
fn the_body_is_asked_for_only_where_it_decides() {
    let needs = |status, content_type| Answer::new(status, content_type, "").needs_body();

    for status in [200, 201, 202, 400, 409, 429, 500] {
        assert!(needs(status, "application/json"), "{status}");
        assert!(needs(status, "text/xml"), "{status}");
        assert!(needs(status, ""), "{status}");
    }
    for status in [101, 204, 205, 206, 301, 304, 401, 403, 404, 422, 502, 503, 504] {
        assert!(!needs(status, "application/json"), "{status}");
    }
    assert!(needs(409, "text/plain"));
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
