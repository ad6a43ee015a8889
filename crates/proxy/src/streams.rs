//! Streams of outcomes: server-sent events (WHATWG: HTML, section 9.2), one for each of an app's requests that ends.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use async_requests::Registry;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Duration, Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::error::Error;
use crate::outcomes::{Query, of_the_moment};
use crate::proxy::Proxy;
use crate::received::Received;
use crate::request::BadRequest;
use crate::route::App;

/// How many streams an app may have open. It needs one for each of its processes.
const STREAMS_OF_AN_APP: usize = 100;

/// How many streams may be open in all.
const STREAMS: usize = 1000;

/// A stream that has nothing to say says so this often, so that nobody on the way takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a stream is kept open. Its app comes back where it left off, and shows anew who it is: secrets change.
const LONGEST_STREAM: Duration = Duration::from_secs(60 * 60);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How many outcomes are read from the registry at a time, if they are short.
const BATCH: usize = 50;

/// How many streams read from the registry at the same time. After a restart all resume at once, and what each reads is
/// in memory.
const READING: usize = 8;

/// The streams that are open.
#[derive(Debug)]
pub(crate) struct Streams {
    by_app: Mutex<HashMap<Arc<str>, usize>>,
    reading: Semaphore,
}

/// A stream that is open. Dropping it gives its place back.
#[derive(Debug)]
struct OpenStream {
    app: Arc<str>,
    streams: Arc<Streams>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { by_app: Mutex::default(), reading: Semaphore::new(READING) }
    }
}

impl Streams {
    /// Opens a stream for `app`, unless there are as many as may be.
    fn open(self: &Arc<Self>, app: &Arc<str>) -> Option<OpenStream> {
        let mut open = self.by_app.lock().unwrap_or_else(PoisonError::into_inner);
        let of_app = open.get(app).copied().unwrap_or(0);
        if of_app >= STREAMS_OF_AN_APP || open.values().sum::<usize>() >= STREAMS {
            return None;
        }
        open.insert(Arc::clone(app), of_app + 1);
        Some(OpenStream { app: Arc::clone(app), streams: Arc::clone(self) })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.by_app.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut of_app) = open.entry(Arc::clone(&self.app)) {
            *of_app.get_mut() -= 1;
            if *of_app.get() == 0 {
                of_app.remove();
            }
        }
    }
}

impl Proxy {
    /// Streams the outcomes of an app's requests from the one after `Last-Event-ID` on, or
    /// from now on. Ends after an hour, at shutdown, and where nothing can be read.
    pub(crate) fn stream(
        &self,
        app: Arc<App>,
        registry: Arc<Registry>,
        request: &Request<Received>,
    ) -> Result<Response<Body>, Error> {
        Query::of(request.uri(), &[])?;
        let last = match request.headers().get(LAST_EVENT_ID) {
            None => None,
            Some(id) => {
                let id = id.to_str().ok().and_then(|id| id.parse().ok());
                Some(id.ok_or(BadRequest::LastEventId)?)
            }
        };
        let open = self
            .waiters
            .streams
            .open(&app.name)
            .ok_or(Error::Streams(STREAMS_OF_AN_APP, STREAMS))?;
        // Before one looks what there is, so that nothing is missed.
        let news = registry.news(&app.name);
        let known = registry.last_position();
        // One that is not reached yet is of a registry that was lost: better all once more than none.
        let position = last.map_or(known, |last| if last > known { 0 } else { last });
        let events = Events {
            app,
            registry,
            news,
            position,
            ends: Instant::now() + LONGEST_STREAM,
            leaving: self.waiters.leaving.clone(),
            has_begun: false,
            streams: Arc::clone(&self.waiters.streams),
            _open: open,
        };
        let mut response = Response::new(Body::streaming(events.into_stream()));
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        // What nginx would hold back otherwise.
        fields.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(of_the_moment(response))
    }
}

/// Whether the caller takes a stream of events (RFC 9110 12.5.1). Browsers and their kin name nothing else.
pub(crate) fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted =
        headers.get_all(header::ACCEPT).into_iter().filter_map(|line| line.to_str().ok());
    accepted.flat_map(|line| line.split(',')).any(|range| {
        let media = range.split(';').next().unwrap_or_default();
        media.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// A stream of outcomes, as far as it has come.
struct Events {
    app: Arc<App>,
    registry: Arc<Registry>,
    news: watch::Receiver<u64>,
    /// The position of the last outcome that was told.
    position: u64,
    ends: Instant,
    leaving: CancellationToken,
    has_begun: bool,
    streams: Arc<Streams>,
    _open: OpenStream,
}

impl Events {
    fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        unfold(self, |mut events| async move { Some((events.next().await?, events)) })
    }

    /// The next thing to say; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.has_begun, true) {
            // So that the head is sent, and whoever reads knows that it listens.
            return Some(Bytes::from_static(b": outcomes follow\n\n"));
        }
        let silence = Instant::now() + HEARTBEAT;
        loop {
            if self.leaving.is_cancelled() || Instant::now() >= self.ends {
                return None;
            }
            self.news.mark_unchanged();
            if let Some(events) = self.read().await? {
                return Some(events);
            }
            let until = silence.min(self.ends);
            tokio::select! {
                changed = timeout_at(until, self.news.changed()) => match changed {
                    Ok(changed) => changed.ok()?,
                    Err(_) if until == self.ends => return None,
                    Err(_) => return Some(Bytes::from_static(b":\n\n")),
                },
                () = self.leaving.cancelled() => return None,
            }
        }
    }

    /// The outcomes since the last that was told, a few at a time; nothing if there is none. `None` if nothing can be read:
    /// whoever comes again begins where this ended.
    async fn read(&mut self) -> Option<Option<Bytes>> {
        loop {
            let reading = self.streams.reading.acquire().await.ok()?;
            let records =
                self.registry.outcomes_after(&self.app.name, self.position, BATCH).await.ok()?;
            drop(reading);
            let Some(position) = records.last().and_then(|last| last.position) else {
                return Some(None);
            };
            self.position = position;
            let mut text = String::new();
            let own = records.iter().filter(|record| record.key.tenant == self.app.tenant.name);
            for record in own {
                let (id, told) = (record.position?, Value::Object(record.to_json()));
                // Writing to a string does not fail.
                let _ = write!(text, "id: {id}\nevent: outcome\ndata: {told}\n\n");
            }
            if !text.is_empty() {
                return Some(Some(text.into()));
            }
        }
    }
}
