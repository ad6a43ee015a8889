//! A second, slow reading of the same rules, on whole strings, and random paths and policies on
//! which the two must agree.

use super::*;

/// Stands for an encoded slash that does not separate segments.
const INNER_SLASH: char = '\u{1}';

const PIECES: [&str; 20] = [
    "/", "/", "/", "/", "//", "v1", "v1", "async", "rest", "a", "b", "A", "V1", "%2F", "%2f", ";",
    ";x", "%3B", "%61", "REST",
];

const PATTERNS: [&str; 16] = [
    "/**",
    "/v1/**",
    "/v1/*",
    "/v1/a",
    "/v1/a/*",
    "/v1/a/**",
    "/v1/async/**",
    "/v1/async/a",
    "/a/b",
    "/a",
    "/*/b",
    "/rest/v1/a",
    "/*a",
    "/v1/*a*/**",
    "/",
    "/*/*/**",
];

const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "*"];

#[test]
fn policy_agrees_with_the_model_on_random_calls() {
    let mut random = Random(53);
    let (mut permitted, mut refused) = (0, 0);
    for _ in 0..60_000 {
        let path = format!("/{}", random.some(8, &PIECES).concat());
        let method = METHODS[random.below(3)];
        let allow = random.patterns(3);
        let deny = random.patterns(2);
        let Ok(target) = Target::read(&path) else { continue };

        let patterns = |list: &[String]| list.iter().map(|p| Rule::parse(p).unwrap()).collect();
        let policy = Policy { allow: patterns(&allow), deny: patterns(&deny), read_only: false };
        let expected = model_permits(&allow, &deny, method, &path);

        assert_eq!(
            policy.judge(&Method::from_bytes(method.as_bytes()).unwrap(), &target).is_ok(),
            expected,
            "{method} {path} allow {allow:?} deny {deny:?}"
        );
        if expected { permitted += 1 } else { refused += 1 }
    }
    assert!(permitted > 6_000 && refused > 6_000, "{permitted} permitted, {refused} refused");
}

fn model_permits(allow: &[String], deny: &[String], method: &str, path: &str) -> bool {
    model_readings(path).iter().all(|reading| {
        let allowed = allow.is_empty() || allow.iter().any(|p| model_matches(p, method, reading));
        let denied = deny.iter().any(|p| {
            model_matches(&p.to_lowercase(), &method.to_lowercase(), &reading.to_lowercase())
        });
        allowed && !denied
    })
}

/// All combinations, whether they differ or not.
fn model_readings(path: &str) -> Vec<String> {
    let mut readings = Vec::new();
    for splits in [false, true] {
        for merges in [false, true] {
            for dropped in ["", "raw", "decoded"] {
                let mut text = path.to_owned();
                if dropped == "raw" {
                    text = without_parameters(&text);
                }
                let slash = if splits { '/' } else { INNER_SLASH };
                text = text.replace("%2F", &slash.to_string()).replace("%2f", &slash.to_string());
                text = text.replace("%3B", ";").replace("%61", "a");
                if dropped == "decoded" {
                    text = without_parameters(&text);
                }
                while merges && text.contains("//") {
                    text = text.replace("//", "/");
                }
                let text = text.strip_suffix('/').unwrap_or(&text).to_owned();
                with_aliases(&text, &mut readings);
            }
        }
    }
    readings
}

fn with_aliases(text: &str, readings: &mut Vec<String>) {
    let lower = format!("{}/", text.to_lowercase());
    let mut text = text;
    if lower.starts_with("/rest/v1/") {
        if !format!("{text}/").starts_with("/rest/v1/") {
            readings.push(text.to_owned());
        }
        text = &text["/rest".len()..];
    }
    readings.push(text.to_owned());
    if format!("{}/", text.to_lowercase()).starts_with("/v1/async/") {
        readings.push(format!("{}{}", &text[.."/v1".len()], &text["/v1/async".len()..]));
    }
}

fn without_parameters(text: &str) -> String {
    let mut skipping = false;
    let keep = |c: &char| {
        skipping = *c != '/' && (skipping || *c == ';');
        !skipping
    };
    text.chars().filter(keep).collect()
}

fn model_matches(pattern: &str, method: &str, path: &str) -> bool {
    let (own, glob) = pattern.split_once(' ').unwrap();
    let as_get = method.eq_ignore_ascii_case("head") && own.eq_ignore_ascii_case("get");
    let glob = glob.strip_prefix("/rest").unwrap_or(glob);
    let glob = glob.strip_suffix('/').unwrap_or(glob);
    (own == "*" || own == method || as_get) && glob_matches(glob, path)
}

/// On whole paths, character by character.
fn glob_matches(glob: &str, path: &str) -> bool {
    if glob == "/**" {
        return path.is_empty() || path.starts_with('/');
    }
    let Some(first) = glob.chars().next() else { return path.is_empty() };
    let rest = &glob[1..];
    if first != '*' {
        let begins_whole_star = first == '/' && (rest == "*" || rest.starts_with("*/"));
        let Some(path) = path.strip_prefix(first) else { return false };
        return !(begins_whole_star && (path.is_empty() || path.starts_with('/')))
            && glob_matches(rest, path);
    }
    let segment = path.find('/').unwrap_or(path.len());
    (0..=segment).filter(|at| path.is_char_boundary(*at)).any(|at| glob_matches(rest, &path[at..]))
}

/// A small generator (xorshift), so that a failure is the same failure on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn some<'a>(&mut self, most: usize, of: &[&'a str]) -> Vec<&'a str> {
        (0..self.below(most + 1)).map(|_| of[self.below(of.len())]).collect()
    }

    fn patterns(&mut self, most: usize) -> Vec<String> {
        let paths = self.some(most, &PATTERNS);
        paths.into_iter().map(|path| format!("{} {path}", METHODS[self.below(4)])).collect()
    }
}
