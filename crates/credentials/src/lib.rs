//! Who we are to Zuora, and who apps are to us.
//!
//! Towards Zuora: [`Tokens`] keeps a token or session of one tenant's entity fresh for everybody. It
//! knows when to ask for one, not how: the HTTP call is a [`TokenEndpoint`] of somebody else's.
//!
//! From Zuora: [`CalloutCredentials`] tells whether a callout comes from there.
//!
//! From apps: [`Apps`] tells which app a request comes from, by any of the credentials that Zuora's
//! clients send, and gives out signed tokens of the gateway's own, because a token or a session is
//! what most of those clients ask for first.
//!
//! No side knows the others: what an app sent is never what Zuora gets.

mod apps;
mod callouts;
mod certificate;
mod gateway_token;
mod grant;
mod logins;
mod oauth;
mod proof;
mod secret;
mod signing_key;
mod tokens;
mod unauthenticated;

pub use apps::{AppCredential, Apps, By, Known, Login, Shown};
pub use callouts::CalloutCredentials;
pub use certificate::{AltName, CertificateName, ClientCertificate, DistinguishedName};
pub use grant::{FetchError, Grant, Renewal, TokenEndpoint, Which, token_request};
pub use logins::Logins;
pub use oauth::{IssuedToken, OAuthError};
pub use proof::Proof;
pub use secret::SecretDigest;
pub use signing_key::{SigningKey, SigningKeyError};
pub use tokens::{Life, Scope, Token, TokenUnavailable, Tokens};
pub use unauthenticated::Unauthenticated;
