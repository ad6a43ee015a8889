//! What a body complains of, whichever of Zuora's shapes it has.

use super::category::Category;
use super::glance::Glance;
use super::{RefusalKind, json, soap};

/// How much of a text that is neither JSON nor a SOAP fault is read for a sentence.
const LONGEST_SENTENCE: usize = 4096;

/// What a body says went wrong.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    /// What its `success` field says, if it has one.
    pub(super) success: Option<bool>,
    /// It has fields that a complaint does not have: it may be a record of the caller's own with a
    /// field named `code`, or tell of something that was made before the failure.
    pub(super) holds_more: bool,
    /// Its only code is a number beside a sentence, as a record may have them, too.
    pub(super) is_lone_number: bool,
    /// The rows of an Action, each with an outcome of its own.
    pub(super) is_rows: bool,
    pub(super) codes: Vec<Category>,
    /// All messages in lower case, one per line.
    pub(super) message: String,
}

impl Complaint {
    /// Reads JSON or a SOAP envelope; `None` for anything else, cut ones included.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        match text.trim_ascii_start().first()? {
            b'{' | b'[' => json::read(text, false),
            b'<' => soap::read(text),
            _ => None,
        }
    }

    /// The same of a text that came with a status of success, and costs nothing if it is one.
    pub(super) fn read_if_any(text: &[u8]) -> Option<Self> {
        match Glance::at(text) {
            Glance::Success => None,
            Glance::Suspicious => json::read(text, true),
            Glance::Failure => Self::read(text),
        }
        .filter(Self::is_failure)
    }

    /// A sentence without a code, as on file downloads.
    pub(super) fn bare(text: &[u8]) -> Self {
        let text = &text[..text.len().min(LONGEST_SENTENCE)];
        Self { message: String::from_utf8_lossy(text).to_lowercase(), ..Self::default() }
    }

    /// Whether this is a complaint at all, where the status does not say so. Most reads and all
    /// object queries have no `success` field.
    fn is_failure(&self) -> bool {
        match self.success {
            Some(success) => !success,
            None => !self.codes.is_empty() && !self.holds_more && !self.is_lone_number,
        }
    }

    /// It has nothing to say, as `{}`.
    pub(super) fn is_empty(&self) -> bool {
        self.success.is_none() && !self.holds_more && !self.has_code() && self.message.is_empty()
    }

    pub(super) fn is_success(&self) -> bool {
        self.success == Some(true)
    }

    /// One that no wait of ours cures.
    pub(super) fn is_hopeless(&self) -> bool {
        self.codes.contains(&Category::TwoADay) || self.message.contains("24-hour window")
    }

    /// That the first request with the same `Idempotency-Key` is still being worked on.
    pub(super) fn says_in_progress(&self) -> bool {
        ["in progress", "in-progress", "still process", "still being", "being processed"]
            .iter()
            .any(|words| self.message.contains(words))
    }

    /// That another write held a lock, and nothing else: what is said of a key that is still at work
    /// may have the same category, and a new key would then do it twice.
    pub(super) fn is_contention(&self) -> bool {
        self.is_purely(|code| code == Category::Contention)
            && !self.message.contains("idempoten")
            && !self.says_in_progress()
    }

    pub(super) fn has_code(&self) -> bool {
        self.codes.iter().any(|code| *code != Category::Missing)
    }

    /// It complains of this, says so with every reason, and tells of nothing else.
    pub(super) fn is_purely(&self, of: impl Fn(Category) -> bool) -> bool {
        !self.is_rows && !self.holds_more && self.every_code(of)
    }

    pub(super) fn every_code(&self, is: impl Fn(Category) -> bool) -> bool {
        !self.codes.is_empty() && self.codes.iter().all(|code| is(*code))
    }

    /// The kind of limit, by its words first: they are plainer than the codes.
    pub(super) fn kind(&self) -> Option<RefusalKind> {
        if self.message.contains("concurrent request") {
            Some(RefusalKind::Concurrency)
        } else if self.message.contains("rate limit") || self.codes.contains(&Category::Rate) {
            Some(RefusalKind::Rate)
        } else if self.codes.contains(&Category::Concurrency) {
            Some(RefusalKind::Concurrency)
        } else {
            None
        }
    }

    pub(super) fn add(&mut self, code: Category, message: Option<&str>) {
        self.codes.push(code);
        self.say(message);
    }

    pub(super) fn say(&mut self, message: Option<&str>) {
        if let Some(message) = message {
            self.message.push_str(&message.to_lowercase());
            self.message.push('\n');
        }
    }
}
