//! curl, in every framing that it knows.

use std::path::PathBuf;
use std::process::Stdio;

use emulator::OperationKind;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{APP, House, SECRET, Yaml};
use tokio::process::Command;

use super::table::{Deed, assert_row};
use super::{assert_clean, count, house};

/// What curl prints to standard error behind each answer, whose body goes to standard output.
const TOLD: &str =
    r#"%{stderr}{"status":%{http_code},"version":"%{http_version}","headers":%{header_json}}"#;

/// What curl got.
#[derive(Debug)]
struct Got {
    status: u64,
    version: String,
    headers: Value,
    body: Vec<u8>,
    /// Whatever else curl said.
    said: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers[name][0].as_str()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs curl as the app `app`.
async fn curl(arguments: &[&str]) -> Got {
    let bearer = format!("Authorization: Bearer {SECRET}");
    curl_as(&["--header", &bearer], arguments).await
}

/// Runs curl with this credential.
async fn curl_as(credential: &[&str], arguments: &[&str]) -> Got {
    let mut command = Command::new(testkit::component("curl"));
    command.args(["-q", "--silent", "--show-error", "--max-time", "20", "--write-out", TOLD]);
    command.args(credential).args(arguments);
    // Its environment may name proxies.
    let output = command.env_clear().stdin(Stdio::null()).kill_on_drop(true).output();
    let output = output.await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}");
    let (said, told) = said.split_at(said.rfind("{\"status\"").unwrap());
    let told: Value = serde_json::from_str(told).unwrap();
    Got {
        status: told["status"].as_u64().unwrap(),
        version: told["version"].as_str().unwrap().to_owned(),
        headers: told["headers"].clone(),
        body: output.stdout,
        said: said.to_owned(),
    }
}

/// A house whose door asks for TLS, and the file with the certificate that its visitors trust.
async fn house_with_tls() -> (House, TempDir, PathBuf) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names).unwrap();
    let directory = TempDir::new().unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificate = file("server.pem", certified.cert.pem());
    let key = file("server-key.pem", certified.signing_key.serialize_pem());
    let tls = format!("tls: {{certificate: {}, key: {}}}", certificate.display(), key.display());
    let yaml = Yaml { listen: vec![tls], ..Yaml::default() };
    (House::start(emulator::Options::default(), &yaml).await, directory, certificate)
}

#[tokio::test]
async fn curl_does_a_days_work() {
    let house = house().await;
    let at = |path: &str| format!("{}{path}", house.url());
    let account = r#"{"name": "Æther & Söhne", "currency": "USD", "billCycleDay": 1}"#;

    let created = curl(&["--json", account, &at("/v1/accounts")]).await.json();
    let key = created["accountNumber"].as_str().unwrap();
    let account = at(&format!("/v1/accounts/{key}"));
    let changed = curl(&["-X", "PUT", "--json", r#"{"name": "Renamed"}"#, &account]).await;
    let read = curl(&[&account]).await.json();
    let deleted = curl(&["-X", "DELETE", &account]).await;
    let uploaded = curl(&["--form", "file=ACCOUNT_ID;filename=usage.csv", &at("/v1/usage")]).await;
    let file = curl(&[&at("/v1/files/size-300000")]).await;
    // Links are followed as they come.
    let (mut pages, mut next) = (Vec::new(), at("/v1/catalog/products?pageSize=25"));
    while !next.is_empty() {
        let page = curl(&[&next]).await.json();
        pages.push(page["products"].as_array().unwrap().len());
        page["nextPage"].as_str().unwrap_or_default().clone_into(&mut next);
    }
    let refused = curl_as(&["--user", &format!("{APP}:a wrong secret")], &[&account]).await;

    for answer in [&created, &changed.json(), &deleted.json(), &uploaded.json()] {
        assert_eq!(answer["success"], true, "{answer}");
    }
    assert_eq!(read["basicInfo"]["name"], "Renamed");
    assert_eq!(file.body.len(), 300_000);
    assert_eq!(pages, [25, 25, 10]);
    let why = refused.json();
    assert_eq!((refused.status, &why["reasons"][0]["code"]), (401, &json!(90_000_011)), "{why}");
    let ledger = house.tenant.ledger();
    assert_clean(&ledger);
    assert_row("curl", &ledger, &[Deed::Pages, Deed::ToldWhy]);
}

#[tokio::test]
async fn curl_speaks_every_http_it_knows() {
    let house = house().await;
    let url = format!("{}/v1/accounts/A00000001", house.url());
    for (how, version) in
        [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2"), ("--http2", "1.1"), ("-0", "1")]
    {
        let got = curl(&[how, &url]).await;

        assert_eq!((got.status, &*got.version), (200, version), "{how}: {got:?}");
        assert_eq!(got.json()["success"], true, "{how}");
        let track_id = got.header("zuora-track-id").unwrap();
        assert_eq!(house.tenant.ledger().with_track_id(track_id).count(), 1, "{how}");
    }
    assert_clean(&house.tenant.ledger());
}

#[tokio::test]
async fn over_tls_the_client_chooses_the_http() {
    let (house, _files, certificate) = house_with_tls().await;
    let url = format!("https://localhost:{}/v1/accounts/A00000001", house.address().port());
    let trusted = ["--cacert", certificate.to_str().unwrap(), "--ipv4"];
    for (how, version) in [("--http2", "2"), ("--http1.1", "1.1"), ("--no-alpn", "1.1")] {
        let got = curl(&[&trusted[..], &[how, &url]].concat()).await;

        assert_eq!((got.status, &*got.version), (200, version), "{how}: {got:?}");
        assert_eq!(got.json()["success"], true, "{how}");
    }
    assert_clean(&house.tenant.ledger());
}

#[tokio::test]
async fn an_http_1_0_caller_gets_a_long_answer_without_chunks() {
    let house = house().await;
    let url = format!("{}/v1/files/size-3000000", house.url());

    let got = curl(&["-0", &url]).await;

    assert_eq!((got.status, got.body.len()), (200, 3_000_000));
    assert_eq!(got.header("transfer-encoding"), None);
}

#[tokio::test]
async fn a_chunked_upload_arrives_whole() {
    let house = house().await;
    let url = format!("{}/v1/accounts", house.url());
    let account = r#"{"name": "Chunks", "currency": "USD"}"#;
    for how in ["--http1.1", "--http2-prior-knowledge"] {
        let chunked = ["--header", "Transfer-Encoding: chunked", "--json", account];

        let got = curl(&[&[how][..], &chunked, &[&url]].concat()).await;

        assert_eq!((got.status, &got.json()["success"]), (200, &json!(true)), "{how}: {got:?}");
    }
    let ledger = house.tenant.ledger();
    let lengths: Vec<_> = ledger.writes().map(|call| call.body_bytes).collect();
    assert_eq!(lengths, [account.len() as u64; 2]);
    assert_clean(&ledger);
}

#[tokio::test]
async fn a_caller_that_expects_100_is_told_to_go_on() {
    let house = house().await;
    let directory = TempDir::new().unwrap();
    let usage = directory.path().join("usage.csv");
    let url = format!("{}/v1/usage", house.url());
    // Short enough to be kept for another attempt, and too long for that.
    for bytes in [1_040_000, 2_000_000] {
        std::fs::write(&usage, vec![b'x'; bytes]).unwrap();
        let form = format!("file=@{}", usage.display());
        let expecting = ["--verbose", "--header", "Expect: 100-continue"];
        // Longer than the test: curl must not go on by itself.
        let patient = ["--expect100-timeout", "60"];

        let got = curl(&[&expecting[..], &patient, &["--form", &form, &url]].concat()).await;

        assert_eq!((got.status, &got.json()["success"]), (200, &json!(true)), "{got:?}");
        assert!(got.said.contains("HTTP/1.1 100 Continue"), "{}", got.said);
        let ledger = house.tenant.ledger();
        let upload = ledger.writes().last().unwrap();
        assert_eq!(upload.kind, OperationKind::Upload);
        assert!(upload.body_bytes > bytes as u64, "{upload:?}");
    }
    assert_eq!(house.tenant.ledger().executed_writes, 2);
    assert_clean(&house.tenant.ledger());
}

#[tokio::test]
async fn an_unknown_caller_that_expects_100_need_not_send_its_body() {
    let house = house().await;
    let directory = TempDir::new().unwrap();
    let body = directory.path().join("body");
    std::fs::write(&body, vec![b'x'; 2_000_000]).unwrap();
    let data = format!("@{}", body.display());
    let url = format!("{}/v1/usage", house.url());
    let stranger = ["--header", "Authorization: Bearer nobody", "--header", "Expect: 100-continue"];

    let patient = ["--verbose", "--expect100-timeout", "60", "--data-binary", &data, &url];
    let got = curl(&[&stranger[..], &patient].concat()).await;

    assert_eq!(got.status, 401);
    assert!(!got.said.contains("100 Continue"), "{}", got.said);
}

#[tokio::test]
async fn head_has_the_fields_and_no_body() {
    let house = house().await;
    let url = format!("{}/v1/accounts/A00000001", house.url());
    for how in ["--http1.1", "--http2-prior-knowledge", "-0"] {
        let got = curl(&[how, "--head", "--output", "/dev/null", &url]).await;

        assert_eq!((got.status, got.body.len()), (200, 0), "{how}");
        assert!(got.header("zuora-request-id").is_some(), "{how}: {got:?}");
    }
    assert_eq!(count(&house.tenant.ledger(), OperationKind::Read), 3);
}

#[tokio::test]
async fn gzip_comes_only_to_those_who_ask_and_whole() {
    let house = house().await;
    let url = format!("{}/object-query/accounts?pageSize=90", house.url());

    let plain = curl(&[&url]).await;
    let zipped = curl(&["--compressed", &url]).await;

    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(plain.json()["data"], zipped.json()["data"]);
}

#[tokio::test]
async fn a_gateway_set_as_proxy_takes_the_absolute_target() {
    let house = house().await;
    let proxy = house.url();

    let got = curl(&["-x", &proxy, "http://rest.zuora.com/v1/accounts/A00000001?x=%2B"]).await;

    assert_eq!((got.status, &got.json()["success"]), (200, &json!(true)), "{got:?}");
    let ledger = house.tenant.ledger();
    assert_eq!(ledger.executed[0].path, "/v1/accounts/A00000001");
    assert_clean(&ledger);
}
