//! The YAML file described for editors.

use serde_json::{Value, json};

use crate::file::File;
use crate::reading::Section;

/// The JSON Schema (2020-12) of the configuration file: every key with its
/// description, its default and what it may hold.
#[must_use]
pub fn schema() -> Value {
    let mut schema = <File as Section>::schema();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("zuora-gateway");
    schema
}

/// The lines of a documentation comment as one paragraph.
pub(crate) fn paragraph(lines: &str) -> String {
    lines.split_whitespace().collect::<Vec<_>>().join(" ")
}
