//! Callers that leave. One that waits leaves no trace; the work of one whose call was sent goes on at Zuora, and its
//! permit with it.

use std::time::Duration;

use emulator::{Options, ServiceTime};
use testkit::{House, Raw, Yaml};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::attack::{get, post, request, soon};

/// How long the tenant works on a call.
const WORK: Duration = Duration::from_millis(250);

/// How a caller leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    /// It closes its connection.
    ByFin,
    /// Its connection is reset.
    ByRst,
    /// It says that it will send no more, which a caller that waits for its answer does not.
    Halfway,
}

const WAYS: [Leaves; 3] = [Leaves::ByFin, Leaves::ByRst, Leaves::Halfway];

/// A tenant that does one call of the default limit type at a time, and takes its time.
async fn house() -> House {
    let options = Options { service_time: ServiceTime::Constant(WORK), ..Options::default() };
    let tenant = vec!["concurrency: {headroom: 0, limits: {Default: 1}}".to_owned()];
    House::start(options, &Yaml { tenant, ..Yaml::default() }).await
}

async fn caller(house: &House, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut caller = TcpStream::connect(house.address()).await.unwrap();
    caller.write_all(bytes.as_ref()).await.unwrap();
    caller
}

/// Returns what is left of the caller, if anything.
async fn leave(mut caller: TcpStream, way: Leaves) -> Option<TcpStream> {
    match way {
        Leaves::ByFin => None,
        Leaves::ByRst => {
            caller.set_zero_linger().unwrap();
            None
        }
        Leaves::Halfway => {
            caller.shutdown().await.unwrap();
            Some(caller)
        }
    }
}

fn queued_and_in_use(house: &House) -> (usize, u32) {
    let snapshot = house.gateway.admissions()[0].1.snapshot();
    (snapshot.queued, snapshot.in_use)
}

#[tokio::test]
async fn a_caller_that_leaves_the_queue_leaves_no_trace() {
    let house = house().await;
    for way in WAYS {
        house.tenant.reset();
        let mut first = Raw::connect(house.address()).await;
        first.write(get("/v1/accounts/A00000001", "")).await;
        soon("the first is in flight", || queued_and_in_use(&house) == (0, 1)).await;
        let waiting = [
            caller(&house, get("/v1/accounts/A00000002", "")).await,
            caller(&house, request("DELETE", "/v1/accounts/A00000003", "", "")).await,
        ];
        soon("two wait", || queued_and_in_use(&house) == (2, 1)).await;

        let mut left = Vec::new();
        for caller in waiting {
            left.push(leave(caller, way).await);
        }

        soon("nobody waits", || queued_and_in_use(&house) == (0, 1)).await;
        assert_eq!(house.tenant.counters().executed_total, 0, "{way:?}: it took too long");
        assert_eq!(first.answer().await.status, 200, "{way:?}");
        let ledger = house.tenant.ledger();
        assert_eq!(ledger.executed_total, 1, "{way:?}: {ledger:?}");
        assert_eq!(queued_and_in_use(&house), (0, 0), "{way:?}");
    }
}

#[tokio::test]
async fn the_permit_of_a_caller_that_left_stays_out_while_zuora_works() {
    let house = house().await;
    let body = r#"{"name":"x"}"#;
    let calls = [
        ("a read", get("/v1/accounts/A00000001", "")),
        ("a write", request("DELETE", "/v1/accounts/A00000004", "", "")),
        (
            "a write with a body",
            request(
                "PUT",
                "/v1/accounts/A00000005",
                "Content-Type: application/json\r\nContent-Length: 12\r\n",
                body,
            ),
        ),
    ];
    for (name, call) in calls {
        for way in WAYS {
            house.tenant.reset();
            let gone = caller(&house, &call).await;
            soon("Zuora works", || house.tenant.counters().in_flight.values().sum::<u32>() == 1)
                .await;
            let _left = leave(gone, way).await;

            // Somebody else wants the permit all the time.
            let mut next = Raw::connect(house.address()).await;
            next.write(get("/v1/accounts/A00000002", "")).await;
            soon("the next waits", || queued_and_in_use(&house) == (1, 1)).await;
            assert_eq!(house.tenant.counters().executed_total, 0, "{name}, {way:?}");
            assert_eq!(next.answer().await.status, 200, "{name}, {way:?}");

            let ledger = house.tenant.ledger();
            assert_eq!(ledger.executed_total, 2, "{name}, {way:?}: {:?}", ledger.executed);
            assert_eq!(ledger.refused_concurrency, 0, "{name}, {way:?}: let in too early");
            assert!(ledger.most_in_flight.values().all(|most| *most <= 1), "{name}, {way:?}");
            soon("all is over", || queued_and_in_use(&house) == (0, 0)).await;
        }
    }
}

#[tokio::test]
async fn a_caller_that_leaves_within_its_body_was_never_there() {
    let house = house().await;
    // Short enough to be kept, and too long for that.
    for length in [1000, 3 << 20] {
        for way in WAYS {
            house.tenant.reset();
            let fields = format!("Content-Length: {length}\r\n");
            let half = "x".repeat(length / 2);
            let gone = caller(&house, post(&fields, &half)).await;
            let held = || queued_and_in_use(&house).1 == 1;
            if length > 1 << 20 {
                soon("the body flows", held).await;
            }

            let _left = leave(gone, way).await;

            soon("all is over", || queued_and_in_use(&house) == (0, 0)).await;
            let kept = || house.gateway.admissions()[0].1.snapshot().kept_bytes;
            soon("nothing is kept", || kept() == 0).await;
            assert_eq!(house.tenant.counters().executed_total, 0, "{length}, {way:?}");
            let next = Raw::ask(house.address(), get("/v1/accounts/A00000001", "")).await;
            assert_eq!(next.status, 200, "{length}, {way:?}");
        }
    }
}

#[tokio::test]
async fn callers_that_come_and_go_never_make_it_too_many() {
    let options = Options {
        service_time: ServiceTime::Constant(Duration::from_millis(30)),
        enforce_limits: false,
        ..Options::default()
    };
    let tenant = vec!["concurrency: {headroom: 0, limits: {Default: 3}}".to_owned()];
    let house = House::start(options, &Yaml { tenant, ..Yaml::default() }).await;
    let mut callers = Vec::new();
    for turn in 0..90_usize {
        callers.push(caller(&house, get("/v1/accounts/A00000001", "")).await);
        if turn % 3 == 2 {
            let gone = callers.remove(turn % callers.len());
            leave(gone, WAYS[turn % 2]).await;
        }
        if turn % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    soon("all is over", || queued_and_in_use(&house) == (0, 0)).await;

    let ledger = house.tenant.ledger();
    assert_eq!(ledger.most_in_flight["Default"], 3, "full, and never fuller");
    assert!(ledger.executed_total >= 60, "who stayed was served: {}", ledger.executed_total);
}
