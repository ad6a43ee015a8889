//! Files that are not what the reader calls YAML.

use super::{check, with, with_app, with_more};

#[test]
fn an_empty_file() {
    check("", &["1:1: the file is empty"]);
    check("# nothing\n---\n", &["1:1: the file is empty"]);
}

#[test]
fn a_file_that_is_no_mapping() {
    check(
        "hello",
        &[
            "1:1: expected a mapping with some of the keys `listen`, `admin`, `signing_key`, `state_dir`, `async_requests`, `tenants`, `apps`, `anonymous`, `single_use`, `log`, found a single value (a key ends with a colon and a space)",
        ],
    );
    check(
        "[1, 2]",
        &[
            "1:1: expected a mapping with some of the keys `listen`, `admin`, `signing_key`, `state_dir`, `async_requests`, `tenants`, `apps`, `anonymous`, `single_use`, `log`, found a list",
        ],
    );
}

#[test]
fn a_tab_as_indentation() {
    check(
        &with("    tenant:", "\ttenant:"),
        &["7:2: a tab is not read as indentation: write spaces"],
    );
    check(
        "listen:\n\taddress: 127.0.0.1:1\n",
        &["2:2: a tab is not read as indentation: write spaces"],
    );
}

#[test]
fn wrong_indentation() {
    check(
        &with("    tenant:", "   tenant:"),
        &[
            "8:14: a second `:` in one value: this line is indented too far, or the value needs quotes",
        ],
    );
    check(
        &with("    client_id: 6", "     client_id: 6"),
        &[
            "8:15: a second `:` in one value: this line is indented too far, or the value needs quotes",
        ],
    );
    check(
        &with("    secret: hidden-storefront", "   secret: hidden-storefront"),
        &[
            "9:4: the indentation fits none of the lines above: begin this line in the same column as the keys it belongs to",
        ],
    );
    check(
        &with("    tenant:", "tenant:"),
        &[
            "8:14: a second `:` in one value: this line is indented too far, or the value needs quotes",
        ],
    );
}

#[test]
fn text_that_is_not_yaml() {
    check(
        &with("secret: hidden-storefront", "secret: \"hidden"),
        &[
            "10:1: quotes opened above are not closed, or the quoted text goes on without indentation",
        ],
    );
    check(
        &with("secret: hidden-storefront", "secret: %hidden"),
        &["9:13: a value cannot begin with this character: write the value in quotes"],
    );
    check(
        &with("secret: hidden-storefront", "secret: [hidden"),
        &["9:13: the `[` opened here is not closed"],
    );
    check(
        &with("secret: hidden-storefront", "secret: a: b"),
        &[
            "9:14: a second `:` in one value: this line is indented too far, or the value needs quotes",
        ],
    );
    check(
        &with("secret: hidden-storefront", "secret:hidden"),
        &["9:5: expected a key followed by `: `"],
    );
    check(
        &with("client_secret: hidden-zuora", "client_secret: ${NAME}"),
        &[r#"4:58: within `{ }` and `[ ]`, write `${…}` in quotes: "${NAME}""#],
    );
    check(
        &with_app("allow: [${NAME}]"),
        &[r#"10:14: within `{ }` and `[ ]`, write `${…}` in quotes: "${NAME}""#],
    );
    check(&with_more("---\nlog: {}"), &["10:1: a second document begins: write one"]);
    check(&with_more("? [a]\n: b"), &["10:3: a key must be plain text"]);
}

#[test]
fn anchors_aliases_and_tags() {
    check(
        &with("tenant: production", "tenant: &t production"),
        &["7:16: anchors and tags are not read: write the value alone"],
    );
    check(
        &with("tenant: production", "tenant: *t"),
        &["7:13: aliases are not read: write the value itself"],
    );
    check(
        &with("tenant: production", "tenant: !!str production"),
        &["7:19: anchors and tags are not read: write the value alone"],
    );
}

#[test]
fn bombs_are_refused() {
    let nested = "[".repeat(100_000);
    check(&nested, &["1:33: nested deeper than 32 levels"]);
    let blocks: String = (0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    check(&blocks, &["33:33: nested deeper than 32 levels"]);
    let aliases = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n";
    check(aliases, &["1:7: anchors and tags are not read: write the value alone"]);
}
