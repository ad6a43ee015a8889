//! XML as a tree, with its namespaces resolved.

use quick_xml::{
    NsReader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesRef, BytesStart, Event},
    name::ResolveResult,
};

/// Deeper envelopes are none that a client would send.
const DEEPEST: usize = 64;

const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// One element and all that is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// Empty: none.
    pub(crate) namespace: String,
    /// Its name without the prefix.
    pub(crate) name: String,
    /// What `xsi:type` says, without the prefix.
    pub(crate) kind: Option<String>,
    /// Whether `xsi:nil` says that it has no value.
    pub(crate) is_nil: bool,
    /// Its own text, without that of the elements in it.
    pub(crate) text: String,
    pub(crate) children: Vec<Self>,
}

impl Element {
    /// The children of this name, whatever their namespace.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of this name.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| child.text.trim())
    }

    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }
}

/// Reads a document. Declarations of types and entities are refused.
pub(crate) fn read(text: &str) -> Result<Element, String> {
    let mut reader = NsReader::from_str(text);
    // The elements that are open, the outermost a stand-in for the document.
    let mut open = vec![Element::default()];
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|error| error.to_string())?;
        match event {
            Event::Start(start) => {
                let namespace = name_of(&namespace)?;
                if open.len() > DEEPEST {
                    return Err("elements are nested too deeply".to_owned());
                }
                let element = begin(&reader, namespace, &start)?;
                open.push(element);
            }
            Event::Empty(start) => {
                let namespace = name_of(&namespace)?;
                let element = begin(&reader, namespace, &start)?;
                innermost(&mut open).children.push(element);
            }
            Event::End(_) => {
                let Some(element) = open.pop() else { return Err("no element".to_owned()) };
                innermost(&mut open).children.push(element);
            }
            Event::Text(text) => innermost(&mut open).text.push_str(&text.xml10_content()),
            Event::CData(text) => innermost(&mut open).text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                innermost(&mut open).text.push_str(&resolve(&reference)?);
            }
            Event::DocType(_) => return Err("a document type is not allowed".to_owned()),
            Event::PI(_) | Event::Comment(_) | Event::Decl(_) => {}
            Event::Eof => break,
        }
    }
    let document = open.pop().filter(|_| open.is_empty());
    let mut roots = document.ok_or("an element does not end")?.children;
    match (roots.pop(), roots.is_empty()) {
        (Some(root), true) => Ok(root),
        _ => Err("there is not exactly one element".to_owned()),
    }
}

fn innermost(open: &mut [Element]) -> &mut Element {
    open.last_mut().expect("the stand-in for the document is never closed: names are checked")
}

fn begin(
    reader: &NsReader<&[u8]>,
    namespace: String,
    start: &BytesStart<'_>,
) -> Result<Element, String> {
    let mut element =
        Element { namespace, name: start.local_name().as_ref().to_owned(), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let (namespace, name) = reader.resolver().resolve_attribute(attribute.key);
        if name_of(&namespace)? != INSTANCE {
            continue;
        }
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| error.to_string())?;
        match name.as_ref() {
            "type" => element.kind = value.rsplit(':').next().map(str::to_owned),
            "nil" => element.is_nil = matches!(value.trim(), "true" | "1"),
            _ => {}
        }
    }
    Ok(element)
}

fn name_of(namespace: &ResolveResult<'_>) -> Result<String, String> {
    match namespace {
        ResolveResult::Bound(namespace) => Ok(namespace.as_ref().to_owned()),
        ResolveResult::Unbound => Ok(String::new()),
        ResolveResult::Unknown(_) => Err("a prefix is not bound to a namespace".to_owned()),
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, String> {
    let unknown = || "an entity is not known".to_owned();
    match reference.resolve_char_ref().map_err(|error| error.to_string())? {
        Some(letter) => Ok(letter.to_string()),
        None => resolve_predefined_entity(&reference.xml10_content())
            .map(str::to_owned)
            .ok_or_else(unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_their_namespaces_and_text_without_its_escapes() {
        let text = "<?xml version='1.0'?><a:x xmlns:a='one' xmlns='two'>\
                    <y xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:type='q:T'>\
                    1 &lt; 2<![CDATA[ & ]]>&#51;</y><!-- z --><a:n/></a:x>";

        let root = read(text).unwrap();

        assert!(root.is("one", "x"));
        assert!(root.children[0].is("two", "y"));
        assert_eq!(root.children[0].kind.as_deref(), Some("T"));
        assert_eq!(root.text_of("y"), Some("1 < 2 & 3"));
        assert!(root.children[1].is("one", "n"));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<p:a/>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>",
            "<a>&b;</a>",
            &"<a>".repeat(100),
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
