//! Zuora's SOAP API, as far as a gateway must understand it: whose session an envelope carries and what it asks for,
//! where another session is to be written, the answer to a `login()`, and faults.
//!
//! An envelope is read only as far as that, and never written anew: [`Splice`] changes the few bytes where the session
//! stands, and all others stay as they came. Whatever could be read in two ways is refused ([`BadEnvelope`]), as the
//! reading that counts is Zuora's.
//!
//! Sources: Zuora: SOAP API calls overview, sessions, and error handling; SOAP 1.1 4 and 5.

mod envelope;
mod login;
mod splice;
mod write;

#[cfg(test)]
mod tests;

pub use envelope::{BadEnvelope, Envelope, Head, LONGEST_HEAD};
pub use login::{Login, LoginAnswer, NoLogin, login_request, read_login_answer};
pub use splice::Splice;
pub use write::{fault, login_answer};

/// The namespace of envelopes (SOAP 1.1 3). Zuora speaks no other version.
const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// The namespace of calls and of the session.
const API: &str = "http://api.zuora.com/";

/// The namespace of what a fault tells.
const FAULT: &str = "http://fault.api.zuora.com/";
