//! From the tree to typed sections, telling everything on the way.
//!
//! Reading never stops. A value that cannot be read is told once, with its
//! place, and the reader goes on with what it has; nobody gets to see the
//! result while anything was told.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::Place;
use crate::environment::{Environment, interpolate};
use crate::scalar::Scalar;
use crate::yaml::{Key, Kind, Node};

/// What is known while a file is read, and what was found wrong with it.
pub(crate) struct Reading<'a> {
    pub(crate) environment: &'a dyn Environment,
    /// Where relative paths begin: the directory of the file.
    pub(crate) directory: &'a Path,
    pub(crate) found: Vec<(Place, String)>,
}

/// Something the file may say under a key.
pub(crate) trait Field: Sized {
    /// Reads what was written. `None`: it was told what is wrong with it.
    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self>;

    /// The JSON Schema of what may be written.
    fn schema() -> Json;
}

/// A member of a section: a field, and what it means to leave it out.
pub(crate) trait Member: Sized {
    /// Whether leaving it out is a mistake.
    const REQUIRED: bool = false;

    fn take(slot: Slot<'_>, reading: &mut Reading<'_>) -> Self;

    fn schema() -> Json;
}

/// The place of a member in its section, filled or not.
pub(crate) struct Slot<'n> {
    pub(crate) section: &'n Node,
    pub(crate) key: &'static str,
    /// What stands under the key, be it nothing.
    pub(crate) node: Option<&'n Node>,
    pub(crate) default: Option<&'static str>,
}

impl<'n> Slot<'n> {
    /// What was written under the key; `null` counts as nothing.
    fn written(&self) -> Option<&'n Node> {
        self.node.filter(|node| !node.is_null())
    }

    /// What holds when nothing was written.
    fn default<T: Scalar>(&self, reading: &Reading<'_>) -> At<T> {
        let default = self.default.unwrap_or_default();
        let value = T::read(default, reading.directory).unwrap_or_else(|why| {
            unreachable!("the default `{default}` of `{}` can be read: {why}", self.key)
        });
        let Node { place, path, .. } = self.section.absent(self.key);
        At { place, path, value }
    }
}

/// A group of keys. Made by [`section!`], which lists them.
pub(crate) trait Section: Sized {
    /// The keys, in the order of the documentation.
    const KEYS: &'static [&'static str];

    /// Reads the members; `entries` has each key at most once.
    fn members(node: &Node, entries: &[(&str, &Node)], reading: &mut Reading<'_>) -> Self;

    fn schema() -> Json;
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) place: Place,
    pub(crate) path: String,
    pub(crate) value: T,
}

/// A member that must be there.
#[derive(Debug)]
pub(crate) struct Required<T>(pub(crate) Option<T>);

/// A member that may be left out, and has no default.
#[derive(Debug)]
pub(crate) struct Optional<T> {
    /// Whether anything was written, however wrong.
    pub(crate) written: bool,
    pub(crate) value: Option<T>,
}

/// A value, or a list of them.
#[derive(Debug)]
pub(crate) struct OneOrMore<T>(pub(crate) At<Vec<At<T>>>);

/// Things with names that the operator gives them, in the order of the file.
#[derive(Debug)]
pub(crate) struct Named<N, T> {
    pub(crate) at: At<()>,
    pub(crate) entries: Vec<Entry<T>>,
    name: std::marker::PhantomData<N>,
}

/// A name and what it stands for, if that could be read.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) name: At<String>,
    pub(crate) value: Option<T>,
}

/// A field that does not keep its place itself, and where it was written.
#[derive(Debug)]
pub(crate) struct Placed<T> {
    pub(crate) at: At<()>,
    pub(crate) value: T,
}

impl Reading<'_> {
    /// Notes that something is wrong at `place`, below the keys `path`.
    pub(crate) fn tell(&mut self, place: Place, path: &str, message: impl AsRef<str>) {
        let colon = if path.is_empty() { "" } else { ": " };
        self.found.push((place, format!("{path}{colon}{}", message.as_ref())));
    }

    /// Notes that something is wrong with a value.
    pub(crate) fn tell_at<T>(&mut self, at: &At<T>, message: impl AsRef<str>) {
        self.tell(at.place, &at.path, message);
    }

    /// The scalar `node` as a `T`.
    fn scalar<T: Scalar>(&mut self, node: &Node) -> Option<T> {
        let Kind::Scalar(written) = &node.kind else {
            let message = format!("expected {}, found {}", T::expected(), node.describe());
            self.tell(node.place, &node.path, message);
            return None;
        };
        let text = match interpolate(written, self.environment, self.directory) {
            Ok(text) => text,
            Err(failures) => {
                for failure in failures {
                    self.tell(node.place, &node.path, failure);
                }
                return None;
            }
        };
        match T::read(&text, self.directory) {
            Ok(value) => Some(value),
            Err(why) => {
                let message = refusal::<T>(written, &text, &why);
                self.tell(node.place, &node.path, message);
                None
            }
        }
    }

    /// The entries of the mapping `node`, each key once; keys that are there
    /// again are told.
    fn entries<'n>(&mut self, node: &'n Node, of: &str) -> Option<Vec<(&'n Key, &'n Node)>> {
        let Kind::Mapping(written) = &node.kind else {
            let hint = match node.kind {
                Kind::Scalar(_) => " (a key ends with a colon and a space)",
                _ => "",
            };
            let message = format!("expected {of}, found {}{hint}", node.describe());
            self.tell(node.place, &node.path, message);
            return None;
        };
        let mut first = HashMap::new();
        let mut entries = Vec::with_capacity(written.len());
        for (key, value) in written {
            match first.get(key.text.as_str()) {
                None => {
                    first.insert(key.text.as_str(), key.place.line);
                    entries.push((key, value));
                }
                Some(line) => {
                    let message = format!(
                        "`{}` is written twice, first in line {line}",
                        shortened(&key.text)
                    );
                    self.tell(key.place, &node.path, message);
                }
            }
        }
        Some(entries)
    }
}

/// Says what was expected, and what was found instead: as it was written in
/// the file, which is never the value of a variable; and not at all if it may
/// be a secret.
fn refusal<T: Scalar>(written: &str, text: &str, why: &str) -> String {
    let found = match (T::may_be_shown(text), written.is_empty()) {
        (false, _) => String::new(),
        (true, true) => ", found empty text".into(),
        (true, false) => format!(", found `{}`", shortened(written)),
    };
    let colon = if why.is_empty() { "" } else { ": " };
    format!("expected {}{found}{colon}{why}", T::expected())
}

/// Text of the file as a problem may repeat it: short, and on one line.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = text.chars().take(SHOWN).collect();
    let cut = if shown.len() < text.len() { "…" } else { "" };
    format!("{}{cut}", shown.escape_debug())
}

/// The one of `known` that `wrong` was probably meant to be.
pub(crate) fn nearest<'k>(
    wrong: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let far = (wrong.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|&(distance, _)| distance <= far)
        .min()
        .map(|(_, name)| name)
}

impl<T: Scalar> Field for At<T> {
    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self> {
        let value = reading.scalar(node)?;
        Some(Self { place: node.place, path: node.path.clone(), value })
    }

    fn schema() -> Json {
        match T::schema() {
            any @ Json::Object(_) if any == json!({"type": "string"}) => any,
            precise => json!({"anyOf": [precise, {"type": "string", "pattern": r"\$\{"}]}),
        }
    }
}

impl<T: Field> Field for At<Vec<T>> {
    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            let message = format!("expected a list, found {}", node.describe());
            reading.tell(node.place, &node.path, message);
            return None;
        };
        let items: Vec<_> = items.iter().map(|item| T::read(item, reading)).collect();
        let value = items.into_iter().collect::<Option<_>>()?;
        Some(Self { place: node.place, path: node.path.clone(), value })
    }

    fn schema() -> Json {
        json!({"type": "array", "items": T::schema()})
    }
}

impl<T: Scalar> Field for OneOrMore<T> {
    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self> {
        if let Kind::List(_) = node.kind {
            return At::<Vec<At<T>>>::read(node, reading).map(Self);
        }
        let one = At::<T>::read(node, reading)?;
        Some(Self(At { place: node.place, path: node.path.clone(), value: vec![one] }))
    }

    fn schema() -> Json {
        let (one, more) = (<At<T> as Field>::schema(), <At<Vec<At<T>>> as Field>::schema());
        json!({"anyOf": [one, more]})
    }
}

impl<N: Scalar, T: Field> Field for Named<N, T> {
    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self> {
        let entries = reading.entries(node, "a mapping of names")?;
        let at = At { place: node.named_at, path: node.path.clone(), value: () };
        let entry = |(key, value): (&Key, &Node)| {
            if let Err(why) = N::read(&key.text, reading.directory) {
                let message = refusal::<N>(&key.text, &key.text, &why);
                reading.tell(key.place, &node.path, message);
            }
            let name = At { place: key.place, path: value.path.clone(), value: key.text.clone() };
            Entry { name, value: T::read(value, reading) }
        };
        let entries = entries.into_iter().map(entry).collect();
        Some(Self { at, entries, name: std::marker::PhantomData })
    }

    fn schema() -> Json {
        json!({
            "type": "object",
            "propertyNames": N::schema(),
            "additionalProperties": T::schema(),
        })
    }
}

impl<T: Field> Field for Placed<T> {
    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self> {
        let at = At { place: node.named_at, path: node.path.clone(), value: () };
        Some(Self { at, value: T::read(node, reading)? })
    }

    fn schema() -> Json {
        T::schema()
    }
}

impl<T: Section> Field for T {
    fn read(node: &Node, reading: &mut Reading<'_>) -> Option<Self> {
        let keys = Self::KEYS.join("`, `");
        let entries =
            reading.entries(node, &format!("a mapping with some of the keys `{keys}`"))?;
        let entries: Vec<_> =
            entries.into_iter().map(|(key, value)| (key.text.as_str(), value)).collect();
        Some(Self::members(node, &entries, reading))
    }

    fn schema() -> Json {
        <T as Section>::schema()
    }
}

/// A section that is left out has all its defaults.
impl<T: Section> Member for T {
    fn take(slot: Slot<'_>, reading: &mut Reading<'_>) -> Self {
        slot.written()
            .and_then(|node| Self::read(node, reading))
            .unwrap_or_else(|| Self::members(&slot.section.absent(slot.key), &[], reading))
    }

    fn schema() -> Json {
        <T as Section>::schema()
    }
}

/// A value with a default.
impl<T: Scalar> Member for At<T> {
    fn take(slot: Slot<'_>, reading: &mut Reading<'_>) -> Self {
        let written = slot.written().and_then(|node| Self::read(node, reading));
        written.unwrap_or_else(|| slot.default(reading))
    }

    fn schema() -> Json {
        <Self as Field>::schema()
    }
}

/// A value with a default, which `null` takes away.
impl<T: Scalar> Member for At<Option<T>> {
    fn take(slot: Slot<'_>, reading: &mut Reading<'_>) -> Self {
        if let Some(Node { kind: Kind::Null, place, path, .. }) = slot.node {
            return Self { place: *place, path: path.clone(), value: None };
        }
        let At { place, path, value } = At::<T>::take(slot, reading);
        Self { place, path, value: Some(value) }
    }

    fn schema() -> Json {
        or_null(&<At<T> as Field>::schema())
    }
}

impl<T: Field> Member for Required<T> {
    const REQUIRED: bool = true;

    fn take(slot: Slot<'_>, reading: &mut Reading<'_>) -> Self {
        let written = slot.written();
        if written.is_none() {
            let Slot { section, key, .. } = slot;
            reading.tell(section.named_at, &section.path, format!("the key `{key}` is missing"));
        }
        Self(written.and_then(|node| T::read(node, reading)))
    }

    fn schema() -> Json {
        T::schema()
    }
}

impl<T: Field> Member for Optional<T> {
    fn take(slot: Slot<'_>, reading: &mut Reading<'_>) -> Self {
        let written = slot.written();
        let value = written.and_then(|node| T::read(node, reading));
        Self { written: written.is_some(), value }
    }

    fn schema() -> Json {
        or_null(&T::schema())
    }
}

fn or_null(schema: &Json) -> Json {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// Tells the keys of a section that do not exist.
pub(crate) fn tell_unknown(
    section: &Node,
    entries: &[(&str, &Node)],
    known: &[&'static str],
    reading: &mut Reading<'_>,
) {
    for (key, node) in entries.iter().filter(|(key, _)| !known.contains(key)) {
        let known_here = || known.join("`, `");
        let message = match nearest(key, known.iter().copied()) {
            Some(name) => format!("unknown key `{}`, did you mean `{name}`?", shortened(key)),
            // In `{secret: a, b}` without quotes, `b` is a key and half of a secret.
            None if node.is_null() => format!("unknown key, known here: `{}`", known_here()),
            None => format!("unknown key `{}`, known here: `{}`", shortened(key), known_here()),
        };
        reading.tell(node.named_at, &section.path, message);
    }
}

/// The key of a field: `async`, of the field `r#async`.
pub(crate) const fn key(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Declares a section: a struct whose fields are the keys of the file, with
/// their descriptions and defaults, and how it is read and described. The
/// list of keys that exist is here and nowhere else, and a key that nobody
/// uses is a field that nobody reads, which the compiler tells.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident {
            $( $(#[doc = $doc:literal])* $key:ident: $type:ty $(= $default:literal)?, )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug)]
        pub(crate) struct $name {
            $( $(#[doc = $doc])* pub(crate) $key: $type, )*
        }

        impl $crate::reading::Section for $name {
            const KEYS: &'static [&'static str] = &[$( $crate::reading::key(stringify!($key)) ),*];

            fn members(
                node: &$crate::yaml::Node,
                entries: &[(&str, &$crate::yaml::Node)],
                reading: &mut $crate::reading::Reading<'_>,
            ) -> Self {
                $crate::reading::tell_unknown(node, entries, Self::KEYS, reading);
                let slot = |key, default| $crate::reading::Slot {
                    section: node,
                    key,
                    node: entries.iter().find(|(name, _)| *name == key).map(|&(_, node)| node),
                    default,
                };
                Self {
                    $( $key: $crate::reading::Member::take(
                        slot($crate::reading::key(stringify!($key)), None $(.or(Some(concat!($default))))?),
                        reading,
                    ), )*
                }
            }

            fn schema() -> serde_json::Value {
                let mut properties = serde_json::Map::new();
                let mut required: Vec<&str> = Vec::new();
                $(
                    let mut property = <$type as $crate::reading::Member>::schema();
                    let description = concat!($( $doc, "\n" ),*);
                    property["description"] = $crate::schema::paragraph(description).into();
                    $( property["default"] = $default.into(); )?
                    let key = $crate::reading::key(stringify!($key));
                    properties.insert(key.into(), property);
                    if <$type as $crate::reading::Member>::REQUIRED {
                        required.push(key);
                    }
                )*
                serde_json::json!({
                    "type": "object",
                    "description": $crate::schema::paragraph(concat!($( $about, "\n" ),*)),
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false,
                })
            }
        }
    };
}
pub(crate) use section;
