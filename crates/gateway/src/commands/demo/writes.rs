//! Writes of the batch app that are done later: it goes on at once, and hears afterwards what became of each.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::apps::{self, App, PAUSE};

/// How many writers there are.
const WRITERS: u32 = 8;

/// How long each rests between two writes.
const REST: Duration = Duration::from_millis(200);

/// How long the last writes, and then the last outcomes, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An app that is writing. Dropping it ends its calls.
#[derive(Debug)]
pub(super) struct Writing {
    app: App,
    address: SocketAddr,
    enough: CancellationToken,
    /// Each comes to the places where the outcomes of its writes will be.
    writers: JoinSet<Vec<String>>,
}

/// What became of an app's writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) accepted: usize,
    pub(super) known: usize,
}

impl Writing {
    /// Lets an app write accounts, asking that it be done later.
    pub(super) fn start(app: App, address: SocketAddr) -> Self {
        let enough = CancellationToken::new();
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            writers.spawn(write_until(enough.clone(), app, address));
        }
        Self { app, address, enough, writers }
    }

    /// Ends it, and asks what became of all that was accepted.
    pub(super) async fn finish(mut self) -> Outcomes {
        self.enough.cancel();
        let mut places = Vec::new();
        let ending = async {
            while let Some(Ok(accepted)) = self.writers.join_next().await {
                places.extend(accepted);
            }
        };
        // Whoever hangs by then has accepted nothing that we know of.
        let _ = timeout(PATIENCE, ending).await;
        let mut known = 0;
        // What has not come by then counts as unknown.
        let _ = timeout(PATIENCE, ask(self.app, self.address, &places, &mut known)).await;
        Outcomes { accepted: places.len(), known }
    }
}

/// Writes until it is enough. What was begun is waited for.
async fn write_until(enough: CancellationToken, app: App, address: SocketAddr) -> Vec<String> {
    let mut places = Vec::new();
    let authorization = authorization(app, address).await;
    while !enough.is_cancelled() {
        let Some(mut sender) = apps::connect(address).await else {
            sleep(PAUSE).await;
            continue;
        };
        while !enough.is_cancelled()
            && let Ok(place) = write(&mut sender, address, &authorization).await
        {
            places.extend(place);
            enough.run_until_cancelled(sleep(REST)).await;
        }
    }
    places
}

/// Where the outcome of one write will be, if it was accepted.
async fn write(
    sender: &mut SendRequest<Full<Bytes>>,
    address: SocketAddr,
    authorization: &str,
) -> Result<Option<String>, hyper::Error> {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/accounts")
        .header(HOST, address.to_string())
        .header(AUTHORIZATION, authorization)
        .header(CONTENT_TYPE, "application/json")
        .header("prefer", "respond-async")
        .body(Full::from(r#"{"name": "Amber Trading", "currency": "USD"}"#))
        .expect("the parts are valid");
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let is_accepted = answer.status() == StatusCode::ACCEPTED;
    let place = answer.headers().get(LOCATION).filter(|_| is_accepted);
    let place = place.and_then(|place| place.to_str().ok()).map(str::to_owned);
    answer.into_body().collect().await?;
    Ok(place)
}

/// Asks for each outcome, and counts those that are known.
async fn ask(app: App, address: SocketAddr, places: &[String], known: &mut usize) -> Option<()> {
    let authorization = authorization(app, address).await;
    let mut sender = apps::connect(address).await?;
    for place in places {
        let request = Request::get(format!("{place}?wait={}", PATIENCE.as_secs()))
            .header(HOST, address.to_string())
            .header(AUTHORIZATION, &authorization)
            .body(Full::default())
            .ok()?;
        sender.ready().await.ok()?;
        let answer = sender.send_request(request).await.ok()?;
        // That nobody knows is an answer as well.
        let is_told = !answer.headers().contains_key("zuora-gateway-error");
        *known += usize::from(answer.status() == StatusCode::OK && is_told);
        answer.into_body().collect().await.ok()?;
    }
    Some(())
}

async fn authorization(app: App, address: SocketAddr) -> String {
    loop {
        match apps::token(address, app).await {
            Some(token) => return token,
            None => sleep(PAUSE).await,
        }
    }
}
