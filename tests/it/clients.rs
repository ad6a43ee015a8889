//! Published clients, unmodified: the gateway is where they think Zuora is. What each of them does is judged by the
//! tenant's ledger, and told in `docs/clients.md`.

mod curl;
mod fleet;
mod guide;
mod hard_wired;
mod libraries;
mod soap;
mod table;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use emulator::{Executed, Ledger, OperationKind};
use serde_json::Value;
use testkit::House;
use tokio::process::Command;

/// A script of this directory, in the language that its name ends with.
pub(crate) fn script(name: &str) -> Command {
    let program = if name.ends_with(".py") { "python" } else { "node" };
    let mut command = Command::new(testkit::client(program));
    // What the packages themselves do is not ours to warn of.
    if program == "node" {
        command.arg("--no-deprecation").env("NODE_PATH", installed("node_modules"));
    }
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("it/clients").join(name));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Something beside the programs that `make test` has installed.
fn installed(name: &str) -> PathBuf {
    let python = testkit::client("python");
    python.ancestors().nth(2).unwrap().join(name)
}

/// Runs a script to its end, and reads the JSON object that it prints last: what it saw.
pub(crate) async fn seen_by(mut script: Command) -> Value {
    let output = script.output().await.unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script:?}: {out}\n{err}");
    // Some packages print, too.
    let last = out.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
}

async fn house() -> House {
    House::plain(Duration::from_millis(2)).await
}

/// Every call had a valid track id of the app, and one token served them all. Whatever the app itself had sent to say who
/// it is came no further than the gateway.
#[track_caller]
fn assert_clean(ledger: &Ledger) {
    assert_eq!((ledger.missing_track_ids, ledger.invalid_track_ids), (0, 0));
    assert_eq!((ledger.token_calls, ledger.unauthenticated_calls), (1, 0));
    assert_eq!((ledger.refused_concurrency, ledger.refused_rate), (0, 0));
    let mut brought = ledger.credentials.keys().flat_map(|all| all.split('+'));
    assert!(
        brought.all(|one| one == "bearer" || one == "soap_session"),
        "{:?}",
        ledger.credentials
    );
    for call in &ledger.executed {
        assert!(call.track_id.as_deref().is_some_and(|id| id.starts_with("app-")), "{call:?}");
    }
}

/// How often something was done. Writes about one account that meet are rolled back first, which the client never sees.
fn count(ledger: &Ledger, kind: OperationKind) -> usize {
    let was_done = |call: &&Executed| call.took_effect || kind == OperationKind::Read;
    ledger.executed.iter().filter(|call| call.kind == kind).filter(was_done).count()
}

#[test]
#[should_panic(expected = "run `make test`")]
fn a_client_that_is_missing_fails_the_test_and_says_what_to_do() {
    let _ = testkit::component("a-program-that-nobody-has");
}
