//! Envelopes as SOAP stacks write them.

use std::time::Duration;

use testkit::{APP, SECRET};

use super::{
    ADDRESS, OTHER_SECRET, QUERY, between, call, envelope, is_a_fault, login, session, soap,
};
use crate::wire::attack::Scene;
use crate::wire::upstream::SHARED_TOKEN;

#[tokio::test]
async fn only_the_session_of_an_envelope_changes() {
    let soap = soap(&[]).await;
    let own = &soap.session;
    let envelopes = [
        envelope(own, QUERY),
        // Other prefixes, none at all, single quotes, spaces in tags, references in text.
        format!(
            "<S:Envelope xmlns:S='http://schemas.xmlsoap.org/soap/envelope/' ><S:Header ><z:SessionHeader xmlns:z = \"http://api.zuora.com/\"\n><z:session >{own}</z:session\n></z:SessionHeader></S:Header><S:Body><q:query xmlns:q='http://api.zuora.com/'><q:queryString>&lt;&#65;&quot;</q:queryString></q:query></S:Body></S:Envelope>"
        ),
        format!(
            "<Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\"><Header><SessionHeader xmlns=\"http://api.zuora.com/\"><session>{own}</session></SessionHeader></Header><Body><query xmlns=\"http://api.zuora.com/\"><queryString>x</queryString></query></Body></Envelope>"
        ),
        // Other headers around it, what must be understood among them; comments and CDATA elsewhere.
        format!(
            "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:a=\"http://api.zuora.com/\"><!-- <a:session>x</a:session> --><e:Header><a:CallOptions><a:useSingleTransaction>true</a:useSingleTransaction></a:CallOptions><a:SessionHeader e:mustUnderstand=\"0\"><a:session>{own}</a:session></a:SessionHeader><a:QueryOptions><a:batchSize>9</a:batchSize></a:QueryOptions></e:Header><e:Body><a:create><a:zObjects><a:Name><![CDATA[</e:Body><a:session>]]></a:Name></a:zObjects></a:create></e:Body></e:Envelope>"
        ),
        // Space around the session, a BOM, text in other scripts.
        format!(
            "\u{feff}{}",
            envelope(
                &format!("\n  {own}\t "),
                "<ns1:create><ns1:Name>żółć 😀</ns1:Name></ns1:create>"
            )
        ),
    ];
    for text in envelopes {
        let received = soap.pass(&text, "", &text).await;
        let (before, after) = text.split_once(own.as_str()).unwrap();
        let body = String::from_utf8(received.body().to_vec()).unwrap();
        // What stands around the session may go with it, but only space.
        let (before, after) = (before.trim_end(), after.trim_start());
        assert!(body.starts_with(before) && body.ends_with(after), "{text}\n{body}");
        let inner = &body[before.len()..body.len() - after.len()];
        assert_eq!(inner.trim(), SHARED_TOKEN, "{text}\n{body}");
        assert_eq!(received.fields("authorization"), [format!("Bearer {SHARED_TOKEN}")], "{body}");
        assert_eq!(received.fields("soapaction"), ["\"\""]);
    }
}

#[tokio::test]
async fn a_session_is_put_where_an_app_that_proves_itself_otherwise_sent_none() {
    let soap = soap(&[]).await;
    let fields = format!("Authorization: Bearer {SECRET}\r\n");
    let space = "http://schemas.xmlsoap.org/soap/envelope/";
    let body = "<e:Body><query xmlns=\"http://api.zuora.com/\"><queryString>x</queryString></query></e:Body>";
    for header in
        ["", "<e:Header/>", "<e:Header></e:Header>", "<e:Header><x:X xmlns:x=\"x\"/></e:Header>"]
    {
        let text = format!("<e:Envelope xmlns:e=\"{space}\">{header}{body}</e:Envelope>");
        let received = soap.pass(header, &fields, &text).await;
        let sent = String::from_utf8(received.body().to_vec()).unwrap();
        assert_eq!(between(&sent, "session>", "</").trim(), SHARED_TOKEN, "{sent}");
        assert_eq!(sent.matches(SHARED_TOKEN).count(), 1, "{sent}");
        assert!(
            sent.contains(body) && sent.starts_with(&format!("<e:Envelope xmlns:e=\"{space}\"")),
            "{sent}"
        );
        let header = between(&sent, "<e:Header>", "</e:Header>");
        assert!(
            header.contains("SessionHeader") && header.contains("http://api.zuora.com/"),
            "{sent}"
        );
    }
}

#[tokio::test]
async fn an_envelope_may_flow_and_be_longer_than_is_kept() {
    let soap = soap(&["queue_timeout: 20s"]).await;
    let rows = "<ns1:zObjects><ns1:Name>abcdefgh</ns1:Name></ns1:zObjects>".repeat(60_000);
    let text = envelope(&soap.session, &format!("<ns1:create>{rows}</ns1:create>"));
    assert!(text.len() > 3_000_000);

    let received = soap.pass("long", "", &text).await;

    assert_eq!(received.body(), text.replace(&soap.session, SHARED_TOKEN).as_bytes());

    // In chunks, cut anywhere, with time between.
    let text = envelope(&soap.session, QUERY);
    let at = text.find(&soap.session).unwrap() + 7;
    for cut in [1, 60, at, text.len() - 9] {
        soap.scene.upstream.forget();
        let head = format!(
            "POST {ADDRESS} HTTP/1.1\r\nHost: gw\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let mut raw = testkit::Raw::connect(soap.scene.address()).await;
        raw.write(format!("{head}{cut:x}\r\n{}\r\n", &text[..cut])).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        raw.write(format!("{:x}\r\n{}\r\n0\r\n\r\n", text.len() - cut, &text[cut..])).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, 200, "{cut}: {answer:?}");
        let [received] = &soap.scene.upstream.requests()[..] else { panic!("{cut}") };
        assert!(!received.text().contains(&soap.session), "{cut}: {}", received.text());
        assert!(received.text().contains(SHARED_TOKEN), "{cut}: {}", received.text());
    }
}

#[tokio::test]
async fn a_login_is_answered_here_and_sends_its_client_back_here() {
    let soap = soap(&[]).await;
    for name in [APP, "app"] {
        for address in [ADDRESS, "/apps/services/a/68.0"] {
            soap.scene.upstream.forget();
            let asked = call("", &login(name, SECRET)).replace(ADDRESS, address);
            let answer = soap.scene.exchange(name, asked).await.answer;
            let text = answer.text();
            assert_eq!(answer.status, 200, "{text}");
            assert!(answer.field("content-type").is_some_and(|it| it.starts_with("text/xml")));
            assert_eq!(between(&text, "ServerUrl>", "</"), format!("http://gw{address}"), "{text}");
            assert!(between(&text, "Session>", "</").len() <= 512, "{text}");
            assert!(text.contains("loginResponse") && !text.contains(SECRET), "{text}");
            assert_eq!(soap.scene.upstream.received().len(), 0);
        }
    }
    // What must be escaped is escaped: with HTTP Basic, the app's name could be anything.
    let wrong = [
        login("app", "wrong"),
        login("nobody", SECRET),
        login("app", ""),
        login("", ""),
        login("app&lt;", SECRET),
        login("app", OTHER_SECRET),
    ];
    for text in wrong {
        let answer = soap.fault(&text, "", &text).await;
        assert_eq!(answer.status, 500, "{answer:?}");
        assert!(answer.text().contains("INVALID_LOGIN"), "{}", answer.text());
        assert!(
            !answer.text().contains(SECRET) && !answer.text().contains("wrong"),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_session_that_is_not_the_apps_is_told_so_in_zuoras_words() {
    let soap = soap(&[]).await;
    let theirs = session(&soap.scene, "other", OTHER_SECRET).await;
    let ours = format!("Authorization: Bearer {SECRET}\r\n");
    let cases = [
        ("", envelope("nonsense", QUERY)),
        ("", envelope("", QUERY)),
        ("", envelope(&format!("{}x", soap.session), QUERY)),
        ("", envelope(SECRET, QUERY)),
        (ours.as_str(), envelope(&theirs, QUERY)),
        (ours.as_str(), envelope("nonsense", QUERY)),
        ("Cookie: ZSession=nonsense\r\n", envelope(&soap.session, QUERY)),
        ("Authorization: Bearer nonsense\r\n", envelope(&soap.session, QUERY)),
    ];
    for (fields, text) in cases {
        let answer = soap.fault(&text, fields, &text).await;
        assert_eq!(
            (answer.status, answer.field("zuora-gateway-error")),
            (500, Some("unauthenticated")),
            "{text}"
        );
        assert!(answer.text().contains("INVALID_SESSION"), "{}", answer.text());
    }
    let nobody = envelope("", QUERY)
        .replace("<ns1:SessionHeader><ns1:session></ns1:session></ns1:SessionHeader>", "");
    let answer = soap.fault("nobody", "", &nobody).await;
    assert!(answer.text().contains("INVALID_SESSION"), "{}", answer.text());

    // Both proofs of one app are as good as one.
    let received = soap.pass("both", &ours, &envelope(&soap.session, QUERY)).await;
    assert!(!received.text().contains(SECRET));
}

#[tokio::test]
async fn policy_names_calls_by_what_is_in_the_body() {
    let soap = soap(&[r#"deny: ["SOAP delete", "SOAP update"]"#]).await;
    let own = &soap.session;
    soap.pass("a query", "", &envelope(own, QUERY)).await;
    let denied = [
        envelope(own, "<ns1:delete><ns1:type>Account</ns1:type></ns1:delete>"),
        envelope(own, "<ns1:update/>"),
        envelope(own, "<x:delete xmlns:x=\"http://api.zuora.com/\"/>"),
        envelope(own, "<delete xmlns=\"http://api.zuora.com/\"/>"),
        envelope(own, "\n<!-- query -->\n<ns1:delete ></ns1:delete>"),
    ];
    for text in denied {
        for fields in ["", "SOAPAction: query\r\n"] {
            let answer = soap.fault(&text, fields, &text).await;
            // Of two actions, one is not what the other is.
            let error = if fields.is_empty() { "forbidden" } else { "bad-request" };
            let told = (answer.status, answer.field("zuora-gateway-error"));
            assert_eq!(told, (500, Some(error)), "{text}");
        }
    }
    // Letters in another case are another call to a strict reader, and the same to a lenient one.
    soap.fault("case", "", envelope(own, "<ns1:Delete/>")).await;
    soap.fault("space", "", envelope(own, "<delete/>")).await;
}

#[tokio::test]
async fn what_is_not_allowed_is_not_asked_by_soap_either() {
    for keys in [r#"allow: ["GET /v1/**"]"#, r#"allow: ["SOAP query"]"#, "read_only: true"] {
        let soap = soap(&[keys]).await;
        let own = &soap.session;
        let answer = soap.fault(keys, "", envelope(own, "<ns1:create/>")).await;
        assert_eq!(answer.field("zuora-gateway-error"), Some("forbidden"), "{keys}");
        if keys.contains("/v1/") {
            soap.fault(keys, "", envelope(own, QUERY)).await;
        } else {
            soap.pass(keys, "", &envelope(own, QUERY)).await;
        }
    }
    let soap = soap(&[r#"allow: ["SOAP *"]"#, r#"deny: ["SOAP create"]"#]).await;
    soap.pass("a query", "", &envelope(&soap.session, QUERY)).await;
    soap.fault("create", "", envelope(&soap.session, "<ns1:create/>")).await;
}

#[tokio::test]
async fn where_no_soap_is_served_it_says_so() {
    let scene = Scene::start().await;
    scene.upstream.forget();
    let answer = scene
        .exchange(
            "none",
            call(&format!("Authorization: Bearer {SECRET}\r\n"), &envelope("", QUERY)),
        )
        .await
        .answer;
    is_a_fault("none", &answer);
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(answer.text().contains("soap_url"), "{}", answer.text());
    assert_eq!(scene.upstream.received().len(), 0);
}
