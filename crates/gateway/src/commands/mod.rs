//! What the program can be asked to do. One module per command; here is what they share.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Subcommand};
use config::{Config, Problems};

mod callouts;
mod check;
mod demo;
mod emulate;
mod explain;
mod run;

/// What the program is asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve: stand between the apps and the tenants of a configuration.
    ///
    /// Follows changes of its configuration while it serves; SIGHUP has it look at once. Ends on SIGTERM or SIGINT
    /// without losing a call; a second signal ends it at once.
    Run(run::Run),
    /// Read a configuration, and tell everything that is wrong with it at once: FILE:LINE:COLUMN and what to write
    /// instead.
    Check(check::Check),
    /// See it work, without an account: an emulated tenant, the gateway, and three apps that want more than the tenant
    /// allows.
    Demo(demo::Demo),
    /// Run the emulated tenant alone, to test your own programs against it.
    Emulate(Box<emulate::Emulate>),
    /// Tell what would happen to a call: operation, pool, policy, async, idempotency, track id. Sends nothing.
    Explain(explain::Explain),
    /// See to what has Zuora tell how async requests ended: its two notification definitions.
    #[command(subcommand)]
    Callouts(callouts::Callouts),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Print the completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Does what was asked, and says how it went: 0, or 1 if it cannot be done.
    ///
    /// # Errors
    /// If it cannot be done.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run(run) => run.execute(),
            Self::Check(check) => check.execute(),
            Self::Demo(demo) => demo.execute(),
            Self::Emulate(emulate) => emulate.execute(),
            Self::Explain(explain) => explain.execute(),
            Self::Callouts(callouts) => callouts.execute(),
            Self::Schema => say(&format!("{:#}\n", config::schema())),
            Self::Completions { shell } => completions(shell),
        }
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    #[derive(Debug, clap::Parser)]
    #[command(name = "zuora-gateway", version)]
    struct Program {
        #[command(subcommand)]
        _command: Command,
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Program::command(), "zuora-gateway", &mut script);
    say(&String::from_utf8(script)?)
}

/// Prints to standard output. A reader that has gone, as in `… | head`, is no failure.
fn say(text: &str) -> anyhow::Result<ExitCode> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Prints an error with its causes to standard error.
pub fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "zuora-gateway: {error:#}");
}

/// Reads the configuration; `None` once its problems have been told.
fn load(path: &Path) -> Option<Config> {
    told(config::load(path))
}

/// What was read; `None` once its problems have been told.
fn told<T>(read: Result<T, Problems>) -> Option<T> {
    read.map_err(|problems| writeln!(io::stderr(), "{problems}")).ok()
}

/// What stands behind a limit that is only counted.
fn unless_enforced(enforce: bool) -> &'static str {
    if enforce { "" } else { " (not enforced)" }
}

/// The runtime of a command. `threads` is how many cores it may keep busy.
fn runtime(threads: usize) -> io::Result<tokio::runtime::Runtime> {
    match threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
        }
    }
}
