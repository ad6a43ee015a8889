//! Client certificates: who has one by an authority of ours, and who else gets in.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use emulator::{Options, Tenant};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{House, SECRET, Yaml};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Who certifies.
struct Authority {
    der: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Pair {
    chain: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self { der, pem, issuer: Issuer::new(params, key) }
    }

    fn certify(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { chain: certificate.der().clone(), pem: certificate.pem(), key }
    }

    /// A client's, with this subject.
    fn client(&self, subject: &[(DnType, &str)]) -> Pair {
        self.certify(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            for (kind, value) in subject {
                params.distinguished_name.push(kind.clone(), *value);
            }
        })
    }

    /// A client's, with this alternative name.
    fn client_called(&self, name: SanType) -> Pair {
        self.certify(|params| params.subject_alt_names = vec![name])
    }
}

/// A gateway that speaks TLS and asks for certificates by `ours`.
struct Stage {
    house: House,
    ours: Authority,
    server: Authority,
    _files: TempDir,
}

impl Stage {
    async fn start() -> Self {
        let (ours, server) = (Authority::new("ours"), Authority::new("server"));
        let files = TempDir::new().unwrap();
        let write = |name: &str, text: &str| -> PathBuf {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let own = server.certify(|params| {
            params.subject_alt_names = vec![SanType::DnsName("gw".try_into().unwrap())];
        });
        let paths = [
            write("server.pem", &own.pem),
            write("key.pem", &own.key.serialize_pem()),
            write("clients.pem", &ours.pem),
        ];
        let [certificate, key, client_ca] = paths.map(|path| path.display().to_string());
        let id = |n: u8| format!("client_id: 00000000-0000-0000-0000-00000000000{n}");
        let yaml = Yaml {
            listen: vec![format!(
                "tls: {{certificate: {certificate}, key: {key}, client_ca: {client_ca}}}"
            )],
            apps: vec![
                (
                    "by_subject".to_owned(),
                    format!("{}, certificate: {{subject: \"O=Example, CN=storefront\"}}", id(1)),
                ),
                ("by_name".to_owned(), format!("{}, certificate: {{san: Batch.internal}}", id(2))),
                (
                    "by_uri".to_owned(),
                    format!("{}, certificate: {{san: \"spiffe://example/x\"}}", id(3)),
                ),
            ],
            ..Yaml::default()
        };
        let tenant = Tenant::start(Options::default()).await.unwrap();
        let base_url = tenant.base_url();
        Self { house: House::before(tenant, &base_url, &yaml).await, ours, server, _files: files }
    }

    /// What `/_gateway/whoami`, or another path, says to somebody with this certificate and field. `None` if it is not
    /// even spoken to.
    async fn ask(
        &self,
        certificate: Option<&Pair>,
        (method, path): (&str, &str),
        fields: &[(&str, &str)],
    ) -> Option<http::Response<Bytes>> {
        let config = self.client(certificate);
        let address: SocketAddr = self.house.address();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("gw").unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.ok()?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "gw");
        for (field, value) in fields {
            request = request.header(*field, *value);
        }
        let request = request.body(Full::<Bytes>::default()).unwrap();
        // With TLS 1.3, a server refuses a certificate after the client is done.
        let answer = sender.send_request(request).await.ok()?;
        let (head, body) = answer.into_parts();
        Some(http::Response::from_parts(head, body.collect().await.unwrap().to_bytes()))
    }

    fn client(&self, certificate: Option<&Pair>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.unwrap().with_root_certificates(roots);
        match certificate {
            None => config.with_no_client_auth(),
            Some(Pair { chain, key, .. }) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                config.with_client_auth_cert(vec![chain.clone()], key).unwrap()
            }
        }
    }

    /// Which app somebody is taken for, and by what; the status if for none, and 0 if it is not even spoken to.
    async fn who(&self, certificate: Option<&Pair>, fields: &[(&str, &str)]) -> (String, u16) {
        let answer = self.ask(certificate, ("GET", "/_gateway/whoami"), fields).await;
        let Some(answer) = answer else { return (String::new(), 0) };
        let status = answer.status().as_u16();
        let Ok(Value::Object(body)) = serde_json::from_slice(answer.body()) else {
            panic!("{answer:?}")
        };
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        (format!("{} {}", text("app"), text("known_by")).trim().to_owned(), status)
    }
}

fn storefront(authority: &Authority) -> Pair {
    authority.client(&[(DnType::CommonName, "storefront"), (DnType::OrganizationName, "Example")])
}

#[tokio::test]
async fn an_app_is_known_by_the_name_in_its_certificate() {
    let stage = Stage::start().await;
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let ours = &stage.ours;
    let known = [
        (storefront(ours), "by_subject certificate"),
        (ours.client_called(dns("BATCH.internal")), "by_name certificate"),
        (ours.client_called(uri("spiffe://example/x")), "by_uri certificate"),
    ];
    for (certificate, expected) in known {
        assert_eq!(stage.who(Some(&certificate), &[]).await, (expected.to_owned(), 200));
        let answer = stage.ask(Some(&certificate), ("GET", "/v1/accounts/A00000001"), &[]).await;
        assert_eq!(answer.unwrap().status(), 200, "{expected}");
    }
    assert_eq!(stage.house.tenant.counters().unauthenticated_calls, 0);

    let organization = (DnType::OrganizationName, "Example");
    let unknown = [
        ours.client(&[(DnType::CommonName, "storefront")]),
        ours.client(&[(DnType::CommonName, "Storefront"), organization.clone()]),
        ours.client(&[(DnType::OrganizationName, "storefront"), (DnType::CommonName, "Example")]),
        ours.client(&[
            (DnType::CommonName, "storefront"),
            organization,
            (DnType::OrganizationalUnitName, "x"),
        ]),
        ours.client_called(dns("a.batch.internal")),
        ours.client_called(dns("*.internal")),
        ours.client_called(uri("batch.internal")),
        ours.client_called(SanType::Rfc822Name("batch.internal".try_into().unwrap())),
        ours.client(&[(DnType::CommonName, "batch.internal")]),
        ours.client(&[]),
    ];
    for (index, certificate) in unknown.iter().enumerate() {
        assert_eq!(stage.who(Some(certificate), &[]).await.1, 401, "{index}");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_of_ours_gave_ends_the_connection() {
    let stage = Stage::start().await;
    let others = Authority::new("ours");
    let expired = stage.ours.certify(|params| {
        params.distinguished_name.push(DnType::CommonName, "storefront");
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let bearer = format!("Bearer {SECRET}");
    let right = [("authorization", &*bearer)];

    for wrong in [storefront(&others), storefront(&stage.server), expired] {
        assert_eq!(stage.who(Some(&wrong), &[]).await.1, 0);
        assert_eq!(stage.who(Some(&wrong), &right).await.1, 0, "a secret does not help");
    }
    assert_eq!(stage.who(Some(&storefront(&stage.ours)), &[]).await.1, 200);
}

#[tokio::test]
async fn without_a_certificate_another_credential_will_do_and_both_must_agree() {
    let stage = Stage::start().await;
    let bearer = format!("Bearer {SECRET}");
    let right = [("authorization", &*bearer)];
    let nobody = stage.ours.client(&[(DnType::CommonName, "some-host")]);
    let storefront = storefront(&stage.ours);
    let app = ("app credential".to_owned(), 200);

    assert_eq!(stage.who(None, &[]).await.1, 401);
    assert_eq!(stage.who(None, &right).await, app);
    assert_eq!(stage.who(Some(&nobody), &right).await, app, "it says nothing about an app");
    assert_eq!(stage.who(Some(&storefront), &right).await.1, 401, "two apps at once");
    assert_eq!(stage.who(Some(&storefront), &[("authorization", "Bearer x")]).await.1, 401);
    let no_secret = [("apiaccesskeyid", "by_subject"), ("apisecretaccesskey", "")];
    assert_eq!(stage.who(None, &no_secret).await.1, 401);
}

#[tokio::test]
async fn a_certificate_gets_tokens_and_sessions_and_cookies_are_for_tls() {
    let stage = Stage::start().await;
    let storefront = storefront(&stage.ours);

    let connected = stage.ask(Some(&storefront), ("POST", "/v1/connections"), &[]).await.unwrap();
    assert_eq!(connected.status(), 200);
    let cookie = connected.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("; Path=/; Secure; HttpOnly"), "{cookie}");

    let known = ("by_subject credential".to_owned(), 200);
    assert_eq!(stage.who(None, &[("cookie", cookie)]).await, known);
}
