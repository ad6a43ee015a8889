//! A limit that is not enforced holds nobody, and tells whom it would have held.

use std::time::Duration;

use emulator::{Options, ServiceTime, Tenant};
use futures_util::future::join_all;
use serde_json::Value;
use tempfile::TempDir;
use testkit::Yaml;

use crate::caller::{ask, get, look};
use crate::running::Running;

#[tokio::test]
async fn a_limit_that_is_tried_out_holds_nobody_and_tells_whom_it_would_have() {
    let service_time = ServiceTime::Constant(Duration::from_millis(300));
    let tenant = Tenant::start(Options { service_time, ..Options::default() }).await.unwrap();
    let yaml = Yaml {
        tenant: vec![
            "concurrency: {limits: {Default: {limit: 4, enforce: false}}, headroom: 0}".to_owned(),
        ],
        ..Yaml::default()
    };
    let directory = TempDir::new().unwrap();
    let running = Running::before(&tenant, &yaml, &directory).await;

    let answers = join_all((0..10).map(|_| ask(running.address, get()))).await;

    for answer in &answers {
        assert_eq!((answer.status.as_u16(), answer.header("zuora-gateway-waited")), (200, None));
    }
    assert_eq!(tenant.counters().most_in_flight["Default"], 10);
    let metrics = look(running.admin, "/metrics").await.text();
    let held = r#"{app="app",pool="Default",reason="capacity",tenant="production"} 6"#;
    assert!(metrics.contains(&format!("would_have_waited_total{held}")), "{metrics}");
    let ended = running.stop().await;
    let lines = ended.lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let calls: Vec<_> = lines.filter(|line| line["target"] == "access").collect();
    let held = calls.iter().filter(|line| line["would_have_waited_for"] == "capacity").count();
    assert_eq!((calls.len(), held), (10, 6), "{calls:#?}");
}
