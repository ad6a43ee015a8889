//! Who the gateway is to Zuora.

use super::{check, good, with};
use crate::{CredentialKind, Credentials, Renew};

const WRITTEN: &str = "{oauth: {client_id: id, client_secret: hidden-zuora}}";

#[track_caller]
fn credentials(written: &str) -> Credentials {
    let written = format!("{written}\n    soap_url: https://www.zuora.com");
    good(&with(WRITTEN, &written)).tenants[0].credentials.clone()
}

#[track_caller]
fn refused(written: &str, expected: &[&str]) {
    check(&with(WRITTEN, written), expected);
}

#[test]
fn each_kind_is_read_with_its_names_for_name_and_secret() {
    for (written, kind) in [
        ("oauth: {client_id: a, client_secret: b}", CredentialKind::OAuth),
        ("api_key: {id: a, secret: b}", CredentialKind::ApiKey),
        ("connection: {id: a, secret: b}", CredentialKind::Connection(Renew::Timer)),
        (
            "connection: {id: a, secret: b, renew: on_error}",
            CredentialKind::Connection(Renew::OnError),
        ),
        ("soap_login: {username: a, password: b}", CredentialKind::SoapLogin(Renew::Timer)),
        (
            "soap_login: {username: a, password: b, renew: every_call}",
            CredentialKind::SoapLogin(Renew::EveryCall),
        ),
    ] {
        let Credentials { main, soap, .. } = credentials(&format!("{{{written}}}"));
        assert_eq!((main.kind, soap, main.previous), (kind, None, None), "{written}");
        assert_eq!((&*main.current.id, main.current.secret.expose()), ("a", "b"), "{written}");
    }
}

#[test]
fn the_one_before_is_read_beside_it() {
    for written in [
        "oauth: {client_id: a, client_secret: b, previous: {client_id: c, client_secret: d}}",
        "api_key: {id: a, secret: b, previous: {id: c, secret: d}}",
        "connection: {id: a, secret: b, previous: {id: c, secret: d}}",
        "soap_login: {username: a, password: b, previous: {username: c, password: d}}",
    ] {
        let previous = credentials(&format!("{{{written}}}")).main.previous.unwrap();
        assert_eq!((&*previous.id, previous.secret.expose()), ("c", "d"), "{written}");
    }
}

#[test]
fn a_soap_login_beside_another_serves_soap_calls() {
    let both = credentials(
        "{oauth: {client_id: a, client_secret: b}, soap_login: {username: u, password: p}}",
    );

    assert_eq!(both.main.kind, CredentialKind::OAuth);
    let soap = both.soap.unwrap();
    assert_eq!((soap.kind, &*soap.current.id), (CredentialKind::SoapLogin(Renew::Timer), "u"));
}

#[test]
fn a_soap_login_needs_to_know_where() {
    let soap_login = "{soap_login: {username: u, password: p}}";
    refused(
        soap_login,
        &[
            "4:19: tenants.production.credentials.soap_login: it needs to know where the SOAP API is: write `soap_url` of the tenant",
        ],
    );
    let known = with("base_url: https://rest.zuora.com", "environment: us-cloud-2-production");
    good(&known.replace(WRITTEN, soap_login));
}

#[test]
fn none_and_two_are_refused() {
    refused(
        "{}",
        &[
            "4:5: tenants.production.credentials: one of the keys `oauth`, `api_key`, `connection` and `soap_login` is needed",
        ],
    );
    refused(
        "{oauth: {client_id: a, client_secret: hidden}, api_key: {id: a, secret: hidden}}",
        &[
            "4:5: tenants.production.credentials: write one of `oauth`, `api_key` and `connection`; only `soap_login` may stand beside it",
        ],
    );
}

#[test]
fn half_of_a_credential_is_told() {
    refused(
        "{connection: {id: a, renew: sometimes, previous: {secret: hidden}}}",
        &[
            "4:19: tenants.production.credentials.connection: the key `secret` is missing",
            "4:46: tenants.production.credentials.connection.renew: expected one of `timer`, `on_error`, `every_call`, found `sometimes`",
            "4:57: tenants.production.credentials.connection.previous: the key `id` is missing",
        ],
    );
    refused(
        "{oauth: {client_id: a, client_secret: hidden, renew: timer}}",
        &[
            "4:64: tenants.production.credentials.oauth: unknown key `renew`, known here: `client_id`, `client_secret`, `previous`",
        ],
    );
}

#[test]
fn the_one_before_is_another_one() {
    refused(
        "{api_key: {id: a, secret: hidden, previous: {id: a, secret: hidden}}}",
        &[
            "4:67: tenants.production.credentials.api_key.previous.id: `previous` is the same credential as the one above it",
        ],
    );
    credentials("{api_key: {id: a, secret: b, previous: {id: a, secret: c}}}");
}

#[test]
fn what_goes_into_a_field_can_stand_there() {
    let why = "it cannot stand in a header field, where Zuora wants it";
    refused(
        r#"{api_key: {id: "a\nb", secret: "hidden\u0000"}}"#,
        &[
            &format!("4:33: tenants.production.credentials.api_key.id: {why}"),
            &format!("4:49: tenants.production.credentials.api_key.secret: {why}"),
        ],
    );
    refused(
        r#"{connection: {id: a, secret: b, previous: {id: c, secret: "hidden\r"}}}"#,
        &[&format!("4:76: tenants.production.credentials.connection.previous.secret: {why}")],
    );
    credentials(r#"{oauth: {client_id: a, client_secret: "b\nc"}}"#);
    credentials(r#"{soap_login: {username: "\u00fc", password: "b\nc"}}"#);
    credentials(r#"{api_key: {id: "j\u00fcrgen", secret: "b c"}}"#);
}
