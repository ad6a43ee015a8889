//! What apps are told of their writes that take their time.

use async_requests::{Form, Key, Memory, NewRequest, Outcome, Record, Registry, Report, Taken};
use serde_json::{Value, json};

use super::scene::Reading;
use super::*;

fn key(track_id: &str) -> Key {
    Key { tenant: "t".into(), track_id: track_id.into() }
}

fn new(app: &str, track_id: &str) -> NewRequest {
    NewRequest {
        key: key(track_id),
        app: app.into(),
        entity: None,
        operation: Some("POST_Account".into()),
        method: "POST".into(),
        path: "/v1/accounts".into(),
        form: Form::Async,
    }
}

/// Makes a request of `app` that Zuora has taken, and calls R-`track_id`.
async fn accepted(registry: &Arc<Registry>, app: &str, track_id: &str) -> Record {
    let submission = registry.begin(new(app, track_id)).await.unwrap();
    submission.accepted(Some(&format!("R-{track_id}"))).await.unwrap().unwrap()
}

async fn ends(registry: &Arc<Registry>, track_id: &str, outcome: Outcome) {
    let report =
        Report { zuora_id: None, track_id: Some(track_id.into()), notification_id: None, outcome };
    assert!(matches!(registry.take_in(&"t".into(), report).await.unwrap(), Taken::News(_)));
}

fn done(id: &str) -> Outcome {
    Outcome::Succeeded { data: json!({ "id": id }).as_object().unwrap().clone() }
}

fn refused(reasons: &Value, process_id: Option<&str>) -> Outcome {
    let reasons = reasons.as_array().unwrap().clone();
    Outcome::Failed { reasons, process_id: process_id.map(Into::into) }
}

fn scene() -> (Scene, Arc<Registry>) {
    let registry = Registry::new(Memory::default());
    (Scene::of([]).with_later(&registry, &[]), registry)
}

fn of(track_id: &str) -> String {
    format!("/_gateway/async-requests/{track_id}")
}

fn read(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_told_in_the_shape_of_zuoras_own_answers() {
    let (scene, registry) = scene();
    for id in ["app-1", "app-2", "app-3", "app-4"] {
        accepted(&registry, "app", id).await;
    }
    let tricky = json!({"id": "8ad0", "success": false}).as_object().unwrap().clone();
    ends(&registry, "app-1", done("8ad0")).await;
    ends(&registry, "app-2", Outcome::Succeeded { data: tricky }).await;
    let reasons = json!([{"code": "53100020", "message": "no such currency"}]);
    ends(&registry, "app-3", refused(&reasons, Some("7F"))).await;
    ends(&registry, "app-4", refused(&json!([]), None)).await;

    let mut told = Vec::new();
    for id in ["app-1", "app-2", "app-3", "app-4"] {
        let answer = scene.get(&of(id)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.field("zuora-gateway-error"), "");
        assert_eq!(answer.field("cache-control"), "no-store");
        told.push(read(&answer.body));
    }

    let none = json!([{"code": 50_000_060, "message": "Zuora gave no reason"}]);
    let expected = [
        json!({"success": true, "id": "8ad0"}),
        json!({"success": true, "id": "8ad0"}),
        json!({"success": false, "processId": "7F", "reasons": reasons}),
        json!({"success": false, "processId": "app-4", "reasons": none}),
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_yet_is_told_as_it_stands() {
    let (scene, registry) = scene();
    let record = accepted(&registry, "app", "app-1").await;
    let on_its_way = registry.begin(new("app", "app-2")).await.unwrap();
    let job = NewRequest { form: Form::OrderJob, ..new("app", "app-3") };
    registry.begin(job).await.unwrap().accepted(Some("J1")).await.unwrap();

    let answer = scene.get(&of("app-1")).await;

    assert_eq!((answer.status, answer.field("retry-after")), (StatusCode::ACCEPTED, "5"));
    let submitted = telemetry::log::rfc3339(record.begun);
    let expected = json!({"success": true, "state": "accepted", "trackId": "app-1",
        "requestId": "R-app-1", "submittedOn": submitted});
    assert_eq!(read(&answer.body), expected);
    let answer = scene.get(&of("app-2")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(read(&answer.body)["state"], "sending");
    let job = read(&scene.get(&of("app-3")).await.body);
    assert_eq!((&job["jobId"], &job["requestId"]), (&json!("J1"), &Value::Null));
    drop(on_its_way);
}

#[tokio::test(start_paused = true)]
async fn what_stays_unknown_is_a_failure_that_may_have_been_executed() {
    let (scene, registry) = scene();
    accepted(&registry, "app", "app-1").await;
    registry.give_up(&key("app-1")).await.unwrap().unwrap();

    let answer = scene.get(&of("app-1")).await;

    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.field("zuora-gateway-error"), "outcome-unknown");
    assert_eq!(answer.field("zuora-gateway-executed"), "maybe");
    let told = read(&answer.body);
    assert_eq!((&told["success"], &told["processId"]), (&json!(false), &json!("app-1")));
    assert_eq!(told["reasons"][0]["code"], 50_000_061);

    ends(&registry, "app-1", done("8ad0")).await;
    let answer = scene.get(&of("app-1")).await;
    assert_eq!(read(&answer.body), json!({"success": true, "id": "8ad0"}));
    assert_eq!(answer.field("zuora-gateway-error"), "");
}

#[tokio::test(start_paused = true)]
async fn what_is_another_apps_is_not_there() {
    let (scene, registry) = scene();
    accepted(&registry, "another", "another-1").await;
    let began = Instant::now();

    let told = async |track_id: &str| {
        let answer = scene.get(&format!("{}?wait=30", of(track_id))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{track_id}");
        let process_id = answer.field("zuora-track-id").to_owned();
        answer.body.replace(&process_id, "")
    };
    let (of_another, of_nobody) = (told("another-1").await, told("nobody-1").await);

    assert_eq!(of_another, of_nobody);
    assert_eq!(began.elapsed(), Duration::ZERO, "nor is it waited for");
    for path in ["", "a%ff", "another-1/", "%2e%2e"] {
        assert_eq!(scene.get(&of(path)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let nobody = scene.get_with(&of("another-1"), &[("authorization", "")]).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_only_zuora_can_check_opens_nothing_here() {
    let (scene, registry) = scene();
    accepted(&registry, "app", "app-1").await;
    let signed = [("authorization", ""), ("signature", "s"), ("token", "t")];

    for path in [&*of("app-1"), "/_gateway/async-requests"] {
        let answer = scene.get_with(path, &signed).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_track_id_may_have_any_character_that_zuora_takes() {
    let (scene, registry) = scene();
    accepted(&registry, "app", "a/b?c#d%2F e").await;

    let answer = scene.get(&of("a%2Fb%3Fc%23d%252F%20e")).await;

    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(read(&answer.body)["trackId"], "a/b?c#d%2F e");
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_at_the_moment_when_it_is_known() {
    let (scene, registry) = scene();
    accepted(&registry, "app", "app-1").await;
    let began = Instant::now();

    let told = async |path: &str, prefer: &str| {
        let answer = scene.get_with(path, &[("prefer", prefer)]).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(read(&answer.body), json!({"success": true, "id": "8ad0"}));
        (began.elapsed(), answer.field("preference-applied").to_owned())
    };
    let path = of("app-1");
    let asking = format!("{path}?wait=20");
    let (by_query, by_wish, ()) = tokio::join!(told(&asking, ""), told(&path, "wait=20"), async {
        sleep(3 * SECOND).await;
        ends(&registry, "app-1", done("8ad0")).await;
    });

    assert_eq!(by_query, (3 * SECOND, String::new()));
    assert_eq!(by_wish, (3 * SECOND, "wait=20".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_asked_or_than_ten_minutes() {
    let (scene, registry) = scene();
    accepted(&registry, "app", "app-1").await;

    let took = async |query: &str, prefer: &str| {
        let began = Instant::now();
        let path = format!("{}{query}", of("app-1"));
        let answer = scene.get_with(&path, &[("prefer", prefer)]).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{query}");
        (began.elapsed().as_secs(), answer.field("preference-applied").to_owned())
    };
    let nothing = String::new;
    assert_eq!(took("", "").await, (0, nothing()));
    assert_eq!(took("?wait=0", "").await, (0, nothing()));
    assert_eq!(took("?wait=20", "").await, (20, nothing()));
    assert_eq!(took("?wait=9999", "").await, (600, nothing()));
    assert_eq!(took("", "wait=9999").await, (600, "wait=600".to_owned()));
    assert_eq!(took("?wait=5", "wait=20").await.0, 5, "what is asked for in the target counts");
    for query in ["?wait=-1", "?wait=", "?wait=1.5", "?wiat=5", "?wait=5&state=failed"] {
        let answer = scene.get(&format!("{}{query}", of("app-1"))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_those_who_wait_are_told_how_it_stands() {
    let (scene, registry) = scene();
    accepted(&registry, "app", "app-1").await;
    let began = Instant::now();
    let asking = format!("{}?wait=500", of("app-1"));

    let (answer, ()) = tokio::join!(scene.get(&asking), async {
        sleep(SECOND).await;
        scene.end_waits();
    });

    assert_eq!((answer.status, began.elapsed()), (StatusCode::ACCEPTED, SECOND));
    assert_eq!(scene.get(&asking).await.status, StatusCode::ACCEPTED);
    assert_eq!(began.elapsed(), SECOND, "nor does anybody begin to wait");
}

#[tokio::test(start_paused = true)]
async fn a_head_is_that_of_the_answer() {
    let (scene, registry) = scene();
    accepted(&registry, "app", "app-1").await;
    ends(&registry, "app-1", done("8ad0")).await;

    let answer = scene.call_with("HEAD", &of("app-1"), &[], "").await;

    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, ""));
    let length = json!({"success": true, "id": "8ad0"}).to_string().len();
    assert_eq!(answer.field("content-length"), length.to_string());
    let events = [("accept", "text/event-stream")];
    let answer = scene.call_with("HEAD", "/_gateway/async-requests", &events, "").await;
    assert_eq!(answer.field("content-type"), "text/event-stream");
}

/// The track ids on a page, and the target of the next.
async fn page(scene: &Scene, target: &str) -> (Vec<String>, Option<String>) {
    let answer = scene.get(target).await;
    assert_eq!(answer.status, StatusCode::OK, "{target}: {}", answer.body);
    let page = read(&answer.body);
    assert_eq!(page["success"], true);
    let requests = page["requests"].as_array().unwrap().iter();
    let ids = requests.map(|it| it["trackId"].as_str().unwrap().to_owned()).collect();
    (ids, page["nextPage"].as_str().map(str::to_owned))
}

#[tokio::test(start_paused = true)]
async fn an_app_lists_its_own_requests_the_newest_first() {
    let (scene, registry) = scene();
    for id in ["1", "2"] {
        accepted(&registry, "app", &format!("app-{id}")).await;
        accepted(&registry, "another", &format!("another-{id}")).await;
    }
    let elsewhere = Key { tenant: "elsewhere".into(), track_id: "app-3".into() };
    let request = NewRequest { key: elsewhere, ..new("app", "") };
    registry.begin(request).await.unwrap().accepted(None).await.unwrap();
    ends(&registry, "app-1", done("8ad0")).await;

    let answer = scene.get("/_gateway/async-requests").await;

    assert_eq!((answer.status, answer.field("cache-control")), (StatusCode::OK, "no-store"));
    let listed = read(&answer.body);
    assert_eq!(listed["requests"].as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(listed["requests"][0]["trackId"], "app-2");
    let first = &listed["requests"][1];
    assert_eq!((&first["trackId"], &first["state"]), (&json!("app-1"), &json!("succeeded")));
    assert_eq!((&first["path"], &first["data"]), (&json!("/v1/accounts"), &json!({"id": "8ad0"})));
    assert_eq!(listed["nextPage"], Value::Null);
    let only = async |state: &str| {
        page(&scene, &format!("/_gateway/async-requests?state={state}")).await.0
    };
    assert_eq!(only("succeeded").await, ["app-1"]);
    assert_eq!(only("accepted").await, ["app-2"]);
    assert_eq!(only("failed").await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_long_list_comes_in_pages() {
    let (scene, registry) = scene();
    for n in 0..130 {
        accepted(&registry, "app", &format!("app/{n:03}")).await;
    }
    let newest_first: Vec<_> = (0..130).rev().map(|n| format!("app/{n:03}")).collect();

    let mut all = Vec::new();
    let mut sizes = Vec::new();
    let mut next = Some("/_gateway/async-requests?state=accepted&limit=60".to_owned());
    while let Some(target) = next {
        let (ids, following) = page(&scene, &target).await;
        sizes.push(ids.len());
        all.extend(ids);
        next = following;
    }

    assert_eq!((all, sizes), (newest_first, vec![60, 60, 10]));
    assert_eq!(page(&scene, "/_gateway/async-requests").await.0.len(), 50);
    assert_eq!(page(&scene, "/_gateway/async-requests?limit=9999").await.0.len(), 130);
    for query in ["after=app/001", "after=", "limit=many", "state=done", "offset=3", "wait=5"] {
        let answer = scene.get(&format!("/_gateway/async-requests?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_goes_on_though_the_last_of_a_page_is_gone() {
    let (scene, registry) = scene();
    accepted(&registry, "app", "app-1").await;
    let withdrawn = registry.begin(new("app", "app-2")).await.unwrap();
    accepted(&registry, "app", "app-3").await;

    let (ids, next) = page(&scene, "/_gateway/async-requests?limit=2").await;
    withdrawn.withdrawn().await.unwrap();

    assert_eq!(ids, ["app-3", "app-2"]);
    assert_eq!(page(&scene, &next.unwrap()).await, (vec!["app-1".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn a_page_of_long_failures_ends_early() {
    let (scene, registry) = scene();
    let long = json!([{"code": "1", "message": "x".repeat(60 * 1024)}]);
    for n in 0..40 {
        accepted(&registry, "app", &format!("app-{n}")).await;
        ends(&registry, &format!("app-{n}"), refused(&long, None)).await;
    }

    let (ids, next) = page(&scene, "/_gateway/async-requests?limit=200").await;
    let (others, last) = page(&scene, &next.unwrap()).await;

    // As many as a mebibyte has room for, and the one that fills it.
    assert_eq!((ids.len(), others.len()), (17, 17));
    assert_eq!(page(&scene, &last.unwrap()).await.0.len(), 6);
}

/// Opens a stream of events, and reads that it has begun.
async fn listen(scene: &Scene, fields: &[(&str, &str)]) -> Reading {
    let fields: Vec<_> = [("accept", "text/event-stream")].iter().chain(fields).copied().collect();
    let mut stream = scene.open_with("/_gateway/async-requests", &fields).await;
    assert_eq!(stream.field("content-type"), "text/event-stream");
    assert_eq!(&stream.some().await[..], b": outcomes follow\n\n");
    stream
}

/// The events that come next: the id of each, the track id, and the state.
async fn events(stream: &mut Reading) -> Vec<(String, String, String)> {
    let mut text = String::new();
    while !text.ends_with("\n\n") {
        text += str::from_utf8(&stream.some().await).unwrap();
    }
    let events = text.split_terminator("\n\n").map(|event| {
        let mut lines = event.lines();
        let mut line = |name: &str| lines.next().unwrap().strip_prefix(name).unwrap().to_owned();
        let (id, kind, data) = (line("id: "), line("event: "), read(&line("data: ")));
        assert_eq!((&*kind, lines.next()), ("outcome", None), "{text}");
        let told = |name: &str| data[name].as_str().unwrap().to_owned();
        (id, told("trackId"), told("state"))
    });
    events.collect()
}

fn told(events: &[(String, String, String)]) -> Vec<(&str, &str)> {
    events.iter().map(|(_, track_id, state)| (&**track_id, &**state)).collect()
}

#[tokio::test(start_paused = true)]
async fn outcomes_are_streamed_as_they_come() {
    let (scene, registry) = scene();
    for id in ["app-1", "app-2", "app-3"] {
        accepted(&registry, "app", id).await;
    }
    accepted(&registry, "another", "another-1").await;
    let elsewhere = Key { tenant: "elsewhere".into(), track_id: "app-4".into() };
    let request = NewRequest { key: elsewhere.clone(), ..new("app", "") };
    registry.begin(request).await.unwrap().accepted(None).await.unwrap();
    ends(&registry, "app-1", done("before")).await;
    let mut stream = listen(&scene, &[]).await;

    ends(&registry, "another-1", done("a")).await;
    registry.give_up(&elsewhere).await.unwrap();
    ends(&registry, "app-3", done("b")).await;
    assert_eq!(told(&events(&mut stream).await), [("app-3", "succeeded")]);
    registry.give_up(&key("app-2")).await.unwrap();
    assert_eq!(told(&events(&mut stream).await), [("app-2", "unknown")]);
    ends(&registry, "app-2", refused(&json!([]), None)).await;
    assert_eq!(told(&events(&mut stream).await), [("app-2", "failed")]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_where_another_ended() {
    let (scene, registry) = scene();
    for id in ["app-1", "app-2", "app-3"] {
        accepted(&registry, "app", id).await;
        ends(&registry, id, done("a")).await;
    }

    let mut stream = listen(&scene, &[("last-event-id", "0")]).await;
    let all = events(&mut stream).await;
    drop(stream);
    let mut stream = listen(&scene, &[("last-event-id", &all[0].0)]).await;
    let rest = events(&mut stream).await;

    let succeeded = |id| (id, "succeeded");
    assert_eq!(told(&all), ["app-1", "app-2", "app-3"].map(succeeded));
    assert_eq!(told(&rest), ["app-2", "app-3"].map(succeeded));
    assert_eq!(rest[..], all[1..]);
    for id in ["x", "-1", "1 2"] {
        let fields = [("accept", "text/event-stream"), ("last-event-id", id)];
        let answer = scene.get_with("/_gateway/async-requests", &fields).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{id}");
    }
    let beyond = u64::MAX.to_string();
    let mut stream = listen(&scene, &[("last-event-id", &beyond)]).await;
    assert_eq!(events(&mut stream).await.len(), 3, "of a registry that was lost");
}

#[tokio::test(start_paused = true)]
async fn more_outcomes_than_are_read_at_a_time_come_all_and_in_order() {
    let (scene, registry) = scene();
    for n in 0..120 {
        accepted(&registry, "app", &format!("app-{n}")).await;
        ends(&registry, &format!("app-{n}"), done("a")).await;
    }
    let mut stream = listen(&scene, &[("last-event-id", "0")]).await;

    let mut all = Vec::new();
    while all.len() < 120 {
        all.extend(events(&mut stream).await);
    }

    let expected: Vec<_> = (0..120).map(|n| format!("app-{n}")).collect();
    let got: Vec<_> = all.into_iter().map(|(_, track_id, _)| track_id).collect();
    assert_eq!(got, expected);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_shows_that_it_lives_until_its_hour_is_over() {
    let (scene, _registry) = scene();
    let began = Instant::now();
    let mut stream = listen(&scene, &[]).await;

    for n in 1..=3 {
        assert_eq!(&stream.some().await[..], b":\n\n");
        assert_eq!(began.elapsed(), n * 15 * SECOND);
    }
    let rest = stream.rest().await;

    assert_eq!(began.elapsed(), 3600 * SECOND);
    assert_eq!(rest, ":\n\n".repeat(236), "the last of which would come as it ends");
}

#[tokio::test(start_paused = true)]
async fn streams_end_when_the_gateway_does() {
    let (scene, registry) = scene();
    accepted(&registry, "app", "app-1").await;
    let began = Instant::now();
    let mut stream = listen(&scene, &[]).await;

    let (rest, ()) = tokio::join!(stream.rest(), async {
        sleep(SECOND).await;
        scene.end_waits();
    });

    assert_eq!((&*rest, began.elapsed()), ("", SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_more_to_tell_ends_all_the_same() {
    let (scene, registry) = scene();
    let long = json!([{"code": "1", "message": "x".repeat(60 * 1024)}]);
    for n in 0..200 {
        accepted(&registry, "app", &format!("app-{n}")).await;
        ends(&registry, &format!("app-{n}"), refused(&long, None)).await;
    }
    let beginning = [("last-event-id", "0")];
    let mut after_an_hour = listen(&scene, &beginning).await;

    sleep(3600 * SECOND).await;
    let told = async |stream: &mut Reading| stream.rest().await.matches("event: outcome").count();
    assert!(told(&mut after_an_hour).await < 200);
    let mut at_the_end = listen(&scene, &beginning).await;
    scene.end_waits();

    assert!(told(&mut at_the_end).await < 200);
}

#[tokio::test(start_paused = true)]
async fn an_app_may_have_a_hundred_streams_open() {
    let (scene, _registry) = scene();
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(listen(&scene, &[]).await);
    }
    let fields = [("accept", "text/html, text/event-stream;q=0.9")];

    let answer = scene.get_with("/_gateway/async-requests", &fields).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.field("retry-after"), "5");
    assert_eq!(answer.field("zuora-gateway-error"), "rate-limited");

    drop(streams.pop());
    scene.settle().await;
    listen(&scene, &[]).await;
}
