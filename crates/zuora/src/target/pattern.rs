//! The patterns of `allow` and `deny`: `GET /v1/accounts/*`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::Method;

use super::rule::is_parameter;

/// The methods that Zuora's API has, and the one that browsers ask with. A pattern may name these; others are more likely
/// a slip than a wish, and no request with another one is for Zuora.
pub const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// A method and a path with wildcards.
///
/// The method may be `*`. In the path, `*` stands for any characters within one segment, at least
/// one where it is the whole segment, and `**` as the last segment for any number of segments, none
/// included. Segments are compared after decoding, so a pattern is written in plain characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    /// `None` for every method.
    method: Option<Method>,
    segments: Vec<Box<str>>,
    /// Whether `**` ends the pattern.
    open_ended: bool,
    /// The path as it was written, where that is not the segments.
    written: Option<Box<str>>,
}

/// What is wrong with a pattern, and what to write instead. Repeats nothing of the pattern, which may
/// hold the value of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not two words.
    #[error("it needs a method and a path, with a space between them")]
    Shape,
    /// A method in lower case or none of HTTP.
    #[error("the method must be `*`, GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, in capitals")]
    Method,
    /// The path does not begin with a slash.
    #[error("the path must begin with `/`")]
    NotAbsolute,
    /// Two slashes in a row.
    #[error("the path has an empty segment: write one `/` between segments")]
    EmptySegment,
    /// A `.` or `..` segment, which no target that can be judged has.
    #[error("no call with a `.` or `..` segment is ever sent: write the path that it leads to")]
    DotSegment,
    /// `**` elsewhere than as the last segment.
    #[error("`**` stands for any rest, so it must be the whole last segment: write `*` within one")]
    DoubleStar,
    /// Percent-encoding.
    #[error("paths are compared decoded: write the character itself instead of `%` and its digits")]
    Encoded,
    /// Something that a path is compared without: a query, a fragment, parameters.
    #[error("paths are compared without what `{0}` begins: leave it out")]
    Beyond(char),
    /// A backslash or a control character, which no target that can be judged has.
    #[error("no call with the character {0:?} in its path is ever sent: leave it out")]
    NeverSent(char),
    /// A template of the API reference instead of a pattern.
    #[error("a parameter in braces is not read: write `*` in its place")]
    Braces,
}

impl Pattern {
    /// Reads a pattern as it is written in the configuration.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut words = text.split_whitespace();
        let (Some(method), Some(path), None) = (words.next(), words.next(), words.next()) else {
            return Err(PatternError::Shape);
        };
        let method = parse_method(method)?;
        let (segments, open_ended) = parse_path(path)?;
        let read = Self { method, segments, open_ended, written: None };
        let written = (read.path() != path).then(|| path.into());
        Ok(Self { written, ..read })
    }

    /// The pattern of these segments, none of which is `**`.
    pub(super) fn of(method: Method, segments: Vec<&str>) -> Self {
        let segments = segments.into_iter().map(Box::from).collect();
        Self { method: Some(method), segments, open_ended: false, written: None }
    }

    /// The path that the segments make.
    fn path(&self) -> String {
        let segments = self.segments.iter().map(|segment| &**segment);
        let last = self.open_ended.then_some("**");
        let path: String = segments.chain(last).flat_map(|segment| ["/", segment]).collect();
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// Whether its method is one that changes nothing, or any.
    pub(super) fn covers_reads(&self) -> bool {
        self.method.as_ref().is_none_or(Method::is_safe)
    }

    /// Whether it names calls to where the SOAP API is, which may be of any name.
    pub(super) fn may_be_soap(&self) -> bool {
        let fits = |at: usize, name: &str| match self.segments.get(at) {
            Some(glob) => segment_matches(glob.as_bytes(), name.as_bytes(), |a, b| a == b),
            None => self.open_ended,
        };
        self.covers(&Method::POST) && fits(0, "apps") && fits(1, "services")
    }

    /// Whether it names the path of an operation that has no parameters.
    pub(super) fn is_template(&self, method: &Method, path: &str) -> bool {
        let path: Vec<_> = path.split('/').skip(1).map(Cow::from).collect();
        self.matches(method, &path)
    }

    /// Whether a path of an operation may be one that it names.
    pub(super) fn may_be_template(&self, method: &Method, path: &str) -> bool {
        let template: Vec<_> = path.split('/').skip(1).collect();
        let fits = if self.open_ended {
            template.len() >= self.segments.len()
        } else {
            template.len() == self.segments.len()
        };
        fits && self.covers(method)
            && self.segments.iter().zip(template).all(|(glob, segment)| {
                is_parameter(segment)
                    || segment_matches(glob.as_bytes(), segment.as_bytes(), |a, b| a == b)
            })
    }

    /// The one call that it names; `None` if there may be others.
    pub(super) fn only_call(&self) -> Option<(&Method, String)> {
        let has_wildcard = self.open_ended || self.segments.iter().any(|it| it.contains('*'));
        let method = self.method.as_ref().filter(|_| !has_wildcard)?;
        Some((method, self.path()))
    }

    pub(super) fn matches(&self, method: &Method, path: &[Cow<'_, str>]) -> bool {
        self.matches_by(method, path, |a, b| a == b)
    }

    pub(super) fn matches_in_any_case(&self, method: &Method, path: &[Cow<'_, str>]) -> bool {
        self.matches_by(method, path, |a, b| a.eq_ignore_ascii_case(&b))
    }

    fn matches_by(&self, method: &Method, path: &[Cow<'_, str>], same: fn(u8, u8) -> bool) -> bool {
        let fits = if self.open_ended {
            path.len() >= self.segments.len()
        } else {
            path.len() == self.segments.len()
        };
        fits && self.covers(method)
            && self.segments.iter().zip(path).all(|(glob, segment)| {
                // A whole segment is one that is there.
                (&**glob != "*" || !segment.is_empty())
                    && segment_matches(glob.as_bytes(), segment.as_bytes(), same)
            })
    }

    fn covers(&self, method: &Method) -> bool {
        match &self.method {
            None => true,
            Some(own) => own == method || (own == Method::GET && method == Method::HEAD),
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = self.method.as_ref().map_or("*", Method::as_str);
        match &self.written {
            Some(path) => write!(f, "{method} {path}"),
            None => write!(f, "{method} {}", self.path()),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

fn parse_method(text: &str) -> Result<Option<Method>, PatternError> {
    if text == "*" {
        return Ok(None);
    }
    let found = METHODS.into_iter().find(|method| method.as_str() == text);
    found.map(Some).ok_or(PatternError::Method)
}

fn parse_path(path: &str) -> Result<(Vec<Box<str>>, bool), PatternError> {
    let rest = path.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
    path.chars().try_for_each(check_character)?;
    // A slash at the end changes nothing, as in the paths that are judged.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let mut segments: Vec<&str> =
        if rest.is_empty() { Vec::new() } else { rest.split('/').collect() };
    let open_ended = segments.pop_if(|last| *last == "**").is_some();
    for segment in &segments {
        match *segment {
            "" => return Err(PatternError::EmptySegment),
            "." | ".." => return Err(PatternError::DotSegment),
            segment if segment.contains("**") => return Err(PatternError::DoubleStar),
            _ => {}
        }
    }
    if let ["rest", "v1", ..] = segments.as_slice() {
        segments.remove(0);
    }
    Ok((segments.into_iter().map(Box::from).collect(), open_ended))
}

/// Refuses what no decoded path has, or is compared with.
fn check_character(c: char) -> Result<(), PatternError> {
    match c {
        '%' => Err(PatternError::Encoded),
        '?' | '#' | ';' => Err(PatternError::Beyond(c)),
        '{' | '}' => Err(PatternError::Braces),
        '\\' => Err(PatternError::NeverSent(c)),
        _ if c.is_control() => Err(PatternError::NeverSent(c)),
        _ => Ok(()),
    }
}

/// Matches `*` greedily, going back only to the last star: enough for any number of them.
fn segment_matches(glob: &[u8], segment: &[u8], same: fn(u8, u8) -> bool) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut last_star = None;
    while seen < segment.len() {
        match glob.get(at) {
            Some(b'*') => {
                last_star = Some((at + 1, seen));
                at += 1;
            }
            Some(&byte) if same(byte, segment[seen]) => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((after_star, taken)) = last_star else { return false };
                last_star = Some((after_star, taken + 1));
                at = after_star;
                seen = taken + 1;
            }
        }
    }
    glob[at..].iter().all(|byte| *byte == b'*')
}
