//! Guessing is slow, and only for whoever guesses.

use std::time::Duration;

use futures_util::future::join_all;
use testkit::{Raw, SECRET};
use tokio::time::{Instant, timeout};

use super::{scene, with};
use crate::caller::look;
use crate::wire::attack::Scene;

/// A guess of one address, and how long its answer took.
async fn guess(scene: &Scene, fields: &str) -> (u16, Duration) {
    let began = Instant::now();
    let mut raw = Raw::connect(scene.address()).await;
    raw.write(with("GET /v1/accounts/A1", fields)).await;
    (raw.answer().await.status, began.elapsed())
}

#[tokio::test]
async fn a_guess_is_answered_late_and_everybody_else_at_once() {
    let scene = scene(&["anonymous: null"]).await;
    let right = format!("Authorization: Bearer {SECRET}\r\n");
    guess(&scene, &right).await;
    let began = Instant::now();

    let guesses = join_all((0..40).map(|at| {
        let door = at % 4;
        let wrong = match door {
            0 => format!("Authorization: Bearer wrong{at}\r\n"),
            1 => format!("apiAccessKeyId: app\r\napiSecretAccessKey: wrong{at}\r\n"),
            2 => format!("Cookie: ZSession=wrong{at}\r\n"),
            _ => format!("Authorization: Basic YXBw{at}\r\n"),
        };
        let scene = &scene;
        async move { guess(scene, &wrong).await }
    }));
    let others = async {
        // While they wait, at the same address, and from another one.
        tokio::time::sleep(Duration::from_millis(500)).await;
        for _ in 0..5 {
            let (status, took) = guess(&scene, &right).await;
            assert_eq!(status, 200);
            assert!(took < Duration::from_millis(400), "a right one took {took:?}");
        }
        let mut stranger = Raw::connect_as_stranger(scene.address()).await;
        let asked = Instant::now();
        stranger.write(with("GET /v1/accounts/A1", "Authorization: Bearer wrong\r\n")).await;
        assert_eq!(stranger.answer().await.status, 401);
        let took = asked.elapsed();
        assert!(took < Duration::from_millis(400), "a first mistake took {took:?}");
    };
    let (guesses, ()) = tokio::join!(guesses, others);

    assert!(guesses.iter().all(|(status, _)| *status == 401), "{guesses:?}");
    let slowest = guesses.iter().map(|(_, took)| *took).max().unwrap();
    let at_once = guesses.iter().filter(|(_, took)| *took < Duration::from_millis(150)).count();
    assert!(slowest > Duration::from_secs(3), "forty guesses took no more than {slowest:?}");
    assert!(slowest < Duration::from_secs(7), "an answer was kept for {slowest:?}");
    assert!(at_once <= 20, "{at_once} of forty were answered at once");
    assert!(began.elapsed() > Duration::from_secs(3));
    // All of them were counted, and nobody was asked.
    let metrics = look(scene.house.gateway.admin_address(), "/metrics").await.text();
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("zuora_gateway_rejected_credentials_total{"));
    let counted: u32 =
        counted.map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()).sum();
    assert_eq!(counted, 41, "{metrics}");
    assert!(scene.upstream.requests().iter().all(|it| !it.text().contains("wrong")));
}

#[tokio::test]
async fn who_leaves_while_it_is_slowed_leaves_nothing_behind() {
    let scene = scene(&[]).await;
    for _ in 0..60 {
        let mut raw = Raw::connect(scene.address()).await;
        raw.write(with("GET /v1/accounts/A1", "Authorization: Bearer wrong\r\n")).await;
        drop(raw);
    }

    let gone = async {
        loop {
            let metrics = look(scene.house.gateway.admin_address(), "/metrics").await.text();
            let open =
                metrics.lines().find_map(|line| line.strip_prefix("zuora_gateway_connections "));
            if open == Some("0") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(8), gone).await.expect("their connections end");
    assert_eq!(scene.queued_and_in_use(), (0, 0));
}
