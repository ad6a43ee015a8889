//! The promises of lanes, under a stopped clock.

use super::*;
use std::time::Duration;

const A: AppId = AppId(0);

#[tokio::test(start_paused = true)]
async fn two_calls_about_one_thing_go_one_after_another() {
    let lanes = Lanes::new(10);
    let deadline = Instant::now() + Duration::from_secs(30);
    let first = lanes.enter(&[1], A, None, deadline).await.unwrap();
    let second = tokio::spawn({
        let lanes = Arc::clone(&lanes);
        async move { lanes.enter(&[1], A, None, deadline).await }
    });
    time::sleep(Duration::from_secs(1)).await;
    assert!(!second.is_finished());
    drop(first);
    assert!(second.await.unwrap().unwrap().waited());
}
