//! What client certificates are called.

use std::path::Path;

use super::Scalar;

/// The subject of a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Subject(pub(crate) Vec<(String, String)>);

/// A subject alternative name of a certificate.
#[derive(Clone, Debug)]
pub(crate) struct AltName(pub(crate) String);

/// The short names of attribute types (RFC 4514, section 3, and what OpenSSL prints besides), with
/// their object identifiers.
const TYPES: [(&str, &str); 15] = [
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("serialNumber", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("street", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("title", "2.5.4.12"),
    ("GN", "2.5.4.42"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("organizationIdentifier", "2.5.4.97"),
];

impl Scalar for Subject {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        if text.trim_start().starts_with('/') {
            return Err("attributes are divided by commas, as `openssl x509 -noout -subject \
                        -nameopt RFC2253` prints them"
                .into());
        }
        let mut attributes = Vec::new();
        for attribute in divided(text)? {
            let (kind, value) = attribute.split_once('=').ok_or_else(String::new)?;
            attributes.push((object_identifier(kind.trim())?, plain(value.trim_start())?));
        }
        Ok(Self(attributes))
    }

    fn expected() -> String {
        "the subject of a certificate such as `CN=storefront,O=Example`".into()
    }
}

impl Scalar for AltName {
    fn read(text: &str, _: &Path) -> Result<Self, String> {
        if text.contains('*') {
            return Err("it is compared as it is, so `*` stands for nothing else".into());
        }
        let kinds = ["DNS:", "URI:", "email:", "IP:", "IP Address:"];
        if let Some(kind) = kinds.iter().find(|kind| text.starts_with(**kind)) {
            return Err(format!("that is how openssl prints it: leave `{kind}` out"));
        }
        let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        if good { Ok(Self(text.to_owned())) } else { Err(String::new()) }
    }

    fn expected() -> String {
        "a subject alternative name: a host name, a URI, a mail address or an IP address".into()
    }
}

/// The attributes of `text`, still escaped. Those that make one part together (`+`) count like
/// others.
fn divided(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut begin, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Err("write special characters with `\\`, without quotes".into()),
            ',' | ';' | '+' => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if escaped {
        return Err("nothing follows the last `\\`".into());
    }
    parts.push(&text[begin..]);
    Ok(parts)
}

fn object_identifier(kind: &str) -> Result<String, String> {
    if let Some((_, identifier)) = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)) {
        return Ok((*identifier).to_owned());
    }
    let dotted = kind.contains('.')
        && kind.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()));
    if dotted {
        return Ok(kind.to_owned());
    }
    let known = TYPES.map(|(name, _)| name).join("`, `");
    Err(format!("an attribute type is one of `{known}`, or a dotted object identifier"))
}

/// The value that is written as `escaped` (RFC 4514, section 2.4). Spaces around it do not count,
/// unless they are escaped.
fn plain(escaped: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    // How much of it stays, whatever the spaces behind.
    let mut kept = 0;
    let mut rest = escaped.as_bytes();
    while let [first, after @ ..] = rest {
        (rest, kept) = match (first, after) {
            (b'\\', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digits = str::from_utf8(&[*high, *low]).unwrap_or_default().to_owned();
                bytes.push(u8::from_str_radix(&digits, 16).map_err(|_| String::new())?);
                (after, bytes.len())
            }
            (b'\\', [special, after @ ..]) => {
                bytes.push(*special);
                (after, bytes.len())
            }
            (b' ', after) => {
                bytes.push(b' ');
                (after, kept)
            }
            (plain, after) => {
                bytes.push(*plain);
                (after, bytes.len())
            }
        };
    }
    bytes.truncate(kept);
    let value = String::from_utf8(bytes).map_err(|_| "a value is not UTF-8")?;
    if value.is_empty() { Err("a value is empty".into()) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let owned = |&(kind, value): &(&str, &str)| (kind.to_owned(), value.to_owned());
        let read = Subject::read(text, Path::new("")).map(|subject| subject.0);
        assert_eq!(read, Ok(expected.iter().map(owned).collect()), "{text}");
    }

    #[test]
    fn a_subject_is_read_as_it_is_printed() {
        let (name, company) = (("2.5.4.3", "storefront"), ("2.5.4.10", "Example"));

        check("CN=storefront,O=Example", &[name, company]);
        check("O = Example, cn = storefront", &[company, name]);
        check("CN=storefront+O=Example", &[name, company]);
        check("2.5.4.3=storefront", &[name]);
        check("OU=a,OU=b", &[("2.5.4.11", "a"), ("2.5.4.11", "b")]);
        check("O=Example\\, Inc.", &[("2.5.4.10", "Example, Inc.")]);
        check("O=M\\C3\\BCller", &[("2.5.4.10", "Müller")]);
        check("O=Müller", &[("2.5.4.10", "Müller")]);
        check("CN=a=b", &[("2.5.4.3", "a=b")]);
        check("CN=two words ,O=Example", &[("2.5.4.3", "two words"), company]);
        check("CN=space\\ ", &[("2.5.4.3", "space ")]);
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        let bad = [
            "",
            "storefront",
            "CN=",
            "CN=a,",
            "=a",
            "XX=a",
            "1.=a",
            "/CN=a/O=b",
            "CN=\"a\"",
            "CN=a\\",
            "CN=\\ff",
        ];
        for text in bad {
            assert!(Subject::read(text, Path::new("")).is_err(), "{text}");
        }
    }

    #[test]
    fn an_alternative_name_is_one_name() {
        let read = |text| AltName::read(text, Path::new(""));

        assert!(read("storefront.internal").is_ok() && read("spiffe://a/b").is_ok());
        assert!(read("").is_err() && read("a b").is_err() && read("*.internal").is_err());
    }
}
