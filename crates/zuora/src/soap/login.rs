//! `login()`: what apps send, and what the gateway sends and receives itself (Zuora: SOAP API, login).

use std::fmt;

use quick_xml::escape::{escape, unescape};
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::API;
use super::write::envelope;

/// What an app logs in with. Values are as they were meant, escapes undone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// Empty if it was not said.
    pub username: String,
    /// Empty if it was not said.
    pub password: String,
    /// The entity that the session is for, by its id.
    pub entity_id: Option<String>,
    /// The same by its name.
    pub entity_name: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("password", &"***").finish_non_exhaustive()
    }
}

/// Zuora's answer to a `login()` that succeeded.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginAnswer {
    /// What the next calls carry; at most 512 characters (Zuora: SOAP API, login).
    pub session: String,
    /// The address that Zuora wants to be called at with it.
    pub server_url: Option<String>,
}

impl fmt::Debug for LoginAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginAnswer").field("session", &"***").finish_non_exhaustive()
    }
}

/// Why a `login()` brought no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLogin {
    /// Zuora's own word for it, such as `INVALID_LOGIN` or `INVALID_VALUE`, without its prefix, and its message.
    #[error("Zuora says {word}: {message}")]
    Fault {
        /// Of `FaultCode`, else of `faultcode`.
        word: String,
        /// Of `FaultMessage`, else of `faultstring`.
        message: String,
    },
    /// It is no envelope, or has neither a session nor a fault.
    #[error("the answer to `login()` has neither a session nor a fault")]
    Unreadable,
}

/// Returns the envelope of a `login()`. `entity_id` and `entity_name` are left out where they are `None`; Zuora does not
/// take both (Zuora: Multi-entity guide).
pub fn login_request(
    username: &str,
    password: &str,
    entity_id: Option<&str>,
    entity_name: Option<&str>,
) -> String {
    let fields = [
        ("username", Some(username)),
        ("password", Some(password)),
        ("entityId", entity_id),
        ("entityName", entity_name),
    ];
    let fields: String = fields
        .iter()
        .filter_map(|(name, value)| value.map(|value| (name, escape(value))))
        .map(|(name, value)| format!("<ns1:{name}>{value}</ns1:{name}>"))
        .collect();
    envelope(&format!("<ns1:login xmlns:ns1=\"{API}\">{fields}</ns1:login>"))
}

/// Reads Zuora's answer to a `login()`, whatever its status: its fault where it has one.
pub fn read_login_answer(body: &[u8]) -> Result<LoginAnswer, NoLogin> {
    let text = str::from_utf8(body).map_err(|_| NoLogin::Unreadable)?;
    let fields = Fields::read(text).ok_or(NoLogin::Unreadable)?;
    if let Some(word) = fields.first(&["FaultCode", "faultcode"]) {
        let word = word.rsplit(':').next().unwrap_or_default().trim().to_owned();
        let message = fields.first(&["FaultMessage", "faultstring"]).unwrap_or_default();
        return Err(NoLogin::Fault { word, message: message.trim().to_owned() });
    }
    let session = fields.first(&["Session"]).map(|session| session.trim().to_owned());
    let session = session.filter(|session| !session.is_empty()).ok_or(NoLogin::Unreadable)?;
    let server_url = fields.first(&["ServerUrl"]).map(|url| url.trim().to_owned());
    Ok(LoginAnswer { session, server_url })
}

/// The elements of a document that hold text, by their local names.
struct Fields(Vec<(String, String)>);

impl Fields {
    /// `None` if it is no whole document.
    fn read(text: &str) -> Option<Self> {
        let mut reader = Reader::from_str(text);
        let mut fields = Vec::new();
        let mut depth = 0_usize;
        let mut name = String::new();
        let mut raw = String::new();
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    depth += 1;
                    name = start.local_name().as_ref().to_owned();
                    raw.clear();
                }
                Event::Text(text) => raw.push_str(&text.into_inner()),
                Event::GeneralRef(entity) => {
                    raw.push('&');
                    raw.push_str(&entity.into_inner());
                    raw.push(';');
                }
                Event::CData(text) => raw.push_str(&escape(&*text.into_inner())),
                Event::End(_) => {
                    depth = depth.checked_sub(1)?;
                    if !name.is_empty() {
                        let text = unescape(&raw).ok()?.into_owned();
                        fields.push((std::mem::take(&mut name), text));
                    }
                    raw.clear();
                }
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) => {}
                Event::PI(_) | Event::DocType(_) => return None,
                Event::Eof => return (depth == 0 && !fields.is_empty()).then_some(Self(fields)),
            }
        }
    }

    fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| {
            self.0.iter().find(|(found, _)| found == name).map(|(_, text)| text.as_str())
        })
    }
}
