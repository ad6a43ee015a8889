//! Sessions, as Zuora's older logins begin them: they end when nobody calls
//! with them for so long.

use std::{collections::HashMap, sync::Arc, sync::Mutex, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{gate::Who, locks::lock};

/// Zuora has no known bound on sessions; here one keeps memory bounded.
const MOST_SESSIONS: usize = 10_000;

/// How many digits of a session's text name it; the rest is new each time.
const NAME_DIGITS: usize = 32;

/// The sessions that live.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// How long one lives after its last call.
    lifetime: Duration,
    live: Mutex<HashMap<Box<str>, Session>>,
}

#[derive(Clone, Debug)]
struct Session {
    expires: Instant,
    who: Arc<Who>,
}

impl Sessions {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, live: Mutex::default() }
    }

    /// A new session; its name.
    pub(crate) fn begin(&self, who: &Arc<Who>) -> Box<str> {
        let name: Box<str> = Uuid::new_v4().simple().to_string().into();
        self.keep(&name, who);
        name
    }

    /// Lets a session live on from now, as if it had just begun.
    pub(crate) fn keep(&self, name: &str, who: &Arc<Who>) {
        let now = Instant::now();
        let expires = now + self.lifetime;
        let mut live = lock(&self.live);
        if let Some(session) = live.get_mut(name) {
            session.expires = expires;
            return;
        }
        if live.len() >= MOST_SESSIONS {
            live.retain(|_, session| session.expires > now);
        }
        if live.len() >= MOST_SESSIONS {
            live.clear();
        }
        live.insert(name.into(), Session { expires, who: Arc::clone(who) });
    }

    /// Whose session this is, and its name. It lives on from now.
    pub(crate) fn find(&self, text: &str) -> Option<(Box<str>, Arc<Who>)> {
        let name = text.trim().get(..NAME_DIGITS)?;
        let now = Instant::now();
        let mut live = lock(&self.live);
        let session = live.get_mut(name)?;
        if session.expires <= now {
            live.remove(name);
            return None;
        }
        session.expires = now + self.lifetime;
        Some((name.into(), Arc::clone(&session.who)))
    }

    /// Ends the sessions of whom it says so.
    pub(crate) fn end(&self, of: impl Fn(&Who) -> bool) {
        lock(&self.live).retain(|_, session| !of(&session.who));
    }
}

/// The text of a session: its name, and digits that are new each time.
pub(crate) fn text_of(name: &str) -> String {
    let fresh = Uuid::new_v4().simple();
    format!("{name}{fresh}{fresh}{fresh}")
}
