//! Jobs that leave files: AQuA, exports, data queries; and their description.

use std::{io::Read, time::Duration};

use emulator::{Options, ServiceTime, Tenant};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::wire::{Raw, bearer, get, request, send, start, tenant, token, write};

/// The same as `get`, the answer whole though it be long.
async fn whole(tenant: &Tenant, path: &str) -> Raw {
    let token = token(tenant.address()).await;
    let call = request("GET", path, &bearer(&token), "").replace("HTTP/1.1", "HTTP/1.0");
    send(tenant.address(), &call).await
}

fn text(answer: &Raw) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

fn aqua(query: &str) -> String {
    let query = json!({"name": "q", "query": query, "type": "zoqlexport"});
    json!({"name": "n", "project": "p", "partner": "salesforce", "format": "csv",
           "version": "1.2", "encrypted": "none", "queries": [query]})
    .to_string()
}

#[tokio::test]
async fn an_aqua_job_takes_its_time_and_leaves_a_file() {
    let job_time = Duration::from_millis(300);
    let options = Options { job_time, service_time: ServiceTime::ZERO, ..Options::default() };
    let tenant = start(options).await;
    let query = "select Id, AccountNumber, Contact.Id, BillTo.Id from Account \
                 where AccountNumber <= 'A00000003' order by AccountNumber desc limit 2";

    let job = write(&tenant, "POST", "/v1/batch-query/", &aqua(query)).await.json();
    assert_eq!((job["status"].as_str(), job["project"].as_str()), (Some("submitted"), Some("p")));
    let path = format!("/v1/batch-query//jobs/{}", job["id"].as_str().unwrap());
    let early = get(&tenant, &path).await.json();
    tokio::time::sleep(job_time).await;
    let late = get(&tenant, &path).await.json();

    assert_eq!(
        (early["status"].as_str(), early["batches"][0]["fileId"].as_str()),
        (Some("executing"), None)
    );
    assert_eq!(late["status"], "completed");
    assert_eq!(
        (&late["batches"][0]["recordCount"], &late["batches"][0]["full"]),
        (&json!(2), &json!(true))
    );
    let file = late["batches"][0]["fileId"].as_str().unwrap();
    for path in [format!("/v1/file/{file}"), format!("/apps/api/file/{file}")] {
        let answer = whole(&tenant, &path).await;
        assert_eq!(answer.header("content-type"), Some("text/csv;charset=UTF-8"));
        let lines: Vec<&str> = text(&answer).lines().collect();
        assert_eq!(lines[0], "Id,AccountNumber,Contact.Id,BillTo.Id");
        assert!(lines[1].contains(",A00000003,,8ad0"), "{}", lines[1]);
        assert_eq!(lines.len(), 3);
    }
}

#[tokio::test]
async fn a_query_that_cannot_be_read_fails_its_job_with_http_200() {
    let tenant = tenant(0).await;

    let job = write(&tenant, "POST", "/v1/batch-query/", &aqua("select * from Rocket")).await;
    let job = job.json();
    let path = format!("/v1/batch-query/jobs/{}", job["id"].as_str().unwrap());

    assert_eq!((&job["status"], &job["errorCode"]), (&json!("error"), &json!(90_005)));
    assert!(job["message"].as_str().unwrap().contains("syntax error"));
    assert_eq!(write(&tenant, "DELETE", &path, "").await.status, 200);
    let good = write(&tenant, "POST", "/v1/batch-query/", &aqua("select Id from Contact")).await;
    let path = format!("/v1/batch-query/jobs/{}", good.json()["id"].as_str().unwrap());
    assert_eq!(write(&tenant, "DELETE", &path, "").await.json()["status"], "cancelled");
    assert_eq!(get(&tenant, "/v1/batch-query/jobs/none").await.json()["errorCode"], 90_006);
}

#[tokio::test]
async fn an_export_leaves_what_its_query_finds() {
    let tenant = tenant(0).await;
    let wish = json!({"Name": "A, \"B\"", "Currency": "USD", "AccountNumber": "CSV"}).to_string();
    write(&tenant, "POST", "/v1/object/account", &wish).await;
    let query = "select Name, Currency from Account where AccountNumber = 'CSV' \
                 and UpdatedDate >= '2020-01-01T00:00:00Z'";

    let wish = json!({"Query": query, "Format": "csv"}).to_string();
    let made = write(&tenant, "POST", "/v1/object/export", &wish).await.json();
    let path = format!("/v1/object/export/{}", made["Id"].as_str().unwrap());
    let job = get(&tenant, &path).await.json();
    assert_eq!(job["Status"], "Completed");
    let file = whole(&tenant, &format!("/v1/files/{}", job["FileId"].as_str().unwrap())).await;
    assert_eq!(text(&file), "Name,Currency\n\"A, \"\"B\"\"\",USD\n");

    let wish = json!({"Query": "select * from Rocket limit 1", "Format": "csv"}).to_string();
    let refused = write(&tenant, "POST", "/v1/object/export", &wish).await;
    assert_eq!(refused.status, 400);
    let message = refused.json()["Errors"][0]["Message"].as_str().unwrap().to_owned();
    assert!(message.contains("noSuchDataSource"), "{message}");
}

#[tokio::test]
async fn a_data_query_leaves_its_file_where_no_credential_is_wanted() {
    let tenant = tenant(0).await;
    let token = token(tenant.address()).await;
    let wish = json!({
        "query": "SELECT accountnumber, balance FROM account WHERE accountnumber = 'A00000001'",
        "outputFormat": "JSON", "compression": "GZIP", "output": {"target": "S3"},
    });

    let job = write(&tenant, "POST", "/query/jobs/", &wish.to_string()).await.json();
    assert_eq!(job["data"]["queryStatus"], "accepted");
    let path = format!("/query/jobs/{}", job["data"]["id"].as_str().unwrap());
    let job = get(&tenant, &path).await.json();
    assert_eq!(
        (&job["data"]["queryStatus"], &job["data"]["outputRows"]),
        (&json!("completed"), &json!(1))
    );

    let url = job["data"]["dataFile"].as_str().unwrap().to_owned();
    let path = url.strip_prefix(&tenant.base_url()).unwrap();
    let file = send(tenant.address(), &request("GET", path, "", "")).await;
    let mut plain = String::new();
    GzDecoder::new(&file.body[..]).read_to_string(&mut plain).unwrap();
    let row: Value = serde_json::from_str(plain.trim()).unwrap();
    assert_eq!(row, json!({"accountnumber": "A00000001", "balance": 0.0}));
    let twice = send(tenant.address(), &request("GET", path, &bearer(&token), "")).await;
    assert_eq!(twice.status, 400, "two credentials are one too many");
    let (forged, _) = path.split_once("&X-Amz-Signature").unwrap();
    assert_eq!(send(tenant.address(), &request("GET", forged, "", "")).await.status, 403);

    let wish = json!({"query": "SELECT id FROM rocket"}).to_string();
    let refused = write(&tenant, "POST", "/query/jobs", &wish).await;
    assert_eq!(refused.json()["data"]["errorCode"], "LINK_10000001");
}

#[tokio::test]
async fn objects_are_described_as_far_as_they_can_be_exported() {
    let tenant = tenant(0).await;

    let all = whole(&tenant, "/v1/describe").await;
    let one = whole(&tenant, "/v1/describe/Contact").await;

    assert!(text(&all).contains("<name>ProductRatePlanCharge</name>"));
    let (_, field) = text(&one).split_once("<name>UpdatedDate</name>").unwrap();
    let (field, _) = field.split_once("</field>").unwrap();
    assert!(field.contains("<type>datetime</type>"), "{field}");
    assert!(field.contains("<context>export</context>"), "{field}");
    let (_, related) = text(&one).split_once("<related-objects>").unwrap();
    assert!(related.contains("<name>Account</name>"), "{related}");
}
