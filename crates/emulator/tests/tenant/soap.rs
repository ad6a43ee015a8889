//! SOAP: sessions that end, calls, faults, the description.

use std::time::Duration;

use emulator::{Credential, Fault, FaultKind, LoginKind, Options, ServiceTime, Tenant};

use crate::wire::{Raw, bearer, request, send, start, tenant, token, write};

const PATH: &str = "/apps/services/a/91.0";

/// An envelope, as stacks write them: prefixes of their own, a declaration.
fn envelope(session: Option<&str>, body: &str) -> String {
    let header = session.map_or(String::new(), |session| {
        format!("<a:SessionHeader><a:session>{session}</a:session></a:SessionHeader>")
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <env:Envelope xmlns:env=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:a=\"http://api.zuora.com/\" xmlns:o=\"http://object.api.zuora.com/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <env:Header>{header}</env:Header><env:Body>{body}</env:Body></env:Envelope>"
    )
}

async fn call(tenant: &Tenant, headers: &str, session: Option<&str>, body: &str) -> Raw {
    let headers = format!("{headers}Content-Type: text/xml; charset=utf-8\r\nSOAPAction: \"\"\r\n");
    // In HTTP/1.0, so that a long answer is not in chunks.
    let call = request("POST", PATH, &headers, &envelope(session, body));
    send(tenant.address(), &call.replace("HTTP/1.1", "HTTP/1.0")).await
}

async fn login(tenant: &Tenant) -> String {
    let body = "<a:login><a:username>u</a:username><a:password>p</a:password></a:login>";
    between(&call(tenant, "", None, body).await, "Session").unwrap()
}

fn text(answer: &Raw) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

/// The text of the first element of this name.
fn between(answer: &Raw, name: &str) -> Option<String> {
    let (_, rest) = text(answer).split_once(&format!(":{name}>"))?;
    Some(rest.split_once('<')?.0.to_owned())
}

const QUERY: &str = "<a:query><a:queryString>select Id, AccountNumber, Balance from Account \
                     where AccountNumber = 'A00000002'</a:queryString></a:query>";

#[tokio::test]
async fn a_login_gets_a_session_and_the_address_to_go_on_with() {
    let options = Options {
        soap_user: Some(("u".into(), "p".into())),
        soap_public_url: Some("https://soap.example".into()),
        ..Options::default()
    };
    let tenant = start(options).await;
    let body = |word: &str| {
        format!("<a:login><a:username>u</a:username><a:password>{word}</a:password></a:login>")
    };

    let good = call(&tenant, "", None, &body("p")).await;
    let bad = call(&tenant, "", None, &body("q")).await;

    assert_eq!((good.status, bad.status), (200, 500));
    assert_eq!(
        between(&good, "ServerUrl").as_deref(),
        Some("https://soap.example/apps/services/a/91.0")
    );
    assert!(between(&good, "Session").unwrap().len() <= 512);
    assert_eq!(between(&bad, "FaultCode").as_deref(), Some("INVALID_VALUE"));
    let ledger = tenant.ledger();
    assert_eq!((ledger.soap_logins, ledger.soap_refused), (2, 1));
    assert_eq!(ledger.executed_total, 0, "a login takes no permit");
    let logins: Vec<_> =
        ledger.logins.iter().map(|one| (one.kind, one.user.as_deref(), one.granted)).collect();
    assert_eq!(logins, [(LoginKind::Soap, Some("u"), true), (LoginKind::Soap, Some("u"), false)]);
}

#[tokio::test]
async fn a_session_asks_and_changes() {
    let tenant = tenant(0).await;
    let session = login(&tenant).await;
    let call = async |body: &str| call(&tenant, "", Some(&session), body).await;

    let found = call(QUERY).await;
    let id = between(&found, "Id").unwrap();
    assert!(text(&found).contains("<ns1:records xsi:type=\"ns2:Account\">"));
    assert_eq!(between(&found, "AccountNumber").as_deref(), Some("A00000002"));
    assert_eq!(between(&found, "size").as_deref(), Some("1"));

    let made = call(
        "<a:create><a:zObjects xsi:type=\"o:Account\"><o:Name>A &amp; B</o:Name>\
         <o:Currency>USD</o:Currency></a:zObjects>\
         <a:zObjects xsi:type=\"o:Account\"><o:Currency>USD</o:Currency></a:zObjects></a:create>",
    )
    .await;
    assert_eq!(text(&made).matches("<ns1:Success>true</ns1:Success>").count(), 1);
    assert_eq!(between(&made, "Code").as_deref(), Some("MISSING_REQUIRED_VALUE"));

    let update = format!(
        "<a:update><a:zObjects xsi:type=\"o:Account\"><o:Id>{id}</o:Id>\
         <o:BillCycleDay>15</o:BillCycleDay></a:zObjects></a:update>"
    );
    assert_eq!(between(&call(&update).await, "Success").as_deref(), Some("true"));
    let account = crate::wire::get(&tenant, &format!("/v1/object/account/{id}")).await;
    assert_eq!(account.json()["BillCycleDay"], 15);

    let subscribe = format!(
        "<a:subscribe><a:subscribes><a:Account><o:Id>{id}</o:Id></a:Account>\
         <a:SubscriptionData><a:Subscription/></a:SubscriptionData></a:subscribes></a:subscribe>"
    );
    let subscribed = call(&subscribe).await;
    assert_eq!(between(&subscribed, "AccountNumber").as_deref(), Some("A00000002"));
    assert!(between(&subscribed, "SubscriptionNumber").is_some());

    let delete = format!("<a:delete><a:type>Account</a:type><a:ids>{id}</a:ids></a:delete>");
    assert_eq!(between(&call(&delete).await, "success").as_deref(), Some("true"));
    assert_eq!(between(&call(&delete).await, "Code").as_deref(), Some("INVALID_ID"));
    assert_eq!(between(&call("<a:getUserInfo/>").await, "Username").as_deref(), Some("u"));

    let calls: Vec<_> = tenant
        .ledger()
        .executed
        .into_iter()
        .filter(|one| one.path == PATH)
        .map(|one| (one.soap_call.unwrap(), one.took_effect))
        .collect();
    let expected = [
        ("query", false),
        ("create", true),
        ("update", true),
        ("subscribe", true),
        ("delete", true),
        ("delete", false),
        ("getUserInfo", false),
    ];
    assert_eq!(calls, expected.map(|(name, effect)| (name.to_owned(), effect)));
    let ledger = tenant.ledger();
    assert_eq!(ledger.executed[0].credential, Some(Credential::SoapSession));
    assert_eq!(ledger.executed[0].user.as_deref(), Some("u"));
}

#[tokio::test]
async fn a_query_of_many_rows_goes_on_from_its_locator() {
    let tenant = tenant(0).await;
    let session = login(&tenant).await;
    let options = "<a:QueryOptions><a:batchSize>60</a:batchSize></a:QueryOptions>";
    let ask = envelope(
        Some(&session),
        "<a:query><a:queryString>select Id from Account</a:queryString></a:query>",
    )
    .replace("</env:Header>", &format!("{options}</env:Header>"));

    let call_with_options = request("POST", PATH, "", &ask).replace("HTTP/1.1", "HTTP/1.0");
    let first = send(tenant.address(), &call_with_options).await;
    let locator = between(&first, "queryLocator").unwrap();
    let more = format!("<a:queryMore><a:queryLocator>{locator}</a:queryLocator></a:queryMore>");
    let rest = call(&tenant, "", Some(&session), &more).await;

    assert_eq!(text(&first).matches("<ns1:records").count(), 60);
    assert_eq!(between(&first, "done").as_deref(), Some("false"));
    assert_eq!(text(&rest).matches("<ns1:records").count(), 40);
    assert_eq!(between(&rest, "done").as_deref(), Some("true"));
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_not_before() {
    let lifetime = Duration::from_millis(400);
    let tenant = start(Options {
        session_lifetime: lifetime,
        service_time: ServiceTime::ZERO,
        ..Options::default()
    })
    .await;
    let session = login(&tenant).await;

    for _ in 0..4 {
        tokio::time::sleep(lifetime / 2).await;
        assert_eq!(call(&tenant, "", Some(&session), QUERY).await.status, 200);
    }
    tokio::time::sleep(lifetime + Duration::from_millis(100)).await;
    let late = call(&tenant, "", Some(&session), QUERY).await;

    assert_eq!(late.status, 500);
    assert_eq!(between(&late, "FaultCode").as_deref(), Some("INVALID_SESSION"));
    assert!(text(&late).contains("<faultcode>fns:INVALID_SESSION</faultcode>"));
    let session = login(&tenant).await;
    tenant.end_sessions();
    assert_eq!(call(&tenant, "", Some(&session), QUERY).await.status, 500);
    assert_eq!(tenant.ledger().unauthenticated_calls, 2);
}

#[tokio::test]
async fn without_its_session_in_the_envelope_a_call_is_refused() {
    let tenant = tenant(0).await;
    let session = login(&tenant).await;
    let token = token(tenant.address()).await;
    let fault = async |headers: &str, session: Option<&str>| {
        between(&call(&tenant, headers, session, QUERY).await, "FaultCode")
    };

    assert_eq!(fault("", None).await.as_deref(), Some("INVALID_SESSION"));
    assert_eq!(fault("", Some("nonsense")).await.as_deref(), Some("INVALID_SESSION"));
    assert_eq!(fault(&bearer(&token), None).await.as_deref(), Some("INVALID_SESSION"));
    let elsewhere = bearer(&session).replace("Bearer", "ZSession");
    assert_eq!(fault(&elsewhere, None).await.as_deref(), Some("INVALID_SESSION"));
    // A token serves as a session if the call carries it in both places.
    assert_eq!(fault("", Some(&token)).await.as_deref(), Some("INVALID_SESSION"));
    assert_eq!(fault(&bearer(&token), Some(&token)).await, None);
    let form = "client_id=other&client_secret=b&grant_type=client_credentials";
    let other = send(tenant.address(), &request("POST", "/oauth/token", "", form)).await.json();
    let other = bearer(other["access_token"].as_str().unwrap());
    assert_eq!(fault(&other, Some(&token)).await.as_deref(), Some("INVALID_SESSION"));

    // And a session serves where the REST API takes one.
    let get = request("GET", "/v1/accounts/A00000001", &elsewhere, "");
    assert_eq!(send(tenant.address(), &get).await.status, 200);
    let seen = tenant.ledger().credentials;
    assert_eq!(seen["none"], 1);
    assert_eq!((seen["soap_session"], seen["bearer"], seen["zsession"]), (2, 1, 2));
    assert_eq!(seen["bearer+soap_session"], 2);
}

#[tokio::test]
async fn a_user_who_may_no_longer_log_in_has_no_session_either() {
    let tenant = tenant(0).await;
    let session = login(&tenant).await;
    let body = "<a:login><a:username>u</a:username><a:password>p</a:password></a:login>";

    tenant.set_soap_users(&[("u", "p")]);
    assert_eq!(call(&tenant, "", Some(&session), QUERY).await.status, 200);
    tenant.set_soap_users(&[("v", "w")]);

    assert_eq!(call(&tenant, "", Some(&session), QUERY).await.status, 500);
    assert_eq!(call(&tenant, "", None, body).await.status, 500);
}

#[tokio::test]
async fn one_address_may_log_in_so_often_a_minute_whatever_the_way() {
    let tenant = start(Options {
        auth_per_minute: 2,
        api_key: Some(("user".into(), "word".into())),
        ..Options::default()
    })
    .await;
    let body = "<a:login><a:username>u</a:username><a:password>p</a:password></a:login>";
    let keys = "apiAccessKeyId: user\r\napiSecretAccessKey: word\r\n";
    let connect = request("POST", "/v1/connections", keys, "");

    assert_eq!(call(&tenant, "", None, body).await.status, 200);
    assert_eq!(send(tenant.address(), &connect).await.status, 200);
    let soap = call(&tenant, "", None, body).await;
    let connection = send(tenant.address(), &connect).await;

    assert_eq!((soap.status, connection.status), (429, 429));
    assert_eq!(between(&soap, "FaultCode").as_deref(), Some("REQUEST_EXCEEDED_LIMIT"));
    let ledger = tenant.ledger();
    assert_eq!((ledger.soap_refused, ledger.connection_refused), (1, 1));
}

#[tokio::test]
async fn an_envelope_that_cannot_be_read_is_a_fault_of_the_client() {
    let tenant = tenant(0).await;
    let session = login(&tenant).await;

    for body in ["", "<a:query>", "<a:query/><a:query/>", "<b:query/>", "{}"] {
        let answer = call(&tenant, "", Some(&session), body).await;
        assert_eq!(answer.status, 500, "{body}");
        assert!(text(&answer).contains("soapenv:Client"), "{body}: {}", text(&answer));
    }
    let unknown = call(&tenant, "", Some(&session), "<a:fly/>").await;
    assert!(text(&unknown).contains("soapenv:Client"));
    let object = "<a:create><a:zObjects xsi:type=\"o:Rocket\"/></a:create>";
    let answer = call(&tenant, "", Some(&session), object).await;
    assert_eq!(between(&answer, "FaultCode").as_deref(), Some("INVALID_TYPE"));
}

#[tokio::test]
async fn a_full_tenant_refuses_soap_in_its_own_words() {
    let tenant = tenant(0).await;
    let session = login(&tenant).await;
    tenant.set_limit("Default", Some(0));

    let now = call(&tenant, "", Some(&session), QUERY).await;
    let old = request("POST", "/apps/services/a/50.0", "", &envelope(Some(&session), QUERY));
    let old = send(tenant.address(), &old).await;

    assert_eq!((now.status, now.header("retry-after")), (429, Some("120")));
    assert_eq!(between(&now, "FaultCode").as_deref(), Some("REQUEST_EXCEEDED_LIMIT"));
    assert_eq!(old.status, 429);
    assert_eq!(between(&old, "FaultCode").as_deref(), Some("UNKNOWN_ERROR"));
}

#[tokio::test]
async fn faults_strike_soap_in_its_own_shape() {
    let tenant = tenant(0).await;
    let session = login(&tenant).await;
    let mut struck = Vec::new();

    for kind in [
        FaultKind::Unauthenticated,
        FaultKind::LimitInBody,
        FaultKind::Contended,
        FaultKind::RefuseConcurrency,
    ] {
        tenant.fault(Fault::once("/apps/services", kind));
        let answer = call(&tenant, "", Some(&session), QUERY).await;
        let code = between(&answer, "FaultCode").or_else(|| between(&answer, "Code"));
        struck.push((answer.status, code.unwrap()));
    }

    let expected = [
        (500, "INVALID_SESSION"),
        (200, "REQUEST_EXCEEDED_RATE"),
        (200, "LOCK_COMPETITION"),
        (429, "REQUEST_EXCEEDED_LIMIT"),
    ];
    assert_eq!(struck, expected.map(|(status, code)| (status, code.to_owned())));
    let cut = Fault::once(
        "/apps/services",
        FaultKind::CutRequest { after: 50, reset: false, executed: false },
    );
    tenant.fault(cut);
    let call = request("POST", PATH, "", &envelope(Some(&session), QUERY));
    assert!(crate::wire::exchange(tenant.address(), &call).await.is_empty());
    assert_eq!(tenant.ledger().executed_total, 1, "only what contended was worked on");
}

#[tokio::test]
async fn the_description_names_the_address_and_every_call() {
    let tenant = tenant(0).await;

    let path = "/apps/servlet/GenerateWsdl?version=68.0";
    let call = request("GET", path, "", "").replace("HTTP/1.1", "HTTP/1.0");
    let answer = send(tenant.address(), &call).await;

    assert_eq!(answer.status, 200);
    let address = format!("location=\"{}/apps/services/a/68.0\"", tenant.base_url());
    assert!(text(&answer).contains(&address));
    for name in ["login", "query", "queryMore", "create", "update", "delete", "subscribe"] {
        assert!(text(&answer).contains(&format!("<operation name=\"{name}\">")), "{name}");
    }
}

#[tokio::test]
async fn writes_on_one_account_contend_across_the_apis() {
    let tenant = start(Options {
        lock_contention: true,
        service_time: ServiceTime::Constant(Duration::from_millis(200)),
        ..Options::default()
    })
    .await;
    let session = login(&tenant).await;
    let id = between(&call(&tenant, "", Some(&session), QUERY).await, "Id").unwrap();
    let update = format!(
        "<a:update><a:zObjects xsi:type=\"o:Account\"><o:Id>{id}</o:Id>\
         <o:Notes>n</o:Notes></a:zObjects></a:update>"
    );

    let rest = write(&tenant, "PUT", "/v1/accounts/A00000002", r#"{"notes": "r"}"#);
    let soap = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        call(&tenant, "", Some(&session), &update).await
    };
    let (rest, soap) = tokio::join!(rest, soap);

    assert_eq!(rest.status, 200);
    assert_eq!(between(&soap, "Code").as_deref(), Some("LOCK_COMPETITION"));
}
