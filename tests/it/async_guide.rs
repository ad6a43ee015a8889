//! `docs/async.md`, run as it stands there: its file, its commands, and its receiver.

use std::collections::HashMap;
use std::env::VarError;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use emulator::{Definition, Options, ServiceTime, Tenant};
use gateway::Gateway;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// What the guide expects in the environment.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("ADMIN_TOKEN", "the-token-of-the-operators"),
    ("ZUORA_CLIENT_ID", "the-gateway"),
    ("ZUORA_CLIENT_SECRET", "the-secret-of-the-gateway"),
    ("CALLOUT_PASSWORD", "the-password-of-the-callouts"),
    ("BATCH_SECRET", "the-secret-of-the-batch-job"),
    ("OUTCOMES_SECRET", "the-secret-that-outcomes-are-signed-with"),
];

/// A fenced piece of the guide.
#[derive(Debug)]
struct Piece {
    language: String,
    text: String,
}

fn pieces() -> Vec<Piece> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/async.md");
    let document = std::fs::read_to_string(path).unwrap();
    let mut lines = document.lines();
    let mut pieces = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            pieces.push(Piece { language: language.to_owned(), text: text.join("\n") });
        }
    }
    pieces
}

#[derive(Debug)]
struct Environment(HashMap<&'static str, &'static str>);

impl config::Environment for Environment {
    fn variable(&self, name: &str) -> Result<String, VarError> {
        self.0.get(name).map(|value| (*value).to_owned()).ok_or(VarError::NotPresent)
    }
}

/// The gateway of the guide's file, before an emulated tenant that calls out to it, and the guide's receiver.
struct Stage {
    gateway: Gateway,
    tenant: Tenant,
    directory: TempDir,
    /// What the receiver prints.
    received: Lines<BufReader<ChildStdout>>,
    _receiver: Child,
}

impl Stage {
    async fn set(pieces: &[Piece]) -> Self {
        let of = |language: &str| {
            let piece = pieces.iter().find(|piece| piece.language == language);
            piece.unwrap_or_else(|| panic!("no {language}")).text.clone()
        };
        let place = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let script = replaced(&of("python"), "8000", &place.port().to_string());
        let mut receiver = Command::new(testkit::component("python3"));
        receiver.args(["-c", &script]).env_clear().envs(ENVIRONMENT).kill_on_drop(true);
        let mut receiver = receiver.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let received = BufReader::new(receiver.stdout.take().unwrap()).lines();

        let service_time = ServiceTime::Constant(Duration::from_millis(5));
        let tenant = Tenant::start(Options { service_time, ..Options::default() }).await.unwrap();
        let directory = TempDir::new().unwrap();
        let file = replaced(&of("yaml"), "https://rest.zuora.com", &tenant.base_url());
        let file = replaced(&file, "https://batch.example.com", &format!("http://{place}"));
        let file = replaced(&file, "127.0.0.1:8080", "127.0.0.1:0");
        let file = replaced(&file, "127.0.0.1:9090", "127.0.0.1:0");
        let state = directory.path().join("state").display().to_string();
        let file = replaced(&file, "./state", &state);
        std::fs::write(directory.path().join("gateway.yaml"), &file).unwrap();
        let environment = Environment(ENVIRONMENT.into());
        let config = config::parse(&file, Path::new("gateway.yaml"), &environment);
        let config = config.unwrap_or_else(|problems| panic!("{problems}\n{file}"));
        let gateway = Gateway::start(&config).await.unwrap();
        Self { gateway, tenant, directory, received, _receiver: receiver }
    }

    /// Runs a piece where the two ports are those of this gateway, and tells what it printed.
    async fn run(&self, piece: &Piece) -> String {
        let at = |address: SocketAddr| format!("http://{address}");
        let program = testkit::gateway_program().display().to_string();
        let text = piece
            .text
            .replace("http://127.0.0.1:8080", &at(self.gateway.address()))
            .replace("http://127.0.0.1:9090", &at(self.gateway.admin_address()))
            .replace("zuora-gateway ", &format!("{program} "));
        assert_ne!(text, piece.text, "nothing in it is ours");
        let mut command = Command::new("sh");
        // The environment of the test may name proxies.
        command.args(["-ec", &text]).env_clear().envs(ENVIRONMENT);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.directory.path());
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{piece:?}: {out}\n{err}");
        out.into_owned()
    }

    /// What the receiver has taken next.
    async fn receives(&mut self) -> String {
        let line = timeout(Duration::from_secs(20), self.received.next_line()).await;
        line.expect("an outcome comes").unwrap().unwrap()
    }
}

#[track_caller]
fn replaced(text: &str, from: &str, to: &str) -> String {
    let replaced = text.replace(from, to);
    assert_ne!(replaced, text, "`{from}` is not there");
    replaced
}

fn json_of(printed: &str) -> Value {
    let body = printed.rsplit("\r\n\r\n").next().unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guide_to_async_writes_does_what_it_says() {
    let pieces = pieces();
    let mut stage = Stage::set(&pieces).await;
    let commands: Vec<_> = pieces.iter().filter(|piece| piece.language == "sh").collect();
    let [register, ask, wait, hold, list, listen, dead, resend] = commands[..] else {
        panic!("{} commands", commands.len())
    };

    let registered = stage.run(register).await;
    let names: Vec<_> = stage.tenant.definitions().into_iter().map(|it| it.url).collect();
    let public = "https://callouts.example.com/_gateway/callouts/production";
    assert_eq!(names, [public, public], "{registered}");
    // The public address leads here.
    let here = format!("http://{}/_gateway/callouts/production", stage.gateway.address());
    let password = Environment(ENVIRONMENT.into()).0["CALLOUT_PASSWORD"];
    stage.tenant.set_definitions(&Definition::both(&here, "zuora", password));

    let accepted = stage.run(ask).await;
    let promised = pieces.iter().find(|piece| piece.language == "http").unwrap();
    for line in promised.text.lines() {
        let said = accepted.lines().any(|it| it.trim_end().eq_ignore_ascii_case(line));
        assert!(said, "`{line}` is missing in:\n{accepted}");
    }
    assert!(accepted.starts_with("HTTP/1.1 202 "), "{accepted}");
    let outcome = json_of(&stage.run(wait).await);
    assert_eq!(outcome["success"], true, "{outcome}");
    assert!(outcome["id"].is_string(), "{outcome}");
    assert_eq!(stage.receives().await, "nightly-42 succeeded");
    let held = json_of(&stage.run(hold).await);
    assert_eq!(held["success"], true, "{held}");
    assert_eq!(stage.receives().await, "nightly-43 succeeded");
    let listed = json_of(&stage.run(list).await);
    let requests = listed["requests"].as_array().unwrap();
    let track_ids: Vec<_> = requests.iter().map(|it| it["trackId"].as_str().unwrap()).collect();
    assert_eq!(track_ids, ["nightly-43", "nightly-42"]);
    let stream = stage.run(listen).await;
    assert!(stream.contains("nightly-42") && stream.contains("nightly-43"), "{stream}");
    let none = json!({"dead_letters": [], "more": false});
    assert_eq!(json_of(&stage.run(dead).await), none);
    assert_eq!(json_of(&stage.run(resend).await), json!({"resent": 0}));

    // What is sent has the members that the guide shows.
    let shown = pieces.iter().find(|piece| piece.language == "json").unwrap();
    let shown: Value = serde_json::from_str(&shown.text).unwrap();
    let mut shown: Vec<_> = shown.as_object().unwrap().keys().collect();
    shown.retain(|name| *name != "deliveryId");
    let known: Vec<_> = requests[1].as_object().unwrap().keys().collect();
    assert_eq!(shown, known);
    assert_eq!(stage.tenant.ledger().async_requests.len(), 2);
}
