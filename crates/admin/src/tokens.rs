//! What is shown of the tokens that a tenant's calls share.

use std::sync::Arc;

use credentials::{Life, Tokens};
use serde_json::{Value, json};

/// A token that calls share.
#[derive(Clone, Debug)]
pub struct KeptToken {
    /// The entity whose calls share it, if the tenant has several.
    pub entity: Option<Arc<str>>,
    /// Whether only SOAP calls do.
    pub for_soap: bool,
    /// Who keeps it.
    pub tokens: Arc<Tokens>,
}

impl KeptToken {
    pub(crate) fn state(&self) -> Value {
        let ends_in = match self.tokens.life() {
            Some(Life::Ends(left)) => Some(left.as_secs()),
            Some(Life::Open) | None => None,
        };
        json!({
            "entity": self.entity.as_deref(),
            "for_soap": self.for_soap,
            "ready": self.tokens.is_ready(),
            "idle": self.tokens.is_idle(),
            "expires_in_seconds": ends_in,
            "of_previous_credentials": self.tokens.is_of_previous(),
            "trouble": self.tokens.trouble().map(|error| error.to_string()),
        })
    }
}

/// The rest of the shortest life in seconds, of the tokens that somebody asks for: 0 if one of them is missing, infinite
/// if none tells its end.
pub(crate) fn expires_in_seconds(tokens: &[KeptToken]) -> f64 {
    let in_use = tokens.iter().filter(|kept| !kept.tokens.is_idle());
    let lives = in_use.map(|kept| match kept.tokens.life() {
        None => 0.0,
        Some(Life::Ends(left)) => left.as_secs_f64(),
        Some(Life::Open) => f64::INFINITY,
    });
    lives.fold(f64::INFINITY, f64::min)
}

/// Why the last fetch of one of them failed, the default entity's before the others'.
pub(crate) fn trouble(tokens: &[KeptToken]) -> Option<String> {
    let mut told = tokens.iter().filter_map(|kept| kept.tokens.trouble());
    told.next().map(|error| error.to_string())
}
