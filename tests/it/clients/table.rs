//! What each client does, as `docs/clients.md` tells it. A cell is ticked if, and only if, the tenant saw it done.

use std::collections::BTreeSet;
use std::path::Path;

use emulator::{Executed, Ledger, OperationKind};

/// What an app can want of Zuora. The names are those of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    Reads,
    /// It came to the end of a list that is longer than a page. Only the client can tell.
    Pages,
    Creates,
    Changes,
    Deletes,
    Uploads,
    Downloads,
    /// It said why its wrong secret was refused. Only the client can tell.
    ToldWhy,
}

const COLUMNS: [(&str, Deed); 8] = [
    ("reads", Deed::Reads),
    ("pages", Deed::Pages),
    ("creates", Deed::Creates),
    ("changes", Deed::Changes),
    ("deletes", Deed::Deletes),
    ("uploads", Deed::Uploads),
    ("downloads", Deed::Downloads),
    ("told why", Deed::ToldWhy),
];

/// Checks the row of `client`: what `ledger` holds, and what the client `told` besides.
#[track_caller]
pub(super) fn assert_row(client: &str, ledger: &Ledger, told: &[Deed]) {
    let done = ledger.executed.iter().filter_map(deed).chain(told.iter().copied());
    let done: BTreeSet<Deed> = done.collect();
    let rows = rows(&document());
    let row = rows.iter().find(|(name, _)| name == client);
    let (_, ticked) = row.unwrap_or_else(|| panic!("docs/clients.md has no row for `{client}`"));
    assert_eq!(*ticked, done, "the row of `{client}` in docs/clients.md");
}

/// What a call is to the app that made it; none if it came to nothing.
fn deed(call: &Executed) -> Option<Deed> {
    let is_below = |starts: &[&str]| starts.iter().any(|start| call.path.starts_with(start));
    let is_file = is_below(&["/v1/files/", "/v1/file/"]);
    match call.kind {
        // A job that exports is begun and ended, and changes nothing.
        _ if is_below(&["/v1/batch-query/", "/v1/object/export"]) => Some(Deed::Reads),
        OperationKind::Read if call.status != 200 => None,
        OperationKind::Read if is_file => Some(Deed::Downloads),
        OperationKind::Read => Some(Deed::Reads),
        _ if !call.took_effect => None,
        OperationKind::Create => Some(Deed::Creates),
        OperationKind::Update => Some(Deed::Changes),
        OperationKind::Delete => Some(Deed::Deletes),
        OperationKind::Upload => Some(Deed::Uploads),
        OperationKind::Action | OperationKind::Preview | OperationKind::Submission => None,
    }
}

/// The guide.
pub(super) fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md");
    std::fs::read_to_string(path).unwrap()
}

/// The rows of the table of clients: who, by the name in backticks, and what is ticked.
fn rows(document: &str) -> Vec<(String, BTreeSet<Deed>)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines = document.lines().skip_while(|line| !line.starts_with("| client "));
    let head = cells(lines.next().expect("a table of clients"));
    let columns: Vec<Option<Deed>> = head
        .iter()
        .map(|cell| COLUMNS.iter().find(|(name, _)| name == cell).map(|(_, deed)| *deed))
        .collect();
    assert_eq!(columns.iter().flatten().count(), COLUMNS.len(), "{head:?}");
    let row = |line: &str| {
        let cells = cells(line);
        let name = cells[0].split('`').nth(1).unwrap_or_else(|| panic!("no name: {line}"));
        let ticked = cells.iter().zip(&columns).filter(|(cell, _)| *cell == "✓");
        (name.to_owned(), ticked.filter_map(|(_, deed)| *deed).collect())
    };
    lines.skip(1).take_while(|line| line.starts_with('|')).map(row).collect()
}

#[test]
fn every_client_in_the_guide_is_tested() {
    let sources = ["curl", "hard_wired", "libraries", "soap"].map(|name| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/clients").join(name);
        std::fs::read_to_string(path.with_extension("rs")).unwrap()
    });
    for (client, ticked) in rows(&document()) {
        let call = format!("assert_row(\"{client}\"");
        assert!(sources.iter().any(|source| source.contains(&call)), "nothing tests `{client}`");
        assert!(!ticked.is_empty(), "`{client}` does nothing");
    }
}
