//! SOAP 1.1 as Zuora speaks it: envelopes, faults, and the rows of results.

mod objects;
mod wsdl;
mod xml;

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use quick_xml::escape::escape;
use serde_json::{Map, Value, json};

use self::xml::Element;
pub(crate) use self::{
    objects::{Kind, OBJECTS, Object},
    wsdl::description,
};
use crate::{answers::Answer, category::Category, operations::OperationKind};

const XML: HeaderValue = HeaderValue::from_static("text/xml;charset=UTF-8");

const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const API: &str = "http://api.zuora.com/";
const OBJECT: &str = "http://object.api.zuora.com/";
const FAULT: &str = "http://fault.api.zuora.com/";
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// A SOAP call as it came.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// The name of the call, such as `query`.
    pub(crate) call: String,
    /// What the `SessionHeader` holds.
    pub(crate) session: Option<String>,
    /// What `QueryOptions` say of the rows in one answer.
    batch_size: Option<u64>,
    content: Element,
}

impl Envelope {
    /// Reads the envelope of a call, or says what is wrong with it.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "the envelope is not UTF-8")?;
        let root = xml::read(text)?;
        if !root.is(ENVELOPE, "Envelope") {
            return Err("there is no envelope of SOAP 1.1".to_owned());
        }
        let part =
            |name: &'static str| root.children.iter().filter(move |part| part.is(ENVELOPE, name));
        let headers: Vec<&Element> = part("Header").flat_map(|header| &header.children).collect();
        let sessions: Vec<&&Element> =
            headers.iter().filter(|header| header.is(API, "SessionHeader")).collect();
        let mut contents = part("Body").flat_map(|body| &body.children);
        let (Some(content), None) = (contents.next(), contents.next()) else {
            return Err("the body does not hold exactly one call".to_owned());
        };
        if content.namespace != API {
            return Err(format!("there is no call `{}` in this namespace", content.name));
        }
        if part("Header").count() > 1 || part("Body").count() > 1 || sessions.len() > 1 {
            return Err("a part of the envelope is there twice".to_owned());
        }
        let session = sessions.first().and_then(|header| {
            let session = header.children.iter().find(|one| one.is(API, "session"))?;
            Some(session.text.trim().to_owned())
        });
        let options = headers.iter().find(|header| header.is(API, "QueryOptions"));
        let batch_size = options.and_then(|options| options.text_of("batchSize")?.parse().ok());
        Ok(Self { call: content.name.clone(), session, batch_size, content: content.clone() })
    }

    pub(crate) fn is_login(&self) -> bool {
        self.call == "login"
    }

    /// The text of a part of the call, empty if it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.content.text_of(name).unwrap_or_default()
    }

    /// The same, if it is there.
    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        self.content.text_of(name)
    }

    /// What the call does.
    pub(crate) fn kind(&self) -> OperationKind {
        match self.call.as_str() {
            "query" | "queryMore" | "getUserInfo" => OperationKind::Read,
            _ => OperationKind::Action,
        }
    }

    /// The body that the same call has as an action of the REST API.
    pub(crate) fn to_action(&self) -> Value {
        match self.call.as_str() {
            "query" => {
                let batch_size = self.batch_size.map(|size| json!({"batchSize": size}));
                json!({"queryString": self.text("queryString"), "conf": batch_size})
            }
            "queryMore" => json!({"queryLocator": self.text("queryLocator")}),
            "delete" => {
                let ids: Vec<&str> = self.content.all("ids").map(|id| id.text.trim()).collect();
                json!({"type": self.text("type"), "ids": ids})
            }
            "subscribe" => {
                let wishes = self.content.all("subscribes").map(|wish| value_of(wish, None));
                json!({"subscribes": wishes.collect::<Vec<_>>()})
            }
            "create" | "update" | "generate" => {
                let first = self.content.all("zObjects").next();
                let kind = first.and_then(|object| object.kind.clone()).unwrap_or_default();
                let object = Object::named(&kind);
                let objects = self.content.all("zObjects").map(|one| value_of(one, object));
                json!({"type": kind, "objects": objects.collect::<Vec<_>>()})
            }
            _ => Value::Null,
        }
    }

    /// Whether all objects of the call are of one type that there is.
    pub(crate) fn types_are_known(&self) -> bool {
        let mut kinds = self.content.all("zObjects").map(|object| object.kind.as_deref());
        let Some(first) = kinds.next() else { return true };
        first.is_some_and(|kind| Object::named(kind).is_some()) && kinds.all(|kind| kind == first)
    }

    /// How many rows the answer has.
    fn rows(&self) -> usize {
        let rows = self.content.all("zObjects").chain(self.content.all("ids"));
        rows.chain(self.content.all("subscribes")).count().clamp(1, 50)
    }
}

/// A fault, with HTTP 500.
pub(crate) fn fault(code: &str, message: &str) -> Answer {
    fault_of("ApiFault", code, message)
}

/// The fault of a login, as it was recorded.
pub(crate) fn login_fault(message: &str) -> Answer {
    fault_of("LoginFault", "INVALID_VALUE", message)
}

/// The fault of an envelope that cannot be read.
pub(crate) fn client_fault(message: &str) -> Answer {
    let message = escape(message);
    let fault = format!(
        "<soapenv:Fault><faultcode>soapenv:Client</faultcode>\
         <faultstring>{message}</faultstring></soapenv:Fault>"
    );
    envelope(StatusCode::INTERNAL_SERVER_ERROR, &fault, Some(false))
}

/// One row that failed, with HTTP 200.
pub(crate) fn row_failure(code: &str, message: &str) -> Answer {
    let row = json!({"Success": false, "Errors": [{"Code": code, "Message": message}]});
    rows("create", &[row])
}

/// Lock contention, in every row.
pub(crate) fn contended(envelope: &Envelope) -> Answer {
    let error = json!({"Code": Category::Lock.word(), "Message": Category::Lock.message()});
    let row = json!({"Success": false, "Errors": [error]});
    rows(&envelope.call, &vec![row; envelope.rows()])
}

/// The answer to a login.
pub(crate) fn session(server_url: &str, session: &str) -> Answer {
    let (server_url, session) = (escape(server_url), escape(session));
    response(
        "login",
        &format!(
            "<ns1:result><ns1:ServerUrl>{server_url}</ns1:ServerUrl>\
             <ns1:Session>{session}</ns1:Session></ns1:result>"
        ),
        true,
    )
}

/// The answer to `getUserInfo`.
pub(crate) fn user_info(name: &str) -> Answer {
    let name = escape(name);
    response(
        "getUserInfo",
        &format!(
            "<ns1:result><ns1:TenantId>12270</ns1:TenantId>\
             <ns1:TenantName>An emulated tenant</ns1:TenantName>\
             <ns1:UserEmail>user@example.com</ns1:UserEmail>\
             <ns1:UserFullName>Example User</ns1:UserFullName>\
             <ns1:UserId>2c92c0f9000040008000000000000002</ns1:UserId>\
             <ns1:Username>{name}</ns1:Username></ns1:result>"
        ),
        true,
    )
}

/// The answer of an action of the REST API, as the SOAP call of that name has it.
pub(crate) fn from_action(call: &Envelope, action: &Answer) -> Answer {
    let told: Value =
        action.bytes().and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
    if let Some(code) = told["FaultCode"].as_str() {
        return fault(code, told["FaultMessage"].as_str().unwrap_or_default());
    }
    match &told {
        Value::Array(all) => rows(&call.call, all),
        other => records(call, other),
    }
}

fn records(call: &Envelope, told: &Value) -> Answer {
    // A locator ends in its query, so that both name the type that is asked for.
    let text = format!("{} {}", call.text("queryString"), call.text("queryLocator"));
    let mut words = text.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case("from"));
    let object = words.nth(1).and_then(Object::named);
    let Some(object) = object else {
        return fault("INVALID_TYPE", "There is no such type of object.");
    };
    let mut result = String::from("<ns1:result>");
    if let Some(locator) = told["queryLocator"].as_str() {
        let _ = write!(result, "<ns1:queryLocator>{}</ns1:queryLocator>", escape(locator));
    }
    let _ = write!(result, "<ns1:done>{}</ns1:done>", told["done"]);
    for record in told["records"].as_array().into_iter().flatten().filter_map(Value::as_object) {
        let _ = write!(result, "<ns1:records xsi:type=\"ns2:{}\">", object.name);
        write_fields(&mut result, object, record);
        result.push_str("</ns1:records>");
    }
    let _ = write!(result, "<ns1:size>{}</ns1:size></ns1:result>", told["size"]);
    response(&call.call, &result, true)
}

/// The fields of a record in the order of the schema, those that it has.
fn write_fields(text: &mut String, object: &Object, record: &Map<String, Value>) {
    for name in object.fields() {
        let found = record.iter().find(|(one, _)| one.eq_ignore_ascii_case(name));
        let value = match found.map(|(_, value)| value) {
            Some(Value::String(value)) => escape(value.as_str()).into_owned(),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
            _ => continue,
        };
        let _ = write!(text, "<ns2:{name}>{value}</ns2:{name}>");
    }
}

/// The results of a call that writes, one for each object.
fn rows(call: &str, all: &[Value]) -> Answer {
    let mut results = String::new();
    for row in all {
        results.push_str("<ns1:result>");
        write_row(&mut results, call, row);
        results.push_str("</ns1:result>");
    }
    let any = all.iter().any(|row| row["Success"] == true);
    response(call, &results, any)
}

fn write_row(text: &mut String, call: &str, row: &Value) {
    // `delete` has its names in lower case, as in Zuora's schema.
    let small = call == "delete";
    let name = |name: &str| if small { name.to_ascii_lowercase() } else { name.to_owned() };
    let mut write_text = |field: &str| {
        if let Some(value) = row[field].as_str() {
            let _ = write!(text, "<ns1:{0}>{1}</ns1:{0}>", name(field), escape(value));
        }
    };
    write_text("AccountId");
    write_text("AccountNumber");
    for error in row["Errors"].as_array().into_iter().flatten() {
        let code = escape(error["Code"].as_str().unwrap_or_default());
        let message = escape(error["Message"].as_str().unwrap_or_default());
        let _ = write!(
            text,
            "<ns1:{0}><ns1:Code>{code}</ns1:Code><ns1:Message>{message}</ns1:Message></ns1:{0}>",
            name("Errors")
        );
    }
    let mut write_text = |field: &str| {
        if let Some(value) = row[field].as_str() {
            let _ = write!(text, "<ns1:{0}>{1}</ns1:{0}>", name(field), escape(value));
        }
    };
    write_text("Id");
    write_text("SubscriptionId");
    write_text("SubscriptionNumber");
    let _ = write!(text, "<ns1:{0}>{1}</ns1:{0}>", name("Success"), row["Success"] == true);
}

fn fault_of(kind: &str, code: &str, message: &str) -> Answer {
    let message = escape(message);
    let fault = format!(
        "<soapenv:Fault xmlns:fns=\"{FAULT}\"><faultcode>fns:{code}</faultcode>\
         <faultstring>{message}</faultstring><detail><fns:{kind}>\
         <fns:FaultCode>{code}</fns:FaultCode><fns:FaultMessage>{message}</fns:FaultMessage>\
         </fns:{kind}></detail></soapenv:Fault>"
    );
    envelope(StatusCode::INTERNAL_SERVER_ERROR, &fault, Some(false))
}

fn response(call: &str, results: &str, success: bool) -> Answer {
    let body = format!(
        "<ns1:{call}Response xmlns:ns1=\"{API}\" xmlns:ns2=\"{OBJECT}\" xmlns:xsi=\"{INSTANCE}\">\
         {results}</ns1:{call}Response>"
    );
    envelope(StatusCode::OK, &body, Some(success))
}

fn envelope(status: StatusCode, body: &str, success: Option<bool>) -> Answer {
    let envelope = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <soapenv:Envelope xmlns:soapenv=\"{ENVELOPE}\">\
         <soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    );
    Answer { success, ..Answer::new(status, XML, Bytes::from(envelope)) }
}

/// An element as JSON: a text, or an object of the elements in it.
fn value_of(element: &Element, object: Option<&Object>) -> Value {
    if element.is_nil {
        return Value::Null;
    }
    if element.children.is_empty() && object.is_none() {
        return element.text.trim().into();
    }
    let mut fields = Map::new();
    for child in &element.children {
        let value = match object.and_then(|object| object.kind_of(&child.name)) {
            Some(kind) if !child.is_nil => kind.read(child.text.trim()),
            _ => value_of(child, None),
        };
        match fields.get_mut(&child.name) {
            None => {
                fields.insert(child.name.clone(), value);
            }
            Some(Value::Array(all)) => all.push(value),
            Some(first) => {
                let both = vec![first.take(), value];
                *first = both.into();
            }
        }
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope_of(header: &str, body: &str) -> String {
        format!(
            "<e:Envelope xmlns:e=\"{ENVELOPE}\" xmlns=\"{API}\" xmlns:o=\"{OBJECT}\" \
             xmlns:i=\"{INSTANCE}\"><e:Header>{header}</e:Header><e:Body>{body}</e:Body>\
             </e:Envelope>"
        )
    }

    #[test]
    fn a_call_is_read_with_its_session_and_options() {
        let header = "<SessionHeader><session> s1 </session></SessionHeader>\
                      <QueryOptions><batchSize>7</batchSize></QueryOptions>";
        let body = "<query><queryString>select Id from Account</queryString></query>";

        let call = Envelope::read(envelope_of(header, body).as_bytes()).unwrap();

        assert_eq!((call.call.as_str(), call.session.as_deref()), ("query", Some("s1")));
        let action = json!({"queryString": "select Id from Account", "conf": {"batchSize": 7}});
        assert_eq!(call.to_action(), action);
    }

    #[test]
    fn objects_have_the_types_of_the_schema() {
        let body = "<create><zObjects i:type=\"o:Account\"><o:Name>A &amp; B</o:Name>\
                    <o:BillCycleDay>1</o:BillCycleDay><o:AutoPay>false</o:AutoPay></zObjects>\
                    <zObjects i:type=\"o:Account\"/></create>";

        let call = Envelope::read(envelope_of("", body).as_bytes()).unwrap();

        let first = json!({"Name": "A & B", "BillCycleDay": 1, "AutoPay": false});
        assert_eq!(call.to_action(), json!({"type": "Account", "objects": [first, {}]}));
        assert!(call.types_are_known());
    }

    #[test]
    fn an_envelope_that_could_be_read_twice_is_refused() {
        let session = "<SessionHeader><session>s</session></SessionHeader>";
        let elsewhere = "<SessionHeader xmlns=\"urn:x\"><session>s</session></SessionHeader>";
        let call = |header: &str, body: &str| Envelope::read(envelope_of(header, body).as_bytes());

        assert!(call(session, "<getUserInfo/>").unwrap().session.is_some());
        assert!(call(elsewhere, "<getUserInfo/>").unwrap().session.is_none());
        for half in [
            "<x:SessionHeader xmlns:x=\"urn:x\"><session>s</session></x:SessionHeader>",
            "<SessionHeader><session xmlns=\"urn:x\">s</session></SessionHeader>",
        ] {
            assert!(call(half, "<getUserInfo/>").unwrap().session.is_none(), "{half}");
        }
        assert!(call(&session.repeat(2), "<getUserInfo/>").is_err());
        assert!(call(session, "<getUserInfo/><getUserInfo/>").is_err());
        assert!(call(session, "<getUserInfo xmlns=\"urn:x\"/>").is_err());
        assert!(call(session, "").is_err());
        assert!(Envelope::read(b"{}").is_err());
    }
}
