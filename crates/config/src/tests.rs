//! The crate from the outside: text in; a configuration, or problems, out.

mod asynchronous;
mod credentials;
mod example;
mod identities;
mod mistakes;
mod refused;
mod retries;
mod schema;
mod sharing;
mod syntax;
mod tenants;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use crate::{Config, Problems};

/// The shortest file that is right. Its secrets all begin with `hidden`.
const SHORTEST: &str = "\
tenants:
  production:
    base_url: https://rest.zuora.com
    credentials: {oauth: {client_id: id, client_secret: hidden-zuora}}
apps:
  storefront:
    tenant: production
    client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11
    secret: hidden-storefront
";

/// The shortest file with `written` in place of `original`.
#[track_caller]
fn with(original: &str, written: &str) -> String {
    assert!(SHORTEST.contains(original), "`{original}` is in the shortest file");
    SHORTEST.replace(original, written)
}

/// The shortest file with more keys of the tenant, from line 5 on.
fn with_tenant(more: &str) -> String {
    with("apps:", &format!("{}apps:", indented(more)))
}

/// The shortest file with more keys of the app, from line 10 on.
fn with_app(more: &str) -> String {
    format!("{SHORTEST}{}", indented(more))
}

/// The shortest file with more sections, from line 10 on.
fn with_more(more: &str) -> String {
    format!("{SHORTEST}{more}\n")
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("    {line}\n")).collect()
}

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let environment: BTreeMap<_, _> = variables.iter().copied().collect();
    crate::parse(text, Path::new("F"), &environment)
}

#[track_caller]
fn good(text: &str) -> Config {
    read(text, &[("NAME", "hidden-value"), ("N", "77"), ("EMPTY", "")])
        .unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

/// Checks what is told about `text`, without the name of the file.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let variables = [("NAME", "hidden-value"), ("N", "77"), ("EMPTY", "")];
    let told = match read(text, &variables) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    };
    let told: Vec<_> = told.lines().map(|line| line.trim_start_matches("F:")).collect();

    assert_eq!(told, expected, "\n{text}");
    assert!(!told.concat().contains("hidden"), "a secret was told: {told:?}");
}
