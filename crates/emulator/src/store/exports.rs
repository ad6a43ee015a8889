//! Jobs that query and leave a file: AQuA, exports, data queries.
//!
//! The rows are those there are when a job is accepted. Incremental AQuA
//! (`incrementalTime`) is not emulated: every export is a full one.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Record, Store, dates, object, objects::kind_of, text, zoql};
use crate::{
    answers::{self, Answer},
    call::Call,
    category::Category,
    soap::Object,
};

/// More jobs than this are not remembered, nor more files.
const MOST_JOBS: usize = 1_000;
const MOST_FILES: usize = 1_000;

/// More bytes of files than this are not kept at once.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// How long the address of a result is good, in seconds.
const PRESIGNED_SECONDS: u32 = 14_400;

const CSV: &str = "text/csv;charset=UTF-8";

/// The jobs that were accepted, and the files that they left.
#[derive(Debug, Default)]
pub(super) struct Exports {
    jobs: BTreeMap<String, Job>,
    files: VecDeque<File>,
}

#[derive(Debug)]
struct Job {
    /// What all views of it have.
    told: Record,
    accepted: Instant,
    cancelled: bool,
    results: Vec<Result<Made, String>>,
}

/// The outcome of one query.
#[derive(Clone, Debug)]
struct Made {
    file: String,
    rows: usize,
    bytes: usize,
}

#[derive(Debug)]
struct File {
    id: String,
    kind: &'static str,
    bytes: Bytes,
    /// What the address of it carries as its signature.
    signature: String,
}

/// The rows of a query.
struct Rows {
    header: Vec<String>,
    rows: Vec<Vec<Value>>,
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Working,
    Completed,
    Failed,
    Cancelled,
}

impl Exports {
    /// Keeps a file and returns its id; the oldest go when there are too many.
    fn keep(&mut self, id: String, kind: &'static str, bytes: Bytes) -> String {
        let signature = format!("{:032x}", rand::random::<u128>());
        self.files.push_back(File { id: id.clone(), kind, bytes, signature });
        let size =
            |files: &VecDeque<File>| files.iter().map(|file| file.bytes.len()).sum::<usize>();
        while self.files.len() > MOST_FILES
            || (self.files.len() > 1 && size(&self.files) > MOST_BYTES)
        {
            self.files.pop_front();
        }
        id
    }

    fn file(&self, id: &str) -> Option<&File> {
        self.files.iter().find(|file| file.id == id)
    }

    fn accept(&mut self, id: &str, told: Record, results: Vec<Result<Made, String>>) {
        if self.jobs.len() >= MOST_JOBS {
            self.jobs.pop_first();
        }
        let accepted = Instant::now();
        self.jobs.insert(id.to_owned(), Job { told, accepted, cancelled: false, results });
    }
}

impl Store {
    /// AQuA: `POST /v1/batch-query/` and its jobs.
    pub(super) fn batch_query(&mut self, call: &Call, rest: &[&str]) -> Option<Answer> {
        match (call.method.as_str(), rest) {
            ("POST", []) => Some(self.post_batch_query(call)),
            ("GET", ["jobs", id]) => Some(self.show_batch_job(call, id)),
            ("DELETE", ["jobs", id]) => {
                if let Some(job) = self.exports.jobs.get_mut(*id) {
                    job.cancelled = true;
                }
                Some(self.show_batch_job(call, id))
            }
            _ => None,
        }
    }

    fn post_batch_query(&mut self, call: &Call) -> Answer {
        let wishes = call.json["queries"].as_array().cloned().unwrap_or_default();
        let id = self.next_id();
        let mut told = Record::new();
        for name in ["name", "project", "partner", "format", "version", "encrypted"] {
            told.insert(name.to_owned(), call.json[name].clone());
        }
        told.insert("queries".to_owned(), wishes.clone().into());
        let results = wishes.iter().map(|wish| {
            let deleted = wish["deleted"]["column"].as_str();
            self.export_to_csv(wish["query"].as_str().unwrap_or_default(), deleted)
        });
        let results = results.collect();
        self.exports.accept(&id, told, results);
        self.show_batch_job(call, &id)
    }

    fn show_batch_job(&self, call: &Call, id: &str) -> Answer {
        let Some(job) = self.exports.jobs.get(id) else {
            return Answer::ok(&json!({"errorCode": 90_006, "message": "The job id is invalid."}));
        };
        let state = self.state_of(job);
        let is_new = call.method == "POST";
        let word = match state {
            State::Working | State::Completed if is_new => "submitted",
            State::Working => "executing",
            State::Completed => "completed",
            State::Failed => "error",
            State::Cancelled => "cancelled",
        };
        let wishes = job.told["queries"].as_array().into_iter().flatten();
        let batches: Vec<Value> = wishes
            .zip(&job.results)
            .enumerate()
            .map(|(nth, (wish, result))| {
                let mut batch = object(&json!({
                    "batchId": format!("{id}-{nth}"), "batchType": wish["type"],
                    "apiVersion": wish["apiVersion"], "name": wish["name"],
                    "query": wish["query"], "full": true, "recordCount": 0,
                    "status": if is_new && state != State::Failed { "pending" } else { word },
                }));
                match result {
                    Ok(made) if state == State::Completed && !is_new => {
                        batch.insert("recordCount".into(), made.rows.into());
                        batch.insert("fileId".into(), made.file.clone().into());
                    }
                    Ok(_) => {}
                    Err(message) => {
                        batch.insert("message".into(), message.clone().into());
                    }
                }
                Value::Object(batch)
            })
            .collect();
        let mut body = job.told.clone();
        body.remove("queries");
        body.insert("id".into(), id.into());
        body.insert("status".into(), word.into());
        body.insert("batches".into(), batches.into());
        if state == State::Failed {
            let message = "There is a syntax error in one of the queries in the AQuA input";
            body.insert("errorCode".into(), 90_005.into());
            body.insert("message".into(), message.into());
        }
        Answer::ok(&Value::Object(body))
    }

    /// Exports: `POST /v1/object/export`, and how far one has come.
    pub(super) fn exports(&mut self, call: &Call, rest: &[&str]) -> Option<Answer> {
        match (call.method.as_str(), rest) {
            ("POST", []) => {
                let query = call.json["Query"].as_str().unwrap_or_default().to_owned();
                Some(match self.export_to_csv(&query, None) {
                    Err(message) => {
                        let message = format!("noSuchDataSource: {message}");
                        let failed = answers::row_failure(Category::InvalidValue, &message);
                        Answer::json(StatusCode::BAD_REQUEST, &failed)
                    }
                    made => {
                        let id = self.next_id();
                        let told = object(&json!({
                            "Query": query, "Format": call.json["Format"],
                            "Name": call.json["Name"], "CreatedDate": dates::now(),
                        }));
                        self.exports.accept(&id, told, vec![made]);
                        Answer::ok(&json!({"Success": true, "Id": id}))
                    }
                })
            }
            ("GET", [id]) => {
                let job = self.exports.jobs.get(*id)?;
                let mut body = job.told.clone();
                body.insert("Id".into(), (*id).into());
                let made = job.results.first().and_then(|result| result.as_ref().ok());
                match (self.state_of(job), made) {
                    (State::Completed, Some(made)) => {
                        body.insert("Status".into(), "Completed".into());
                        body.insert("FileId".into(), made.file.clone().into());
                        body.insert("Size".into(), made.bytes.into());
                    }
                    _ => {
                        body.insert("Status".into(), "Processing".into());
                    }
                }
                Some(Answer::ok(&Value::Object(body)))
            }
            _ => None,
        }
    }

    /// Data queries: `/query/jobs`.
    pub(super) fn data_query(&mut self, call: &Call, rest: &[&str]) -> Option<Answer> {
        match (call.method.as_str(), rest) {
            ("POST", []) => Some(self.post_data_query(call)),
            ("GET", []) => {
                let queries =
                    self.exports.jobs.iter().filter(|(_, job)| job.told.contains_key("query"));
                let list: Vec<Value> =
                    queries.map(|(id, job)| self.data_query_view(id, job)).collect();
                Some(Answer::ok(&json!({"data": list})))
            }
            ("GET", [id]) => Some(self.show_data_query(call, id)),
            ("DELETE", [id]) => {
                if let Some(job) = self.exports.jobs.get_mut(*id) {
                    job.cancelled = true;
                }
                Some(self.show_data_query(call, id))
            }
            _ => None,
        }
    }

    fn post_data_query(&mut self, call: &Call) -> Answer {
        let query = call.json["query"].as_str().unwrap_or_default();
        let rows = match zoql::parse_export(query).and_then(|query| self.export(&query)) {
            Ok(rows) => rows,
            Err(message) => {
                let body = json!({"errorCode": "LINK_10000001", "errorMessage": message});
                return Answer::ok(&json!({"data": body}));
            }
        };
        let format = call.json["outputFormat"].as_str().unwrap_or("JSON");
        let compression = call.json["compression"].as_str().unwrap_or("NONE");
        let (text, kind) = match format {
            "CSV" => (rows.to_csv(','), "text/csv"),
            "TSV" => (rows.to_csv('\t'), "text/tab-separated-values"),
            _ => (rows.to_json_lines(), "application/json"),
        };
        let (bytes, kind) = match compression {
            "GZIP" => (gzip(text.as_bytes()), "application/gzip"),
            _ => (Bytes::from(text), kind),
        };
        let (id, file) = (self.next_id(), self.next_id());
        let size = bytes.len();
        let file = self.exports.keep(file, kind, bytes);
        let told = object(&json!({
            "query": query, "outputFormat": format, "compression": compression,
            "output": {"target": "S3"}, "createdBy": "2c92c0f9000040008000000000000002",
            "updatedOn": dates::now(), "remainingRetries": 3, "retries": 3,
        }));
        self.exports.accept(&id, told, vec![Ok(Made { file, rows: rows.rows.len(), bytes: size })]);
        self.show_data_query(call, &id)
    }

    fn show_data_query(&self, call: &Call, id: &str) -> Answer {
        match self.exports.jobs.get(id) {
            Some(job) => {
                let mut view = self.data_query_view(id, job);
                if call.method == "POST" {
                    view =
                        object(&view).into_iter().filter(|(name, _)| name != "dataFile").collect();
                    view["queryStatus"] = "accepted".into();
                }
                Answer::ok(&json!({"data": view}))
            }
            None => super::not_found(call, "query job", id),
        }
    }

    fn data_query_view(&self, id: &str, job: &Job) -> Value {
        let mut view = job.told.clone();
        view.insert("id".into(), id.into());
        let made = job.results.first().and_then(|result| result.as_ref().ok());
        let word = match (self.state_of(job), made) {
            (State::Completed, Some(made)) => {
                view.insert("outputRows".into(), made.rows.into());
                view.insert("dataFile".into(), self.presigned(&made.file).into());
                "completed"
            }
            (State::Cancelled, _) => "cancelled",
            _ => "in_progress",
        };
        view.insert("queryStatus".into(), word.into());
        Value::Object(view)
    }

    /// The address of a file in an object store, good for a while and without
    /// any credential: another host than the tenant's at Zuora, here the same.
    fn presigned(&self, file: &str) -> Option<String> {
        let signature = &self.exports.file(file)?.signature;
        Some(format!(
            "{}/emulator/bucket/{file}?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Expires={PRESIGNED_SECONDS}&X-Amz-Signature={signature}",
            self.bucket_url
        ))
    }

    /// What an object store answers: the file to who has the address, and
    /// nothing to who brings another credential besides.
    pub(crate) fn stored_file(&self, call: &Call, id: &str) -> Answer {
        let trouble = |status, code: &str| {
            let body = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code></Error>");
            Answer::text(status, "application/xml", body)
        };
        if call.headers.contains_key(header::AUTHORIZATION) {
            return trouble(StatusCode::BAD_REQUEST, "InvalidArgument");
        }
        match self.exports.file(id) {
            Some(file) if call.parameter("X-Amz-Signature") == Some(file.signature.as_str()) => {
                Answer::new(StatusCode::OK, HeaderValue::from_static(file.kind), file.bytes.clone())
            }
            _ => trouble(StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
        }
    }

    /// The file that a job left, if it is one.
    pub(super) fn exported_file(&self, call: &Call, id: &str) -> Option<Answer> {
        if call.method != "GET" && call.method != "HEAD" {
            return None;
        }
        let file = self.exports.file(id)?;
        let kind = HeaderValue::from_static(file.kind);
        let answer = Answer::new(StatusCode::OK, kind, file.bytes.clone());
        let disposition = HeaderValue::try_from(format!("attachment; filename=\"{id}.csv\""));
        Some(answer.with(header::CONTENT_DISPOSITION, disposition.ok()?))
    }

    fn state_of(&self, job: &Job) -> State {
        if job.results.iter().any(Result::is_err) || job.results.is_empty() {
            State::Failed
        } else if job.cancelled {
            State::Cancelled
        } else if job.accepted.elapsed() < self.job_time {
            State::Working
        } else {
            State::Completed
        }
    }

    /// Answers a query with a file of comma-separated values.
    fn export_to_csv(&mut self, query: &str, deleted: Option<&str>) -> Result<Made, String> {
        let query = zoql::parse_export(query)?;
        let mut rows = self.export(&query)?;
        if let Some(column) = deleted {
            // What was removed is gone here, so nothing that is found was.
            rows.header.push(column.to_owned());
            rows.rows.iter_mut().for_each(|row| row.push(false.into()));
        }
        let bytes = Bytes::from(rows.to_csv(','));
        let (size, id) = (bytes.len(), self.next_id());
        let file = self.exports.keep(id, CSV, bytes);
        Ok(Made { file, rows: rows.rows.len(), bytes: size })
    }

    fn export(&self, query: &zoql::Query) -> Result<Rows, String> {
        let kind = query.kind.as_str();
        if Object::named(kind).is_none() && !self.tables.contains_key(kind) {
            return Err(format!("there is no object `{kind}`"));
        }
        let header: Vec<String> = if query.asks_for_all() {
            let known = Object::named(kind).into_iter().flat_map(Object::fields);
            known.map(str::to_owned).collect()
        } else {
            query.fields.clone()
        };
        let mut found: Vec<&Record> =
            self.rows(kind).filter(|record| query.matches(record)).collect();
        if let Some((field, falling)) = &query.order {
            found.sort_by_cached_key(|record| field_of(record, field).to_string());
            if *falling {
                found.reverse();
            }
        }
        let found = found.into_iter().take(query.limit.unwrap_or(usize::MAX));
        let rows = found
            .map(|record| header.iter().map(|field| self.joined(kind, record, field)).collect())
            .collect();
        Ok(Rows { header, rows })
    }

    /// A field of a record, or of the object that the record names.
    fn joined(&self, kind: &str, record: &Record, field: &str) -> Value {
        let Some((other, field)) = field.split_once('.') else { return field_of(record, field) };
        if kind_of(other) == kind {
            return field_of(record, field);
        }
        let id = field_of(record, &format!("{other}Id"));
        if field.eq_ignore_ascii_case("id") {
            return id;
        }
        let found = self.find(&kind_of(other), id.as_str().unwrap_or_default());
        found.map_or(Value::Null, |found| field_of(found, field))
    }

    /// The catalogue of objects that can be described.
    pub(super) fn describe_all(&self) -> Answer {
        let mut objects = String::new();
        for Object { name, .. } in &crate::soap::OBJECTS {
            objects.push_str(&format!(
                "  <object href=\"{}/v1/describe/{name}\"><name>{name}</name>\
                 <label>{name}</label></object>\n",
                self.base_url
            ));
        }
        let page =
            format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<objects>\n{objects}</objects>\n");
        Answer::text(StatusCode::OK, "text/xml;charset=UTF-8", page)
    }
}

impl Rows {
    fn to_csv(&self, separator: char) -> String {
        let mut text = String::new();
        write_line(&mut text, self.header.iter().cloned(), separator);
        for row in &self.rows {
            let cells = row.iter().map(|value| match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            write_line(&mut text, cells, separator);
        }
        text
    }

    fn to_json_lines(&self) -> String {
        let lines = self.rows.iter().map(|row| {
            let record: Record = self.header.iter().cloned().zip(row.iter().cloned()).collect();
            Value::Object(record).to_string() + "\n"
        });
        lines.collect()
    }
}

fn write_line(text: &mut String, cells: impl Iterator<Item = String>, separator: char) {
    for (nth, cell) in cells.enumerate() {
        if nth > 0 {
            text.push(separator);
        }
        if cell.contains([separator, '"', '\n', '\r']) {
            text.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
        } else {
            text.push_str(&cell);
        }
    }
    text.push('\n');
}

fn field_of(record: &Record, name: &str) -> Value {
    let found = record.iter().find(|(one, _)| one.eq_ignore_ascii_case(name));
    let own = found.map(|(_, value)| value.clone()).filter(|value| !value.is_null());
    own.unwrap_or_else(|| match name {
        // What the schema calls otherwise than the data.
        name if name.eq_ignore_ascii_case("name") => text(record, "subscriptionNumber").into(),
        _ => Value::Null,
    })
}

fn gzip(bytes: &[u8]) -> Bytes {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes every write");
    Bytes::from(encoder.finish().expect("memory takes every write"))
}
