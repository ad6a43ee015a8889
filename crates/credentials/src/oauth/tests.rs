//! What clients get from the gateway's own `POST /oauth/token`.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;
use crate::{AltName, AppCredential, CertificateName, ClientCertificate, SecretDigest, SigningKey};

const ID: &str = "6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11";
const SECRET: &str = "a+b/c=&d %41";
const FORM: &str = "application/x-www-form-urlencoded";

fn apps() -> Apps {
    let app = |name: &str, client_id: &str, secret: &str| AppCredential {
        name: name.to_owned(),
        client_id: client_id.to_owned(),
        secrets: vec![SecretDigest::of(secret)],
        certificate: None,
    };
    let apps = vec![app("batch", "another id", "other"), app("storefront", ID, SECRET)];
    Apps::new(apps, SigningKey::from_secret("key"), Some(0))
}

fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

fn good_form() -> String {
    let grant = ("grant_type", "client_credentials");
    form(&[("client_id", ID), ("client_secret", SECRET), grant])
}

fn grant(
    content_type: Option<&str>,
    authorization: Option<&str>,
    body: &str,
) -> Result<IssuedToken, OAuthError> {
    let mut headers = HeaderMap::new();
    let fields = [(header::CONTENT_TYPE, content_type), (header::AUTHORIZATION, authorization)];
    for (name, value) in fields {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    apps().grant((&headers).into(), body.as_bytes(), SystemTime::now())
}

/// Asserts which app gets a token, or which error is told.
#[track_caller]
fn check(authorization: Option<&str>, body: &str, expected: Result<usize, &str>) {
    let granted = grant(Some(FORM), authorization, body);
    let granted = granted.as_ref().map(IssuedToken::app).map_err(OAuthError::code);
    assert_eq!(granted, expected, "{authorization:?} {body}");
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

#[test]
fn the_answer_has_the_shape_of_zuoras() {
    let issued = grant(Some(FORM), None, &good_form()).unwrap();

    let answer: serde_json::Value = serde_json::from_str(&issued.to_json()).unwrap();
    assert_eq!(answer["token_type"], "bearer");
    assert_eq!(answer["expires_in"], 3598);
    assert_eq!(answer["scope"], "app.storefront");
    assert_eq!(answer["jti"].as_str().unwrap().len(), 32);
    let token = answer["access_token"].as_str().unwrap();
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    assert!(token.len() < 150, "{token}");
    assert_eq!(issued.app(), 1);
    assert!(!format!("{issued:?}").contains(token));
}

#[test]
fn no_two_tokens_are_the_same() {
    let one = grant(Some(FORM), None, &good_form()).unwrap().to_json();
    let other = grant(Some(FORM), None, &good_form()).unwrap().to_json();

    assert_ne!(one, other);
}

#[test]
fn an_app_may_use_the_form_or_basic_or_both() {
    let grant_only = "grant_type=client_credentials";
    let encoded = "6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11:a%2Bb%2Fc%3D%26d+%2541";

    check(None, &good_form(), Ok(1));
    check(None, &good_form().replace(ID, "storefront"), Ok(1));
    check(Some(&basic(&format!("{ID}:{SECRET}"))), grant_only, Ok(1));
    check(Some(&basic(encoded)), grant_only, Ok(1));
    check(Some(&basic(&format!("{ID}:{SECRET}"))), &good_form(), Ok(1));
    check(Some(&basic("batch:other")), &good_form(), Err("invalid_client"));
    check(Some(&basic("batch:wrong")), &good_form(), Err("invalid_client"));
}

#[test]
fn an_old_token_that_is_sent_along_does_no_harm() {
    check(Some("Bearer zgw_expired"), &good_form(), Ok(1));
    check(Some("Bearer zgw_expired"), "grant_type=client_credentials", Err("invalid_client"));
}

#[test]
fn a_client_that_is_not_an_app_gets_no_token_even_where_anonymous_calls_are_allowed() {
    let grant = ("grant_type", "client_credentials");

    check(None, &form(&[grant]), Err("invalid_client"));
    check(None, &form(&[("client_id", ID), grant]), Err("invalid_client"));
    check(None, &form(&[("client_secret", SECRET), grant]), Err("invalid_client"));
    for (id, secret) in [(ID, "wrong"), (ID, ""), ("", SECRET), ("x", SECRET), (ID, "other")] {
        let body = form(&[("client_id", id), ("client_secret", secret), grant]);
        check(None, &body, Err("invalid_client"));
    }
    check(Some("Basic ???"), &good_form(), Err("invalid_client"));
}

#[test]
fn a_request_that_is_not_one_is_refused_with_the_rule_it_broke() {
    let with = |grant: &str| good_form().replace("client_credentials", grant);

    check(None, "", Err("invalid_request"));
    check(None, &good_form().replace("grant_type", "grant"), Err("invalid_request"));
    check(None, &with("password"), Err("unsupported_grant_type"));
    check(None, &with(""), Err("unsupported_grant_type"));
    check(None, &format!("{}&client_id=x", good_form()), Err("invalid_request"));
    let json = grant(Some("application/json"), None, &good_form()).unwrap_err();
    assert_eq!(json.code(), "invalid_request");
}

#[test]
fn the_content_type_may_be_absent_or_have_parameters() {
    for content_type in [None, Some("Application/X-WWW-Form-URLencoded ; charset=utf-8")] {
        assert!(grant(content_type, None, &good_form()).is_ok(), "{content_type:?}");
    }
}

#[test]
fn an_error_is_told_as_rfc_6749_says() {
    let refused = grant(Some(FORM), None, "grant_type=client_credentials").unwrap_err();
    let invalid = grant(Some(FORM), None, "").unwrap_err();

    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refused.www_authenticate().unwrap(), r#"Basic realm="zuora-gateway""#);
    let body: serde_json::Value = serde_json::from_str(&refused.to_json()).unwrap();
    assert_eq!(body["error"], "invalid_client");
    assert!(body["error_description"].is_string());
    assert_eq!(invalid.status(), StatusCode::BAD_REQUEST);
    assert_eq!(invalid.www_authenticate(), None);
}

#[test]
fn an_app_may_prove_itself_by_its_certificate() {
    let mut apps = apps();
    let name = AltName::meant_by("storefront.internal");
    apps.apps[1].certificate = Some(CertificateName::Alt(name.clone()));
    let certificate = ClientCertificate { subject: None, alt_names: vec![name] };
    let headers = HeaderMap::new();
    let grant = |body: &str| {
        let shown = Shown { headers: &headers, certificate: Some(&certificate), session: None };
        let granted = apps.grant(shown, body.as_bytes(), SystemTime::now());
        granted.map(|token| token.app()).map_err(|error| error.code())
    };

    assert_eq!(grant("grant_type=client_credentials"), Ok(1));
    assert_eq!(grant(&format!("grant_type=client_credentials&client_id={ID}")), Ok(1));
    assert_eq!(grant(&good_form()), Ok(1));
    for other in
        ["client_id=another+id", "client_id=nobody", "client_id=another+id&client_secret=other"]
    {
        let body = format!("grant_type=client_credentials&{other}");
        assert_eq!(grant(&body), Err("invalid_client"), "{other}");
    }
    assert_eq!(
        grant(&good_form().replace("client_secret=", "client_secret=x")),
        Err("invalid_client")
    );
}

#[test]
fn the_app_that_a_refused_client_names_is_told_to_the_log() {
    let claimed = |authorization: Option<&str>, body: &str| {
        let stranger = grant(Some(FORM), authorization, body).unwrap_err().stranger();
        stranger.map(|stranger| (stranger.claimed(), stranger.reason()))
    };
    let grant = ("grant_type", "client_credentials");
    let wrong = form(&[("client_id", ID), ("client_secret", "wrong"), grant]);
    let alone = "grant_type=client_credentials";

    assert_eq!(claimed(None, &wrong), Some((Some(1), "unknown")));
    assert_eq!(claimed(Some(&basic("batch:wrong")), alone), Some((Some(0), "unknown")));
    assert_eq!(claimed(None, &wrong.replace(ID, "nobody")), Some((None, "unknown")));
    assert_eq!(claimed(None, alone), Some((None, "missing")));
    assert_eq!(claimed(Some("Basic ???"), alone), Some((None, "malformed")));
    assert_eq!(claimed(None, ""), None, "nobody tried to be anybody");
}
