//! The text of a YAML file as a tree that knows where each node was written.
//!
//! The parser gives events with positions; this is what turns them into a
//! tree. A typed reader would stop at the first thing it does not understand,
//! and the operator is owed the whole list, so nothing is interpreted here: a
//! scalar stays the text that was written. Anchors, aliases and tags are
//! refused. The file has no use for them, and without them a small file cannot
//! become a large tree.

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use crate::Place;

/// How deep mappings and lists may be nested; the deepest key of the file is
/// at six, and the tree is walked by recursion.
const DEEPEST: usize = 32;

/// One node of the tree.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where the node itself begins.
    pub(crate) place: Place,
    /// Where its key is, or where it begins if it has none.
    pub(crate) named_at: Place,
    /// The keys that lead to it, `apps.storefront.secret`; empty for the root.
    pub(crate) path: String,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// The text of a scalar, quotes and escapes undone.
    Scalar(String),
    List(Vec<Node>),
    /// As written: keys may be there twice.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: String,
}

impl Node {
    /// Parses the only document of `text`.
    ///
    /// # Errors
    /// The place where the text stops being YAML, and why, in words that
    /// repeat nothing of the file.
    pub(crate) fn parse(text: &str) -> Result<Self, (Place, String)> {
        let options = granit_parser::options! {
            disallow_directives: true,
            emit_comments: false,
            flow_nesting_limit: DEEPEST,
            block_nesting_limit: DEEPEST,
        };
        let parser = Parser::new_from_str_with_options(text, options);
        Builder { parser, text }.document()
    }

    /// The mapping that `key` would hold in `self` if it were written without
    /// any key of its own.
    pub(crate) fn absent(&self, key: &str) -> Self {
        Self {
            place: self.named_at,
            named_at: self.named_at,
            path: join(&self.path, key),
            kind: Kind::Mapping(Vec::new()),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// What kind of node this is, for "found …". Never what it holds.
    pub(crate) fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }
}

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t str,
}

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Node, (Place, String)> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err((place(&span), "a second document begins: write one".into()));
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    let node = self.node(event, &span, place(&span), String::new())?;
                    root = (!node.is_null()).then_some(node);
                }
                _ => break,
            }
        }
        root.ok_or_else(|| (Place { line: 1, column: 1 }, "the file is empty".into()))
    }

    fn node(
        &mut self,
        event: Event<'t>,
        span: &Span,
        named_at: Place,
        path: String,
    ) -> Result<Node, (Place, String)> {
        let place = place(span);
        let kind = match event {
            Event::Scalar(text, style, 0, None) if is_null(&text, style) => Kind::Null,
            Event::Scalar(text, _, 0, None) => Kind::Scalar(text.into_owned()),
            Event::SequenceStart(_, 0, None) => Kind::List(self.list(&path)?),
            Event::MappingStart(_, 0, None) => Kind::Mapping(self.mapping(&path)?),
            Event::Alias(_) => {
                return Err((place, "aliases are not read: write the value itself".into()));
            }
            _ => {
                return Err((place, "anchors and tags are not read: write the value alone".into()));
            }
        };
        Ok(Node { place, named_at, path, kind })
    }

    fn list(&mut self, path: &str) -> Result<Vec<Node>, (Place, String)> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            let item = format!("{path}[{}]", items.len());
            items.push(self.node(event, &span, place(&span), item)?);
        }
    }

    fn mapping(&mut self, path: &str) -> Result<Vec<(Key, Node)>, (Place, String)> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, _, 0, None) => {
                    Key { place: place(&span), text: text.into_owned() }
                }
                _ => return Err((place(&span), "a key must be plain text".into())),
            };
            let (event, span) = self.next()?;
            let value = self.node(event, &span, key.place, join(path, &key.text))?;
            entries.push((key, value));
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), (Place, String)> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(explain(&error, self.text)),
            // The stream has ended, and its end was not an event.
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }
}

/// The path of `key` below `path`.
pub(crate) fn join(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let dot = if path.is_empty() { "" } else { "." };
    if key.chars().all(plain) { format!("{path}{dot}{key}") } else { format!("{path}{dot}{key:?}") }
}

/// Only unquoted text can be null; `"null"` is a word.
fn is_null(text: &str, style: ScalarStyle) -> bool {
    style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn place(span: &Span) -> Place {
    // The parser counts columns from zero.
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

/// Says in the operator's words what the parser says in YAML's.
fn explain(error: &ScanError, text: &str) -> (Place, String) {
    let marker = error.marker();
    let place = Place { line: marker.line(), column: marker.col() + 1 };
    let before = text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
    let before: String = before.chars().take(marker.col()).collect();
    let message = match error.kind() {
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator
            if before.ends_with('$') =>
        {
            "within `{ }` and `[ ]`, write `${…}` in quotes: \"${NAME}\"".into()
        }
        ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabNotAllowed => "a tab is not read as indentation: write spaces".into(),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => {
            "the indentation fits none of the lines above: begin this line in the same column \
             as the keys it belongs to"
                .into()
        }
        ErrorKind::MappingValueNotAllowed => {
            "a second `:` in one value: this line is indented too far, or the value needs quotes"
                .into()
        }
        ErrorKind::SimpleKeyExpected => "expected a key followed by `: `".into(),
        ErrorKind::RecursionLimitExceeded => format!("nested deeper than {DEEPEST} levels"),
        ErrorKind::UnknownAnchor => "aliases are not read: write the value itself".into(),
        ErrorKind::UnclosedQuotedScalar => "the quotes opened here are not closed".into(),
        ErrorKind::InvalidQuotedScalarIndent => {
            "quotes opened above are not closed, or the quoted text goes on without indentation"
                .into()
        }
        ErrorKind::UnclosedFlowCollection { open } => {
            format!("the `{open}` opened here is not closed")
        }
        // The character may be the first one of a secret.
        ErrorKind::UnexpectedCharacter { .. } => {
            "a value cannot begin with this character: write the value in quotes".into()
        }
        other => format!("not YAML: {other}"),
    };
    (place, message)
}
