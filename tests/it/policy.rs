//! What an app may call, on ten thousand random calls of it: the gateway and a second reading of its documents, which
//! shares no code with it, must come to the same. The judge is the tenant, which keeps every byte that reaches it.

mod calls;
mod entries;
mod model;
mod recorder;

use testkit::{House, SECRET, Yaml};

use self::calls::Random;
use self::model::{Expected, expected};
use self::recorder::{Caller, Recorder};

/// Apps, each with rules of its own; and calls of each.
const APPS: usize = 64;
const CALLS: usize = 160;

#[tokio::test]
async fn ten_thousand_random_calls_are_judged_as_the_documents_say() {
    let seed = std::env::var_os("POLICY_SEED").and_then(|seed| seed.to_str()?.parse().ok());
    let mut random = Random(seed.unwrap_or(17));
    let rules: Vec<_> = (0..APPS).map(|_| random.rules()).collect();
    let recorder = Recorder::start().await;
    let house = house(&recorder.url(), &rules).await;
    let mut counts = [0; 3];

    for (app, rules) in rules.iter().enumerate() {
        let mut caller = Caller::connect(house.address(), &secret(app)).await;
        for _ in 0..CALLS {
            let (method, target) = (random.method(), random.target());
            let status = caller.ask(method, &target).await;
            let arrived = recorder.take();
            let what = format!("{method} {target} gave {status}, {rules:?}, arrived {arrived:?}");
            let expected = expected(rules, method, &target);
            counts[expected as usize] += 1;
            match expected {
                Expected::Passes => {
                    assert_eq!(status, 200, "{what}");
                    assert_eq!(arrived, [format!("{method} {target} HTTP/1.1")], "{what}");
                }
                Expected::Forbidden => {
                    assert!(status == 403 && arrived.is_empty(), "forbidden: {what}");
                }
                Expected::Deceives => {
                    assert!(matches!(status, 400 | 403) && arrived.is_empty(), "deceives: {what}");
                }
            }
        }
    }

    // A judge that says the same to everything proves nothing.
    assert!(counts.iter().all(|count| *count > 1_000), "{counts:?}");
}

/// A gateway with an app for each of `rules`.
async fn house(url: &str, rules: &[model::Rules]) -> House {
    let app = |(at, rules): (usize, &model::Rules)| {
        let keys = format!(
            "client_id: 00000000-0000-4000-8000-{at:012}, secret: {}, allow: {:?}, deny: {:?}",
            secret(at),
            rules.allow,
            rules.deny
        );
        (format!("app{at}"), keys.replace(", allow: []", ""))
    };
    let apps = rules.iter().enumerate().map(app).collect();
    let tenant = emulator::Tenant::start(emulator::Options::default()).await.unwrap();
    House::before(tenant, url, &Yaml { apps, ..Yaml::default() }).await
}

fn secret(app: usize) -> String {
    format!("{SECRET}-{app}")
}
