//! Finds an operation by walking the path's segments through a tree of the templates' segments.

use http::Method;
use memchr::{memchr, memchr2};

use super::Operation;

/// The longest literal segment that is worth decoding for; anything longer matches parameters only.
const LONGEST_LITERAL: usize = 64;

/// The methods that operations have. HEAD is read as GET.
const METHODS: usize = 5;

/// The root is node 0.
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    /// Sorted by length, then by segment: most comparisons end at the length.
    literals: Vec<(&'static [u8], usize)>,
    parameter: Option<usize>,
    /// Index into the table, by method.
    operations: [Option<usize>; METHODS],
}

impl Trie {
    pub(super) fn new(table: &'static [Operation]) -> Self {
        let mut trie = Self { nodes: vec![Node::default()] };
        for (index, operation) in table.iter().enumerate() {
            let leaf =
                operation.path.split('/').skip(1).fold(0, |at, segment| trie.grow(at, segment));
            let method = slot(&operation.method).expect("the table holds known methods only");
            trie.nodes[leaf].operations[method] = Some(index);
        }
        trie
    }

    /// The node below `at` for one segment of a template.
    fn grow(&mut self, at: usize, segment: &'static str) -> usize {
        let new = self.nodes.len();
        let node = &mut self.nodes[at];
        let child = if segment.starts_with('{') {
            *node.parameter.get_or_insert(new)
        } else {
            match node.place(segment.as_bytes()) {
                Ok(found) => node.literals[found].1,
                Err(place) => {
                    node.literals.insert(place, (segment.as_bytes(), new));
                    new
                }
            }
        };
        if child == new {
            self.nodes.push(Node::default());
        }
        child
    }

    pub(super) fn find(&self, method: &Method, path: &str) -> Option<usize> {
        let method = slot(method)?;
        let path = path.as_bytes();
        self.walk(0, method, without_rest(path))
    }

    /// Recursion is as deep as the deepest template, whatever the path: a node without children
    /// ends it.
    fn walk(&self, at: usize, method: usize, path: &[u8]) -> Option<usize> {
        let node = &self.nodes[at];
        let Some((segment, rest)) = next_segment(path) else {
            return node.operations[method];
        };
        node.literal(segment)
            .and_then(|child| self.walk(child, method, rest))
            .or_else(|| node.parameter.and_then(|child| self.walk(child, method, rest)))
    }
}

impl Node {
    fn literal(&self, segment: &[u8]) -> Option<usize> {
        match self.place(segment) {
            Ok(found) => Some(self.literals[found].1),
            Err(_) if memchr2(b'%', b';', segment).is_some() => {
                self.literal_as_the_server_reads_it(segment)
            }
            Err(_) => None,
        }
    }

    /// Where a segment is among the literals, or would be.
    fn place(&self, segment: &[u8]) -> Result<usize, usize> {
        let compare = |literal: &[u8]| (literal.len(), literal).cmp(&(segment.len(), segment));
        self.literals.binary_search_by(|(literal, _)| compare(literal))
    }

    /// `%61ccounts` and `accounts;v=1` are `accounts` to Zuora's servers, and count against its limit.
    #[cold]
    fn literal_as_the_server_reads_it(&self, segment: &[u8]) -> Option<usize> {
        let name = segment.split(|byte| *byte == b';').next()?;
        let mut plain = [0; LONGEST_LITERAL];
        let mut length = 0;
        for byte in percent_encoding::percent_decode(name) {
            *plain.get_mut(length)? = byte;
            length += 1;
        }
        let found = self.place(&plain[..length]).ok()?;
        Some(self.literals[found].1)
    }
}

/// `/rest/v1/…` is how older clients spell `/v1/…`.
fn without_rest(path: &[u8]) -> &[u8] {
    if let Some((b"rest", rest)) = next_segment(path)
        && let Some((b"v1", _)) = next_segment(rest)
    {
        return rest;
    }
    path
}

/// The first segment that is not empty, and what follows it.
fn next_segment(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|byte| *byte != b'/')?;
    let path = &path[start..];
    Some(path.split_at(memchr(b'/', path).unwrap_or(path.len())))
}

fn slot(method: &Method) -> Option<usize> {
    match *method {
        Method::GET | Method::HEAD => Some(0),
        Method::POST => Some(1),
        Method::PUT => Some(2),
        Method::DELETE => Some(3),
        Method::PATCH => Some(4),
        _ => None,
    }
}
