//! SOAP calls on the road.

use http::StatusCode;
use tokio::time::{Duration, Instant, sleep};

use super::scene::{Reply, SECRET, Scene};

const SECOND: Duration = Duration::from_secs(1);

/// An envelope with that header, a whole element or nothing, and that call.
fn envelope(header: &str, call: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\">\n {header}<soapenv:Body>{call}</soapenv:Body></soapenv:Envelope>\r\n"
    )
}

fn session(text: &str) -> String {
    format!(
        "<soapenv:Header><ns1:SessionHeader xmlns:ns1=\"http://api.zuora.com/\"><ns1:session>{text}</ns1:session></ns1:SessionHeader></soapenv:Header>"
    )
}

const QUERY: &str = "<ns1:query xmlns:ns1=\"http://api.zuora.com/\"><ns1:queryString>select Id from Account</ns1:queryString></ns1:query>";

fn answer() -> Reply {
    Reply::new(200, envelope("", "<ns1:queryResponse xmlns:ns1=\"http://api.zuora.com/\"/>"))
        .with("content-type", "text/xml;charset=UTF-8")
}

fn fault(status: u16, word: &str) -> Reply {
    Reply::new(status, zuora::soap::fault(word, "as Zuora says it", false))
        .with("content-type", "text/xml;charset=UTF-8")
}

/// What a SOAP stack reads of a failure.
#[track_caller]
fn is_fault(answer: &super::scene::Answer, status: u16, reason: &str, word: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.field("content-type"), "text/xml;charset=utf-8");
    assert_eq!(answer.field("zuora-gateway-error"), reason, "{answer:?}");
    let code = format!("<faultcode>fns:{word}</faultcode>");
    assert!(answer.body.contains(&code), "{}", answer.body);
    assert!(!answer.body.contains("success"), "{}", answer.body);
}

#[tokio::test(start_paused = true)]
async fn a_session_of_the_tenants_is_put_in_and_the_rest_is_as_it_was() {
    let scene = Scene::of([answer()]);
    let sent = envelope("", QUERY);

    let answer = scene.soap(&[("content-md5", "x"), ("soapaction", "\"\"")], &sent).await;

    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let asked = &scene.asked()[0];
    let header = session("token-1");
    assert_eq!(asked.body, sent.replace("<soapenv:Body>", &format!("{header}<soapenv:Body>")));
    assert_eq!(asked.field("content-length"), asked.body.len().to_string());
    assert_eq!(asked.field("host"), "soap-zuora");
    assert_eq!(asked.path, "/apps/services/a/91.0");
    // Zuora takes an OAuth token in the envelope only beside its field.
    assert_eq!(asked.fields("authorization"), ["Bearer token-1"]);
    assert!(!asked.has("content-md5"), "it speaks of other bytes");
}

fn login(username: &str, password: &str) -> String {
    zuora::soap::login_request(username, password, None, None)
}

const NOBODY: (&str, &str) = ("authorization", "");

#[tokio::test(start_paused = true)]
async fn who_logs_in_gets_a_session_and_an_address_of_ours() {
    let scene = Scene::of([answer()]);

    let logged_in = scene.soap(&[NOBODY], &login("app", SECRET)).await;

    assert_eq!(logged_in.status, StatusCode::OK, "{logged_in:?}");
    assert_eq!(logged_in.field("content-type"), "text/xml;charset=utf-8");
    assert_eq!(logged_in.field("cache-control"), "no-store");
    let got = zuora::soap::read_login_answer(logged_in.body.as_bytes()).unwrap();
    assert_eq!(got.server_url.unwrap(), "http://gateway/apps/services/a/91.0");
    assert!(got.session.len() <= 512, "as long as Zuora's may be");
    assert_eq!(scene.asked().len(), 0, "nobody else heard of the password");

    // It is all that the next call brings, and Zuora does not see it.
    let sent = envelope(&session(&got.session), QUERY);
    let answer = scene.soap(&[NOBODY], &sent).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(scene.asked()[0].body, envelope(&session("token-1"), QUERY));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_login_is_told_as_such() {
    let scene = Scene::of([]);
    for (username, password) in [("app", "wrong"), ("nobody", SECRET), ("app", ""), ("", "")] {
        let answer = scene.soap(&[NOBODY], &login(username, password)).await;
        is_fault(&answer, 500, "unauthenticated", "INVALID_LOGIN");
        assert!(answer.body.contains("<fns:LoginFault>"), "{answer:?}");
        assert!(!answer.body.contains(SECRET));
    }
    // A credential in its fields is no login.
    let answer = scene.soap(&[], &login("app", "wrong")).await;
    is_fault(&answer, 500, "unauthenticated", "INVALID_LOGIN");
    let counted = scene.counted();
    for (app, number) in [("app", 3), ("unknown", 2)] {
        let rejected = format!("app=\"{app}\",reason=\"unknown\"}} {number}\n");
        assert!(counted.contains(&rejected), "{counted}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_none_of_ours_makes_clients_log_in_again() {
    let scene = Scene::of([answer()]);
    let logged_in = scene.soap(&[NOBODY], &login("app", SECRET)).await;
    let ours = zuora::soap::read_login_answer(logged_in.body.as_bytes()).unwrap().session;
    for wrong in ["", "zuoras-own", "token-1", SECRET, &ours[1..], &ours[..ours.len() - 1]] {
        let wrong = wrong.replace(' ', "-");
        let answer = scene.soap(&[NOBODY], &envelope(&session(&wrong), QUERY)).await;
        is_fault(&answer, 500, "unauthenticated", "INVALID_SESSION");
        assert!(wrong.is_empty() || !answer.body.contains(&wrong));
    }
    // Beside a right credential as well: a wrong one is not nothing.
    let answer = scene.soap(&[], &envelope(&session("zuoras-own"), QUERY)).await;
    is_fault(&answer, 500, "unauthenticated", "INVALID_SESSION");
    let answer = scene.soap(&[], &envelope(&session(&ours), QUERY)).await;
    assert_eq!(answer.status, StatusCode::OK, "both right: {answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_stands_for_the_entity_that_it_was_asked_for() {
    let scene = Scene::of([answer(), answer()]);
    for (entity, field) in [
        ("2c92c0f8-5f68-1234-0160-0a1b2c3d4e5f", "zuora-entity-ids"),
        ("2c92c0f85f6812340160", "entityid"),
    ] {
        let login = zuora::soap::login_request("app", SECRET, Some(entity), None);
        let logged_in = scene.soap(&[NOBODY], &login).await;
        let got = zuora::soap::read_login_answer(logged_in.body.as_bytes()).unwrap().session;

        scene.soap(&[NOBODY], &envelope(&session(&got), QUERY)).await;

        let asked = scene.asked().pop().unwrap();
        assert_eq!(asked.field(field), entity);
        assert!(!asked.body.contains(entity), "the session is the tenant's");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_zuora_does_not_take_is_replaced_once() {
    let refused = || fault(500, "INVALID_SESSION");
    let scene = Scene::of([refused(), answer()]).with_tokens_of_age(60 * SECOND).await;

    let answer = scene.soap(&[], &envelope("", QUERY)).await;

    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.field("zuora-gateway-attempts"), "2");
    let asked = scene.asked();
    assert_eq!(asked[1].body, asked[0].body.replace("token-1", "token-2"));
    assert_eq!(asked[1].field("authorization"), "Bearer token-2");

    let scene = Scene::of([refused(), refused()]).with_tokens_of_age(60 * SECOND).await;
    let answer = scene.soap(&[], &envelope("", QUERY)).await;
    assert!(answer.body.contains("as Zuora says it"), "{answer:?}");
    assert_eq!(scene.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_long_envelope_flows_through_with_its_session() {
    let rows = "<ns1:row xmlns:ns1=\"http://api.zuora.com/\">1</ns1:row>".repeat(40_000);
    let sent = envelope(
        "",
        &format!("<ns1:create xmlns:ns1=\"http://api.zuora.com/\">{rows}</ns1:create>"),
    );
    let header = session("token-1");
    let expected = sent.replace("<soapenv:Body>", &format!("{header}<soapenv:Body>"));
    let scene = Scene::of([answer(), answer()]);

    let in_one = scene.soap(&[], &sent).await;
    let in_chunks = scene.soap_in_chunks(&sent).await;

    assert_eq!((in_one.status, in_chunks.status), (StatusCode::OK, StatusCode::OK));
    let asked = scene.asked();
    assert!(asked.iter().all(|asked| asked.body == expected), "both as they were");
    assert_eq!(asked[0].field("content-length"), expected.len().to_string());
    assert!(!asked[1].has("content-length"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_waited_out_in_soap_as_well() {
    let refused = fault(429, "REQUEST_EXCEEDED_LIMIT").with("retry-after", "5");
    let scene = Scene::of([refused, answer()]);

    let answer = scene.soap(&[], &envelope("", QUERY)).await;

    assert_eq!(answer.status, StatusCode::OK);
    let asked = scene.asked();
    assert!(asked[1].at - asked[0].at >= 5 * SECOND);
    assert_eq!(asked[0].body, asked[1].body);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_zuora_may_have_executed_is_not_repeated() {
    let scene = Scene::of([Reply::cut()]);

    let answer = scene.soap(&[], &envelope("", QUERY)).await;

    // No word by which a client would send it again.
    is_fault(&answer, 502, "upstream-broke", "TRANSACTION_TIMEOUT");
    assert_eq!(answer.field("zuora-gateway-executed"), "maybe");
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_made_here_are_faults_with_their_fields() {
    let scene = Scene::of([fault(429, "REQUEST_EXCEEDED_LIMIT").with("retry-after", "120")]);
    let answer = scene.soap(&[], &envelope("", QUERY)).await;
    is_fault(&answer, 429, "cooldown", "REQUEST_EXCEEDED_LIMIT");
    assert_eq!(answer.field("retry-after"), "120");

    let scene = Scene::of([]);
    let fields = [("authorization", "Bearer wrong")];
    let answer = scene.soap(&fields, &envelope("", QUERY)).await;
    is_fault(&answer, 500, "unauthenticated", "INVALID_SESSION");
    assert_eq!(answer.field("www-authenticate"), "", "it is no 401");
    let answer = scene.soap(&[("zuora-track-id", "a:b")], &envelope("", QUERY)).await;
    is_fault(&answer, 500, "bad-request", "INVALID_VALUE");
    let answer = scene.soap(&[("via", "1.1 zuora-gateway")], "").await;
    is_fault(&answer, 500, "bad-request", "INVALID_VALUE");

    let scene = Scene::of([]).refusing_connections(1000);
    let answer = scene.soap(&[], &envelope("", QUERY)).await;
    is_fault(&answer, 502, "upstream-unreachable", "SERVER_UNAVAILABLE");
}

#[tokio::test(start_paused = true)]
async fn what_can_be_read_in_two_ways_is_refused_before_anybody_is_asked() {
    let scene = Scene::of([]);
    let fine = envelope("", QUERY);
    for bad in [
        envelope("", &format!("{QUERY}<delete/>")),
        envelope(&session("a").repeat(2), QUERY),
        envelope(&session("<![CDATA[a]]>"), QUERY),
        format!("<!DOCTYPE x>{fine}"),
        fine[..fine.len() - 20].to_owned(),
        "{}".to_owned(),
        String::new(),
    ] {
        // Even of callers whom nobody knows.
        let answer = scene.soap(&[("authorization", "")], &bad).await;
        is_fault(&answer, 500, "bad-request", "INVALID_VALUE");
    }
    for fields in [
        [("content-encoding", "gzip")],
        [("content-type", "text/xml; charset=UTF-16")],
        [("content-type", "text/xml;charset = \"utf-7\"")],
        [("soapaction", "\"http://api.zuora.com/delete\"")],
        [("soapaction", "delete")],
    ] {
        is_fault(&scene.soap(&fields, &fine).await, 500, "bad-request", "INVALID_VALUE");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_body_that_is_nothing_but_the_envelope_is_taken() {
    let scene = Scene::of([]);
    // To whoever goes by the type, the envelope is the one in the text.
    let other = envelope("", "<delete/>");
    let part = format!("\r\n--x\r\nContent-Type: text/xml\r\n\r\n{other}\r\n--x--\r\n");
    let sent = envelope("", &format!("<query><![CDATA[{part}]]></query>"));
    for media in [
        "multipart/related; boundary=x; type=\"text/xml\"",
        "application/x-www-form-urlencoded",
        "application/json",
        "text/xml, multipart/related",
        "",
    ] {
        let answer = scene.soap(&[("content-type", media)], &sent).await;
        is_fault(&answer, 500, "bad-request", "INVALID_VALUE");
    }
    assert_eq!(scene.asked().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn credentials_of_ws_security_are_refused_with_what_to_use() {
    let scene = Scene::of([]);
    let security = "<soapenv:Header><w:Security xmlns:w=\"urn:w\"><w:Password>p-word</w:Password></w:Security></soapenv:Header>";

    let answer = scene.soap(&[], &envelope(security, QUERY)).await;

    is_fault(&answer, 500, "bad-request", "INVALID_VALUE");
    assert!(answer.body.contains("login") && answer.body.contains("Authorization"), "{answer:?}");
    assert!(!answer.body.contains("p-word"));
    assert_eq!(scene.asked().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_entity_is_not_forgotten_for_its_name_alone() {
    let scene = Scene::of([]);
    let login = zuora::soap::login_request("app", SECRET, None, Some("Germany"));

    let answer = scene.soap(&[NOBODY], &login).await;

    is_fault(&answer, 500, "bad-request", "INVALID_VALUE");
    assert!(answer.body.contains("entities"), "it says what to set: {answer:?}");
}

#[tokio::test(start_paused = true)]
async fn over_http2_the_end_of_an_envelope_is_seen_as_well() {
    let whole = envelope("", &format!("<create>{}</create>", "<row>1</row>".repeat(200_000)));
    let scene = Scene::of([answer()]);

    let answer = scene.soap_over_http2(&whole.replace("</soapenv:Envelope>\r\n", "")).await;
    assert_ne!(answer, StatusCode::OK);
    assert_eq!(scene.asked().len(), 0, "no whole request");

    assert_eq!(scene.soap_over_http2(&whole).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn what_clients_say_of_an_envelope_is_taken() {
    let fields = [
        ("content-type", "text/xml; charset=\"UTF-8\""),
        ("content-type", "text/xml;charset=utf-8;action=\"query\""),
        ("content-type", "application/xml"),
        ("content-type", "Text/XML ;charset=utf-8"),
        ("soapaction", "query"),
        ("soapaction", "\"http://api.zuora.com/query\""),
        ("soapaction", "\"\""),
    ];
    let scene = Scene::of(fields.map(|_| answer()));
    for field in fields {
        let answer = scene.soap(&[field], &envelope("", QUERY)).await;
        assert_eq!(answer.status, StatusCode::OK, "{field:?} {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_call_behind_a_long_first_never_reaches_zuora_whole() {
    let rows = "<row>1</row>".repeat(200_000);
    let sent = envelope("", &format!("<create>{rows}</create><delete/>"));
    let scene = Scene::of([answer(), answer()]);

    let in_one = scene.soap(&[], &sent).await;
    let in_chunks = scene.soap_in_chunks(&sent).await;

    is_fault(&in_one, 500, "bad-request", "INVALID_VALUE");
    is_fault(&in_chunks, 500, "bad-request", "INVALID_VALUE");
    assert_eq!(scene.asked().len(), 0, "no whole request");
}

#[tokio::test(start_paused = true)]
async fn a_long_envelope_that_ends_badly_never_reaches_zuora_whole() {
    let whole = envelope("", &format!("<create>{}</create>", "<row>1</row>".repeat(200_000)));
    let scene = Scene::of([]);
    for bad in [
        // Something is missing at its end, and something stands behind it.
        whole.replace("</soapenv:Envelope>\r\n", ""),
        whole.replace("</soapenv:Envelope>\r\n", "</soapenv:Envelope"),
        whole.replace("</soapenv:Envelope>\r\n", "</soapenv:Envelope>\r\n<!-- "),
    ] {
        is_fault(&scene.soap(&[], &bad).await, 500, "bad-request", "INVALID_VALUE");
        is_fault(&scene.soap_in_chunks(&bad).await, 500, "bad-request", "INVALID_VALUE");
    }
    assert_eq!(scene.asked().len(), 0, "no whole request");
}

#[tokio::test(start_paused = true)]
async fn no_spelling_of_the_path_passes_unopened() {
    let scene = Scene::of([]);
    let bad = envelope("", &format!("{QUERY}<delete/>"));
    for path in [
        "/APPS/Services/a/91.0",
        "/%61pps/services/a/91.0",
        "/apps%2Fservices/a/91.0",
        "//apps//services/a/91.0",
        "/apps;v=1/services/a/91.0",
        "/apps/services/a/91.0/delete",
        "/apps/services",
    ] {
        let answer = scene.post(path, &bad).await;
        assert!(answer.body.contains("Fault>"), "{path} {answer:?}");
    }
    let answer = scene.put("/apps/services/a/91.0", &bad).await;
    is_fault(&answer, 404, "not-found", "INVALID_VALUE");
}

#[tokio::test(start_paused = true)]
async fn what_else_is_under_apps_goes_to_the_same_host_as_it_is() {
    let scene = Scene::of([Reply::ok(), Reply::ok()]);

    scene.get("/apps/servlet/GenerateWsdl?version=91.0").await;
    scene.post("/apps/api/batch-query/", "{}").await;

    let asked = scene.asked();
    assert!(asked.iter().all(|asked| asked.field("host") == "soap-zuora"));
    assert_eq!(asked[1].body, "{}");
    assert_eq!(asked[0].field("authorization"), "Bearer token-1");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_soap_login_keeps_no_permit_from_others() {
    let scene = Scene::of([Reply::ok()]).with_a_silent_soap_login();
    let began = Instant::now();
    let later = async {
        sleep(SECOND).await;
        (scene.get("/v1/accounts").await, began.elapsed())
    };

    let sent = envelope("", QUERY);
    let (soap, (rest, took)) = tokio::join!(scene.soap(&[], &sent), later);

    assert_eq!((rest.status, took), (StatusCode::OK, SECOND), "{rest:?}");
    is_fault(&soap, 503, "token-unavailable", "SERVER_UNAVAILABLE");
    assert_eq!(scene.permits_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_its_address_it_says_what_to_set() {
    let scene = Scene::of([]).without_soap();

    let answer = scene.soap(&[], &envelope("", QUERY)).await;
    is_fault(&answer, 404, "not-found", "INVALID_VALUE");
    assert!(answer.body.contains("soap_url"));

    let answer = scene.get("/apps/servlet/GenerateWsdl").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.body.contains("soap_url") && answer.body.contains("50000040"), "{answer:?}");
}
