//! What another configuration keeps, and what it makes anew.

use std::path::Path;

use admission::LanesSnapshot;
use async_requests::{Form, Key, NewRequest, State};
use emulator::{Options, Tenant as Zuora};
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;

/// Two tenants and what serves before them.
struct Scene {
    one: Zuora,
    other: Zuora,
    state: TempDir,
}

impl Scene {
    async fn start() -> Self {
        let zuora = || Zuora::start(Options { ledger_capacity: 0, ..Options::default() });
        let (one, other) = (zuora().await.unwrap(), zuora().await.unwrap());
        Self { one, other, state: TempDir::new().unwrap() }
    }

    /// A tenant of this name, as a file would have it.
    fn tenant(name: &str, zuora: &Zuora, more: &str) -> String {
        let base_url = zuora.base_url();
        let credentials = "{oauth: {client_id: id, client_secret: secret}}";
        format!("  {name}:\n    base_url: {base_url}\n    credentials: {credentials}\n{more}")
    }

    fn config(&self, tenants: &str) -> Config {
        let id = "6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11";
        let text = format!(
            "state_dir: {}\ntenants:\n{tenants}\napps:\n  app: {{tenant: one, client_id: {id}, secret: s}}\n",
            self.state.path().display()
        );
        config::parse(&text, Path::new("F"), &config::ProcessEnvironment)
            .unwrap_or_else(|problems| panic!("{problems}\n{text}"))
    }

    fn works(&self, tenants: &str) -> Works {
        Works::start(&self.config(tenants), Start::Full).unwrap()
    }
}

fn tenant(works: &Works, name: &str) -> Arc<Tenant> {
    Arc::clone(&works.tenants.lock().unwrap().configured[name].tenant)
}

fn lanes(works: &Works) -> Option<Arc<Lanes>> {
    works.tenants.lock().unwrap().configured["one"].tenant.lanes.clone()
}

async fn token(tenant: &Tenant) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    let token = tenant.entities[0].tokens.current(deadline).await.unwrap();
    token.proof.soap_session().unwrap().to_owned()
}

fn ceiling(tenant: &Tenant) -> u32 {
    let pools = tenant.admission.snapshot().pools;
    pools.iter().find(|pool| &*pool.name == "Default").unwrap().configured
}

#[tokio::test]
async fn what_did_not_change_is_kept_and_what_did_is_as_written() {
    let scene = Scene::start().await;
    let works = scene.works(&Scene::tenant("one", &scene.one, ""));
    let before = tenant(&works, "one");
    let first = token(&before).await;
    assert_eq!(ceiling(&before), 40);

    let changed = "    concurrency: {limits: {Default: 30}}\n    timeouts: {connect: 3s}\n";
    let named = works.follow(&scene.config(&Scene::tenant("one", &scene.one, changed))).unwrap();
    let after = tenant(&works, "one");

    assert_eq!(named, Vec::<&str>::new());
    assert!(Arc::ptr_eq(&before.admission, &after.admission));
    assert!(Arc::ptr_eq(&before.entities[0].tokens, &after.entities[0].tokens));
    assert!(Arc::ptr_eq(&before.entities[0].learnt, &after.entities[0].learnt));
    assert_eq!((ceiling(&after), after.connect_timeout), (30, Duration::from_secs(3)));
    // A call that is under way goes on with what it began with.
    assert_eq!(before.connect_timeout, Duration::from_secs(5));
    assert_eq!(token(&after).await, first);
    assert_eq!(scene.one.counters().token_calls, 1);
}

#[tokio::test]
async fn a_tenant_that_is_elsewhere_gets_another_token_and_never_that_of_before() {
    let scene = Scene::start().await;
    let works = scene.works(&Scene::tenant("one", &scene.one, ""));
    let before = tenant(&works, "one");
    let first = token(&before).await;

    works.follow(&scene.config(&Scene::tenant("one", &scene.other, ""))).unwrap();
    let after = tenant(&works, "one");

    assert!(!Arc::ptr_eq(&before.entities[0].tokens, &after.entities[0].tokens));
    assert!(Arc::ptr_eq(&before.admission, &after.admission), "calls of before still count");
    assert_ne!(token(&after).await, first);
    assert_eq!(scene.other.counters().token_calls, 1);
    assert_eq!(token(&before).await, first, "for those that are under way");
}

#[tokio::test]
async fn a_tenant_that_comes_back_finds_its_permits_as_they_are() {
    let scene = Scene::start().await;
    let one = Scene::tenant("one", &scene.one, "");
    let both = format!("{one}{}", Scene::tenant("two", &scene.other, ""));
    let works = scene.works(&both);
    let two = tenant(&works, "two");
    let pool = two.admission.pool(None, "Default").unwrap();
    let tokens = Arc::downgrade(&two.entities[0].tokens);

    works.follow(&scene.config(&one)).unwrap();
    assert_eq!(works.admissions().len(), 1);
    assert!(two.admission.snapshot().pools.is_empty(), "nothing of it is shown any more");
    let admission = Arc::clone(&two.admission);
    drop(two);
    assert!(tokens.upgrade().is_none(), "nobody keeps its token");

    works.follow(&scene.config(&both)).unwrap();
    let back = tenant(&works, "two");
    assert!(Arc::ptr_eq(&back.admission, &admission));
    assert_eq!(back.admission.pool(None, "Default"), Some(pool));
    assert_eq!(ceiling(&back), 40);
}

#[tokio::test]
async fn a_call_in_a_lane_is_in_it_whatever_is_configured_meanwhile() {
    let scene = Scene::start().await;
    let with = |lanes: &str| scene.config(&Scene::tenant("one", &scene.one, lanes));
    let works = scene.works(&Scene::tenant("one", &scene.one, ""));
    assert!(lanes(&works).is_none(), "nobody asked for lanes");
    let app = tenant(&works, "one").admission.app("app").unwrap();
    let soon = Instant::now() + Duration::from_secs(10);

    works.follow(&with("    lanes: account\n")).unwrap();
    let first = lanes(&works).unwrap();
    let held = first.enter(&[1], app, None, soon).await.unwrap();

    works.follow(&with("    lanes: account\n    queue: {max_requests: 1}\n")).unwrap();
    let second = lanes(&works).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    let waits = tokio::spawn({
        let second = Arc::clone(&second);
        async move { second.enter(&[1], app, None, soon).await.map(drop) }
    });
    while second.snapshot().waiting == 0 {
        tokio::task::yield_now().await;
    }
    let too_many = second.enter(&[1], app, None, soon).await;
    assert!(matches!(too_many, Err(admission::Shed::QueueFull { .. })), "{too_many:?}");

    works.follow(&with("    lanes: off\n")).unwrap();
    assert!(lanes(&works).is_none());
    assert_eq!(second.snapshot(), LanesSnapshot { held: 1, waiting: 1 });

    works.follow(&with("    lanes: account\n")).unwrap();
    let third = lanes(&works).unwrap();
    assert_eq!(third.snapshot(), LanesSnapshot { held: 1, waiting: 1 }, "those of before");
    drop(held);
    waits.await.unwrap().unwrap();
    assert_eq!(third.snapshot(), LanesSnapshot { held: 0, waiting: 0 });
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_all_of_it_is_told() {
    let scene = Scene::start().await;
    let works = scene.works(&Scene::tenant("one", &scene.one, ""));
    let roots = scene.state.path().join("roots.pem");
    std::fs::write(&roots, "nothing of the kind").unwrap();
    let changed = format!(
        "    ca_certificate: {}\n    concurrency: {{limits: {{Default: 30}}}}\n",
        roots.display()
    );
    let both =
        Scene::tenant("one", &scene.one, &changed) + &Scene::tenant("two", &scene.other, &changed);

    let unusable = works.follow(&scene.config(&both)).unwrap_err();

    let told: Vec<_> = unusable.iter().map(Unusable::with_causes).collect();
    let place = roots.display();
    let expected =
        |name: &str| format!("tenants.{name}.ca_certificate: `{place}` holds no certificate");
    assert_eq!(told, [expected("one"), expected("two")]);
    assert_eq!(ceiling(&tenant(&works, "one")), 40);
    assert_eq!(works.admissions().len(), 1);
}

#[tokio::test]
async fn links_to_the_soap_server_are_a_tenants_own_as_well() {
    let scene = Scene::start().await;
    let soap = "    soap_url: https://soap.example.com\n";
    let works = scene.works(&Scene::tenant("one", &scene.one, soap));

    let own = &tenant(&works, "one").own_hosts;

    let host = scene.one.base_url().replace("http://", "");
    let (host, _) = host.split_once(':').unwrap();
    assert!(own.are_in(host.as_bytes()) && own.are_in(b"soap.example.com"));
    assert!(!own.are_in(b"example.org"));
}

const ENTITIES: [&str; 3] = [
    "2c92a0f9-1111-4222-8333-6bd69165016a",
    "2c92a0f9-1111-4222-8333-6bd69165016b",
    "2c92a0f9-1111-4222-8333-6bd69165016c",
];

/// Which of the tokens of `after` were those of `before`, by entity.
fn kept(before: &Tenant, after: &Tenant) -> Vec<bool> {
    let was_there = |now: &proxy::Entity| {
        let mut earlier = before.entities.iter().filter(|earlier| earlier.id == now.id);
        earlier.any(|earlier| Arc::ptr_eq(&earlier.tokens, &now.tokens))
    };
    after.entities.iter().map(was_there).collect()
}

#[tokio::test]
async fn an_entity_keeps_its_token_unless_another_one_becomes_the_default() {
    let scene = Scene::start().await;
    let with = |entities: &[&str]| {
        let list = format!("    entities: [{}]\n", entities.join(", "));
        scene.config(&Scene::tenant("one", &scene.one, &list))
    };
    let [first, second, third] = ENTITIES;
    let works = Works::start(&with(&[first, second]), Start::Full).unwrap();
    let before = tenant(&works, "one");
    token(&before).await;
    let idle: Vec<_> = before.entities.iter().map(|entity| entity.tokens.is_idle()).collect();
    assert_eq!(idle, [false, true], "nobody has called the other one yet");

    works.follow(&with(&[first, third, second])).unwrap();
    let after = tenant(&works, "one");
    assert_eq!(kept(&before, &after), [true, false, true]);

    works.follow(&with(&[second, first])).unwrap();
    let swapped = tenant(&works, "one");
    assert_eq!(kept(&after, &swapped), [false, false]);
    let idle: Vec<_> = swapped.entities.iter().map(|entity| entity.tokens.is_idle()).collect();
    assert_eq!(idle, [false, true], "the default one is kept ready");
}

#[tokio::test]
async fn credentials_of_another_kind_take_over_where_they_are_kept() {
    let scene = Scene::start().await;
    let with = |credentials: &str, soap: &Zuora| {
        let tenant = Scene::tenant("one", &scene.one, "");
        let written = "{oauth: {client_id: id, client_secret: secret}}";
        let soap_url = format!("{{{credentials}}}\n    soap_url: {}", soap.base_url());
        scene.config(&tenant.replace(written, &soap_url))
    };
    let oauth = "oauth: {client_id: id, client_secret: secret}";
    let login = "soap_login: {username: u, password: p}";
    let works = Works::start(&with(oauth, &scene.one), Start::Full).unwrap();
    let before = tenant(&works, "one");
    token(&before).await;

    works.follow(&with("api_key: {id: me, secret: hidden}", &scene.one)).unwrap();
    let keyed = tenant(&works, "one");
    assert!(Arc::ptr_eq(&before.entities[0].tokens, &keyed.entities[0].tokens));
    let now = keyed.entities[0].tokens.current(Instant::now()).await.unwrap();
    assert_eq!(now.proof, credentials::Proof::api_key("me", "hidden").unwrap());

    works.follow(&with(&format!("{oauth}, {login}"), &scene.one)).unwrap();
    let both = tenant(&works, "one");
    let soap = |tenant: &Tenant| tenant.entities[0].soap_tokens.clone().unwrap();
    assert_eq!(scene.one.counters().soap_refused, 0);
    works.follow(&with(&format!("{oauth}, {login}"), &scene.other)).unwrap();
    let moved = tenant(&works, "one");
    assert!(!Arc::ptr_eq(&soap(&both), &soap(&moved)), "a session stays with who gave it");
    assert_eq!(kept(&both, &moved), [true]);

    works.follow(&with(login, &scene.other)).unwrap();
    let alone = tenant(&works, "one");
    assert_eq!(kept(&moved, &alone), [true]);
    works.follow(&with(oauth, &scene.one)).unwrap();
    assert_eq!(
        kept(&alone, &tenant(&works, "one")),
        [false],
        "nor is it told to another by changing kind"
    );
}

const CALLOUTS: &str = "    async:\n      callouts: {public_url: https://gateway.example.com, username: zuora, password: hidden}\n";

fn promises(tenant: &Tenant) -> bool {
    tenant.async_requests.as_ref().is_some_and(|later| later.callouts.is_some())
}

#[tokio::test]
async fn what_is_remembered_outlives_the_process() {
    let scene = Scene::start().await;
    let config = scene.config(&Scene::tenant("one", &scene.one, CALLOUTS));
    let key = Key { tenant: "one".into(), track_id: "job-1".into() };
    let new = NewRequest {
        key: key.clone(),
        app: "app".into(),
        entity: None,
        operation: None,
        method: "POST".into(),
        path: "/v1/accounts".into(),
        form: Form::Async,
    };

    let works = Works::begin(&config, Start::Full).await.unwrap();
    assert!(promises(&tenant(&works, "one")));
    drop(works.remembering.registry.begin(new).await.unwrap());
    works.remembering.registry.close().await.unwrap();
    drop(works);
    let works = Works::begin(&config, Start::Full).await.unwrap();

    let found = works.remembering.registry.find(&key).await.unwrap();
    assert_eq!(found.unwrap().state, State::Sending);
    works.follow(&config).unwrap();
    let after = tenant(&works, "one");
    let registry = &after.async_requests.as_ref().unwrap().registry;
    assert!(Arc::ptr_eq(registry, &works.remembering.registry), "it stays when files change");
}

#[tokio::test]
async fn who_shares_a_state_directory_promises_nothing_that_needs_the_registry() {
    let scene = Scene::start().await;
    let with = |more: &str| scene.config(&Scene::tenant("one", &scene.one, more));

    let works = Works::begin(&with(CALLOUTS), Start::Full).await.unwrap();
    let refused = Works::begin(&with(CALLOUTS), Start::Full).await.unwrap_err();
    assert!(matches!(refused, StartError::Registry(_)), "{refused}");
    let second = Works::begin(&with(""), Start::Full).await.unwrap();

    assert_eq!(second.follow(&with(CALLOUTS)).unwrap(), ["async_requests"]);
    assert!(!promises(&tenant(&second, "one")));
    assert!(works.follow(&with(CALLOUTS)).unwrap().is_empty());
    assert!(promises(&tenant(&works, "one")));
}
