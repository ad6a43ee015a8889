//! TLS on both sides: rustls with one provider, certificates from PEM files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::certificate::is_authority;

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read, or is not PEM of the right kind.
    #[error("cannot read `{}`", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: pem::Error,
    },
    /// The file holds no certificate.
    #[error("`{}` holds no certificate", .0.display())]
    Empty(PathBuf),
    /// No root certificate of the system could be found.
    #[error(
        "this system has no root certificates: install `ca-certificates`, or set the tenant's `ca_certificate`"
    )]
    NoRoots,
    /// A certificate among those of authorities is not one's.
    #[error("`{}` holds a certificate that is no authority's: who has its key could make any other", .0.display())]
    NoAuthority(PathBuf),
    /// The certificates of authorities cannot be used.
    #[error("`{}` cannot be used to verify clients", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: VerifierBuilderError,
    },
    /// rustls refuses the certificate or the key.
    #[error("the certificate or key cannot be used")]
    Unusable(#[from] rustls::Error),
}

/// How we prove to callers who we are. Certificates are renewed, so it may be exchanged: connections that stand go on
/// with what they began with.
pub struct Identity(RwLock<Arc<ServerConfig>>);

impl Identity {
    /// An identity that is proved as `config` says.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self(RwLock::new(Arc::new(config)))
    }

    /// Proves it as `config` says from now on.
    pub fn exchange(&self, config: ServerConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// How it is proved now.
    pub(crate) fn get(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// How to verify Zuora: against the certificates in the PEM file `roots`, or those of the system.
///
/// # Errors
/// If no usable root is found.
pub fn client_config(roots: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut store = RootCertStore::empty();
    match roots {
        Some(path) => {
            for certificate in certificates(path)? {
                store.add(certificate)?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
        }
    }
    if store.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let versions =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(store).with_no_client_auth())
}

/// How we prove to callers who we are: the chain and key in two PEM files. Offers HTTP/2 and HTTP/1.1 by ALPN.
///
/// With `client_ca`, a PEM file of authorities, callers are asked for a certificate. Who has none is let in; who shows
/// one that is not by them, or not valid now, is not.
///
/// # Errors
/// If a file cannot be read or used.
pub fn server_config(
    certificate: &Path,
    key: &Path,
    client_ca: Option<&Path>,
) -> Result<ServerConfig, TlsError> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|cause| TlsError::Pem { path: key.to_owned(), cause })?;
    let versions =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let asking = match client_ca {
        None => versions.with_no_client_auth(),
        Some(path) => versions.with_client_cert_verifier(verifier(path)?),
    };
    let mut config = asking.with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(client_ca: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(client_ca)? {
        // Whatever is trusted here may sign, as nobody looks at it again: the certificate of one app would let it make
        // those of all others.
        if !is_authority(&certificate) {
            return Err(TlsError::NoAuthority(client_ca.to_owned()));
        }
        authorities.add(certificate)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider());
    let verifier = builder.allow_unauthenticated().build();
    verifier.map_err(|cause| TlsError::Authorities { path: client_ca.to_owned(), cause })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |cause| TlsError::Pem { path: path.to_owned(), cause };
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if certificates.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(certificates) }
}
