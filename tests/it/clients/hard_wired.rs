//! Clients that have Zuora's address built in: the gateway stands there under Zuora's name.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use emulator::Options;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{House, SECRET, Yaml};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::assert_clean;
use super::guide::pieces;
use super::table::{Deed, assert_row};

const PART: &str = "## Clients whose address cannot be set";

/// A machine on which Zuora's names lead to the gateway, with the authority that vouches for it.
struct Machine {
    house: House,
    /// Where the client runs, and the certificates lie.
    directory: TempDir,
    /// What leads Zuora's names to the gateway: a proxy, for a test cannot write to `/etc/hosts`.
    names: SocketAddr,
    /// For which hosts it was asked.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Machine {
    /// Sets up both machines, by the lines of the guide.
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let made = shell(&piece("openssl"), directory.path(), &[]).await;
        assert!(made.status.success(), "{made:?}");
        let listen = pieces(PART).into_iter().find(|piece| piece.language == "yaml").unwrap();
        let tls = listen.text.lines().find(|line| line.contains("tls:")).unwrap().trim();
        let file = |name: &str| directory.path().join(name).display().to_string();
        let tls = tls.replace("certificate.pem", &file("certificate.pem"));
        let tls = tls.replace("key.pem", &file("key.pem"));
        let yaml = Yaml { listen: vec![tls], ..Yaml::default() };
        let house = House::start(Options::default(), &yaml).await;
        own_certifi(directory.path());
        let asked = Arc::default();
        let names = forwarder(house.address(), Arc::clone(&asked)).await;
        Self { house, directory, names, asked }
    }

    /// Runs lines where the client is.
    async fn run(&self, lines: &str) -> Output {
        let proxy = format!("http://{}", self.names);
        let site = self.directory.path().join("site");
        let environment = [("HTTPS_PROXY", proxy.as_str()), ("PYTHONPATH", site.to_str().unwrap())];
        shell(lines, self.directory.path(), &environment).await
    }

    fn read(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.directory.path().join(name)).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn write(&self, name: &str, value: &Value) {
        std::fs::write(self.directory.path().join(name), value.to_string()).unwrap();
    }
}

/// The lines of the guide's part that contain `text`.
fn piece(text: &str) -> String {
    let found = pieces(PART).into_iter().find(|piece| piece.text.contains(text));
    found.unwrap_or_else(|| panic!("the guide has no lines with `{text}`")).text
}

/// Runs lines of a shell in `directory`, with the installed clients at hand.
async fn shell(lines: &str, directory: &Path, environment: &[(&str, &str)]) -> Output {
    let clients = testkit::client("python").parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(clients).chain(std::env::split_paths(&path)));
    let mut shell = Command::new("sh");
    shell.args(["-ec", lines]).current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
    // The environment of the test may name proxies and authorities of its own.
    shell.env_clear().env("PATH", path.unwrap()).env("STOREFRONT_SECRET", SECRET);
    shell.envs(environment.iter().copied()).output().await.unwrap()
}

/// Gives the client a `certifi` that it has for itself, as it would in an environment of its own.
fn own_certifi(directory: &Path) {
    let installed = super::installed("lib");
    let find = |directory: &Path, name: &str| -> PathBuf {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut found = entries.filter(|path| path.file_name().unwrap() != "__pycache__");
        found.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name)).unwrap()
    };
    let packages = find(&installed, "python").join("site-packages");
    let own = directory.join("site/certifi");
    std::fs::create_dir_all(&own).unwrap();
    for entry in std::fs::read_dir(packages.join("certifi")).unwrap() {
        let file = entry.unwrap().path();
        if file.is_file() {
            std::fs::copy(&file, own.join(file.file_name().unwrap())).unwrap();
        }
    }
}

/// A proxy for TLS connections that leads all of them to `gateway`, whatever host is `asked` for.
async fn forwarder(gateway: SocketAddr, asked: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let asked = Arc::clone(&asked);
            tokio::spawn(async move {
                let mut client = BufReader::new(client);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    client.read_line(&mut head).await.unwrap();
                }
                let host = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
                asked.lock().unwrap().push(host.to_owned());
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut gateway = TcpStream::connect(gateway).await.unwrap();
                // How it ends is for the two ends to judge.
                let _ = copy_bidirectional(&mut client, &mut gateway).await;
            });
        }
    });
    address
}

/// Marks some streams of a catalogue as wanted.
fn select(catalogue: &mut Value, wanted: &[&str]) {
    for stream in catalogue["streams"].as_array_mut().unwrap() {
        let is_wanted = wanted.contains(&stream["tap_stream_id"].as_str().unwrap());
        for entry in stream["metadata"].as_array_mut().unwrap() {
            entry["metadata"]["selected"] = json!(is_wanted);
        }
    }
}

#[tokio::test]
async fn tap_zuora_discovers_and_syncs_in_all_its_ways() {
    let machine = Machine::start().await;
    let trusted = machine.run(&piece("python -m certifi")).await;
    assert!(trusted.status.success(), "{trusted:?}");

    let discovered = machine.run(&piece("--discover")).await;

    let said = String::from_utf8_lossy(&discovered.stderr);
    assert!(discovered.status.success(), "{said}");
    let mut catalogue = machine.read("catalog.json");
    assert!(catalogue["streams"].as_array().unwrap().len() > 1, "{catalogue}");
    select(&mut catalogue, &["Account"]);
    machine.write("selected.json", &catalogue);
    let config = machine.read("config.json");
    let start = machine.run("date -u -d '20 days ago' +%Y-%m-%dT%H:%M:%SZ").await.stdout;
    let start = String::from_utf8(start).unwrap();
    for (api, auth) in [("REST", "OAUTH"), ("REST", "BASIC"), ("AQUA", "OAUTH"), ("AQUA", "BASIC")]
    {
        let mut config = config.clone();
        config["api_type"] = json!(api);
        config["auth_type"] = json!(auth);
        config["partner_id"] = json!("a-partner");
        // A window of thirty days is one export.
        config["start_date"] = json!(start.trim());
        machine.write("this.json", &config);

        let synced = machine.run("tap-zuora --config this.json --catalog selected.json").await;

        let said = String::from_utf8_lossy(&synced.stderr);
        assert!(synced.status.success(), "{api} {auth}: {said}");
        let numbers = records(&synced.stdout);
        assert_eq!(numbers.len(), 100, "{api} {auth}: {said}");
    }
    let mut config = config;
    config["password"] = json!("a wrong secret");
    machine.write("this.json", &config);
    let refused = machine.run("tap-zuora --config this.json --discover").await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(said.contains("invalid credentials"), "{said}");

    let hosts = machine.asked.lock().unwrap().clone();
    assert!(hosts.iter().all(|host| host.ends_with(".zuora.com:443")), "{hosts:?}");
    let ledger = machine.house.tenant.ledger();
    assert_clean(&ledger);
    assert_row("tap-zuora", &ledger, &[Deed::ToldWhy]);
}

/// The numbers of the accounts that a tap printed, each once.
fn records(printed: &[u8]) -> std::collections::BTreeSet<String> {
    let lines = std::str::from_utf8(printed).unwrap().lines();
    let messages = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let records = messages.filter(|message| message["type"] == "RECORD");
    records.map(|one| one["record"]["AccountNumber"].as_str().unwrap().to_owned()).collect()
}
