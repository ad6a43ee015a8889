//! Names that the operator gives, as keys of a mapping.

use std::num::NonZeroU32;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::Scalar;
use crate::reading::nearest;

/// The limit types that operations have, with what Zuora allows by default
/// (Zuora: rate limits guide).
pub(crate) const KNOWN_LIMITS: [(&str, NonZeroU32); 3] = [
    (zuora::LimitType::Default.name(), NonZeroU32::new(40).expect("40 is not zero")),
    (zuora::LimitType::HighVolume.name(), NonZeroU32::new(200).expect("200 is not zero")),
    (zuora::LimitType::ObjectQuery.name(), NonZeroU32::new(80).expect("80 is not zero")),
];

/// The name of an app.
#[derive(Debug)]
pub(crate) struct AppName;

/// The name of a tenant.
#[derive(Debug)]
pub(crate) struct TenantName;

/// Zuora's name of a limit type.
#[derive(Debug)]
pub(crate) struct LimitType;

impl Scalar for AppName {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if text.contains('-') {
            return Err("no hyphen, because the name begins the app's track ids and Zuora groups \
                        those by what stands before the first hyphen"
                .into());
        }
        let begins_well = text.starts_with(|c| c != '_' && inner(c));
        let good = begins_well && text.len() <= 24 && text.chars().all(inner);
        if good { Ok(Self) } else { Err(String::new()) }
    }

    fn expected() -> String {
        "an app name of 1 to 24 lower-case letters, digits and `_`, beginning with a letter or \
         digit"
            .into()
    }

    fn schema() -> Json {
        json!({"pattern": "^[a-z0-9][a-z0-9_]{0,23}$"})
    }
}

impl Scalar for TenantName {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let good = begins_well && text.len() <= 64 && text.chars().all(inner);
        if good { Ok(Self) } else { Err(String::new()) }
    }

    fn expected() -> String {
        "a tenant name of 1 to 64 letters, digits, `_`, `-` and `.`, beginning with a letter or \
         digit"
            .into()
    }

    fn schema() -> Json {
        json!({"pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"})
    }
}

impl Scalar for LimitType {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        // No operation counts against any other name: the limit would never apply.
        let known = KNOWN_LIMITS.map(|(name, _)| name);
        if known.contains(&text) {
            return Ok(Self);
        }
        if let Some(name) = known.into_iter().find(|name| name.eq_ignore_ascii_case(text)) {
            return Err(format!("Zuora writes `{name}`"));
        }
        Err(nearest(text, known).map(|name| format!("did you mean `{name}`?")).unwrap_or_default())
    }

    fn expected() -> String {
        let names = KNOWN_LIMITS.map(|(name, _)| format!("`{name}`"));
        format!("a limit type by Zuora's own name, one of {}", names.join(", "))
    }

    fn schema() -> Json {
        json!({"enum": KNOWN_LIMITS.map(|(name, _)| name)})
    }
}
