//! The older asynchronous orders: jobs that are polled, and told of by no callout.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use super::told::AsyncOutcome;
use crate::{answers::Answer, call::Call};

/// How many jobs are known; the oldest are forgotten.
const MOST_JOBS: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// What each came to; `None`: not done yet.
    known: HashMap<String, Option<Value>>,
    oldest: VecDeque<String>,
}

/// The type of the job that a call begins; `None`: it is of the general kind.
pub(super) fn kind_of(call: &Call) -> Option<&'static str> {
    match (call.method.as_str(), call.parts().as_slice()) {
        ("POST", ["v1", "async", "orders"]) => Some("AsyncCreateOrder"),
        ("POST", ["v1", "async", "orders", "preview"]) => Some("AsyncPreviewOrder"),
        ("DELETE", ["v1", "async", "orders", _]) => Some("AsyncDeleteOrder"),
        _ => None,
    }
}

impl Jobs {
    pub(super) fn begin(&mut self, id: &str) {
        if self.oldest.len() >= MOST_JOBS
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.oldest.push_back(id.to_owned());
        self.known.insert(id.to_owned(), None);
    }

    pub(super) fn end(&mut self, id: &str, kind: &str, outcome: &AsyncOutcome) {
        let ended = match outcome {
            AsyncOutcome::Succeeded { result, .. } => {
                let mut result = result.as_object().cloned().unwrap_or_default();
                result.remove("success");
                result.insert("jobType".to_owned(), kind.into());
                json!({"status": "Completed", "errors": null, "result": result, "success": true})
            }
            AsyncOutcome::Failed { reasons, .. } => {
                let texts = reasons.iter().map(|one| format!("[{}]: {}", one.code, one.message));
                let errors = texts.collect::<Vec<_>>().join(", ");
                json!({"status": "Failed", "errors": errors, "result": null, "success": true})
            }
        };
        if let Some(job) = self.known.get_mut(id) {
            *job = Some(ended);
        }
    }

    /// Answers `GET /v1/async-jobs/{id}`. That the job failed is no failure of this call.
    pub(super) fn answer(&self, id: &str) -> Answer {
        match self.known.get(id) {
            Some(Some(ended)) => Answer::ok(ended),
            Some(None) => Answer::ok(&json!({
                "status": "Processing", "errors": null, "result": null, "success": true,
            })),
            None => Answer::ok(&json!({"success": false, "reasons": [
                {"code": 40_000_040, "message": "Cannot find the job."}
            ]})),
        }
    }
}
