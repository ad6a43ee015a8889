//! SOAP stacks, of Python and of Node, each doing a day's work of an app.

use std::path::PathBuf;
use std::time::Duration;

use emulator::{Options, ServiceTime, Tenant};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{APP, House, SECRET, Yaml};
use tokio::process::Command;

use super::table::{Deed, assert_row};
use super::{assert_clean, script, seen_by};
use crate::caller::{ask, request};

/// All that a SOAP client was seen to do; the tenant knows its writes as such, and no more of them.
const DEEDS: [Deed; 5] = [Deed::Pages, Deed::Creates, Deed::Changes, Deed::Deletes, Deed::ToldWhy];

/// A house whose tenant has SOAP, and the description of it, as an app keeps it in a file.
pub(super) async fn house_with_soap() -> (House, TempDir, PathBuf) {
    let service_time = ServiceTime::Constant(Duration::from_millis(2));
    let tenant = Tenant::start(Options { service_time, ..Options::default() }).await.unwrap();
    let base_url = tenant.base_url();
    let yaml = Yaml { tenant: vec![format!("soap_url: {base_url}")], ..Yaml::default() };
    let house = House::before(tenant, &base_url, &yaml).await;
    let asking = request(Method::GET, "/apps/servlet/GenerateWsdl?version=91.0", "");
    let description = ask(house.tenant.address(), asking).await;
    assert_eq!(description.status, 200, "{description:?}");
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("zuora.wsdl");
    std::fs::write(&file, &description.body).unwrap();
    (house, directory, file)
}

/// What the script saw, when it was told where the gateway is.
async fn work(house: &House, mut script: Command, description: &PathBuf) -> Value {
    script.args([&house.url(), APP, SECRET]).arg(description);
    seen_by(script).await
}

/// Takes the faults out of what was seen, and checks that each says what is wrong.
#[track_caller]
fn assert_told_why(seen: &mut Value) {
    let mut take = |name: &str| seen.as_object_mut().unwrap().remove(name).unwrap();
    assert_eq!(take("malformed")["code"], "fns:MALFORMED_QUERY");
    assert_eq!(take("refused")["code"], "fns:INVALID_LOGIN");
    assert_eq!(take("unknown")["code"], "fns:INVALID_SESSION");
}

/// The writes that both scripts do: one account made, changed, deleted. Nobody logged in to Zuora but the gateway.
#[track_caller]
fn assert_work(house: &House) {
    let ledger = house.tenant.ledger();
    assert_clean(&ledger);
    assert_eq!((ledger.soap_logins, ledger.connection_logins), (0, 0));
    assert_eq!((ledger.executed_writes, ledger.effective_writes), (3, 3));
}

#[tokio::test]
async fn zeep_does_a_days_work() {
    let (house, _files, description) = house_with_soap().await;

    let mut seen = work(&house, script("zeep_workflow.py"), &description).await;

    assert_told_why(&mut seen);
    let expected = json!({
        "leads_here": true, "user": true,
        "pages": [40, 40, 20],
        "created": true, "name": ["Æther & Söhne <GmbH>"], "updated": true, "renamed": ["Renamed"],
        "deleted": true, "gone": [],
        "described": true, "by_description": true,
    });
    assert_eq!(seen, expected);
    assert_work(&house);
    assert_row("zeep", &house.tenant.ledger(), &DEEDS);
}

#[tokio::test]
async fn the_soap_package_of_npm_does_a_days_work() {
    let (house, _files, description) = house_with_soap().await;

    let mut seen = work(&house, script("soap_npm_workflow.js"), &description).await;

    assert_told_why(&mut seen);
    let expected = json!({
        "leadsHere": true, "user": true,
        "pages": [40, 40, 20],
        "created": true, "name": ["Æther & Söhne <GmbH>"], "updated": true, "renamed": ["Renamed"],
        "deleted": true, "gone": [],
        "together": 60,
    });
    assert_eq!(seen, expected);
    assert_work(&house);
    assert_row("soap", &house.tenant.ledger(), &DEEDS);
}
