//! A notification definition at Zuora: what it should be, and what it is.

use std::fmt;

use config::Callouts;
use serde_json::{Value, json};

/// The two events that tell how an async request ended (Zuora: asynchronous requests guide).
pub(super) const EVENTS: [&str; 2] = ["Async Request Succeeded", "Async Request Failed"];

/// The fields that must be as they are wanted, as a pointer into the definition; what proves that a callout is Zuora's
/// is the last, because the password is never shown.
const FIELDS: [&str; 7] = [
    "/active",
    "/calloutActive",
    "/callout/active",
    "/callout/httpMethod",
    "/callout/calloutRetry",
    "/callout/requiredAuth",
    "/callout/calloutAuth/username",
];

/// What a definition should be.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) event: &'static str,
    pub(super) url: String,
    callouts: &'a Callouts,
}

/// Where a definition is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    field: &'static str,
    wanted: Value,
    found: Value,
}

impl<'a> Wanted<'a> {
    /// The definition for `event` of the tenant with this name.
    pub(super) fn new(event: &'static str, tenant: &str, callouts: &'a Callouts) -> Self {
        let url = format!("{}/_gateway/callouts/{tenant}", callouts.public_url);
        Self { event, url, callouts }
    }

    /// Its name at Zuora.
    pub(super) fn name(&self) -> String {
        format!("zuora-gateway {}", self.event)
    }

    /// What creates it: the body of `POST /notifications/notification-definitions`. It holds the password.
    pub(super) fn body(&self) -> Value {
        let Callouts { username, password, .. } = self.callouts;
        json!({
            "name": self.name(),
            "description": "Tells zuora-gateway how async requests ended.",
            "eventTypeName": self.event,
            "active": true,
            "calloutActive": true,
            "emailActive": false,
            "callout": {
                "name": self.name(),
                "active": true,
                "eventTypeName": self.event,
                "httpMethod": "POST",
                "calloutBaseurl": self.url,
                "calloutRetry": true,
                "requiredAuth": true,
                "calloutAuth": {
                    "username": username,
                    "password": password.expose(),
                    // Without this every callout takes two requests (Zuora: callouts overview).
                    "preemptive": true,
                },
            },
        })
    }

    /// Whether `found` tells of this event.
    pub(super) fn tells(&self, found: &Value) -> bool {
        let event = found["eventTypeName"].as_str().or(found["callout"]["eventTypeName"].as_str());
        event == Some(self.event)
    }

    /// Whether `found` leads to this gateway.
    pub(super) fn leads_here(&self, found: &Value) -> bool {
        let url = found["callout"]["calloutBaseurl"].as_str();
        url.is_some_and(|url| url.trim_end_matches('/') == self.url)
    }

    /// Where `found` is another than this one. What it does not say is not compared.
    pub(super) fn differences(&self, found: &Value) -> Vec<Difference> {
        let wanted = self.body();
        let difference = |field| {
            let wanted = wanted.pointer(field).expect("every field is in the body").clone();
            let found = found.pointer(field).filter(|found| !found.is_null())?.clone();
            (found != wanted).then_some(Difference { field, wanted, found })
        };
        FIELDS.into_iter().filter_map(difference).collect()
    }

    /// `text` without the password, which an answer may repeat.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        text.replace(self.callouts.password.expose(), "***")
    }

    /// How somebody makes it in Zuora's UI.
    pub(super) fn by_hand(&self) -> Vec<(&'static str, String)> {
        vec![
            ("event", self.event.to_owned()),
            ("name", self.name()),
            ("URL", self.url.clone()),
            ("method", "POST, with the body that Zuora proposes for the event, as JSON".to_owned()),
            ("authentication", "Basic, preemptive".to_owned()),
            ("username", self.callouts.username.clone()),
            ("password", "the one of `async.callouts.password`".to_owned()),
            ("retry", "on".to_owned()),
        ]
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, wanted, found } = self;
        let field = field.trim_start_matches('/').replace('/', ".");
        write!(f, "`{field}` is {found}, and should be {wanted}")
    }
}

/// Its id, if it says one.
pub(super) fn id(found: &Value) -> &str {
    found["id"].as_str().unwrap_or("of unknown id")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn with_wanted(check: impl FnOnce(&Wanted<'_>)) {
        let text = "
tenants:
  production:
    base_url: https://rest.zuora.com
    credentials: {oauth: {client_id: id, client_secret: hidden}}
    async: {callouts: {public_url: \"https://gw.example.com/\", username: zuora, password: hidden-word}}
apps: {one: {tenant: production, client_id: 6f1f2c52-7d0c-4b57-9d4c-0b8f5f6f7a11, secret: hidden-too}}
";
        let config = config::parse(text, Path::new("F"), &config::ProcessEnvironment).unwrap();
        let callouts = config.tenants[0].async_requests.callouts.as_ref().unwrap();
        check(&Wanted::new(EVENTS[1], "production", callouts));
    }

    #[test]
    fn what_is_created_is_what_is_wanted() {
        with_wanted(|wanted| {
            let body = wanted.body();

            assert_eq!(wanted.url, "https://gw.example.com/_gateway/callouts/production");
            assert!(wanted.tells(&body) && wanted.leads_here(&body));
            assert_eq!(wanted.differences(&body), []);
            assert_eq!(body["callout"]["calloutAuth"]["password"], "hidden-word");
        });
    }

    #[test]
    fn each_field_that_differs_is_told_and_the_password_never() {
        with_wanted(|wanted| {
            for field in FIELDS {
                let mut found = wanted.body();
                *found.pointer_mut(field).unwrap() = json!("other");

                let told = wanted.differences(&found);

                assert_eq!(told.len(), 1, "{field}");
                let told = told[0].to_string();
                assert!(told.contains("is \"other\", and should be "), "{told}");
            }
            let mut found = wanted.body();
            found["callout"]["calloutAuth"]["password"] = json!("hidden-other");
            assert_eq!(wanted.differences(&found), []);
        });
    }

    #[test]
    fn what_zuora_does_not_say_is_no_difference() {
        with_wanted(|wanted| {
            let found = json!({
                "id": "1", "eventTypeName": "Async Request Failed", "active": null,
                "callout": {"calloutBaseurl": wanted.url},
            });

            assert!(wanted.tells(&found) && wanted.leads_here(&found));
            assert_eq!(wanted.differences(&found), []);
        });
    }

    #[test]
    fn other_events_and_other_addresses_are_not_ours() {
        with_wanted(|wanted| {
            let mut found = wanted.body();
            found["eventTypeName"] = json!("Async Request Succeeded");
            found["callout"]["calloutBaseurl"] = json!(format!("{}2", wanted.url));

            assert!(!wanted.tells(&found));
            assert!(!wanted.leads_here(&found));
            assert!(!wanted.leads_here(&json!({})));
        });
    }

    #[test]
    fn nothing_that_is_printed_holds_the_password() {
        with_wanted(|wanted| {
            let printed = format!("{:?}{:?}", wanted, wanted.by_hand());

            assert!(!printed.contains("hidden"), "{printed}");
            assert_eq!(wanted.without_secrets("bad: hidden-word"), "bad: ***");
        });
    }
}
