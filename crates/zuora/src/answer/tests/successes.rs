//! Customers' data that looks like a failure, and is none.

use super::*;

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
        r#"{"id":"1","reasons":[{"code":50000050}],"callout":{"success":false}}"#,
        r#"{"callout":{"success":false},"code":"LOCK_COMPETITION","message":"a record"}"#,
        r#"{"reasons":[],"code":"REQUEST_EXCEEDED_LIMIT"}"#,
        // The rows of an Action: some may have been executed.
        r#"[{"Success":true,"Id":"1"},{"Success":false,"Errors":[{"Code":"REQUEST_EXCEEDED_LIMIT","Message":"…"}]}]"#,
        r#"[false,[{"code":50000070,"message":"…"}]]"#,
        r#""REQUEST_EXCEEDED_LIMIT code\"""#,
    ] {
        Answer::json(200, body).is(Verdict::Relay);
        Answer::json(200, body).gzipped().is(Verdict::Relay);
        Answer::new(200, "", body).is(Verdict::Relay);
    }
    let in_data = format!(
        "<e:Envelope><e:Body><r><n>{}</n></r></e:Body></e:Envelope>",
        soap_fault("REQUEST_EXCEEDED_RATE", "")
    );
    Answer::new(200, "text/xml", in_data).is(Verdict::Relay);
    Answer::new(200, "text/csv", reasons(&["50000070"])).is(Verdict::Relay);
    Answer::new(200, "application/json-seq", reasons(&["50000070"])).is(Verdict::Relay);
}

/// What customers call things, and what a failure looks like.
const LOOKALIKES: [&str; 16] = [
    r#""50000050""#,
    "50000050",
    "50000070",
    "70",
    "90010",
    "61000050.00",
    "-50000050",
    r#""LOCK_COMPETITION""#,
    r#""REQUEST_EXCEEDED_LIMIT""#,
    r#""INVALID_SESSION""#,
    r#""{\"success\":false,\"reasons\":[{\"code\":50000050}]}""#,
    r#""success\":false""#,
    r#""Operation failed due to a lock competition, please retry later.""#,
    r#"{"success":false,"reasons":[{"code":50000050,"message":"of a callout"}]}"#,
    r#"[{"code":50000070,"message":"The total number of concurrent requests"}]"#,
    r#"{"Success":false,"Errors":[{"Code":"LOCK_COMPETITION","Message":"…"}]}"#,
];

/// Fields that records have.
const FIELDS: [&str; 14] = [
    "name",
    "notes",
    "amount",
    "code__c",
    "Code__c",
    "message__c",
    "errorCode__c",
    "currencyCode",
    "taxCode",
    "gatewayResponseCode",
    "description",
    "FaultCode__c",
    "reasonCode",
    "body",
];

/// Answers of every family that are no failure, with `~` where a customer's data stands.
const SUCCESSES: [&str; 14] = [
    r#"{"success":true,~}"#,
    r#"{"success" : true, "id":"2c92",~}"#,
    r#"{"id":"2c92",~,"success":true}"#,
    r#"{"basicInfo":{"id":"2c92",~},"billingAndPayment":{~},"success":true}"#,
    r#"{"invoices":[{~},{~}],"nextPage":"https://rest.zuora.com/v1/x?page=2","success":true}"#,
    r#"{"processId":"7F2E","id":"2c92",~}"#,
    r#"{"Id":"2c92",~}"#,
    r#"{"Success":true,"Id":"2c92",~}"#,
    r#"{"size":1,"records":[{"Id":"2c92",~}],"done":true}"#,
    r#"{"data":[{"id":"2c92",~}],"nextPage":"MTA="}"#,
    r#"{"data":{"id":"2c92","queryStatus":"completed",~}}"#,
    r#"{"records":[{"Id":"1",~}],"cursor":null,"count":1}"#,
    r#"{"callouts":[{"responseCode":"409","code":"50000050","message":"…",~}],"next":null}"#,
    r#"[{"Success":true,"Id":"2c92",~},{"id":"2c93",~}]"#,
];

#[test]
fn data_that_looks_like_a_failure_is_data() {
    for shape in SUCCESSES {
        for field in FIELDS {
            for lookalike in LOOKALIKES {
                let datum = format!(r#""{field}":{lookalike}"#);
                let body = shape.replace('~', &datum);
                Answer::json(200, pretty(&body)).is(Verdict::Relay);
                Answer::json(200, body.as_str()).is(Verdict::Relay);
                Answer::json(202, body).gzipped().is(Verdict::Relay);
            }
        }
    }
}

#[test]
fn amounts_and_counts_are_no_codes() {
    for number in ["50000050", "53100070", "90000011", "12345650", "70", "50000061"] {
        for field in ["amount", "balance", "count", "code", "accountNumber"] {
            Answer::json(200, format!(r#"{{"id":"1","{field}":{number}}}"#)).is(Verdict::Relay);
            Answer::json(200, format!(r#"{{"{field}":{number}}}"#)).is(Verdict::Relay);
            Answer::json(200, format!(r#"{{"{field}":"{number}","message":"…"}}"#))
                .is(Verdict::Relay);
        }
    }
}
