//! What a write is about: the accounts, subscriptions and orders that it names.
//!
//! Two writes that name the same one at the same time meet in Zuora's locks, and one of them is
//! rolled back (category 50). Whoever sends them one after another needs to know these names.
//!
//! | named in | examples |
//! |---|---|
//! | the path | `/v1/accounts/{account-key}`, `/v1/subscriptions/{subscription-key}/cancel`, `/v1/object/account/{id}` |
//! | a field of the JSON body, at any depth | `accountKey`, `existingAccountNumber`, `AccountId`, `subscriptions[].subscriptionNumber` |
//! | the rows of an Action | `{"type": "Account", "objects": [{"Id": …}]}` |
//!
//! An account has a number and an id, and a call names it by either: here these are two names. What
//! is missed costs a lock contention, what is named in vain costs a wait; neither is a mistake that
//! a customer sees. Nothing here allocates for a call that names nothing.

mod body;
mod path;

#[cfg(test)]
mod tests;

use http::{HeaderValue, Method};

use crate::media::Media;
use crate::operation::Operation;

/// How many subjects of one call count. A batch of more is about everything, and waits for those.
const MOST: usize = 8;

/// How much of a body is read for names, in bytes.
const LOOK: usize = 64 * 1024;

/// The longest name that counts, in bytes: Zuora's own keys are shorter.
const LONGEST_NAME: usize = 255;

/// One thing that a write is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// What it is.
    pub kind: SubjectKind,
    /// Its number or id, as the call has it, decoded.
    pub name: String,
}

/// What a write can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubjectKind {
    /// A customer's account, which owns the two others.
    Account,
    /// A subscription.
    Subscription,
    /// An order.
    Order,
}

/// The accounts, subscriptions and orders that a call names, path first, each once, at most eight.
///
/// `path` is the raw path without its query, `operation` what [`classify`](crate::classify) finds
/// for it; without one, the path is read by its words alone. `body` may be the beginning of a longer
/// one, and is read as JSON where `content_type` says so or says nothing. A read names nothing.
pub fn subjects(
    operation: Option<&Operation>,
    path: &str,
    content_type: Option<&HeaderValue>,
    body: &[u8],
) -> Vec<Subject> {
    let mut subjects = Subjects::default();
    if operation.is_some_and(|operation| operation.method == Method::GET) {
        return subjects.0;
    }
    path::read(operation, path, &mut subjects);
    if matches!(Media::of(content_type), Media::Json | Media::Unknown) {
        body::read(operation, &body[..body.len().min(LOOK)], &mut subjects);
    }
    subjects.0
}

/// What was found so far.
#[derive(Debug, Default)]
struct Subjects(Vec<Subject>);

impl Subjects {
    fn add(&mut self, kind: SubjectKind, name: &str) {
        if self.is_full() || name.is_empty() || name.len() > LONGEST_NAME {
            return;
        }
        if !self.0.iter().any(|known| known.kind == kind && known.name == name) {
            self.0.push(Subject { kind, name: name.to_owned() });
        }
    }

    fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }
}

impl SubjectKind {
    /// Of a field's or a path parameter's name: `accountKey`, `AccountId`, `account_number`,
    /// `account-key`.
    fn of_field(name: &str) -> Option<Self> {
        const LONGEST_FIELD: usize = 40;
        if name.len() > LONGEST_FIELD {
            return None;
        }
        let mut plain = [0; LONGEST_FIELD];
        let mut length = 0;
        for byte in name.bytes().filter(|byte| !matches!(byte, b'_' | b'-')) {
            plain[length] = byte.to_ascii_lowercase();
            length += 1;
        }
        let plain = &plain[..length];
        let owner =
            [&b"key"[..], b"number", b"id"].iter().find_map(|end| plain.strip_suffix(*end))?;
        match owner {
            b"account"
            | b"existingaccount"
            | b"destinationaccount"
            | b"destinationinvoiceaccount"
            | b"invoiceowneraccount"
            | b"invoiceowner"
            | b"subscriptionowneraccount" => Some(Self::Account),
            b"subscription" => Some(Self::Subscription),
            b"order" => Some(Self::Order),
            _ => None,
        }
    }

    /// Of the word that stands before its name in a path, or of an Action's `type`.
    fn of_word(word: &str) -> Option<Self> {
        const WORDS: [(&str, SubjectKind); 7] = [
            ("account", SubjectKind::Account),
            ("accounts", SubjectKind::Account),
            ("subscription", SubjectKind::Subscription),
            ("subscriptions", SubjectKind::Subscription),
            ("omni-channel-subscriptions", SubjectKind::Subscription),
            ("order", SubjectKind::Order),
            ("orders", SubjectKind::Order),
        ];
        WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, kind)| *kind)
    }
}
