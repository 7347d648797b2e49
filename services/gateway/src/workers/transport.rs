//! The data plane of other processes: streaming a request's body on to a worker, over pooled HTTP/1.1 connections, without buffering it.
//!
//! Bodies of actix-web stay on their thread, so each thread has a pool of its own. The next worker is tried only
//! before the first byte went out; afterwards the client is told to resume.

use super::WorkerPool;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::Sleep;
use waybill_data_plane::{Answer, DataPlane, KEEP_ALIVE, PutBytes, PutWhole, STARTED_HEADER, StoredBytes, StoredWhole};
use waybill_schema::UploadId;
use waybill_service_kit::{Problem, RequestId};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// After how long without a byte moving, or an answer, a worker counts as gone.
const STALL: Duration = Duration::from_secs(90);
/// How long bytes of a client that is gone may take to get out.
const FLUSH: Duration = Duration::from_millis(250);
/// Idle connections kept per worker and thread.
const POOLED: usize = 64;
/// How long an idle connection is kept: well below the workers' own patience ([`KEEP_ALIVE`]), so that none is used in
/// the moment in which its worker closes it.
const IDLE: Duration = Duration::from_secs(4);
const _: () = assert!(IDLE.as_secs() * 2 < KEEP_ALIVE.as_secs());
/// How much of a body waits to be written at most.
const MAX_BUFFERED_BYTES: usize = 64 * 1_024;
/// The largest answer of a worker.
const MAX_ANSWER_BYTES: usize = 64 * 1_024;

/// An idle connection, and since when it is.
type Pooled = (SendRequest<Forwarded>, Instant);

thread_local! {
    static POOL: RefCell<HashMap<SocketAddr, Vec<Pooled>>> = RefCell::default();
}

/// Workers of other processes.
pub(crate) struct RemoteWorkers {
    pub(crate) pool: WorkerPool,
    pub(crate) secret: String,
}

impl DataPlane for RemoteWorkers {
    fn put_bytes(&self, request: PutBytes, body: Payload) -> Answer<'_, StoredBytes> {
        let PutBytes { company, upload, user, range, .. } = request;
        let mut path =
            format!("/internal/v1/uploads/{company}/{upload}/bytes?from={}&to={}&user_id={user}", range.from, range.to);
        if let Some(checksum) = request.checksum {
            let checksum = checksum.to_string();
            path.push_str(&format!("&checksum={}", utf8_percent_encode(&checksum, NON_ALPHANUMERIC)));
        }
        if request.sequential {
            path.push_str("&sequential=true");
        }
        let (content_length, request) = (request.content_length, request.request);
        let forward = Forward { path, content_length, started: None, upload, request };
        Box::pin(self.forward(forward, body))
    }

    fn put_whole(&self, request: PutWhole, body: Payload) -> Answer<'_, StoredWhole> {
        let PutWhole { upload, start, reserved, request } = request;
        let (company, content_length) = (start.started.company_id, Some(start.started.size_bytes));
        let path = format!("/internal/v1/objects/{company}/{upload}?reserved={reserved}");
        Box::pin(async move {
            let started = serde_json::to_vec(&start).map_err(|_| Problem::internal())?;
            let started = Some(BASE64URL.encode(started));
            self.forward(Forward { path, content_length, started, upload, request }, body).await
        })
    }
}

/// A request to a worker.
struct Forward {
    /// Path and query at the worker.
    path: String,
    /// Bytes, where the client said how many.
    content_length: Option<u64>,
    /// What is said of a whole file, as the worker reads it ([`STARTED_HEADER`]).
    started: Option<String>,
    upload: UploadId,
    request: RequestId,
}

struct Shared {
    payload: RefCell<Payload>,
    begun: Cell<bool>,
    ended: Cell<bool>,
    /// The client is gone, or too slow.
    broken: Cell<bool>,
    moved_at: Cell<Instant>,
    left: Cell<Option<u64>>,
    /// Which attempt has the body. An earlier one, whose connection hyper has not dropped yet, reads no more of it.
    attempt: Cell<u32>,
}

/// The client's body as hyper reads it.
struct Forwarded {
    shared: Rc<Shared>,
    attempt: u32,
    /// The client is gone; what it sent is being flushed.
    broken: Option<(PayloadError, Pin<Box<Sleep>>)>,
}

impl Body for Forwarded {
    type Data = Bytes;
    type Error = PayloadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some((_, flushed)) = &mut self.broken {
            ready!(flushed.as_mut().poll(context));
            return Poll::Ready(self.broken.take().map(|(error, _)| Err(error)));
        }
        let shared = self.shared.clone();
        if shared.attempt.get() != self.attempt {
            return Poll::Ready(Some(Err(PayloadError::Incomplete(None))));
        }
        let polled = Pin::new(&mut *shared.payload.borrow_mut()).poll_next(context);
        if let Poll::Ready(item) = &polled {
            shared.begun.set(true);
            shared.moved_at.set(Instant::now());
            match item {
                Some(Ok(bytes)) => {
                    shared.left.set(shared.left.get().map(|left| left.saturating_sub(bytes.len() as u64)))
                }
                Some(Err(_)) => shared.broken.set(true),
                None => shared.ended.set(true),
            }
        }
        if let Poll::Ready(Some(Err(error))) = polled {
            // An error makes hyper drop what it has not written yet; every byte that arrived is to go on.
            self.broken = Some((error, Box::pin(tokio::time::sleep(FLUSH))));
            return self.poll_frame(context);
        }
        polled.map(|item| item.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.shared.ended.get() || self.shared.left.get() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.shared.left.get().map(SizeHint::with_exact).unwrap_or_default()
    }
}

enum Failure {
    /// Nothing went out: the next worker may be tried.
    Before,
    /// Some of it did.
    After,
}

impl RemoteWorkers {
    /// Streams a body to the worker that has the upload. A problem is the worker's own, or 503 where none answers.
    async fn forward<T: DeserializeOwned>(&self, forward: Forward, payload: Payload) -> Result<T, Problem> {
        let upload = forward.upload;
        let shared = Rc::new(Shared {
            payload: RefCell::new(payload),
            begun: Cell::new(false),
            ended: Cell::new(false),
            broken: Cell::new(false),
            moved_at: Cell::new(Instant::now()),
            left: Cell::new(forward.content_length),
            attempt: Cell::new(0),
        });
        for addr in self.pool.ranked(upload) {
            match self.send(addr, &forward, &shared).await {
                Ok(answer) => return answer,
                Err(Failure::Before) => tracing::warn!(upload_id = %upload, %addr, "a worker does not answer"),
                Err(Failure::After) if shared.broken.get() => {
                    tracing::debug!(upload_id = %upload, "a client broke off");
                    let text = "the body broke off; ask for the offset and go on";
                    return Err(Problem::bad_request("body_incomplete", text));
                }
                Err(Failure::After) => {
                    tracing::warn!(upload_id = %upload, %addr, "a worker went away while bytes were sent to it");
                    return Err(Problem::unavailable("the transfer was interrupted; ask for the offset and go on"));
                }
            }
        }
        Err(Problem::unavailable("no worker takes bytes now; try again"))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        addr: SocketAddr,
        forward: &Forward,
        shared: &Rc<Shared>,
    ) -> Result<Result<T, Problem>, Failure> {
        let id = forward.request;
        let failure = || if shared.begun.get() { Failure::After } else { Failure::Before };
        // A pooled connection may have been closed meanwhile; a new one tells whether the worker is there.
        for fresh in [false, true] {
            let mut connection = match if fresh { None } else { pooled(addr).await } {
                Some(connection) => connection,
                None if fresh => connect(&self.pool, addr).await.ok_or(Failure::Before)?,
                None => continue,
            };
            let request = Request::put(&forward.path)
                .header(header::HOST, addr.to_string())
                .header("Waybill-Worker-Secret", &self.secret)
                .header("X-Request-ID", id.id.hyphenated().to_string());
            let request = match id.address {
                Some(address) => request.header("Waybill-Client-Address", address.to_string()),
                None => request,
            };
            let request = forward.started.iter().fold(request, |request, it| request.header(STARTED_HEADER, it));
            let request = request
                .body(Forwarded { shared: shared.clone(), attempt: shared.attempt.get(), broken: None })
                .map_err(|_| Failure::Before)?;
            let answer = tokio::select! {
                answer = answer(&mut connection, request, shared) => answer,
                () = self.pool.freezes(addr) => None,
            };
            shared.attempt.set(shared.attempt.get() + 1);
            match answer {
                Some(answer) => {
                    give_back(addr, connection);
                    return Ok(answer);
                }
                None if shared.begun.get() => return Err(Failure::After),
                None => {}
            }
        }
        Err(failure())
    }
}

/// Sends and waits for the answer, for as long as bytes move.
async fn answer<T: DeserializeOwned>(
    connection: &mut SendRequest<Forwarded>,
    request: Request<Forwarded>,
    shared: &Shared,
) -> Option<Result<T, Problem>> {
    let exchange = async {
        let response = connection.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.ok()?.to_bytes();
        if status == 200 {
            return serde_json::from_slice(&body).ok().map(Ok);
        }
        Problem::from_json(status, &body).map(Err)
    };
    tokio::pin!(exchange);
    loop {
        tokio::select! {
            answer = &mut exchange => return answer,
            () = tokio::time::sleep(STALL) => {
                if shared.moved_at.get().elapsed() >= STALL {
                    return None;
                }
            }
        }
    }
}

async fn pooled(addr: SocketAddr) -> Option<SendRequest<Forwarded>> {
    loop {
        let (mut connection, since) = POOL.with_borrow_mut(|pool| pool.get_mut(&addr).and_then(Vec::pop))?;
        if since.elapsed() < IDLE && !connection.is_closed() && connection.ready().await.is_ok() {
            return Some(connection);
        }
    }
}

fn give_back(addr: SocketAddr, connection: SendRequest<Forwarded>) {
    if connection.is_closed() {
        return;
    }
    POOL.with_borrow_mut(|pool| {
        let idle = pool.entry(addr).or_default();
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        if idle.len() < POOLED {
            idle.push((connection, Instant::now()));
        }
    });
}

async fn connect(pool: &WorkerPool, addr: SocketAddr) -> Option<SendRequest<Forwarded>> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, pool.connect(addr)).await.ok()??;
    let (connection, driver) =
        Builder::new().max_buf_size(MAX_BUFFERED_BYTES).handshake(TokioIo::new(stream)).await.ok()?;
    actix_web::rt::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%addr, %error, "a connection to a worker ended");
        }
    });
    Some(connection)
}
