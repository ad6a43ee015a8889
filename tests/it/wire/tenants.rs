//! Several tenants behind one gateway, and their entities: who is meant, who may be, and what each of them gets to see.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use testkit::{SECRET, Yaml};

use super::attack::{Scene, get, request};
use super::upstream::RawUpstream;

const FIRST: &str = "2c92c0f8-3720-4b6c-9d57-0a1b2c3d4e5f";
const SECOND: &str = "402880e4-9d1f-4c39-8a11-5f6e7d8c9b0a";

/// Two tenants, of which the second is meant by host and by prefix. The app calls both, and has these keys besides.
async fn two_tenants(app: &[&str]) -> (Scene, RawUpstream) {
    let sandbox = RawUpstream::start().await;
    let keys =
        format!("base_url: {}, hosts: [sandbox.example.com], path_prefix: /sandbox", sandbox.url());
    let yaml = Yaml {
        tenant: vec!["hosts: [production.example.com]".to_owned()],
        tenants: vec![("sandbox".to_owned(), keys)],
        app: ["tenant: [production, sandbox]"].iter().chain(app).map(ToString::to_string).collect(),
        apps: vec![(
            "narrow".to_owned(),
            "client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d, secret: narrow-secret".to_owned(),
        )],
        ..Yaml::default()
    };
    (Scene::with(&yaml).await, sandbox)
}

fn get_at(host: &str, target: &str, secret: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\n\r\n")
}

#[tokio::test]
async fn host_and_prefix_choose_the_tenant_and_nothing_else_does() {
    let (scene, sandbox) = two_tenants(&[]).await;

    for (host, target, sent) in [
        ("sandbox.example.com:8080", "/v1/a?b=/sandbox/c", "GET /v1/a?b=/sandbox/c HTTP/1.1"),
        ("gw", "/sandbox/v1/a%2Fb?c", "GET /v1/a%2Fb?c HTTP/1.1"),
        ("gw", "/sandbox", "GET / HTTP/1.1"),
        ("sandbox.example.com", "/sandbox//v1/a", "GET //v1/a HTTP/1.1"),
        ("gw", "http://gw/sandbox/v1/a", "GET /v1/a HTTP/1.1"),
    ] {
        scene.upstream.forget();
        sandbox.forget();
        let answer = scene.exchange(target, get_at(host, target, SECRET)).await.answer;
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        assert_eq!(sandbox.lines(), [sent], "{target}");
        let told = sandbox.requests()[0].fields("host");
        assert_eq!(told, [sandbox.address().to_string()], "{target}: the host is the tenant's");
        assert!(scene.upstream.lines().is_empty(), "{target}");
    }
    for (host, target) in [
        ("gw", "/v1/a"),
        ("production.example.com", "/v1/a"),
        ("sandbox.example.com.evil", "/v1/a"),
        ("gw", "/Sandbox/v1/a"),
        ("gw", "/%73andbox/v1/a"),
        ("gw", "//sandbox/v1/a"),
        ("gw", "/sandboxes/v1/a"),
    ] {
        scene.upstream.forget();
        sandbox.forget();
        scene.exchange(target, get_at(host, target, SECRET)).await;
        assert_eq!(scene.upstream.lines(), [format!("GET {target} HTTP/1.1")], "{host}");
        assert!(sandbox.lines().is_empty(), "{host} {target}");
    }
}

#[tokio::test]
async fn an_app_cannot_mean_a_tenant_that_is_not_its_own() {
    let (scene, sandbox) = two_tenants(&[]).await;

    for (host, target) in [("sandbox.example.com", "/v1/a"), ("gw", "/sandbox/v1/a")] {
        let answer = scene.exchange(target, get_at(host, target, "narrow-secret")).await.answer;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(answer.field("zuora-gateway-error"), Some("forbidden"));
    }
    let both = get_at("production.example.com", "/sandbox/v1/a", SECRET);
    let answer = scene.exchange("two at once", both).await.answer;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(sandbox.lines().is_empty() && scene.upstream.lines().is_empty());

    let own = get_at("gw", "/v1/a", "narrow-secret");
    assert_eq!(scene.exchange("its own", own).await.answer.status, 200);
}

#[tokio::test]
async fn who_am_i_is_answered_for_the_tenant_that_is_meant() {
    let (scene, _sandbox) = two_tenants(&["read_only: true"]).await;

    for (host, prefix, tenant) in [
        ("gw:1", "", "production"),
        ("gw:1", "/sandbox", "sandbox"),
        ("sandbox.example.com", "", "sandbox"),
    ] {
        let target = format!("{prefix}/_gateway/whoami");
        let answer = scene.exchange(&target, get_at(host, &target, SECRET)).await.answer;
        let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(told["tenant"], tenant);
        assert_eq!(told["base_url"], format!("http://{host}{prefix}"));
        assert_eq!((&told["read_only"], &told["app"]), (&true.into(), &"app".into()));
    }
}

/// Whatever stands in a path, what is sent to either tenant is what the app may call there.
#[tokio::test]
async fn behind_a_prefix_policy_judges_what_is_sent() {
    const PIECES: [&str; 24] = [
        "/sandbox",
        "/sandbox",
        "/%73andbox",
        "/v1",
        "/v1",
        "/accounts",
        "/accounts",
        "/payments",
        "/secret",
        "/..",
        "/%2e%2e",
        "/.;x",
        "//",
        "/",
        ";x",
        "%2F",
        "%2f..",
        "/rest",
        "/async",
        "/A1",
        "?x=/sandbox",
        "/V1",
        "%5c",
        "/v1/accounts",
    ];
    let app = [r#"allow: ["GET /v1/accounts/**"]"#, r#"deny: ["* /v1/accounts/secret/**"]"#];
    let (scene, sandbox) = two_tenants(&app).await;
    let mut random = StdRng::seed_from_u64(7);
    let mut sent = [0, 0];

    for _ in 0..2_000 {
        let pieces: Vec<_> =
            (0..random.random_range(1..6)).map(|_| PIECES[random.random_range(0..24)]).collect();
        let prefix = ["", "/sandbox"][random.random_range(0..2)];
        let target = format!("{prefix}{}", pieces.concat());
        if !target.starts_with('/') {
            continue;
        }
        scene.upstream.forget();
        sandbox.forget();
        scene.exchange(&target, get_at("gw", &target, SECRET)).await;
        for (at, (upstream, prefix)) in
            [(&scene.upstream, ""), (&sandbox, "/sandbox")].iter().enumerate()
        {
            for line in upstream.lines() {
                sent[at] += 1;
                let path = line.split(' ').nth(1).unwrap();
                assert_eq!(format!("{prefix}{path}"), target, "sent as it came");
                assert!(permitted(path), "{target} was sent as {path}");
            }
        }
    }

    assert!(sent.iter().all(|sent| *sent > 10), "{sent:?} calls were sent at all");
}

/// Whether a path is one that the policy above means to permit, to the strictest of readers.
fn permitted(target: &str) -> bool {
    let path = target.split('?').next().unwrap();
    let path = path.replace("%2F", "/").replace("%2f", "/");
    let segments: Vec<_> = path.split('/').filter(|it| !it.is_empty()).collect();
    let names: Vec<_> = segments.iter().map(|it| it.split(';').next().unwrap()).collect();
    let names = names.strip_prefix(&["rest"]).unwrap_or(&names);
    !path.contains("%2e")
        && !names.contains(&"..")
        && !names.contains(&".")
        && names.starts_with(&["v1", "accounts"])
        && !names.get(2).is_some_and(|name| name.eq_ignore_ascii_case("secret"))
}

/// A tenant with two entities, and an app with these keys.
async fn two_entities(app: &[&str]) -> Scene {
    let entities = format!("entities: [{FIRST}, {{id: {SECOND}, name: Acme Deutschland}}]");
    let app = app.iter().map(ToString::to_string).collect();
    Scene::with(&Yaml { tenant: vec![entities], app, ..Yaml::default() }).await
}

#[tokio::test]
async fn a_call_that_names_no_entity_is_sent_with_the_default_one() {
    let scene = two_entities(&[]).await;

    let (_, received) = scene.ask("none", get("/v1/a", "Zuora-Org-Ids: 1,2\r\n")).await;
    assert_eq!(received.fields("zuora-entity-ids"), [FIRST]);
    assert_eq!(received.fields("zuora-org-ids"), ["1,2"], "passes as it came");
    let (_, received) =
        scene.ask("one", get("/v1/a", &format!("Zuora-Entity-Ids: {SECOND}\r\n"))).await;
    assert_eq!(received.fields("zuora-entity-ids"), [SECOND]);

    let of_one = Scene::start().await;
    let (_, received) = of_one.ask("only one", get("/v1/a", "")).await;
    assert!(received.fields("zuora-entity-ids").is_empty(), "nobody knows its id");
}

#[tokio::test]
async fn an_entity_may_be_named_as_it_was_long_ago() {
    let scene = two_entities(&[]).await;

    let (_, received) =
        scene.ask("by name", get("/v1/a", "entityName: Acme Deutschland\r\n")).await;
    assert_eq!(received.fields("entityname"), ["Acme Deutschland"]);
    assert!(received.fields("zuora-entity-ids").is_empty());
    let agreeing = format!("entityName: Acme Deutschland\r\nZuora-Entity-Ids: {SECOND}\r\n");
    scene.ask("two ways, one entity", get("/v1/a", &agreeing)).await;

    for (fields, status) in [
        ("entityName: Acme\r\n".to_owned(), 403),
        (format!("entityName: Acme Deutschland\r\nZuora-Entity-Ids: {FIRST}\r\n"), 403),
        (format!("entityName: Acme Deutschland\r\nentityId: {SECOND}\r\n"), 400),
        ("Connection: entityName\r\nentityName: Acme Deutschland\r\n".to_owned(), 400),
        ("entityName: Acme Deutschland\r\nentityName: Acme Deutschland\r\n".to_owned(), 400),
    ] {
        scene.turns_away(&fields, get("/v1/a", &fields), &[status]).await;
    }
}

#[tokio::test]
async fn an_app_is_kept_to_its_entities_and_the_first_is_its_default() {
    let scene = two_entities(&[&format!("entities: [{SECOND}]")]).await;

    let (_, received) = scene.ask("none", get("/v1/a", "")).await;
    assert_eq!(received.fields("zuora-entity-ids"), [SECOND]);
    let answer = scene.exchange("whoami", get("/_gateway/whoami", "")).await.answer;
    let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told["entities"], serde_json::json!([SECOND]));
    assert_eq!(told["default_entity"], SECOND);

    for fields in [
        format!("Zuora-Entity-Ids: {FIRST}\r\n"),
        format!("zuora-ENTITY-ids: {}\r\n", FIRST.to_uppercase()),
        format!("entityId: {}\r\n", FIRST.replace('-', "")),
        format!("Zuora-Entity-Ids: {SECOND},{FIRST}\r\n"),
        format!("Zuora-Entity-Ids: {SECOND}\r\nentityId: {}\r\n", FIRST.replace('-', "")),
    ] {
        scene.turns_away(&fields, get("/v1/a", &fields), &[400, 403]).await;
    }
}

#[tokio::test]
async fn an_app_that_only_reads_changes_nothing() {
    let scene = Scene::with(&Yaml { app: vec!["read_only: true".into()], ..Yaml::default() }).await;

    let json = "Content-Type: application/json\r\nContent-Length: 2\r\n";
    for (method, target) in [
        ("GET", "/v1/accounts/A1"),
        ("OPTIONS", "/v1/accounts/A1"),
        ("POST", "/v1/action/query"),
        ("POST", "/rest/v1/action/queryMore"),
    ] {
        let (fields, body) = if method == "POST" { (json, "{}") } else { ("", "") };
        scene.ask(target, request(method, target, fields, body)).await;
    }
    for (method, target) in [
        ("POST", "/v1/accounts"),
        ("PUT", "/v1/accounts/A1"),
        ("DELETE", "/v1/accounts/A1"),
        ("PATCH", "/v1/accounts/A1"),
        ("POST", "/v1/action/update"),
        ("POST", "/v1/action/query%2Fx"),
        ("POST", "/v1/action/queryMore;x"),
        ("POST", "/v1/async/action/query"),
        ("PUT", "/v1/action/query"),
        ("POST", "/v1/unknown"),
        ("GET", "/apps/services/a/91.0"),
    ] {
        let fields = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
        scene.turns_away(target, request(method, target, fields, ""), &[403, 404, 400]).await;
    }
}

#[tokio::test]
async fn an_operation_is_denied_by_its_id_in_every_spelling() {
    let deny = "deny: [operation DELETE_Account, operation PUT_CancelSubscription]";
    let scene = Scene::with(&Yaml { app: vec![deny.into()], ..Yaml::default() }).await;

    for (method, target) in [
        ("DELETE", "/v1/accounts/A1"),
        ("DELETE", "/rest/v1/accounts/A1"),
        ("DELETE", "/V1/Accounts/A1"),
        ("DELETE", "//v1/accounts//A1/"),
        ("DELETE", "/v1/accounts;x/A1"),
        ("DELETE", "/v1%2Faccounts/A1"),
        ("PUT", "/v1/subscriptions/A-S1/cancel"),
        ("PUT", "/v1/async/subscriptions/A-S1/cancel"),
        ("PUT", "/v1/subscriptions/A-S1/%63ancel"),
    ] {
        scene
            .turns_away(target, request(method, target, "Content-Length: 0\r\n", ""), &[403])
            .await;
    }
    for (method, target) in [
        ("PUT", "/v1/accounts/A1"),
        ("PUT", "/v1/subscriptions/A-S1/suspend"),
        ("DELETE", "/v1/orders/O-1"),
    ] {
        scene.ask(target, request(method, target, "Content-Length: 0\r\n", "")).await;
    }
}
