//! Names that the operator gives, or that others gave.

use std::num::NonZeroU32;
use std::path::Path;

use http::HeaderName;
use serde_json::{Value as Json, json};

use super::Scalar;

/// The limit types that operations are known to have, with what Zuora allows by default
/// (Zuora: rate limits guide).
pub(crate) const KNOWN_LIMITS: [(&str, NonZeroU32); 3] = [
    (zuora::LimitType::Default.name(), NonZeroU32::new(40).expect("40 is not zero")),
    (zuora::LimitType::HighVolume.name(), NonZeroU32::new(200).expect("200 is not zero")),
    (zuora::LimitType::ObjectQuery.name(), NonZeroU32::new(80).expect("80 is not zero")),
];

/// What the gateway's own calls have in place of an app's name.
const GATEWAY: &str = "gateway";

/// The name of an app.
#[derive(Debug)]
pub(crate) struct AppName;

/// A user name as HTTP Basic can hold it.
#[derive(Clone, Debug)]
pub(crate) struct Username(pub(crate) String);

/// The name of a tenant.
#[derive(Debug)]
pub(crate) struct TenantName;

/// The name of an entity at Zuora, as a header field can hold it.
#[derive(Clone, Debug)]
pub(crate) struct EntityName(pub(crate) String);

/// Zuora's name of a limit type.
#[derive(Debug)]
pub(crate) struct LimitType;

/// The name of a header field that an app may send for the gateway to read and take away.
#[derive(Clone, Debug)]
pub(crate) struct FieldName(pub(crate) HeaderName);

impl Scalar for AppName {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if text.contains('-') {
            return Err("no hyphen, because the name begins the app's track ids and Zuora groups \
                        those by what stands before the first hyphen"
                .into());
        }
        if text == GATEWAY {
            return Err("the gateway's own calls go by this one".into());
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
        json!({"pattern": "^[a-z0-9][a-z0-9_]{0,23}$", "not": {"const": GATEWAY}})
    }
}

impl Scalar for Username {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        // RFC 7617 2: what stands before the first colon is the name.
        let good = !text.is_empty() && !text.contains([':']) && !text.contains(char::is_control);
        if good { Ok(Self(text.to_owned())) } else { Err(String::new()) }
    }

    fn expected() -> String {
        "a user name without colons".into()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[^:]+$"})
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

impl Scalar for EntityName {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let good = !text.is_empty() && text == text.trim() && !text.contains(char::is_control);
        if good { Ok(Self(text.to_owned())) } else { Err(String::new()) }
    }

    fn expected() -> String {
        "the name of an entity".into()
    }
}

/// Zuora adds limit types, and an answer may name any. So a name is refused only if no answer can, or if
/// it is all but one that is known: a limit that holds for nobody is worse than none.
impl Scalar for LimitType {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let known = KNOWN_LIMITS.map(|(name, _)| name);
        if known.contains(&text) {
            return Ok(Self);
        }
        if let Some(name) = known.into_iter().find(|name| name.eq_ignore_ascii_case(text)) {
            return Err(format!("Zuora writes `{name}`"));
        }
        let slip = |name: &&str| strsim::damerau_levenshtein(text, name) <= 2;
        if let Some(name) = known.into_iter().find(slip) {
            return Err(format!("did you mean `{name}`?"));
        }
        if text.eq_ignore_ascii_case(zuora::LimitType::Unlimited.name()) {
            return Err("it means that Zuora has no limit".into());
        }
        // What a header field can hold, and no more than the gateway would learn of one.
        let inner = |c: char| c == ' ' || c.is_ascii_graphic();
        let good = (1..=64).contains(&text.len()) && text.chars().all(inner) && text == text.trim();
        if good { Ok(Self) } else { Err(String::new()) }
    }

    fn expected() -> String {
        let names = KNOWN_LIMITS.map(|(name, _)| format!("`{name}`"));
        format!("a limit type by Zuora's own name, such as {}", names.join(", "))
    }

    fn schema() -> Json {
        let known = KNOWN_LIMITS.map(|(name, _)| name);
        json!({"anyOf": [{"enum": known}, {"pattern": "^[!-~]([ -~]{0,62}[!-~])?$"}]})
    }
}

impl Scalar for FieldName {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        let name = text.parse::<HeaderName>().map_err(|_| String::new())?;
        match taken(name.as_str()) {
            None => Ok(Self(name)),
            Some(why) => Err(why.into()),
        }
    }

    fn expected() -> String {
        "a header field of your own such as `X-End-User`".into()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"})
    }
}

/// Why a field cannot say for whom a call is.
fn taken(name: &str) -> Option<&'static str> {
    const HOP_BY_HOP: &[&str] = &[
        "connection",
        "expect",
        "http2-settings",
        "keep-alive",
        "max-forwards",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    const CREDENTIALS: &[&str] =
        &["apiaccesskeyid", "apisecretaccesskey", "authorization", "cookie", "signature", "token"];
    const MEANT_FOR_OTHERS: &[&str] =
        &["entityid", "entityname", "host", "idempotency-key", "prefer", "soapaction", "via"];
    const FAMILIES_FOR_OTHERS: &[&str] = &["accept", "content-", "zuora-", "x-zuora-"];
    if HOP_BY_HOP.contains(&name) || name.starts_with("proxy-") {
        Some("this one speaks of a single connection, and ends with it")
    } else if CREDENTIALS.contains(&name) {
        Some("this one holds a credential")
    } else if MEANT_FOR_OTHERS.contains(&name)
        || FAMILIES_FOR_OTHERS.iter().any(|family| name.starts_with(family))
    {
        Some("this one has another meaning, and Zuora would not get it")
    } else {
        None
    }
}
