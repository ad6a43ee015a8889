//! What apps prove who they are with: secrets that change, and certificates.

use std::fs;
use std::path::Path;

use super::{check, good, with, with_app};
use crate::{AppSecret, CertificateName, Config};

/// A gateway that asks for client certificates. That the files hold any is looked at by whoever uses them.
const LISTEN: &str =
    "listen: {tls: {certificate: Cargo.toml, key: Cargo.toml, client_ca: Cargo.toml}}\n";

/// A file whose gateway asks for client certificates, with these keys of the app.
fn asking(more: &str) -> Config {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("pem"), "").unwrap();
    let listen = "listen: {tls: {certificate: pem, key: pem, client_ca: pem}}\n";
    let text = with("    secret: hidden-storefront\n", &format!("    {more}\n")) + listen;
    let environment = std::collections::BTreeMap::new();
    crate::parse(&text, &directory.path().join("F"), &environment)
        .unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

#[test]
fn the_secret_before_is_taken_beside_the_one_of_today() {
    let plain = good(&with_app("previous_secret: hidden-before"));
    let hashed = good(&with_app(&format!("previous_secret_sha256: {}", "0a".repeat(32))));

    let [AppSecret::Plain(now), AppSecret::Plain(before)] = &plain.apps[0].secrets[..] else {
        panic!("{plain:?}")
    };
    assert_eq!((now.expose(), before.expose()), ("hidden-storefront", "hidden-before"));
    assert!(
        matches!(hashed.apps[0].secrets[..], [AppSecret::Plain(_), AppSecret::Sha256(digest)] if digest == [10; 32])
    );
    assert!(!format!("{plain:?}").contains("hidden"));
}

#[test]
fn a_secret_before_needs_one_of_today_and_is_written_once() {
    let hashed = format!("previous_secret_sha256: {}", "0a".repeat(32));
    check(
        &with_app(&format!("previous_secret: hidden\n{hashed}")),
        &["6:3: apps.storefront: write `previous_secret` or `previous_secret_sha256`, not both"],
    );
    check(
        &with("secret: hidden-storefront", "previous_secret: hidden"),
        &["6:3: apps.storefront: a previous secret without one that takes its place"],
    );
    check(
        &with_app("previous_secret: ''"),
        &["10:22: apps.storefront.previous_secret: expected a secret: it is empty"],
    );
}

#[test]
fn the_secret_before_is_another_one() {
    let told =
        "6:3: apps.storefront: the previous secret is the same as the one that takes its place";
    check(&with_app("previous_secret: hidden-storefront"), &[told]);
    check(
        &with_app(
            "previous_secret_sha256: a3787f3865370a28264adb75859b8e705010185c3d0de37ce8ed27e9325da652",
        ),
        &[told],
    );
}

#[test]
fn no_app_has_the_secret_that_another_one_had() {
    let second = "  batch:
    tenant: production
    client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d
    secret: hidden-batch
    previous_secret: hidden-storefront\n";
    check(
        &format!("{}{second}", with_app("")),
        &[
            "14:22: apps.batch.previous_secret: the apps `storefront` and `batch` have the same secret",
        ],
    );
}

#[test]
fn an_app_with_a_certificate_needs_no_secret() {
    let by_name = asking("certificate: {san: Storefront.internal}");
    let by_subject = asking("certificate: {subject: \"CN=storefront, O=Example\"}");

    assert!(by_name.apps[0].secrets.is_empty());
    let name = CertificateName::Alt("Storefront.internal".to_owned());
    assert_eq!(by_name.apps[0].certificate, Some(name));
    let attributes = [("2.5.4.3", "storefront"), ("2.5.4.10", "Example")];
    let attributes = attributes.map(|(kind, value)| (kind.to_owned(), value.to_owned()));
    let subject = CertificateName::Subject(attributes.into());
    assert_eq!(by_subject.apps[0].certificate, Some(subject));
    let tls = by_name.listen.tls.unwrap();
    assert_eq!(tls.client_ca.as_deref().and_then(Path::file_name), Some("pem".as_ref()));
}

#[test]
fn a_certificate_needs_authorities_and_one_name() {
    check(
        &with_app("certificate: {san: a.internal}"),
        &[
            "6:3: apps.storefront: `certificate` needs `listen.tls.client_ca`, the authorities that count",
        ],
    );
    let both = "certificate: {san: a.internal, subject: CN=a}";
    let one =
        "6:3: apps.storefront.certificate: one of the keys `subject` and `san` is needed, not both";
    check(&format!("{LISTEN}{}", with_app(both)), &[&one.replace("6:", "7:")]);
    check(&format!("{LISTEN}{}", with_app("certificate: {}")), &[&one.replace("6:", "7:")]);
    let printed = "11:24: apps.storefront.certificate.san: expected a subject alternative name: a host name, a URI, a mail address or an IP address, found `DNS:a.internal`: that is how openssl prints it: leave `DNS:` out";
    check(&format!("{LISTEN}{}", with_app("certificate: {san: DNS:a.internal}")), &[printed]);
    let bad = "11:28: apps.storefront.certificate.subject: expected the subject of a certificate such as `CN=storefront,O=Example`, found `storefront`";
    check(&format!("{LISTEN}{}", with_app("certificate: {subject: storefront}")), &[bad]);
}

#[test]
fn two_apps_with_one_certificate() {
    let text = |first: &str, second: &str| {
        let second = format!(
            "  batch: {{tenant: production, client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d, certificate: {second}}}\n"
        );
        format!("{LISTEN}{}{second}", with_app(&format!("certificate: {first}")))
    };
    let same = [
        ("{subject: \"CN=a,O=b\"}", "{subject: \"O=b, CN=a\"}", "subject"),
        ("{san: a.internal}", "{san: A.internal}", "san"),
    ];
    for (first, second, key) in same {
        let told = super::read(&text(first, second), &[]).unwrap_err().to_string();
        let expected = format!(
            "apps.batch.certificate.{key}: the apps `storefront` and `batch` have the same certificate"
        );
        assert!(told.contains(&expected), "{told}");
    }
    good(&text("{san: a.internal}", "{san: b.internal}"));
}
