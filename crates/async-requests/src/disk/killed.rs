//! What is there after a process ended in the middle of its work: the test runs itself as another process.

#![expect(clippy::print_stdout, reason = "the child tells its parent what is durable")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::testing::*;
use crate::{Disk, Limits, NotBegun, Record, Registry, State, Taken};

const LIMITS: Limits =
    Limits { keep: Duration::from_secs(3600), max_records: 100_000, max_pending: 100_000 };

async fn open(directory: &Path) -> Arc<Registry> {
    Registry::new(Disk::open(directory, LIMITS).await.unwrap())
}

/// Runs a child of this test in `directory`, as `sh -c` with `before` does.
fn child(name: &str, directory: &Path, before: &str) -> Child {
    let this = std::env::current_exe().unwrap();
    let line = format!("{before}exec \"$0\" --exact --ignored --nocapture \"$1\"");
    let mut command = Command::new("bash");
    command.args(["-c", &line]).arg(this).arg(format!("disk::killed::{name}"));
    command.current_dir(directory).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Lives one life of a request after the other, sixteen at a time, and tells of each step once it is durable.
#[tokio::test]
#[ignore = "a child of another test, which kills it"]
async fn writes_until_it_is_killed() {
    let registry = open(Path::new(".")).await;
    let mut lives = JoinSet::new();
    for life in 0..16 {
        let registry = Arc::clone(&registry);
        let run = std::process::id();
        lives.spawn(async move {
            for number in 0_u32.. {
                let track_id = format!("{run}-{life}-{number}");
                let submission = registry.sent(named(&track_id)).await;
                println!("\nsending {track_id}");
                if number % 5 == 4 {
                    println!("\nwithdrawing {track_id}");
                    submission.withdrawn().await.unwrap();
                    println!("\nwithdrawn {track_id}");
                    continue;
                }
                submission.accepted(Some(&format!("r-{track_id}"))).await.unwrap();
                println!("\naccepted {track_id}");
                let report = told(Some(&format!("r-{track_id}")), None, succeeded(&track_id));
                assert!(matches!(registry.tell(report).await, Taken::News(_)));
                println!("\nsucceeded {track_id}");
            }
        });
    }
    lives.join_all().await;
}

#[tokio::test]
async fn what_was_told_to_be_durable_is_there_after_a_kill_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let mut all = BTreeMap::new();
    for round in 0..8 {
        let mut told = BTreeMap::new();
        let mut child = child("writes_until_it_is_killed", directory.path(), "");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Lines of several threads may run into each other at their ends only: each begins on its own.
        let mut steps = 0;
        for line in lines {
            if let Some((step, track_id)) = line.split_once(' ')
                && track_id.split('-').count() == 3
            {
                told.insert(track_id.to_owned(), step.to_owned());
                steps += 1;
                if steps == 100 + 37 * round {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(steps >= 100, "the child ended by itself");

        let registry = open(directory.path()).await;
        for (track_id, step) in &told {
            check(track_id, step, registry.known(track_id).await.as_ref());
        }
        registry.close().await.unwrap();
        all.append(&mut told);
    }

    let registry = open(directory.path()).await;
    for (track_id, step) in &all {
        check(track_id, step, registry.known(track_id).await.as_ref());
    }
}

/// At least what was told had happened, and nothing else.
#[track_caller]
fn check(track_id: &str, step: &str, record: Option<&Record>) {
    let state = record.map(|record| record.state);
    let may_be = match step {
        "sending" => &[Some(State::Sending), Some(State::Accepted)][..],
        "withdrawing" => &[Some(State::Sending), None],
        "withdrawn" => &[None],
        "accepted" => &[Some(State::Accepted), Some(State::Succeeded)],
        "succeeded" => &[Some(State::Succeeded)],
        step => panic!("{step} is no step"),
    };
    assert!(may_be.contains(&state), "{track_id} was {step}, and is {state:?}");
    if let Some(record) = record {
        assert_eq!(record.accepted.is_some(), record.state != State::Sending);
        let outcome = (record.state == State::Succeeded).then(|| succeeded(track_id));
        assert_eq!(record.outcome, outcome);
    }
}

/// Begins requests until it is refused, in a process that may not write longer files; then lets the end of one be told.
#[tokio::test]
#[ignore = "a child of another test, which limits it"]
async fn writes_until_there_is_no_room() {
    let registry = open(Path::new(".")).await;
    for number in 0_u32..100_000 {
        match registry.begin(named(&format!("a-{number}-0"))).await {
            Ok(_) => println!("\nsending a-{number}-0"),
            Err(NotBegun::Unstorable(_)) => {
                let report = told(None, Some("a-0-0"), succeeded("1"));
                assert!(registry.take_in(&TENANT.into(), report).await.is_err());
                println!("\nrefused a-{number}-0");
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn where_files_may_not_grow_requests_are_refused_and_none_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    // In units of 1024 bytes. Without the trap the system would end the process.
    let before = "trap '' XFSZ; ulimit -f 1536; ";
    let mut child = child("writes_until_there_is_no_room", directory.path(), before);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut steps: Vec<_> =
        lines.filter_map(|line| Some(line.split_once(" a-")?.0.to_owned())).collect();
    assert!(child.wait().unwrap().success());

    assert_eq!(steps.pop().as_deref(), Some("refused"));
    assert!(steps.len() > 100, "{} were begun", steps.len());
    let registry = open(directory.path()).await;
    for number in 0..steps.len() {
        let known = registry.known(&format!("a-{number}-0")).await;
        assert_eq!(known.map(|it| it.state), Some(State::Sending), "{number}");
    }
    registry.done("batch", "late").await;
}
