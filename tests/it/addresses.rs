//! Several tenants behind one gateway: which one a call means, by its host and by what stands before its path. The
//! judges are two tenants of sockets, of which one must hear nothing.

use testkit::{House, Raw, SECRET, Yaml};

use crate::wire::attack::{Exchange, get};
use crate::wire::upstream::{Play, RawUpstream};

const BOTH: &str = "the-secret-of-the-app-of-both";
const ONE: &str = "the-secret-of-the-app-of-sandbox";

/// `app` is of production, `both` of production and sandbox, `one` of sandbox only.
struct Stage {
    house: House,
    production: RawUpstream,
    sandbox: RawUpstream,
}

/// Which tenants heard a call, with the targets that they heard.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    status: u16,
    production: Vec<String>,
    sandbox: Vec<String>,
}

impl Stage {
    async fn start(keys_of_sandbox: &str, listen: &[&str]) -> Self {
        Self::start_with(keys_of_sandbox, None, listen).await
    }

    async fn start_with(
        keys_of_sandbox: &str,
        key_of_production: Option<&str>,
        listen: &[&str],
    ) -> Self {
        let (production, sandbox) = (RawUpstream::start().await, RawUpstream::start().await);
        let policy = r#"allow: ["GET /v1/accounts/**"]"#;
        let both = format!(
            "tenant: [production, sandbox], client_id: 11111111-2222-4333-8444-555555555555, secret: {BOTH}, {policy}"
        );
        let one = format!(
            "tenant: sandbox, client_id: 22222222-2222-4333-8444-555555555555, secret: {ONE}, {policy}"
        );
        let yaml = Yaml {
            listen: listen.iter().map(|it| (*it).to_owned()).collect(),
            tenants: vec![(
                "sandbox".to_owned(),
                format!("base_url: \"{}\", {keys_of_sandbox}", sandbox.url()),
            )],
            tenant: key_of_production.map(str::to_owned).into_iter().collect(),
            app: vec![policy.to_owned()],
            apps: vec![("both".to_owned(), both), ("one".to_owned(), one)],
            ..Yaml::default()
        };
        let unused = emulator::Tenant::start(emulator::Options::default()).await.unwrap();
        let house = House::before(unused, &production.url(), &yaml).await;
        Self { house, production, sandbox }
    }

    async fn ask(&self, secret: &str, target: &str, host: &str) -> Heard {
        self.production.forget();
        self.sandbox.forget();
        let asked = get(target, "")
            .replace(SECRET, secret)
            .replace("Host: gw\r\n", &format!("Host: {host}\r\n"));
        let mut raw = Raw::connect(self.house.address()).await;
        raw.write(asked).await;
        let status = Exchange::read(target, raw).await.answer.status;
        let targets = |upstream: &RawUpstream| {
            let lines = upstream.lines();
            lines.iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
        };
        Heard { status, production: targets(&self.production), sandbox: targets(&self.sandbox) }
    }

    async fn reaches_production(&self, secret: &str, target: &str, host: &str, as_sent: &str) {
        let expected =
            Heard { status: 200, production: vec![as_sent.to_owned()], sandbox: Vec::new() };
        assert_eq!(self.ask(secret, target, host).await, expected, "{secret} {target} {host}");
    }

    async fn reaches_sandbox(&self, secret: &str, target: &str, host: &str, as_sent: &str) {
        let expected =
            Heard { status: 200, production: Vec::new(), sandbox: vec![as_sent.to_owned()] };
        assert_eq!(self.ask(secret, target, host).await, expected, "{secret} {target} {host}");
    }

    /// Refused, and heard by nobody.
    async fn reaches_nobody(&self, secret: &str, target: &str, host: &str) {
        let heard = self.ask(secret, target, host).await;
        assert!(matches!(heard.status, 400 | 403 | 404), "{secret} {target} {host}: {heard:?}");
        assert!(
            heard.production.is_empty() && heard.sandbox.is_empty(),
            "{secret} {target} {host}: {heard:?}"
        );
    }
}

#[tokio::test]
async fn a_prefix_chooses_the_tenant_and_is_not_sent() {
    let stage = Stage::start("path_prefix: /sandbox", &[]).await;

    stage.reaches_production(BOTH, "/v1/accounts/A1", "gw", "/v1/accounts/A1").await;
    stage.reaches_sandbox(BOTH, "/sandbox/v1/accounts/A1", "gw", "/v1/accounts/A1").await;
    stage
        .reaches_sandbox(BOTH, "/sandbox/v1/accounts/A%2F1?a=/x", "gw", "/v1/accounts/A%2F1?a=/x")
        .await;
    stage.reaches_sandbox(BOTH, "http://gw/sandbox/v1/accounts/A1", "gw", "/v1/accounts/A1").await;
    stage.reaches_sandbox(ONE, "/v1/accounts/A1", "gw", "/v1/accounts/A1").await;
    stage.reaches_sandbox(ONE, "/sandbox/v1/accounts/A1", "gw", "/v1/accounts/A1").await;
}

#[tokio::test]
async fn a_prefix_is_no_way_around_policy() {
    let stage = Stage::start("path_prefix: /sandbox", &[]).await;
    let targets = [
        "/sandbox/v1/payments",
        "/sandbox/sandbox/v1/accounts/A1",
        "/sandbox",
        "/sandbox/",
        "/sandbox?x",
        "/sandboxv1/accounts/A1",
        "/sandbox//v1/payments",
        "/sandbox/../v1/accounts/A1",
        "/v1/accounts/../../sandbox/v1/accounts/A1",
        "/sandbox/%2e%2e/v1/accounts/A1",
        "/sandbox/v1/accounts/../payments",
        "/Sandbox/v1/accounts/A1",
        "/SANDBOX/v1/accounts/A1",
        "/%73andbox/v1/accounts/A1",
        "/sandbox%2fv1/accounts/A1",
        "/sandbox;x/v1/accounts/A1",
        "//sandbox/v1/accounts/A1",
        "/./sandbox/v1/accounts/A1",
        "/sandboxx/v1/accounts/A1",
        "/sandbo/v1/accounts/A1",
        "/sandbox\\v1/accounts/A1",
    ];
    for target in targets {
        for secret in [SECRET, BOTH, ONE] {
            stage.reaches_nobody(secret, target, "gw").await;
        }
    }
    // Whoever is of one tenant only does not get to the other.
    stage.reaches_nobody(SECRET, "/sandbox/v1/accounts/A1", "gw").await;
}

#[tokio::test]
async fn a_host_chooses_the_tenant() {
    let stage = Stage::start("hosts: [sandbox.example.com]", &[]).await;
    let (path, host) = ("/v1/accounts/A1", "sandbox.example.com");

    stage.reaches_production(BOTH, path, "gw", path).await;
    for host in [host, "SANDBOX.example.com", "sandbox.example.com:8443"] {
        stage.reaches_sandbox(BOTH, path, host, path).await;
        stage.reaches_nobody(SECRET, path, host).await;
    }
    stage.reaches_sandbox(BOTH, "http://sandbox.example.com/v1/accounts/A1", host, path).await;
    for other in ["xsandbox.example.com", "sandbox.example.com.evil.example", "example.com"] {
        stage.reaches_production(BOTH, path, other, path).await;
    }
    // Who means one by the host and another by the prefix means neither.
    let keys = "hosts: [sandbox.example.com], path_prefix: /sandbox";
    let both = Stage::start_with(keys, Some("hosts: [production.example.com]"), &[]).await;
    let prefixed = "/sandbox/v1/accounts/A1";
    both.reaches_sandbox(BOTH, prefixed, "gw", path).await;
    both.reaches_sandbox(BOTH, prefixed, "sandbox.example.com", path).await;
    both.reaches_production(BOTH, path, "production.example.com", path).await;
    both.reaches_nobody(BOTH, prefixed, "production.example.com").await;
    both.reaches_nobody(ONE, prefixed, "production.example.com").await;
    // A target that names one host and a field that names another can be read in two ways.
    stage.reaches_nobody(BOTH, "http://sandbox.example.com/v1/accounts/A1", "gw").await;
    stage.reaches_nobody(BOTH, "http://gw/v1/accounts/A1", host).await;
}

#[tokio::test]
async fn links_lead_back_by_the_same_road() {
    let body = |url: &str| format!(r#"{{"nextPage":"{url}/v1/accounts/A1?page=2"}}"#);
    let played = |stage: &Stage| {
        let body = body(&stage.sandbox.url());
        let length = body.len();
        Play::send(format!(
            "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nLocation: /v1/async-jobs/1\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    };
    for (listen, base) in [
        (&[][..], "http://gw"),
        (&["public_url: https://gateway.example.com:8443"], "https://gateway.example.com:8443"),
    ] {
        let stage = Stage::start("path_prefix: /sandbox", listen).await;
        for (target, prefix) in [("/v1/accounts/A1", ""), ("/sandbox/v1/accounts/A1", "/sandbox")] {
            stage.sandbox.forget();
            stage.sandbox.play(played(&stage));
            let asked = get(target, "").replace(SECRET, ONE);
            let answer = Raw::ask(stage.house.address(), asked).await;
            assert_eq!(answer.text(), body(&format!("{base}{prefix}")), "{target}");
            let location = answer.field("location").unwrap();
            assert_eq!(location, format!("{prefix}/v1/async-jobs/1"), "{target}");
        }
    }
}

#[tokio::test]
async fn what_is_answered_here_is_answered_below_a_prefix_too() {
    let stage = Stage::start("path_prefix: /sandbox", &[]).await;
    let form = format!(
        "grant_type=client_credentials&client_id=22222222-2222-4333-8444-555555555555&client_secret={ONE}"
    );
    let length = form.len();
    let asked = format!(
        "POST /sandbox/oauth/token HTTP/1.1\r\nHost: gw\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    );

    let granted = Raw::ask(stage.house.address(), asked).await;

    assert_eq!(granted.status, 200, "{granted:?}");
    let asked = format!(
        "POST /sandbox/v1/connections HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {ONE}\r\nContent-Length: 0\r\n\r\n"
    );
    let connected = Raw::ask(stage.house.address(), asked).await;
    assert_eq!(connected.status, 200, "{connected:?}");
    assert!(
        connected.field("set-cookie").is_some_and(|it| it.starts_with("ZSession=")),
        "{connected:?}"
    );
    assert!(stage.sandbox.received().is_empty() && stage.production.received().is_empty());
}
