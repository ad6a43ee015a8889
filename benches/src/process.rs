//! Programs that are started for a measurement, and ended with it.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

/// A proxy that takes longer to listen is broken.
const START: Duration = Duration::from_secs(10);

/// Where programs are, those installed by hand first.
const FOLDERS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A program that runs for a measurement. Dropping this kills it, by its id, and waits
/// until it is gone; should we be killed ourselves, the kernel ends it with us.
///
/// It belongs to the thread that started it: let the main thread do so, for the kernel
/// counts the end of that thread as ours.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program, on the given cores if any. What it prints goes to a file in `dir`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, cores: Option<&str>, command: &[String], dir: &Path) -> Result<Self> {
        let log = dir.join(format!("{}.log", name.replace([' ', '/'], "-")));
        let output = File::create(&log)?;
        let mut line = vec!["setpriv", "--pdeathsig", "KILL", "--"];
        if let Some(cores) = cores {
            line.extend(["taskset", "-c", cores]);
        }
        line.extend(command.iter().map(String::as_str));
        let child = Command::new(line[0])
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run {} for {name} (package util-linux)", line[0]))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The process id. `setpriv` and `taskset` hand theirs on to the program.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the program accepts connections.
    ///
    /// # Errors
    /// With the end of its log, when it ends instead or does not listen within ten seconds.
    pub fn wait_for_port(&mut self, address: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at its start ({status}):\n{}", self.name, self.log());
            }
            if Instant::now() > deadline {
                bail!("{} does not listen on {address}:\n{}", self.name, self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The last lines that the program printed.
    #[must_use]
    pub fn log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the program has ended already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on loopback that nobody listened on a moment ago.
///
/// # Errors
/// When no port is left.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Fails, naming the command that installs it, when a tool is missing.
///
/// # Errors
/// When one of `tools` is in none of the usual folders.
pub fn require(tools: &[&str]) -> Result<()> {
    let missing: Vec<&str> = tools.iter().copied().filter(|tool| find(tool).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "missing: {}. `make bench-tools` installs what is compared here \
         (apt-get install -y nginx-light haproxy wrk)",
        missing.join(", ")
    )
}

/// Where a program is installed. `PATH` is not asked: for users it may lack `/usr/sbin`,
/// where Debian keeps servers.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(command: &[&str]) -> (Running, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let command: Vec<String> = command.iter().map(ToString::to_string).collect();
        (Running::start("test", None, &command, dir.path()).unwrap(), dir)
    }

    #[test]
    fn dropping_the_guard_ends_the_program() {
        let (running, _dir) = start(&["sleep", "60"]);
        let process = PathBuf::from(format!("/proc/{}", running.id()));
        assert!(process.exists());

        drop(running);

        assert!(!process.exists());
    }

    #[test]
    fn a_program_that_ends_at_once_shows_its_last_words() {
        let (mut running, _dir) = start(&["sh", "-c", "echo no such option; exit 3"]);

        let error = running.wait_for_port(free_address().unwrap()).unwrap_err().to_string();

        assert!(error.contains("no such option") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_missing_tool_names_the_command_that_installs_it() {
        let error = require(&["sh", "no-such-tool"]).unwrap_err().to_string();

        assert!(error.contains("missing: no-such-tool"), "{error}");
        assert!(error.contains("make bench-tools"), "{error}");
    }
}
