//! Envelopes that say two things, or none.

use super::BadEnvelope::*;
use super::*;

#[track_caller]
fn check(envelope: &str, expected: BadEnvelope) {
    assert_eq!(read(envelope).unwrap_err(), expected, "{envelope}");
}

/// A header with `entries`.
fn headed(entries: &str) -> String {
    envelope(&format!("<soapenv:Header xmlns:z=\"{API}\">{entries}</soapenv:Header>"), QUERY)
}

#[test]
fn there_is_one_session_or_none() {
    let one = "<z:SessionHeader><z:session>a</z:session></z:SessionHeader>";
    check(&headed(&format!("{one}{one}")), Session);
    check(&headed(&format!("{one}<z:SessionHeader/>")), Session);
    check(
        &headed(
            "<z:SessionHeader><z:session>a</z:session><z:session>b</z:session></z:SessionHeader>",
        ),
        Session,
    );
    check(
        &headed("<z:SessionHeader><z:session/><z:session>b</z:session></z:SessionHeader>"),
        Session,
    );
}

#[test]
fn a_session_is_zuoras_own_and_spelled_as_such() {
    check(&headed("<SessionHeader><session>a</session></SessionHeader>"), Session);
    check(
        &headed("<x:SessionHeader xmlns:x='urn:x'><x:session>a</x:session></x:SessionHeader>"),
        Session,
    );
    check(&headed("<z:sessionheader><z:session>a</z:session></z:sessionheader>"), Session);
    check(&headed("<z:SessionHeader><z:Session>a</z:Session></z:SessionHeader>"), Session);
    check(&headed("<z:SessionHeader>a</z:SessionHeader>"), Session);
    check(&headed("<z:SessionHeader><z:session>a</z:session>b</z:SessionHeader>"), Session);
}

#[test]
fn a_session_is_plain_text() {
    for text in
        ["a<!-- b -->c", "<![CDATA[a]]>", "a<b/>", "a&amp;b", "&#97;", "a b", "a&", "é", "a\u{7f}"]
    {
        let with = |session: &str| {
            headed(&format!("<z:SessionHeader><z:session>{session}</z:session></z:SessionHeader>"))
        };
        check(&with(text), Session);
    }
    check(
        &headed(
            "<z:SessionHeader><z:session i:nil='true' xmlns:i='urn:i'>a</z:session></z:SessionHeader>",
        ),
        Session,
    );
    check(&headed("<z:SessionHeader i:nil='1' xmlns:i='urn:i'/>"), Session);
}

#[test]
fn no_other_credential_is_passed_on() {
    for name in ["w:Security", "w:security", "z:Security", "Security"] {
        let entry = format!(
            "<{name} xmlns:w='urn:w'><w:UsernameToken><w:Password>p</w:Password></w:UsernameToken></{name}>"
        );
        check(&headed(&entry), Security);
    }
    check(&headed("<w:Security xmlns:w='urn:w'/>"), Security);
    for call in ["Login", "LOGIN", "z:logIn"] {
        let login = format!("<{call} xmlns:z='{API}'><password>p</password></{call}>");
        check(&envelope("", &login), Login);
    }
}

#[test]
fn an_envelope_names_no_other_call_and_no_other_place_for_the_answer() {
    for namespace in
        ["http://www.w3.org/2005/08/addressing", "http://schemas.xmlsoap.org/ws/2004/08/addressing"]
    {
        for name in ["Action", "To", "ReplyTo"] {
            let entry = format!("<a:{name} xmlns:a='{namespace}'>urn:delete</a:{name}>");
            check(&headed(&entry), Addressing);
        }
    }
}

#[test]
fn there_is_one_body_with_one_call() {
    check(&envelope("", ""), Calls);
    check(&envelope("", " <!-- none --> "), Calls);
    check(&envelope("", &format!("{QUERY}<delete/>")), Calls);
    check(&envelope("", &format!("text{QUERY}")), Structure);
    let two = envelope("", QUERY).replace(
        "</soapenv:Envelope>",
        "<soapenv:Body><delete/></soapenv:Body></soapenv:Envelope>",
    );
    check(&two, Structure);
    let late =
        envelope("", QUERY).replace("</soapenv:Envelope>", "<soapenv:Header/></soapenv:Envelope>");
    check(&late, Structure);
    check(&envelope("<soapenv:Header/><soapenv:Header/>", QUERY), Structure);
    check(&envelope("<x/>", QUERY), Structure);
    check(&envelope("x", QUERY), Structure);
    check(&format!("<e:Envelope xmlns:e='{SOAP}'/>"), Structure);
    check(&format!("<e:Envelope xmlns:e='{SOAP}'><e:Header/></e:Envelope>"), Structure);
    check(&format!("<e:Envelope xmlns:e='{SOAP}'><Body>{QUERY}</Body></e:Envelope>"), Structure);
}

#[test]
fn a_second_call_is_seen_behind_a_long_first() {
    let mut reading = Envelope::new();
    let (begin, end) = ("<create>", "</create><delete/></soapenv:Body></soapenv:Envelope>");
    let opened = envelope("", begin).replace("</soapenv:Body></soapenv:Envelope>", "");
    reading.read(opened.as_bytes()).unwrap();
    for _ in 0..1000 {
        reading.read("<row>1</row>".repeat(100).as_bytes()).unwrap();
    }

    assert_eq!(reading.read(end.as_bytes()).unwrap_err(), Calls);
}

#[test]
fn no_document_type_no_instruction_no_other_encoding_or_version() {
    let fine = envelope("", QUERY);
    check(&format!("<!DOCTYPE x [<!ENTITY e \"v\">]>{fine}"), Forbidden);
    check(&format!("<?php x?>{fine}"), Forbidden);
    check(&envelope("", "<query><?x y?></query>"), Forbidden);
    check(&format!("<?xml version='1.0' encoding='UTF-16'?>{fine}"), Encoding);
    check(&format!("<?xml version='1.1'?>{fine}"), Malformed);
    check(&format!(" <?xml version='1.0'?>{fine}"), Malformed);
    check(&fine.replace("<soapenv:Body>", "<soapenv:Body><?xml version='1.0'?>"), Malformed);
    check(&fine.replace(SOAP, "http://www.w3.org/2003/05/soap-envelope"), Version);
    check("<html/>", Version);
}

#[test]
fn bytes_that_are_not_utf8_are_refused_anywhere() {
    for bad in [&b"\xff"[..], b"\xc0\xbc", b"\xed\xa0\x80", b"\xe9 "] {
        let (begin, end) = (envelope("", "<q>"), "</q>");
        let begin = begin.strip_suffix("</soapenv:Body></soapenv:Envelope>").unwrap();
        let text = [begin.as_bytes(), bad, end.as_bytes()].concat();
        assert_eq!(read_in(&text, 1000), Err(Encoding), "{bad:?}");
        assert_eq!(read_in(&text, 1), Err(Encoding), "{bad:?}");
    }
    let utf16: Vec<u8> = envelope("", QUERY).encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(read_in(&utf16, 1000).is_err());
}

#[test]
fn tags_match_and_names_are_names() {
    let fine = envelope("", "<q><a></a></q>");
    check(&fine.replace("</a>", "</b>"), Malformed);
    check(&fine.replace("</soapenv:Body>", "</x:Body>"), Malformed);
    check(&fine.replace("</a>", "</a x='y'>"), Malformed);
    for name in ["1a", "-a", "a:b:c", ":a", "a:", "a/b", "a\u{b}b", "a<b", ""] {
        check(&envelope("", &format!("<{name}></{name}>")), Malformed);
    }
    check(&envelope("", "<q a='1' a='2'/>"), Malformed);
    check(&envelope("", "<q a=1/>"), Malformed);
    check(&format!("{fine}{fine}"), Malformed);
    check(&format!("{fine}x"), Structure);
    check(&fine.replace("<q>", "<q><!-- a -- b -->"), Malformed);
}

#[test]
fn what_breaks_off_is_not_complete() {
    let fine = envelope(&with_session("s"), QUERY);
    for cut in 0..fine.len() {
        assert_eq!(read_in(&fine.as_bytes()[..cut], 50), Err(Incomplete), "at {cut}");
    }
    check("not XML at all", Structure);
    check("{\"a\":1}", Structure);
}

#[test]
fn a_head_is_bounded() {
    let padding = "x".repeat(LONGEST_HEAD);
    let header = format!("<soapenv:Header><p>{padding}</p></soapenv:Header>");
    check(&envelope(&header, QUERY), LongHead);
    check(&format!("<!-- {padding} -->{}", envelope("", QUERY)), LongHead);
    check(&envelope("", &format!("<login><password>{padding}</password></login>")), LongHead);
    // Behind the head, length is no matter.
    let long = envelope("", &format!("<create>{padding}</create>"));
    assert!(read_in(long.as_bytes(), 4096).is_ok());
}

#[test]
fn a_token_and_the_depth_are_bounded() {
    let long = "x".repeat(LONGEST_HEAD * 5);
    let in_call = |what: &str| envelope("", &format!("<create>{what}</create>"));
    assert_eq!(read_in(in_call(&format!("<![CDATA[{long}]]>")).as_bytes(), 4096), Err(LongToken));
    assert_eq!(read_in(in_call(&format!("<a b='{long}'/>")).as_bytes(), 4096), Err(LongToken));
    // In one piece it is as long.
    assert_eq!(read_in(in_call(&format!("<!--{long}-->")).as_bytes(), 1 << 20), Err(LongToken));
    let deep =
        |levels: usize| in_call(&format!("{}{}", "<a>".repeat(levels), "</a>".repeat(levels)));
    assert!(read(&deep(97)).is_ok());
    check(&deep(98), Depth);
    let long_names = format!("<{}>", "n".repeat(9000)).repeat(3);
    assert_eq!(read_in(in_call(&long_names).as_bytes(), 4096), Err(Depth));
}

#[test]
fn single_bytes_cost_no_more_than_pieces() {
    // A tag that does not end, byte by byte: read anew for each, it would cost billions of steps.
    let mut reading = Envelope::new();
    let opened = envelope("", "<create>").replace("</soapenv:Body></soapenv:Envelope>", "");
    reading.read(opened.as_bytes()).unwrap();
    let begun = std::time::SystemTime::now();
    let outcome = (0..1_000_000).try_for_each(|at| reading.read(if at == 0 { b"<" } else { b"a" }));

    assert_eq!(outcome, Err(LongToken));
    assert!(begun.elapsed().unwrap().as_secs() < 5);
}

#[test]
fn attributes_that_are_compared_with_each_other_are_few() {
    let many: String = (0..4_000).map(|number| format!(" a{number}=''")).collect();
    let in_header = envelope(&format!("<soapenv:Header{many}/>"), QUERY);
    let in_call = envelope("", &format!("<create><row{many}/></create>"));

    assert_eq!(read_in(in_header.as_bytes(), 4096).err(), Some(Attributes));
    assert!(read_in(in_call.as_bytes(), 4096).is_ok(), "there, nobody looks at them");
    let some: String = (0..100).map(|number| format!(" a{number}=''")).collect();
    assert!(read(&envelope(&format!("<soapenv:Header{some}/>"), QUERY)).is_ok());
}
