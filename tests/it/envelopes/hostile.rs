//! Envelopes that could be read in two ways, and what is no envelope: nobody hears of them.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use testkit::SECRET;

use super::{ADDRESS, QUERY, call, envelope, is_a_fault, login, session, soap};

#[tokio::test]
async fn an_envelope_with_two_meanings_is_taken_in_none() {
    let soap = soap(&[r#"deny: ["SOAP delete"]"#]).await;
    let own = &soap.session;
    let good = envelope(own, QUERY);
    let header = format!("<ns1:SessionHeader><ns1:session>{own}</ns1:session></ns1:SessionHeader>");
    let theirs = "<ns1:SessionHeader><ns1:session>of-zuora</ns1:session></ns1:SessionHeader>";
    let body = format!("<soapenv:Body>{QUERY}</soapenv:Body>");
    let evil = "<soapenv:Body><ns1:delete/></soapenv:Body>";
    let cases = [
        ("two sessions", good.replace(&header, &format!("{header}{theirs}"))),
        ("two sessions, the other first", good.replace(&header, &format!("{theirs}{header}"))),
        ("two in one", good.replace("</ns1:session>", "</ns1:session><ns1:session>of-zuora</ns1:session>")),
        ("one within", good.replace(own.as_str(), &format!("<ns1:session>{own}</ns1:session>"))),
        ("in a comment", good.replace(own.as_str(), &format!("{own}<!-- x -->"))),
        ("in CDATA", good.replace(own.as_str(), &format!("<![CDATA[{own}]]>"))),
        ("of another space", good.replace(&header, &format!("{header}<x:SessionHeader xmlns:x=\"http://api.zuora.com\"><x:session>of-zuora</x:session></x:SessionHeader>"))),
        ("two bodies", good.replace(&body, &format!("{body}{evil}"))),
        ("two bodies, evil first", good.replace(&body, &format!("{evil}{body}"))),
        ("two calls", good.replace(QUERY, &format!("{QUERY}<ns1:delete/>"))),
        ("no call", good.replace(QUERY, "")),
        ("text for a call", good.replace(QUERY, "delete")),
        ("a second envelope", format!("{good}{good}")),
        ("text behind it", format!("{good}x")),
        ("a header behind the body", good.replace("</soapenv:Envelope>", &format!("<soapenv:Header>{theirs}</soapenv:Header></soapenv:Envelope>"))),
        ("a document type", good.replace("?>\n", "?>\n<!DOCTYPE x [<!ENTITY s \"of-zuora\">]>\n")),
        ("an external document type", good.replace("?>\n", "?>\n<!DOCTYPE x SYSTEM \"http://127.0.0.1:1/x\">\n")),
        ("an entity", good.replace(own.as_str(), "&s;")),
        ("an instruction", good.replace("<soapenv:Header>", "<?xml-stylesheet href=\"x\"?><soapenv:Header>")),
        ("SOAP 1.2", good.replace("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")),
        ("no namespace", good.replace("http://schemas.xmlsoap.org/soap/envelope/", "http://x/")),
        ("another encoding", good.replace("UTF-8", "UTF-7")),
        ("latin 1", good.replace("UTF-8", "ISO-8859-1")),
        ("not well formed", good.replace("</soapenv:Header>", "")),
        ("crossed tags", good.replace("</ns1:session></ns1:SessionHeader>", "</ns1:SessionHeader></ns1:session>")),
        ("an attribute twice", good.replace("<ns1:query>", "<ns1:query a=\"1\" a=\"2\">")),
        ("cut off", good[..good.len() - 30].to_owned()),
        ("nothing", String::new()),
        ("JSON", r#"{"query":"x"}"#.to_owned()),
        ("a header that goes on and on", good.replace("<soapenv:Header>", &format!("<soapenv:Header>{}", "<x xmlns=\"x\">y</x>".repeat(10_000)))),
        ("deep", good.replace("<soapenv:Header>", &format!("<soapenv:Header>{}", "<x>".repeat(5_000)))),
        ("NUL", good.replace(own.as_str(), &format!("{own}\0"))),
        ("a login with a session", good.replace(QUERY, "<ns1:login><ns1:username>a</ns1:username><ns1:username>app</ns1:username></ns1:login>")),
    ];
    for (what, text) in cases {
        assert_ne!(text, good, "{what}");
        soap.fault(what, "", &text).await;
        // A proof of its own makes an envelope no clearer.
        soap.fault(what, &format!("Authorization: Bearer {SECRET}\r\n"), &text).await;
    }
    soap.pass("good", "", &good).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_not_passed_on() {
    let soap = soap(&[]).await;
    let text = envelope(&soap.session, QUERY);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let wide: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let mut latin = text.clone().into_bytes();
    let at = text.find("Account").unwrap();
    latin[at] = 0xE9;
    for (what, fields, body) in [
        ("gzip", "Content-Encoding: gzip\r\n", packed),
        ("UTF-16", "", wide),
        ("not UTF-8", "", latin),
    ] {
        soap.scene.upstream.forget();
        let length = body.len();
        let head = format!(
            "POST {ADDRESS} HTTP/1.1\r\nHost: gw\r\nContent-Type: text/xml\r\n{fields}Content-Length: {length}\r\n\r\n"
        );
        let answer = soap.scene.exchange(what, [head.as_bytes(), &body].concat()).await.answer;
        is_a_fault(what, &answer);
        assert_eq!(soap.scene.upstream.received().len(), 0, "{what}");
    }
}

/// Zuora would read other characters, and perhaps another call, from the same bytes.
#[tokio::test]
async fn an_envelope_that_says_it_is_written_otherwise_is_not_passed_on() {
    let soap = soap(&[]).await;
    let text = envelope(&soap.session, QUERY);
    let cases = [
        "Content-Encoding: gzip\r\n",
        "Content-Encoding: identity, deflate\r\n",
        "Content-Type: text/xml; charset=utf-16\r\n",
        "Content-Type: text/xml; charset=\"UTF-7\"\r\n",
        "Content-Type: text/xml;charset = iso-8859-1\r\n",
        "Content-Type: text/xml; charset=utf-8; charset=utf-16\r\n",
        "Content-Type: text/xml; charset*=utf-16\r\n",
    ];
    for fields in cases {
        soap.scene.upstream.forget();
        let plain = "Content-Type: text/xml; charset=utf-8\r\n";
        let others = if fields.starts_with("Content-Type") { "" } else { plain };
        let asked = call(fields, &text).replacen(plain, others, 1);
        let answer = soap.scene.exchange(fields, asked).await.answer;
        is_a_fault(fields, &answer);
        assert_eq!(soap.scene.upstream.received().len(), 0, "{fields}");
    }
    for fields in
        ["Content-Type: text/xml\r\n", "Content-Type: TEXT/XML; action=x; charset=\"UTF-8\"\r\n"]
    {
        soap.scene.upstream.forget();
        let asked =
            call(fields, &text).replacen("Content-Type: text/xml; charset=utf-8\r\n", "", 1);
        let answer = soap.scene.exchange(fields, asked).await.answer;
        assert_eq!((answer.status, soap.scene.upstream.requests().len()), (200, 1), "{fields}");
    }
}

#[tokio::test]
async fn soap_is_soap_however_its_address_is_spelt() {
    let soap = soap(&[r#"deny: ["SOAP delete"]"#]).await;
    let text = envelope(&soap.session, "<ns1:delete/>");
    for address in [
        "/apps/services/a/91.0/",
        "/apps/services/a/91.0?x=1",
        "/apps//services/a/91.0",
        "//apps/services/a/91.0",
        "/apps/services/a",
        "/apps/services/a/",
        "/apps/services/a/x",
        "/apps/services/%61/91.0",
        "/%61pps/services/a/91.0",
        "/apps/services/A/91.0",
        "/APPS/services/a/91.0",
        "/apps/services;x/a/91.0",
        "/apps/services/a%2f91.0",
        "/apps/services/b/91.0",
        "/apps/x/../services/a/91.0",
        "/rest/apps/services/a/91.0",
        "/v1/apps/services/a/91.0",
    ] {
        for fields in ["", &format!("Authorization: Bearer {SECRET}\r\n")] {
            soap.scene.upstream.forget();
            let asked = call(fields, &text).replace(ADDRESS, address);
            let answer = soap.scene.exchange(address, asked).await.answer;
            for received in soap.scene.upstream.requests() {
                let received = received.text();
                // What an app writes into the body of a REST call is its own business.
                let is_rest = address.starts_with("/v1/") || address.starts_with("/rest/");
                assert!(is_rest, "{address} {fields}: {answer:?}: {received}");
            }
        }
    }
}

#[tokio::test]
async fn a_login_that_waits_for_its_end_keeps_nobody() {
    let soap = soap(&[]).await;
    // What is no login to us must not become one at Zuora with what an app says.
    let login = login("app", SECRET);
    let odd = [
        login.replace("api:login>", "api:Login>"),
        login.replace("</api:login>", "<api:username>x</api:username></api:login>"),
        login.replace("<api:login>", "<api:login><!-- x -->"),
        login.replace("</api:password>", "</api:password><api:x>1</api:x>"),
        login.replace("http://api.zuora.com/", "http://object.api.zuora.com/"),
        login.replace("</api:login>", "</api:login><api:query/>"),
        login.replace("<api:username>app", "<api:username><![CDATA[app]]>"),
    ];
    for text in odd {
        soap.scene.upstream.forget();
        let answer = soap.scene.exchange("odd", call("", &text)).await.answer;
        assert_eq!(soap.scene.upstream.received().len(), 0, "{text}: {answer:?}");
        assert!(!answer.text().contains(SECRET));
    }
    assert!(!session(&soap.scene, "app", SECRET).await.is_empty());
}
