//! What Zuora says about its limits, and which of them a call counts against.

use http::StatusCode;
use tokio::time::{Duration, Instant, sleep};

use super::scene::{Reply, Scene, refusal};

const SECOND: Duration = Duration::from_secs(1);
const BILLING: &str = "Billing Engine";

#[tokio::test(start_paused = true)]
async fn what_zuora_says_remains_is_heard() {
    let scene = Scene::of([Reply::ok().of_type("Default", 40, 9)]);

    scene.get("/v1/accounts/A1").await;

    let pool = scene.pool("Default").unwrap();
    // 31 are taken, of which one is ours.
    assert_eq!((pool.outside_use, pool.capacity), (30, 10), "{pool:?}");
}

#[tokio::test(start_paused = true)]
async fn an_operation_moves_to_the_pool_that_zuora_names() {
    let billing = || Reply::ok().of_type(BILLING, 1, 0);
    let scene = Scene::of([billing(), billing().after(10 * SECOND), Reply::ok(), billing()]);

    scene.get("/v1/accounts/A1").await;
    let began = Instant::now();
    let (_, second, _) = tokio::join!(
        scene.get("/v1/accounts/A1"),
        async {
            sleep(SECOND).await;
            scene.get("/v1/accounts/A2").await
        },
        async {
            sleep(2 * SECOND).await;
            scene.get("/v1/subscriptions/S1").await;
            assert_eq!(began.elapsed(), 2 * SECOND, "other operations stay where they are");
        }
    );

    assert_eq!(second.field("zuora-gateway-waited"), "capacity");
    assert_eq!(scene.asked()[3].at - began, 10 * SECOND);
    let pool = scene.pool(BILLING).unwrap();
    assert_eq!((pool.learnt, pool.ceiling), (true, 1), "{pool:?}");
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_in_the_wrong_pool_move_too() {
    let billing = || Reply::ok().of_type(BILLING, 5, 5).after(10 * SECOND);
    let scene = Scene::of([billing(), billing(), billing()]).with_limit(1);
    let late = async |id: &str| {
        sleep(SECOND).await;
        scene.get(&format!("/v1/accounts/{id}")).await
    };
    let began = Instant::now();

    let (_, second, third) = tokio::join!(scene.get("/v1/accounts/A1"), late("A2"), late("A3"));

    // Where they waited one goes at a time, and where they count five do.
    assert_eq!(began.elapsed(), 20 * SECOND);
    for answer in [second, third] {
        assert_eq!(answer.field("zuora-gateway-waited"), "capacity");
        assert_eq!(answer.field("zuora-gateway-attempts"), "1");
    }
    assert_eq!(scene.permits_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_type_that_is_known_needs_no_other_pool() {
    let reply = || Reply::ok().of_type("OBJECT query", 40, 40);
    let scene = Scene::of([reply(), reply().after(10 * SECOND)]);

    scene.get("/v1/accounts/A1").await;
    tokio::join!(scene.get("/v1/accounts/A1"), async {
        sleep(SECOND).await;
        assert_eq!(scene.pool("Object Query").unwrap().in_use, 1);
        assert_eq!(scene.pool("Default").unwrap().in_use, 0);
    });

    assert_eq!(scene.pools().len(), 3);
    let counted = scene.counted();
    let served = r#"attempts_total{pool="Object Query",tenant="t",verdict="relay"} 1"#;
    assert!(counted.contains(served) && !counted.contains("OBJECT"), "{counted}");
}

#[tokio::test(start_paused = true)]
async fn a_type_in_other_letters_is_the_same() {
    let scene = Scene::of([Reply::ok().of_type("default", 20, 20)]);

    scene.get("/v1/accounts/A1").await;

    assert_eq!(scene.pool("Default").unwrap().ceiling, 20);
    assert_eq!(scene.pools().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn calls_that_the_table_does_not_know_are_not_moved() {
    let billing = || Reply::ok().of_type(BILLING, 1, 0).after(SECOND);
    let scene = Scene::of([billing(), billing(), billing()]);
    scene.get("/v1/unheard-of").await;
    let began = Instant::now();

    tokio::join!(scene.get("/v1/unheard-of"), scene.get("/v1/unseen"));

    assert_eq!(began.elapsed(), SECOND, "neither waited for the other");
    let pool = scene.pool(BILLING).expect("operators see it");
    assert_eq!((pool.learnt, pool.in_use), (true, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_another_pool_shrinks_none_and_is_waited_out_there() {
    let misplaced = refusal(30).of_type(BILLING, 5, 0);
    let scene = Scene::of([misplaced, Reply::ok().of_type(BILLING, 5, 5).after(10 * SECOND)]);

    let (answer, ()) = tokio::join!(scene.get("/v1/accounts/A1"), async {
        sleep(SECOND).await;
        assert_eq!(scene.pool("Default").unwrap().capacity, 40);
        assert_eq!(scene.pool(BILLING).unwrap().capacity, 5);
        assert_eq!(scene.permits_in_use(), 0);
        sleep(30 * SECOND).await;
        assert_eq!(scene.pool(BILLING).unwrap().in_use, 1);
    });

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.field("zuora-gateway-attempts"), "2");
    assert_eq!(answer.field("zuora-gateway-waited"), "cooldown");
    let asked = scene.asked();
    assert!(asked[1].at - asked[0].at >= 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_another_pool_that_outlasts_the_deadline_is_told_at_once() {
    let scene = Scene::of([refusal(120).of_type(BILLING, 5, 0)]);
    let began = Instant::now();

    let answer = scene.get("/v1/accounts/A1").await;

    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(answer.field("zuora-gateway-error"), "cooldown");
    assert_eq!(answer.field("retry-after"), "120");
}

#[tokio::test(start_paused = true)]
async fn names_without_end_make_no_pools_without_end() {
    const NAMES: usize = 100;
    let reply = |nth| Reply::ok().of_type(&format!("type {nth}"), 3, 3);
    let scene = Scene::of(std::array::from_fn::<_, NAMES, _>(reply));

    for _ in 0..NAMES {
        assert_eq!(scene.get("/v1/accounts/A1").await.status, StatusCode::OK);
    }

    let pools = scene.pools().len();
    assert!((4..=20).contains(&pools), "{pools}");
}
