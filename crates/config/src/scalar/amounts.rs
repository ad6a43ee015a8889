//! Numbers, durations and sizes.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Scalar;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole<const MIN: u32, const MAX: u32>(pub(crate) u32);

/// A whole number from one to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count<const MAX: u32>(pub(crate) NonZeroU32);

/// A number from zero to `MAX`, `0.2`: so many times as much as something else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share<const MAX: u32>(pub(crate) f32);

/// A duration that may be days, `7d`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(pub(crate) Duration);

/// A number of bytes, `1MiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

impl<const MIN: u32, const MAX: u32> Scalar for Whole<MIN, MAX> {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        // `parse` alone would take `+5`.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number) && digits);
        number.map(Self).ok_or_else(String::new)
    }

    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn schema() -> Json {
        json!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}

impl<const MAX: u32> Scalar for Count<MAX> {
    fn read(text: &str, directory: &Path) -> Result<Self, String> {
        let Whole(number) = Whole::<1, MAX>::read(text, directory)?;
        NonZeroU32::new(number).map(Self).ok_or_else(String::new)
    }

    fn expected() -> String {
        Whole::<1, MAX>::expected()
    }

    fn schema() -> Json {
        Whole::<1, MAX>::schema()
    }
}

impl<const MAX: u32> Scalar for Share<MAX> {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        if text.ends_with('%') {
            return Err("write 20% as `0.2`".into());
        }
        // `parse` alone would take `+1`, `.2`, `1e1` and `inf`.
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_plain = is_digits(whole) && is_digits(fraction);
        let number = text.parse::<f32>().ok().filter(|_| is_plain);
        let number = number.filter(|number| f64::from(*number) <= f64::from(MAX));
        number.map(Self).ok_or_else(String::new)
    }

    fn expected() -> String {
        format!("a number from 0 to {MAX} such as `0.2`")
    }

    fn schema() -> Json {
        json!({"type": "number", "minimum": 0, "maximum": MAX})
    }
}

impl Scalar for Duration {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
        let milliseconds = measure(text, UNITS)?;
        if milliseconds == 0 {
            return Err("it must be longer than nothing".into());
        }
        if milliseconds > 86_400_000 {
            return Err("it must be at most 24h".into());
        }
        Ok(Self::from_millis(milliseconds))
    }

    fn expected() -> String {
        "a duration such as `30s`".into()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"})
    }
}

impl Scalar for Span {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        const UNITS: &[(&str, u64)] =
            &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let milliseconds = measure(text, UNITS)?;
        if milliseconds == 0 {
            return Err("it must be longer than nothing".into());
        }
        if milliseconds > 365 * 86_400_000 {
            return Err("it must be at most 365d".into());
        }
        Ok(Self(Duration::from_millis(milliseconds)))
    }

    fn expected() -> String {
        "a duration such as `24h` or `7d`".into()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"})
    }
}

impl Scalar for Bytes {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        const UNITS: &[(&str, u64)] = &[
            ("B", 1),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("KB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
        ];
        let bytes = measure(text, UNITS)?;
        if bytes > 1 << 40 {
            return Err("it must be at most 1024GiB".into());
        }
        Ok(Self(bytes))
    }

    fn expected() -> String {
        "a size such as `1MiB`".into()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|KB|MB|GB)$"})
    }
}

/// A number followed by one of `units`, in the smallest of them.
fn measure(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| String::new())?;
    let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    if unit.is_empty() {
        return Err(format!("write the unit behind the number ({names})"));
    }
    let scale = units.iter().find(|(name, _)| *name == unit);
    let (_, scale) = scale.ok_or_else(|| format!("the unit must be one of {names}"))?;
    number.checked_mul(*scale).ok_or_else(|| "it is too large".into())
}
