//! What those are told who are not let in: in the words that their client understands, and with a line in the log that
//! says who it claimed to be, and never what with.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use emulator::{Options, ServiceTime, Tenant};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{APP, Answer, Raw, SECRET, Yaml};

use crate::caller::look;
use crate::running::Running;

/// A stranger's attempt, and what must come of it.
struct Attempt {
    what: &'static str,
    bytes: String,
    status: u16,
    shape: Shape,
    /// What the log says: the reason of the error, and the app that it claimed to be.
    error: &'static str,
    claimed: Option<&'static str>,
    app: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Zuora's, with this code.
    Json(u32),
    /// A fault with this code.
    Fault(&'static str),
    /// OAuth's (RFC 6749 5.2).
    OAuth(&'static str),
}

/// What none of them may find in the log, the metrics, or an answer.
const WRONG: [&str; 5] = [
    "a-wrong-secret-of-nobody",
    "a-wrong-key-of-nobody",
    "a-wrong-session-of-nobody",
    "a-wrong-password-of-nobody",
    "an-id-of-nobody",
];

const GERMANY: &str = "2c92a0f9-1111-4222-8333-6bd69165016a";
const ELSEWHERE: &str = "2c92a0f9-1111-4222-8333-6bd69165016d";

fn request(line: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{line} HTTP/1.1\r\nHost: gw\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

fn envelope(header: &str, body: &str) -> String {
    format!(
        "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:a=\"http://api.zuora.com/\"><e:Header>{header}</e:Header><e:Body>{body}</e:Body></e:Envelope>"
    )
}

fn attempts() -> Vec<Attempt> {
    let [secret, key, session, password, id] = WRONG;
    let get = "GET /v1/accounts/A00000001";
    let soap = "POST /apps/services/a/91.0";
    let xml = "Content-Type: text/xml\r\nSOAPAction: \"\"\r\n";
    let good = format!("Authorization: Bearer {SECRET}\r\n");
    let basic = BASE64_STANDARD.encode(format!("app:{secret}"));
    let form = |id: &str, secret: &str| {
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        request("POST /oauth/token", "Content-Type: application/x-www-form-urlencoded\r\n", &form)
    };
    let login = format!(
        "<a:login><a:username>app</a:username><a:password>{password}</a:password></a:login>"
    );
    let sessions = format!("<a:SessionHeader><a:session>{session}</a:session></a:SessionHeader>");
    let ours = |body: &str| request(soap, &format!("{xml}{good}"), &envelope("", body));
    let stranger = |what, bytes, status, shape, claimed| Attempt {
        what,
        bytes,
        status,
        shape,
        error: "unauthenticated",
        claimed,
        app: "",
    };
    let app = |what, bytes, status, shape, error| Attempt {
        what,
        bytes,
        status,
        shape,
        error,
        claimed: None,
        app: "app",
    };
    let auth = Shape::Json(90_000_011);
    vec![
        stranger("nothing", request(get, "", ""), 401, auth, None),
        stranger(
            "a wrong secret",
            request(get, &format!("Authorization: Bearer {secret}\r\n"), ""),
            401,
            auth,
            None,
        ),
        stranger(
            "wrong basic",
            request(get, &format!("Authorization: Basic {basic}\r\n"), ""),
            401,
            auth,
            Some("app"),
        ),
        stranger(
            "wrong keys",
            request(get, &format!("apiAccessKeyId: {APP}\r\napiSecretAccessKey: {key}\r\n"), ""),
            401,
            auth,
            Some("app"),
        ),
        stranger(
            "keys of nobody",
            request(get, &format!("apiAccessKeyId: {id}\r\napiSecretAccessKey: {key}\r\n"), ""),
            401,
            auth,
            None,
        ),
        stranger(
            "a wrong cookie",
            request(get, &format!("Cookie: ZSession={session}\r\n"), ""),
            401,
            auth,
            None,
        ),
        stranger(
            "a wrong connection",
            request(
                "POST /v1/connections",
                &format!("apiAccessKeyId: {APP}\r\napiSecretAccessKey: {key}\r\n"),
                "",
            ),
            401,
            auth,
            Some("app"),
        ),
        stranger(
            "a wrong form",
            form(APP, secret),
            401,
            Shape::OAuth("invalid_client"),
            Some("app"),
        ),
        stranger("a form of nobody", form(id, secret), 401, Shape::OAuth("invalid_client"), None),
        stranger(
            "a wrong login",
            request(soap, xml, &envelope("", &login)),
            500,
            Shape::Fault("INVALID_LOGIN"),
            Some("app"),
        ),
        stranger(
            "a wrong session",
            request(soap, xml, &envelope(&sessions, "<a:query/>")),
            500,
            Shape::Fault("INVALID_SESSION"),
            None,
        ),
        app(
            "a forbidden operation",
            request("DELETE /v1/accounts/A00000001", &good, ""),
            403,
            Shape::Json(50_000_010),
            "forbidden",
        ),
        app(
            "an entity of others",
            request(get, &format!("{good}Zuora-Entity-Ids: {ELSEWHERE}\r\n"), ""),
            403,
            Shape::Json(50_000_010),
            "forbidden",
        ),
        app(
            "an invalid track id",
            request(get, &format!("{good}Zuora-Track-Id: a:b\r\n"), ""),
            400,
            Shape::Json(50_000_020),
            "bad-request",
        ),
        app("a forbidden call", ours("<a:delete/>"), 500, Shape::Fault("fns:"), "forbidden"),
        Attempt {
            what: "malformed SOAP",
            bytes: request(soap, xml, "<e:Envelope"),
            status: 500,
            shape: Shape::Fault("fns:"),
            error: "bad-request",
            claimed: None,
            app: "",
        },
        Attempt {
            what: "a cookie beyond all bounds",
            bytes: request(get, &format!("{good}Cookie: a={}\r\n", "x".repeat(70_000)), ""),
            status: 431,
            shape: Shape::Json(50_000_020),
            error: "too-large",
            claimed: None,
            app: "",
        },
        Attempt {
            what: "an oversized cookie",
            bytes: request(get, &format!("{good}Cookie: ZSession={}\r\n", "x".repeat(20_000)), ""),
            status: 401,
            shape: auth,
            error: "unauthenticated",
            claimed: None,
            app: "",
        },
    ]
}

#[tokio::test]
async fn whoever_is_turned_away_is_told_so_in_words_of_its_own() {
    let service_time = ServiceTime::Constant(Duration::from_millis(2));
    let options = Options {
        service_time,
        entities: vec![GERMANY.into(), ELSEWHERE.into()],
        ..Options::default()
    };
    let tenant = Tenant::start(options).await.unwrap();
    let directory = TempDir::new().unwrap();
    let yaml = Yaml {
        tenant: vec![
            format!("entities: [{GERMANY}, {ELSEWHERE}]"),
            format!("soap_url: {}", tenant.base_url()),
        ],
        app: vec![
            r#"deny: ["DELETE /**", "SOAP delete"]"#.into(),
            format!("entities: [{GERMANY}]"),
        ],
        top: vec!["log: {level: trace}".into()],
        ..Yaml::default()
    };
    let running = Running::before(&tenant, &yaml, &directory).await;

    let mut answers = Vec::new();
    for attempt in attempts() {
        let mut raw = Raw::connect_as_stranger(running.address).await;
        raw.write(&attempt.bytes).await;
        let answer = raw.answer().await;
        is_told(&attempt, &answer);
        answers.push((attempt, answer));
    }

    let metrics = look(running.admin, "/metrics").await.text();
    let ended = running.stop().await;
    let log = ended.lines.join("\n");
    for told in [&log, &metrics, &ended.errors] {
        for secret in WRONG.iter().filter(|it| !it.contains("-id-")).chain(&[SECRET]) {
            assert!(!told.contains(secret), "{secret} is in {told}");
        }
        assert!(!told.contains(&BASE64_STANDARD.encode(format!("app:{}", WRONG[0]))));
    }
    let lines: Vec<Value> =
        ended.lines.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    for (attempt, answer) in &answers {
        let what = attempt.what;
        let track_id =
            answer.field("zuora-track-id").unwrap_or_else(|| panic!("{what}: {answer:?}"));
        let of_it = |line: &&Value| line["target"] == "access" && line["track_id"] == track_id;
        let line = lines.iter().find(of_it).unwrap_or_else(|| panic!("{what}: no line"));
        assert_eq!(line["error"], attempt.error, "{what}: {line:#}");
        assert_eq!(line["status"], attempt.status, "{what}: {line:#}");
        assert_eq!(line["app"], attempt.app, "{what}: {line:#}");
        assert_eq!(line["claimed_app"].as_str(), attempt.claimed, "{what}: {line:#}");
        let has_cause = attempt.error == "unauthenticated" || what.starts_with("a forbidden");
        assert_eq!(line["cause"].is_string(), has_cause, "{what}: {line:#}");
    }

    let rejected = |app: &str, reason: &str| {
        let line = format!(
            "zuora_gateway_rejected_credentials_total{{app=\"{app}\",reason=\"{reason}\"}} "
        );
        let found = metrics.lines().find_map(|it| it.strip_prefix(&line));
        found.map_or(0, |count| count.parse::<u32>().unwrap())
    };
    let claimed = answers.iter().filter(|(it, _)| it.claimed == Some("app")).count();
    assert_eq!(rejected("app", "unknown") as usize, claimed, "{metrics}");
    assert!(
        rejected("unknown", "unknown") >= 4 && rejected("unknown", "missing") == 1,
        "{metrics}"
    );
    assert_eq!(tenant.ledger().executed.len(), 0, "none of it was for Zuora");
}

fn is_told(attempt: &Attempt, answer: &Answer) {
    let (what, text) = (attempt.what, answer.text());
    assert_eq!(answer.status, attempt.status, "{what}: {answer:?} {text}");
    assert_eq!(answer.field("zuora-gateway-error"), Some(attempt.error), "{what}: {answer:?}");
    for secret in WRONG.iter().chain(&[SECRET, ELSEWHERE]) {
        assert!(
            !text.contains(secret) && !format!("{:?}", answer.fields).contains(secret),
            "{what}: {text}"
        );
    }
    let content_type = answer.field("content-type").unwrap_or_default();
    match attempt.shape {
        Shape::Json(code) => {
            let json: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(
                (&json["success"], &json["reasons"][0]["code"]),
                (&false.into(), &code.into()),
                "{what}"
            );
            assert!(json["reasons"][0]["message"].as_str().unwrap().len() > 10, "{what}: {text}");
            assert!(content_type.starts_with("application/json"), "{what}: {content_type}");
        }
        Shape::OAuth(code) => {
            let json: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(json["error"], code, "{what}: {text}");
            assert!(content_type.starts_with("application/json"), "{what}: {content_type}");
        }
        Shape::Fault(code) => {
            assert!(
                text.contains("<faultcode>") && text.contains("<faultstring>"),
                "{what}: {text}"
            );
            assert!(text.contains(code) && text.contains("FaultCode>"), "{what}: {text}");
            assert!(content_type.starts_with("text/xml"), "{what}: {content_type}");
        }
    }
    if attempt.status == 401 {
        assert!(answer.field("www-authenticate").is_some(), "{what}: {answer:?}");
    }
}
