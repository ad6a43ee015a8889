//! Durations as options have them.

use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Reads `250ms`, `2s` or `1.5s`.
///
/// # Errors
/// When the text is none of these.
pub fn duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: f64 = digits.parse().ok().with_context(|| format!("`{text}` has no number"))?;
    let seconds = match &text[digits.len()..] {
        "ms" => number / 1e3,
        "s" => number,
        _ => bail!("`{text}` has no unit: write `250ms` or `2s`"),
    };
    Duration::try_from_secs_f64(seconds).with_context(|| format!("`{text}` is no duration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("1.5s").unwrap(), Duration::from_millis(1500));

        for wrong in ["", "10", "s", "2m", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
