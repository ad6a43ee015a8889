//! Envelopes of ours: faults, and the answer to a `login()`.

use quick_xml::escape::escape;

use super::{API, FAULT, SOAP};

/// Returns a fault in Zuora's shape: `word` is one of Zuora's, such as `INVALID_SESSION`, `message` is for people.
/// `of_login` says that it answers a `login()`, which has a kind of fault of its own.
pub fn fault(word: &str, message: &str, of_login: bool) -> String {
    let kind = if of_login { "LoginFault" } else { "ApiFault" };
    let (word, message) = (escape(word), escape(message));
    envelope(&format!(
        "<soapenv:Fault xmlns:fns=\"{FAULT}\"><faultcode>fns:{word}</faultcode>\
         <faultstring>{message}</faultstring>\
         <detail><fns:{kind}><fns:FaultCode>{word}</fns:FaultCode>\
         <fns:FaultMessage>{message}</fns:FaultMessage></fns:{kind}></detail></soapenv:Fault>"
    ))
}

/// Returns the answer to a `login()` that succeeded: the session, and the address that the client is to call with it. They
/// stand in the order of the description, which some clients insist on.
pub fn login_answer(session: &str, server_url: &str) -> String {
    let (session, server_url) = (escape(session), escape(server_url));
    envelope(&format!(
        "<ns1:loginResponse xmlns:ns1=\"{API}\"><ns1:result><ns1:ServerUrl>{server_url}</ns1:ServerUrl>\
         <ns1:Session>{session}</ns1:Session></ns1:result></ns1:loginResponse>"
    ))
}

pub(super) fn envelope(content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"{SOAP}\">\
         <soapenv:Body>{content}</soapenv:Body></soapenv:Envelope>"
    )
}
