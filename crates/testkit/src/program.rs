//! Programs that tests start: our own, and published ones.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::SystemTime;

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

/// The built `zuora-gateway`, next to the test that runs. One that is older than its source would only prove the past.
#[must_use]
pub fn gateway_program() -> PathBuf {
    static CHECKED: OnceLock<PathBuf> = OnceLock::new();
    let check = || {
        let test = std::env::current_exe().expect("a test knows where it is");
        let built = test.ancestors().nth(2).map(|directory| directory.join("zuora-gateway"));
        let program = existing(built.unwrap_or_default());
        let (built, changed) = (modified(&program), newest_source(&root().join("crates")));
        assert!(
            built >= changed,
            "`{}` is older than its source: run `make test`",
            program.display()
        );
        program
    };
    CHECKED.get_or_init(check).clone()
}

/// When anything below `directory` that goes into the program was last changed.
fn newest_source(directory: &Path) -> SystemTime {
    let entries =
        std::fs::read_dir(directory).expect("the sources are here").filter_map(Result::ok);
    let changes = entries.map(|entry| entry.path()).map(|path| match path.is_dir() {
        _ if is_of_tests(&path) => SystemTime::UNIX_EPOCH,
        true => newest_source(&path),
        false if path.extension().is_some_and(|kind| kind == "rs" || kind == "tsv") => {
            modified(&path)
        }
        false => SystemTime::UNIX_EPOCH,
    });
    changes.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn is_of_tests(path: &Path) -> bool {
    path.file_stem().is_some_and(|name| name == "tests" || name == "testkit" || name == "examples")
}

fn modified(path: &Path) -> SystemTime {
    path.metadata().and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

/// A program of this system, as `curl`, or one that `make test` has fetched, as `promtool`.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain([root().join("target/tools/usr/bin")])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    existing(found.unwrap_or_else(|| PathBuf::from(name)))
}

/// A program of the published clients that `make test` installs, as `python`.
#[must_use]
pub fn client(name: &str) -> PathBuf {
    existing(root().join("target/clients/bin").join(name))
}

fn existing(program: PathBuf) -> PathBuf {
    assert!(
        program.is_file(),
        "`{}` is missing: run `make test`, which installs and builds it",
        program.display()
    );
    program
}
