//! Data plane to workers in other processes: streams the body of a request to a worker over pooled HTTP/1.1
//! connections, without collecting it in memory.
//!
//! Bodies of actix-web stay on their thread, so each thread has its own pool. The gateway tries the next worker only if
//! no byte of the body was read yet. After that, the client must resume.

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
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::Sleep;
use waybill_data_plane::signature::{COVERED, Covered, RequestKeys, SIGNATURE_HEADER};
use waybill_data_plane::{Answer, DataPlane, KEEP_ALIVE, PutBytes, PutWhole, StoredBytes, StoredWhole};
use waybill_http_kit::{Problem, RequestId};
use waybill_schema::ErrorCode;
use waybill_schema::UploadId;
use waybill_service_kit::{new_id, now};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A worker counts as gone if it neither takes a byte nor responds for this time.
const STALL: Duration = Duration::from_secs(90);
/// Time to send the bytes that have arrived to the worker after the client has disconnected.
const FLUSH: Duration = Duration::from_millis(250);
/// Maximum number of idle connections per worker and thread.
const POOLED: usize = 64;
/// Maximum age of an idle connection. It is less than half of the workers' [`KEEP_ALIVE`], so that the gateway does not
/// use a connection at the moment when the worker closes it.
const IDLE: Duration = Duration::from_secs(4);
const _: () = assert!(IDLE.as_secs() * 2 < KEEP_ALIVE.as_secs());
/// Maximum number of bytes of a body that wait to be written.
const MAX_BUFFERED_BYTES: usize = 64 * 1_024;
/// Maximum size of a worker's response.
const MAX_ANSWER_BYTES: usize = 64 * 1_024;

/// Idle connection, and the time since which it is idle.
type Pooled = (SendRequest<Forwarded>, Instant);

thread_local! {
    static POOL: RefCell<HashMap<SocketAddr, Vec<Pooled>>> = RefCell::default();
}

/// Data plane that forwards to workers in other processes.
pub(crate) struct RemoteWorkers {
    pub(crate) pool: WorkerPool,
    /// Keys that sign each request.
    pub(crate) keys: RequestKeys,
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
        if let Some(link) = request.link {
            path.push_str(&format!("&link_id={link}"));
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

/// Request to a worker.
struct Forward {
    /// Path and query of the worker's URL.
    path: String,
    /// Length of the body in bytes, if it is known.
    content_length: Option<u64>,
    /// Value of [`STARTED_HEADER`](waybill_data_plane::STARTED_HEADER): the start of the upload of a whole file.
    started: Option<String>,
    upload: UploadId,
    request: RequestId,
}

/// Client's body and its progress, which all attempts to forward it share.
struct Shared {
    payload: RefCell<Payload>,
    begun: Cell<bool>,
    ended: Cell<bool>,
    /// The client has disconnected or is too slow.
    broken: Cell<bool>,
    moved_at: Cell<Instant>,
    left: Cell<Option<u64>>,
    /// Number of the attempt that reads the body. An earlier attempt, whose connection hyper has not dropped yet, must
    /// not read any more of it.
    attempt: Cell<u32>,
}

/// Client's body, as hyper reads it for one attempt.
struct Forwarded {
    shared: Rc<Shared>,
    attempt: u32,
    /// Present after the client has disconnected, while its last bytes are being flushed.
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
            // After an error, hyper drops the bytes that it has not written yet. Delay the error, so that all bytes
            // that arrived reach the worker.
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

/// Failed attempt to forward a request.
enum Failure {
    /// No byte of the body was read, so the gateway can try the next worker.
    Before,
    /// A part of the body was read and is lost with the attempt.
    After,
}

impl RemoteWorkers {
    /// Streams a body to the worker that has the upload.
    ///
    /// # Errors
    /// The worker's own error; 503 if no worker responds or the worker disappears; 400 `body_incomplete` if the client
    /// disconnects.
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
                Err(Failure::Before) => tracing::warn!(upload_id = %upload, %addr, "a worker does not respond"),
                Err(Failure::After) if shared.broken.get() => {
                    tracing::debug!(upload_id = %upload, "a client disconnected while it sent bytes");
                    let text = "the body ended early; request the offset and resume the upload";
                    return Err(Problem::bad_request(ErrorCode::BodyIncomplete, text));
                }
                Err(Failure::After) => {
                    tracing::warn!(upload_id = %upload, %addr, "a worker disappeared while bytes were sent to it");
                    let text = "the transfer was interrupted; request the offset and resume the upload";
                    return Err(Problem::unavailable(text));
                }
            }
        }
        Err(Problem::unavailable("no worker is available; try again"))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        addr: SocketAddr,
        forward: &Forward,
        shared: &Rc<Shared>,
    ) -> Result<Result<T, Problem>, Failure> {
        let id = forward.request;
        let failure = || if shared.begun.get() { Failure::After } else { Failure::Before };
        // A pooled connection may have been closed meanwhile. Only a new connection shows if the worker is alive.
        for fresh in [false, true] {
            let mut connection = match if fresh { None } else { pooled(addr).await } {
                Some(connection) => connection,
                None if fresh => connect(&self.pool, addr).await.ok_or(Failure::Before)?,
                None => continue,
            };
            let started = forward.started.as_deref().unwrap_or_default();
            let values = [id.id.hyphenated().to_string(), id.address.map(|it| it.to_string()).unwrap_or_default()];
            let values = [values[0].as_str(), &values[1], started];
            let covered = Covered { method: "PUT", path: &forward.path, headers: values.map(|value| value.as_bytes()) };
            let request = Request::put(&forward.path)
                .header(header::HOST, addr.to_string())
                .header(SIGNATURE_HEADER, self.keys.sign(covered, now(), new_id()));
            let present = COVERED.into_iter().zip(values).filter(|(_, value)| !value.is_empty());
            let request = present.fold(request, |request, (name, value)| request.header(name, value));
            let request = request
                .body(Forwarded { shared: shared.clone(), attempt: shared.attempt.get(), broken: None })
                .map_err(|_| Failure::Before)?;
            let on_refusal = || {
                self.pool.has_refused(addr);
                tracing::error!(%addr, "a worker refused a signature; compare WAYBILL_WORKER_SECRET and the clocks");
            };
            let answer = tokio::select! {
                answer = answer(&mut connection, request, shared, on_refusal) => answer,
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

/// Sends the request and waits for the response. Gives up if no byte moves for [`STALL`]. Calls `on_refusal` if the worker
/// refuses the signature.
async fn answer<T: DeserializeOwned>(
    connection: &mut SendRequest<Forwarded>,
    request: Request<Forwarded>,
    shared: &Shared,
    on_refusal: impl Fn(),
) -> Option<Result<T, Problem>> {
    let exchange = async {
        let response = connection.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.ok()?.to_bytes();
        if status == 401 {
            on_refusal();
            return None;
        }
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
