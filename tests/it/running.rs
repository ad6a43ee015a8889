//! The real program, as an operator runs it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use emulator::Tenant;
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Program, Yaml};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// `zuora-gateway run`, serving. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where apps connect.
    pub(crate) address: SocketAddr,
    /// Where operators connect.
    pub(crate) admin: SocketAddr,
    /// Where Zuora's callouts come in, if not where apps connect.
    pub(crate) callouts: Option<SocketAddr>,
    child: Child,
    lines: JoinHandle<Vec<String>>,
    errors: PathBuf,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it logged, line by line.
    pub(crate) lines: Vec<String>,
    /// What it printed to standard error.
    pub(crate) errors: String,
}

impl Running {
    /// Starts the program with `yaml` before `tenant`; what it writes goes to `directory`.
    pub(crate) async fn before(tenant: &Tenant, yaml: &Yaml, directory: &TempDir) -> Self {
        Self::start(&yaml.text(&tenant.base_url(), &directory.path().join("state")), directory)
            .await
    }

    /// Starts the program with this configuration, and waits until it serves.
    pub(crate) async fn start(text: &str, directory: &TempDir) -> Self {
        Self::start_by(&[], text, directory).await
    }

    /// The same by way of another program, such as a shell: these words come before those that start it.
    pub(crate) async fn start_by(by: &[&str], text: &str, directory: &TempDir) -> Self {
        let (config, errors) = (directory.path().join("gw.yaml"), directory.path().join("stderr"));
        std::fs::write(&config, text).unwrap();
        let program = testkit::gateway_program();
        let mut words = by.iter().map(AsRef::as_ref).chain([program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["run", "--config"]).arg(&config);
        command.stderr(std::fs::File::create(&errors).unwrap());
        let Program { child, mut lines } = Program::start(command);

        let mut read = Vec::new();
        let serving = loop {
            let Some(line) = lines.next_line().await.unwrap() else {
                panic!("it ended: {read:?}\n{}", std::fs::read_to_string(&errors).unwrap());
            };
            read.push(line);
            let line: Value = serde_json::from_str(read.last().unwrap()).unwrap();
            if line["message"] == "serving" {
                break line;
            }
        };
        let lines = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                read.push(line);
            }
            read
        });
        let address = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
        let callouts = serving["callouts"].as_str().map(|address| address.parse().unwrap());
        let (address, admin) = (address("address"), address("admin"));
        Self { address, admin, callouts, child, lines, errors }
    }

    /// Sends a signal, as `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id().unwrap());
        let sent = Command::new("sh").args(["-c", &kill]).status().await.unwrap();
        assert!(sent.success(), "{kill}");
    }

    /// The program's process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        let errors = std::fs::read_to_string(&self.errors).unwrap();
        Ended { status, lines: self.lines.await.unwrap(), errors }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(self) -> Ended {
        self.signal("TERM").await;
        self.ended().await
    }

    /// The memory that it has now, in bytes: by the pages, as counters in `status` may lag behind.
    pub(crate) fn memory(&self) -> u64 {
        self.kilobytes("smaps_rollup", "Rss:") * 1024
    }

    /// The most memory it ever had, in bytes.
    pub(crate) fn most_memory(&self) -> u64 {
        self.kilobytes("status", "VmHWM:") * 1024
    }

    fn kilobytes(&self, file: &str, name: &str) -> u64 {
        let path = Path::new("/proc").join(self.id().to_string()).join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// A command that has run to its end: `zuora-gateway` with these arguments.
pub(crate) async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(testkit::gateway_program());
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    Output {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}
