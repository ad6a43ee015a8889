//! What operators deploy: the alerts, judged by Prometheus's own tool.

use std::path::Path;
use std::process::Command;

use testkit::component;

#[track_caller]
fn promtool(arguments: &[&str]) {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let ran =
        Command::new(component("promtool")).args(arguments).current_dir(deploy).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
}

#[test]
fn the_alerts_are_rules_that_prometheus_takes() {
    promtool(&["check", "rules", "prometheus-alerts.yaml"]);
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    promtool(&["test", "rules", "prometheus-alerts.test.yaml"]);
}
