//! `login()`, from both sides.

use super::*;

#[test]
fn a_login_is_read_with_its_escapes_undone() {
    let login = "<ns1:login xmlns:ns1=\"http://api.zuora.com/\"><ns1:username>a&amp;b@example.com</ns1:username>\n\
                 <ns1:password><![CDATA[p<&>w]]>&#33;</ns1:password><ns1:entityId/></ns1:login>";
    let head = read(&envelope("", login)).unwrap();

    assert_eq!(&*head.call, "login");
    let login = head.login.unwrap();
    assert_eq!(login.username, "a&b@example.com");
    assert_eq!(login.password, "p<&>w!");
    assert_eq!((login.entity_id, login.entity_name), (None, None));
}

#[test]
fn what_we_send_is_read_back() {
    let request = login_request("ü<ser", "p]]>&w", Some("2c92"), None);
    let login = read(&request).unwrap().login.unwrap();

    assert_eq!((&*login.username, &*login.password), ("ü<ser", "p]]>&w"));
    assert_eq!(login.entity_id.as_deref(), Some("2c92"));
    let named = read(&login_request("u", "p", None, Some("Germany"))).unwrap().login.unwrap();
    assert_eq!(named.entity_name.as_deref(), Some("Germany"));
}

#[test]
fn each_field_is_taken_once_and_no_other() {
    for bad in [
        "<username>a</username><username>b</username>",
        "<password>a</password><password/>",
        "<token>a</token>",
        "<Username>a</Username>",
        "<username><b>a</b></username>",
    ] {
        let login = envelope("", &format!("<login>{bad}</login>"));
        assert_eq!(read(&login).unwrap_err(), BadEnvelope::Login, "{bad}");
    }
}

#[test]
fn a_session_and_its_address_are_read_from_the_answer() {
    // As recorded, but for the session.
    let answer = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body><ns1:loginResponse xmlns:ns1=\"http://api.zuora.com/\"><ns1:result><ns1:ServerUrl>https://apisandbox.zuora.com/apps/services/a/91.0</ns1:ServerUrl><ns1:Session>abc&amp;D==</ns1:Session></ns1:result></ns1:loginResponse></soapenv:Body></soapenv:Envelope>";

    let read = read_login_answer(answer.as_bytes()).unwrap();

    assert_eq!(read.session, "abc&D==");
    assert_eq!(read.server_url.unwrap(), "https://apisandbox.zuora.com/apps/services/a/91.0");
    assert_eq!(read_login_answer(login_answer("a&b", "u").as_bytes()).unwrap().session, "a&b");
}

#[test]
fn a_refused_login_is_told_in_zuoras_words() {
    let fault = fault("INVALID_LOGIN", "wrong <password>", true);
    let expected =
        NoLogin::Fault { word: "INVALID_LOGIN".into(), message: "wrong <password>".into() };
    assert_eq!(read_login_answer(fault.as_bytes()).unwrap_err(), expected);

    let bare = "<e><faultcode>fns:INVALID_VALUE</faultcode><faultstring> no </faultstring></e>";
    let expected = NoLogin::Fault { word: "INVALID_VALUE".into(), message: "no".into() };
    assert_eq!(read_login_answer(bare.as_bytes()).unwrap_err(), expected);
}

#[test]
fn anything_else_is_no_answer() {
    let cut = login_answer("s", "u").replace("</soapenv:Envelope>", "");
    let empty = login_answer(" ", "u");
    for bad in [&*cut, &empty, "", "We're sorry", "<html>", "{\"a\":1}", "<a/>"] {
        assert_eq!(read_login_answer(bad.as_bytes()).unwrap_err(), NoLogin::Unreadable, "{bad}");
    }
}
