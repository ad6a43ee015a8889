//! Who is let in as whom, and that nothing else is.

use std::time::Duration;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use http::{HeaderMap, HeaderValue, header};

use super::*;
use crate::IssuedToken;

const STOREFRONT_ID: &str = "6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11";
const STOREFRONT_SECRET: &str = "storefront's secret: +/=%";
const BATCH_SECRET: &str = "the secret of batch";
const DAY: Duration = Duration::from_secs(24 * 3600);
const NOW: Duration = Duration::from_secs(1_800_000_000);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW
}

fn apps_with(storefront_secret: &str, key: &str, anonymous: Option<usize>) -> Apps {
    let app = |name: &str, client_id: &str, secret: &str| AppCredential {
        name: name.to_owned(),
        client_id: client_id.to_owned(),
        secrets: vec![SecretDigest::of(secret)],
        certificate: None,
    };
    let apps = vec![
        app("storefront", STOREFRONT_ID, storefront_secret),
        app("batch", "11111111-2222-3333-4444-555555555555", BATCH_SECRET),
    ];
    Apps::new(apps, SigningKey::from_secret(key), anonymous)
}

fn apps() -> Apps {
    apps_with(STOREFRONT_SECRET, "key", None)
}

fn headers(fields: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(field.as_bytes()).unwrap());
    }
    headers
}

fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
}

/// Returns the app that requests with these fields come from, or why it is not known.
fn who(apps: &Apps, headers: &HeaderMap, now: SystemTime) -> Result<usize, &'static str> {
    known(apps.identify(headers.into(), now))
}

fn known(known: Result<Known, Unauthenticated>) -> Result<usize, &'static str> {
    known.map(|known| known.app).map_err(Unauthenticated::reason)
}

/// Asserts what requests with these `Authorization` fields are taken for.
#[track_caller]
fn check(fields: &[&str], expected: Result<usize, &str>) {
    assert_eq!(who(&apps(), &headers(fields), now()), expected, "{fields:?}");
}

/// Returns the token that an app got at `at`.
fn token(apps: &Apps, at: SystemTime) -> String {
    let form = format!("grant_type=client_credentials&client_id={STOREFRONT_ID}&client_secret=");
    let secret: String = form_urlencoded::byte_serialize(STOREFRONT_SECRET.as_bytes()).collect();
    let issued: IssuedToken =
        apps.grant((&HeaderMap::new()).into(), (form + &secret).as_bytes(), at).unwrap();
    let answer: serde_json::Value = serde_json::from_str(&issued.to_json()).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

#[test]
fn an_app_is_known_by_its_secret() {
    check(&[&format!("Bearer {STOREFRONT_SECRET}")], Ok(0));
    check(&[&format!("Bearer {BATCH_SECRET}")], Ok(1));
    check(&[&format!("bearer   {BATCH_SECRET} ")], Ok(1));
    check(&[&format!("BEARER\t{BATCH_SECRET}")], Ok(1));
}

#[test]
fn an_app_is_known_by_basic_with_its_id_or_its_name() {
    check(&[&basic(STOREFRONT_ID, STOREFRONT_SECRET)], Ok(0));
    check(&[&basic("batch", BATCH_SECRET)], Ok(1));
    check(&[&basic("batch", BATCH_SECRET).replace("Basic", "bAsIc")], Ok(1));
    let unpadded = STANDARD_NO_PAD.encode(format!("batch:{BATCH_SECRET}"));
    check(&[&format!("Basic {unpadded}")], Ok(1));
}

#[test]
fn a_secret_that_is_nearly_right_is_wrong() {
    let short = &BATCH_SECRET[..BATCH_SECRET.len() - 1];
    for secret in
        [short, &BATCH_SECRET[1..], &format!("{BATCH_SECRET}x"), "x", "THE SECRET OF BATCH"]
    {
        check(&[&format!("Bearer {secret}")], Err("unknown"));
        check(&[&basic("batch", secret)], Err("unknown"));
    }
    let digest = "Bearer 0000000000000000000000000000000000000000000000000000000000000000";
    check(&[digest], Err("unknown"));
}

#[test]
fn a_secret_counts_only_for_its_own_app() {
    check(&[&basic("storefront", BATCH_SECRET)], Err("unknown"));
    check(&[&basic("nobody", BATCH_SECRET)], Err("unknown"));
    check(&[&basic("", BATCH_SECRET)], Err("unknown"));
    check(&[&basic("batch", "")], Err("unknown"));
}

#[test]
fn what_cannot_be_a_credential_is_malformed() {
    for field in [
        "",
        "Bearer",
        "Bearer ",
        "Basic",
        "Basic !!!",
        "Basic Y29sb24gbWlzc2luZw==",
        BATCH_SECRET,
        "Digest username=\"batch\"",
        "BearerX the secret of batch",
    ] {
        check(&[field], Err("malformed"));
    }
    let not_text = format!("Basic {}", STANDARD.encode(b"\xff\xfe:secret"));
    check(&[&not_text], Err("malformed"));
}

#[test]
fn two_credentials_are_none() {
    let good = format!("Bearer {BATCH_SECRET}");

    check(&[&good, "Bearer wrong"], Err("malformed"));
    check(&["Bearer wrong", &good], Err("malformed"));
    check(&[&good, &good], Err("malformed"));
}

#[test]
fn without_a_credential_a_request_is_nobodys_unless_anonymous_is_an_app() {
    let open = apps_with(STOREFRONT_SECRET, "key", Some(1));
    let nothing = HeaderMap::new();
    let mut older = HeaderMap::new();
    older.insert("apiAccessKeyId", HeaderValue::from_static("id"));

    check(&[], Err("missing"));
    assert_eq!(who(&open, &nothing, now()), Ok(1));
    assert_eq!(who(&open, &older, now()), Err("unknown"));
    for field in ["Bearer wrong", "Bearer", ""] {
        assert!(who(&open, &headers(&[field]), now()).is_err(), "{field}");
    }
}

#[test]
fn the_caller_is_told_the_same_whatever_was_wrong_with_its_guess() {
    use Why::{Conflicting, Expired, Malformed, Missing, Unknown};
    let told = |why: Why| why.claimed_by(Some(1)).to_string();

    let guesses = [Malformed, Conflicting, Unknown];
    assert!(guesses.iter().all(|why| told(*why) == told(Missing)));
    assert!(told(Expired).contains("get a new one"), "{}", told(Expired));
    let all = [Missing, Malformed, Conflicting, Unknown, Expired];
    let reasons = all.map(|why| why.of_nobody().reason());
    assert_eq!(reasons, ["missing", "malformed", "conflicting", "unknown", "expired"]);
}

#[test]
fn a_token_is_good_for_a_day_though_it_is_announced_for_an_hour() {
    let apps = apps();
    let token = headers(&[&format!("Bearer {}", token(&apps, now()))]);

    let at = |later| who(&apps, &token, now() + later);
    assert_eq!(at(Duration::ZERO), Ok(0));
    assert_eq!(at(Duration::from_secs(7200)), Ok(0));
    assert_eq!(at(DAY - Duration::from_secs(1)), Ok(0));
    assert_eq!(at(DAY), Err("expired"));
    // A clock that was set back a little is no reason, one that is days off is.
    assert_eq!(who(&apps, &token, now() - Duration::from_secs(60)), Ok(0));
    assert_eq!(who(&apps, &token, now() - DAY), Err("expired"));
}

#[test]
fn a_token_survives_a_restart_and_works_on_every_replica() {
    let token = token(&apps(), now());

    let elsewhere = apps();

    let headers = headers(&[&format!("bearer {token}")]);
    assert_eq!(who(&elsewhere, &headers, now()), Ok(0));
}

#[test]
fn a_new_secret_or_a_new_key_revokes_a_token() {
    let headers = headers(&[&format!("Bearer {}", token(&apps(), now()))]);

    let new_secret = apps_with("another secret", "key", None);
    let new_key = apps_with(STOREFRONT_SECRET, "another key", None);

    assert_eq!(who(&new_secret, &headers, now()), Err("unknown"));
    assert_eq!(who(&new_key, &headers, now()), Err("unknown"));
}

#[test]
fn a_token_with_any_bit_changed_is_worthless() {
    let apps = apps();
    let token = token(&apps, now());

    for at in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(field) = HeaderValue::from_bytes(&[b"Bearer ", &*bytes].concat()) else {
                continue;
            };
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, field);
            assert!(who(&apps, &headers, now()).is_err(), "byte {at}, bit {bit}");
        }
    }
    for length in 0..token.len() {
        let cut = headers(&[&format!("Bearer {}", &token[..length])]);
        assert!(who(&apps, &cut, now()).is_err(), "cut to {length}");
    }
}

#[test]
fn a_secret_may_look_like_a_token() {
    let apps = apps_with("zgw_abc", "key", None);

    assert_eq!(who(&apps, &headers(&["Bearer zgw_abc"]), now()), Ok(0));
}

#[test]
fn nothing_that_is_printed_shows_a_secret() {
    let printed = format!("{:?} {:?}", apps(), SecretDigest::of(BATCH_SECRET));

    let bytes = format!("{:?}", SecretDigest::of(BATCH_SECRET).as_bytes());
    assert!(!printed.contains(BATCH_SECRET) && !printed.contains(&bytes), "{printed}");
    assert!(printed.contains("storefront"), "{printed}");
}
