//! What a caller may wish for: how long it waits, and for whom it calls.

use http::StatusCode;
use tokio::time::{Duration, Instant, sleep};

use super::scene::{Reply, Scene, refusal};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_caller_waits_no_longer_than_it_wishes() {
    let scene = Scene::of([Reply::ok().after(10 * SECOND)]).with_limit(1);

    let (_, (answer, took)) = tokio::join!(scene.get("/v1/accounts/A1"), async {
        sleep(SECOND).await;
        let began = Instant::now();
        let answer = scene.get_with("/v1/accounts/A2", &[("prefer", "wait=3")]).await;
        (answer, began.elapsed())
    });

    assert!(took <= 3 * SECOND, "{took:?}");
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.field("preference-applied"), "wait=3");
    assert_eq!(answer.field("zuora-gateway-executed"), "no");
    let retry_after: u64 = answer.field("retry-after").parse().unwrap();
    assert!((1..=30).contains(&retry_after), "{retry_after}");
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_cannot_come_true_is_told_at_once() {
    let scene = Scene::of([(); 10].map(|()| Reply::ok().after(10 * SECOND))).with_limit(1);
    // After some answers it is known how long they take.
    for _ in 0..9 {
        scene.get("/v1/accounts/A1").await;
    }

    let (_, (answer, took)) = tokio::join!(scene.get("/v1/accounts/A1"), async {
        sleep(SECOND).await;
        let began = Instant::now();
        // A permit comes after nine seconds, and the answer ten seconds later.
        let answer = scene.get_with("/v1/accounts/A2", &[("prefer", "wait=12")]).await;
        (answer, began.elapsed())
    });

    assert_eq!((answer.status, took), (StatusCode::TOO_MANY_REQUESTS, Duration::ZERO));
    assert_eq!(answer.field("zuora-gateway-error"), "deadline");
    assert_eq!(answer.field("preference-applied"), "wait=12");
    let retry_after: u64 = answer.field("retry-after").parse().unwrap();
    assert!((1..=30).contains(&retry_after), "{retry_after}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_any_wait_is_more_than_can_be_had() {
    let scene = Scene::of([]);
    let began = Instant::now();

    let answer = scene.get_with("/v1/accounts/A1", &[("prefer", "wait=0")]).await;

    assert_eq!((answer.status, began.elapsed()), (StatusCode::TOO_MANY_REQUESTS, Duration::ZERO));
    assert_eq!(answer.field("preference-applied"), "wait=0");
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_wait_longer_than_its_app_does() {
    let scene = Scene::of([refusal(120), Reply::ok()]);

    let answer = scene.get_with("/v1/accounts/A1", &[("prefer", "wait=150")]).await;

    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.field("preference-applied"), "wait=150");
    let asked = scene.asked();
    assert!(asked[1].at - asked[0].at >= 120 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn no_caller_waits_longer_than_the_slowest_call_of_its_app_could() {
    // Apps wait for 60 seconds here, and Zuora works for 125 at most.
    let scene = Scene::of([refusal(190), refusal(180), Reply::ok()]);
    let began = Instant::now();

    let beyond = scene.get_with("/v1/accounts/A1", &[("prefer", "wait=86400")]).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    let within = scene.get_with("/object-query/accounts", &[("prefer", "wait=86400")]).await;

    assert_eq!(beyond.field("zuora-gateway-error"), "cooldown");
    assert_eq!(beyond.field("preference-applied"), "wait=185");
    assert_eq!(within.status, StatusCode::OK, "{within:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_outlasts_the_wish_is_told_at_once() {
    let scene = Scene::of([refusal(30)]);
    let began = Instant::now();

    let answer = scene.get_with("/v1/accounts/A1", &[("prefer", "wait=20")]).await;

    assert_eq!((answer.status, began.elapsed()), (StatusCode::TOO_MANY_REQUESTS, Duration::ZERO));
    assert_eq!(answer.field("zuora-gateway-error"), "cooldown");
    assert_eq!(answer.field("retry-after"), "30");
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_is_never_cut_off_by_a_wish() {
    let scene = Scene::of([Reply::ok().after(20 * SECOND)]);
    let began = Instant::now();

    let answer = scene.get_with("/v1/accounts/A1", &[("prefer", "wait=5")]).await;

    assert_eq!((answer.status, began.elapsed()), (StatusCode::OK, 20 * SECOND));
    assert_eq!(answer.field("preference-applied"), "wait=5");
}

#[tokio::test(start_paused = true)]
async fn a_wish_counts_for_the_token_too() {
    let scene = Scene::of([]).without_tokens();
    let began = Instant::now();

    let answer = scene.get_with("/v1/accounts/A1", &[("prefer", "wait=5")]).await;

    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.field("zuora-gateway-error"), "token-unavailable");
    assert_eq!(answer.field("preference-applied"), "wait=5");
    assert_eq!(began.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn wishes_to_the_gateway_end_there_and_others_go_on() {
    let applied = Reply::ok().with("preference-applied", "handling=strict");
    let scene = Scene::of([applied, Reply::ok()]);
    let fields = [
        ("prefer", r#"respond-async;x="1, 2" , WAIT=7; y"#),
        ("prefer", "wait=9"),
        ("prefer", " a = b"),
        ("end-user", "u-17"),
        ("end-user", "u-18"),
    ];

    let answer = scene.get_with("/v1/accounts/A1", &fields).await;
    let plain = scene.get_with("/v1/accounts/A1", &[("prefer", "wait=soon")]).await;

    let asked = scene.asked();
    assert_eq!(asked[0].fields("prefer"), [r#"respond-async;x="1, 2""#, "a = b"]);
    assert!(!asked[0].has("end-user"));
    assert_eq!(answer.fields("preference-applied"), ["handling=strict", "wait=7"]);
    assert!(!asked[1].has("prefer"));
    assert_eq!(plain.fields("preference-applied"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn those_for_whom_an_app_calls_share_its_turns() {
    let scene = Scene::of([(); 12].map(|()| Reply::ok().after(SECOND))).with_limit(1);
    let call = async |user: &str, arrives: u32| {
        sleep(SECOND / 100 * arrives).await;
        scene.get_with(&format!("/v1/accounts/{user}"), &[("end-user", user)]).await;
        Instant::now()
    };

    // Ten calls for one end user wait when two for another come.
    let many = futures_util::future::join_all((0..10).map(|nth| call("many", nth)));
    let few = futures_util::future::join_all((10..12).map(|nth| call("few", nth)));
    let began = Instant::now();
    let (many, few) = tokio::join!(many, few);

    assert!(few[1] - began <= 5 * SECOND, "{:?}", few[1] - began);
    assert_eq!(many[9] - began, 12 * SECOND);
}
