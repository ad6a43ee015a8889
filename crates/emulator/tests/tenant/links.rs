//! Links in answers, each as Zuora has it at its place.

use crate::wire::{bearer, get, request, send, tenant, token, write};

#[tokio::test]
async fn lists_lead_on_absolutely_relatively_or_elsewhere() {
    let tenant = tenant(0).await;
    let base = tenant.base_url();
    let events = get(&tenant, "/events/event-triggers?start=0&limit=10").await.json();
    let definitions = get(&tenant, "/notifications/notification-definitions").await.json();
    let workflows = get(&tenant, "/workflows?page=1&page_length=20").await.json();

    assert_eq!(events["next"], format!("{base}/events/event-triggers?start=10&limit=10"));
    assert_eq!(definitions["next"], "/notification-definitions?start=10&limit=10");
    let next = format!("{base}/workflows?page=2&page_length=20");
    assert_eq!(workflows["pagination"]["next_page"], next);
    let last = get(&tenant, "/workflows?page=2&page_length=20").await.json();
    assert_eq!(last["data"].as_array().map(Vec::len), Some(5));
    assert!(last["pagination"]["next_page"].is_null());
    let last = get(&tenant, "/events/event-triggers?start=20").await.json();
    assert!(last["next"].is_null());
}

#[tokio::test]
async fn jobs_name_their_files_and_orders_their_jobs() {
    let tenant = tenant(0).await;
    let base = tenant.base_url();

    let bulk = write(&tenant, "POST", "/v1/bulk", "{}").await.json();
    let key = bulk["bulkKey"].as_str().unwrap();
    let bulk = get(&tenant, &format!("/v1/bulk/{key}")).await.json();
    let backfill = get(&tenant, "/v1/uno/data-backfill/jobs/7").await.json();
    let order = write(&tenant, "POST", "/v1/async/orders", "{}").await;

    assert_eq!(bulk["resultFileUrl"], format!("{base}/v1/files/{key}-out"));
    assert_eq!(bulk["uploadedFileUrl"], format!("{base}/v1/files/{key}-in"));
    assert_eq!(backfill["outputURL"], format!("{base}/v1/files/7-out"));
    assert!(order.header("location").unwrap().starts_with(&format!("{base}/v1/async-jobs/")));
}

#[tokio::test]
async fn a_listing_of_any_length_is_json_with_a_link_at_its_end() {
    let tenant = tenant(0).await;
    let token = token(tenant.address()).await;

    for (path, links) in [("/v1/listings/3000000", 1), ("/v1/listings/3000000?links=every", 100)] {
        let call = request("GET", path, &bearer(&token), "").replace("HTTP/1.1", "HTTP/1.0");
        let answer = send(tenant.address(), &call).await;
        assert!((2_800_000..=3_000_000).contains(&answer.body.len()), "{}", answer.body.len());
        let next = format!("{}/v1/listings/3000000?page=2", tenant.base_url());
        assert_eq!(answer.json()["nextPage"], next);
        let text = String::from_utf8(answer.body).unwrap();
        let found = text.matches(&next).count();
        assert!(if links == 1 { found == 1 } else { found > links }, "{found} links");
    }
    assert_eq!(tenant.ledger().in_flight["Default"], 0);
}
