//! Client certificates: whom they prove, and whom they do not.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use testkit::Yaml;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{OTHER, OTHER_SECRET, with};
use crate::wire::attack::Scene;

/// Who certifies.
struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
type Identity = (Vec<CertificateDer<'static>>, Vec<u8>);

/// What a certificate says of its bearer.
#[derive(Clone, Default)]
struct Says<'a> {
    names: &'a [(DnType, &'a str)],
    hosts: &'a [&'a str],
    is_expired: bool,
    is_for_servers_only: bool,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { pem, der, issuer: Issuer::new(params, key) }
    }

    fn certify(&self, says: &Says<'_>) -> Identity {
        let (certificate, key) = self.sign(says);
        (vec![certificate.der().clone()], key.serialize_der())
    }

    fn sign(&self, says: &Says<'_>) -> (rcgen::Certificate, KeyPair) {
        let hosts: Vec<_> = says.hosts.iter().map(|it| (*it).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in says.names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        if says.is_expired {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        if says.is_for_servers_only {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// A gateway that speaks TLS and takes the certificates of one authority.
struct Gate {
    scene: Scene,
    authority: Authority,
    server: Authority,
    _files: TempDir,
}

const ORGANIZATION: (DnType, &str) = (DnType::OrganizationName, "Example");

fn common(name: &str) -> (DnType, &str) {
    (DnType::CommonName, name)
}

impl Gate {
    /// `app` proves itself by its subject, `other` by its host name.
    async fn open(top: &[&str]) -> Self {
        let (authority, server, files) =
            (Authority::new(), Authority::new(), TempDir::new().unwrap());
        let (certificate, key) = server.sign(&Says { hosts: &["gw"], ..Says::default() });
        let write = |name: &str, text: String| {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let tls = format!(
            "tls: {{certificate: {}, key: {}, client_ca: {}}}",
            write("certificate.pem", certificate.pem()),
            write("key.pem", key.serialize_pem()),
            write("ca.pem", authority.pem.clone()),
        );
        let other = format!(
            "client_id: {OTHER}, secret: {OTHER_SECRET}, certificate: {{san: storefront.internal}}"
        );
        let yaml = Yaml {
            listen: vec![tls],
            app: vec![r#"certificate: {subject: "CN=storefront,O=Example"}"#.to_owned()],
            apps: vec![("other".to_owned(), other)],
            top: top.iter().map(|it| (*it).to_owned()).collect(),
            ..Yaml::default()
        };
        Self { scene: Scene::with(&yaml).await, authority, server, _files: files }
    }

    /// The answer to `GET line` with `fields` over TLS; `None` if there is no handshake, or no answer.
    async fn ask(&self, line: &str, identity: Option<&Identity>, fields: &str) -> Option<String> {
        let fields = format!("{fields}Connection: close\r\n");
        exchange(self.scene.address(), &self.server.der, identity, &with(line, &fields)).await
    }

    /// Whom the gateway takes the bearer for: an app, nobody (`401`), or somebody to have no handshake with.
    async fn whose(&self, identity: Option<&Identity>, fields: &str) -> String {
        self.scene.upstream.forget();
        let called = self.ask("GET /v1/accounts/A1", identity, fields).await;
        let Some(answer) = self.ask("GET /_gateway/whoami", identity, fields).await else {
            assert_eq!((called, self.scene.upstream.received().len()), (None, 0));
            return "no handshake".into();
        };
        let called = called.unwrap();
        if answer.starts_with("HTTP/1.1 401 ") {
            assert!(called.starts_with("HTTP/1.1 401 "), "{called}");
            assert_eq!(self.scene.upstream.received().len(), 0);
            return "nobody".into();
        }
        assert!(called.starts_with("HTTP/1.1 200 "), "{called}");
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        json["app"].as_str().unwrap().to_owned()
    }
}

async fn exchange(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    identity: Option<&Identity>,
    request: &str,
) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::try_from(key.clone()).unwrap();
            config.with_client_auth_cert(chain.clone(), key).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("gw").unwrap();
    let mut tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    tls.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    // A server that turns a client certificate down says so when the handshake seems to be over (RFC 8446 4.4.2).
    tls.read_to_end(&mut answer).await.ok()?;
    (!answer.is_empty()).then(|| String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn a_certificate_is_the_app_whose_subject_or_name_it_has() {
    let gate = Gate::open(&[]).await;
    let by = |says: Says<'_>| gate.authority.certify(&says);
    let cases = [
        ("app", by(Says { names: &[ORGANIZATION, common("storefront")], ..Says::default() })),
        (
            "other",
            by(Says { names: &[common("x")], hosts: &["storefront.internal"], ..Says::default() }),
        ),
        ("other", by(Says { hosts: &["a.internal", "storefront.internal"], ..Says::default() })),
    ];
    for (expected, identity) in &cases {
        assert_eq!(gate.whose(Some(identity), "").await, *expected);
    }
    // Nobody must show one.
    assert_eq!(
        gate.whose(None, &format!("Authorization: Bearer {OTHER_SECRET}\r\n")).await,
        "other"
    );
    assert_eq!(gate.whose(None, "").await, "nobody");
}

#[tokio::test]
async fn a_certificate_that_only_looks_like_an_apps_is_nobodys() {
    for top in [&[][..], &["anonymous: app"]] {
        let gate = Gate::open(top).await;
        let by = |says: Says<'_>| gate.authority.certify(&says);
        let unit = (DnType::OrganizationalUnitName, "Example");
        let cases = [
            (
                "the common name alone",
                by(Says { names: &[common("storefront")], ..Says::default() }),
            ),
            (
                "another organization",
                by(Says {
                    names: &[(DnType::OrganizationName, "Evil"), common("storefront")],
                    ..Says::default()
                }),
            ),
            ("a unit", by(Says { names: &[unit, common("storefront")], ..Says::default() })),
            (
                "one more",
                by(Says {
                    names: &[
                        ORGANIZATION,
                        (DnType::OrganizationalUnitName, "x"),
                        common("storefront"),
                    ],
                    ..Says::default()
                }),
            ),
            (
                "a comma within",
                by(Says { names: &[common("storefront,O=Example")], ..Says::default() }),
            ),
            (
                "a plus within",
                by(Says { names: &[ORGANIZATION, common("storefront+CN=x")], ..Says::default() }),
            ),
            (
                "another case",
                by(Says { names: &[ORGANIZATION, common("storefrontx")], ..Says::default() }),
            ),
            (
                "the host as its common name",
                by(Says { names: &[common("storefront.internal")], ..Says::default() }),
            ),
            ("a wildcard", by(Says { hosts: &["*.internal"], ..Says::default() })),
            ("a host below", by(Says { hosts: &["x.storefront.internal"], ..Says::default() })),
            ("a host above", by(Says { hosts: &["internal"], ..Says::default() })),
            (
                "a longer host",
                by(Says { hosts: &["storefront.internal.evil.example"], ..Says::default() }),
            ),
            ("nothing", by(Says::default())),
        ];
        for (what, identity) in &cases {
            assert_eq!(gate.whose(Some(identity), "").await, "nobody", "{what} {top:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_elses_opens_no_connection() {
    let gate = Gate::open(&["anonymous: app"]).await;
    let names = [ORGANIZATION, common("storefront")];
    let says = Says { names: &names, hosts: &["storefront.internal"], ..Says::default() };
    let stranger = Authority::new().certify(&says);
    assert_eq!(gate.whose(Some(&stranger), "").await, "no handshake", "another authority");
    let expired = gate.authority.certify(&Says { is_expired: true, ..says.clone() });
    assert_eq!(gate.whose(Some(&expired), "").await, "no handshake", "expired");
    let server = gate.authority.certify(&Says { is_for_servers_only: true, ..says.clone() });
    assert_eq!(gate.whose(Some(&server), "").await, "no handshake", "of a server");
    let of_the_gateway = gate.server.certify(&says);
    assert_eq!(
        gate.whose(Some(&of_the_gateway), "").await,
        "no handshake",
        "the gateway's own authority"
    );
}

#[tokio::test]
async fn a_certificate_and_another_proof_must_agree() {
    let gate = Gate::open(&[]).await;
    let ours = gate
        .authority
        .certify(&Says { names: &[ORGANIZATION, common("storefront")], ..Says::default() });
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}\r\n");

    assert_eq!(gate.whose(Some(&ours), &bearer(testkit::SECRET)).await, "app");
    assert_eq!(gate.whose(Some(&ours), &bearer(OTHER_SECRET)).await, "nobody");
    assert_eq!(gate.whose(Some(&ours), &bearer("wrong")).await, "nobody");
    assert_eq!(gate.whose(Some(&ours), "Cookie: ZSession=wrong\r\n").await, "nobody");
    assert_eq!(gate.whose(Some(&ours), "apiAccessKeyId: x\r\n").await, "nobody");

    // One that means two apps means none.
    let names = [ORGANIZATION, common("storefront")];
    let both = gate.authority.certify(&Says {
        names: &names,
        hosts: &["storefront.internal"],
        ..Says::default()
    });
    assert_eq!(gate.whose(Some(&both), "").await, "nobody");
}

#[tokio::test]
async fn over_tls_a_session_is_for_tls_only() {
    let gate = Gate::open(&[]).await;
    let ours = gate
        .authority
        .certify(&Says { names: &[ORGANIZATION, common("storefront")], ..Says::default() });
    let answer =
        gate.ask("POST /v1/connections", Some(&ours), "Content-Length: 0\r\n").await.unwrap();
    let lower = answer.to_lowercase();
    let cookie = lower.lines().find(|line| line.starts_with("set-cookie: zsession=")).unwrap();
    let attributes: Vec<_> = cookie.split(';').skip(1).map(str::trim).collect();
    for wanted in ["path=/", "httponly", "secure"] {
        assert!(attributes.contains(&wanted), "{cookie}");
    }
}
