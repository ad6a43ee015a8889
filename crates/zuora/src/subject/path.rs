//! Names in a path.

use percent_encoding::percent_decode_str;

use super::{SubjectKind, Subjects};
use crate::operation::Operation;

/// Reads the path by its operation's template, which tells a name from a word such as `preview`.
pub(super) fn read(operation: Option<&Operation>, path: &str, found: &mut Subjects) {
    let mut template = operation.map(|operation| segments(operation.path));
    let mut before = None;
    for segment in segments_after_rest(path) {
        let place = template.as_mut().map(|template| template.next().unwrap_or_default());
        let parameter = place.map(|place| place.strip_prefix('{'));
        // Without a template every segment may be a name.
        if let Some(parameter) = parameter.unwrap_or(Some("")) {
            let parameter = parameter.trim_end_matches('}');
            let kind = before.and_then(SubjectKind::of_word);
            if let Some(kind) = kind.or_else(|| SubjectKind::of_field(parameter)) {
                found.add(kind, &percent_decode_str(segment).decode_utf8_lossy());
            }
        }
        before = Some(segment);
    }
}

/// As Zuora classifies them: empty ones are nothing, and `/rest/v1` is `/v1`.
fn segments_after_rest(path: &str) -> impl Iterator<Item = &str> {
    let is_rest = segments(path).take(2).eq(["rest", "v1"]);
    segments(path).skip(usize::from(is_rest))
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}
