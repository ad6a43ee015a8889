//! Another session in the place of the app's, and nothing else changed.

use super::*;

/// Puts a session in, and expects the same envelope with exactly this in the place of that.
#[track_caller]
fn check(envelope: &str, this: &str, that: &str) {
    let head = read(envelope).unwrap();
    let got = String::from_utf8(head.splice.put(envelope.as_bytes(), "Z<&>9")).unwrap();
    assert_eq!(got, envelope.replacen(this, that, 1));
    let again = got.replace("Z&lt;&amp;&gt;9", "Z9");
    let head = read(&again).unwrap();
    assert_eq!(head.session.as_deref(), Some("Z9"), "it is the one that counts");
}

const NEW: &str = "<ns1:SessionHeader xmlns:ns1=\"http://api.zuora.com/\"><ns1:session>Z&lt;&amp;&gt;9</ns1:session></ns1:SessionHeader>";

#[test]
fn the_apps_session_is_replaced_and_the_rest_is_as_it_was() {
    let text = envelope(&with_session("old"), QUERY).replace("><", ">\r\n\t<");
    check(&text, "old", "Z&lt;&amp;&gt;9");
    check(&text.replace("old", " \n old\t"), " \n old\t", "Z&lt;&amp;&gt;9");
    check(&text.replace("old", ""), "<ns1:session>", "<ns1:session>Z&lt;&amp;&gt;9");
}

#[test]
fn empty_elements_are_opened() {
    let with =
        |header: &str| envelope(&format!("<soapenv:Header>{header}</soapenv:Header>"), QUERY);
    let session =
        with(&format!("<a:SessionHeader xmlns:a='{API}'><a:session /></a:SessionHeader>"));
    check(&session, "<a:session />", "<a:session >Z&lt;&amp;&gt;9</a:session>");
    let header = with(&format!("<SessionHeader xmlns='{API}'/>"));
    check(
        &header,
        "'/>",
        "'><ns1:session xmlns:ns1=\"http://api.zuora.com/\">Z&lt;&amp;&gt;9</ns1:session></SessionHeader>",
    );
    let header = with(&format!("<SessionHeader xmlns='{API}'> </SessionHeader>"));
    check(
        &header,
        "'> <",
        "'><ns1:session xmlns:ns1=\"http://api.zuora.com/\">Z&lt;&amp;&gt;9</ns1:session> <",
    );
}

#[test]
fn where_there_is_none_one_is_put_in() {
    check(
        &envelope("<soapenv:Header/>", QUERY),
        "<soapenv:Header/>",
        &format!("<soapenv:Header>{NEW}</soapenv:Header>"),
    );
    check(
        &envelope("<soapenv:Header><x xmlns='urn:x'/></soapenv:Header>", QUERY),
        "<soapenv:Header>",
        &format!("<soapenv:Header>{NEW}"),
    );
    check(
        &envelope("", QUERY),
        "<soapenv:Body>",
        &format!("<soapenv:Header>{NEW}</soapenv:Header><soapenv:Body>"),
    );
}

#[test]
fn a_header_has_the_prefix_of_the_envelope_as_others_may_not_be_known_yet() {
    let other = format!(
        "<e:Envelope xmlns:e=\"{SOAP}\"><b:Body xmlns:b=\"{SOAP}\">{QUERY}</b:Body></e:Envelope>"
    );
    check(&other, "<b:Body", &format!("<e:Header>{NEW}</e:Header><b:Body"));
    let none = format!("<Envelope xmlns=\"{SOAP}\"><Body>{QUERY}</Body></Envelope>");
    check(&none, "<Body", &format!("<Header>{NEW}</Header><Body"));
}

#[test]
fn a_byte_order_mark_and_wide_characters_move_nothing() {
    let text = format!("\u{feff}<!-- é \u{1f600} -->{}", envelope(&with_session("old"), QUERY));
    check(&text, "old", "Z&lt;&amp;&gt;9");
}

#[test]
fn the_bytes_that_it_needs_are_enough() {
    let whole = envelope(&with_session("old"), QUERY);
    let splice = read(&whole).unwrap().splice;
    let (first, rest) = whole.as_bytes().split_at(splice.needs());

    let got = [splice.put(first, "new"), rest.to_vec()].concat();

    assert_eq!(String::from_utf8(got).unwrap(), whole.replace("old", "new"));
}
