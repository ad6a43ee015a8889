//! The lines that `docs/clients.md` tells an app to change, run as they stand there.

use std::path::Path;
use std::process::Stdio;

use testkit::{House, SECRET};
use tokio::process::Command;

use super::soap::house_with_soap;
use super::table::document;
use super::{assert_clean, installed};

/// The lines that are run here; those of the part after it need names and certificates of Zuora's hosts.
const PART: &str = "## Clients whose address can be set";

/// A fenced piece of the guide, and under which heading it stands.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) heading: String,
    pub(super) language: String,
    pub(super) text: String,
}

/// The pieces of one part of the guide.
pub(super) fn pieces(part: &str) -> Vec<Piece> {
    let document = document();
    let mut lines = document.lines().skip_while(|line| *line != part).skip(1);
    let (mut pieces, mut heading) = (Vec::new(), String::new());
    while let Some(line) = lines.next().filter(|line| !line.starts_with("## ")) {
        if let Some(title) = line.strip_prefix("### ") {
            title.clone_into(&mut heading);
        } else if let Some(language) = line.strip_prefix("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            let (heading, language) = (heading.clone(), language.to_owned());
            pieces.push(Piece { heading, language, text: text.join("\n") });
        }
    }
    pieces
}

/// Runs a piece where the gateway is at this house's address, and tells what it printed.
async fn run(piece: &Piece, house: &House, description: &Path) -> String {
    let (program, option) = match piece.language.as_str() {
        "python" => (testkit::client("python"), "-c"),
        "js" => (testkit::client("node"), "-e"),
        "sh" => ("sh".into(), "-ec"),
        other => panic!("nothing here runs `{other}`: {piece:?}"),
    };
    let text = piece.text.replace("http://127.0.0.1:8080", &house.url());
    assert_ne!(text, piece.text, "it does not say where the gateway is");
    let mut command = Command::new(program);
    // The environment of the test may name proxies.
    command.args([option, &text]).env_clear().env("STOREFRONT_SECRET", SECRET);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("NODE_PATH", installed("node_modules"));
    command.env("NODE_OPTIONS", "--no-deprecation");
    command.env("ZUORA_OPENAPI", installed("zuora.com.json")).env("ZUORA_WSDL", description);
    command.current_dir(description.parent().unwrap());
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {out}\n{err}", piece.heading);
    out.into_owned()
}

#[tokio::test]
async fn the_lines_of_the_guide_do_what_it_says() {
    let pieces = pieces(PART);
    assert!(pieces.len() >= 4, "{pieces:?}");
    for piece in &pieces {
        let (house, _files, description) = house_with_soap().await;

        let printed = run(piece, &house, &description).await;

        assert!(printed.contains("Amber Trading 1"), "{}: {printed}", piece.heading);
        let ledger = house.tenant.ledger();
        assert_clean(&ledger);
        assert!(!ledger.executed.is_empty(), "{}", piece.heading);
    }
}
