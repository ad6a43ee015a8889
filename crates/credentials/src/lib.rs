//! Who we are to Zuora, and who apps are to us.
//!
//! Towards Zuora: [`Tokens`] keeps one tenant's OAuth token fresh for everybody. It knows when
//! to ask for one, not how: the HTTP call is a [`TokenEndpoint`] of somebody else's.
//!
//! From apps: [`Apps`] tells which app a request comes from, and answers `POST /oauth/token`
//! with a signed token of the gateway's own, because that is what Zuora's clients do first.
//!
//! Neither side knows the other: what an app sent is never what Zuora gets.

mod apps;
mod gateway_token;
mod grant;
mod oauth;
mod proof;
mod signing_key;
mod tokens;

pub use apps::{AppCredential, Apps, SecretDigest, Unauthenticated};
pub use grant::{FetchError, Grant, TokenEndpoint, token_request};
pub use oauth::{IssuedToken, OAuthError};
pub use proof::Proof;
pub use signing_key::{SigningKey, SigningKeyError};
pub use tokens::{Token, TokenUnavailable, Tokens};
