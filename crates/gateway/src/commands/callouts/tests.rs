//! Before an emulated tenant.

use std::path::Path;

use emulator::{CalloutEvent, Definition, Fault, FaultKind, Options, Tenant as Emulated};

use super::*;

const URL: &str = "https://gw.example.com/_gateway/callouts/production";

/// An emulated tenant, and a configuration for it with these keys of the tenant more.
struct Scene {
    tenant: Emulated,
    config: Config,
    state: tempfile::TempDir,
}

impl Scene {
    async fn set(definitions: Vec<Definition>) -> Self {
        Self::of_entities(definitions, &[]).await
    }

    async fn of_entities(definitions: Vec<Definition>, entities: &[&str]) -> Self {
        let mut options = Options::default();
        options.async_writes.definitions = definitions;
        options.entities = entities.iter().map(ToString::to_string).collect();
        let tenant = Emulated::start(options).await.unwrap();
        let state = tempfile::tempdir().unwrap();
        let text = format!(
            "
state_dir: {}
tenants:
  other: {{base_url: \"http://127.0.0.1:1\", credentials: {{oauth: {{client_id: id, client_secret: hidden}}}}}}
  production:
    base_url: {}
    credentials: {{oauth: {{client_id: id, client_secret: hidden}}}}
    entities: {}
    async:
      callouts: {{public_url: https://gw.example.com, username: zuora, password: hidden-word}}
      rewrite: [{{apps: [one], when: always}}]
apps: {{one: {{tenant: [other, production], client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11, secret: hidden-too}}}}
",
            state.path().join("state").display(),
            tenant.base_url(),
            if entities.is_empty() { "null".to_owned() } else { format!("{entities:?}") },
        );
        let config = config::parse(&text, Path::new("F"), &config::ProcessEnvironment);
        Self { tenant, config: config.unwrap(), state }
    }

    async fn told(&self, creates: bool) -> Told {
        let chosen = choose(&self.config, None).unwrap();
        let told = of_tenant(&self.config, chosen[0], creates).await.unwrap();
        assert!(!told.text.contains("hidden"), "{}", told.text);
        assert!(!self.state.path().join("state").exists(), "nothing is written");
        told
    }
}

/// The text without ids, which are other ones each time.
fn without_ids(text: &str) -> String {
    let mut parts = text.split('(');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (id, rest) = part.split_once(')').unwrap_or_default();
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        all.push_str(&format!("({}){rest}", if is_id { "ID" } else { id }));
    }
    all
}

#[tokio::test]
async fn what_is_missing_is_created_and_then_it_is_there() {
    let scene = Scene::set(Vec::new()).await;

    let missing = scene.told(false).await;
    let created = scene.told(true).await;
    let there = scene.told(false).await;
    let once_more = scene.told(true).await;

    assert!(!missing.is_good && missing.text.contains("Succeeded: missing; "), "{}", missing.text);
    for (definition, event) in
        scene.tenant.definitions().iter().zip([CalloutEvent::Succeeded, CalloutEvent::Failed])
    {
        let expected = Definition {
            name: format!("zuora-gateway {}", event.name()),
            event,
            url: URL.to_owned(),
            method: "POST".to_owned(),
            credentials: Some(("zuora".to_owned(), "hidden-word".to_owned())),
            preemptive: true,
            retries: true,
            active: true,
        };
        assert_eq!(definition, &expected);
    }
    assert_eq!(scene.tenant.definitions().len(), 2);
    assert!(created.is_good && there.is_good && once_more.is_good);
    let expected = |what: &str| {
        format!(
            "tenant `production`: callouts to {URL}
  Async Request Succeeded: {what}
  Async Request Failed: {what}
"
        )
    };
    assert_eq!(without_ids(&created.text), expected("created (ID)"));
    let as_it_should_be =
        "there (ID), and as it should be, but for the password, which Zuora does not show";
    assert_eq!(without_ids(&there.text), expected(as_it_should_be));
    assert_eq!(once_more.text, there.text);
}

#[tokio::test]
async fn what_is_not_as_it_should_be_is_told_and_left_alone() {
    let both = Definition::both(URL, "other", "hidden-word");
    let [succeeded, failed] = <[Definition; 2]>::try_from(both).unwrap();
    let failed = Definition { active: false, retries: false, ..failed };
    let scene = Scene::set(vec![succeeded.clone(), failed.clone()]).await;

    let told = scene.told(true).await;

    assert!(!told.is_good);
    let text = without_ids(&told.text);
    assert!(
        text.contains(
            "Succeeded: there (ID), but `callout.calloutAuth.username` is \"other\", and should be \"zuora\"\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("Failed: there (ID), but `active` is false, and should be true, `callout.calloutRetry` is false"),
        "{text}"
    );
    assert!(
        text.contains("      password        the one of `async.callouts.password`\n"),
        "{text}"
    );
    assert_eq!(scene.tenant.definitions(), [succeeded, failed]);
}

#[tokio::test]
async fn what_zuora_refuses_is_told_with_what_to_do_by_hand() {
    // Zuora takes each name once.
    let elsewhere = Definition::both("https://other.example.com/", "zuora", "hidden-other")
        .into_iter()
        .map(|it| Definition { name: format!("zuora-gateway {}", it.event.name()), ..it });
    let scene = Scene::set(elsewhere.collect()).await;

    let told = scene.told(true).await;

    assert!(!told.is_good);
    let expected = "  Async Request Failed: not created: Zuora answered 400: The name 'zuora-gateway Async Request Failed' is in use (1 more of this event leads elsewhere)
    In Zuora's UI it is a notification with:
      event           Async Request Failed
      name            zuora-gateway Async Request Failed
";
    assert!(told.text.contains(expected), "{}", told.text);
    assert!(told.text.contains(&format!("      URL             {URL}\n")), "{}", told.text);
    assert_eq!(scene.tenant.definitions().len(), 2);
}

#[tokio::test]
async fn two_that_lead_here_are_one_too_many() {
    let both = || Definition::both(URL, "zuora", "hidden-word").into_iter();
    let again = both().map(|it| Definition { name: format!("{} again", it.name), ..it });
    let scene = Scene::set(both().chain(again).collect()).await;

    let told = scene.told(true).await;

    let text = &told.text;
    assert!(told.is_good && text.matches("there 2 times (").count() == 2, "{text}");
}

#[tokio::test]
async fn each_entity_has_definitions_of_its_own() {
    let ids = ["6f1f2c52-7d0c-4b57-9d4c-000000000001", "6f1f2c52-7d0c-4b57-9d4c-000000000002"];
    let scene = Scene::of_entities(Vec::new(), &ids).await;

    let told = scene.told(true).await;

    let asked: Vec<_> =
        scene.tenant.ledger().executed.into_iter().map(|call| call.entity).collect();
    for id in ids {
        assert!(
            told.text.contains(&format!("`production`, entity {id}: callouts to")),
            "{}",
            told.text
        );
        let times = asked.iter().filter(|it| it.as_deref() == Some(&id.replace('-', ""))).count();
        let with_hyphens = asked.iter().filter(|it| it.as_deref() == Some(id)).count();
        assert!(times + with_hyphens >= 2, "{asked:?}");
    }
}

#[tokio::test]
async fn a_tenant_that_does_not_answer_is_told_with_the_reason() {
    let scene = Scene::set(Vec::new()).await;
    let mut config = scene.config.clone();
    scene.tenant.set_clients(&[("another", "client")]);
    config.tenants[1].queue.timeout = std::time::Duration::from_millis(200);

    let told = of_tenant(&config, &config.tenants[1], true).await.unwrap();

    assert!(!told.is_good);
    assert!(told.text.contains("Succeeded: cannot be seen: "), "{}", told.text);
    assert!(!told.text.contains("hidden"), "{}", told.text);
}

#[tokio::test]
async fn who_may_not_see_definitions_is_told_what_to_set_by_hand() {
    let scene = Scene::set(Vec::new()).await;
    let refusal = FaultKind::Answer {
        status: 403,
        body: r#"{"success":false,"reasons":[{"code":50000010,"message":"No permission."}]}"#
            .into(),
        content_type: "application/json".into(),
        headers: Vec::new(),
        executed: false,
    };
    scene.tenant.fault(Fault::once("/notifications", refusal).times(2));

    let told = scene.told(true).await;

    let text = &told.text;
    assert!(!told.is_good && text.contains("cannot be seen: Zuora answered 403"), "{text}");
    assert_eq!(text.matches("In Zuora's UI").count(), 2, "{text}");
}

#[test]
fn a_tenant_without_callouts_is_none_to_see_to() {
    let text = "
tenants:
  one: {base_url: https://one.example.com, credentials: {api_key: {id: i, secret: s}}}
apps: {one: {tenant: one, client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11, secret: t}}
";
    let config = config::parse(text, Path::new("F"), &config::ProcessEnvironment).unwrap();
    let refusal = |name| choose(&config, name).unwrap_err().to_string();

    assert_eq!(refusal(None), "no tenant has `async.callouts`");
    assert_eq!(refusal(Some("one")), "the tenant `one` has no `async.callouts`");
    assert_eq!(refusal(Some("two")), "no tenant is called `two`; there are `one`");
}
