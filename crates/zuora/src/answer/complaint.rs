//! Reads out of a body what it complains of, whichever of Zuora's shapes it has.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::RefusalKind;

/// "Only two requests are allowed within any 24-hour window", of charge metrics.
const TWO_A_DAY: &str = "53400070";

/// How much of a text that is neither JSON nor a SOAP fault is read for a sentence.
const LONGEST_SENTENCE: usize = 4096;

/// What a body says went wrong.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    /// What its `success` field says, if it has one.
    success: Option<bool>,
    /// Its only code is a number in a top-level field, which a mere record may have too.
    lone_number: bool,
    pub(super) codes: Vec<Category>,
    /// All messages in lower case, one per line.
    pub(super) message: String,
}

/// The last two digits of a code, as far as they matter here, or the word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    /// 11: Zuora does not accept who asks.
    Authentication,
    /// 70 as a category: a concurrency limit, unless the message says otherwise.
    Concurrency,
    /// 70 as the whole code: a rate limit.
    Rate,
    /// 50: another write held the lock, and this one was rolled back.
    Contention,
    /// 60 and 61: something at Zuora, perhaps gone in a moment.
    Temporary,
    /// A limit that no short wait cures.
    TwoADay,
    /// Any other category.
    Other,
    /// Not a code with a category, such as `UNKNOWN_ERROR` of old SOAP versions.
    Unknown,
}

impl Category {
    pub(super) fn is_limit(self) -> bool {
        matches!(self, Self::Concurrency | Self::Rate)
    }

    fn of(code: &str) -> Self {
        let code = code.trim();
        // SOAP writes `fns:REQUEST_EXCEEDED_LIMIT`.
        let code = code.split_once(':').map_or(code, |(_, word)| word);
        match code {
            "REQUEST_EXCEEDED_LIMIT" | "REQUEST_EXCEEDED_RATE" => Self::Concurrency,
            "LOCK_COMPETITION" => Self::Contention,
            "SERVER_UNAVAILABLE" | "TEMPORARY_ERROR" | "SystemError" => Self::Temporary,
            "INVALID_SESSION" => Self::Authentication,
            // Mediation's meters have a code of their own.
            "70" | "70002005" | "RATE_LIMITED" => Self::Rate,
            TWO_A_DAY => Self::TwoADay,
            _ if code.len() != 8 || !code.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::Unknown
            }
            _ => match &code[6..] {
                "11" => Self::Authentication,
                "50" => Self::Contention,
                "60" | "61" => Self::Temporary,
                "70" => Self::Concurrency,
                _ => Self::Other,
            },
        }
    }
}

impl Complaint {
    /// Reads a JSON object or a SOAP fault; `None` for anything else, cut ones included.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        match text.trim_ascii_start().first()? {
            b'{' => Some(serde_json::from_slice::<Envelope>(text).ok()?.into()),
            b'<' => soap_fault(text),
            _ => None,
        }
    }

    /// A sentence without a code, as on file downloads.
    pub(super) fn bare(text: &[u8]) -> Self {
        let text = &text[..text.len().min(LONGEST_SENTENCE)];
        Self { message: String::from_utf8_lossy(text).to_lowercase(), ..Self::default() }
    }

    /// Whether this is a complaint at all, rather than an answer that has such fields. Most reads
    /// and all object queries have no `success` field.
    pub(super) fn is_failure(&self) -> bool {
        self.success.map_or(!self.lone_number, |success| !success)
    }

    pub(super) fn is_success(&self) -> bool {
        self.success == Some(true)
    }

    pub(super) fn says_in_progress(&self) -> bool {
        ["in progress", "still process", "being processed"]
            .iter()
            .any(|words| self.message.contains(words))
    }

    pub(super) fn is_hopeless(&self) -> bool {
        self.codes.contains(&Category::TwoADay) || self.message.contains("24-hour window")
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

    fn add(&mut self, code: Category, message: Option<&str>) {
        self.codes.push(code);
        if let Some(message) = message {
            self.message.push_str(&message.to_lowercase());
            self.message.push('\n');
        }
    }
}

/// Every JSON shape in one. A body that has two of the names for one thing, or another type under
/// one of them, is not a complaint: reading it fails.
#[derive(Deserialize)]
struct Envelope {
    #[serde(alias = "Success")]
    success: Option<bool>,
    #[serde(alias = "Errors", alias = "errors")]
    reasons: Option<Vec<Reason>>,
    #[serde(rename = "FaultCode", alias = "faultcode")]
    fault_code: Option<Code>,
    #[serde(rename = "FaultMessage", alias = "faultstring")]
    fault_message: Option<String>,
    code: Option<Code>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(alias = "Code")]
    code: Option<Code>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

/// Zuora writes codes as numbers and as strings.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Number(u64),
    Word(String),
    Neither(IgnoredAny),
}

impl Code {
    fn is_number(&self) -> bool {
        match self {
            Self::Number(_) => true,
            Self::Word(word) => word.bytes().all(|byte| byte.is_ascii_digit()),
            Self::Neither(_) => false,
        }
    }

    fn category(&self) -> Category {
        match self {
            Self::Number(number) => Category::of(&number.to_string()),
            Self::Word(word) => Category::of(word),
            Self::Neither(_) => Category::Unknown,
        }
    }
}

impl From<Envelope> for Complaint {
    fn from(envelope: Envelope) -> Self {
        let mut complaint = Self { success: envelope.success, ..Self::default() };
        for reason in envelope.reasons.iter().flatten() {
            let category = reason.code.as_ref().map_or(Category::Unknown, Code::category);
            complaint.add(category, reason.message.as_deref());
        }
        if let Some(code) = &envelope.fault_code {
            complaint.add(code.category(), envelope.fault_message.as_deref());
        }
        match (&envelope.code, &envelope.message) {
            (Some(code), Some(message)) => {
                complaint.lone_number = complaint.codes.is_empty() && code.is_number();
                complaint.add(code.category(), Some(message));
            }
            (None, Some(message)) => complaint.message.push_str(&message.to_lowercase()),
            (_, None) => {}
        }
        complaint
    }
}

/// Reads a fault that is the first thing in the SOAP body, so that the word "fault" in somebody's
/// data is not taken for one. An expired session is the caller's own there, not our token.
fn soap_fault(text: &[u8]) -> Option<Complaint> {
    let body = after_start_tag(text, b"Body")?.trim_ascii_start();
    let tag_end = memchr::memchr2(b'>', b' ', body)?;
    if !matches!(&body[..tag_end], [b'<', name @ ..] if local(name) == b"Fault") {
        return None;
    }
    let code = element(body, b"FaultCode").or_else(|| element(body, b"faultcode"))?;
    let category = match Category::of(&code) {
        Category::Authentication => Category::Other,
        category => category,
    };
    let mut complaint = Complaint::default();
    complaint.add(category, element(body, b"faultstring").as_deref());
    Some(complaint)
}

/// The text of the first element with that local name.
fn element(xml: &[u8], name: &[u8]) -> Option<String> {
    let text = after_start_tag(xml, name)?;
    let end = memchr::memchr(b'<', text)?;
    Some(String::from_utf8_lossy(&text[..end]).into_owned())
}

/// What follows the first start tag with that local name, whatever its prefix and attributes.
fn after_start_tag<'a>(xml: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (_, rest) = memmem::find_iter(xml, name)
        .map(|at| (&xml[..at], &xml[at + name.len()..]))
        .find(|(before, rest)| opens_tag(before) && ends_name(rest))?;
    let end = memchr::memchr(b'>', rest)?;
    Some(&rest[end + 1..])
}

/// Whether a tag's name may follow: `<`, or `<` and a short prefix with a colon. The look back is
/// bounded, so that a body made of colons costs no more than another.
fn opens_tag(before: &[u8]) -> bool {
    const LONGEST_PREFIX: usize = 32;
    let near = &before[before.len().saturating_sub(LONGEST_PREFIX)..];
    match memchr::memrchr(b'<', near).map(|at| &near[at + 1..]) {
        Some([]) => true,
        Some([prefix @ .., b':']) => prefix.iter().all(u8::is_ascii_alphanumeric),
        Some(_) | None => false,
    }
}

fn ends_name(rest: &[u8]) -> bool {
    matches!(rest.first(), Some(b'>' | b' ' | b'\t' | b'\r' | b'\n'))
}

fn local(name: &[u8]) -> &[u8] {
    name.rsplit(|byte| *byte == b':').next().unwrap_or(name)
}

/// Whether a body can possibly be a complaint of interest, told without parsing it.
///
/// Every shape has a key or a tag that ends in `ode`, and one of a few codes. Nearly all answers
/// are told apart by the first of these two, in nanoseconds; real parsing is for the few others.
pub(super) fn is_possible(text: &[u8]) -> bool {
    static KEY: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("ode\""));
    static WORDS: LazyLock<[Finder<'_>; 6]> = LazyLock::new(|| {
        [
            "REQUEST_EXCEEDED_",
            "INVALID_SESSION",
            "LOCK_COMPETITION",
            "SERVER_UNAVAILABLE",
            "TEMPORARY_ERROR",
            "SystemError",
        ]
        .map(Finder::new)
    });
    let says_word = || WORDS.iter().any(|word| word.find(text).is_some());

    match text.trim_ascii_start().first() {
        Some(b'{') => KEY.find(text).is_some() && (says_word() || has_code_number(text)),
        Some(b'<') => says_word(),
        _ => false,
    }
}

/// Whether `70`, or eight digits with a category of interest, stand anywhere.
fn has_code_number(text: &[u8]) -> bool {
    static NUMBERS: LazyLock<[Finder<'_>; 5]> =
        LazyLock::new(|| ["70", "11", "50", "60", "61"].map(Finder::new));
    NUMBERS.iter().any(|number| {
        number.find_iter(text).any(|at| {
            let before = text[..at].iter().rev().take(7).take_while(|byte| byte.is_ascii_digit());
            let ends = !text.get(at + 2).is_some_and(u8::is_ascii_digit);
            ends && matches!(before.count(), 0 | 6)
        })
    })
}
