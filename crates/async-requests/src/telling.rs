//! A request as its app is told of it.

use serde_json::{Map, Value};
use telemetry::log::rfc3339;

use crate::record::{Form, Outcome, Record};

impl Record {
    /// Everything that its app may know of it, as members of a JSON object: names as in Zuora's callouts, moments in
    /// RFC 3339, and no member that there is nothing to say in.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let mut told = Map::new();
        let mut tell = |name: &str, value: Value| drop(told.insert(name.to_owned(), value));
        tell("trackId", (*self.key.track_id).into());
        if let Some(id) = &self.zuora_id {
            let name = match self.form {
                Form::Async => "requestId",
                Form::OrderJob => "jobId",
            };
            tell(name, (**id).into());
        }
        tell("tenant", (*self.key.tenant).into());
        tell("app", (*self.app).into());
        if let Some(entity) = &self.entity {
            tell("entity", (**entity).into());
        }
        if let Some(operation) = &self.operation {
            tell("operation", (**operation).into());
        }
        tell("method", (*self.method).into());
        tell("path", (*self.path).into());
        tell("state", self.state.as_str().into());
        tell("submittedOn", rfc3339(self.begun).into());
        if let Some(accepted) = self.accepted {
            tell("acceptedOn", rfc3339(accepted).into());
        }
        if let Some(ended) = self.ended {
            tell("endedOn", rfc3339(ended).into());
        }
        match &self.outcome {
            Some(Outcome::Succeeded { data }) => tell("data", data.clone().into()),
            Some(Outcome::Failed { reasons, process_id }) => {
                tell("reasons", reasons.clone().into());
                if let Some(id) = process_id {
                    tell("processId", (**id).into());
                }
            }
            None => {}
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::json;

    use super::*;
    use crate::record::{Key, State};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_300_000 + seconds)
    }

    fn sending() -> Record {
        Record {
            key: Key { tenant: "production".into(), track_id: "batch-1".into() },
            app: "batch".into(),
            entity: None,
            operation: Some("POST_Account".into()),
            method: "POST".into(),
            path: "/v1/accounts".into(),
            form: Form::Async,
            zuora_id: None,
            state: State::Sending,
            begun: at(0),
            accepted: None,
            ended: None,
            position: None,
            outcome: None,
            notification_id: None,
            delivery: None,
        }
    }

    #[test]
    fn what_is_not_known_yet_is_not_told() {
        let told = Value::Object(sending().to_json());

        let expected = json!({
            "trackId": "batch-1",
            "tenant": "production",
            "app": "batch",
            "operation": "POST_Account",
            "method": "POST",
            "path": "/v1/accounts",
            "state": "sending",
            "submittedOn": "2026-11-21T22:26:40.000000Z",
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn an_outcome_is_told_in_zuoras_own_words() {
        let reasons = vec![json!({"code": "53100020", "message": "no such currency"})];
        let failed = Record {
            zuora_id: Some("r1".into()),
            state: State::Failed,
            accepted: Some(at(1)),
            ended: Some(at(65)),
            outcome: Some(Outcome::Failed { reasons, process_id: Some("p1".into()) }),
            ..sending()
        };

        let told = failed.to_json();

        let members = ["requestId", "state", "acceptedOn", "endedOn", "processId"];
        let members = members.map(|name| told[name].as_str().unwrap());
        let ended = "2026-11-21T22:27:45.000000Z";
        assert_eq!(members, ["r1", "failed", "2026-11-21T22:26:41.000000Z", ended, "p1"]);
        assert_eq!(told["reasons"], json!([{"code": "53100020", "message": "no such currency"}]));
        assert!(!told.contains_key("data"));
    }

    #[test]
    fn a_job_is_called_one() {
        let data = json!({"orderNumber": "O-1"}).as_object().unwrap().clone();
        let outcome = Some(Outcome::Succeeded { data });
        let job = Record {
            zuora_id: Some("j1".into()),
            form: Form::OrderJob,
            entity: Some("e1".into()),
            outcome,
            ..sending()
        };

        let told = job.to_json();

        assert_eq!((&told["jobId"], &told["entity"]), (&json!("j1"), &json!("e1")));
        assert_eq!(told["data"], json!({"orderNumber": "O-1"}));
        assert!(!told.contains_key("requestId") && !told.contains_key("reasons"));
    }
}
