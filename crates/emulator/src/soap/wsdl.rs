//! A description of the SOAP API in WSDL 1.1: of our own making, with Zuora's
//! names for what the emulated tenant does.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::{API, FAULT, OBJECT, objects::OBJECTS};

/// The calls, each with the elements of its request and of its result.
const CALLS: [Call; 9] = [
    Call {
        name: "login",
        request: &[
            ("username", "xs:string", ONCE),
            ("password", "xs:string", ONCE),
            ("entityId", "xs:string", MAYBE),
            ("entityName", "xs:string", MAYBE),
        ],
        result: ("LoginResult", ONCE),
    },
    Call {
        name: "query",
        request: &[("queryString", "xs:string", ONCE)],
        result: ("QueryResult", ONCE),
    },
    Call {
        name: "queryMore",
        request: &[("queryLocator", "xs:string", ONCE)],
        result: ("QueryResult", ONCE),
    },
    Call {
        name: "create",
        request: &[("zObjects", "ons:zObject", MANY)],
        result: ("SaveResult", MANY),
    },
    Call {
        name: "update",
        request: &[("zObjects", "ons:zObject", MANY)],
        result: ("SaveResult", MANY),
    },
    Call {
        name: "generate",
        request: &[("zObjects", "ons:zObject", MANY)],
        result: ("SaveResult", MANY),
    },
    Call {
        name: "delete",
        request: &[("type", "xs:string", ONCE), ("ids", "xs:string", MANY)],
        result: ("DeleteResult", MANY),
    },
    Call {
        name: "subscribe",
        request: &[("subscribes", "zns:SubscribeRequest", MANY)],
        result: ("SubscribeResult", MANY),
    },
    Call { name: "getUserInfo", request: &[], result: ("GetUserInfoResult", ONCE) },
];

/// The types that requests and results are made of.
const TYPES: [(&str, &[Part]); 11] = [
    ("LoginResult", &[("ServerUrl", "xs:string", MAYBE), ("Session", "xs:string", MAYBE)]),
    ("SessionHeader", &[("session", "xs:string", ONCE)]),
    ("QueryOptions", &[("batchSize", "xs:int", MAYBE)]),
    (
        "QueryResult",
        &[
            ("queryLocator", "xs:string", MAYBE),
            ("done", "xs:boolean", ONCE),
            ("records", "ons:zObject", MANY),
            ("size", "xs:int", ONCE),
        ],
    ),
    ("Error", &[("Code", "xs:string", MAYBE), ("Message", "xs:string", MAYBE)]),
    (
        "SaveResult",
        &[
            ("Errors", "zns:Error", MANY),
            ("Id", "xs:string", MAYBE),
            ("Success", "xs:boolean", MAYBE),
        ],
    ),
    (
        "DeleteResult",
        &[
            ("errors", "zns:Error", MANY),
            ("id", "xs:string", MAYBE),
            ("success", "xs:boolean", MAYBE),
        ],
    ),
    ("SubscriptionData", &[("Subscription", "ons:Subscription", MAYBE)]),
    (
        "SubscribeRequest",
        &[
            ("Account", "ons:Account", MAYBE),
            ("BillToContact", "ons:Contact", MAYBE),
            ("SubscriptionData", "zns:SubscriptionData", MAYBE),
        ],
    ),
    (
        "SubscribeResult",
        &[
            ("AccountId", "xs:string", MAYBE),
            ("AccountNumber", "xs:string", MAYBE),
            ("Errors", "zns:Error", MANY),
            ("SubscriptionId", "xs:string", MAYBE),
            ("SubscriptionNumber", "xs:string", MAYBE),
            ("Success", "xs:boolean", MAYBE),
        ],
    ),
    (
        "GetUserInfoResult",
        &[
            ("TenantId", "xs:string", MAYBE),
            ("TenantName", "xs:string", MAYBE),
            ("UserEmail", "xs:string", MAYBE),
            ("UserFullName", "xs:string", MAYBE),
            ("UserId", "xs:string", MAYBE),
            ("Username", "xs:string", MAYBE),
        ],
    ),
];

/// An element: its name, its type, and how often it is there.
type Part = (&'static str, &'static str, Often);

/// The least and the most.
type Often = (&'static str, &'static str);

const ONCE: Often = ("1", "1");
const MAYBE: Often = ("0", "1");
const MANY: Often = ("0", "unbounded");

struct Call {
    name: &'static str,
    request: &'static [Part],
    result: (&'static str, Often),
}

/// The description, with the address where the API is.
pub(crate) fn description(address: &str) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <definitions xmlns=\"http://schemas.xmlsoap.org/wsdl/\" \
         xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\" \
         xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" xmlns:zns=\"{API}\" xmlns:ons=\"{OBJECT}\" \
         xmlns:fns=\"{FAULT}\" targetNamespace=\"{API}\">\n<types>\n"
    );
    write_objects(&mut text);
    write_faults(&mut text);
    write_calls(&mut text);
    text.push_str("</types>\n");
    write_messages(&mut text);
    write_port(&mut text);
    write_binding(&mut text);
    let _ = write!(
        text,
        "<service name=\"ZuoraService\">\n<port name=\"Soap\" binding=\"zns:SoapBinding\">\
         <soap:address location=\"{}\"/></port>\n</service>\n</definitions>\n",
        escape(address)
    );
    text
}

fn write_schema(text: &mut String, namespace: &str, others: [&str; 2], content: &str) {
    let _ = writeln!(
        text,
        "<xs:schema elementFormDefault=\"qualified\" targetNamespace=\"{namespace}\">"
    );
    for other in others {
        let _ = writeln!(text, "<xs:import namespace=\"{other}\"/>");
    }
    let _ = writeln!(text, "{content}</xs:schema>");
}

fn write_objects(text: &mut String) {
    let mut content = sequence_type(
        "zObject",
        &[("fieldsToNull", "xs:string", MANY), ("Id", "xs:string", MAYBE)],
    );
    for object in &OBJECTS {
        let _ = write!(
            content,
            "<xs:complexType name=\"{}\"><xs:complexContent><xs:extension base=\"ons:zObject\">\
             <xs:sequence>",
            object.name
        );
        for (name, kind) in object.own {
            let _ = write!(
                content,
                "<xs:element name=\"{name}\" type=\"xs:{}\" nillable=\"true\" minOccurs=\"0\"/>",
                kind.in_schema()
            );
        }
        content.push_str("</xs:sequence></xs:extension></xs:complexContent></xs:complexType>\n");
    }
    write_schema(text, OBJECT, [API, FAULT], &content);
}

fn write_faults(text: &mut String) {
    let mut content = sequence_type(
        "ApiFault",
        &[("FaultCode", "xs:string", MAYBE), ("FaultMessage", "xs:string", MAYBE)],
    );
    for name in ["ApiFault", "LoginFault"] {
        let _ = writeln!(content, "<xs:element name=\"{name}\" type=\"fns:ApiFault\"/>");
    }
    write_schema(text, FAULT, [API, OBJECT], &content);
}

fn write_calls(text: &mut String) {
    let mut content = String::new();
    for (name, parts) in TYPES {
        content.push_str(&sequence_type(name, parts));
    }
    for header in ["SessionHeader", "QueryOptions"] {
        let _ = writeln!(content, "<xs:element name=\"{header}\" type=\"zns:{header}\"/>");
    }
    for Call { name, request, result: (result, often) } in &CALLS {
        let result = format!("zns:{result}");
        let response = sequence(&[("result", &result, *often)]);
        let _ = write!(
            content,
            "<xs:element name=\"{name}\"><xs:complexType>{}</xs:complexType></xs:element>\n\
             <xs:element name=\"{name}Response\"><xs:complexType>{response}</xs:complexType>\
             </xs:element>\n",
            sequence(request)
        );
    }
    write_schema(text, API, [OBJECT, FAULT], &content);
}

fn write_messages(text: &mut String) {
    for call in &CALLS {
        for suffix in ["", "Response"] {
            let name = call.name;
            let _ = writeln!(
                text,
                "<message name=\"{name}{suffix}Message\"><part name=\"parameters\" \
                 element=\"zns:{name}{suffix}\"/></message>"
            );
        }
    }
    for fault in ["ApiFault", "LoginFault"] {
        let _ = writeln!(
            text,
            "<message name=\"{fault}\"><part name=\"fault\" element=\"fns:{fault}\"/></message>"
        );
    }
    text.push_str(
        "<message name=\"Header\"><part name=\"SessionHeader\" element=\"zns:SessionHeader\"/>\
         <part name=\"QueryOptions\" element=\"zns:QueryOptions\"/></message>\n",
    );
}

fn write_port(text: &mut String) {
    text.push_str("<portType name=\"Soap\">\n");
    for call in &CALLS {
        let (name, fault) = (call.name, fault_of(call));
        let _ = writeln!(
            text,
            "<operation name=\"{name}\"><input message=\"zns:{name}Message\"/>\
             <output message=\"zns:{name}ResponseMessage\"/>\
             <fault name=\"{fault}\" message=\"zns:{fault}\"/></operation>"
        );
    }
    text.push_str("</portType>\n");
}

fn write_binding(text: &mut String) {
    text.push_str(
        "<binding name=\"SoapBinding\" type=\"zns:Soap\">\n\
         <soap:binding style=\"document\" transport=\"http://schemas.xmlsoap.org/soap/http\"/>\n",
    );
    let header = |part: &str| {
        format!("<soap:header use=\"literal\" message=\"zns:Header\" part=\"{part}\"/>")
    };
    for call in &CALLS {
        let (name, fault) = (call.name, fault_of(call));
        let mut headers = String::new();
        if name != "login" {
            headers.push_str(&header("SessionHeader"));
        }
        if name.starts_with("query") {
            headers.push_str(&header("QueryOptions"));
        }
        let _ = writeln!(
            text,
            "<operation name=\"{name}\"><soap:operation soapAction=\"\"/>\
             <input>{headers}<soap:body use=\"literal\" parts=\"parameters\"/></input>\
             <output><soap:body use=\"literal\"/></output>\
             <fault name=\"{fault}\"><soap:fault name=\"{fault}\" use=\"literal\"/></fault>\
             </operation>"
        );
    }
    text.push_str("</binding>\n");
}

fn fault_of(call: &Call) -> &'static str {
    if call.name == "login" { "LoginFault" } else { "ApiFault" }
}

fn sequence_type(name: &str, parts: &[(&str, &str, Often)]) -> String {
    format!("<xs:complexType name=\"{name}\">{}</xs:complexType>\n", sequence(parts))
}

fn sequence(parts: &[(&str, &str, Often)]) -> String {
    let mut text = String::from("<xs:sequence>");
    for (name, kind, (least, most)) in parts {
        let _ = write!(
            text,
            "<xs:element name=\"{name}\" type=\"{kind}\" minOccurs=\"{least}\" \
             maxOccurs=\"{most}\"/>"
        );
    }
    text.push_str("</xs:sequence>");
    text
}
