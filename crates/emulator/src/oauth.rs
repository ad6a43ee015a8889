//! Tokens: `POST /oauth/token`, and who may call with what.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{answers::Answer, locks::lock, options::Options};

/// Zuora has no known bound on tokens; here one keeps memory bounded.
const MOST_TOKENS: usize = 10_000;

/// More addresses than this in one minute share one count.
const MOST_ADDRESSES: usize = 10_000;

const LIMIT_MINUTE: HeaderName = HeaderName::from_static("x-ratelimit-limit-minute");
const REMAINING_MINUTE: HeaderName = HeaderName::from_static("x-ratelimit-remaining-minute");

/// Who may call, and the tokens that are out.
#[derive(Debug)]
pub(crate) struct Gate {
    client_id: Option<String>,
    client_secret: Option<String>,
    api_key: Option<(String, String)>,
    lifetime: Duration,
    auth_per_minute: u32,
    /// What every session cookie of this tenant begins with.
    session_prefix: String,
    tokens: Mutex<HashMap<Box<str>, Instant>>,
    minute: Mutex<Minute>,
}

/// The logins of the running minute, per address.
#[derive(Debug)]
struct Minute {
    started: Instant,
    used: HashMap<IpAddr, u32>,
}

/// How `/oauth/token` ended, for the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Granted,
    Refused,
}

impl Gate {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            client_id: options.client_id.clone(),
            client_secret: options.client_secret.clone(),
            api_key: options.api_key.clone(),
            lifetime: options.token_lifetime,
            auth_per_minute: options.auth_per_minute,
            session_prefix: Uuid::new_v4().simple().to_string(),
            tokens: Mutex::default(),
            minute: Mutex::new(Minute { started: Instant::now(), used: HashMap::new() }),
        }
    }

    /// Answers `POST /oauth/token`.
    pub(crate) fn login(&self, peer: IpAddr, headers: &HeaderMap, form: &[u8]) -> (Login, Answer) {
        let (within, left) = self.count(peer);
        let (login, answer) =
            if within { self.grant(headers, form) } else { (Login::Refused, too_many_logins()) };
        let answer = if answer.status == StatusCode::OK || !within {
            answer
                .with(LIMIT_MINUTE, HeaderValue::from(self.auth_per_minute))
                .with(REMAINING_MINUTE, HeaderValue::from(left))
        } else {
            answer
        };
        (login, answer)
    }

    /// Whether a call carries a credential that is valid now.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        if let Some(authorization) = headers.get(header::AUTHORIZATION) {
            return self.knows(authorization);
        }
        self.holds_key(headers) || self.holds_session(headers)
    }

    /// Whether the headers name the API user of the options.
    pub(crate) fn holds_key(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        match (&self.api_key, text("apiaccesskeyid"), text("apisecretaccesskey")) {
            (Some((id, secret)), Some(sent_id), Some(sent_secret)) => {
                sent_id == id && sent_secret == secret
            }
            _ => false,
        }
    }

    /// A new session cookie, as every HTTP 200 brings one.
    pub(crate) fn session_cookie(&self) -> HeaderValue {
        let fresh = Uuid::new_v4().simple();
        let cookie = format!(
            "ZSession={}{fresh}{fresh}{fresh}; Path=/; Secure; HttpOnly",
            self.session_prefix
        );
        HeaderValue::try_from(cookie).expect("letters, digits and `;` make a header value")
    }

    /// Takes all tokens back, as deleting the client in Zuora's UI does.
    pub(crate) fn revoke(&self) {
        lock(&self.tokens).clear();
    }

    fn grant(&self, headers: &HeaderMap, form: &[u8]) -> (Login, Answer) {
        let fields: HashMap<String, String> = form_urlencoded::parse(form).into_owned().collect();
        let basic = basic_credentials(headers);
        let (id, secret) = match (fields.get("client_id"), fields.get("client_secret"), &basic) {
            (Some(id), Some(secret), _) => (id.as_str(), secret.as_str()),
            (_, _, Some((id, secret))) => (id.as_str(), secret.as_str()),
            _ => return (Login::Refused, trouble(400, "Bad Request", "Invalid client id")),
        };
        if fields.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return (Login::Refused, trouble(400, "Bad Request", "Unsupported grant type"));
        }
        if self.client_id.as_deref().is_some_and(|expected| expected != id) || id.is_empty() {
            return (Login::Refused, trouble(400, "Bad Request", "Invalid client id"));
        }
        if self.client_secret.as_deref().is_some_and(|expected| expected != secret) {
            return (Login::Refused, trouble(401, "Unauthorized", "Invalid client secret"));
        }
        (Login::Granted, self.issue())
    }

    fn issue(&self) -> Answer {
        let now = Instant::now();
        let token = Uuid::new_v4().simple().to_string();
        let mut tokens = lock(&self.tokens);
        if tokens.len() >= MOST_TOKENS {
            tokens.retain(|_, expires| *expires > now);
        }
        if tokens.len() >= MOST_TOKENS {
            tokens.clear();
        }
        tokens.insert(token.as_str().into(), now + self.lifetime);
        drop(tokens);
        let scope = "entity.2c92c0f8-0000-4000-8000-000000000001 platform.write \
                     service.genesis.read service.genesis.write tenant.12270 \
                     user.2c92c0f9-0000-4000-8000-000000000002";
        Answer::ok(&json!({
            "access_token": token,
            "token_type": "bearer",
            "expires_in": self.lifetime.as_secs(),
            "scope": scope,
            "jti": Uuid::new_v4().simple().to_string(),
        }))
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

    fn knows(&self, authorization: &HeaderValue) -> bool {
        let Some((scheme, token)) =
            authorization.to_str().ok().and_then(|value| value.trim().split_once(' '))
        else {
            return false;
        };
        let token = token.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return lock(&self.tokens).get(token).is_some_and(|expires| *expires > Instant::now());
        }
        scheme.eq_ignore_ascii_case("zsession") && token.starts_with(&self.session_prefix)
    }

    fn holds_session(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split([';', ',']))
            .filter_map(|pair| pair.trim().strip_prefix("ZSession="))
            .any(|session| session.starts_with(&self.session_prefix))
    }
}

fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.trim().split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (id.to_owned(), secret.to_owned()))
}

fn too_many_logins() -> Answer {
    trouble(429, "Too Many Requests", "API rate limit exceeded")
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

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_as_long_as_it_says_beside_others() {
        let gate = gate(Options { token_lifetime: Duration::from_secs(10), ..Options::default() });

        let (_, first) = gate.login(HERE, &HeaderMap::new(), FORM);
        tokio::time::advance(Duration::from_secs(9)).await;
        let (_, second) = gate.login(HERE, &HeaderMap::new(), FORM);
        assert!(gate.admits(&bearer(&first)) && gate.admits(&bearer(&second)));

        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!gate.admits(&bearer(&first)) && gate.admits(&bearer(&second)));
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

        let (login, _) = gate.login(HERE, &headers, b"grant_type=client_credentials");

        assert_eq!(login, Login::Granted);
    }
}
