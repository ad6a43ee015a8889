//! Random rules and random calls, which meet often enough to tell something.

use super::model::Rules;

/// A stream of numbers that the seed decides (splitmix64).
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

const RULE_METHODS: [&str; 5] = ["*", "*", "GET", "POST", "HEAD"];

const RULE_SEGMENTS: [&str; 18] = [
    "v1",
    "v1",
    "v1",
    "v1",
    "accounts",
    "accounts",
    "orders",
    "A1",
    "*",
    "*",
    "a*",
    "*s",
    "*n*s",
    "async",
    "rest",
    "lines",
    "A/1",
    "object-query",
];

/// Segments of honest calls, most of them such as a rule names.
const SEGMENTS: [&str; 16] = [
    "v1",
    "v1",
    "accounts",
    "accounts",
    "orders",
    "A1",
    "lines",
    "object-query",
    "async",
    "rest",
    "a",
    "x.y",
    "...",
    "b%20c",
    "%C3%A9",
    "~-_!$&'()+,=:@*",
];

/// Segments that are another spelling of one that a rule names, or only look like it.
const ODD: [&str; 26] = [
    "V1",
    "v%31",
    "Accounts",
    "%61ccounts",
    "ACCOUNTS",
    "accounts-evil",
    "accountsx",
    "ccounts",
    "",
    "",
    "orders;v=1",
    "orders%3Bv=1",
    ";x",
    "%3Bx",
    "accounts;",
    "v1%2Faccounts",
    "accounts%2fA1",
    "%2F",
    "A%2f1",
    "Rest",
    "REST",
    "Async",
    "%41%53ync",
    "ORDERS",
    "*",
    "**",
];

/// Segments that no honest caller writes.
const HOSTILE: [&str; 30] = [
    ".",
    "..",
    "%2e",
    "%2E%2e",
    ".%2e",
    "..;",
    "..;v=1",
    ".;x",
    "%2e%2e;",
    "..%3B",
    "%2e%2e%2f",
    "..%2Fx",
    "x%2F..",
    "x%2f.%2Fy",
    "%252e",
    "%25%32%65",
    "a%2541",
    "%00",
    "x%0d%0aY",
    "%1f",
    "%7f",
    "%5c",
    "a%5Cb",
    "\\",
    "%c0%af",
    "%ff",
    "%e0%80%ae",
    "%zz",
    "%4",
    "%",
];

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    pub(super) fn method(&mut self) -> &'static str {
        // Half of them read, as most calls do.
        if self.below(2) == 0 { "GET" } else { self.one(&METHODS) }
    }

    /// What one app may call. One app in eight may call all but what is denied.
    pub(super) fn rules(&mut self) -> Rules {
        let allowed = if self.below(8) == 0 { 0 } else { 1 + self.below(3) };
        let denied = self.below(3);
        Rules {
            allow: (0..allowed).map(|_| self.rule(true)).collect(),
            deny: (0..denied).map(|_| self.rule(false)).collect(),
        }
    }

    fn rule(&mut self, is_wide: bool) -> String {
        let method = self.one(&RULE_METHODS);
        let mut path = String::new();
        let base = if is_wide { 0 } else { 1 };
        for _ in 0..base + self.below(4) {
            // A rule is written in plain characters, so a slash in it always separates.
            let segment = self.one(&RULE_SEGMENTS);
            path.push('/');
            path.push_str(segment);
        }
        if path.is_empty() || self.below(2) == 0 {
            path.push_str("/**");
        }
        format!("{method} {path}")
    }

    /// A target in origin form, perhaps with a query.
    pub(super) fn target(&mut self) -> String {
        let mut target = String::new();
        // One target in four is honest all through, and one in four has something hostile in it.
        let (odd, hostile) = [(0, 0), (2, 0), (4, 0), (4, 3)][self.below(4)];
        let length = 1 + self.below(5);
        for _ in 0..length {
            let draw = self.below(10);
            target.push('/');
            target.push_str(match draw {
                _ if draw < hostile => self.one(&HOSTILE),
                _ if draw < hostile + odd => self.one(&ODD),
                _ => self.one(&SEGMENTS),
            });
        }
        target
            .push_str(["", "", "", "/", "?", "?q=/../x&r=%00%zz", "?/v1/accounts"][self.below(7)]);
        target
    }
}
