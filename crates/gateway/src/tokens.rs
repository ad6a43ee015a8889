//! Who keeps the tokens of a tenant: from the credentials as they are configured to those who log in with them, and what
//! of it another configuration keeps.

use std::sync::Arc;

use config::{Credential, CredentialKind, Credentials, Pair, Renew};
use credentials::{Logins, Renewal, Scope, Tokens};
use proxy::{Entity, Login, LoginKey, LoginKind, Upstream};
use telemetry::Metrics;

use crate::wiring;

/// The tokens of one entity.
#[derive(Clone, Debug)]
pub(crate) struct OfEntity {
    pub(crate) tokens: Arc<Tokens>,
    /// Set if SOAP calls have a login of their own.
    pub(crate) soap_tokens: Option<Arc<Tokens>>,
}

/// What the tokens of a tenant are made of.
pub(crate) struct TokensOf<'a> {
    pub(crate) written: &'a config::Tenant,
    /// The way to its REST API.
    pub(crate) rest: &'a Upstream,
    /// The way to its SOAP API.
    pub(crate) soap: Option<&'a Upstream>,
    pub(crate) before: Option<Before<'a>>,
    pub(crate) logins: &'a Arc<Logins>,
    pub(crate) metrics: &'a Metrics,
}

/// The same tenant in the configuration before this one.
#[derive(Clone, Copy)]
pub(crate) struct Before<'a> {
    pub(crate) entities: &'a [Entity],
    pub(crate) credentials: &'a Credentials,
    /// Whether its REST API is where it was.
    pub(crate) is_same_rest: bool,
    /// Whether its SOAP API is where it was.
    pub(crate) is_same_soap: bool,
    /// Whether it is reached as it was.
    pub(crate) is_same_way: bool,
}

impl TokensOf<'_> {
    /// The tokens of each entity, in the order of the configuration. Those that there were are kept: they are told of
    /// new credentials, and serve until those have brought others.
    pub(crate) fn of_each_entity(&self) -> Vec<OfEntity> {
        let Credentials { main, soap, .. } = &self.written.credentials;
        let entities = wiring::each_entity(self.written).enumerate();
        entities
            .map(|(index, id)| OfEntity {
                tokens: self
                    .keep(main, &id, index, |before, entity| Some((&before.main, &entity.tokens))),
                soap_tokens: soap.as_ref().map(|soap| {
                    self.keep(soap, &id, index, |before, entity| {
                        before.soap.as_ref().zip(entity.soap_tokens.as_ref())
                    })
                }),
            })
            .collect()
    }

    /// The tokens of one entity with `credential`; `of` picks their like among those of before.
    fn keep(
        &self,
        credential: &Credential,
        id: &Option<Arc<str>>,
        index: usize,
        of: impl for<'b> Fn(&'b Credentials, &'b Entity) -> Option<(&'b Credential, &'b Arc<Tokens>)>,
    ) -> Arc<Tokens> {
        let is_default = index == 0;
        let login = self.login(credential, id.clone());
        let known = self.before.and_then(|before| {
            let place = before.entities.iter().position(|entity| entity.id == *id)?;
            let (earlier, tokens) = of(before.credentials, &before.entities[place])?;
            // A token is told to nobody but who gave it, and nobody lets go of the default entity's.
            let is_same_giver =
                before.is_same_soap || ![earlier, credential].iter().any(|it| is_of_soap(it));
            let stays = before.is_same_rest && is_same_giver && (place == 0) == is_default;
            stays.then_some((before, earlier, tokens))
        });
        match known {
            Some((before, earlier, tokens)) => {
                let is_same =
                    earlier.kind == credential.kind && earlier.current == credential.current;
                if earlier != credential || !before.is_same_way {
                    tokens.exchange(login, !is_same);
                }
                Arc::clone(tokens)
            }
            None => {
                let scope = Scope {
                    tenant: Arc::clone(&self.written.name),
                    entity: id.clone(),
                    is_lazy: !is_default,
                    logins: Arc::clone(self.logins),
                };
                Tokens::start_for(scope, login, self.metrics)
            }
        }
    }

    fn login(&self, credential: &Credential, entity: Option<Arc<str>>) -> Login {
        let (kind, upstream) = match credential.kind {
            CredentialKind::OAuth => (LoginKind::OAuth, self.rest),
            CredentialKind::ApiKey => (LoginKind::ApiKey, self.rest),
            CredentialKind::Connection(renew) => (LoginKind::Connection(renewal(renew)), self.rest),
            CredentialKind::SoapLogin(renew) => {
                let soap = self.soap.expect("the configuration asks for `soap_url` with it");
                (LoginKind::SoapLogin(renewal(renew)), soap)
            }
        };
        let previous = credential.previous.as_ref().map(key);
        Login::new(upstream.clone(), kind, key(&credential.current), previous, entity)
    }
}

/// Whether the SOAP API gives its sessions.
fn is_of_soap(credential: &Credential) -> bool {
    matches!(credential.kind, CredentialKind::SoapLogin(_))
}

fn renewal(renew: Renew) -> Renewal {
    match renew {
        Renew::Timer => Renewal::Ahead,
        Renew::OnError => Renewal::OnError,
        Renew::EveryCall => Renewal::EveryCall,
    }
}

fn key(pair: &Pair) -> LoginKey {
    LoginKey { id: pair.id.clone(), secret: pair.secret.expose().to_owned() }
}

/// What operators see of them: the default entity's first.
pub(crate) fn shown(entities: &[Entity]) -> Vec<admin::KeptToken> {
    let kept = |entity: &Entity, for_soap, tokens: &Arc<Tokens>| admin::KeptToken {
        entity: entity.id.clone(),
        for_soap,
        tokens: Arc::clone(tokens),
    };
    let of_each = entities.iter().flat_map(|entity| {
        let soap = entity.soap_tokens.as_ref().map(|tokens| kept(entity, true, tokens));
        std::iter::once(kept(entity, false, &entity.tokens)).chain(soap)
    });
    of_each.collect()
}
