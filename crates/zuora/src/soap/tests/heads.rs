//! What is understood of an envelope.

use super::*;

#[track_caller]
fn check(envelope: &str, call: &str, session: Option<&str>) {
    let head = read(envelope).unwrap();
    assert_eq!((&*head.call, head.session.as_deref()), (call, session));
}

#[test]
fn the_call_and_the_session_are_found() {
    check(&envelope(&with_session("zgw_a-b_c"), QUERY), "query", Some("zgw_a-b_c"));
    check(&envelope("", QUERY), "query", None);
    check(&envelope("<soapenv:Header/>", QUERY), "query", None);
    check(&envelope(&with_session(" \n zgw_x\t"), QUERY), "query", Some("zgw_x"));
    check(&envelope(&with_session(""), QUERY), "query", None);
}

#[test]
fn prefixes_do_not_matter() {
    let plain = format!(
        "<Envelope xmlns=\"{SOAP}\"><Header><SessionHeader xmlns=\"{API}\"><session>s</session></SessionHeader></Header><Body><create xmlns=\"{API}\"/></Body></Envelope>"
    );
    check(&plain, "create", Some("s"));
    let crossed = format!(
        "<a:Envelope xmlns:a=\"{SOAP}\" xmlns:s=\"{API}\"><b:Header xmlns:b='{SOAP}'><s:SessionHeader><session>t</session></s:SessionHeader></b:Header><c:Body xmlns:c=\"{SOAP}\"><s:delete></s:delete></c:Body></a:Envelope>"
    );
    check(&crossed, "delete", Some("t"));
}

#[test]
fn what_clients_put_around_it_is_taken() {
    let header = format!(
        "<soapenv:Header><!-- mine --><q:QueryOptions xmlns:q=\"{API}\"><q:batchSize>100</q:batchSize></q:QueryOptions>{}</soapenv:Header>",
        with_session("s").replace("<soapenv:Header>", "").replace("</soapenv:Header>", "")
    );
    let inner = envelope(&header, QUERY);
    check(
        &format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<!-- first -->{inner}\n"),
        "query",
        Some("s"),
    );
}

#[test]
fn a_session_may_stand_anywhere_in_the_call_without_being_one() {
    let call =
        format!("<create xmlns=\"{API}\">{}<session>x</session></create>", with_session("y"));
    check(&envelope(&with_session("s"), &call), "create", Some("s"));
    let entry =
        format!("<soapenv:Header><x xmlns=\"urn:x\">{}</x></soapenv:Header>", with_session("y"));
    check(&envelope(&entry, QUERY), "query", None);
}

#[test]
fn the_head_is_there_when_the_call_begins() {
    let whole = envelope(&with_session("s"), QUERY);
    let begun = whole.find("<ns1:queryString").unwrap();
    let mut reading = Envelope::new();

    reading.read(&whole.as_bytes()[..begun - 1]).unwrap();
    assert!(reading.head().is_none());
    reading.read(&whole.as_bytes()[begun - 1..]).unwrap();

    assert_eq!(&*reading.head().unwrap().call, "query");
}

#[test]
fn nothing_of_a_session_or_a_password_is_printed() {
    let login = "<login><username>u-ser</username><password>pass-word</password></login>";
    let session = read(&envelope(&with_session("ses-sion"), QUERY)).unwrap();
    let login = read(&envelope("", login)).unwrap();

    let printed = format!("{session:?} {login:?} {:?}", login.login);

    for secret in ["ses-sion", "pass-word", "u-ser"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
