//! Three programs that want more than the tenant allows.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// What a program does after an error: a short pause, and it tries again.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// A sample program.
#[derive(Debug, Clone, Copy)]
pub(super) struct App {
    pub(super) name: &'static str,
    pub(super) connections: u32,
    client_id: &'static str,
}

/// One that people wait for, one that works all day, and one that tries to get through the night.
pub(super) const APPS: [App; 3] = [
    App { name: "nightly", connections: 400, client_id: "0b7c1f0e-4a51-4f43-9d0c-5f3a3a1b0001" },
    App { name: "crm_sync", connections: 40, client_id: "0b7c1f0e-4a51-4f43-9d0c-5f3a3a1b0002" },
    App { name: "checkout", connections: 4, client_id: "0b7c1f0e-4a51-4f43-9d0c-5f3a3a1b0003" },
];

impl App {
    pub(super) fn yaml(self) -> String {
        let Self { name, client_id, .. } = self;
        format!(
            "  {name}: {{tenant: demo, client_id: {client_id}, secret: demo-secret-of-{name}}}\n"
        )
    }
}

/// What an app did and met.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) app: App,
    pub(super) answered: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failed: AtomicU64,
    latencies: Mutex<Histogram<u64>>,
}

/// An app that is calling. Dropping it ends its calls.
#[derive(Debug)]
pub(super) struct Calling {
    task: tokio::task::JoinHandle<()>,
}

impl Calling {
    pub(super) fn stop(self) {
        self.task.abort();
    }
}

impl Load {
    pub(super) fn of(app: App) -> Self {
        let latencies =
            Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are sound");
        Self {
            app,
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            latencies: Mutex::new(latencies),
        }
    }

    /// Opens the app's connections to `address`. Each asks, waits for the answer, and asks again.
    pub(super) fn start(self: Arc<Self>, address: SocketAddr) -> Calling {
        let task = tokio::spawn(async move {
            // One token for the whole app, as official clients fetch it.
            let token = loop {
                match token(address, self.app).await {
                    Some(token) => break token,
                    None => sleep(PAUSE).await,
                }
            };
            let mut connections = JoinSet::new();
            for number in 0..self.app.connections {
                connections.spawn(Arc::clone(&self).connection(address, token.clone(), number));
            }
            while connections.join_next().await.is_some() {}
        });
        Calling { task }
    }

    async fn connection(self: Arc<Self>, address: SocketAddr, authorization: String, number: u32) {
        loop {
            if let Some(mut sender) = connect(address).await {
                while self
                    .until_answered(&mut sender, address, &authorization, number)
                    .await
                    .is_ok()
                {}
            }
            self.failed.fetch_add(1, Ordering::Relaxed);
            sleep(PAUSE).await;
        }
    }

    /// Asks until there is a good answer. All of that is the time that the app had to wait.
    async fn until_answered(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        address: SocketAddr,
        authorization: &str,
        number: u32,
    ) -> Result<(), hyper::Error> {
        let began = Instant::now();
        loop {
            let request = Request::get(format!("/v1/accounts/A{:08}", number % 100 + 1))
                .header(HOST, address.to_string())
                .header(AUTHORIZATION, authorization)
                .header("zuora-track-id", format!("{}-{number}", self.app.name))
                .body(Full::default())
                .expect("the parts are valid");
            let response = sender.send_request(request).await?;
            let status = response.status();
            response.into_body().collect().await?;
            if status.is_success() {
                self.note(began.elapsed());
                return Ok(());
            }
            let counter =
                if status == StatusCode::TOO_MANY_REQUESTS { &self.refused } else { &self.failed };
            counter.fetch_add(1, Ordering::Relaxed);
            sleep(PAUSE).await;
        }
    }

    fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.saturating_record(micros);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// The time from the first try to the answer that this share of the answers stayed within.
    pub(super) fn latency(&self, share: f64) -> Duration {
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        Duration::from_micros(latencies.value_at_quantile(share))
    }
}

pub(super) async fn connect(address: SocketAddr) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

/// Fetches a token for the app, from whoever listens at `address`.
pub(super) async fn token(address: SocketAddr, app: App) -> Option<String> {
    let App { name, client_id, .. } = app;
    let form = format!(
        "grant_type=client_credentials&client_id={client_id}&client_secret=demo-secret-of-{name}"
    );
    let request = Request::builder()
        .method(Method::POST)
        .uri("/oauth/token")
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::from(form))
        .expect("the parts are valid");
    let mut sender = connect(address).await?;
    let response = sender.send_request(request).await.ok()?;
    let body = response.into_body().collect().await.ok()?.to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body).ok()?;
    Some(format!("Bearer {}", answer.get("access_token")?.as_str()?))
}
