//! Who may call: the apps and their credentials, as one configuration names them.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use credentials::{Apps, ClientCertificate, Shown, Unauthenticated};
use http::Request;

use crate::arrival::Arrival;
use crate::caller::Door;
use crate::error::Error;
use crate::route::App;
use crate::single_use::SingleUse;
use crate::ways::Ways;

/// The apps of one configuration, with the credentials by which they are known.
#[derive(Debug)]
pub struct Table {
    /// Each app once for each tenant that it calls, the one that it means by default first.
    apps: Vec<Vec<Arc<App>>>,
    pub(crate) doors: Apps,
    /// Where calls come to.
    pub(crate) ways: Ways,
    /// The gateway itself as an app, at each tenant.
    own: Vec<Arc<App>>,
    /// The place of the app that calls with Zuora's single-use credential are taken for.
    single_use: Option<usize>,
}

/// The table in use. A call looks once, and keeps the app that it found: whatever becomes of the table meanwhile, the
/// call ends as it began.
#[derive(Debug)]
pub(crate) struct Current(RwLock<Arc<Table>>);

impl Table {
    /// The table of `apps`, whose credentials `doors` knows in the same order: each once for each tenant that it calls, at
    /// least one, and the one that it means by default first.
    #[must_use]
    pub fn new(apps: Vec<Vec<App>>, doors: Apps, ways: Ways) -> Self {
        let shared = |app: Vec<App>| app.into_iter().map(Arc::new).collect();
        Self {
            apps: apps.into_iter().map(shared).collect(),
            doors,
            ways,
            own: Vec::new(),
            single_use: None,
        }
    }

    /// Takes calls with Zuora's single-use credential for those of the app at this place.
    #[must_use]
    pub fn with_single_use(self, app: Option<usize>) -> Self {
        Self { single_use: app, ..self }
    }

    /// Lets the gateway itself call the tenants of these apps.
    #[must_use]
    pub fn with_own_apps(self, own: Vec<App>) -> Self {
        Self { own: own.into_iter().map(Arc::new).collect(), ..self }
    }

    /// The gateway itself as an app of this tenant.
    pub(crate) fn own_app(&self, tenant: &str) -> Option<&Arc<App>> {
        self.own.iter().find(|app| &*app.tenant.name == tenant)
    }

    /// Whom a request comes from, on a connection that showed this certificate, with this session in its envelope: the
    /// place in the list of credentials, and how that is known.
    pub(crate) fn identify<B>(
        &self,
        request: &Request<B>,
        certificate: Option<&ClientCertificate>,
        session: Option<&str>,
    ) -> Result<(usize, Door), Unauthenticated> {
        match (SingleUse::of(request), self.single_use) {
            (Some(SingleUse::Signed | SingleUse::Preflight), Some(app)) => {
                return Ok((app, Door::SingleUse));
            }
            // Whoever has a credential that is not taken here is not taken for somebody without one.
            (Some(SingleUse::Signed), None) | (Some(SingleUse::Broken), _) => {
                return Err(Unauthenticated::unknown());
            }
            (Some(SingleUse::Mixed), _) => return Err(Unauthenticated::conflicting()),
            (Some(SingleUse::Preflight) | None, _) => {}
        }
        let shown = Shown { headers: request.headers(), certificate, session };
        let known = self.doors.identify(shown, SystemTime::now())?;
        Ok((known.app, known.by.into()))
    }

    /// The app at this place in the list of credentials, at the tenant that it means by default.
    pub(crate) fn app(&self, index: usize) -> &Arc<App> {
        self.at_each(index).first().expect("every app calls a tenant")
    }

    /// The app at this place in the list of credentials, at the tenant that the call means by the way that it came.
    pub(crate) fn app_meant(&self, index: usize, arrival: &Arrival) -> Result<&Arc<App>, Error> {
        let Some(tenant) = &arrival.tenant else { return Ok(self.app(index)) };
        let meant = self.at_each(index).iter().find(|app| app.tenant.name == *tenant);
        meant.ok_or(Error::Forbidden(
            "this app is not allowed to call the tenant that this host or path means",
        ))
    }

    fn at_each(&self, index: usize) -> &[Arc<App>] {
        self.apps.get(index).expect("every credential belongs to an app")
    }
}

impl Current {
    pub(crate) fn new(table: Table) -> Self {
        Self(RwLock::new(Arc::new(table)))
    }

    /// The table as it is now.
    pub(crate) fn get(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another table in place.
    pub(crate) fn exchange(&self, table: Table) {
        let before = std::mem::replace(
            &mut *self.0.write().unwrap_or_else(PoisonError::into_inner),
            Arc::new(table),
        );
        // After the lock: whatever it takes to drop it, no call waits for that.
        drop(before);
    }
}
