//! Passing Zuora's answer on: its own bytes but for the links in them, without what was meant for us.

use http::Response;
use tokio_util::task::TaskTracker;

use crate::answer::{Answer, Content};
use crate::body::Body;
use crate::headers;
use crate::links::Links;
use crate::pump::Pump;
use crate::route::Route;

/// Turns Zuora's answer into the caller's. A body that has not wholly arrived is read by a task of its own, ahead of
/// the caller: so that the caller's pace does not hold the permit. Without `links` they stay as they are.
pub(crate) fn relay(
    answer: Answer,
    route: &Route,
    links: Option<&Links<'_>>,
    is_write: bool,
    tasks: &TaskTracker,
) -> Response<Body> {
    let mut head = answer.head;
    headers::towards_caller(&mut head.headers);
    if let Some(links) = links {
        links.locate(&mut head.headers);
    }
    let body = match answer.content {
        Content::Whole(bytes) => match links {
            Some(links) => links.whole(bytes, &mut head),
            None => Body::whole(bytes),
        },
        Content::Begun { first, rest, claim } => {
            let patience = route.tenant.response_timeout;
            let pump = Pump { incoming: rest, patience, to_the_end: is_write, held: claim };
            let (pumped, pumping) = pump.start(first);
            tasks.spawn(pumping);
            match links {
                Some(links) => links.flowing(pumped, &mut head),
                None => Body::flowing(pumped),
            }
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}
