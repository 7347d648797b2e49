//! Middleware for every request: the request id, which is recorded in events and logs, the log line after the answer,
//! and headers of answers.

use crate::connection::{Answering, End};
use waybill_service_kit::new_id;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::{DefaultHeaders, Next};
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use prometheus::IntCounterVec;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use tokio::time::Instant;
use uuid::Uuid;
use waybill_schema::Causation;
use waybill_service_kit::metrics::counters;

/// Requests by route and class of status.
static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("waybill_http_requests_total", "Requests by route and class of status", &["route", "class"])
});

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Id of a request and the address of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// The id. The server makes it, so that no client can give its events the cause of another request.
    pub id: Uuid,
    /// The address of the client, if it was determined.
    pub address: Option<IpAddr>,
}

impl RequestId {
    /// Returns the id of a request.
    pub fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().copied().unwrap_or_else(|| Self { id: new_id(), address: None })
    }

    /// Returns the request as the cause of events.
    pub fn causation(self) -> Causation {
        Causation::Request(self.id)
    }

    /// Returns the address of the client, or `0.0.0.0` if it was not determined.
    pub fn client(self) -> IpAddr {
        self.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

impl FromRequest for RequestId {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

/// Assigns a new id to each request, counts it and logs its outcome. It logs route patterns and never paths, because
/// paths can contain tokens. If the client has sent an `X-Request-ID` that is a UUID, the log has it as
/// `client_request_id`.
///
/// # Errors
/// The errors of the wrapped service.
pub async fn trace(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    traced(request, next, |_| new_id()).await
}

/// Does the same as [`trace`], but keeps the id that a gateway has sent. For requests between roles, which are signed.
///
/// # Errors
/// The errors of the wrapped service.
pub async fn trace_between_roles(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    traced(request, next, |sent| sent.unwrap_or_else(new_id)).await
}

async fn traced<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
    id_for: fn(Option<Uuid>) -> Uuid,
) -> Result<ServiceResponse<impl MessageBody + use<B>>, Error> {
    let sent = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let sent = sent.and_then(|text| Uuid::try_parse(text).ok());
    let id = id_for(sent);
    let client_request_id = sent.filter(|sent| *sent != id).map(tracing::field::display);
    request.extensions_mut().insert(RequestId { id, address: None });
    let body = kept(&mut request);
    let answering = request.conn_data::<Rc<End>>().map(End::answer);
    let began = Instant::now();
    let mut response = next.call(request).await?;
    let elapsed = began.elapsed();
    let route = response.request().match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let status = response.status().as_u16();
    REQUESTS.with_label_values(&[&route, &(status / 100).to_string()]).inc();
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if status >= 500 {
        tracing::warn!(request_id = %id, client_request_id, route, status, elapsed_ms, "request failed");
    } else {
        tracing::debug!(request_id = %id, client_request_id, route, status, elapsed_ms, "request");
    }
    if let Ok(value) = HeaderValue::from_str(&id.hyphenated().to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(response.map_body(|_, answer| Answered { body: Box::pin(answer), _answering: answering, _asked: body }))
}

/// Keeps the body of a request without `Content-Length` alive until the answer was sent. If it is dropped earlier,
/// actix-web drains the body and does not announce that the connection will be closed. If it is kept, bytes remain
/// unread and actix-web announces the close.
fn kept(request: &mut ServiceRequest) -> Option<Rc<RefCell<Payload>>> {
    if !request.headers().contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let body = Rc::new(RefCell::new(request.take_payload()));
    let read = body.clone();
    let stream = poll_fn(move |context| read.borrow_mut().poll_next_unpin(context));
    request.set_payload(Payload::Stream { payload: Box::pin(stream) });
    Some(body)
}

/// The body of an answer. It is dropped after it was sent.
struct Answered<B> {
    body: Pin<Box<B>>,
    _answering: Option<Answering>,
    /// The rest of the request body.
    _asked: Option<Rc<RefCell<Payload>>>,
}

impl<B: MessageBody> MessageBody for Answered<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        self.body.as_mut().poll_next(context)
    }
}

/// Returns the security headers of every answer. Browsers must not execute, frame or cache an answer, and must not send
/// its URL as a referrer.
///
/// With TLS, they also tell browsers to use only TLS in the future (RFC 6797).
pub fn safe_headers(over_tls: bool) -> DefaultHeaders {
    let headers = always_safe();
    if over_tls { headers.add((STRICT_TRANSPORT_SECURITY, "max-age=63072000")) } else { headers }
}

fn always_safe() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .add((REFERRER_POLICY, "no-referrer"))
        .add((CACHE_CONTROL, "private, no-store"))
}
