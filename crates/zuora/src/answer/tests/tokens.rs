//! Tokens that Zuora does not accept.

use super::*;

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
    Answer::json(200, reasons(&["90000010"])).is(FAILED);
    Answer::json(200, reasons(&["90000011", "53100020"])).is(FAILED);
    Answer::new(200, "text/xml", soap_fault("INVALID_SESSION", "…")).is(Verdict::Unauthenticated);
    Answer::new(500, "text/xml", soap_fault("INVALID_SESSION", "…")).is(Verdict::Unauthenticated);
    Answer::new(500, "text/xml", soap_fault("INVALID_LOGIN", "…")).is(FAILED);
}
