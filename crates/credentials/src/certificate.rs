//! What a client certificate calls its owner, and which of it an app is known by.
//!
//! Reading certificates and trusting them are the business of who speaks TLS: this is told the
//! names of one that was verified.

use std::net::IpAddr;

use crate::secret::SecretDigest;

/// The names in a client certificate that was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject; `None` if that cannot be told, as with attributes that are no text.
    pub subject: Option<DistinguishedName>,
    /// Its subject alternative names, as far as [`AltName`] has their kinds.
    pub alt_names: Vec<AltName>,
}

/// The name by which the configuration knows an app's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The whole subject.
    Subject(DistinguishedName),
    /// One of the subject alternative names.
    Alt(AltName),
}

/// A distinguished name: attribute types as dotted object identifiers, with their values.
///
/// The order of the attributes does not count, as tools print it one way or the other. Values are
/// compared exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinguishedName(Vec<(String, String)>);

/// A subject alternative name (RFC 5280, section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// A host name, in lower case.
    Dns(String),
    /// A URI, such as a SPIFFE id.
    Uri(String),
    /// A mail address.
    Email(String),
    /// An IP address.
    Ip(IpAddr),
}

impl CertificateName {
    /// Says whether `certificate` has this name.
    #[must_use]
    pub fn is_of(&self, certificate: &ClientCertificate) -> bool {
        match self {
            Self::Subject(subject) => certificate.subject.as_ref() == Some(subject),
            Self::Alt(name) => certificate.alt_names.contains(name),
        }
    }

    /// What the tokens hang on that an app got for its certificate: another name, other tokens.
    pub(crate) fn anchor(&self) -> SecretDigest {
        SecretDigest::of(&format!("{self:?}"))
    }
}

impl DistinguishedName {
    /// Returns the name with these attributes: types as dotted object identifiers, and values.
    #[must_use]
    pub fn new(attributes: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut attributes: Vec<_> = attributes.into_iter().collect();
        attributes.sort_unstable();
        Self(attributes)
    }
}

impl AltName {
    /// Returns the name that somebody means who writes this: an IP address, a URI (with `:`), a
    /// mail address (with `@`), and a host name otherwise.
    #[must_use]
    pub fn meant_by(text: &str) -> Self {
        if let Ok(address) = text.parse() {
            return Self::Ip(address);
        }
        if text.contains(':') {
            Self::Uri(text.to_owned())
        } else if text.contains('@') {
            Self::Email(text.to_owned())
        } else {
            Self::Dns(text.to_ascii_lowercase())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(attributes: &[(&str, &str)]) -> DistinguishedName {
        let owned = |&(kind, value): &(&str, &str)| (kind.to_owned(), value.to_owned());
        DistinguishedName::new(attributes.iter().map(owned))
    }

    #[test]
    fn a_subject_is_the_same_in_any_order_and_only_as_a_whole() {
        let (name, company) = (("2.5.4.3", "storefront"), ("2.5.4.10", "Example"));
        let known = CertificateName::Subject(subject(&[name, company]));
        let of = |attributes: &[(&str, &str)]| {
            let subject = Some(subject(attributes));
            known.is_of(&ClientCertificate { subject, alt_names: Vec::new() })
        };

        assert!(of(&[name, company]) && of(&[company, name]));
        assert!(!of(&[name]) && !of(&[company]) && !of(&[]));
        assert!(!of(&[name, company, name]) && !of(&[name, company, ("2.5.4.11", "x")]));
        assert!(!of(&[("2.5.4.3", "Storefront"), company]));
        assert!(!of(&[("2.5.4.10", "storefront"), ("2.5.4.3", "Example")]));
        assert!(!known.is_of(&ClientCertificate::default()));
    }

    #[test]
    fn an_alternative_name_counts_only_as_what_it_is() {
        let certificate = |alt_names| ClientCertificate { subject: None, alt_names };
        let known = |text| CertificateName::Alt(AltName::meant_by(text));
        let text = || "storefront.internal".to_owned();
        let others = [AltName::Uri(text()), AltName::Email(text())];

        assert!(known("Storefront.Internal").is_of(&certificate(vec![AltName::Dns(text())])));
        assert!(!known("storefront.internal").is_of(&certificate(others.into())));
        let wildcard = AltName::Dns("*.internal".to_owned());
        assert!(!known("storefront.internal").is_of(&certificate(vec![wildcard])));
        assert!(!known("storefront.internal").is_of(&certificate(Vec::new())));
        let spiffe = "spiffe://example.com/storefront";
        assert_eq!(AltName::meant_by(spiffe), AltName::Uri(spiffe.to_owned()));
        assert_eq!(AltName::meant_by("a@b.c"), AltName::Email("a@b.c".to_owned()));
        assert_eq!(AltName::meant_by("::1"), AltName::Ip(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])));
        assert_eq!(AltName::meant_by("10.0.0.1"), AltName::Ip(IpAddr::from([10, 0, 0, 1])));
    }
}
