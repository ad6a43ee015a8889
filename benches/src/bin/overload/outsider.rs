//! Somebody who uses the tenant without asking the gateway.

use clap::ValueEnum;
use emulator::Tenant;
use tokio::time;

use crate::{
    LIMIT_TYPE,
    apps::{App, Tally},
    clock::{Clock, Stay},
};

/// What its calls are known by in the tenant's book.
pub(crate) const NAME: &str = "outsider";

/// How somebody from outside takes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Outsider {
    /// Holds permits from the moment it comes to the moment it goes, as a few long reports do.
    Permits,
    /// Calls the tenant without a pause on as many connections, and is refused like anybody.
    Calls,
}

impl Outsider {
    /// Comes and goes as `stays` say. What became of its calls, if it makes any.
    pub(crate) async fn visit(
        self,
        tenant: &Tenant,
        token: &str,
        permits: u32,
        stays: &[Stay],
        clock: Clock,
    ) -> Tally {
        let mut tally = Tally::default();
        for stay in stays {
            time::sleep_until(stay.from).await;
            match self {
                Self::Permits => {
                    let occupied = tenant.occupy(LIMIT_TYPE, permits);
                    time::sleep_until(stay.to).await;
                    drop(occupied);
                }
                Self::Calls => {
                    let app = App { name: NAME.to_owned(), connections: permits, weight: 1 };
                    let bearer = format!("Bearer {token}");
                    let calls = app.call(tenant.address(), bearer, 0.0, clock, stay.to).await;
                    tally.add(calls.unwrap_or_default());
                }
            }
        }
        tally
    }
}
