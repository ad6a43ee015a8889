//! Programs that tests start: our own, and published ones.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A running program. It is ended, by its id, when the value is dropped.
#[derive(Debug)]
pub struct Program {
    /// The process.
    pub child: Child,
    /// The lines that it prints.
    pub lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts `command` with its output captured.
    pub fn start(mut command: Command) -> Self {
        let started =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().expect("it is captured");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// The first line from now on that contains `text`.
    pub async fn line_with(&mut self, text: &str) -> String {
        while let Some(line) = self.lines.next_line().await.expect("its output can be read") {
            if line.contains(text) {
                return line;
            }
        }
        panic!("the program ended without a line that contains `{text}`")
    }
}

/// The built `zuora-gateway`, next to the test that runs.
#[must_use]
pub fn gateway_program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let built = test.ancestors().nth(2).map(|directory| directory.join("zuora-gateway"));
    existing(built.unwrap_or_default())
}

/// A program of this system, as `curl`.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    existing(found.unwrap_or_else(|| PathBuf::from(name)))
}

/// A program of the published clients that `make test` installs, as `python`.
#[must_use]
pub fn client(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    existing(root.join("target/clients/bin").join(name))
}

fn existing(program: PathBuf) -> PathBuf {
    assert!(
        program.is_file(),
        "`{}` is missing: run `make test`, which installs and builds it",
        program.display()
    );
    program
}
