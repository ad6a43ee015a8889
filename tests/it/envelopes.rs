//! SOAP through the gateway: an app's session comes in, Zuora's goes out, and no other byte changes. The judge is a
//! tenant of sockets.

mod hostile;
mod passing;

use testkit::{APP, Answer, SECRET, Yaml};

use crate::wire::attack::Scene;
use crate::wire::upstream::{Message, RawUpstream, SHARED_TOKEN};

const ADDRESS: &str = "/apps/services/a/91.0";

const OTHER_SECRET: &str = "the-secret-of-the-other-app";

/// A gateway whose tenant takes SOAP calls at the same sockets as all others.
struct Soap {
    scene: Scene,
    /// A session of the app.
    session: String,
}

/// `app` with these keys, and `other`.
async fn soap(keys: &[&str]) -> Soap {
    let upstream = RawUpstream::start().await;
    let other = format!("client_id: 11111111-2222-4333-8444-555555555555, secret: {OTHER_SECRET}");
    let yaml = Yaml {
        tenant: vec![format!("soap_url: {}", upstream.url())],
        app: keys.iter().map(|it| (*it).to_owned()).collect(),
        apps: vec![("other".to_owned(), other)],
        ..Yaml::default()
    };
    let scene = Scene::before(upstream, &yaml).await;
    let session = session(&scene, APP, SECRET).await;
    Soap { scene, session }
}

/// The session that `login()` gives.
async fn session(scene: &Scene, name: &str, secret: &str) -> String {
    scene.upstream.forget();
    let answer = scene.exchange("login", call("", &login(name, secret))).await.answer;
    assert_eq!(answer.status, 200, "{answer:?} {}", answer.text());
    assert_eq!(scene.upstream.received().len(), 0, "a login is nothing for Zuora");
    between(&answer.text(), "Session>", "</").to_owned()
}

fn login(name: &str, secret: &str) -> String {
    format!(
        r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:api="http://api.zuora.com/"><soapenv:Body><api:login><api:username>{name}</api:username><api:password>{secret}</api:password></api:login></soapenv:Body></soapenv:Envelope>"#
    )
}

/// The usual envelope with a session, which asks for `body`.
fn envelope(session: &str, body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:ns1=\"http://api.zuora.com/\">\n <soapenv:Header>\n  <ns1:SessionHeader><ns1:session>{session}</ns1:session></ns1:SessionHeader>\n </soapenv:Header>\n <soapenv:Body>{body}</soapenv:Body>\n</soapenv:Envelope>\n"
    )
}

const QUERY: &str = "<ns1:query><ns1:queryString>select Id from Account where Name = 'a &amp; b'</ns1:queryString></ns1:query>";

/// A request at the SOAP address.
fn call(fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {ADDRESS} HTTP/1.1\r\nHost: gw\r\nContent-Type: text/xml; charset=utf-8\r\nSOAPAction: \"\"\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let at = text.find(begin).unwrap_or_else(|| panic!("no {begin} in {text}")) + begin.len();
    &text[at..at + text[at..].find(end).unwrap()]
}

impl Soap {
    /// Sends this envelope, which must pass.
    async fn pass(&self, what: &str, fields: &str, envelope: &str) -> Message {
        let (answer, received) = self.scene.ask(what, call(fields, envelope)).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        let text = received.text();
        assert!(
            !text.contains(&self.session) && !text.contains(SECRET) && !text.contains(APP),
            "{what}: {text}"
        );
        assert_eq!(received.line(), format!("POST {ADDRESS} HTTP/1.1"));
        assert_eq!(
            received.fields("content-length"),
            [received.body().len().to_string()],
            "{what}: {text}"
        );
        received
    }

    /// Sends this envelope, which nobody may hear, and returns the fault that answers it.
    async fn fault(&self, what: &str, fields: &str, envelope: impl AsRef<str>) -> Answer {
        self.scene.upstream.forget();
        let answer = self.scene.exchange(what, call(fields, envelope.as_ref())).await.answer;
        let text = answer.text();
        assert_eq!(self.scene.upstream.received().len(), 0, "{what}: {answer:?} {text}");
        is_a_fault(what, &answer);
        assert!(!text.contains(&self.session) && !text.contains(SHARED_TOKEN), "{what}: {text}");
        answer
    }
}

fn is_a_fault(what: &str, answer: &Answer) {
    let text = answer.text();
    assert!(answer.status >= 400, "{what}: {answer:?} {text}");
    assert!(
        answer.field("content-type").is_some_and(|it| it.starts_with("text/xml")),
        "{what}: {answer:?}"
    );
    assert!(text.contains("Fault>") && text.contains("<faultcode>"), "{what}: {text}");
    assert!(answer.field("zuora-gateway-error").is_some(), "{what}: {answer:?}");
}
