//! What a tenant's pools have in common: its apps, with what each may have over all pools, and what the
//! tenant may send in a window of time.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::circuit::Circuit;
use crate::pace::Paces;
use crate::{AppId, AppSettings, RateLimits};

/// The apps and the windows of one tenant, and whether it answers.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) apps: Vec<App>,
    pub(crate) windows: Windows,
    pub(crate) circuit: Circuit,
}

/// One app, over all pools.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) name: Arc<str>,
    /// Whether the settings still name it.
    pub(crate) is_configured: bool,
    max_in_flight: u32,
    in_use: u32,
    rate: Paces,
    /// When its rate last kept a call from going.
    held_up: Option<Instant>,
    /// When its cap did.
    capped: Option<Instant>,
}

/// What the tenant may send in a window of time.
#[derive(Debug)]
pub(crate) struct Windows {
    paces: Paces,
    held_up: Option<Instant>,
    /// Whether a call waits because of them, in whichever pool: then all pools take turns.
    pub(crate) bind: bool,
}

impl Tenant {
    pub(crate) fn new(rate: &RateLimits) -> Self {
        let windows = Windows { paces: Paces::of_tenant(rate), held_up: None, bind: false };
        Self { apps: Vec::new(), windows, circuit: Circuit::new() }
    }

    /// Takes other settings. Apps keep their places and what they have used, by name.
    pub(crate) fn reconfigure(&mut self, apps: &[AppSettings], rate: &RateLimits, now: Instant) {
        let windows = &mut self.windows.paces;
        *windows = Paces::of_tenant(rate).after(windows, now);
        for app in &mut self.apps {
            app.is_configured = false;
        }
        for settings in apps {
            match self.apps.iter_mut().find(|app| app.name == settings.name) {
                Some(app) => app.reconfigure(settings, now),
                None => self.apps.push(App::new(settings)),
            }
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<AppId> {
        let named = |(app, id): (&App, u32)| (&*app.name == name).then_some(AppId(id));
        self.apps.iter().zip(0..).find_map(named)
    }

    pub(crate) fn app(&self, id: AppId) -> &App {
        &self.apps[id.index()]
    }

    pub(crate) fn app_mut(&mut self, id: AppId) -> &mut App {
        &mut self.apps[id.index()]
    }
}

impl App {
    fn new(settings: &AppSettings) -> Self {
        Self {
            name: Arc::clone(&settings.name),
            is_configured: true,
            max_in_flight: cap(settings),
            in_use: 0,
            rate: Paces::of_app(settings.rate),
            held_up: None,
            capped: None,
        }
    }

    fn reconfigure(&mut self, settings: &AppSettings, now: Instant) {
        self.is_configured = true;
        self.max_in_flight = cap(settings);
        self.rate = Paces::of_app(settings.rate).after(&self.rate, now);
    }

    /// Whether it has as many permits out as it may.
    pub(crate) fn is_at_cap(&self) -> bool {
        self.in_use >= self.max_in_flight
    }

    /// The same, asked for a call that could go otherwise.
    pub(crate) fn cap_blocks(&mut self, now: Instant) -> bool {
        let blocks = self.is_at_cap();
        if blocks {
            self.capped = Some(now);
        }
        blocks
    }

    /// Whether its cap kept calls from going at any time since `then`.
    pub(crate) fn was_capped(&self, then: Instant) -> bool {
        self.capped.is_some_and(|at| then <= at)
    }

    pub(crate) fn max_in_flight(&self) -> u32 {
        self.max_in_flight
    }

    /// Returns when its rate lets another call go that must not go at `now`.
    pub(crate) fn rate_blocks(&mut self, now: Instant) -> Option<Instant> {
        if self.rate.is_free() {
            return None;
        }
        let until = self.rate.blocked_until(now)?;
        self.held_up = Some(now);
        Some(until)
    }

    /// Returns how long the rate alone keeps the last of `calls` more from going.
    pub(crate) fn rate_takes(&self, calls: usize, now: Instant) -> Duration {
        self.rate.blocked_for(calls, now)
    }

    /// Counts a call that goes; whether it would have had to wait, were the rate enforced.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let would_wait = self.rate.would_block(now);
        self.rate.take(now);
        self.in_use += 1;
        would_wait
    }

    /// Takes a call out of the count of its rate that did not go after all.
    pub(crate) fn refund(&mut self) {
        self.rate.refund();
    }

    pub(crate) fn give_back(&mut self) {
        self.in_use -= 1;
    }

    /// Whether its rate kept calls from going at any time since `then`.
    pub(crate) fn was_held_up(&self, then: Instant) -> bool {
        self.held_up.is_some_and(|at| then <= at)
    }
}

impl Windows {
    /// Returns when the windows let another call go that must not go at `now`.
    pub(crate) fn block(&mut self, now: Instant) -> Option<Instant> {
        if self.paces.is_free() {
            return None;
        }
        let until = self.paces.blocked_until(now)?;
        self.held_up = Some(now);
        self.bind = true;
        Some(until)
    }

    /// Returns how long the windows alone keep the next call from going.
    pub(crate) fn takes(&self, now: Instant) -> Duration {
        self.paces.blocked_for(1, now)
    }

    /// Counts a call that goes; whether it would have had to wait, were the windows enforced.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let would_wait = self.paces.would_block(now);
        self.paces.take(now);
        would_wait
    }

    /// Takes a call out of the count that did not go after all.
    pub(crate) fn refund(&mut self) {
        self.paces.refund();
    }

    pub(crate) fn held_up(&self, then: Instant) -> bool {
        self.held_up.is_some_and(|at| then <= at)
    }
}

fn cap(settings: &AppSettings) -> u32 {
    settings.max_in_flight.map_or(u32::MAX, NonZeroU32::get)
}
