//! The entries of `allow` and `deny`: a pattern, an operation by its id, or a SOAP call by its name.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::Method;

use super::pattern::{Pattern, PatternError};
use crate::operation::{Operation, classify, operations};

/// The calls of Zuora's SOAP API (Zuora: SOAP API reference). It receives no new ones.
pub const SOAP_CALLS: [&str; 11] = [
    "amend",
    "create",
    "delete",
    "execute",
    "generate",
    "getUserInfo",
    "login",
    "query",
    "queryMore",
    "subscribe",
    "update",
];

/// Those of them that change nothing.
const SOAP_READS: [&str; 3] = ["getUserInfo", "query", "queryMore"];

/// What an entry of `allow` or `deny` speaks of.
#[derive(Clone, PartialEq, Eq)]
pub enum Rule {
    /// `GET /v1/accounts/*`.
    Path(Pattern),
    /// `operation POST_Account`.
    Operation(OperationRule),
    /// `SOAP query`, or `SOAP *` for every one.
    Soap(SoapRule),
}

/// One operation of the table, by the paths that Zuora takes for it.
#[derive(Clone, PartialEq, Eq)]
pub struct OperationRule {
    id: &'static str,
    /// Its template, with `*` for each parameter.
    template: Pattern,
    /// Those of the same method that a path of the template means instead, because they have literals wherever the two
    /// differ.
    instead: Vec<Pattern>,
    /// Those that it may mean instead: each of the two has a literal where the other one has a parameter.
    perhaps: Vec<Pattern>,
}

/// A SOAP call by its name; `None` for every one.
#[derive(Clone, PartialEq, Eq)]
pub struct SoapRule(Option<Box<str>>);

/// What is wrong with an entry, and what to write instead. Repeats nothing of it, as it may hold the value of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not a pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// `operation` and an id that the table does not have.
    #[error("no operation has this id: `zuora-gateway explain` tells the id of a call")]
    Operation,
    /// `SOAP` and something that is not the name of an element.
    #[error("after `SOAP` comes the name of a call such as `query`, or `*`")]
    Soap,
    /// `SOAP` and a name that is one of Zuora's but for its letter case.
    #[error("Zuora writes `{0}`")]
    SoapCase(&'static str),
    /// `SOAP login`, which no policy can judge: it comes before anybody knows who calls.
    #[error(
        "`login()` is answered by the gateway itself, for every app: leave it out, or write `SOAP *`"
    )]
    SoapLogin,
}

impl Rule {
    /// Reads an entry as it is written in the configuration.
    ///
    /// # Errors
    /// If it is none of a pattern, an operation that the table has, and the name of a SOAP call.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let words: Vec<_> = text.split_whitespace().collect();
        match words[..] {
            ["operation", id] => Ok(Self::Operation(OperationRule::of(id)?)),
            ["SOAP", name] => Ok(Self::Soap(SoapRule::of(name)?)),
            _ => Ok(Self::Path(Pattern::parse(text)?)),
        }
    }

    /// Whether everything that it names may change something, so that an app which only reads may do none of it.
    pub fn names_only_writes(&self) -> bool {
        let mut reads = operations().iter().filter(|operation| operation.only_reads());
        match self {
            Self::Path(pattern) => {
                !pattern.covers_reads()
                    && !pattern.may_be_soap()
                    && !reads.any(|read| pattern.is_template(&read.method, read.path))
            }
            Self::Operation(rule) => !reads.any(|read| read.id == rule.id),
            Self::Soap(SoapRule(name)) => !name.as_deref().is_none_or(soap_only_reads),
        }
    }

    /// The operations that a call may be which it names, in the order of the table. None for what no
    /// operation of the table is, and for SOAP calls.
    pub fn operations(&self) -> impl Iterator<Item = &'static Operation> {
        operations().iter().filter(|operation| match self {
            Self::Operation(rule) => rule.id == operation.id,
            Self::Path(pattern) => match pattern.only_call() {
                Some((method, path)) => classify(method, &path) == Some(*operation),
                None => pattern.may_be_template(&operation.method, operation.path),
            },
            Self::Soap(_) => false,
        })
    }

    /// Whether this is one of `SOAP …`.
    pub fn is_soap(&self) -> bool {
        matches!(self, Self::Soap(_))
    }

    /// Whether it names this reading of a path, to the letter.
    pub(super) fn allows(&self, method: &Method, path: &[Cow<'_, str>]) -> bool {
        match self {
            Self::Path(pattern) => pattern.matches(method, path),
            Self::Operation(rule) => rule.is(method, path),
            Self::Soap(_) => false,
        }
    }

    /// Whether it may name this reading of a path, if letter case did not count.
    pub(super) fn denies(&self, method: &Method, path: &[Cow<'_, str>]) -> bool {
        match self {
            Self::Path(pattern) => pattern.matches_in_any_case(method, path),
            Self::Operation(rule) => rule.may_be(method, path),
            Self::Soap(_) => false,
        }
    }

    /// Whether it names the SOAP call `name`, to the letter.
    pub(super) fn allows_soap(&self, name: &str) -> bool {
        matches!(self, Self::Soap(SoapRule(own)) if own.as_deref().is_none_or(|own| own == name))
    }

    /// Whether it may name the SOAP call `name`, if letter case did not count.
    pub(super) fn denies_soap(&self, name: &str) -> bool {
        let is = |own: &str| own.eq_ignore_ascii_case(name);
        matches!(self, Self::Soap(SoapRule(own)) if own.as_deref().is_none_or(is))
    }
}

impl OperationRule {
    fn of(id: &str) -> Result<Self, RuleError> {
        let own = operations().iter().find(|operation| operation.id == id);
        Ok(Self::from(own.ok_or(RuleError::Operation)?))
    }

    /// Whether a path means this operation and no other.
    fn is(&self, method: &Method, path: &[Cow<'_, str>]) -> bool {
        let is_another = |others: &[Pattern]| others.iter().any(|it| it.matches(method, path));
        self.template.matches(method, path)
            && !is_another(&self.instead)
            && !is_another(&self.perhaps)
    }

    /// Whether a path may mean this operation, to whoever reads it.
    fn may_be(&self, method: &Method, path: &[Cow<'_, str>]) -> bool {
        self.template.matches_in_any_case(method, path)
            && !self.instead.iter().any(|other| other.matches(method, path))
    }
}

impl From<&Operation> for OperationRule {
    fn from(own: &Operation) -> Self {
        let others = |relation: Relation| {
            let others = operations().iter().filter(|other| other.method == own.method);
            let others = others.filter(|other| Relation::of(other.path, own.path) == relation);
            others.map(template).collect()
        };
        Self {
            id: own.id,
            template: template(own),
            instead: others(Relation::Closer),
            perhaps: others(Relation::Beside),
        }
    }
}

impl SoapRule {
    fn of(name: &str) -> Result<Self, RuleError> {
        if name == "*" {
            return Ok(Self(None));
        }
        let known = SOAP_CALLS.into_iter().find(|known| known.eq_ignore_ascii_case(name));
        match known {
            Some(known) if known != name => Err(RuleError::SoapCase(known)),
            Some("login") => Err(RuleError::SoapLogin),
            _ if is_name(name) => Ok(Self(Some(name.into()))),
            _ => Err(RuleError::Soap),
        }
    }
}

/// Whether the SOAP call `name` changes nothing.
pub(super) fn soap_only_reads(name: &str) -> bool {
    SOAP_READS.contains(&name)
}

fn template(operation: &Operation) -> Pattern {
    let segments = operation.path.split('/').skip(1);
    let plain = segments.map(|segment| if is_parameter(segment) { "*" } else { segment });
    Pattern::of(operation.method.clone(), plain.collect())
}

/// What one template is to another, for the paths that fit both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// It has literals wherever they differ, so such a path means it.
    Closer,
    /// Each has a literal where the other one has a parameter.
    Beside,
    /// There is no such path, or it means the other one.
    None,
}

impl Relation {
    fn of(one: &str, other: &str) -> Self {
        if one.split('/').count() != other.split('/').count() {
            return Self::None;
        }
        let (mut is_closer, mut is_wider) = (false, false);
        for (one, other) in one.split('/').zip(other.split('/')) {
            match (is_parameter(one), is_parameter(other)) {
                (false, false) if one != other => return Self::None,
                (false, true) => is_closer = true,
                (true, false) => is_wider = true,
                _ => {}
            }
        }
        match (is_closer, is_wider) {
            (true, false) => Self::Closer,
            (true, true) => Self::Beside,
            (false, _) => Self::None,
        }
    }
}

pub(super) fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

/// Whether it can be the name of an XML element, of those that anybody gives one.
fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.len() <= 64
        && name.chars().all(inner)
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        Self::parse(text)
    }
}

impl From<Pattern> for Rule {
    fn from(pattern: Pattern) -> Self {
        Self::Path(pattern)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(pattern) => pattern.fmt(f),
            Self::Operation(rule) => write!(f, "operation {}", rule.id),
            Self::Soap(SoapRule(name)) => write!(f, "SOAP {}", name.as_deref().unwrap_or("*")),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl fmt::Debug for OperationRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

impl fmt::Debug for SoapRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("*"))
    }
}
