//! Who is let in as whom, and that nothing else is.

use std::time::Duration;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::*;
use crate::{AltName, IssuedToken};

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

/// Returns header fields, doubled ones apart.
fn fields(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// Asserts what requests with these fields are taken for.
#[track_caller]
fn check_fields(apps: &Apps, given: &[(&str, &str)], expected: Result<usize, &str>) {
    assert_eq!(who(apps, &fields(given), now()), expected, "{given:?}");
}

/// Returns a session of storefront.
fn session() -> String {
    token(&apps(), now())
}

fn certificate(alt_name: &str) -> ClientCertificate {
    ClientCertificate { subject: None, alt_names: vec![AltName::meant_by(alt_name)] }
}

/// Two apps, of which the second has nothing but a certificate.
fn certified() -> Apps {
    let mut apps = apps();
    apps.apps[1].secrets.clear();
    apps.apps[1].certificate = Some(CertificateName::Alt(AltName::meant_by("batch.internal")));
    apps
}

#[test]
fn an_app_is_known_by_the_pair_of_older_fields() {
    let apps = apps();
    let keys = |id, secret| [("apiAccessKeyId", id), ("apiSecretAccessKey", secret)];

    check_fields(&apps, &keys(STOREFRONT_ID, STOREFRONT_SECRET), Ok(0));
    check_fields(&apps, &keys("batch", BATCH_SECRET), Ok(1));
    check_fields(&apps, &keys("batch", STOREFRONT_SECRET), Err("unknown"));
    check_fields(&apps, &keys("batch", ""), Err("unknown"));
    check_fields(&apps, &keys("batch", BATCH_SECRET)[..1], Err("unknown"));
    check_fields(&apps, &keys("batch", BATCH_SECRET)[1..], Err("unknown"));
    let [id, secret] = keys("batch", BATCH_SECRET);
    check_fields(&apps, &[id, id, secret], Err("malformed"));
    check_fields(&apps, &[id, secret, ("apisecretaccesskey", "x")], Err("malformed"));
}

#[test]
fn a_session_is_found_in_whatever_cookies_clients_send() {
    let (apps, session) = (apps(), session());
    let line = apps.issue(&apps.login("batch", BATCH_SECRET).unwrap(), now()).to_cookie(true);

    let good = [
        format!("ZSession={session}"),
        format!("zsession={session}"),
        format!("a=b; ZSession={session}; c=d"),
        format!("a=b;ZSession={session};c=d"),
        format!(" ZSession = {session} ;"),
        format!("ZSession=\"{session}\""),
        format!("$Version=1; ZSession=\"{session}\"; $Path=/"),
        format!("ZSession={session}; Path=/; Secure; HttpOnly"),
        format!("ZSession={session}; Path=/; HttpOnly, JSESSIONID=x; Path=/apps"),
        format!("ZSession={session};"),
        // Two `Set-Cookie` lines, joined as header fields usually may be.
        format!("ZSession={session}, JSESSIONID=x"),
        format!("ZSession={session}; ZSession={session}"),
    ];
    for cookie in &good {
        check_fields(&apps, &[("cookie", cookie)], Ok(0));
    }
    check_fields(&apps, &[("cookie", line.to_str().unwrap())], Ok(1));
    check_fields(&apps, &[("cookie", "a=b"), ("cookie", &good[0])], Ok(0));
    for others in ["", "a=b", "ZSession", "XZSession=x", "a=ZSession=x", "ZSession2=x"] {
        check_fields(&apps, &[("cookie", others)], Err("missing"));
    }
}

#[test]
fn only_what_the_gateway_gave_is_a_session() {
    let (apps, session) = (apps(), session());
    let long = "x".repeat(4097);

    check_fields(&apps, &[("authorization", &format!("ZSession {session}"))], Ok(0));
    check_fields(&apps, &[("authorization", &format!("zsession-A3N2w {session}"))], Ok(0));
    for wrong in [BATCH_SECRET, "", "zgw_", &session[..session.len() - 1]] {
        check_fields(&apps, &[("cookie", &format!("ZSession={wrong}"))], Err("unknown"));
        let authorization = format!("ZSession {wrong}.");
        check_fields(&apps, &[("authorization", &authorization)], Err("unknown"));
    }
    check_fields(&apps, &[("cookie", &format!("ZSession={long}"))], Err("malformed"));
    let headers = fields(&[("cookie", &format!("ZSession={session}"))]);
    assert_eq!(who(&apps, &headers, now() + DAY), Err("expired"));
}

#[test]
fn a_wrong_credential_is_never_anonymous() {
    let open = apps_with(STOREFRONT_SECRET, "key", Some(1));
    let wrong = [
        ("cookie", "ZSession="),
        ("cookie", "ZSession=x"),
        ("apiAccessKeyId", "batch"),
        ("apiSecretAccessKey", ""),
        ("authorization", "ZSession x"),
    ];
    for field in wrong {
        check_fields(&open, &[field], Err("unknown"));
    }
    let nobody = certificate("nobody");
    let shown = |certificate, session| {
        let headers = HeaderMap::new();
        known(open.identify(Shown { headers: &headers, certificate, session }, now()))
    };
    assert_eq!(shown(Some(&nobody), None), Err("unknown"));
    assert_eq!(shown(None, Some("x")), Err("unknown"));
    assert_eq!(shown(None, Some("")), Err("unknown"));
    let anonymous = open.identify((&HeaderMap::new()).into(), now());
    assert_eq!(anonymous, Ok(Known { app: 1, by: By::Nothing }));
}

#[test]
fn all_that_a_request_shows_must_be_right_and_of_one_app() {
    let apps = apps();
    let (bearer, session) = (format!("Bearer {STOREFRONT_SECRET}"), session());
    let cookie = format!("ZSession={session}");
    let keys = [("apiAccessKeyId", STOREFRONT_ID), ("apiSecretAccessKey", STOREFRONT_SECRET)];
    let storefront = [("authorization", &*bearer), ("cookie", &*cookie), keys[0], keys[1]];
    check_fields(&apps, &storefront, Ok(0));

    let batch = format!("Bearer {BATCH_SECRET}");
    let [_, rest @ ..] = storefront;
    let of_both = [&[("authorization", &*batch)][..], &rest].concat();
    check_fields(&apps, &of_both, Err("conflicting"));
    for wrong in [("cookie", "ZSession=x"), ("authorization", "Bearer x")] {
        let beside = storefront.iter().copied().filter(|(name, _)| *name != wrong.0);
        let beside: Vec<_> = beside.chain([wrong]).collect();
        check_fields(&apps, &beside, Err("unknown"));
    }
    let two = [("cookie", &*cookie), ("cookie", "ZSession=x")];
    check_fields(&apps, &two, Err("unknown"));

    let headers = fields(&storefront[..1]);
    let with = |session| {
        known(apps.identify(Shown { headers: &headers, certificate: None, session }, now()))
    };
    let batch = apps.issue(&apps.login("batch", BATCH_SECRET).unwrap(), now());
    assert_eq!(with(Some(&*session)), Ok(0));
    assert_eq!(with(Some(batch.expose())), Err("conflicting"));
    assert_eq!(with(Some("x")), Err("unknown"));
}

#[test]
fn an_app_is_known_by_its_certificate() {
    let apps = certified();
    let (batch, nobody) = (certificate("batch.internal"), certificate("nobody.internal"));
    let shown = |fields: &HeaderMap, certificate| {
        apps.identify(
            Shown { headers: fields, certificate: Some(certificate), session: None },
            now(),
        )
    };
    let storefront = headers(&[&format!("Bearer {STOREFRONT_SECRET}")]);

    let alone = shown(&HeaderMap::new(), &batch);
    assert_eq!(alone, Ok(Known { app: 1, by: By::Certificate }));
    assert_eq!(known(shown(&HeaderMap::new(), &nobody)), Err("unknown"));
    assert_eq!(known(shown(&storefront, &batch)), Err("conflicting"));
    let beside = shown(&storefront, &nobody);
    assert_eq!(beside, Ok(Known { app: 0, by: By::Credential }));
    assert_eq!(known(shown(&headers(&["Bearer x"]), &batch)), Err("unknown"));
    check_fields(&apps, &[("authorization", &format!("Bearer {BATCH_SECRET}"))], Err("unknown"));
    check_fields(&apps, &[("authorization", &basic("batch", ""))], Err("unknown"));
}

#[test]
fn a_certificate_of_two_apps_is_of_none() {
    let mut apps = certified();
    apps.apps[0].certificate = Some(CertificateName::Alt(AltName::meant_by("front.internal")));
    let mut both = certificate("batch.internal");
    both.alt_names.push(AltName::meant_by("front.internal"));

    let headers = HeaderMap::new();
    let shown = Shown { headers: &headers, certificate: Some(&both), session: None };
    assert_eq!(known(apps.identify(shown, now())), Err("conflicting"));
}

#[test]
fn while_a_secret_is_changed_the_one_before_is_taken_too() {
    let mut apps = apps();
    let before = apps.issue(&apps.login("batch", BATCH_SECRET).unwrap(), now());
    apps.apps[1].secrets.insert(0, SecretDigest::of("new"));
    let both = ["new", BATCH_SECRET]
        .map(|secret| apps.issue(&apps.login("batch", secret).unwrap(), now()));

    for token in both.iter().chain([&before]) {
        let bearer = format!("Bearer {}", token.expose());
        check_fields(&apps, &[("authorization", &bearer)], Ok(1));
    }
    for secret in ["new", BATCH_SECRET] {
        check_fields(&apps, &[("authorization", &format!("Bearer {secret}"))], Ok(1));
        check_fields(&apps, &[("authorization", &basic("batch", secret))], Ok(1));
    }

    // Once it is gone, so is what was got for it.
    apps.apps[1].secrets.truncate(1);
    let left = both
        .iter()
        .chain([&before])
        .map(|token| who(&apps, &headers(&[&format!("Bearer {}", token.expose())]), now()));
    assert_eq!(left.collect::<Vec<_>>(), [Ok(1), Err("unknown"), Err("unknown")]);
    check_fields(&apps, &[("authorization", &format!("Bearer {BATCH_SECRET}"))], Err("unknown"));
}

#[test]
fn a_session_is_given_for_a_secret_and_not_for_another_session() {
    let (apps, old) = (certified(), session());
    let stale = [("cookie", format!("ZSession={old}")), ("authorization", format!("Bearer {old}"))];
    let connect = |given: &[(&str, &str)], certificate: Option<&ClientCertificate>| {
        let headers = fields(given);
        let shown = Shown { headers: &headers, certificate, session: None };
        apps.connect(shown).map(|login| login.app()).map_err(Unauthenticated::reason)
    };
    let keys = [("apiAccessKeyId", STOREFRONT_ID), ("apiSecretAccessKey", STOREFRONT_SECRET)];
    let stale = [(stale[0].0, &*stale[0].1), (stale[1].0, &*stale[1].1)];

    assert_eq!(connect(&keys, None), Ok(0));
    assert_eq!(connect(&[keys[0], keys[1], stale[0], stale[1]], None), Ok(0));
    let gone = [keys[0], keys[1], ("cookie", "ZSession=of-somebody-else")];
    assert_eq!(connect(&gone, None), Ok(0));
    assert_eq!(connect(&stale, None), Err("missing"));
    assert_eq!(connect(&[], None), Err("missing"));
    assert_eq!(connect(&keys[..1], None), Err("unknown"));
    let basic = basic(STOREFRONT_ID, STOREFRONT_SECRET);
    assert_eq!(connect(&[("authorization", &basic)], None), Ok(0));
    let batch = certificate("batch.internal");
    assert_eq!(connect(&[], Some(&batch)), Ok(1));
    assert_eq!(connect(&keys, Some(&batch)), Err("conflicting"));
    assert_eq!(connect(&keys, Some(&certificate("nobody"))), Ok(0));
    // Where nobody needs a credential, a session needs one all the same.
    let open = apps_with(STOREFRONT_SECRET, "key", Some(1));
    assert!(open.connect((&HeaderMap::new()).into()).is_err());
}

#[test]
fn a_session_that_was_given_for_a_certificate_hangs_on_it() {
    let mut apps = certified();
    let (headers, batch) = (HeaderMap::new(), certificate("batch.internal"));
    let shown = Shown { headers: &headers, certificate: Some(&batch), session: None };
    let given = apps.issue(&apps.connect(shown).unwrap(), now());
    let bearer = format!("Bearer {}", given.expose());
    check_fields(&apps, &[("authorization", &bearer)], Ok(1));

    apps.apps[1].certificate = Some(CertificateName::Alt(AltName::meant_by("other.internal")));

    check_fields(&apps, &[("authorization", &bearer)], Err("unknown"));
}

#[test]
fn the_app_that_a_wrong_credential_names_is_told_to_the_log() {
    let apps = apps();
    let claimed = |given: &[(&str, &str)], at| {
        apps.identify((&fields(given)).into(), at).unwrap_err().claimed()
    };
    let (wrong, expired) = (basic(STOREFRONT_ID, "wrong"), format!("Bearer {}", session()));
    // Signed with another key, it still names whom it claims to be for.
    let forged = apps_with(STOREFRONT_SECRET, "another key", None);
    let forged = format!("Bearer {}", token(&forged, now()));

    assert_eq!(claimed(&[("authorization", &wrong)], now()), Some(0));
    assert_eq!(claimed(&[("apiAccessKeyId", "batch")], now()), Some(1));
    assert_eq!(claimed(&[("authorization", &expired)], now() + DAY), Some(0));
    assert_eq!(claimed(&[("authorization", &forged)], now()), Some(0));
    assert_eq!(claimed(&[("authorization", &basic("nobody", "x"))], now()), None);
    assert_eq!(claimed(&[("authorization", "Bearer x")], now()), None);
    assert_eq!(claimed(&[], now()), None);
}

#[test]
fn what_makes_a_cookie_of_a_session_suits_the_way_it_came() {
    let apps = apps();
    let session = apps.issue(&apps.login(STOREFRONT_ID, STOREFRONT_SECRET).unwrap(), now());
    let token = session.expose();

    let plain = session.to_cookie(false);
    assert_eq!(plain.to_str().unwrap(), format!("ZSession={token}; Path=/; HttpOnly"));
    let secure = session.to_cookie(true);
    assert_eq!(secure.to_str().unwrap(), format!("ZSession={token}; Path=/; Secure; HttpOnly"));
    assert!(!format!("{session:?} {plain:?}").contains(token));
}
