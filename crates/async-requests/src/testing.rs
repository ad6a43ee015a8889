//! What the tests of this crate share.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::{
    Disk, Form, Key, Limits, Memory, NewRequest, Outcome, Record, Registry, Report, Submission,
    Taken,
};

pub(crate) const TENANT: &str = "production";

pub(crate) fn key(track_id: &str) -> Key {
    Key { tenant: TENANT.into(), track_id: track_id.into() }
}

pub(crate) fn named(track_id: &str) -> NewRequest {
    of_app("batch", track_id)
}

pub(crate) fn of_app(app: &str, track_id: &str) -> NewRequest {
    NewRequest {
        key: key(track_id),
        app: app.into(),
        entity: None,
        operation: Some("POST_Account".into()),
        method: "POST".into(),
        path: "/v1/accounts".into(),
        form: Form::Async,
    }
}

pub(crate) fn succeeded(id: &str) -> Outcome {
    Outcome::Succeeded { data: Map::from_iter([("id".to_owned(), Value::from(id))]) }
}

pub(crate) fn failed(message: &str) -> Outcome {
    let reasons = vec![json!({"code": "50000040", "message": message})];
    Outcome::Failed { reasons, process_id: Some("p1".into()) }
}

/// What Zuora tells of the request that it calls `zuora_id` and that was sent as `track_id`.
pub(crate) fn told(zuora_id: Option<&str>, track_id: Option<&str>, outcome: Outcome) -> Report {
    let notification_id = Some("n1".into());
    let (zuora_id, track_id) = (zuora_id.map(Arc::from), track_id.map(Arc::from));
    Report { zuora_id, track_id, notification_id, outcome }
}

/// Short ways to do what everybody does.
pub(crate) trait Short {
    async fn sent(&self, new: NewRequest) -> Submission;
    /// A request that Zuora took and calls "r-" and its track id.
    async fn taken(&self, app: &str, track_id: &str);
    async fn tell(&self, report: Report) -> Taken;
    /// A request that was done.
    async fn done(&self, app: &str, track_id: &str) -> Record;
    async fn known(&self, track_id: &str) -> Option<Record>;
}

impl Short for Arc<Registry> {
    async fn sent(&self, new: NewRequest) -> Submission {
        self.begin(new).await.unwrap()
    }

    async fn taken(&self, app: &str, track_id: &str) {
        let submission = self.begin(of_app(app, track_id)).await.unwrap();
        submission.accepted(Some(&format!("r-{track_id}"))).await.unwrap();
    }

    async fn tell(&self, report: Report) -> Taken {
        self.take_in(&TENANT.into(), report).await.unwrap()
    }

    async fn done(&self, app: &str, track_id: &str) -> Record {
        self.taken(app, track_id).await;
        let id = format!("r-{track_id}");
        match self.tell(told(Some(&id), None, succeeded(track_id))).await {
            Taken::News(record) => *record,
            taken => panic!("{taken:?}"),
        }
    }

    async fn known(&self, track_id: &str) -> Option<Record> {
        self.find(&key(track_id)).await.unwrap()
    }
}

pub(crate) fn track_ids(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| &*record.key.track_id).collect()
}

/// Checks what every store promises.
pub(crate) async fn in_each(limits: Limits, check: impl AsyncFn(Arc<Registry>)) {
    check(Registry::new(Memory::new(limits))).await;
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::new(Disk::open(directory.path(), limits).await.unwrap());
    check(Arc::clone(&registry)).await;
    registry.close().await.unwrap();
}
