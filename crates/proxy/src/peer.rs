//! Who sits at the other end of a connection, as far as the connection itself tells.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use credentials::ClientCertificate;

/// The other end of a connection. The default knows nothing of it, and speaks plain HTTP.
#[derive(Clone, Default)]
pub struct Peer {
    /// Its address.
    pub address: Option<IpAddr>,
    /// Whether it speaks TLS with us.
    pub is_tls: bool,
    /// The names in its own certificate, if it proved to have one that we trust.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// What is answered where it connected.
    pub port: Port,
}

/// What is answered at a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Port {
    /// The calls of apps, and Zuora's callouts.
    #[default]
    Both,
    /// The calls of apps.
    Apps,
    /// Zuora's callouts.
    Callouts,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("address", &self.address)
            .field("is_tls", &self.is_tls)
            .field("has_certificate", &self.certificate.is_some())
            .finish()
    }
}
