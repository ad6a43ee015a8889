//! What many ask for at once.

use http::uri::PathAndQuery;

use super::*;
use crate::Errand;

const JOB: &str = "/v1/async-jobs/j1";

fn slow(body: &str) -> Reply {
    Reply::new(200, body).after(SECOND)
}

#[tokio::test(start_paused = true)]
async fn twenty_who_ask_for_the_same_job_cost_one_permit_and_each_has_its_own_track_id() {
    let scene = Scene::of([slow(r#"{"status":"Processing"}"#).with("zuora-request-id", "7")]);

    let ids: Vec<_> = (0..20).map(|number| format!("app-{number}")).collect();
    let fields = ids.iter().map(|id| [("zuora-track-id", id.as_str()), ("user-agent", id)]);
    let fields: Vec<_> = fields.collect();
    let all = fields.iter().map(|fields| scene.get_with(JOB, fields));
    let all = futures_util::future::join_all(all);
    let (answers, in_use) = tokio::join!(all, async {
        sleep(SECOND / 2).await;
        (scene.permits_in_use(), scene.queued())
    });

    assert_eq!(in_use, (1, 0));
    assert_eq!(scene.asked().len(), 1);
    for (answer, id) in answers.iter().zip(&ids) {
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.body, r#"{"status":"Processing"}"#);
        assert_eq!(answer.fields("zuora-track-id"), [id]);
        assert_eq!(answer.field("zuora-request-id"), "7");
    }
    let counted = r#"zuora_gateway_requests_total{app="app",operation="GET_JobStatusAndResponse",source="zuora",status="200",tenant="t"} 20"#;
    assert!(scene.counted().contains(counted), "{}", scene.counted());
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_after_the_answer_asks_anew() {
    let scene = Scene::of([slow("1"), slow("2")]);

    assert_eq!(scene.get(JOB).await.body, "1");
    assert_eq!(scene.get(JOB).await.body, "2");
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_does_not_take_the_answer_of_the_others_along() {
    let scene = Scene::of([slow("1").after(10 * SECOND), slow("2")]);

    let leaver = async {
        let asking = scene.get(JOB);
        assert!(tokio::time::timeout(SECOND, asking).await.is_err());
    };
    let others = async {
        sleep(SECOND / 2).await;
        tokio::join!(scene.get(JOB), scene.get(JOB), scene.get(JOB))
    };
    let ((), (one, two, three)) = tokio::join!(leaver, others);

    for answer in [one, two, three] {
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "2"));
    }
    assert_eq!(scene.asked().len(), 2, "one of those who stayed asked for the others");
}

#[tokio::test(start_paused = true)]
async fn one_who_only_listens_may_leave() {
    let scene = Scene::of([slow("1")]);

    let leaver = async {
        sleep(SECOND / 4).await;
        assert!(tokio::time::timeout(SECOND / 4, scene.get(JOB)).await.is_err());
    };
    let (asker, other, ()) = tokio::join!(scene.get(JOB), scene.get(JOB), leaver);

    assert_eq!((&*asker.body, &*other.body), ("1", "1"));
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_is_not_shared() {
    for bad in
        [Reply::new(404, "{}").after(SECOND), Reply::new(200, "x".repeat(100_000)).after(SECOND)]
    {
        let scene = Scene::of([bad, slow("2")]);

        let (one, other) = tokio::join!(scene.get(JOB), scene.get(JOB));

        let own: Vec<_> = [one, other].into_iter().filter(|answer| answer.body == "2").collect();
        assert_eq!(own.len(), 1, "whoever asked first has what it got, and the other its own");
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_answer_that_is_none_nobody_waits_for_another() {
    let unknown = || Reply::new(404, "{}").after(SECOND);
    let scene = Scene::of([(); 20].map(|()| unknown()));
    let began = Instant::now();

    let all = (0..20).map(|_| scene.get(JOB));
    let answers = futures_util::future::join_all(all).await;

    assert!(answers.iter().all(|answer| answer.status == StatusCode::NOT_FOUND));
    assert_eq!((began.elapsed(), scene.asked().len()), (2 * SECOND, 20));
}

#[tokio::test(start_paused = true)]
async fn what_differs_is_asked_for_by_itself() {
    for (path, fields) in [
        ("/v1/async-jobs/j2", &[("accept", "")] as &[(&str, &str)]),
        ("/v1/async-jobs/j1?x=1", &[("accept", "")]),
        (JOB, &[("accept-encoding", "gzip")]),
        (JOB, &[("zuora-version", "2")]),
    ] {
        let scene = scene_of_two();
        tokio::join!(scene.get(JOB), scene.get_with(path, fields));
        assert_eq!(scene.asked().len(), 2, "{path} {fields:?}");
    }
    let scene = scene_of_two();
    tokio::join!(scene.get("/v1/accounts/A1"), scene.get("/v1/accounts/A1"));
    assert_eq!(scene.asked().len(), 2, "only jobs are asked for like that");
}

fn scene_of_two() -> Scene {
    Scene::of([slow("1"), slow("2")])
}

#[tokio::test(start_paused = true)]
async fn a_head_and_a_body_are_two_questions() {
    let scene = scene_of_two();

    let (mut head, get) = tokio::join!(scene.open("HEAD", JOB, ""), scene.get(JOB));

    assert_eq!(head.rest().await, "");
    assert_ne!(get.body, "");
    assert_eq!(scene.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_gateway_itself_asks_with_the_others() {
    let scene = Scene::of([slow("1")]);
    let errand = || Errand::get(PathAndQuery::from_static(JOB));

    let (one, other) = tokio::join!(scene.run(errand()), scene.run(errand()));

    assert_eq!((&one.unwrap().body[..], &other.unwrap().body[..]), (&b"1"[..], &b"1"[..]));
    assert_eq!(scene.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_question_that_waits_itself() {
    let scene = Scene::of([slow("busy").after(10 * SECOND), slow("1"), slow("2")]).with_limit(1);
    let errand = || Errand::get(PathAndQuery::from_static(JOB));

    let own = async {
        sleep(SECOND).await;
        scene.run(errand()).await
    };
    let apps = async {
        sleep(2 * SECOND).await;
        scene.get_with(JOB, &[("accept", "application/json")]).await
    };
    let (_, own, apps) = tokio::join!(scene.get("/v1/accounts/A1"), own, apps);

    assert_eq!(apps.body, "1", "it is the app's turn first");
    assert!(own.is_ok());
}
