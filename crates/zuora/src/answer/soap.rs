//! Complaints of the SOAP API: a fault for the whole call, or rows with outcomes of their own.

use memchr::memmem;

use super::category::Category;
use super::complaint::Complaint;

/// Reads a whole envelope; `None` if it is cut or says nothing of a failure.
pub(super) fn read(text: &[u8]) -> Option<Complaint> {
    if !text.trim_ascii_end().ends_with(b"Envelope>") {
        return None;
    }
    fault(text).or_else(|| rows(text))
}

/// A fault that is the first thing in the body, so that the word "fault" in somebody's data is not
/// taken for one.
fn fault(text: &[u8]) -> Option<Complaint> {
    let body = after_start_tag(text, b"Body")?.trim_ascii_start();
    let tag_end = memchr::memchr2(b'>', b' ', body)?;
    if !matches!(&body[..tag_end], [b'<', name @ ..] if local(name) == b"Fault") {
        return None;
    }
    let code = element(body, b"FaultCode").or_else(|| element(body, b"faultcode"))?;
    let mut complaint = Complaint::default();
    complaint.add(Category::of(&code), element(body, b"faultstring").as_deref());
    Some(complaint)
}

/// `<ns1:result><ns1:Errors>…</ns1:Errors><ns1:Success>false</ns1:Success></ns1:result>`: it failed
/// if every row did.
fn rows(text: &[u8]) -> Option<Complaint> {
    memmem::find(text, b":Success>false<")?;
    let some_succeeded = memmem::find(text, b":Success>true<").is_some();
    Some(Complaint { success: Some(some_succeeded), is_rows: true, ..Complaint::default() })
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
