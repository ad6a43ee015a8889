//! The store behind the API: what is made can be found, changed and removed.

use serde_json::{Value, json};

use crate::wire::{get, tenant, write};

#[tokio::test]
async fn an_account_is_made_found_changed_and_removed() {
    let tenant = tenant(0).await;
    let body = json!({
        "name": "Ada", "currency": "GBP", "accountNumber": "ADA",
        "billToContact": {"firstName": "Ada", "lastName": "L", "country": "United Kingdom"},
    });

    let made = write(&tenant, "POST", "/v1/accounts", &body.to_string()).await.json();
    let found = get(&tenant, "/v1/accounts/ADA").await.json();
    assert_eq!(found["basicInfo"]["id"], made["accountId"]);
    assert_eq!(found["billToContact"]["firstName"], "Ada");

    let changed = write(&tenant, "PUT", "/v1/accounts/ADA", r#"{"notes": "first"}"#).await;
    assert_eq!(changed.json()["success"], true);
    let found = get(&tenant, "/v1/accounts/ADA").await.json();
    assert_eq!(found["basicInfo"]["notes"], "first");

    assert_eq!(write(&tenant, "DELETE", "/v1/accounts/ADA", "").await.status, 200);
    assert_eq!(get(&tenant, "/v1/accounts/ADA").await.json()["success"], false);
}

#[tokio::test]
async fn following_next_page_reads_the_whole_catalogue_once() {
    let tenant = tenant(0).await;
    let mut next = Some(format!("{}/v1/catalog/products?pageSize=25", tenant.base_url()));
    let mut seen: Vec<Value> = Vec::new();
    let mut pages = 0;

    while let Some(url) = next {
        let path = url.strip_prefix(&tenant.base_url()).unwrap();
        let token = crate::wire::token(tenant.address()).await;
        let call = crate::wire::request("GET", path, &crate::wire::bearer(&token), "")
            .replace("HTTP/1.1", "HTTP/1.0");
        let page = crate::wire::send(tenant.address(), &call).await.json();
        seen.extend(page["products"].as_array().unwrap().iter().map(|one| one["id"].clone()));
        next = page["nextPage"].as_str().map(str::to_owned);
        pages += 1;
    }

    assert_eq!((pages, seen.len()), (3, 60));
    seen.dedup();
    assert_eq!(seen.len(), 60);
}

#[tokio::test]
async fn an_object_query_filters_sorts_and_goes_on_from_its_cursor() {
    let tenant = tenant(0).await;

    let path = "/object-query/accounts?filter[]=name.SW:Amber&sort[]=accountNumber.DESC&pageSize=1";
    let first = get(&tenant, path).await.json();
    let cursor = first["nextPage"].as_str().unwrap();
    let second =
        get(&tenant, &format!("{path}&cursor={}", cursor.replace('=', "%3D"))).await.json();

    assert_eq!(first["data"][0]["accountNumber"], "A00000097");
    assert_eq!(second["data"][0]["accountNumber"], "A00000089");
    assert_eq!(get(&tenant, "/object-query/accounts?pageSize=100").await.status, 400);
    assert_eq!(get(&tenant, "/object-query/accounts/nobody").await.status, 404);
}

#[tokio::test]
async fn one_object_has_a_view_in_each_family() {
    let tenant = tenant(0).await;
    let wish = r#"{"Name": "Crude", "Currency": "USD", "AccountNumber": "CRUD"}"#;

    let made = write(&tenant, "POST", "/v1/object/account", wish).await.json();
    let id = made["Id"].as_str().unwrap();

    let crud = get(&tenant, &format!("/v1/object/account/{id}")).await.json();
    assert_eq!(crud["AccountNumber"], "CRUD");
    assert_eq!(get(&tenant, "/v1/accounts/CRUD").await.json()["basicInfo"]["name"], "Crude");
    let object = get(&tenant, &format!("/object-query/accounts/{id}")).await.json();
    assert_eq!(object["name"], "Crude");
    let query = r#"{"queryString": "select Name from Account where AccountNumber = 'CRUD'"}"#;
    let rows = write(&tenant, "POST", "/v1/action/query", query).await.json();
    assert_eq!(rows, json!({"size": 1, "done": true, "records": [{"Name": "Crude"}]}));
    assert_eq!(get(&tenant, "/v1/object/account/nobody").await.status, 404);
}

#[tokio::test]
async fn actions_succeed_and_fail_row_by_row() {
    let tenant = tenant(0).await;
    let wish = r#"{"type": "Account", "objects": [{"Name": "A"}, {"Currency": "USD"}]}"#;

    let rows = write(&tenant, "POST", "/v1/action/create", wish).await.json();

    assert_eq!(rows[0]["Success"], true);
    assert_eq!(rows[1]["Errors"][0]["Code"], "MISSING_REQUIRED_VALUE");
    let more = r#"{"queryString": "select Id from Account", "conf": {"batchSize": 60}}"#;
    let first = write(&tenant, "POST", "/v1/action/query", more).await.json();
    assert_eq!((first["size"].as_u64(), first["done"].as_bool()), (Some(101), Some(false)));
    let locator = json!({"queryLocator": first["queryLocator"]}).to_string();
    let rest = write(&tenant, "POST", "/v1/action/queryMore", &locator).await.json();
    assert_eq!(rest["records"].as_array().map(Vec::len), Some(41));
}

#[tokio::test]
async fn a_subscription_and_an_order_live_and_end() {
    let tenant = tenant(0).await;
    let wish = r#"{"accountKey": "A00000001", "termType": "TERMED", "subscribeToRatePlans": []}"#;

    let made = write(&tenant, "POST", "/v1/subscriptions", wish).await.json();
    let number = made["subscriptionNumber"].as_str().unwrap();
    let cancel = format!("/v1/subscriptions/{number}/cancel");
    assert_eq!(write(&tenant, "PUT", &cancel, "{}").await.json()["success"], true);
    let found = get(&tenant, &format!("/v1/subscriptions/{number}")).await.json();
    assert_eq!((found["status"].as_str(), found["version"].as_u64()), (Some("Cancelled"), Some(2)));
    assert_eq!(write(&tenant, "PUT", &cancel, "{}").await.status, 400);
    let of_account = get(&tenant, "/v1/subscriptions/accounts/A00000001").await.json();
    assert_eq!(of_account["subscriptions"].as_array().map(Vec::len), Some(2));

    let wish = r#"{"orderDate": "2026-01-01", "existingAccountNumber": "A00000001",
                   "subscriptions": [{"orderActions": [{"type": "CreateSubscription"}]}]}"#;
    let order = write(&tenant, "POST", "/v1/orders", wish).await.json();
    let number = order["orderNumber"].as_str().unwrap();
    let found = get(&tenant, &format!("/v1/orders/{number}")).await.json();
    assert_eq!(found["order"]["status"], "Completed");
    let job = write(&tenant, "POST", "/v1/async/orders", wish).await.json();
    tenant.async_idle().await;
    let job = get(&tenant, &format!("/v1/async-jobs/{}", job["jobId"].as_str().unwrap())).await;
    assert_eq!(job.json()["result"]["jobType"], "AsyncCreateOrder");
}

#[tokio::test]
async fn an_upload_is_read_to_its_end_and_nothing_of_it_kept() {
    let tenant = tenant(0).await;
    let token = crate::wire::token(tenant.address()).await;
    let headers =
        format!("{}Content-Type: multipart/form-data; boundary=b\r\n", crate::wire::bearer(&token));
    let body = "x".repeat(3_000_000);

    let call = crate::wire::request("POST", "/v1/usage", &headers, &body);
    let answer = crate::wire::send(tenant.address(), &call).await.json();

    assert_eq!(answer["size"], 3_000_000);
    let status = answer["checkImportStatus"].as_str().unwrap();
    assert!(status.starts_with("/v1/usage/"));
    assert_eq!(get(&tenant, status).await.json()["importStatus"], "Completed");
    assert_eq!(tenant.ledger().executed[0].body_bytes, 3_000_000);
}

#[tokio::test]
async fn what_is_not_known_under_v1_succeeds_and_is_in_the_ledger() {
    let tenant = tenant(0).await;

    assert_eq!(get(&tenant, "/v1/some/thing").await.json(), json!({"success": true}));
    let made = write(&tenant, "POST", "/v1/some/thing", "{}").await.json();
    let describe = get(&tenant, "/v1/describe/Account").await;

    assert_eq!((made["success"].as_bool(), made["id"].is_string()), (Some(true), true));
    assert_eq!(describe.header("content-type"), Some("text/xml;charset=UTF-8"));
    let ledger = tenant.ledger();
    assert_eq!((ledger.executed_total, ledger.executed_writes), (3, 1));
    assert_eq!(ledger.executed[1].app.as_deref(), Some("test"));
}
