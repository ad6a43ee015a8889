//! What it costs to judge an answer, by its size and by how much it looks like a failure; and to
//! know what a write is about.
//!
//! `cargo run --release -p benches --bin judge`

#![expect(clippy::print_stdout, reason = "a measurement is a program that prints its result")]

use std::{
    hint::black_box,
    io::Write,
    time::{Duration, SystemTime},
};

use anyhow::Result;
use benches::{machine, stats::Samples, table::Table};
use clap::Parser;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;
use zuora::Verdict;

const KIB: usize = 1024;

/// Measures how long deciding takes.
#[derive(Debug, Parser)]
struct Options {
    /// How long a sample lasts: so short that hardly one is disturbed by another program.
    #[arg(long, default_value_t = 200)]
    microseconds: u64,

    /// How many samples are taken; their median counts.
    #[arg(long, default_value_t = 500)]
    samples: usize,
}

/// An answer to judge.
struct Answer {
    name: &'static str,
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    println!("Machine: {}.\n", machine::description()?);
    let mut table = Table::new(&["answer", "bytes", "verdict", "µs, median", "µs, best"]);
    for answer in answers() {
        let verdict = word(answer.verdict()).to_owned();
        let name = answer.name.to_owned();
        let samples = options.time(|| answer.verdict());
        table.row([name, answer.body.len().to_string(), verdict, median(&samples), best(&samples)]);
    }
    println!("{table}");

    let mut table = Table::new(&["write", "bytes", "subjects", "µs, median", "µs, best"]);
    for (name, method, path, body) in writes() {
        let json = HeaderValue::from_static("application/json");
        let operation = zuora::classify(&method, path);
        let subjects = || zuora::subjects(operation, path, Some(&json), body.as_bytes());
        let count = subjects().len().to_string();
        let samples = options.time(subjects);
        let bytes = body.len().to_string();
        table.row([name.to_owned(), bytes, count, median(&samples), best(&samples)]);
    }
    println!("{table}");
    Ok(())
}

fn median(samples: &Samples) -> String {
    format!("{:.2}", samples.median())
}

fn best(samples: &Samples) -> String {
    format!("{:.2}", samples.best())
}

impl Options {
    /// What one decision costs in µs: samples, after a fifth as many that do not count.
    fn time<T>(&self, decide: impl Fn() -> T) -> Samples {
        let turns = self.turns(&decide);
        for _ in 0..self.samples / 5 {
            time(&decide, turns);
        }
        let mut samples = Samples::default();
        for _ in 0..self.samples {
            samples.push(time(&decide, turns).as_secs_f64() * 1e6 / f64::from(turns));
        }
        samples
    }

    /// How many decisions make a sample.
    fn turns<T>(&self, decide: &impl Fn() -> T) -> u32 {
        let enough = Duration::from_micros(self.microseconds);
        (0..20).map(|power| 1 << power).find(|turns| time(decide, *turns) >= enough).unwrap_or(1)
    }
}

fn time<T>(decide: &impl Fn() -> T, turns: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..turns {
        black_box(black_box(decide)());
    }
    start.elapsed()
}

impl Answer {
    fn json(name: &'static str, status: u16, body: String) -> Self {
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json;charset=utf-8");
        headers.insert(header::CONTENT_TYPE, json);
        let status = StatusCode::from_u16(status).expect("a status");
        Self { name, status, headers, body: body.into_bytes() }
    }

    fn gzipped(mut self, name: &'static str) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.body).expect("memory takes it all");
        self.body = encoder.finish().expect("memory takes it all");
        self.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Self { name, ..self }
    }

    fn declared(mut self, name: &'static str) -> Self {
        self.headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        Self { name, ..self }
    }

    fn verdict(&self) -> Verdict {
        zuora::judge(self.status, &self.headers, &self.body, SystemTime::UNIX_EPOCH)
    }
}

fn answers() -> Vec<Answer> {
    let json = Answer::json;
    vec![
        json("1 KiB success, a write's", 200, list(KIB, r#"{"success":true,"#, PLAIN, "}")),
        json("1 KiB success, a read's", 200, list(KIB, "{", PLAIN, r#","success":true}"#)),
        json("… with many `…Code` fields", 200, list(KIB, "{", CODES, "}")),
        json("… with fields named `code`", 200, list(KIB, "{", CODE, "}")),
        json("… with a `success` of false in a row", 200, list(KIB, "{", FAILED_ROW, "}")),
        json("… of an object query", 200, list(KIB, r#"{"data":["#, &row(PLAIN), "]}")),
        json("… gzip", 200, list(KIB, "{", PLAIN, r#","success":true}"#)).gzipped("… gzip"),
        json("1 KiB failure, lock contention", 200, complaint(50_000_050)),
        json("1 KiB failure, HTTP 400", 400, complaint(53_100_020)),
        json("64 KB success", 200, list(64_000, "{", PLAIN, "}")),
        json("… with many `…Code` fields", 200, list(64_000, "{", CODES, "}")),
        json("… with fields named `code`", 200, list(64_000, "{", CODE, "}")),
        json("… with a `success` of false in a row", 200, list(64_000, "{", FAILED_ROW, "}")),
        json("", 200, list(64_000, "{", PLAIN, "}")).gzipped("… gzip"),
        json("10 MB success, length not declared", 200, list(10_000_000, "{", PLAIN, "}")),
        json("", 200, list(10_000_000, "{", PLAIN, "}")).declared("… declared"),
        json("", 200, list(10_000_000, "{", PLAIN, "}")).gzipped("… gzip"),
    ]
}

/// `#` stands for another number each time.
const PLAIN: &str = r#""accountRef":"A#","balance":#.50,"status":"Active","id":"8ad0#8c#""#;
const CODES: &str =
    r#""currencyCode":"EUR","taxCode":"S-50000050","reasonCode":null,"gatewayResponseCode":"70""#;
const CODE: &str = r#""row":{"code":"50000050","name":"a customer's","amount":50000070}"#;
const FAILED_ROW: &str = r#""row":{"success":false,"name":"a callout's","amount":50000070}"#;

fn row(fields: &str) -> String {
    format!("{{{fields}}}")
}

/// So many bytes or a few less, made of the same again and again.
fn list(bytes: usize, begin: &str, fields: &str, end: &str) -> String {
    let room = bytes - begin.len() - end.len();
    let mut number = 1_u64;
    let mut many = String::new();
    loop {
        number = number * 48_271 % 0x7fff_ffff;
        // Always of ten digits, and none of them a zero in front, which JSON does not have.
        let more = fields.replace('#', &(1_000_000_000 + number).to_string());
        if many.len() + more.len() + 1 > room {
            return format!("{begin}{many}{end}");
        }
        if !many.is_empty() {
            many.push(',');
        }
        many.push_str(&more);
    }
}

/// What it is called, method, path and body.
type Call = (&'static str, Method, &'static str, String);

fn writes() -> Vec<Call> {
    let order = |bytes| {
        let begin =
            r#"{"existingAccountNumber":"A00000001","orderDate":"2026-01-01","subscriptions":["#;
        let action = r##"{"subscriptionNumber":"A-S00000001","orderActions":[{"type":"Suspend","note":"#"}]}"##;
        list(bytes, begin, action, "]}")
    };
    let usage = r#"{"AccountId":"8ad08c8480a5b3a80180a5c3e1c50e3b","Quantity":#}"#;
    vec![
        (
            "named in its path alone",
            Method::PUT,
            "/v1/subscriptions/A-S00000042/cancel",
            String::new(),
        ),
        ("an order", Method::POST, "/v1/orders", order(KIB)),
        ("a long order", Method::POST, "/v1/orders", order(64_000)),
        (
            "rows of an Action",
            Method::POST,
            "/v1/action/create",
            list(8 * KIB, r#"{"type":"Usage","objects":["#, usage, "]}"),
        ),
        (
            "of nothing of the kind",
            Method::POST,
            "/v1/catalog/products",
            list(KIB, "{", PLAIN, "}"),
        ),
    ]
}

/// A failure of v1 of 1 KiB, as pretty as they come.
fn complaint(code: u32) -> String {
    let message = "Operation failed due to a lock competition, please retry later. ".repeat(14);
    format!(
        "{{\n  \"success\" : false,\n  \"processId\" : \"7F2E4C89A1B3C4D5\",\n  \"reasons\" : [ {{\n    \"code\" : {code},\n    \"message\" : \"{message}\"\n  }} ]\n}}"
    )
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Relay => "relay",
        Verdict::Refused(_) => "refused",
        Verdict::Unauthenticated => "unauthenticated",
        Verdict::Contended => "contended",
        Verdict::InProgress => "in progress",
        Verdict::Ambiguous { .. } => "ambiguous",
        Verdict::Failed { .. } => "failed",
    }
}
