//! The ways in which a path can be read.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// One way to read a path: its segments, decoded. A segment may hold a slash.
pub(super) type Reading<'a> = Vec<Cow<'a, str>>;

/// How one reading treats what is ambiguous.
#[derive(Clone, Copy)]
struct Treatment {
    /// `%2F` separates segments.
    splits_encoded_slash: bool,
    /// Empty segments are dropped.
    merges_slashes: bool,
    parameters: Parameters,
}

/// What becomes of `;v=1` at the end of a segment.
#[derive(Clone, Copy)]
enum Parameters {
    Kept,
    /// Dropped before decoding, so that `%3B` stays.
    DroppedRaw,
    /// Dropped after decoding.
    DroppedDecoded,
}

/// Every reading of a path, without its query. A plain path has one, and none of it is copied.
pub(super) fn readings(path: &str) -> Vec<Reading<'_>> {
    let has_slash = has_encoded(path, b"2f");
    let has_parameters = path.contains(';') || has_encoded(path, b"3b");
    let has_empty = path.contains("//") || has_slash || has_parameters;

    let mut readings = Vec::with_capacity(2);
    for &splits_encoded_slash in choices(has_slash) {
        for &merges_slashes in choices(has_empty) {
            for &parameters in parameters(has_parameters) {
                let treatment = Treatment { splits_encoded_slash, merges_slashes, parameters };
                add_with_aliases(&mut readings, treatment.read(path));
            }
        }
    }
    readings
}

/// `/rest/v1/…` is how older clients spell `/v1/…`, so it is read as that; in another letter case
/// it may be that. `/v1/async/X` does what `/v1/X` does, only later, so it is both.
fn add_with_aliases<'a>(readings: &mut Vec<Reading<'a>>, mut reading: Reading<'a>) {
    if begins(&reading, &["rest", "v1"]) {
        if reading[0] != "rest" || reading[1] != "v1" {
            readings.push(reading.clone());
        }
        reading.remove(0);
    }
    if begins(&reading, &["v1", "async"]) {
        let mut sync = reading.clone();
        sync.remove(1);
        readings.push(sync);
    }
    readings.push(reading);
}

pub(super) fn begins(reading: &Reading<'_>, segments: &[&str]) -> bool {
    reading.len() >= segments.len()
        && segments.iter().zip(reading).all(|(segment, read)| segment.eq_ignore_ascii_case(read))
}

fn choices(ambiguous: bool) -> &'static [bool] {
    if ambiguous { &[false, true] } else { &[false] }
}

fn parameters(present: bool) -> &'static [Parameters] {
    use Parameters::{DroppedDecoded, DroppedRaw, Kept};
    if present { &[Kept, DroppedRaw, DroppedDecoded] } else { &[Kept] }
}

fn has_encoded(path: &str, digits: &[u8; 2]) -> bool {
    let path = path.as_bytes();
    memchr::memchr_iter(b'%', path)
        .any(|at| path.get(at + 1..at + 3).is_some_and(|found| found.eq_ignore_ascii_case(digits)))
}

impl Treatment {
    fn read(self, path: &str) -> Reading<'_> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut segments = Reading::with_capacity(8);
        for raw in path.split('/') {
            let raw = if let Parameters::DroppedRaw = self.parameters { name(raw) } else { raw };
            let decoded = percent_decode_str(raw).decode_utf8_lossy();
            if self.splits_encoded_slash && decoded.contains('/') {
                segments.extend(decoded.split('/').map(|part| Cow::Owned(part.to_owned())));
            } else {
                segments.push(decoded);
            }
        }
        if let Parameters::DroppedDecoded = self.parameters {
            for segment in &mut segments {
                *segment = Cow::Owned(name(segment).to_owned());
            }
        }
        if self.merges_slashes {
            segments.retain(|segment| !segment.is_empty());
        }
        // A slash at the end changes nothing for Zuora, and real clients write one.
        segments.pop_if(|last| last.is_empty());
        segments
    }
}

fn name(segment: &str) -> &str {
    segment.split(';').next().unwrap_or(segment)
}
