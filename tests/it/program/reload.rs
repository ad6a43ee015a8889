//! A configuration that changes while the program serves: by every way in which it may notice, and what comes of it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use emulator::{Options, ServiceTime, Tenant};
use http::{Method, StatusCode};
use rcgen::{CertifiedKey, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Answer, Raw, SECRET, Yaml};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::caller::{ask, connect, eventually, get, pool, request, request_of};
use crate::running::Running;

/// What operators present.
const TOKEN: &str = "the-token-of-the-operators";

/// The secret of the app `nightly`.
const NIGHTLY: &str = "the-secret-of-the-nightly-job";

/// A tenant, the program before it, and the file that it follows.
struct Scene {
    tenant: Tenant,
    running: Running,
    directory: TempDir,
    /// The file as it was at first.
    text: String,
}

impl Scene {
    async fn start() -> Self {
        Self::with(&Yaml::default(), |text| text).await
    }

    /// A program with `yaml`, of which `edit` makes the file.
    async fn with(yaml: &Yaml, edit: impl FnOnce(String) -> String) -> Self {
        Self::inside(TempDir::new().unwrap(), yaml, edit).await
    }

    /// The same, in a directory in which something has been prepared.
    async fn inside(directory: TempDir, yaml: &Yaml, edit: impl FnOnce(String) -> String) -> Self {
        let options = Options {
            service_time: ServiceTime::Constant(Duration::from_millis(20)),
            ..Options::default()
        };
        let tenant = Tenant::start(options).await.unwrap();
        let text = yaml.text(&tenant.base_url(), &directory.path().join("state"));
        let admin = r#"admin: {address: "127.0.0.1:0""#;
        let text = edit(text.replace(admin, &format!("{admin}, token: {TOKEN}")));
        let running = Running::start(&text, &directory).await;
        Self { tenant, running, directory, text }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the file as it was at first, with something else in place of `original`.
    #[track_caller]
    fn write(&self, original: &str, written: &str) {
        assert!(self.text.contains(original), "no `{original}` in\n{}", self.text);
        fs::write(self.path("gw.yaml"), self.text.replace(original, written)).unwrap();
    }

    /// Writes the file with this limit.
    fn write_limit(&self, limit: u32) {
        self.write("{headroom: 0}", &limited_to(limit));
    }

    async fn see(&self, path: &str) -> Answer {
        operator(self.running.admin, "GET", path, Some(TOKEN)).await
    }

    async fn state(&self) -> Value {
        serde_json::from_slice(&self.see("/api/state").await.body).unwrap()
    }

    async fn limit(&self) -> u64 {
        pool(&self.state().await, "Default")["configured"].as_u64().unwrap()
    }

    async fn metrics(&self) -> String {
        self.see("/metrics").await.text()
    }

    #[track_caller]
    fn post(&self) -> impl Future<Output = (u16, Value)> {
        let asked = operator(self.running.admin, "POST", "/api/reload", Some(TOKEN));
        async {
            let answer = asked.await;
            (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
        }
    }

    /// Waits until the limit in use is this one.
    async fn until_limit(&self, limit: u64) {
        eventually("limited", async || {
            let configured = self.limit().await;
            (configured == limit).then_some(()).ok_or(format!("it is {configured}"))
        })
        .await;
    }

    /// Waits until the metrics have this sample.
    async fn until_counted(&self, sample: &str) {
        eventually("counted", async || {
            let text = self.metrics().await;
            text.contains(&format!("\nzuora_gateway_{sample}\n")).then_some(()).ok_or(text)
        })
        .await;
    }
}

/// The concurrency of a tenant with this limit.
fn limited_to(limit: u32) -> String {
    format!("{{limits: {{Default: {limit}}}, headroom: 0}}")
}

/// The app `nightly`, as a file would have it.
fn nightly() -> (String, String) {
    let id = "0b7c1f0e-4a51-4f43-9d0c-5f3a3a1b0001";
    ("nightly".to_owned(), format!("client_id: {id}, secret: {NIGHTLY}"))
}

async fn operator(admin: SocketAddr, method: &str, path: &str, token: Option<&str>) -> Answer {
    let credential = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    let credential = credential.unwrap_or_default();
    Raw::ask(
        admin,
        format!("{method} {path} HTTP/1.1\r\nhost: admin\r\n{credential}connection: close\r\n\r\n"),
    )
    .await
}

#[tokio::test]
async fn a_change_of_the_file_is_noticed_at_once() {
    let scene = Scene::start().await;
    scene.write_limit(39);
    scene.until_limit(39).await;

    // Each follows right upon the last, so without being told it would take two seconds to see it.
    let began = Instant::now();
    for limit in [30, 20, 10] {
        scene.write_limit(limit);
        scene.until_limit(limit.into()).await;
    }

    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    scene.until_counted(r#"config_reloads_total{result="ok"} 4"#).await;
    scene.until_counted("config_in_sync 1").await;
}

#[tokio::test]
async fn a_file_that_is_swapped_as_kubernetes_does_it_is_noticed() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("..2026_01")).unwrap();
    symlink("..2026_01", path("..data")).unwrap();
    symlink("..data/gw.yaml", path("gw.yaml")).unwrap();
    let scene = Scene::inside(directory, &Yaml::default(), |text| text).await;

    fs::create_dir(scene.path("..2026_02")).unwrap();
    let text = scene.text.replace("{headroom: 0}", &limited_to(17));
    fs::write(scene.path("..2026_02/gw.yaml"), text).unwrap();
    symlink("..2026_02", scene.path("..data_tmp")).unwrap();
    fs::rename(scene.path("..data_tmp"), scene.path("..data")).unwrap();
    fs::remove_dir_all(scene.path("..2026_01")).unwrap();

    scene.until_limit(17).await;
}

#[tokio::test]
async fn a_file_is_noticed_of_which_the_system_tells_nothing() {
    // The directory that is watched holds a link, and what it leads to lies elsewhere.
    let (directory, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    symlink(elsewhere.path().join("real.yaml"), directory.path().join("gw.yaml")).unwrap();
    let scene = Scene::inside(directory, &Yaml::default(), |text| text).await;

    scene.write_limit(17);

    assert!(elsewhere.path().join("real.yaml").exists());
    scene.until_limit(17).await;
}

#[tokio::test]
async fn a_secret_in_a_file_of_its_own_is_rotated() {
    let elsewhere = TempDir::new().unwrap();
    let secret = elsewhere.path().join("secret");
    fs::write(&secret, "the-first-secret\n").unwrap();
    let reference = format!("secret: \"${{file:{}}}\"", secret.display());
    let scene = Scene::with(&Yaml::default(), |text| {
        text.replace(&format!("secret: {SECRET}"), &reference)
    })
    .await;
    let with = |secret: &str| request_of(secret, Method::GET, "/v1/accounts/A00000001", "");
    assert_eq!(ask(scene.running.address, with("the-first-secret")).await.status, 200);

    fs::write(&secret, "the-second-secret\n").unwrap();

    eventually("rotated", async || {
        let answer = ask(scene.running.address, with("the-second-secret")).await;
        (answer.status == 200).then_some(()).ok_or(format!("{answer:?}"))
    })
    .await;
    assert_eq!(ask(scene.running.address, with("the-first-secret")).await.status, 401);
}

#[tokio::test]
async fn a_hangup_has_the_file_read_and_does_not_end_the_program() {
    let scene = Scene::start().await;

    scene.running.signal("HUP").await;
    scene.until_counted(r#"config_reloads_total{result="unchanged"} 1"#).await;
    scene.write_limit(17);
    scene.running.signal("HUP").await;
    scene.until_limit(17).await;

    assert_eq!(ask(scene.running.address, get()).await.status, 200);
    let ended = scene.running.stop().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let by_signal = |line: &&String| line.contains(r#""cause":"signal""#);
    assert!(ended.lines.iter().any(|line| by_signal(&line)), "{:#?}", ended.lines);
}

#[tokio::test]
async fn an_operator_is_answered_once_the_file_is_in_use() {
    let scene = Scene::start().await;
    let unchanged = scene.post().await;
    assert_eq!((unchanged.0, &unchanged.1["result"]), (200, &"unchanged".into()), "{unchanged:?}");

    for limit in [30, 20, 10] {
        scene.write_limit(limit);
        let (status, told) = scene.post().await;

        // It may have looked by itself in that moment.
        assert!(
            status == 200 && (told["result"] == "ok" || told["result"] == "unchanged"),
            "{told}"
        );
        assert_eq!(scene.limit().await, u64::from(limit));
        assert_eq!(told["in_sync"], true, "{told}");
        let state = scene.state().await;
        assert_eq!(state["configuration"]["digest"], told["digest"], "{state:#}");
        assert_ne!(told["digest"], unchanged.1["digest"]);
    }
}

#[tokio::test]
async fn an_action_needs_the_token_and_the_right_method() {
    let scene = Scene::start().await;
    let admin = scene.running.admin;

    let (without, wrong) = (
        operator(admin, "POST", "/api/reload", None).await,
        operator(admin, "POST", "/api/reload", Some("guessed")).await,
    );
    assert_eq!((without.status, wrong.status), (401, 401));
    let reading = operator(admin, "GET", "/api/reload", Some(TOKEN)).await;
    assert_eq!((reading.status, reading.field("allow")), (405, Some("POST")));
    scene.until_counted(r#"config_reloads_total{result="unchanged"} 0"#).await;

    // Where no token is configured, nobody is an operator.
    let directory = TempDir::new().unwrap();
    let open = Running::before(&scene.tenant, &Yaml::default(), &directory).await;
    let refused = operator(open.admin, "POST", "/api/reload", Some(TOKEN)).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("set `admin.token`"), "{refused:?}");
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_told_with_its_place() {
    let scene = Scene::start().await;
    let line = 1 + scene.text.lines().position(|line| line.contains("{headroom: 0}")).unwrap();

    scene.write("{headroom: 0}", "{headrom: 0}\n    queue: {timeout: soon}");
    let (status, told) = scene.post().await;

    assert_eq!((status, &told["result"]), (422, &"error".into()), "{told}");
    let file = scene.path("gw.yaml").display().to_string();
    let problem = |nth: usize| &told["problems"][nth];
    assert_eq!(problem(0)["file"], *file, "{told}");
    assert_eq!((&problem(0)["line"], &problem(0)["column"]), (&line.into(), &19.into()), "{told}");
    assert!(problem(0)["message"].as_str().unwrap().contains("`headroom`"), "{told}");
    assert_eq!(problem(1)["line"], line + 1, "{told}");
    assert_eq!(told["in_sync"], false);
    assert_eq!(scene.state().await["configuration"]["problems"], told["problems"]);
    scene.until_counted("config_in_sync 0").await;
    assert_eq!(ask(scene.running.address, get()).await.status, 200);
    assert_eq!(scene.limit().await, 40);

    // What is told is told once, however often it is looked at.
    let counted = r#"config_reloads_total{result="error"} 1"#;
    scene.until_counted(counted).await;
    sleep(Duration::from_secs(5)).await;
    scene.until_counted(counted).await;
    // Back to what is in use: that is nothing new, but good to know.
    fs::write(scene.path("gw.yaml"), &scene.text).unwrap();
    scene.until_counted("config_in_sync 1").await;
    scene.until_counted(r#"config_reloads_total{result="ok"} 0"#).await;

    let ended = scene.running.stop().await;
    let place = format!("{file}:{line}:19: ");
    let of_place = ended.lines.iter().filter(|line| line.contains(&place));
    assert_eq!(of_place.count(), 1, "{:#?}", ended.lines);
    assert!(!ended.lines.concat().contains(SECRET), "{:#?}", ended.lines);
}

#[tokio::test]
async fn a_file_that_is_gone_or_names_what_cannot_be_used_changes_nothing() {
    let scene = Scene::start().await;

    fs::remove_file(scene.path("gw.yaml")).unwrap();
    let (status, told) = scene.post().await;
    assert_eq!(status, 422);
    let problem = &told["problems"][0];
    assert_eq!((&problem["line"], &problem["column"]), (&Value::Null, &Value::Null), "{told}");
    assert!(problem["message"].as_str().unwrap().contains("no such file"), "{told}");

    fs::write(scene.path("roots.pem"), "nothing of the kind").unwrap();
    scene.write("    credentials:", "    ca_certificate: roots.pem\n    credentials:");
    let (status, told) = scene.post().await;
    assert_eq!(status, 422);
    let message = told["problems"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("tenants.production.ca_certificate: "), "{told}");
    assert!(message.contains("roots.pem"), "{told}");

    assert_eq!(ask(scene.running.address, get()).await.status, 200);
    // It is noticed that what it names has become good, though the file itself is the same.
    scene.until_counted("config_in_sync 0").await;
    fs::write(scene.path("roots.pem"), certificate().cert.pem()).unwrap();
    scene.until_counted("config_in_sync 1").await;
}

#[tokio::test]
async fn a_file_that_could_not_be_read_is_found_to_be_good_again() {
    let scene = Scene::start().await;
    scene.write("{headroom: 0}", "{headroom: 0}\n    ca_certificate: roots.pem");
    let (status, told) = scene.post().await;
    assert_eq!(status, 422);
    assert!(told["problems"][0]["message"].as_str().unwrap().contains("no such file"), "{told}");

    // Of this file nothing was known until now.
    fs::write(scene.path("roots.pem"), certificate().cert.pem()).unwrap();

    scene.until_counted("config_in_sync 1").await;
    scene.until_counted(r#"config_reloads_total{result="ok"} 1"#).await;
}

#[tokio::test]
async fn a_certificate_is_renewed_without_a_restart() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (first, second) = (certificate(), certificate());
    let write = |made: &CertifiedKey<KeyPair>| {
        fs::write(path("cert.pem"), made.cert.pem()).unwrap();
        fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    };
    write(&first);
    let tls = "tls: {certificate: cert.pem, key: key.pem}".to_owned();
    let yaml = Yaml { listen: vec![tls], ..Yaml::default() };
    let text = yaml.text("http://127.0.0.1:9", &path("state"));
    let running = Running::start(&text, &directory).await;
    assert!(shakes_hands(running.address, &first).await);
    assert!(!shakes_hands(running.address, &second).await);

    write(&second);

    eventually("renewed", async || {
        let is_renewed = shakes_hands(running.address, &second).await;
        is_renewed.then_some(()).ok_or("the old one".to_owned())
    })
    .await;
    assert!(!shakes_hands(running.address, &first).await);
}

pub(crate) fn certificate() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["gw".to_owned()]).unwrap()
}

/// Whether whoever listens there proves to be the one of this certificate.
pub(crate) async fn shakes_hands(address: SocketAddr, expected: &CertifiedKey<KeyPair>) -> bool {
    handshake(address, expected).await.is_ok()
}

/// Connects to whoever listens there, if that is the one of this certificate.
pub(crate) async fn handshake(
    address: SocketAddr,
    expected: &CertifiedKey<KeyPair>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(expected.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect("gw".try_into().unwrap(), stream).await
}

#[tokio::test]
async fn limits_change_under_calls_that_wait_and_none_fails_or_is_overtaken() {
    let yaml = Yaml { tenant: vec![format!("concurrency: {}", limited_to(1))], ..Yaml::default() };
    let scene = Scene::with(&yaml, |text| text).await;
    let address = scene.running.address;
    scene.tenant.set_service_time(ServiceTime::Constant(Duration::from_millis(50)));
    let mut calls = Vec::new();
    for number in 1..=40_u64 {
        let path = format!("/v1/accounts/A{number:08}");
        calls.push(tokio::spawn(ask(address, request(Method::GET, &path, ""))));
        eventually("there", async || {
            let state = scene.state().await;
            let app = &pool(&state, "Default")["apps"][0];
            let waiting = app["queued"].as_u64().unwrap() + app["in_use"].as_u64().unwrap();
            let there = waiting + scene.tenant.counters().executed_total;
            (there >= number).then_some(()).ok_or(format!("{state:#}"))
        })
        .await;
    }

    let mut limits = [3, 1, 2].into_iter().cycle();
    while !calls.iter().all(tokio::task::JoinHandle::is_finished) {
        let limit = limits.next().unwrap();
        scene.write("{limits: {Default: 1}, headroom: 0}", &limited_to(limit));
        let (status, told) = scene.post().await;
        assert_eq!(status, 200, "{told}");
        sleep(Duration::from_millis(60)).await;
    }

    for call in calls {
        let answer = call.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let ledger = scene.tenant.ledger();
    assert!((2..=3).contains(&ledger.most_in_flight["Default"]), "{ledger:?}");
    assert_eq!(ledger.token_calls, 1, "the token is none of the limits' business");
    let mut executed = ledger.executed;
    // Those that begin in the same millisecond began together.
    executed.sort_by_key(|call| (call.began_ms, call.path.clone()));
    let paths: Vec<_> = executed.iter().map(|call| &*call.path).collect();
    assert!(paths.is_sorted(), "{paths:?}");
    assert_eq!(paths.len(), 40);
}

#[tokio::test]
async fn limits_change_a_hundred_times_under_load_and_no_call_fails() {
    let yaml = Yaml { tenant: vec![format!("concurrency: {}", limited_to(12))], ..Yaml::default() };
    let scene = Scene::with(&yaml, |text| text).await;
    scene.tenant.set_limit("Default", Some(12));
    let stop = Arc::new(AtomicBool::new(false));
    let calling: Vec<_> = (0..30)
        .map(|_| {
            let (address, stop) = (scene.running.address, Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) || answered < 5 {
                    let answer = ask(address, get()).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    answered += 1;
                }
                answered
            })
        })
        .collect();

    for limit in [3, 12, 1, 7, 5, 12, 6, 2, 9, 4].into_iter().cycle().take(100) {
        scene.write("{limits: {Default: 12}, headroom: 0}", &limited_to(limit));
        let (status, told) = scene.post().await;
        assert_eq!(status, 200, "{told}");
    }
    stop.store(true, Ordering::Relaxed);

    let mut answered = 0;
    for calls in calling {
        answered += calls.await.unwrap();
    }
    let ledger = scene.tenant.counters();
    assert_eq!((ledger.executed_total, ledger.refused_concurrency), (answered, 0));
    assert!(answered >= 30 * 5, "{answered}");
}

#[tokio::test]
async fn connections_to_zuora_are_kept_unless_they_would_be_made_otherwise() {
    let tenant = Tenant::start(Options::default()).await.unwrap();
    let (front, opened) = count_connections(tenant.address()).await;
    let text = |text: String| {
        let base_url = text.lines().find(|line| line.contains("base_url")).unwrap().to_owned();
        text.replace(&base_url, &format!("    base_url: http://{front}"))
    };
    let scene = Scene::with(&Yaml::default(), text).await;
    let address = scene.running.address;
    assert_eq!(ask(address, get()).await.status, 200);
    let before = opened.load(Ordering::Relaxed);

    scene.write_limit(9);
    assert_eq!(scene.post().await.0, 200);
    assert_eq!(ask(address, get()).await.status, 200);
    assert_eq!(opened.load(Ordering::Relaxed), before);

    scene.write("{headroom: 0}", "{headroom: 0}\n    timeouts: {connect: 4s}");
    assert_eq!(scene.post().await.0, 200);
    assert_eq!(ask(address, get()).await.status, 200);
    assert_eq!(opened.load(Ordering::Relaxed), before + 1);
}

/// Stands before whoever listens at `address`, and counts the connections that are opened to it.
async fn count_connections(address: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (front, opened) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&opened);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let mut far = TcpStream::connect(address).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        }
    });
    (front, opened)
}

#[tokio::test]
async fn an_app_that_is_removed_is_unknown_and_what_it_had_sent_ends_well() {
    let yaml = Yaml { apps: vec![nightly()], ..Yaml::default() };
    let scene = Scene::with(&yaml, |text| text).await;
    scene.tenant.set_service_time(ServiceTime::Constant(Duration::from_secs(2)));
    let by_nightly = || request_of(NIGHTLY, Method::GET, "/v1/accounts/A00000001", "");
    let last = tokio::spawn(ask(scene.running.address, by_nightly()));
    let mut open = connect(scene.running.address).await;
    let gauge = r#"zuora_gateway_queued{app="nightly""#;
    eventually("sent", async || {
        let sent = scene.tenant.counters().in_flight.get("Default") == Some(&1);
        sent.then_some(()).ok_or("nothing is at Zuora".to_owned())
    })
    .await;
    assert!(scene.metrics().await.contains(gauge));

    let entry = scene.text.lines().find(|line| line.contains("  nightly: ")).unwrap();
    scene.write(entry, "");
    let (status, told) = scene.post().await;

    assert_eq!(status, 200, "{told}");
    let refused = open.send_request(by_nightly()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "also on a connection that stands");
    assert!(scene.metrics().await.contains(gauge), "it still holds a permit");
    assert_eq!(last.await.unwrap().status, 200);
    eventually("gone", async || {
        let text = scene.metrics().await;
        let is_gone = !text.contains(gauge);
        let counted = text.contains(r#"zuora_gateway_permit_seconds_total{app="nightly""#);
        (is_gone && counted).then_some(()).ok_or(text)
    })
    .await;
    // And it may come back.
    fs::write(scene.path("gw.yaml"), &scene.text).unwrap();
    scene.tenant.set_service_time(ServiceTime::Constant(Duration::ZERO));
    eventually("back", async || {
        let answer = ask(scene.running.address, by_nightly()).await;
        (answer.status == 200).then_some(()).ok_or(format!("{answer:?}"))
    })
    .await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_applies() {
    let scene = Scene::start().await;

    let elsewhere = format!("{}\n  max_connections: 5", "listen:");
    let text = scene.text.replace("listen:", &elsewhere).replace("{headroom: 0}", &limited_to(9));
    fs::write(scene.path("gw.yaml"), text.replace(TOKEN, "another-token")).unwrap();
    let (status, told) = scene.post().await;

    let keys = serde_json::json!(["listen.max_connections", "admin.token"]);
    assert_eq!((status, &told["needs_restart"]), (200, &keys), "{told}");
    assert_eq!(told["in_sync"], false, "{told}");
    assert_eq!(
        scene.limit().await,
        9,
        "the token of before still opens, and the limit is the new one"
    );
    scene.until_counted("config_in_sync 0").await;
    let ended = scene.running.stop().await;
    let warned =
        ended.lines.iter().any(|line| line.contains("listen.max_connections, admin.token"));
    assert!(warned, "{:#?}", ended.lines);
}

#[tokio::test]
async fn credentials_of_the_tenant_are_exchanged_and_nobody_waits() {
    let scene = Scene::start().await;
    let address = scene.running.address;
    assert_eq!(ask(address, get()).await.status, 200);

    scene.write("client_id: the-gateway", "client_id: the-successor");
    let (status, told) = scene.post().await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(ask(address, get()).await.status, 200);

    eventually("renewed", async || {
        let asked = scene.tenant.counters().token_calls;
        (asked == 2).then_some(()).ok_or(format!("{asked} tokens were asked for"))
    })
    .await;
    assert_eq!(ask(address, get()).await.status, 200);
}

#[tokio::test]
async fn a_tenant_can_be_added_and_removed() {
    let scene = Scene::start().await;
    let other = Tenant::start(Options::default()).await.unwrap();
    let more = format!(
        "  sandbox:
    base_url: {}
    credentials: {{oauth: {{client_id: id, client_secret: s}}}}
apps:
  tester:
    tenant: sandbox
    client_id: 0b7c1f0e-4a51-4f43-9d0c-5f3a3a1b0002
    secret: {NIGHTLY}",
        other.base_url()
    );
    let call = || request_of(NIGHTLY, Method::GET, "/v1/accounts/A00000001", "");
    assert_eq!(ask(scene.running.address, call()).await.status, 401);

    scene.write("apps:", &more);
    assert_eq!(scene.post().await.0, 200);
    assert_eq!(ask(scene.running.address, call()).await.status, 200);
    assert_eq!((other.counters().executed_total, scene.tenant.counters().executed_total), (1, 0));
    let gauge = r#"zuora_gateway_token_expires_in_seconds{tenant="sandbox"}"#;
    assert!(scene.metrics().await.contains(gauge));

    other.set_service_time(ServiceTime::Constant(Duration::from_secs(1)));
    let last = tokio::spawn(ask(scene.running.address, call()));
    eventually("sent", async || {
        let sent = other.counters().in_flight.get("Default") == Some(&1);
        sent.then_some(()).ok_or("nothing is at Zuora".to_owned())
    })
    .await;
    fs::write(scene.path("gw.yaml"), &scene.text).unwrap();
    assert_eq!(scene.post().await.0, 200);
    assert_eq!(ask(scene.running.address, call()).await.status, 401);
    let state = scene.state().await;
    let (stays, leaves) = (&state["tenants"][0], &state["tenants"][1]);
    assert_eq!((&stays["configured"], &leaves["configured"]), (&true.into(), &false.into()));
    assert_eq!(pool(&serde_json::json!({"tenants": [leaves]}), "Default")["in_use"], 1);
    assert!(!scene.metrics().await.contains(gauge), "its token is nobody's business any more");

    assert_eq!(last.await.unwrap().status, 200);
    let metrics = scene.metrics().await;
    let gauges = metrics.lines().filter(|line| line.contains(r#"tenant="sandbox""#));
    let left: Vec<_> =
        gauges.filter(|line| !line.contains("_total") && !line.contains("_seconds_")).collect();
    assert!(left.is_empty(), "{left:#?}");
    assert_eq!(scene.state().await["tenants"].as_array().unwrap().len(), 1);
}
