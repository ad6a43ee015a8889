//! Texts by chance, written together with what shall become of them: whoever writes a text knows what in it is a field.

use super::*;

const KEYS: [&str; 14] = [
    "nextPage",
    "next",
    "next_page",
    "resultFileUrl",
    "uploadedFileUrl",
    "outputURL",
    "dataFile",
    "uri",
    "a\"next",
    "\"next\":",
    "",
    "{\"next",
    "location",
    "next\\",
];

/// What may follow a host and leave it the host.
const AFTER: [&str; 6] = ["", "/", "/v1/x?next=\"https://rest.zuora.com/\"", "?a", "#a", "/\\\""];

const OWN: [&str; 6] = [
    "https://rest.zuora.com",
    "http://rest.zuora.com",
    "https://api.zuora.com",
    "https://www.zuora.com",
    "https://rest.zuora.com:443",
    "http://api.zuora.com:80",
];

const TEXTS: [&str; 12] = [
    "https://rest.zuora.com.example/",
    "https://rest.zuora.com:8443/",
    "https://user@rest.zuora.com/",
    "https://rest.zuora.com@example/",
    " https://rest.zuora.com/",
    "\"next\":\"https://rest.zuora.com/",
    ",\"next\" : \"https://api.zuora.com/\"",
    "next",
    "\\",
    "",
    "https:",
    "\u{fc}\u{1f600}\n",
];

/// A text and what it becomes.
#[derive(Default)]
struct Pair {
    given: String,
    expected: String,
}

impl Pair {
    fn both(&mut self, text: &str) {
        self.given.push_str(text);
        self.expected.push_str(text);
    }
}

struct Chance(u64);

impl Chance {
    /// Less than `below` (xorshift64*).
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn blank(&mut self) -> &'static str {
        self.of(&["", "", "", " ", "\n  ", "\t", "\r\n"])
    }

    fn value(&mut self, pair: &mut Pair, depth: usize) {
        match self.below(if depth > 4 { 4 } else { 7 }) {
            0 => pair.both(self.of(&["null", "true", "0E-9", "17"])),
            1..=3 => {
                let text = quoted(self.of(&TEXTS));
                pair.both(&text);
            }
            4 => {
                pair.both("[");
                for element in 0..self.below(4) {
                    pair.both(if element > 0 { "," } else { "" });
                    pair.both(self.blank());
                    self.address_or_value(pair, depth + 1, false);
                    pair.both(self.blank());
                }
                pair.both("]");
            }
            _ => self.object(pair, depth + 1),
        }
    }

    fn object(&mut self, pair: &mut Pair, depth: usize) {
        pair.both("{");
        for field in 0..self.below(5) {
            pair.both(if field > 0 { "," } else { "" });
            pair.both(self.blank());
            let key = self.below(KEYS.len());
            pair.both(&quoted(KEYS[key]));
            pair.both(self.blank());
            pair.both(":");
            pair.both(self.blank());
            self.address_or_value(pair, depth, key < 6);
            pair.both(self.blank());
        }
        pair.both("}");
    }

    fn address_or_value(&mut self, pair: &mut Pair, depth: usize, is_link: bool) {
        if self.below(2) == 0 {
            return self.value(pair, depth);
        }
        let after = self.of(&AFTER);
        let given = quoted(&format!("{}{after}", self.of(&OWN)));
        let base = if is_link { quoted(&format!("{BASE}{after}")) } else { given.clone() };
        let escapes_slashes = self.below(3) == 0;
        let written = |text: String| if escapes_slashes { text.replace('/', r"\/") } else { text };
        pair.given.push_str(&written(given));
        pair.expected.push_str(&written(base));
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn in_any_json_the_links_are_rewritten_and_nothing_else_is() {
    let own = own();
    let mut links = 0;
    for seed in 1..=3000 {
        let mut chance = Chance(seed);
        let mut pair = Pair::default();
        chance.object(&mut pair, 0);
        let _: serde_json::Value = serde_json::from_str(&pair.given).expect("it is JSON");

        let mut rewriter = Rewriter::new(&own, Text::Json, BASE);
        let mut out = Vec::new();
        let mut rest = pair.given.as_bytes();
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(1 + chance.below(rest.len().min(40)));
            out.extend_from_slice(&rewriter.push(piece));
            rest = later;
        }
        out.extend_from_slice(&rewriter.finish());

        assert_eq!(show(&out), pair.expected, "seed {seed}, given {}", pair.given);
        links += rewriter.rewritten();
    }
    assert!(links > 1000, "{links} links");
}
