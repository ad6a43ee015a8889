//! `Zuora-Track-Id`: the name under which a call can be found again, here and in Zuora's own
//! dashboard.
//!
//! Zuora takes at most 64 characters of US-ASCII without `:` `;` `"` `'` (Zuora: error handling
//! guide), echoes the id on its answer, and groups its dashboard by what stands before the first
//! hyphen. That is why an id made here begins with the app's name.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use uuid::Uuid;

/// The most characters that Zuora takes.
pub const LONGEST_TRACK_ID: usize = 64;

/// What is left for the app's name beside a hyphen and a UUID without hyphens.
const LONGEST_APP: usize = LONGEST_TRACK_ID - 1 - uuid::fmt::Simple::LENGTH;

const FORBIDDEN: [char; 4] = [':', ';', '"', '\''];

/// A track id that Zuora takes. Cloning it is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(Arc<str>);

/// The rule that a track id broke. `Display` says it in words meant for whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrackIdError {
    /// No character at all.
    #[error("a track id has at least one character, this one is empty")]
    Empty,
    /// More than 64 bytes; carries how many.
    #[error("a track id has at most 64 characters, this one has {0}")]
    TooLong(usize),
    /// A byte outside US-ASCII.
    #[error("a track id is US-ASCII, this one has byte 0x{0:02x}")]
    NotAscii(u8),
    /// A control character, a tab included.
    #[error("a track id has no control characters, this one has byte 0x{0:02x}")]
    Control(u8),
    /// HTTP would drop the space, and the id would be another.
    #[error("a track id does not begin or end with a space")]
    OuterSpace,
    /// One of `:` `;` `"` `'`.
    #[error("a track id has none of the characters : ; \" ', this one has {0}")]
    Forbidden(char),
}

impl TrackId {
    /// Takes an id as it came on the wire, if it keeps Zuora's rules.
    pub fn parse(id: &[u8]) -> Result<Self, TrackIdError> {
        if id.is_empty() {
            return Err(TrackIdError::Empty);
        }
        if id.len() > LONGEST_TRACK_ID {
            return Err(TrackIdError::TooLong(id.len()));
        }
        for &byte in id {
            check_character(byte)?;
        }
        if id.starts_with(b" ") || id.ends_with(b" ") {
            return Err(TrackIdError::OuterSpace);
        }
        let id = str::from_utf8(id).expect("checked to be US-ASCII above");
        Ok(Self(id.into()))
    }

    /// Makes a new id, `<app>-<UUID version 7 without hyphens>`. Always valid: characters of the
    /// app's name that Zuora does not take become `_`, and a name over 31 characters is cut.
    pub fn mint(app: &str) -> Self {
        let mut id = String::with_capacity(LONGEST_TRACK_ID);
        id.extend(app.chars().take(LONGEST_APP).map(acceptable));
        if id.is_empty() {
            id.push_str("gateway");
        }
        id.push('-');
        let mut buffer = Uuid::encode_buffer();
        id.push_str(Uuid::now_v7().simple().encode_lower(&mut buffer));
        Self(id.into())
    }

    /// Puts an app's name before the id that the app gave: `<app>-<given>`. An error when the result
    /// breaks a rule, most likely [`TrackIdError::TooLong`]; nothing is cut, because a cut id is one
    /// the app cannot find again.
    pub fn prefixed(app: &str, given: &Self) -> Result<Self, TrackIdError> {
        Self::parse(format!("{app}-{given}").as_bytes())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as the value of a `Zuora-Track-Id` field.
    pub fn to_header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("a track id is printable US-ASCII")
    }
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn check_character(byte: u8) -> Result<(), TrackIdError> {
    let character = char::from(byte);
    if !byte.is_ascii() {
        Err(TrackIdError::NotAscii(byte))
    } else if byte.is_ascii_control() {
        Err(TrackIdError::Control(byte))
    } else if FORBIDDEN.contains(&character) {
        Err(TrackIdError::Forbidden(character))
    } else {
        Ok(())
    }
}

fn acceptable(character: char) -> char {
    if character.is_ascii_graphic() && !FORBIDDEN.contains(&character) { character } else { '_' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id: &[u8], expected: Result<(), TrackIdError>) {
        assert_eq!(TrackId::parse(id).map(drop), expected);
    }

    #[test]
    fn what_zuora_takes_is_taken_as_it_is() {
        for id in
            ["a", "WF-12", "0d8a7c9e-5f0b", "order 17 of 20", "%0d%0a", "a/b?c=d&e#f", "{x}\\~"]
        {
            assert_eq!(TrackId::parse(id.as_bytes()).unwrap().as_str(), id);
        }
        check(&[b'x'; 64], Ok(()));
    }

    #[test]
    fn each_broken_rule_is_named() {
        check(b"", Err(TrackIdError::Empty));
        check(&[b'x'; 65], Err(TrackIdError::TooLong(65)));
        check("caf\u{e9}".as_bytes(), Err(TrackIdError::NotAscii(0xc3)));
        check(b"a\x80", Err(TrackIdError::NotAscii(0x80)));
        check(b"a\rb", Err(TrackIdError::Control(b'\r')));
        check(b"a\0", Err(TrackIdError::Control(0)));
        check(b"\tab", Err(TrackIdError::Control(b'\t')));
        check(b"a\x7f", Err(TrackIdError::Control(0x7f)));
        check(b" a", Err(TrackIdError::OuterSpace));
        check(b"a ", Err(TrackIdError::OuterSpace));
        for (id, character) in [("a:b", ':'), ("a;b", ';'), ("a\"b", '"'), ("a'b", '\'')] {
            check(id.as_bytes(), Err(TrackIdError::Forbidden(character)));
        }
        assert_eq!(
            TrackIdError::Forbidden(';').to_string(),
            "a track id has none of the characters : ; \" ', this one has ;"
        );
    }

    #[test]
    fn a_minted_id_is_the_app_and_a_uuid_of_version_7() {
        let id = TrackId::mint("storefront");

        let (app, uuid) = id.as_str().split_once('-').unwrap();
        assert_eq!(app, "storefront");
        assert_eq!(uuid.len(), 32);
        assert_eq!(Uuid::parse_str(uuid).unwrap().get_version_num(), 7);
        assert_ne!(id, TrackId::mint("storefront"));
    }

    #[test]
    fn a_minted_id_is_valid_whatever_the_app_is_called() {
        for app in ["", "a b", "x:y;z\"'", "caf\u{e9}\u{1f600}", "\r\n", &"long".repeat(50), " "] {
            let id = TrackId::mint(app);

            check(id.as_str().as_bytes(), Ok(()));
        }
        assert_eq!(TrackId::mint(&"x".repeat(99)).as_str().len(), LONGEST_TRACK_ID);
        assert!(TrackId::mint("a b:c").as_str().starts_with("a_b_c-"));
    }

    #[test]
    fn a_prefix_is_put_before_an_id_or_refused() {
        let given = TrackId::parse(b"order-17").unwrap();
        let longest = TrackId::parse(&[b'x'; 64]).unwrap();

        assert_eq!(TrackId::prefixed("shop", &given).unwrap().as_str(), "shop-order-17");
        assert_eq!(TrackId::prefixed("shop", &longest), Err(TrackIdError::TooLong(69)));
        assert_eq!(TrackId::prefixed("sh:op", &given), Err(TrackIdError::Forbidden(':')));
    }

    #[test]
    fn an_id_becomes_a_header_field() {
        assert_eq!(TrackId::parse(b"a-1").unwrap().to_header_value(), "a-1");
    }
}
