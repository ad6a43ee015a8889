//! The commands and their exit codes: 0 good, 1 cannot be done, 2 wrong usage.

use emulator::{Options, Tenant};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Program, Raw, Yaml};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::running::{Output, run};

/// A configuration file, and the directory that it lives in.
fn file(text: &str) -> (TempDir, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gw.yaml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

fn good() -> (TempDir, String) {
    let state = TempDir::new().unwrap();
    let yaml = Yaml { app: vec![r#"deny: ["DELETE /**"]"#.to_owned()], ..Yaml::default() };
    file(&yaml.text("https://rest.zuora.com", state.path()))
}

#[track_caller]
fn assert_ended(output: &Output, code: i32) {
    assert_eq!(output.code, Some(code), "{output:?}");
}

#[tokio::test]
async fn check_says_what_a_good_file_means() {
    let (_directory, path) = good();

    let output = run(&["check", "--config", &path]).await;

    assert_ended(&output, 0);
    assert!(output.out.starts_with(&format!("{path}: good\n")), "{output:?}");
    assert!(output.out.contains("Object Query 80"), "{output:?}");
}

#[tokio::test]
async fn check_shows_which_limits_are_only_counted_and_which_nothing_is_known_to_use() {
    let limits = "{Default: {enforce: false}, Billing Engine: 10}";
    let tenant = vec![format!("concurrency: {{limits: {limits}}}")];
    let yaml = Yaml { tenant, ..Yaml::default() };
    let state = TempDir::new().unwrap();
    let (_directory, path) = file(&yaml.text("https://rest.zuora.com", state.path()));

    let output = run(&["check", "--config", &path]).await;

    assert_ended(&output, 0);
    for text in [
        "Billing Engine 10, Default 40 (not enforced), High-volume transactions 200, Object Query 80\n",
        "note: no operation is known to count against `Billing Engine`: this limit of tenant `production` holds",
    ] {
        assert!(output.out.contains(text), "no `{text}` in\n{}", output.out);
    }
    assert_eq!(output.out.matches("note:").count(), 1, "{output:?}");
}

#[tokio::test]
async fn check_shows_where_callouts_lead_and_who_may_get_a_202_unasked() {
    let state = TempDir::new().unwrap();
    let check = async |rewrite: &str| {
        let callouts = "{public_url: https://gw.example.com, username: zuora, password: word}";
        let keys = vec![format!("async: {{callouts: {callouts}, rewrite: {rewrite}}}")];
        let yaml = Yaml { tenant: keys, ..Yaml::default() };
        let (_directory, path) = file(&yaml.text("https://rest.zuora.com", state.path()));
        let output = run(&["check", "--config", &path]).await;
        assert_ended(&output, 0);
        output.out
    };

    let asked_for = check("[{when: on_request}, {when: never}]").await;
    let always = check("[{when: on_request}, {when: always}]").await;
    let waiting = check("[{when_waiting: 5s}]").await;

    let leads = "\n    callouts to https://gw.example.com/_gateway/callouts/production\n";
    let note = "note: `async.rewrite` of tenant `production` has writes answered 202";
    assert!(asked_for.contains(leads) && !asked_for.contains("note:"), "{asked_for}");
    assert!(always.contains(leads) && always.contains(note), "{always}");
    assert!(waiting.contains(note), "{waiting}");
}

#[tokio::test]
async fn check_shows_how_tenants_are_meant_and_lists_where_zuora_is() {
    let first = "402880e4-9d1f-4c39-8a11-5f6e7d8c9b0a";
    let text = |sandbox: &str| {
        Yaml {
            tenant: vec![
                "soap_url: https://www.zuora.com".to_owned(),
                format!("entities: [{{id: {first}, name: Acme}}]"),
            ],
            tenants: vec![("sandbox".into(), format!("environment: eu-api-sandbox{sandbox}"))],
            app: vec!["tenant: [production, sandbox]".into(), "read_only: true".into()],
            top: vec!["single_use: app".into()],
            ..Yaml::default()
        }
        .text("https://rest.zuora.com", "state".as_ref())
    };
    let (_directory, path) = file(&text(", hosts: [test.example.com], path_prefix: /test"));
    let (_directory, lost) = file(&text(""));

    let output = run(&["check", "--config", &path]).await;
    assert_ended(&output, 0);
    for text in [
        "tenant `sandbox` at https://rest.sandbox.eu.zuora.com:",
        "    SOAP at https://sandbox.eu.zuora.com\n",
        "    meant by host test.example.com, paths below /test\n",
        &format!("    entity {first} `Acme`, the default\n"),
        "app `app` calls `production`, `sandbox`, and only reads\n",
        "single-use signature are those of app `app`",
    ] {
        assert!(output.out.contains(text), "no `{text}` in\n{}", output.out);
    }
    assert!(!output.out.contains("warning"), "{}", output.out);
    let output = run(&["check", "--config", &lost]).await;
    assert!(output.out.contains("warning: nothing tells calls of app `app` to tenant `sandbox`"));

    let list = run(&["check", "--environments"]).await;
    assert_ended(&list, 0);
    for known in zuora::DATA_CENTRES {
        let line = list.out.lines().find(|line| line.starts_with(&format!("{} ", known.name)));
        let line = line.unwrap_or_else(|| panic!("no {} in\n{}", known.name, list.out));
        assert!(line.contains(known.base_url) && line.contains(known.soap_url), "{line}");
    }
}

#[tokio::test]
async fn check_tells_what_soap_calls_lack_and_what_crosses_the_network_in_clear() {
    let with = |soap_url: &str, credentials: &str| {
        file(&format!(
            "tenants:
  production:
    base_url: https://rest.zuora.com
    soap_url: {soap_url}
    credentials: {{{credentials}}}
apps:
  app: {{tenant: production, client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11, secret: s}}
"
        ))
    };
    let (key, login) = ("api_key: {id: i, secret: s}", "soap_login: {username: u, password: p}");
    let (_directory, formless) = with("https://www.zuora.com", key);
    let (_directory, in_clear) = with("http://soap.example.com", &format!("{key}, {login}"));
    let (_directory, here) = with("http://127.0.0.1:1", login);

    let formless = run(&["check", "--config", &formless]).await;
    assert_ended(&formless, 0);
    assert!(formless.out.contains("SOAP at https://www.zuora.com, but no SOAP calls"));
    assert!(!formless.out.contains("warning"), "{}", formless.out);
    let in_clear = run(&["check", "--config", &in_clear]).await;
    assert!(in_clear.out.contains("SOAP at http://soap.example.com\n"), "{}", in_clear.out);
    assert!(in_clear.out.contains("warning: `http://soap.example.com` is not https"));
    assert_eq!(in_clear.out.matches("warning").count(), 1, "{}", in_clear.out);
    let here = run(&["check", "--config", &here]).await;
    assert!(!here.out.contains("warning"), "{}", here.out);
}

#[tokio::test]
async fn only_authorities_say_whose_a_client_certificate_is() {
    let directory = TempDir::new().unwrap();
    let check = async |name: &str, is_ca: IsCa, usages: &[KeyUsagePurpose]| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        (params.is_ca, params.key_usages) = (is_ca, usages.to_vec());
        let key = KeyPair::generate().unwrap();
        let (pem, secret) = (directory.path().join("pem"), directory.path().join("key"));
        std::fs::write(&pem, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&secret, key.serialize_pem()).unwrap();
        let (pem, secret) = (pem.display(), secret.display());
        let tls = format!("tls: {{certificate: {pem}, key: {secret}, client_ca: {pem}}}");
        let yaml = Yaml { listen: vec![tls], ..Yaml::default() };
        let (_file, path) = file(&yaml.text("https://rest.zuora.com", "state".as_ref()));

        let output = run(&["check", "--config", &path]).await;

        let refused = format!("listen.tls: `{pem}` holds a certificate that is no authority's");
        assert_eq!(output.err.contains(&refused), output.code == Some(1), "{name}: {output:?}");
        output.code == Some(0)
    };
    let ca = || IsCa::Ca(BasicConstraints::Unconstrained);

    assert!(check("plain", ca(), &[]).await);
    assert!(check("signs", ca(), &[KeyUsagePurpose::KeyCertSign]).await);
    assert!(!check("signs other things", ca(), &[KeyUsagePurpose::DigitalSignature]).await);
    assert!(!check("an app's", IsCa::ExplicitNoCa, &[]).await);
    assert!(!check("an app's that does not say so", IsCa::NoCa, &[]).await);
}

#[tokio::test]
async fn check_tells_every_problem_at_once_with_its_place() {
    let (_directory, path) = file(
        r#"listen: {adress: "127.0.0.1:0"}
tenants:
  production:
    base_url: https://rest.zuora.com
    credentials:
      oauth: {client_id: "${NO_SUCH_VARIABLE}", client_secret: x}
    concurrency: {limits: {Default: 0}}
apps:
  storefront:
    tenant: produktion
    client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11
    secret: the-secret-of-the-app
"#,
    );

    let output = run(&["check", "--config", &path]).await;

    assert_ended(&output, 1);
    assert_eq!(output.out, "");
    let told: Vec<_> = output.err.lines().collect();
    let expected = [
        ("1:10", "did you mean `address`"),
        ("6:26", "`NO_SUCH_VARIABLE` is not set"),
        ("7:37", "from 1 to 10000, found `0`"),
        ("10:13", "did you mean `production`"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, (place, what)) in told.iter().zip(expected) {
        assert!(line.starts_with(&format!("{path}:{place}: ")), "{line}");
        assert!(line.contains(what), "{line}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_stops_every_command_that_needs_it() {
    let (_directory, broken) = file("tenants: [\n");
    for arguments in [vec!["check"], vec!["run"], vec!["explain", "GET", "/v1/accounts"]] {
        for (path, what) in [(&*broken, ":1:10: "), ("no-such-file.yaml", "no such file")] {
            let output =
                run(&[&arguments[..1], &["--config", path], &arguments[1..]].concat()).await;

            assert_ended(&output, 1);
            assert!(output.err.contains(path) && output.err.contains(what), "{output:?}");
            assert_eq!(output.out, "", "{arguments:?}");
        }
    }
}

#[tokio::test]
async fn wrong_usage_is_2() {
    let (_directory, path) = good();
    let wrong: [&[&str]; 13] = [
        &[],
        &["frobnicate"],
        &["run"],
        &["check"],
        &["run", "--config", &path, "--threads", "0"],
        &["demo", "--duration", "5"],
        &["demo", "--duration", "0s"],
        &["emulate", "--limit", "Default"],
        &["emulate", "--mishap", "explodes=0.5"],
        &["emulate", "--callouts", "http://127.0.0.1:8090/callouts"],
        &["explain", "--config", &path, "G T", "/v1"],
        &["callouts"],
        &["callouts", "register"],
    ];
    for arguments in wrong {
        let output = run(arguments).await;

        assert_ended(&output, 2);
        assert!(output.err.contains("Usage") || output.err.contains("--help"), "{output:?}");
    }
}

#[tokio::test]
async fn callouts_are_registered_once_and_shown() {
    let tenant = Tenant::start(Options::default()).await.unwrap();
    let callouts = "{public_url: https://gw.example.com, username: zuora, password: a-password}";
    let keys = vec![format!("async: {{callouts: {callouts}}}")];
    let yaml = Yaml { tenant: keys, ..Yaml::default() };
    let state = TempDir::new().unwrap();
    let (_directory, path) = file(&yaml.text(&tenant.base_url(), &state.path().join("state")));
    let ask = async |what: &str, more: &[&str]| {
        run(&[&["callouts", what, "--config", &path], more].concat()).await
    };

    let missing = ask("status", &[]).await;
    let created = ask("register", &["--tenant", "production"]).await;
    let there = ask("status", &[]).await;
    let once_more = ask("register", &[]).await;

    assert_ended(&missing, 1);
    let hint = "Async Request Failed: missing; `zuora-gateway callouts register` creates it";
    assert!(missing.out.contains(hint), "{missing:?}");
    assert_ended(&created, 0);
    assert_eq!(created.out.matches(": created (").count(), 2, "{created:?}");
    assert_ended(&there, 0);
    assert_eq!(there.out.matches("and as it should be").count(), 2, "{there:?}");
    assert_ended(&once_more, 0);
    let told: Vec<_> =
        tenant.definitions().into_iter().map(|it| (it.url, it.credentials)).collect();
    let url = "https://gw.example.com/_gateway/callouts/production".to_owned();
    let credentials = Some(("zuora".to_owned(), "a-password".to_owned()));
    assert_eq!(told, vec![(url, credentials); 2]);
    for output in [&missing, &created, &there, &once_more] {
        assert!(!output.out.contains("a-password") && output.err.is_empty(), "{output:?}");
    }
    assert!(!state.path().join("state").exists(), "it keeps nothing");

    let (_directory, path) = good();
    let none = run(&["callouts", "status", "--config", &path]).await;
    assert_ended(&none, 1);
    assert!(none.err.contains("no tenant has `async.callouts`"), "{none:?}");
}

#[tokio::test]
async fn help_is_there_for_every_command() {
    let commands =
        ["run", "check", "demo", "emulate", "explain", "callouts", "schema", "completions"];
    let overview = run(&["--help"]).await;
    assert_ended(&overview, 0);
    for command in commands {
        assert!(overview.out.contains(&format!("\n  {command} ")), "{command}");

        let help = run(&[command, "--help"]).await;

        assert_ended(&help, 0);
        assert!(help.out.contains(&format!("Usage: zuora-gateway {command}")), "{help:?}");
    }
    let version = run(&["--version"]).await;
    assert_ended(&version, 0);
    assert!(version.out.starts_with("zuora-gateway "), "{version:?}");
}

#[tokio::test]
async fn explain_says_what_would_happen_to_a_call() {
    let (_directory, path) = good();
    let calls: [(&str, &str, &[&str]); 4] = [
        ("GET", "/v1/accounts/A1", &["allowed", "Default: 40 of 40", "GET_Account"]),
        (
            "POST",
            "/v1/orders?x=1",
            &["High-volume transactions: 200 of 200", "Idempotency-Key here"],
        ),
        (
            "GET",
            "/object-query/accounts",
            &["Object Query: 80 of 80", "https://rest.zuora.com/object"],
        ),
        ("GET", "/nowhere", &["counts as `other`", "Default: 40 of 40"]),
    ];
    for (method, target, expected) in calls {
        let output = run(&["explain", "--config", &path, method, target]).await;

        assert_ended(&output, 0);
        for text in expected {
            assert!(output.out.contains(text), "{method} {target}: no `{text}` in\n{}", output.out);
        }
    }

    let nobody = run(&["explain", "--config", &path, "--app", "nobody", "GET", "/v1"]).await;
    assert_ended(&nobody, 1);
    assert!(nobody.err.contains("no app is called `nobody`; there are `app`"), "{nobody:?}");
}

#[tokio::test]
async fn explain_says_what_the_app_may_have() {
    let text = |yaml: Yaml| yaml.text("https://rest.zuora.com", "state".as_ref());
    let (_directory, plain) = file(&text(Yaml::default()));
    let (_directory, shaped) = file(&text(Yaml {
        tenant: vec![
            "concurrency: {limits: {Default: {limit: 20, enforce: false}}}".to_owned(),
            "rate: {per_hour: null, enforce: false}".to_owned(),
        ],
        app: vec![
            "priority: interactive".to_owned(),
            "weight: 4".to_owned(),
            "reserve: 5".to_owned(),
            "max_in_flight: 6".to_owned(),
            "rate: {per_second: 50, burst: 100}".to_owned(),
            "fairness_key: X-End-User".to_owned(),
        ],
        apps: vec![(
            "job".to_owned(),
            "client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d, secret: s, priority: scavenger"
                .to_owned(),
        )],
        ..Yaml::default()
    }));
    let shared = "50000 a minute, 27000000 a day with all apps together (not enforced)";
    let own = format!("rate         50 a second, 100 at once; {shared}\n");
    let shared = format!("rate         {shared}\n");
    let calls: [(&str, &str, &[&str], &[&str]); 3] = [
        (
            &plain,
            "app",
            &["share        weight 1 of 1 over all apps, priority standard\n"],
            &["\ncap ", "\nrate ", "\nusers ", "not enforced"],
        ),
        (
            &shaped,
            "app",
            &[
                "pool         Default: 18 of 20 permits, the rest is headroom (not enforced)\n",
                "share        5 permits whenever it asks for them, weight 4 of 5 over all apps, priority interactive\n",
                "cap          at most 6 of the app's calls at once, over all pools\n",
                &own,
                "users        share the app's turns alike, told apart by `x-end-user`\n",
            ],
            &[],
        ),
        (
            &shaped,
            "job",
            &[
                "share        weight 1 of 5 over all apps, priority scavenger: only what nobody else wants\n",
                &shared,
            ],
            &["\ncap ", "\nusers "],
        ),
    ];
    for (path, app, expected, absent) in calls {
        let arguments = ["explain", "--config", path, "--app", app, "GET", "/v1/accounts/A1"];

        let output = run(&arguments).await;

        assert_ended(&output, 0);
        for text in expected {
            assert!(output.out.contains(text), "no `{text}` in\n{}", output.out);
        }
        for text in absent {
            assert!(!output.out.contains(text), "`{text}` in\n{}", output.out);
        }
    }
}

#[tokio::test]
async fn explain_says_which_tenant_and_entity_a_call_is_for() {
    let (first, second) =
        ("2c92c0f8-3720-4b6c-9d57-0a1b2c3d4e5f", "402880e4-9d1f-4c39-8a11-5f6e7d8c9b0a");
    let yaml = Yaml {
        tenant: vec![format!("entities: [{first}, {second}]")],
        tenants: vec![(
            "sandbox".into(),
            "environment: eu-api-sandbox, hosts: [test.example.com], path_prefix: /test".into(),
        )],
        app: vec![
            "tenant: [production, sandbox]".into(),
            format!("entities: [{second}]"),
            "deny: [operation DELETE_Account, SOAP delete]".into(),
        ],
        apps: vec![(
            "reader".into(),
            "client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d, secret: s, read_only: true".into(),
        )],
        ..Yaml::default()
    };
    let (_directory, path) = file(&yaml.text("https://rest.zuora.com", "state".as_ref()));
    let entity = format!("entity       the one of 1 that it names, else {second}\n");
    const SOAP: &str = "/test/apps/services/a/91.0";
    let calls: [(&[&str], &[&str]); 12] = [
        (
            &["--app", "app", "GET", "/v1/accounts/A1"],
            &["tenant       production\n", "sent to      https://rest.zuora.com/v1/", &entity],
        ),
        (
            &["--app", "app", "GET", "/test/v1/accounts/A1"],
            &[
                "tenant       sandbox\n",
                "sent to      https://rest.sandbox.eu.zuora.com/v1/accounts/A1\n",
            ],
        ),
        (
            &["--app", "app", "--host", "test.example.com:8080", "GET", "/v1/accounts/A1"],
            &["tenant       sandbox\n", "GET_Account"],
        ),
        (
            &["--app", "app", "DELETE", "/test/v1/accounts/A1"],
            &["refused      with 403", "DELETE_Account"],
        ),
        (&["--app", "reader", "GET", "/test/v1/a"], &["refused      with 403: it means `sandbox`"]),
        (
            &["--app", "reader", "POST", "/v1/accounts"],
            &["refused      with 403: `read_only` permits only what is known to change nothing\n"],
        ),
        (&["--app", "reader", "POST", "/v1/action/query"], &["policy       allowed"]),
        (
            &["--app", "app", "GET", "/test/_gateway/whoami"],
            &["answered     by the gateway itself"],
        ),
        (
            &["--app", "app", "POST", "/rest/v1/connections"],
            &["by the gateway itself, with a session"],
        ),
        (
            &["--app", "app", "--soap", "query", "POST", SOAP],
            &[
                "policy       allowed",
                "sent to      https://sandbox.eu.zuora.com/apps/services/a/91.0\n",
            ],
        ),
        (
            &["--app", "app", "--soap", "delete", "POST", SOAP],
            &["refused      with 403: an entry of `deny` refuses it: `SOAP delete`\n"],
        ),
        (&["--app", "app", "POST", SOAP], &["policy       hangs on the SOAP call"]),
    ];
    for (arguments, expected) in calls {
        let output = run(&[&["explain", "--config", &path], arguments].concat()).await;

        assert_ended(&output, 0);
        for text in expected {
            assert!(output.out.contains(text), "{arguments:?}: no `{text}` in\n{}", output.out);
        }
    }
}

#[tokio::test]
async fn explain_says_when_a_call_is_not_sent() {
    let (_directory, path) = good();
    let calls: [(&str, &str, &[&str]); 9] = [
        (
            "DELETE",
            "/v1/accounts/A1",
            &[
                "refused      with 403: an entry of `deny` refuses it: `DELETE /**`",
                "DELETE_Account",
            ],
        ),
        ("GET", "/v1/../secret", &["refused      with 400"]),
        ("TRACE", "/v1/accounts/A1", &["refused      with 400: the method is none of GET, HEAD"]),
        ("CONNECT", "/v1/accounts/A1", &["refused      with 400"]),
        ("get", "/v1/accounts/A1", &["refused      with 400"]),
        ("POST", "/oauth/token", &["answered     by the gateway itself, with a token"]),
        ("GET", "/_gateway/whoami", &["answered     by the gateway itself, with who the app is"]),
        ("POST", "/_gateway/whoami", &["answered     by the gateway itself, with 404"]),
        ("GET", "/_gateway/nothing", &["answered     by the gateway itself, with 404"]),
    ];
    for (method, target, expected) in calls {
        let output = run(&["explain", "--config", &path, method, target]).await;

        assert_ended(&output, 0);
        for text in expected {
            assert!(output.out.contains(text), "{method} {target}: no `{text}` in\n{}", output.out);
        }
        for text in ["sent to", "pool", "track id"] {
            assert!(!output.out.contains(text), "{method} {target}: `{text}` in\n{}", output.out);
        }
    }
}

#[tokio::test]
async fn explain_says_what_becomes_of_calls_that_browsers_sign() {
    let browsers = "client_id: 0c8ad1a2-3a3b-4f0e-8f5e-5f0f6f1b2c3d, secret: s";
    let yaml = Yaml {
        apps: vec![("browsers".into(), browsers.into())],
        top: vec!["single_use: browsers".into()],
        ..Yaml::default()
    };
    let (_directory, path) = file(&yaml.text("https://rest.zuora.com", "state".as_ref()));
    let line = "signed       with Zuora's single-use signature, or as the preflight before one: passes as it is, without a token, key \
                or entity of the gateway's or a change of links, and is never sent again once a byte of it has left\n";

    for (app, is_told) in [("browsers", true), ("app", false)] {
        let call = ["POST", "/v1/payment-methods/credit-cards"];
        let arguments = [&["explain", "--config", &path, "--app", app][..], &call].concat();
        let output = run(&arguments).await;

        assert_ended(&output, 0);
        assert_eq!(output.out.contains(line), is_told, "{app}:\n{}", output.out);
    }
}

#[tokio::test]
async fn schema_is_json_that_names_the_keys() {
    let output = run(&["schema"]).await;

    assert_ended(&output, 0);
    let schema: Value = serde_json::from_str(&output.out).unwrap();
    for key in ["listen", "admin", "tenants", "apps", "state_dir", "log"] {
        assert!(schema["properties"][key].is_object(), "{key}: {schema:#}");
    }
}

#[tokio::test]
async fn completions_are_a_script_that_bash_can_read() {
    let output = run(&["completions", "bash"]).await;
    assert_ended(&output, 0);

    let script = format!("{}\ntype -t _zuora__gateway || type -t _zuora-gateway", output.out);
    let bash = Command::new(testkit::component("bash")).args(["-c", &script]).output().await;

    let bash = bash.unwrap();
    assert!(bash.status.success() && bash.stdout.starts_with(b"function"), "{bash:?}");
}

#[tokio::test]
async fn emulate_is_a_tenant() {
    let mut command = Command::new(testkit::gateway_program());
    command.args(["emulate", "--address", "127.0.0.1:0", "--service-time", "1ms"]);
    command.args(["--limit", "Default=3"]);
    let mut tenant = Program::start(command);
    let line = tenant.line_with("an emulated Zuora tenant at").await;
    let address = line.rsplit("http://").next().unwrap().parse().unwrap();

    let form = "grant_type=client_credentials&client_id=any&client_secret=any";
    let token = Raw::ask(
        address,
        format!(
            "POST /oauth/token HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        ),
    )
    .await;
    assert_eq!(token.status, 200, "{token:?}");
    let key = "POST /v1/connections HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\n\
               apiaccesskeyid: any\r\napisecretaccesskey: any\r\n\r\n";
    let session = Raw::ask(address, key).await;
    assert_eq!(session.status, 200, "{session:?}");
    let ledger = Raw::ask(address, "GET /emulator/ledger HTTP/1.1\r\nhost: t\r\n\r\n").await;
    let ledger: Value = serde_json::from_slice(&ledger.body).unwrap();
    assert_eq!((&ledger["token_calls"], &ledger["limits"]["Default"]), (&1.into(), &3.into()));
}

#[tokio::test]
async fn emulate_tells_of_writes_that_it_does_later() {
    let receiver = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let callouts = format!("http://zuora:word@{}/callouts", receiver.local_addr().unwrap());
    let mut command = Command::new(testkit::gateway_program());
    command.args(["emulate", "--address", "127.0.0.1:0", "--service-time", "1ms"]);
    command.args(["--callouts", &callouts, "--callout-retry", "0", "--mishap", "fails=1"]);
    command.args(["--submit-time", "0ms", "--async-time", "5ms", "--async-workers", "1"]);
    let mut tenant = Program::start(command);
    let line = tenant.line_with("an emulated Zuora tenant at").await;
    let address = line.rsplit("http://").next().unwrap().parse().unwrap();

    let (_, write) = tokio::join!(callout(&receiver, 503), async {
        let body = r#"{"name": "Amber", "currency": "USD"}"#;
        let length = body.len();
        Raw::ask(
            address,
            format!(
                "POST /v1/async/accounts HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\
                 apiaccesskeyid: any\r\napisecretaccesskey: any\r\nzuora-track-id: batch-1\r\n\
                 content-type: application/json\r\n\r\n{body}"
            ),
        )
        .await
    });
    let again = callout(&receiver, 200).await;

    assert_eq!(write.status, 202, "{write:?}");
    assert!(again.starts_with("POST /callouts HTTP/1.1\r\n"), "{again}");
    assert!(again.contains(r#""trackId":"batch-1""#) && again.contains(r#""failed""#), "{again}");
}

/// Takes one callout in and answers it with this status.
async fn callout(receiver: &tokio::net::TcpListener, status: u16) -> String {
    let (mut stream, _) = receiver.accept().await.unwrap();
    let mut text = String::new();
    while !text.ends_with('}') {
        let mut piece = vec![0; 4096];
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "{text}");
        text += std::str::from_utf8(&piece[..read]).unwrap();
    }
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    text
}

#[tokio::test]
async fn the_demo_ends_with_what_each_app_got() {
    let output = run(&["demo", "--duration", "2s", "--service-time", "50ms"]).await;

    assert_ended(&output, 0);
    let rows: Vec<Vec<&str>> =
        output.out.lines().map(|line| line.split_whitespace().collect()).collect();
    for app in ["nightly", "crm_sync", "checkout"] {
        let row = rows.iter().find(|row| row.first() == Some(&app) && row.len() == 8);
        let row = row.unwrap_or_else(|| panic!("no row of {app} in {}", output.out));
        assert!(row[2].parse::<u64>().unwrap() > 0, "{app} got nothing: {}", output.out);
        assert_eq!(row[6..], ["0", "0"], "nobody is refused, nothing fails: {}", output.out);
    }
    let tenant = "the tenant: limit 40, at most 40 at once, 0 refused; tokens issued: 1";
    assert!(output.out.contains(tenant), "{}", output.out);
    let made = output.out.split("also had ").nth(1).and_then(|rest| rest.split(' ').next());
    let known = output.out.split("came back: ").nth(1).and_then(|rest| rest.split('\n').next());
    assert!(made.unwrap().parse::<u64>().unwrap() > 0, "{}", output.out);
    assert_eq!(known, made, "{}", output.out);
}

#[tokio::test]
async fn the_demo_without_a_gateway_shows_the_difference() {
    let output = run(&["demo", "--duration", "1s", "--no-gateway"]).await;

    assert_ended(&output, 0);
    let refused = output.out.split(" at once, ").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(refused.unwrap().parse::<u64>().unwrap() > 0, "{}", output.out);
}
