//! What it costs to know an operation by its path, and an answer by its bytes.

use std::{hint::black_box, time::SystemTime};

use benches::upstream::small_answer;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use zuora::Verdict;

/// Calls as apps make them every day.
const EVERYDAY: [(Method, &str); 16] = [
    (Method::GET, "/v1/accounts/A00000001"),
    (Method::GET, "/v1/accounts/2c92c0f86e1b5d0a016e1e8f5b8a0c11/summary"),
    (Method::POST, "/v1/accounts"),
    (Method::PUT, "/v1/accounts/A00000001"),
    (Method::GET, "/v1/subscriptions/A-S00000042"),
    (Method::GET, "/v1/subscriptions/accounts/A00000001"),
    (Method::PUT, "/v1/subscriptions/A-S00000042/cancel"),
    (Method::POST, "/v1/orders"),
    (Method::GET, "/v1/orders/O-00000007"),
    (Method::GET, "/v1/invoices/8ad09b2180a5b3a80180a5c3e1c50e3b/items"),
    (Method::POST, "/v1/action/query"),
    (Method::GET, "/v1/object/account/8ad09b2180a5b3a80180a5c3e1c50e3b"),
    (Method::GET, "/object-query/accounts"),
    (Method::POST, "/v1/usage"),
    (Method::GET, "/rest/v1/catalog/products"),
    (Method::GET, "/v1/files/8ad09b2180a5b3a80180a5c3e1c50e3b"),
];

/// Calls to what no table knows; some only at their last segment, which is the longest way to a no.
const UNKNOWN: [(Method, &str); 6] = [
    (Method::GET, "/favicon.ico"),
    (Method::GET, "/v2/accounts/A00000001"),
    (Method::POST, "/v1/accounts/A00000001/no-such-thing"),
    (Method::DELETE, "/v1/subscriptions/A-S00000042/cancel/again/and/again"),
    (Method::GET, "/v1/object/no-such-object/8ad09b2180a5b3a80180a5c3e1c50e3b/more"),
    (Method::PATCH, "/v1/catalog/products"),
];

fn classify(criterion: &mut Criterion) {
    // Each template with something in the place of every parameter.
    let table: Vec<(Method, String)> = zuora::operations()
        .iter()
        .map(|operation| (operation.method.clone(), filled(operation.path)))
        .collect();
    let everyday = EVERYDAY.map(|(method, path)| (method, path.to_owned()));
    let unknown = UNKNOWN.map(|(method, path)| (method, path.to_owned()));

    let mut group = criterion.benchmark_group("classify");
    for (name, calls) in
        [("everyday", &everyday[..]), ("unknown", &unknown[..]), ("every operation", &table[..])]
    {
        // The time of one turn, divided by the elements, is the time of one call.
        group.throughput(Throughput::Elements(calls.len() as u64));
        group.bench_function(format!("{name}, {} calls", calls.len()), |bencher| {
            bencher.iter(|| {
                for (method, path) in calls {
                    black_box(zuora::classify(black_box(method), black_box(path)));
                }
            });
        });
    }
}

fn filled(template: &str) -> String {
    let fill = |segment: &str| match segment.starts_with('{') {
        true => "8ad09b2180a5b3a80180a5c3e1c50e3b".to_owned(),
        false => segment.to_owned(),
    };
    template.split('/').map(fill).collect::<Vec<_>>().join("/")
}

fn judge(criterion: &mut Criterion) {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1024"));
    let body = small_answer();
    let today = SystemTime::now();

    let verdict = zuora::judge(StatusCode::OK, &headers, body.as_bytes(), today);
    assert_eq!(verdict, Verdict::Relay);
    criterion.bench_function("judge a success of 1 KiB", |bencher| {
        bencher.iter(|| {
            zuora::judge(StatusCode::OK, black_box(&headers), black_box(body.as_bytes()), today)
        });
    });
}

criterion_group!(benches, classify, judge);
criterion_main!(benches);
