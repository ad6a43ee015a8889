//! Reads `operations.tsv`, which is part of the program: a line that cannot be read is a bug, and
//! the first test of this module finds it.

use http::Method;

use super::{AsyncForm, IdempotencyKeys, LimitType, Operation};

const FILE: &str = include_str!("../operations.tsv");

/// The columns, in the order of the file's first line.
const COLUMNS: [&str; 8] = [
    "method",
    "path",
    "operation_id",
    "concurrency_type",
    "async_eligible",
    "async_suitable",
    "async_note",
    "idempotency_key",
];

/// Why an eligible operation is not worth sending there: the outcome of an async request is the id
/// of a resource and nothing else.
const ANSWER_IS_MORE_THAN_AN_ID: &str = "its answer is more than an id";

pub(super) fn read() -> Vec<Operation> {
    let mut lines = FILE.lines();
    let header = lines.next().map(columns);
    assert_eq!(header, Some(COLUMNS), "the first line of operations.tsv names the columns");
    lines.enumerate().map(operation).collect()
}

fn operation((place, line): (usize, &'static str)) -> Operation {
    let [method, path, id, limit, eligible, suitable, note, keys] = columns(line);
    Operation {
        id,
        method: self::method(method),
        path,
        limit_type: limit_type(limit),
        async_form: async_form(eligible, suitable, note),
        idempotency_keys: idempotency_keys(keys),
        place,
    }
}

fn columns(line: &'static str) -> [&'static str; COLUMNS.len()] {
    let mut fields = line.split('\t');
    let columns = COLUMNS.map(|column| {
        fields.next().unwrap_or_else(|| unreachable!("no {column} in operations.tsv: {line}"))
    });
    assert_eq!(fields.next(), None, "a line of operations.tsv has too many columns: {line}");
    columns
}

fn method(column: &str) -> Method {
    Method::from_bytes(column.as_bytes()).expect("operations.tsv holds method tokens only")
}

/// Calls that no rule places count as Zuora's `Default`: its guide says "everything else".
fn limit_type(column: &str) -> LimitType {
    match column {
        "Default" | "unknown" => LimitType::Default,
        "High-volume transactions" => LimitType::HighVolume,
        "Object Query" => LimitType::ObjectQuery,
        "none" => LimitType::Unlimited,
        other => unreachable!("operations.tsv has no concurrency type {other}"),
    }
}

fn async_form(eligible: &str, suitable: &str, note: &'static str) -> AsyncForm {
    match (eligible, suitable) {
        ("yes", "no") => AsyncForm::Ineligible(ANSWER_IS_MORE_THAN_AN_ID),
        ("yes", _) => AsyncForm::Eligible,
        ("no", _) => AsyncForm::Ineligible(note),
        ("unknown", _) => AsyncForm::Unknown(note),
        (other, _) => unreachable!("operations.tsv has no async eligibility {other}"),
    }
}

fn idempotency_keys(column: &str) -> IdempotencyKeys {
    match column {
        "yes" => IdempotencyKeys::Accepted,
        "no" => IdempotencyKeys::NotAccepted,
        "unknown" => IdempotencyKeys::Undeclared,
        other => unreachable!("operations.tsv has no idempotency {other}"),
    }
}
