//! HTTP 409: four meanings, told apart by the body.

use super::*;

#[test]
fn a_stored_success_is_told_again() {
    let body = r#"{"success":true,"accountId":"2c92","accountNumber":"A00000001"}"#;
    Answer::json(409, body).is(Verdict::Relay);
    Answer::json(409, pretty(body)).is(Verdict::Relay);
    Answer::json(409, body).gzipped().is(Verdict::Relay);
    Answer::json(409, r#"[{"Success":true,"Id":"2c92"}]"#).is(Verdict::Relay);
}

#[test]
fn a_lock_was_held_by_another_write() {
    for code in ["50000050", r#""53100050""#, r#""LOCK_COMPETITION""#] {
        let body = reasons_saying(LOCKED, &[code]);
        Answer::json(409, body.as_str()).is(CONTENDED);
        Answer::json(409, pretty(&body)).is(CONTENDED);
        Answer::json(409, body.as_str()).gzipped().is(CONTENDED);
        Answer::new(409, "", body).is(CONTENDED);
    }
    Answer::json(409, r#"{"reasons":[{"code":50000050,"message":"…"}],"requestId":"1"}"#)
        .is(CONTENDED);
    Answer::json(409, reasons(&["50000050", "53100020"])).is(FAILED);
    Answer::json(409, reasons(&["50000050", "50000061"])).is(FAILED);
    Answer::json(409, r#"[{"Success":false,"Errors":[{"Code":"LOCK_COMPETITION"}]}]"#).is(FAILED);
}

#[test]
fn the_first_request_with_the_key_is_at_work() {
    for message in [
        "A request with the same idempotency key is still in progress.",
        "Request is being processed",
        "The original request is still processing; retry later",
    ] {
        for body in [
            reasons_saying(message, &["50000030"]),
            format!(r#"{{"message":"{message}"}}"#),
            format!(r#"{{"code":"Conflict","message":"{message}"}}"#),
            format!(
                r#"{{"timestamp":1,"status":409,"error":"Conflict","message":"{message}","path":"/"}}"#
            ),
        ] {
            Answer::json(409, body.as_str()).is(Verdict::InProgress);
            Answer::json(409, body.as_str()).gzipped().is(Verdict::InProgress);
        }
        Answer::new(409, "text/plain", message).is(Verdict::InProgress);
        Answer::new(409, "text/html", format!("<p>{message}</p>")).is(Verdict::InProgress);
    }
    // With the same key again nothing is done twice; with a new one it would be.
    let of_the_key = reasons_saying("This idempotency key is in progress", &["50000050"]);
    Answer::json(409, of_the_key).is(Verdict::InProgress);
}

#[test]
fn a_conflict_that_cannot_be_read_is_waited_for() {
    for body in ["", " ", "{}", "{", r#"{"success":fal"#, "[", "{\"a\":\"\u{1}\"}"] {
        Answer::json(409, body).is(Verdict::InProgress);
        Answer::new(409, "", body).is(Verdict::InProgress);
    }
    Answer::new(409, "", "").with("content-length", "0").is(Verdict::InProgress);
    Answer::json(409, "\u{1}").with("content-encoding", "br").is(Verdict::InProgress);
    let mut broken = Answer::json(409, reasons(&["50000050"])).gzipped();
    let checksum = broken.body.len() - 8;
    broken.body[checksum] ^= 1;
    broken.clone().is(Verdict::InProgress);
    broken.body.truncate(30);
    broken.is(Verdict::InProgress);
}

#[test]
fn any_other_conflict_is_a_failure() {
    Answer::json(409, reasons(&["53100020"])).is(FAILED);
    Answer::json(409, reasons(&["50000070"])).is(FAILED);
    Answer::json(409, reasons(&["90000011"])).is(FAILED);
    let workflow = r#"{"errors":[{"code":"conflict","status":409,"title":"…"}]}"#;
    Answer::json(409, workflow).is(FAILED);
    Answer::json(409, r#"{"success":false}"#).is(FAILED);
    Answer::json(409, r#"{"id":"1","status":"Draft"}"#).is(FAILED);
    Answer::new(409, "text/plain", "Conflict").is(FAILED);
    // Whole, and yet of no shape that is known.
    for body in [
        r#"{"success":false,"success":false,"reasons":[{"code":50000050}]}"#,
        r#"{"reasons":"in the old days"}"#,
        "[1]",
        "[]",
    ] {
        Answer::json(409, body).is(FAILED);
    }
    let long = format!(r#"{{"message":"in progress","a":"{}"}}"#, "x".repeat(ANSWER_LOOK));
    Answer::json(409, long).is(FAILED);
}
