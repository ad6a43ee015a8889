//! Orders: another interface of Zuora's, whose jobs are polled.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use testkit::{Raw, SECRET, Yaml};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::stage::{
    BODY, OTHER_SECRET, Stage, json_of, location, on_the_wire, until, write, write_of, yaml,
};
use crate::wire::attack::soon;
use crate::wire::upstream::Play;

const OPTED_IN: &str = "{operations: [\"POST /v1/orders\"], when: on_request}";

fn ordering(track_id: &str) -> String {
    write(
        "POST",
        "/v1/orders",
        &format!("Prefer: respond-async\r\nZuora-Track-Id: {track_id}\r\n"),
        BODY,
    )
}

fn job(status: &str, errors: &str, result: &str) -> String {
    on_the_wire(
        "200 OK",
        &format!(
            "{{\"status\":\"{status}\",\"errors\":{errors},\"result\":{result},\"success\":true}}"
        ),
    )
}

#[tokio::test]
async fn an_order_that_may_take_its_time_is_a_job_that_the_gateway_polls() {
    for (rule, status) in [
        (OPTED_IN, "200 OK"),
        ("{operations: [operation POST_Order], when: on_request}", "202 Accepted"),
    ] {
        let stage = Stage::with(&yaml(rule, "")).await;
        let began = on_the_wire(status, "{\"jobId\":\"j-1\",\"success\":true}");
        stage.scene.upstream.play(Play::send(began));
        stage.scene.upstream.play(Play::send(job("Processing", "null", "null")));
        let result = "{\"jobType\":\"AsyncCreateOrder\",\"orderNumber\":\"O-00000001\",\"status\":\"Completed\",\"subscriptionNumbers\":[\"A-S1\"]}";
        stage.scene.upstream.play(Play::send(job("Completed", "null", result)));

        let told = Raw::ask(stage.address(), ordering("t-1")).await;

        assert_eq!(told.text(), "{\"jobId\":\"j-1\",\"success\":true}");
        assert_eq!(told.field("preference-applied"), Some("respond-async"), "{told:?}");
        let place = location(&told);
        let outcome = until(
            "polled",
            Duration::from_secs(15),
            async || stage.look(&place).await,
            |it| it.status == 200,
        )
        .await;
        let shown = json_of(&outcome);
        assert_eq!(
            (&shown["success"], &shown["orderNumber"]),
            (&json!(true), &json!("O-00000001")),
            "{shown:#}"
        );
        let lines = stage.scene.upstream.lines();
        assert_eq!(lines[0], "POST /v1/async/orders HTTP/1.1");
        assert_eq!(lines[1..], ["GET /v1/async-jobs/j-1 HTTP/1.1"; 2]);
    }
}

/// Zuora says `success` around a job that failed.
#[tokio::test]
async fn an_order_that_failed_has_failed_whatever_is_around_it() {
    let stage = Stage::with(&yaml(OPTED_IN, "")).await;
    stage
        .scene
        .upstream
        .play(Play::send(on_the_wire("200 OK", "{\"jobId\":\"j-1\",\"success\":true}")));
    let why = "\"[40000050]: Operation failed due to lock competition\"";
    stage.scene.upstream.play(Play::send(job("Failed", why, "null")));

    let told = Raw::ask(stage.address(), ordering("t-1")).await;

    let place = location(&told);
    let outcome = until(
        "polled",
        Duration::from_secs(15),
        async || stage.look(&place).await,
        |it| it.status == 200,
    )
    .await;
    let shown = json_of(&outcome);
    assert_eq!(shown["success"], false, "{shown:#}");
    let reason = &shown["reasons"][0];
    assert!(reason["code"].to_string().contains("40000050"), "{shown:#}");
    assert!(reason["message"].as_str().unwrap().contains("lock competition"), "{shown:#}");
}

/// Twenty programs that poll one job cost what one costs.
#[tokio::test]
async fn polls_of_one_job_that_meet_are_one() {
    let narrow = "client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d, secret: narrow-secret, allow: [\"GET /v1/accounts/*\"]";
    let mut yaml: Yaml = yaml("", "");
    yaml.apps.push(("narrow".to_owned(), narrow.to_owned()));
    let stage = Stage::with(&yaml).await;
    let poll = |secret: &str, at: usize, target: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {secret}\r\nZuora-Track-Id: p-{at}\r\n\r\n"
        )
    };
    let word = Arc::new(Notify::new());
    let first = job("Processing", "null", "null");
    stage.scene.upstream.play(Play::default().until(&word).then(&first));
    let address = stage.address();

    let polls: Vec<_> = (1..=20)
        .map(|at| {
            let secret = if at % 2 == 0 { SECRET } else { OTHER_SECRET };
            tokio::spawn(Raw::ask(address, poll(secret, at, "/v1/async-jobs/j-1")))
        })
        .collect();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(stage.scene.queued_and_in_use(), (0, 1), "one permit for all");
    assert_eq!(stage.scene.upstream.lines().len(), 1);
    let narrow = Raw::ask(address, poll("narrow-secret", 99, "/v1/async-jobs/j-1")).await;
    assert_eq!(narrow.status, 403, "who may not ask does not learn it from others: {narrow:?}");
    // Another job, query, entity or credential is another question.
    for target in ["/v1/async-jobs/j-2", "/v1/async-jobs/j-1?x=y"] {
        assert_eq!(Raw::ask(address, poll(SECRET, 50, target)).await.status, 200);
    }
    word.notify_one();
    for (at, poll) in polls.into_iter().enumerate() {
        let told = poll.await.unwrap();
        assert_eq!(told.status, 200, "{told:?}");
        assert_eq!(
            told.field("zuora-track-id"),
            Some(&*format!("p-{}", at + 1)),
            "each has its own"
        );
        assert!(first.ends_with(&told.text()), "{told:?}");
    }
    assert_eq!(stage.scene.upstream.lines().len(), 3, "{:?}", stage.scene.upstream.lines());
    // What is over is asked anew.
    assert_eq!(Raw::ask(address, poll(SECRET, 21, "/v1/async-jobs/j-1")).await.status, 200);
    assert_eq!(stage.scene.upstream.lines().len(), 4);
}

/// Whoever asked first may leave: the others are answered all the same, and by one more question at most.
#[tokio::test]
async fn a_poll_that_leaves_takes_no_other_with_it() {
    let stage = Stage::start().await;
    let (address, word) = (stage.address(), Arc::new(Notify::new()));
    let told = job("Processing", "null", "null");
    for _ in 0..2 {
        stage.scene.upstream.play(Play::default().until(&word).then(&told));
    }
    let poll = |at: usize| {
        let id = format!("Zuora-Track-Id: p-{at}\r\n");
        write_of(SECRET, "GET", "/v1/async-jobs/j-1", &id, "")
    };
    let mut leaving = Raw::connect(address).await;
    leaving.write(poll(0)).await;
    soon("it was sent", || stage.scene.upstream.lines().len() == 1).await;
    let others: Vec<_> = (1..=5).map(|at| tokio::spawn(Raw::ask(address, poll(at)))).collect();
    sleep(Duration::from_millis(300)).await;
    drop(leaving);
    sleep(Duration::from_millis(300)).await;
    word.notify_waiters();
    for other in others {
        let other = other.await.unwrap();
        assert_eq!(other.status, 200, "{other:?}");
        assert!(told.ends_with(&other.text()), "{other:?}");
    }
    assert!(stage.scene.upstream.lines().len() <= 2, "{:?}", stage.scene.upstream.lines());
}

#[tokio::test]
async fn nothing_else_is_shared() {
    let stage = Stage::start().await;
    let word = Arc::new(Notify::new());
    for _ in 0..3 {
        stage.scene.upstream.play(Play::default().until(&word).then(on_the_wire("200 OK", "{}")));
    }
    let address = stage.address();
    let asks: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn(Raw::ask(address, write_of(SECRET, "GET", "/v1/accounts/A1", "", "")))
        })
        .collect();
    soon("each was sent", || stage.scene.upstream.lines().len() == 3).await;
    sleep(Duration::from_millis(100)).await;
    word.notify_waiters();
    for ask in asks {
        assert_eq!(ask.await.unwrap().status, 200);
    }
}
