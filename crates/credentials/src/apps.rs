//! Which app a request comes from.

mod shown;

use std::{collections::HashMap, fmt, time::SystemTime};

use crate::{
    certificate::{CertificateName, ClientCertificate},
    gateway_token::Presented,
    secret::SecretDigest,
    signing_key::SigningKey,
    unauthenticated::{Unauthenticated, Why},
};

pub use shown::Shown;
pub(crate) use shown::{Credential, SESSION_COOKIE};

/// What an app of the configuration authenticates with.
#[derive(Clone, Debug)]
pub struct AppCredential {
    /// Its name in the configuration.
    pub name: String,
    /// The id it uses where a client asks for one, as in Basic and in `POST /oauth/token`.
    pub client_id: String,
    /// Digests of the secrets that it may use: more than one while it is changed, none if a
    /// certificate is all that it has.
    pub secrets: Vec<SecretDigest>,
    /// What its client certificate is called.
    pub certificate: Option<CertificateName>,
}

/// The apps, as far as telling who is who is concerned.
///
/// An app is known by its index in the list it was made of.
pub struct Apps {
    pub(crate) apps: Vec<AppCredential>,
    /// Client ids and names. Where an app has the name of another one's id, the id counts.
    by_name: HashMap<String, usize>,
    pub(crate) key: SigningKey,
    anonymous: Option<usize>,
}

/// An app that is known, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its index.
    pub app: usize,
    /// What it is known by.
    pub by: By,
}

/// What an app is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A secret, or what the gateway gave for one.
    Credential,
    /// Its client certificate, and nothing else.
    Certificate,
    /// Nothing: it is the app that callers without a credential are taken for.
    Nothing,
}

/// An app that has just proven who it is by more than a token: it may get one.
pub struct Login {
    app: usize,
    /// What the token hangs on: the secret that was shown, or the certificate's name.
    anchor: SecretDigest,
}

impl Apps {
    /// Returns the apps with these credentials. `anonymous` is the index of the app that
    /// requests without any credential count as, if there is such an app.
    #[must_use]
    pub fn new(apps: Vec<AppCredential>, key: SigningKey, anonymous: Option<usize>) -> Self {
        let names = apps.iter().map(|app| &app.name);
        let ids = apps.iter().map(|app| &app.client_id);
        let by_name = names.enumerate().chain(ids.enumerate());
        let by_name = by_name.map(|(index, name)| (name.clone(), index)).collect();
        Self { apps, by_name, key, anonymous }
    }

    /// Returns the app that a request comes from which shows this.
    ///
    /// Each of these will do: the secret of an app or a token of the gateway as `Bearer`; client id
    /// (or name) and secret as `Basic`, or as `apiAccessKeyId` and `apiSecretAccessKey`; a session
    /// of the gateway as cookie `ZSession`, as `Authorization: ZSession`, or in a SOAP header; the
    /// client certificate of an app. Where a request shows several, each must be right and all
    /// must be of the same app. A certificate of no app is no credential beside another one, as
    /// programs show theirs to whoever asks; alone it is a wrong one.
    ///
    /// # Errors
    /// When there is no such app. A wrong credential never counts as none.
    pub fn identify(&self, shown: Shown<'_>, now: SystemTime) -> Result<Known, Unauthenticated> {
        let mut known = None;
        for credential in shown.credentials() {
            let credential = credential.map_err(Why::of_nobody)?;
            agree(&mut known, self.prove(&credential, now)?)?;
        }
        let by_certificate = shown.certificate.map(|shown| self.by_certificate(shown));
        match (known, by_certificate) {
            (Some(app), None) => Ok(Known { app, by: By::Credential }),
            (Some(app), Some(certified)) => {
                let certified = certified.map_err(Why::of_nobody)?;
                agree(&mut known, certified.unwrap_or(app))?;
                Ok(Known { app, by: By::Credential })
            }
            (None, Some(certified)) => {
                let certified = certified.and_then(|app| app.ok_or(Why::Unknown));
                let app = certified.map_err(Why::of_nobody)?;
                Ok(Known { app, by: By::Certificate })
            }
            (None, None) => {
                let app = self.anonymous.ok_or(Why::Missing.of_nobody())?;
                Ok(Known { app, by: By::Nothing })
            }
        }
    }

    /// Returns the app with this client id or name, if the secret is its own: what a SOAP `login()`
    /// asks.
    ///
    /// # Errors
    /// When there is no such app, or it has another secret.
    pub fn login(&self, name: &str, secret: &str) -> Result<Login, Unauthenticated> {
        self.by_pair(name, secret.as_bytes())
    }

    /// Returns the app that asks for a session by `POST /v1/connections`.
    ///
    /// Only what is more than a token counts: secrets, in any field, and the certificate. Sessions
    /// and tokens are ignored, as clients that ask for a new one may send the old one along.
    ///
    /// # Errors
    /// When there is no such app, or several.
    pub fn connect(&self, shown: Shown<'_>) -> Result<Login, Unauthenticated> {
        let mut found: Option<Login> = None;
        for credential in shown.credentials() {
            let login = match credential.map_err(Why::of_nobody)? {
                Credential::Pair { name, secret } => self.by_pair(&name, &secret)?,
                Credential::Bearer(token) if Presented::read(token).is_some() => continue,
                Credential::Bearer(secret) => {
                    self.by_secret_alone(secret).ok_or(Why::Unknown.of_nobody())?
                }
                Credential::Session(_) => continue,
            };
            found = Some(login.beside(found)?);
        }
        match self.by_certificate_login(shown.certificate)? {
            Some(login) => login.beside(found),
            None => found.ok_or(Why::Missing.of_nobody()),
        }
    }

    /// Returns the app with this client id or name, whatever it proves.
    pub(crate) fn by_name(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Returns the app with this client id or name, if the secret is its own.
    pub(crate) fn by_pair(&self, name: &str, secret: &[u8]) -> Result<Login, Unauthenticated> {
        // An unknown name costs as much as a wrong secret, so that names cannot be probed.
        let presented = SecretDigest::of_bytes(secret);
        let claimed = self.by_name(name);
        let nobodys = [SecretDigest::from([0; 32])];
        let expected = claimed.map_or(&nobodys[..], |app| &self.apps[app].secrets);
        let mut is_right = false;
        for expected in expected {
            is_right |= presented.is_same(expected);
        }
        match claimed {
            Some(app) if is_right && !secret.is_empty() => Ok(Login { app, anchor: presented }),
            claimed => Err(Why::Unknown.claimed_by(claimed)),
        }
    }

    /// Returns the app of a client certificate as somebody who may get a token, if one is shown
    /// and is an app's.
    pub(crate) fn by_certificate_login(
        &self,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Option<Login>, Unauthenticated> {
        let Some(certificate) = certificate else { return Ok(None) };
        let app = self.by_certificate(certificate).map_err(Why::of_nobody)?;
        let anchor = |app: usize| self.apps[app].certificate.as_ref().map(CertificateName::anchor);
        Ok(app.and_then(|app| Some(Login { app, anchor: anchor(app)? })))
    }

    fn prove(
        &self,
        credential: &Credential<'_>,
        now: SystemTime,
    ) -> Result<usize, Unauthenticated> {
        match credential {
            Credential::Pair { name, secret } => self.by_pair(name, secret).map(|it| it.app),
            Credential::Bearer(bearer) => match Presented::read(bearer) {
                Some(token) => self.by_token(&token, now),
                None => {
                    let login = self.by_secret_alone(bearer);
                    login.map(|it| it.app).ok_or(Why::Unknown.of_nobody())
                }
            },
            Credential::Session(session) => {
                let token = Presented::read(session).ok_or(Why::Unknown.of_nobody())?;
                self.by_token(&token, now)
            }
        }
    }

    fn by_secret_alone(&self, secret: &[u8]) -> Option<Login> {
        let presented = SecretDigest::of_bytes(secret);
        let mut matching = None;
        // All of them, always: when it takes long tells nothing about whom it was compared with.
        for (index, app) in self.apps.iter().enumerate() {
            for expected in &app.secrets {
                if presented.is_same(expected) {
                    matching = Some(index);
                }
            }
        }
        matching.map(|app| Login { app, anchor: presented })
    }

    fn by_token(&self, token: &Presented, now: SystemTime) -> Result<usize, Unauthenticated> {
        let app = token.app().and_then(|name| self.apps.iter().position(|it| it.name == name));
        let app = app.ok_or(Why::Unknown.of_nobody())?;
        let credential = &self.apps[app];
        let mut anchors = credential
            .secrets
            .iter()
            .cloned()
            .chain(credential.certificate.iter().map(CertificateName::anchor));
        if !anchors.any(|anchor| token.is_signed(&self.key, &anchor)) {
            return Err(Why::Unknown.claimed_by(Some(app)));
        }
        if token.has_expired(now) { Err(Why::Expired.claimed_by(Some(app))) } else { Ok(app) }
    }

    /// Returns the app of a client certificate; `None` if it is nobody's here.
    fn by_certificate(&self, certificate: &ClientCertificate) -> Result<Option<usize>, Why> {
        let is_of = |app: &AppCredential| {
            app.certificate.as_ref().is_some_and(|name| name.is_of(certificate))
        };
        let mut apps = self.apps.iter().enumerate().filter(|(_, app)| is_of(app));
        match (apps.next(), apps.next()) {
            (Some(_), Some(_)) => Err(Why::Conflicting),
            (app, None) => Ok(app.map(|(index, _)| index)),
            (None, Some(_)) => unreachable!("nothing comes after the end"),
        }
    }
}

impl fmt::Debug for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apps")
            .field("apps", &self.apps)
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// Returns the app's index.
    #[must_use]
    pub fn app(&self) -> usize {
        self.app
    }

    pub(crate) fn anchor(&self) -> &SecretDigest {
        &self.anchor
    }

    /// Returns the one of two that counts, if they are of the same app: `earlier`, if there is one.
    pub(crate) fn beside(self, earlier: Option<Self>) -> Result<Self, Unauthenticated> {
        let mut known = earlier.as_ref().map(|it| it.app);
        agree(&mut known, self.app)?;
        Ok(earlier.unwrap_or(self))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("app", &self.app).finish_non_exhaustive()
    }
}

/// Takes in that `app` is who asks, unless it was another one until now.
fn agree(known: &mut Option<usize>, app: usize) -> Result<(), Unauthenticated> {
    if *known.get_or_insert(app) == app { Ok(()) } else { Err(Why::Conflicting.of_nobody()) }
}

#[cfg(test)]
mod tests;
