//! TLS towards Zuora: what is not proven is not trusted, and what was not sent was not executed.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emulator::{Options, Tenant};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use testkit::{House, Raw, Yaml};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;

use super::attack::{Scene, get};
use super::upstream::{Play, RawUpstream};

/// Who certifies.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A server that is certified to be `name`, perhaps only until long ago.
    fn certify(&self, name: &str, is_expired: bool) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if is_expired {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate: CertificateDer<'static> =
            params.signed_by(&key, &self.issuer).unwrap().into();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.unwrap().with_no_client_auth();
        Arc::new(config.with_single_cert(vec![certificate], private).unwrap())
    }
}

/// What a new connection meets.
#[derive(Clone)]
enum Manner {
    /// A handshake with this certificate, and then the tenant.
    Speaks(Arc<ServerConfig>),
    /// The same, but the connection ends without saying that this was all.
    EndsAbruptly(Arc<ServerConfig>),
    /// Nothing at all.
    Stalls,
    /// Something that is no TLS.
    Rambles,
    /// A reset in place of a handshake.
    Resets,
}

/// Stands before a tenant and speaks TLS for it.
struct Front {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    accepting: AbortHandle,
}

impl Front {
    async fn start(tenant: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let manner = Arc::new(Mutex::new(manner));
        let manners = Arc::clone(&manner);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let manner = manners.lock().unwrap().clone();
                tokio::spawn(manner.meet(stream, tenant));
            }
        });
        Self { address, manner, accepting: accepting.abort_handle() }
    }

    fn now(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Manner {
    async fn meet(self, mut stream: TcpStream, tenant: SocketAddr) {
        match self {
            Self::Speaks(config) => {
                let Ok(mut tls) = TlsAcceptor::from(config).accept(stream).await else { return };
                let mut behind = TcpStream::connect(tenant).await.unwrap();
                let _ = copy_bidirectional(&mut tls, &mut behind).await;
            }
            Self::EndsAbruptly(config) => {
                let Ok(mut tls) = TlsAcceptor::from(config).accept(stream).await else { return };
                let mut behind = TcpStream::connect(tenant).await.unwrap();
                let mut request = [0; 16 * 1024];
                let read = tls.read(&mut request).await.unwrap();
                behind.write_all(&request[..read]).await.unwrap();
                let mut answer = Vec::new();
                behind.read_to_end(&mut answer).await.unwrap();
                tls.write_all(&answer).await.unwrap();
                tls.flush().await.unwrap();
            }
            Self::Stalls => sleep(Duration::from_secs(5)).await,
            Self::Rambles => {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
            Self::Resets => stream.set_zero_linger().unwrap(),
        }
    }
}

/// A gateway that trusts `authority`, and reaches its tenant through the returned front.
async fn scene(authority: &Authority) -> (Scene, Front, TempDir) {
    let upstream = RawUpstream::start().await;
    let front =
        Front::start(upstream.address(), Manner::Speaks(authority.certify("127.0.0.1", false)));
    let front = front.await;
    let files = TempDir::new().unwrap();
    let roots = files.path().join("roots.pem");
    fs::write(&roots, &authority.pem).unwrap();
    let tenant = vec![
        format!("ca_certificate: {}", roots.display()),
        "timeouts: {connect: 300ms}".to_owned(),
        // What a single handshake comes to.
        "retry: {attempts: 1}".to_owned(),
    ];
    let unused = Tenant::start(Options::default()).await.unwrap();
    let base_url = format!("https://{}", front.address);
    let house = House::before(unused, &base_url, &Yaml { tenant, ..Yaml::default() }).await;
    (Scene { house, upstream }, front, files)
}

/// The tenant closes its connections, so that the next call needs a new one.
async fn close_connections(scene: &Scene) {
    scene.upstream.forget();
    scene.upstream.play(Play::send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").and_close());
    assert_eq!(scene.exchange("the last one", get("/v1/a", "")).await.answer.status, 200);
    sleep(Duration::from_millis(20)).await;
    scene.upstream.forget();
}

#[tokio::test]
async fn a_server_that_is_not_proven_is_sent_nothing() {
    let authority = Authority::new();
    let (scene, front, _files) = scene(&authority).await;
    let good = Manner::Speaks(authority.certify("127.0.0.1", false));
    let manners = [
        ("a wrong name", Manner::Speaks(authority.certify("elsewhere.example", false))),
        ("expired", Manner::Speaks(authority.certify("127.0.0.1", true))),
        ("an unknown authority", Manner::Speaks(Authority::new().certify("127.0.0.1", false))),
        ("silence", Manner::Stalls),
        ("no TLS", Manner::Rambles),
        ("a reset", Manner::Resets),
    ];
    for (name, manner) in manners {
        close_connections(&scene).await;
        front.now(manner);
        let began = Instant::now();

        let answer = scene.exchange(name, get("/v1/a", "")).await.answer;

        assert_eq!(answer.status, 502, "{name}: {answer:?}");
        assert_eq!(answer.field("zuora-gateway-error"), Some("upstream-unreachable"), "{name}");
        assert_eq!(answer.field("zuora-gateway-executed"), Some("no"), "{name}");
        assert!(began.elapsed() < Duration::from_secs(1), "{name}: {:?}", began.elapsed());
        assert_eq!(scene.upstream.received().len(), 0, "{name}");
        assert_eq!(scene.queued_and_in_use(), (0, 0), "{name}");
        front.now(good.clone());
        scene.serves(name).await;
    }
}

#[tokio::test]
async fn an_end_that_is_not_announced_is_a_cut_where_the_length_is_unknown() {
    let authority = Authority::new();
    let (scene, front, _files) = scene(&authority).await;
    let config = authority.certify("127.0.0.1", false);
    close_connections(&scene).await;
    front.now(Manner::EndsAbruptly(Arc::clone(&config)));

    scene.upstream.play(Play::send("HTTP/1.1 200 OK\r\n\r\nhalf").and_close());
    let mut raw = Raw::connect(scene.address()).await;
    raw.write(get("/v1/a", "Connection: close\r\n")).await;
    let text = String::from_utf8(raw.rest().await).unwrap();
    assert!(!text.ends_with("\r\n0\r\n\r\n"), "it looks whole: {text}");
    let is_ours = text.starts_with("HTTP/1.1 502 ");
    assert!(is_ours || text.contains("transfer-encoding: chunked"), "{text}");

    scene.upstream.play(Play::send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfull").and_close());
    let answer = scene.exchange("a known length", get("/v1/a", "")).await.answer;
    assert_eq!((answer.status, answer.text().as_str()), (200, "full"));

    front.now(Manner::Speaks(config));
    scene.serves("abrupt ends").await;
}
