//! The real program: killed, stopped, reloaded, on a full disk, with a broken file; what it promised is still there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Raw, SECRET, Yaml};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::outcomes::records;
use super::stage::{
    BODY, PASSWORD, USER, accepts, asking, asking_with, basic, callout, deliver, failed, json_of,
    key, location, look, metric, succeeded, until, write, yaml,
};
use crate::running::{Ended, Running};
use crate::wire::attack::{get, soon};
use crate::wire::upstream::{Play, RawUpstream};

/// A shell that lets files fail to grow instead of ending the program, as a disk does that is full.
const NO_SIGNAL: [&str; 4] = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];

/// A tenant of sockets, and what survives the gateways before it.
struct Lives {
    upstream: RawUpstream,
    directory: TempDir,
    text: String,
}

impl Lives {
    async fn new(yaml: &Yaml) -> Self {
        let (upstream, directory) = (RawUpstream::start().await, TempDir::new().unwrap());
        let text = yaml.text(&upstream.url(), &directory.path().join("state"));
        Self { upstream, directory, text }
    }

    async fn begin(&self) -> Running {
        Running::start(&self.text, &self.directory).await
    }

    /// Has a write accepted.
    async fn accepted(&self, running: &Running, track_id: &str, request_id: &str) -> String {
        self.upstream.play(accepts(&json!({"requestId": request_id}).to_string()));
        let told = Raw::ask(running.address, asking(track_id)).await;
        assert_eq!(told.status, 202, "{told:?}");
        location(&told)
    }

    /// The largest file in the state directory: the registry.
    fn registry(&self) -> PathBuf {
        largest(&self.directory.path().join("state"))
    }
}

fn largest(directory: &Path) -> PathBuf {
    let entries = std::fs::read_dir(directory).unwrap().map(|it| it.unwrap().path());
    let files = entries.map(|it| if it.is_dir() { largest(&it) } else { it });
    files.max_by_key(|it| it.metadata().map_or(0, |it| it.len())).unwrap()
}

async fn kill(running: Running) -> Ended {
    running.signal("KILL").await;
    running.ended().await
}

#[tokio::test]
async fn what_was_promised_survives_being_killed() {
    let lives = Lives::new(&yaml("", "")).await;
    let first = lives.begin().await;
    let ended = lives.accepted(&first, "ended", "r-1").await;
    let pending = lives.accepted(&first, "pending", "r-2").await;
    // One that Zuora has, and has not answered.
    lives.upstream.play(Play::default().pause(Duration::from_secs(60)));
    let mut raw = Raw::connect(first.address).await;
    raw.write(asking("sending")).await;
    soon("it was sent", || lives.upstream.lines().len() == 3).await;
    assert_eq!(deliver(first.address, "n-1", &failed("r-1", "ended", "why")).await.status, 200);
    kill(first).await;

    let second = lives.begin().await;
    let told = look(second.address, &ended, SECRET).await;
    assert_eq!((told.status, &json_of(&told)["reasons"][0]["message"]), (200, &json!("why")));
    let told = look(second.address, &pending, SECRET).await;
    assert_eq!((told.status, &json_of(&told)["requestId"]), (202, &json!("r-2")));
    let all = records(&look(second.address, "/_gateway/async-requests", SECRET).await);
    assert_eq!(all.iter().filter(|it| it["trackId"] == "sending").count(), 1, "{all:#?}");
    // Nothing of it is sent again.
    sleep(Duration::from_millis(300)).await;
    assert_eq!(lives.upstream.lines().len(), 3, "{:?}", lives.upstream.lines());
    for (at, (track_id, request_id)) in
        [("pending", "r-2"), ("sending", "r-3")].into_iter().enumerate()
    {
        let taken =
            deliver(second.address, &format!("m-{at}"), &succeeded(request_id, track_id, track_id))
                .await;
        assert_eq!(taken.status, 200);
    }
    // What was seen is known to have been seen.
    assert_eq!(deliver(second.address, "n-1", &succeeded("r-1", "ended", "x")).await.status, 200);
    kill(second).await;

    let third = lives.begin().await;
    for track_id in ["pending", "sending"] {
        let told =
            look(third.address, &format!("/_gateway/async-requests/{track_id}"), SECRET).await;
        assert_eq!((told.status, &json_of(&told)["id"]), (200, &json!(track_id)));
    }
    assert_eq!(json_of(&look(third.address, &ended, SECRET).await)["success"], false);
    let metrics = crate::caller::look(third.admin, "/metrics").await.text();
    assert_eq!(metric(&metrics, "async_requests_pending", &[]), 0.0);
    // A track id is used once, over all lives.
    assert_eq!(Raw::ask(third.address, asking("ended")).await.status, 400);
    assert_eq!(third.stop().await.status.code(), Some(0));
}

#[tokio::test]
async fn those_who_wait_do_not_hold_up_an_end() {
    let lives = Lives::new(&yaml("", "")).await;
    let running = lives.begin().await;
    let place = lives.accepted(&running, "t-1", "r-1").await;
    let (address, authorization) = (running.address, format!("Authorization: Bearer {SECRET}\r\n"));
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let asked = format!("GET {place}?wait=600 HTTP/1.1\r\nHost: gw\r\n{authorization}\r\n");
            tokio::spawn(async move {
                let mut raw = Raw::connect(address).await;
                raw.write(asked).await;
                raw.answer().await
            })
        })
        .collect();
    let mut listener = Raw::connect(address).await;
    listener.write(format!("GET /_gateway/async-requests HTTP/1.1\r\nHost: gw\r\n{authorization}Accept: text/event-stream\r\n\r\n")).await;
    listener.some().await;
    lives.upstream.play(accepts("{\"requestId\":\"r-2\"}"));
    let mut held = Raw::connect(address).await;
    held.write(asking_with("t-2", "respond-async, wait=100")).await;
    soon("it was sent", || lives.upstream.lines().len() == 2).await;
    sleep(Duration::from_millis(300)).await;

    let began = Instant::now();
    let ended = running.stop().await;

    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Each was told what was known.
    let told = held.answer().await;
    assert_eq!((told.status, told.text()), (202, "{\"requestId\":\"r-2\"}".to_owned()), "{told:?}");
    for one in waiting {
        let told = one.await.unwrap();
        assert_eq!(told.status, 202, "{told:?}");
    }
    listener.rest().await;
}

#[tokio::test]
async fn a_reload_leaves_those_who_wait_and_what_is_known() {
    let lives = Lives::new(&yaml("", "")).await;
    let running = lives.begin().await;
    let place = lives.accepted(&running, "t-1", "r-1").await;
    let mut raw = Raw::connect(running.address).await;
    raw.write(format!(
        "GET {place}?wait=60 HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {SECRET}\r\n\r\n"
    ))
    .await;
    sleep(Duration::from_millis(200)).await;

    let changed = lives
        .text
        .replace("rewrite: []", "rewrite: [{operations: [\"POST /v1/accounts\"], when: always}]")
        .replace(PASSWORD, "another-password-of-callouts");
    assert_ne!(changed, lives.text);
    std::fs::write(lives.directory.path().join("gw.yaml"), changed).unwrap();
    running.signal("HUP").await;
    let always = || write("POST", "/v1/accounts", "", BODY);
    until(
        "reloaded",
        Duration::from_secs(10),
        async || {
            lives.upstream.forget();
            lives.upstream.play(accepts("{\"success\":true,\"requestId\":\"r-2\"}"));
            Raw::ask(running.address, always()).await
        },
        |it| it.status == 202 && it.field("location").is_some(),
    )
    .await;

    assert_eq!(
        deliver(running.address, "n-1", &succeeded("r-1", "t-1", "x")).await.status,
        401,
        "the old password is none"
    );
    let bytes = callout(
        "production",
        &basic(USER, "another-password-of-callouts"),
        "n-1",
        &succeeded("r-1", "t-1", "x"),
    );
    assert_eq!(Raw::ask(running.address, bytes).await.status, 200);
    let told = raw.answer().await;
    assert_eq!((told.status, &json_of(&told)["id"]), (200, &json!("x")), "{told:?}");
    assert_eq!(running.stop().await.status.code(), Some(0));
}

/// From now on no file of the program may be longer than this.
async fn limit(running: &Running, bytes: &str) {
    let done = Command::new("prlimit")
        .args([format!("--pid={}", running.id()), format!("--fsize={bytes}:")])
        .status()
        .await
        .unwrap();
    assert!(done.success());
}

#[tokio::test]
async fn a_full_disk_costs_nothing_but_the_writes_that_ask() {
    let lives = Lives::new(&yaml("", "")).await;
    let running = Running::start_by(&NO_SIGNAL, &lives.text, &lives.directory).await;
    let before = lives.accepted(&running, "before", "r-0").await;

    // Nothing can be written at once, and then nothing more than there is.
    for round in 0..2 {
        let length = std::fs::metadata(lives.registry()).unwrap().len();
        limit(&running, &(length * round).to_string()).await;
        // Until it is noticed, what is answered 202 is kept all the same.
        let mut promised = Vec::new();
        let mut refused = None;
        for at in 0..6_000 {
            lives.upstream.forget();
            let track_id = format!("w-{round}-{at}");
            lives
                .upstream
                .play(accepts(&json!({"requestId": format!("r-{track_id}")}).to_string()));
            let told = Raw::ask(running.address, asking(&track_id)).await;
            if told.status == 202 {
                promised.push(track_id);
                continue;
            }
            refused = Some(told);
            break;
        }
        let told = refused.expect("the disk is full");
        assert_eq!(told.status, 503, "{told:?}");
        assert_eq!(told.field("zuora-gateway-error"), Some("async-unavailable"), "{told:?}");
        let json = json_of(&told);
        assert_eq!(json["reasons"][0]["code"], 50_000_061, "{json}");
        // Nothing was sent, or Zuora has it and the app is told so.
        match told.field("zuora-gateway-executed") {
            Some("no") => {
                assert_eq!(lives.upstream.lines(), Vec::<String>::new());
            }
            other => panic!("{other:?} executed: {told:?}"),
        }
        // A callout comes again.
        let unstored = deliver(running.address, "n-1", &succeeded("r-0", "before", "x")).await;
        assert_eq!(unstored.status, 503, "{unstored:?}");
        // Everything else goes on.
        lives.upstream.forget();
        assert_eq!(Raw::ask(running.address, get("/v1/accounts/A1", "")).await.status, 200);
        assert_eq!(
            Raw::ask(running.address, write("POST", "/v1/accounts", "", BODY)).await.status,
            200
        );
        assert_eq!(lives.upstream.lines().len(), 2);
        let metrics = crate::caller::look(running.admin, "/metrics").await.text();
        assert!(metric(&metrics, "async_registry_errors_total", &[]) > 0.0);

        // And by itself it gets well.
        limit(&running, "unlimited").await;
        let mut at = 0;
        until(
            "well",
            Duration::from_secs(30),
            async || {
                at += 1;
                lives.upstream.forget();
                lives.upstream.play(accepts("{\"requestId\":\"r-well\"}"));
                sleep(Duration::from_millis(50)).await;
                Raw::ask(running.address, asking(&format!("well-{round}-{at}"))).await
            },
            |it| it.status == 202,
        )
        .await;
        for track_id in promised {
            let told =
                look(running.address, &format!("/_gateway/async-requests/{track_id}"), SECRET)
                    .await;
            assert_eq!(told.status, 202, "{track_id}: {told:?}");
        }
    }
    assert_eq!(deliver(running.address, "n-1", &succeeded("r-0", "before", "x")).await.status, 200);
    kill(running).await;
    let next = lives.begin().await;
    assert_eq!(json_of(&look(next.address, &before, SECRET).await)["id"], "x");
    next.stop().await;
}

#[tokio::test]
async fn a_file_that_is_damaged_is_put_aside_and_said() {
    let lives = Lives::new(&yaml("", "")).await;
    let first = lives.begin().await;
    lives.accepted(&first, "t-1", "r-1").await;
    kill(first).await;
    let file = lives.registry();
    let mut bytes = std::fs::read(&file).unwrap();
    for byte in bytes.iter_mut().take(4096) {
        *byte ^= 0x5a;
    }
    std::fs::write(&file, bytes).unwrap();

    let second = lives.begin().await;
    lives.accepted(&second, "t-2", "r-2").await;
    let told = look(second.address, "/_gateway/async-requests/t-2", SECRET).await;
    assert_eq!(told.status, 202, "{told:?}");
    let aside = std::fs::read_dir(file.parent().unwrap()).unwrap();
    let aside: Vec<_> = aside.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert!(aside.iter().any(|it| it.contains("damaged")), "{aside:?}");
    let ended = second.stop().await;
    assert_eq!(ended.status.code(), Some(0));
    let alarms: Vec<_> = ended
        .lines
        .iter()
        .filter(|it| {
            it.contains("damaged") && (it.contains("\"WARN\"") || it.contains("\"ERROR\""))
        })
        .collect();
    assert!(!alarms.is_empty(), "{:#?}", ended.lines);
}

/// Neither passwords nor what Zuora said of a request are in anything that an operator sees.
#[tokio::test]
async fn the_most_verbose_log_tells_no_secret() {
    let tenant = vec![key("", ", reconcile_after: 1s, unknown_after: 3s")];
    for level in ["debug", "trace"] {
        let yaml = Yaml {
            tenant: tenant.clone(),
            top: vec![format!("log: {{level: {level}}}")],
            ..yaml("", "")
        };
        let lives = Lives::new(&yaml).await;
        let running = lives.begin().await;
        lives.accepted(&running, "t-1", "r-1").await;
        lives.accepted(&running, "t-2", "r-2").await;
        lives.accepted(&running, "t-3", "r-3").await;
        let private = "what-zuora-says-in-confidence";
        let bad = failed("r-1", "t-1", private);
        assert_eq!(deliver(running.address, "n-1", &bad).await.status, 200);
        assert_eq!(
            deliver(running.address, "n-2", &succeeded("r-2", "t-2", private)).await.status,
            200
        );
        assert_eq!(
            deliver(running.address, "n-3", &succeeded("r-9", "t-9", private)).await.status,
            200
        );
        assert_eq!(
            deliver(running.address, "n-4", &format!("{{\"x\":{private:?}")).await.status,
            400
        );
        let wrong = [
            basic(USER, "a-wrong-password-of-nobody"),
            basic("nobody-at-all", PASSWORD),
            format!("Authorization: Bearer {PASSWORD}\r\n"),
        ];
        for fields in &wrong {
            assert_eq!(
                Raw::ask(running.address, callout("production", fields, "n", &bad)).await.status,
                401
            );
        }
        // The last of them is given up.
        let unknown = async || look(running.address, "/_gateway/async-requests/t-3", SECRET).await;
        until("given up", Duration::from_secs(15), unknown, |it| it.status == 200).await;
        let seen = [
            crate::caller::look(running.admin, "/metrics").await.text(),
            crate::caller::look(running.admin, "/api/state").await.text(),
        ];
        let ended = running.stop().await;
        let everything = format!("{} {} {}", seen.join("\n"), ended.lines.join("\n"), ended.errors);
        let lines = ended.lines.iter().filter_map(|it| serde_json::from_str::<Value>(it).ok());
        let mut warnings = lines.filter(|it| it["level"] == "WARN");
        assert!(warnings.any(|it| it["track_id"] == "t-3"), "what is unknown is told by name");
        let coded = |fields: &str| fields.trim_end().rsplit(' ').next().unwrap().to_owned();
        let secrets = [
            SECRET.to_owned(),
            PASSWORD.to_owned(),
            private.to_owned(),
            "a-wrong-password-of-nobody".to_owned(),
            coded(&basic(USER, PASSWORD)),
            coded(&wrong[0]),
            "the-secret-of-the-gateway".to_owned(),
            crate::wire::upstream::SHARED_TOKEN.to_owned(),
            BODY[..20].to_owned(),
        ];
        for secret in secrets {
            let told = everything.lines().find(|line| line.contains(&secret));
            assert_eq!(told, None, "`{secret}` at {level}");
        }
    }
}
