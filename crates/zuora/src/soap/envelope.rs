//! An envelope as it arrives: its head is understood, and the rest is watched for a second meaning.

use std::fmt;
use std::mem;
use std::ops::Range;

use quick_xml::Error as XmlError;
use quick_xml::escape::{escape, unescape};
use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::name::{NamespaceResolver, QName, ResolveResult};
use quick_xml::reader::Reader;

use super::login::Login;
use super::splice::Splice;
use super::{API, SOAP};

/// How many bytes of an envelope may come before the call that it asks for; of a `login()`, before its end.
pub const LONGEST_HEAD: usize = 64 * 1024;

/// The longest tag, comment or CDATA section. Each must be there whole before it is understood.
const LONGEST_TOKEN: usize = 256 * 1024;

/// How many attributes a tag may have whose attributes count. Each is compared with each other one, before anybody is
/// known.
const MOST_ATTRIBUTES: usize = 100;

/// How deep elements may stand in one another. Objects of Zuora's stand in about ten others.
const DEEPEST: usize = 100;

/// How long the names of all open elements may be together, in bytes, give or take one.
const LONGEST_NAMES: usize = 16 * 1024;

/// Reads an envelope in whichever pieces it arrives. Keeps no more of it than one token.
pub struct Envelope {
    /// What has arrived of a token that is not whole.
    carried: Vec<u8>,
    /// How many bytes came before it.
    before: usize,
    /// With fewer bytes than this, another look at what is carried is not worth it: it would be read once per byte.
    worth: usize,
    /// The names of the elements that are open, one after another, and how long each is.
    names: String,
    lengths: Vec<usize>,
    namespaces: NamespaceResolver,
    place: Place,
    /// Where a session can be written, as far as that is known.
    splice: Option<Splice>,
    session: Session,
    fields: Fields,
    head: Option<Head>,
}

/// What the head of an envelope says.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// The call that it asks for, without its prefix: `query`, `create`, `login`.
    pub call: Box<str>,
    /// The session that it carries, without space around it.
    pub session: Option<Box<str>>,
    /// Where a session is to be written.
    pub splice: Splice,
    /// What is said with a `login()`.
    pub login: Option<Login>,
}

/// Why an envelope is not taken. `Display` says it in words meant for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEnvelope {
    /// Tags that do not match, a second root, anything that is not XML.
    #[error("the body is not a well-formed SOAP envelope")]
    Malformed,
    /// It ended too early.
    #[error("the SOAP envelope is not complete")]
    Incomplete,
    /// Bytes that are not UTF-8, or a declaration of another encoding.
    #[error("the SOAP envelope must be UTF-8")]
    Encoding,
    /// A document type or a processing instruction (SOAP 1.1 3 forbids both).
    #[error("a SOAP envelope must have neither a document type nor processing instructions")]
    Forbidden,
    /// The root is no envelope of SOAP 1.1.
    #[error("the body must be an envelope of SOAP 1.1")]
    Version,
    /// Something else than one `Header` and one `Body` in it, in this order.
    #[error("a SOAP envelope must hold at most one `Header`, and then one `Body`")]
    Structure,
    /// Two sessions, one in another namespace, or one that is more than plain text.
    #[error(
        "the envelope must hold at most one `SessionHeader` of Zuora's, with one plain `session`"
    )]
    Session,
    /// An entry of WS-Security: a credential that would be passed on.
    #[error(
        "credentials of WS-Security are not taken: call `login()`, or send an `Authorization` field"
    )]
    Security,
    /// An entry of WS-Addressing, which may name another call than the `Body`, and who gets the answer.
    #[error("the `Header` must have no entries of WS-Addressing")]
    Addressing,
    /// A `Body` without a call, or with two.
    #[error("the `Body` must hold exactly one call")]
    Calls,
    /// Something else in `login` than each of its fields once, or another spelling of it.
    #[error("`login` takes `username`, `password`, `entityId` and `entityName`, each at most once")]
    Login,
    /// The call did not come soon enough.
    #[error("the call must begin, and a `login` end, within the first {LONGEST_HEAD} bytes")]
    LongHead,
    /// A single tag, comment or CDATA section is longer than is looked at.
    #[error("a tag, comment or CDATA section of the envelope is longer than {LONGEST_TOKEN} bytes")]
    LongToken,
    /// A tag with more attributes than are compared with each other.
    #[error("a tag of the envelope has more than {MOST_ATTRIBUTES} attributes")]
    Attributes,
    /// Elements too deep in one another.
    #[error("the elements of the envelope stand deeper than {DEEPEST} in one another")]
    Depth,
}

/// Which element the next tag stands in, or what came last at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the envelope.
    Start,
    /// In the envelope, before its header.
    Envelope,
    Header,
    /// Anywhere in an entry of the header that is not ours to read.
    Entry,
    SessionHeader,
    Session,
    AfterHeader,
    Body,
    /// Anywhere in the call.
    Call,
    Login,
    Field(Field),
    AfterCall,
    AfterBody,
    /// After the envelope.
    End,
}

/// A field of `login()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Username,
    Password,
    EntityId,
    EntityName,
}

impl Field {
    const ALL: [(Self, &str); 4] = [
        (Self::Username, "username"),
        (Self::Password, "password"),
        (Self::EntityId, "entityId"),
        (Self::EntityName, "entityName"),
    ];
}

/// What is known of the session that the envelope carries.
#[derive(Default)]
struct Session {
    /// Whether there was a `SessionHeader`.
    has_header: bool,
    /// Where the text of a `session` begins, once there was one.
    begins: Option<usize>,
    text: String,
}

/// The fields of a `login()`, escaped as they came.
#[derive(Default)]
struct Fields([Option<String>; Field::ALL.len()]);

impl Fields {
    fn of(&mut self, field: Field) -> &mut Option<String> {
        &mut self.0[field as usize]
    }

    fn into_login(self) -> Result<Login, BadEnvelope> {
        let plain = |raw: Option<String>| -> Result<Option<String>, BadEnvelope> {
            let text = raw.map(|raw| unescape(&raw).map(|text| text.trim().to_owned()));
            text.transpose().map_err(|_| BadEnvelope::Malformed)
        };
        let named = |raw| plain(raw).map(|text| text.filter(|text| !text.is_empty()));
        let [username, password, entity_id, entity_name] = self.0;
        Ok(Login {
            username: plain(username)?.unwrap_or_default(),
            password: plain(password)?.unwrap_or_default(),
            entity_id: named(entity_id)?,
            entity_name: named(entity_name)?,
        })
    }
}

impl Envelope {
    /// An envelope of which nothing has arrived.
    #[must_use]
    pub fn new() -> Self {
        Self {
            carried: Vec::new(),
            before: 0,
            worth: 0,
            names: String::new(),
            lengths: Vec::new(),
            namespaces: NamespaceResolver::default(),
            place: Place::Start,
            splice: None,
            session: Session::default(),
            fields: Fields::default(),
            head: None,
        }
    }

    /// Reads on. What was refused once is refused for good: nothing may be read after an error.
    pub fn read(&mut self, piece: &[u8]) -> Result<(), BadEnvelope> {
        self.carried.extend_from_slice(piece);
        let must_have_head = self.before + self.carried.len() > LONGEST_HEAD;
        if self.carried.len() >= self.worth || (must_have_head && self.head.is_none()) {
            self.look()?;
        }
        if must_have_head && self.head.is_none() {
            return Err(BadEnvelope::LongHead);
        }
        Ok(())
    }

    /// The head, once it is there: when the call has begun, or `login` has ended.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Says whether the envelope is complete, as nothing else arrives. If it is, it has a head.
    pub fn end(&mut self) -> Result<(), BadEnvelope> {
        self.look()?;
        match self.place {
            Place::End if self.carried.is_empty() => Ok(()),
            _ => Err(BadEnvelope::Incomplete),
        }
    }

    /// Understands whatever is whole of what is carried.
    fn look(&mut self) -> Result<(), BadEnvelope> {
        let mut carried = mem::take(&mut self.carried);
        let text = match str::from_utf8(&carried) {
            Ok(text) => text,
            // The rest of a character may come with the next piece.
            Err(cut) if cut.error_len().is_none() => {
                str::from_utf8(&carried[..cut.valid_up_to()]).map_err(|_| BadEnvelope::Encoding)?
            }
            Err(_) => return Err(BadEnvelope::Encoding),
        };
        let mut reader = Reader::from_str(text);
        let config = reader.config_mut();
        // Names are compared here, as this reader has not seen the beginning. A reference may be cut.
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        config.allow_dangling_amp = true;
        config.check_comments = true;

        let mut done = 0;
        loop {
            let event = match reader.read_event() {
                Ok(Event::Eof) => break,
                Ok(event) => event,
                // Cut, or never to end: then it will be too long, or the envelope incomplete.
                Err(XmlError::Syntax(_)) => break,
                Err(_) => return Err(BadEnvelope::Malformed),
            };
            let end = text.len() - reader.get_ref().len();
            if end - done > LONGEST_TOKEN && !matches!(event, Event::Text(_)) {
                return Err(BadEnvelope::LongToken);
            }
            self.understand(event, self.before + done..self.before + end)?;
            done = end;
        }
        carried.drain(..done);
        self.before += done;
        if carried.len() > LONGEST_TOKEN {
            return Err(BadEnvelope::LongToken);
        }
        self.worth = (2 * carried.len()).min(LONGEST_TOKEN + 1);
        self.carried = carried;
        Ok(())
    }

    /// Takes in what stands at `range` of the envelope.
    fn understand(&mut self, event: Event<'_>, range: Range<usize>) -> Result<(), BadEnvelope> {
        match event {
            Event::Start(tag) => self.open(&tag, &range, false),
            Event::Empty(tag) => {
                self.open(&tag, &range, true)?;
                self.close(tag.name(), &range)
            }
            Event::End(tag) => self.close(tag.name(), &range),
            Event::Text(text) => self.text(&text.into_inner()),
            Event::GeneralRef(entity) => self.text(&format!("&{};", entity.into_inner())),
            Event::CData(text) => match self.place {
                Place::Session => Err(BadEnvelope::Session),
                _ => self.text(&escape(&*text.into_inner())),
            },
            Event::Comment(_) if self.place == Place::Session => Err(BadEnvelope::Session),
            Event::Comment(_) => Ok(()),
            // A byte order mark may stand before it.
            Event::Decl(declaration) if range.start == 0 => check_declaration(&declaration),
            Event::Decl(_) => Err(BadEnvelope::Malformed),
            Event::PI(_) | Event::DocType(_) => Err(BadEnvelope::Forbidden),
            Event::Eof => Ok(()),
        }
    }

    fn open(
        &mut self,
        tag: &BytesStart<'_>,
        range: &Range<usize>,
        is_empty: bool,
    ) -> Result<(), BadEnvelope> {
        let name = tag.name();
        if !is_name(name.0) {
            return Err(BadEnvelope::Malformed);
        }
        if self.lengths.len() == DEEPEST || self.names.len() > LONGEST_NAMES {
            return Err(BadEnvelope::Depth);
        }
        self.names.push_str(name.0);
        self.lengths.push(name.0.len());
        // Deeper down nothing is read, so nothing there needs its namespaces or attributes looked at.
        if matches!(self.place, Place::Entry | Place::Call) {
            return Ok(());
        }
        let mut attributes = tag.attributes();
        if attributes.by_ref().take(MOST_ATTRIBUTES).any(|attribute| attribute.is_err()) {
            return Err(BadEnvelope::Malformed);
        }
        if attributes.next().is_some() {
            return Err(BadEnvelope::Attributes);
        }
        self.namespaces.push(tag).map_err(|_| BadEnvelope::Malformed)?;
        self.place = self.enter(tag, range, is_empty)?;
        Ok(())
    }

    /// Where the tag leads.
    fn enter(
        &mut self,
        tag: &BytesStart<'_>,
        range: &Range<usize>,
        is_empty: bool,
    ) -> Result<Place, BadEnvelope> {
        let (namespace, local) = self.namespaces.resolve_element(tag.name());
        let local = local.into_inner();
        let namespace = match &namespace {
            ResolveResult::Bound(namespace) => namespace.0,
            ResolveResult::Unbound | ResolveResult::Unknown(_) => "",
        };
        let (is_soap, is_api) = (namespace == SOAP, namespace == API);
        let name = tag.name().0;
        let content = range.end;
        let slash = range.end.saturating_sub(2)..range.end;
        match self.place {
            Place::Start if is_soap && local == "Envelope" => Ok(Place::Envelope),
            Place::Start => Err(BadEnvelope::Version),
            Place::Envelope if is_soap && local == "Header" => {
                self.splice = Some(match is_empty {
                    true => Splice::session_header_in_empty(slash, name),
                    false => Splice::session_header(content),
                });
                Ok(Place::Header)
            }
            Place::Envelope | Place::AfterHeader if is_soap && local == "Body" => {
                if self.splice.is_none() {
                    // Its prefix is known here, as that of the body need not be.
                    let header = match self.envelope().split_once(':') {
                        Some((prefix, _)) => format!("{prefix}:Header"),
                        None => "Header".to_owned(),
                    };
                    self.splice = Some(Splice::header(range.start, &header));
                }
                Ok(Place::Body)
            }
            Place::Envelope | Place::AfterHeader => Err(BadEnvelope::Structure),
            // In another spelling it may be a session to somebody who reads less strictly.
            Place::Header if local.eq_ignore_ascii_case("SessionHeader") => {
                let is_first = !mem::replace(&mut self.session.has_header, true);
                if !is_first || !is_api || local != "SessionHeader" || is_nil(tag) {
                    return Err(BadEnvelope::Session);
                }
                self.splice = Some(match is_empty {
                    true => Splice::session_in_empty(slash, name),
                    false => Splice::session(content),
                });
                Ok(Place::SessionHeader)
            }
            Place::Header if local.eq_ignore_ascii_case("Security") => Err(BadEnvelope::Security),
            // Those of all its versions end alike.
            Place::Header if namespace.ends_with("/addressing") => Err(BadEnvelope::Addressing),
            Place::Header => Ok(Place::Entry),
            Place::SessionHeader => {
                let is_first = self.session.begins.replace(content).is_none();
                if !is_first || local != "session" || is_nil(tag) {
                    return Err(BadEnvelope::Session);
                }
                if is_empty {
                    self.splice = Some(Splice::content(slash, name));
                }
                Ok(Place::Session)
            }
            Place::Session => Err(BadEnvelope::Session),
            Place::Body if local == "login" => Ok(Place::Login),
            // With a name and a password in it, as it would be sent on.
            Place::Body if local.eq_ignore_ascii_case("login") => Err(BadEnvelope::Login),
            Place::Body => {
                self.conclude(local.into(), None, range)?;
                Ok(Place::Call)
            }
            Place::Login => {
                let field = Field::ALL.iter().find(|(_, known)| *known == local);
                let (field, _) = *field.ok_or(BadEnvelope::Login)?;
                let is_first = self.fields.of(field).replace(String::new()).is_none();
                is_first.then_some(Place::Field(field)).ok_or(BadEnvelope::Login)
            }
            Place::Field(_) => Err(BadEnvelope::Login),
            Place::AfterCall => Err(BadEnvelope::Calls),
            Place::AfterBody => Err(BadEnvelope::Structure),
            Place::End | Place::Entry | Place::Call => Err(BadEnvelope::Malformed),
        }
    }

    fn close(&mut self, name: QName<'_>, range: &Range<usize>) -> Result<(), BadEnvelope> {
        let length = self.lengths.pop().ok_or(BadEnvelope::Malformed)?;
        let begins = self.names.len() - length;
        if &self.names[begins..] != name.0 {
            return Err(BadEnvelope::Malformed);
        }
        self.names.truncate(begins);
        // Entries of the header and calls stand in the third row.
        let is_inside = self.lengths.len() > 2;
        self.place = match self.place {
            Place::Entry | Place::Call if is_inside => return Ok(()),
            Place::Entry | Place::SessionHeader => Place::Header,
            Place::Session => {
                // Of an empty element there is no text, and its place is known.
                if let Some(begins) = self.session.begins.filter(|begins| *begins <= range.start) {
                    self.splice = Some(Splice::text(begins..range.start));
                }
                Place::SessionHeader
            }
            Place::Header => Place::AfterHeader,
            Place::Call => Place::AfterCall,
            Place::Field(_) => Place::Login,
            Place::Login => {
                let login = mem::take(&mut self.fields).into_login()?;
                self.conclude("login".into(), Some(login), range)?;
                Place::AfterCall
            }
            Place::Body => return Err(BadEnvelope::Calls),
            Place::AfterCall => Place::AfterBody,
            Place::AfterBody => Place::End,
            Place::Envelope | Place::AfterHeader => return Err(BadEnvelope::Structure),
            Place::Start | Place::End => return Err(BadEnvelope::Malformed),
        };
        self.namespaces.pop();
        Ok(())
    }

    /// Text as it came, references in it as they are written.
    fn text(&mut self, text: &str) -> Result<(), BadEnvelope> {
        match self.place {
            Place::Entry | Place::Call => Ok(()),
            Place::Session => {
                self.session.text.push_str(text);
                Ok(())
            }
            Place::Field(field) => {
                self.fields.of(field).get_or_insert_default().push_str(text);
                Ok(())
            }
            _ if text.trim_matches(is_space).is_empty() => Ok(()),
            Place::SessionHeader => Err(BadEnvelope::Session),
            _ => Err(BadEnvelope::Structure),
        }
    }

    /// The head is there, with what stands at `last`.
    fn conclude(
        &mut self,
        call: Box<str>,
        login: Option<Login>,
        last: &Range<usize>,
    ) -> Result<(), BadEnvelope> {
        if last.end > LONGEST_HEAD {
            return Err(BadEnvelope::LongHead);
        }
        let session = self.session.text.trim_matches(is_space);
        // Whoever reads references reads another session than we do.
        if session.contains(|c: char| c == '&' || !c.is_ascii_graphic()) {
            return Err(BadEnvelope::Session);
        }
        let session = (!session.is_empty()).then(|| session.into());
        let splice = self.splice.clone().ok_or(BadEnvelope::Structure)?;
        self.head = Some(Head { call, session, splice, login });
        Ok(())
    }

    /// The name of the outermost element.
    fn envelope(&self) -> &str {
        &self.names[..self.lengths.first().copied().unwrap_or_default()]
    }
}

impl Default for Envelope {
    fn default() -> Self {
        Self::new()
    }
}

fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), BadEnvelope> {
    let encoding = declaration.encoding().transpose().map_err(|_| BadEnvelope::Malformed)?;
    let is_utf8 = |name: &str| ["utf-8", "utf8", "us-ascii"].contains(&&*name.to_ascii_lowercase());
    if encoding.is_some_and(|name| !is_utf8(&name)) {
        return Err(BadEnvelope::Encoding);
    }
    match declaration.version() {
        Ok(version) if version == "1.0" => Ok(()),
        _ => Err(BadEnvelope::Malformed),
    }
}

/// Whether an element says that it has no value (XML Schema 1 2.6.2): with a session in it, it would say two things.
fn is_nil(tag: &BytesStart<'_>) -> bool {
    tag.attributes().flatten().any(|attribute| attribute.key.local_name().into_inner() == "nil")
}

/// Stricter than the reader, who takes whatever stands between `<` and a space.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let is_begun =
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii());
        is_begun
            && part.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || b"_-.".contains(&byte) || !byte.is_ascii()
            })
    };
    match name.split_once(':') {
        Some((prefix, local)) => is_part(prefix) && is_part(local),
        None => is_part(name),
    }
}

/// What XML calls white space (XML 1.0 2.3).
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

// An envelope holds the app's session or password: nothing of it is printed.

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("place", &self.place).finish_non_exhaustive()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("call", &self.call).finish_non_exhaustive()
    }
}
