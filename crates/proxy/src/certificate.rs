//! Reads the names in a client certificate that was verified. The only place that knows X.509.

use std::net::IpAddr;

use credentials::{AltName, ClientCertificate, DistinguishedName};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// The names in a certificate (DER). What cannot be read has none, and so is nobody's.
pub(crate) fn names(der: &[u8]) -> ClientCertificate {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return ClientCertificate::default();
    };
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    ClientCertificate {
        subject: subject(certificate.subject()),
        alt_names: names.filter_map(alt_name).collect(),
    }
}

/// Whether a certificate (DER) says that others may be signed with its key (RFC 5280, sections 4.2.1.3 and 4.2.1.9).
pub(crate) fn is_authority(der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    let constraints = certificate.basic_constraints().ok().flatten();
    let usage = certificate.key_usage();
    constraints.is_some_and(|it| it.value.ca)
        && usage.is_ok_and(|usage| usage.is_none_or(|it| it.value.key_cert_sign()))
}

/// `None` if there is any attribute that is no text: without it, the rest would be another name.
fn subject(name: &X509Name<'_>) -> Option<DistinguishedName> {
    let attributes = name.iter_attributes().map(|attribute| {
        let value = attribute.as_str().ok()?.to_owned();
        Some((attribute.attr_type().to_id_string(), value))
    });
    attributes.collect::<Option<Vec<_>>>().map(DistinguishedName::new)
}

fn alt_name(name: &GeneralName<'_>) -> Option<AltName> {
    match *name {
        GeneralName::DNSName(name) => Some(AltName::Dns(name.to_ascii_lowercase())),
        GeneralName::URI(uri) => Some(AltName::Uri(uri.to_owned())),
        GeneralName::RFC822Name(address) => Some(AltName::Email(address.to_owned())),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
            address.ok().map(AltName::Ip)
        }
        _ => None,
    }
}
