use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A call that would be carried out later if nothing stood against it: of `batch`, as JSON, asked for.
#[derive(Clone)]
struct Case {
    app: &'static str,
    policy: Policy,
    method: Method,
    path: &'static str,
    is_json: bool,
    is_asked_for: bool,
    is_single_use: bool,
    rules: Option<Vec<RewriteRule>>,
}

fn asking(call: &'static str) -> Case {
    let (method, path) = call.split_once(' ').unwrap();
    Case {
        app: "batch",
        policy: Policy::default(),
        method: method.parse().unwrap(),
        path,
        is_json: true,
        is_asked_for: true,
        is_single_use: false,
        rules: Some(Vec::new()),
    }
}

fn silent(call: &'static str) -> Case {
    Case { is_asked_for: false, ..asking(call) }
}

impl Case {
    fn with(self, rules: &[RewriteRule]) -> Self {
        Self { rules: Some(rules.to_vec()), ..self }
    }

    #[track_caller]
    fn comes_to(self, expected: &Plan) {
        let plan = decide(&Asked {
            app: self.app,
            policy: &self.policy,
            method: &self.method,
            path: self.path,
            operation: zuora::classify(&self.method, self.path),
            is_json: self.is_json,
            is_asked_for: self.is_asked_for,
            is_single_use: self.is_single_use,
            rules: self.rules.as_deref(),
        });
        assert_eq!(plan, *expected, "{} {}", self.method, self.path);
    }

    #[track_caller]
    fn stays(self, why: WhySync) {
        self.comes_to(&Plan::Sync(why));
    }

    #[track_caller]
    fn goes_to(self, path: &str) {
        self.comes_to(&Plan::Now(Detour { path: path.to_owned(), form: Form::Async }));
    }
}

fn rules(entries: &[&str]) -> Vec<Rule> {
    entries.iter().map(|entry| entry.parse().unwrap()).collect()
}

fn rule(operations: &[&str], when: When) -> RewriteRule {
    let is_order = |entry: &&str| matches!(*entry, "POST /v1/orders" | "operation POST_Order");
    let order_jobs = operations.iter().any(is_order);
    RewriteRule { apps: Vec::new(), operations: rules(operations), order_jobs, when }
}

#[test]
fn a_write_that_its_app_wants_later_goes_later() {
    asking("POST /v1/accounts").goes_to("/v1/async/accounts");
    asking("PUT /v1/accounts/A1").goes_to("/v1/async/accounts/A1");
    asking("DELETE /v1/accounting-codes/1").goes_to("/v1/async/accounting-codes/1");
    asking("POST /v1/object/account").goes_to("/v1/async/object/account");
    asking("POST /rest/v1/accounts").goes_to("/rest/v1/async/accounts");
    asking("PUT /v1/accounts/A%2FB").goes_to("/v1/async/accounts/A%2FB");
}

#[test]
fn nothing_goes_later_that_nobody_asked_for() {
    silent("POST /v1/accounts").stays(WhySync::NotAsked);
    silent("GET /v1/accounts/A1").stays(WhySync::NotAsked);
    let on_request = [rule(&["POST /v1/accounts"], When::OnRequest)];
    silent("POST /v1/accounts").with(&on_request).stays(WhySync::NotAsked);
    let never = [rule(&[], When::Never)];
    silent("POST /v1/accounts").with(&never).stays(WhySync::NotAsked);
    Case { rules: None, ..silent("POST /v1/accounts") }.stays(WhySync::NotAsked);
}

#[test]
fn what_is_never_to_go_later_does_not_however_it_is_spelt() {
    let never = [rule(&["PUT /v1/accounts/*"], When::Never)];
    asking("PUT /v1/accounts/A1").with(&never).stays(WhySync::Policy);
    asking("PUT /v1/accounts/A%2FB").with(&never).stays(WhySync::Policy);
    asking("PUT /v1/contacts/A%2FB").with(&never).goes_to("/v1/async/contacts/A%2FB");
    let always = [rule(&["PUT /v1/accounts/*"], When::Always)];
    silent("PUT /v1/accounts/A%2FB").with(&always).stays(WhySync::NotAsked);
}

#[test]
fn without_callouts_nobody_would_hear_of_it() {
    Case { rules: None, ..asking("POST /v1/accounts") }.stays(WhySync::NotConfigured);
    Case { rules: None, ..asking("GET /v1/accounts/A1") }.stays(WhySync::NotConfigured);
    Case { rules: None, ..silent("POST /v1/async/accounts") }.stays(WhySync::NotAsked);
}

#[test]
fn only_writes_go_whose_answer_an_id_can_replace() {
    for call in [
        "GET /v1/accounts/A1",
        "HEAD /v1/accounts/A1",
        "OPTIONS /v1/accounts",
        "PATCH /v1/accounts/A1",
        "POST /v1/action/create",
        "POST /v1/action/query",
        "POST /v1/subscriptions/preview",
        "POST /v1/rsa-signatures",
        "POST /object-query/accounts",
        "POST /v1/files",
        "PUT /v1/accounting-periods/1/run-trial-balance",
        "POST /v1/orders/preview",
        "DELETE /v1/orders/O-1",
        "POST /v1/unheard-of",
        "POST /apps/services/a/91.0",
        "POST /v1/async/orders",
    ] {
        asking(call).stays(WhySync::Operation);
        let always = [rule(&[], When::Always)];
        silent(call).with(&always).stays(WhySync::NotAsked);
    }
}

#[test]
fn a_path_that_is_spelt_in_another_way_stays() {
    for call in ["POST //v1/accounts", "POST /v1//accounts", "POST /%761/accounts"] {
        asking(call).stays(WhySync::Operation);
    }
}

#[test]
fn only_json_goes() {
    Case { is_json: false, ..asking("POST /v1/accounts") }.stays(WhySync::ContentType);
    let always = [rule(&[], When::Always)];
    let other = Case { is_json: false, ..silent("POST /v1/accounts") };
    other.with(&always).stays(WhySync::ContentType);
}

#[test]
fn a_call_with_a_credential_for_one_address_stays_there() {
    Case { is_single_use: true, ..asking("POST /v1/accounts") }.stays(WhySync::SingleUse);
    Case { is_single_use: true, ..silent("POST /v1/async/accounts") }.stays(WhySync::NotAsked);
}

#[test]
fn both_paths_must_be_allowed() {
    let case = |allow: &[&str], deny: &[&str]| Case {
        policy: Policy { allow: rules(allow), deny: rules(deny), read_only: false },
        ..asking("POST /v1/accounts")
    };
    case(&["POST /v1/accounts"], &[]).stays(WhySync::Policy);
    case(&["POST /v1/async/accounts"], &[]).stays(WhySync::Policy);
    case(&["POST /v1/accounts", "POST /v1/async/accounts"], &[]).goes_to("/v1/async/accounts");
    case(&["POST /v1/**"], &[]).goes_to("/v1/async/accounts");
    case(&[], &["* /v1/async/**"]).stays(WhySync::Policy);
    case(&[], &["* /V1/ASYNC/**"]).stays(WhySync::Policy);
    case(&[], &["PUT /v1/async/**"]).goes_to("/v1/async/accounts");
}

#[test]
fn the_operator_says_when() {
    let detour = Detour { path: "/v1/async/accounts".to_owned(), form: Form::Async };
    let waiting = [rule(&["POST /v1/accounts"], When::Waiting(5 * SECOND))];
    let call = "POST /v1/accounts";

    silent(call).with(&waiting).comes_to(&Plan::WhenWaiting(5 * SECOND, detour));
    asking(call).with(&waiting).goes_to("/v1/async/accounts");
    silent(call).with(&[rule(&[], When::Always)]).goes_to("/v1/async/accounts");
    asking(call).with(&[rule(&[], When::Never)]).stays(WhySync::Policy);
    asking(call).with(&[rule(&[], When::OnRequest)]).goes_to("/v1/async/accounts");
}

#[test]
fn the_first_rule_that_speaks_of_a_call_decides() {
    let of = |app: &str, operations: &[&str], when| RewriteRule {
        apps: vec![app.into()],
        ..rule(operations, when)
    };
    let all = [
        of("storefront", &[], When::Never),
        of("batch", &["POST /v1/accounts", "operation PUT_Account"], When::Always),
        of("batch", &["POST /v1/**"], When::Never),
    ];

    silent("POST /v1/accounts").with(&all).goes_to("/v1/async/accounts");
    silent("PUT /v1/accounts/A1").with(&all).goes_to("/v1/async/accounts/A1");
    asking("POST /v1/contacts").with(&all).stays(WhySync::Policy);
    asking("PUT /v1/contacts/1").with(&all).goes_to("/v1/async/contacts/1");
    let storefront = Case { app: "storefront", ..asking("POST /v1/accounts") };
    storefront.with(&all).stays(WhySync::Policy);
    let another = Case { app: "another", ..asking("POST /v1/accounts") };
    another.with(&all).goes_to("/v1/async/accounts");
}

#[test]
fn a_rule_speaks_of_a_call_only_if_it_does_in_every_reading() {
    let always = [rule(&["PUT /v1/accounts/A*"], When::Always)];

    silent("PUT /v1/accounts/A1").with(&always).goes_to("/v1/async/accounts/A1");
    // It may be the account `A`, and then something below it.
    silent("PUT /v1/accounts/A%2F1").with(&always).stays(WhySync::NotAsked);
    silent("PUT /v1/accounts/B1").with(&always).stays(WhySync::NotAsked);
}

#[test]
fn an_order_becomes_a_job_only_where_it_is_named_alone_and_on_request() {
    let job = Plan::Now(Detour { path: "/v1/async/orders".to_owned(), form: Form::OrderJob });
    let call = "POST /v1/orders";

    asking(call).stays(WhySync::Operation);
    for broad in [When::Always, When::OnRequest, When::Waiting(SECOND)] {
        asking(call).with(&[rule(&["POST /v1/**"], broad)]).stays(WhySync::Operation);
        asking(call).with(&[rule(&[], broad)]).stays(WhySync::Operation);
    }
    for named in ["POST /v1/orders", "operation POST_Order"] {
        asking(call).with(&[rule(&[named], When::OnRequest)]).comes_to(&job);
        silent(call).with(&[rule(&[named], When::OnRequest)]).stays(WhySync::NotAsked);
        silent(call).with(&[rule(&[named], When::Always)]).stays(WhySync::NotAsked);
        asking(call).with(&[rule(&[named], When::Never)]).stays(WhySync::Policy);
    }
    // A broader rule that grants something says nothing of orders; one that forbids everything does.
    let named = rule(&["POST /v1/orders"], When::OnRequest);
    asking(call).with(&[rule(&["POST /v1/**"], When::Always), named.clone()]).comes_to(&job);
    asking(call).with(&[rule(&[], When::Never), named]).stays(WhySync::Policy);
}

#[test]
fn what_an_app_sends_there_itself_is_remembered() {
    silent("POST /v1/async/accounts").comes_to(&Plan::Direct);
    asking("PUT /v1/async/accounts/A1").comes_to(&Plan::Direct);
    silent("POST /rest/v1/async/accounts").comes_to(&Plan::Direct);
    let never = [rule(&[], When::Never)];
    silent("POST /v1/async/accounts").with(&never).comes_to(&Plan::Direct);

    for call in [
        "GET /v1/async/accounts/A1",
        "POST /v1/async/orders",
        "POST /v1/async/action/create",
        "POST /v1/async/async/accounts",
        "POST /v1/async/unheard-of",
    ] {
        silent(call).stays(WhySync::NotAsked);
    }
    Case { is_json: false, ..silent("POST /v1/async/accounts") }.stays(WhySync::NotAsked);
}
