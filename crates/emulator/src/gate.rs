//! The door: who may call with what, and the three logins.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    answers::Answer,
    credential::Credential,
    entities::{BadEntity, Entities},
    locks::lock,
    options::Options,
    sessions::{Sessions, text_of},
    single_use::SingleUse,
};

/// Zuora has no known bound on tokens; here one keeps memory bounded.
const MOST_TOKENS: usize = 10_000;

/// More addresses than this in one minute share one count.
const MOST_ADDRESSES: usize = 10_000;

const LIMIT_MINUTE: HeaderName = HeaderName::from_static("x-ratelimit-limit-minute");
const REMAINING_MINUTE: HeaderName = HeaderName::from_static("x-ratelimit-remaining-minute");

/// Who may call, and the tokens and sessions that are out.
#[derive(Debug)]
pub(crate) struct Gate {
    users: Mutex<Users>,
    lifetime: Duration,
    auth_per_minute: u32,
    entities: Entities,
    entity_required: bool,
    tokens: Mutex<HashMap<Box<str>, Token>>,
    sessions: Sessions,
    /// The sessions of API users who call with their key, by user.
    of_keys: Mutex<HashMap<String, Standing>>,
    minute: Mutex<Minute>,
    pub(crate) single_use: SingleUse,
}

/// Who may log in, and how.
#[derive(Debug)]
struct Users {
    clients: Vec<Client>,
    /// `None`: any.
    api_keys: Option<Vec<(String, String)>>,
    /// `None`: any.
    soap_users: Option<Vec<(String, String)>>,
}

/// An OAuth client; `None` matches anything.
#[derive(Debug)]
struct Client {
    id: Option<String>,
    secret: Option<String>,
}

#[derive(Clone, Debug)]
struct Token {
    expires: Instant,
    who: Arc<Who>,
    /// The session that answers to it tell of.
    session: Box<str>,
}

/// A kind of user, each with a login of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Client,
    ApiUser,
    SoapUser,
}

/// A user, as far as one login lets it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Who {
    kind: Kind,
    /// The client id or the user name.
    pub(crate) name: String,
    /// The entities within reach; empty if the tenant has none.
    entities: Vec<String>,
}

/// Who makes a call.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// How it said so.
    pub(crate) credential: Credential,
    pub(crate) who: Arc<Who>,
    /// The session that the answer tells of, if it does.
    pub(crate) session: Option<Box<str>>,
}

/// A login, for the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Who it claimed to be.
    pub(crate) user: Option<String>,
    /// The entity it named.
    pub(crate) entity: Option<String>,
    pub(crate) granted: bool,
}

/// Why a login with a session was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many logins from one address in a minute.
    TooMany,
    /// No such user, or another password.
    Unknown,
    BadEntity,
}

/// The session that every call with a key is part of: its name, and whose it is.
type Standing = (Box<str>, Arc<Who>);

/// The logins of the running minute, per address.
#[derive(Debug)]
struct Minute {
    started: Instant,
    used: HashMap<IpAddr, u32>,
}

impl Gate {
    pub(crate) fn new(options: &Options) -> Self {
        let client =
            Client { id: options.client_id.clone(), secret: options.client_secret.clone() };
        let users = Users {
            clients: vec![client],
            api_keys: (!options.any_api_key).then(|| options.api_key.iter().cloned().collect()),
            soap_users: options.soap_user.clone().map(|user| vec![user]),
        };
        Self {
            users: Mutex::new(users),
            lifetime: options.token_lifetime,
            auth_per_minute: options.auth_per_minute,
            entities: Entities::new(&options.entities, &options.entity_names),
            entity_required: options.entity_required,
            tokens: Mutex::default(),
            sessions: Sessions::new(options.session_lifetime),
            of_keys: Mutex::default(),
            single_use: SingleUse::default(),
            minute: Mutex::new(Minute { started: Instant::now(), used: HashMap::new() }),
        }
    }

    /// Answers `POST /oauth/token`.
    pub(crate) fn login(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        form: &[u8],
    ) -> (Attempt, Answer) {
        let (within, left) = self.count(peer);
        let fields: HashMap<String, String> = form_urlencoded::parse(form).into_owned().collect();
        let (user, secret) = credentials_of(&fields, headers);
        let mut attempt =
            Attempt { user: user.clone(), entity: entity_text(headers), granted: false };
        let answer = if within {
            match self.grant(&fields, user, secret, headers) {
                Ok(answer) => answer,
                Err((status, error, message)) => trouble(status, error, message),
            }
        } else {
            trouble(429, "Too Many Requests", "API rate limit exceeded")
        };
        attempt.granted = answer.status == StatusCode::OK;
        let answer = if attempt.granted || !within {
            answer
                .with(LIMIT_MINUTE, HeaderValue::from(self.auth_per_minute))
                .with(REMAINING_MINUTE, HeaderValue::from(left))
        } else {
            answer
        };
        (attempt, answer)
    }

    /// Answers `POST /v1/connections`: a session for the API user.
    pub(crate) fn connect(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> (Attempt, Result<Caller, Refused>) {
        let user = text(headers, "apiaccesskeyid").map(str::to_owned);
        let entity = entity_text(headers);
        let begun = self.may_log_in(peer).and_then(|()| {
            let user = self.holder_of_key(headers).ok_or(Refused::Unknown)?;
            let named = self.entities.named(headers).map_err(|BadEntity| Refused::BadEntity)?;
            Ok(self.begin(Kind::ApiUser, user, named, Credential::ApiKey).0)
        });
        (Attempt { user, entity, granted: begun.is_ok() }, begun)
    }

    /// The session that a SOAP `login` gets: its text.
    pub(crate) fn soap_login(
        &self,
        peer: IpAddr,
        user: &str,
        password: &str,
        entity: (Option<&str>, Option<&str>),
    ) -> (Attempt, Result<String, Refused>) {
        let begun = self.may_log_in(peer).and_then(|()| {
            let known = match &lock(&self.users).soap_users {
                None => !user.is_empty(),
                Some(users) => users.iter().any(|(id, word)| id == user && word == password),
            };
            if !known {
                return Err(Refused::Unknown);
            }
            let named = self.entities.legacy(entity.0, entity.1);
            let named = named.map_err(|BadEntity| Refused::BadEntity)?;
            let user = user.to_owned();
            let (_, session) = self.begin(Kind::SoapUser, user, named, Credential::SoapSession);
            Ok(text_of(&session))
        });
        let attempt = Attempt {
            user: Some(user.to_owned()),
            entity: entity.0.or(entity.1).map(str::to_owned),
            granted: begun.is_ok(),
        };
        (attempt, begun)
    }

    /// Who makes a call, if it carries a credential that is valid now.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Option<Caller> {
        if let Some(authorization) = headers.get(header::AUTHORIZATION) {
            let (scheme, text) = authorization.to_str().ok()?.trim().split_once(' ')?;
            return if scheme.eq_ignore_ascii_case("bearer") {
                self.holder_of_token(text.trim())
            } else if scheme.eq_ignore_ascii_case("zsession") {
                self.holder_of_session(text, Credential::ZSession)
            } else {
                None
            };
        }
        self.caller_with_key(headers).or_else(|| {
            let mut sessions = sessions_in(headers);
            sessions.find_map(|text| self.holder_of_session(text, Credential::Cookie))
        })
    }

    /// Who makes a SOAP call with this session in its envelope. A token does
    /// as well where the `Authorization` header has one, too, as the
    /// `zuora_api` gem sends it.
    pub(crate) fn identify_soap(&self, headers: &HeaderMap, session: &str) -> Option<Caller> {
        let credential = Credential::SoapSession;
        self.holder_of_session(session, credential).or_else(|| {
            let by_header = self.identify(headers)?;
            let by_session = self.holder_of_token(session.trim())?;
            (by_header.credential == Credential::Bearer && by_header.who == by_session.who)
                .then_some(Caller { credential, ..by_session })
        })
    }

    /// The entity that a call is about; `None`: the tenant has only one.
    pub(crate) fn entity_of(
        &self,
        who: &Who,
        headers: &HeaderMap,
    ) -> Result<Option<&str>, BadEntity> {
        let named = self.entities.named(headers)?;
        if let Some(named) = named {
            return who.reaches(named).then_some(named).map(Some).ok_or(BadEntity);
        }
        let several = who.entities.len() > 1;
        if several && self.entity_required && who.kind == Kind::Client {
            return Err(BadEntity);
        }
        Ok(self.entities.ids.iter().find(|id| who.reaches(id)).map(String::as_str))
    }

    /// Takes all tokens back, as deleting the client in Zuora's UI does.
    pub(crate) fn revoke(&self) {
        lock(&self.tokens).clear();
        self.sessions.end(|who| who.kind == Kind::Client);
    }

    /// Ends all sessions.
    pub(crate) fn end_sessions(&self) {
        self.sessions.end(|_| true);
    }

    /// Only these clients get tokens from now on; those of others end.
    pub(crate) fn set_clients(&self, clients: &[(String, String)]) {
        lock(&self.users).clients = clients
            .iter()
            .map(|(id, secret)| Client { id: Some(id.clone()), secret: Some(secret.clone()) })
            .collect();
        lock(&self.tokens).retain(|_, token| is_among(clients, &token.who));
        self.sessions.end(|who| who.kind == Kind::Client && !is_among(clients, who));
    }

    /// Only these API users get in from now on; the sessions of others end.
    pub(crate) fn set_api_keys(&self, keys: &[(String, String)]) {
        lock(&self.users).api_keys = Some(keys.to_vec());
        lock(&self.of_keys).clear();
        self.sessions.end(|who| who.kind == Kind::ApiUser && !is_among(keys, who));
    }

    /// Only these users may log in with SOAP; the sessions of others end.
    pub(crate) fn set_soap_users(&self, users: &[(String, String)]) {
        lock(&self.users).soap_users = Some(users.to_vec());
        self.sessions.end(|who| who.kind == Kind::SoapUser && !is_among(users, who));
    }

    fn grant(
        &self,
        fields: &HashMap<String, String>,
        user: Option<String>,
        secret: Option<String>,
        headers: &HeaderMap,
    ) -> Result<Answer, (u16, &'static str, &'static str)> {
        let (Some(user), Some(secret)) = (user, secret) else {
            return Err((400, "Bad Request", "Invalid client id"));
        };
        if fields.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return Err((400, "Bad Request", "Unsupported grant type"));
        }
        let takes = |expected: &Option<String>, sent: &str| {
            expected.as_deref().is_none_or(|expected| expected == sent)
        };
        let users = lock(&self.users);
        let mut clients = users.clients.iter().filter(|client| takes(&client.id, &user)).peekable();
        if clients.peek().is_none() || user.is_empty() {
            return Err((400, "Bad Request", "Invalid client id"));
        }
        if !clients.any(|client| takes(&client.secret, &secret)) {
            return Err((401, "Unauthorized", "Invalid client secret"));
        }
        drop(users);
        match self.entities.named(headers) {
            Ok(named) => Ok(self.issue(user, named)),
            Err(BadEntity) => Err((400, "Bad Request", "Invalid entity id")),
        }
    }

    fn issue(&self, user: String, entity: Option<&str>) -> Answer {
        let now = Instant::now();
        let text = Uuid::new_v4().simple().to_string();
        let who = self.who(Kind::Client, user, entity);
        let session = self.sessions.begin(&who);
        let scope = scope(&who.entities);
        let mut tokens = lock(&self.tokens);
        if tokens.len() >= MOST_TOKENS {
            tokens.retain(|_, token| token.expires > now);
        }
        if tokens.len() >= MOST_TOKENS {
            tokens.clear();
        }
        tokens.insert(text.as_str().into(), Token { expires: now + self.lifetime, who, session });
        drop(tokens);
        Answer::ok(&json!({
            "access_token": text,
            "token_type": "bearer",
            "expires_in": self.lifetime.as_secs(),
            "scope": scope,
            "jti": Uuid::new_v4().simple().to_string(),
        }))
    }

    /// Begins a session.
    fn begin(
        &self,
        kind: Kind,
        user: String,
        entity: Option<&str>,
        credential: Credential,
    ) -> (Caller, Box<str>) {
        let who = self.who(kind, user, entity);
        let session = self.sessions.begin(&who);
        (Caller { credential, who, session: Some(session.clone()) }, session)
    }

    fn who(&self, kind: Kind, name: String, entity: Option<&str>) -> Arc<Who> {
        let entities = match entity {
            Some(entity) => vec![entity.to_owned()],
            None => self.entities.ids.clone(),
        };
        Arc::new(Who { kind, name, entities })
    }

    fn may_log_in(&self, peer: IpAddr) -> Result<(), Refused> {
        let (within, _) = self.count(peer);
        if within { Ok(()) } else { Err(Refused::TooMany) }
    }

    /// Counts a login; how many are left in this minute.
    fn count(&self, peer: IpAddr) -> (bool, u32) {
        let mut minute = lock(&self.minute);
        if minute.started.elapsed() >= Duration::from_secs(60) || minute.used.len() > MOST_ADDRESSES
        {
            *minute = Minute { started: Instant::now(), used: HashMap::new() };
        }
        let used = minute.used.entry(peer).or_insert(0);
        *used = used.saturating_add(1);
        (*used <= self.auth_per_minute, self.auth_per_minute.saturating_sub(*used))
    }

    fn holder_of_token(&self, text: &str) -> Option<Caller> {
        let token = lock(&self.tokens).get(text)?.clone();
        if token.expires <= Instant::now() {
            return None;
        }
        self.sessions.keep(&token.session, &token.who);
        let session = Some(token.session);
        Some(Caller { credential: Credential::Bearer, who: token.who, session })
    }

    fn holder_of_session(&self, text: &str, credential: Credential) -> Option<Caller> {
        let (session, who) = self.sessions.find(text)?;
        Some(Caller { credential, who, session: Some(session) })
    }

    fn caller_with_key(&self, headers: &HeaderMap) -> Option<Caller> {
        let user = self.holder_of_key(headers)?;
        let mut of_keys = lock(&self.of_keys);
        let (session, who) = of_keys.entry(user.clone()).or_insert_with(|| {
            let who = self.who(Kind::ApiUser, user, None);
            (self.sessions.begin(&who), who)
        });
        self.sessions.keep(session, who);
        let (credential, session) = (Credential::ApiKey, Some(session.clone()));
        Some(Caller { credential, who: Arc::clone(who), session })
    }

    /// The API user whose key the headers hold.
    fn holder_of_key(&self, headers: &HeaderMap) -> Option<String> {
        let id = text(headers, "apiaccesskeyid")?;
        let secret = text(headers, "apisecretaccesskey")?;
        let known = match &lock(&self.users).api_keys {
            None => !id.is_empty(),
            Some(keys) => keys.iter().any(|(known, word)| known == id && word == secret),
        };
        known.then(|| id.to_owned())
    }
}

impl Who {
    fn reaches(&self, entity: &str) -> bool {
        self.entities.iter().any(|one| one == entity)
    }
}

impl Caller {
    /// The value of the cookie that an answer sets, new each time.
    pub(crate) fn cookie(&self) -> Option<HeaderValue> {
        let text = text_of(self.session.as_deref()?);
        let cookie = format!("ZSession={text}; Path=/; Secure; HttpOnly");
        Some(HeaderValue::try_from(cookie).expect("letters, digits and `;` make a header value"))
    }
}

fn is_among(users: &[(String, String)], who: &Who) -> bool {
    users.iter().any(|(id, _)| *id == who.name)
}

/// What a token is good for: its entities, and what all tokens have.
fn scope(entities: &[String]) -> String {
    let only = ["2c92c0f8-0000-4000-8000-000000000001".to_owned()];
    let entities = if entities.is_empty() { &only } else { entities };
    let entities: Vec<String> = entities.iter().map(|id| format!("entity.{id}")).collect();
    format!(
        "{} platform.write service.genesis.read service.genesis.write tenant.12270 \
         user.2c92c0f9-0000-4000-8000-000000000002",
        entities.join(" ")
    )
}

/// The client of a token call: from the form, or else from HTTP Basic.
fn credentials_of(
    fields: &HashMap<String, String>,
    headers: &HeaderMap,
) -> (Option<String>, Option<String>) {
    match (fields.get("client_id"), fields.get("client_secret")) {
        (Some(id), Some(secret)) => (Some(id.clone()), Some(secret.clone())),
        _ => basic_credentials(headers).unzip(),
    }
}

/// The entity as a login named it, for the ledger.
fn entity_text(headers: &HeaderMap) -> Option<String> {
    let names = ["zuora-entity-ids", "entityid", "entityname"];
    names.iter().find_map(|name| text(headers, name)).map(str::to_owned)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The sessions among the cookies.
fn sessions_in(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([';', ',']))
        .filter_map(|pair| pair.trim().strip_prefix("ZSession="))
}

fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.trim().split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (id.to_owned(), secret.to_owned()))
}

fn trouble(status: u16, error: &str, message: &str) -> Answer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let body = json!({
        "timestamp": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        "status": status,
        "error": error,
        "message": message,
        "path": "/oauth/token",
    });
    let status = StatusCode::from_u16(status).expect("only statuses written above");
    Answer::json(status, &body)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const FORM: &[u8] = b"client_id=id&client_secret=s%2Bt&grant_type=client_credentials";

    fn gate(options: Options) -> Gate {
        Gate::new(&Options {
            client_id: Some("id".into()),
            client_secret: Some("s+t".into()),
            ..options
        })
    }

    fn bearer(answer: &Answer) -> HeaderMap {
        let body: serde_json::Value = serde_json::from_slice(answer.bytes().unwrap()).unwrap();
        let value = format!("BEARER {}", body["access_token"].as_str().unwrap());
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::try_from(value).unwrap())])
    }

    fn admits(gate: &Gate, answer: &Answer) -> bool {
        gate.identify(&bearer(answer)).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_as_long_as_it_says_beside_others() {
        let gate = gate(Options { token_lifetime: Duration::from_secs(10), ..Options::default() });

        let (_, first) = gate.login(HERE, &HeaderMap::new(), FORM);
        tokio::time::advance(Duration::from_secs(9)).await;
        let (_, second) = gate.login(HERE, &HeaderMap::new(), FORM);
        assert!(admits(&gate, &first) && admits(&gate, &second));

        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!admits(&gate, &first) && admits(&gate, &second));
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_may_log_in_so_often_a_minute() {
        let gate = gate(Options { auth_per_minute: 2, ..Options::default() });
        let login = || gate.login(HERE, &HeaderMap::new(), FORM).1;

        assert_eq!((login().status, login().status), (StatusCode::OK, StatusCode::OK));
        let refused = login();
        assert_eq!(refused.status, 429);
        assert!(refused.headers.contains(&(REMAINING_MINUTE, HeaderValue::from(0))));

        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(login().status, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_clients_are_told_apart() {
        let gate = gate(Options::default());
        let status = |form: &[u8]| gate.login(HERE, &HeaderMap::new(), form).1.status.as_u16();

        assert_eq!(status(b"client_id=no&client_secret=s&grant_type=client_credentials"), 400);
        assert_eq!(status(b"client_id=id&client_secret=s&grant_type=client_credentials"), 401);
        assert_eq!(status(b"client_id=id&client_secret=s%2Bt&grant_type=password"), 400);
        assert_eq!(status(b""), 400);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_also_come_with_basic() {
        let gate = gate(Options::default());
        let value = format!("Basic {}", BASE64_STANDARD.encode("id:s+t"));
        let headers =
            HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::try_from(value).unwrap())]);

        let (attempt, _) = gate.login(HERE, &headers, b"grant_type=client_credentials");

        assert!(attempt.granted);
        assert_eq!(attempt.user.as_deref(), Some("id"));
    }
}
