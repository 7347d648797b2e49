//! Headers that describe the body of a request: its length, encoding and format.

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use waybill_http_kit::Problem;
use waybill_schema::ErrorCode;

/// Returns the length of the body in bytes; `None` if the request does not declare it. A request with neither
/// `Content-Length` nor `Transfer-Encoding` has no body (RFC 9112 §6.3).
pub(crate) fn content_length(request: &HttpRequest) -> Option<u64> {
    match request.headers().get(CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.parse().ok(),
        None => (!request.headers().contains_key(TRANSFER_ENCODING)).then_some(0),
    }
}

/// Refuses requests with `Content-Encoding`, because Waybill stores the bytes as they arrive and does not decode them.
pub(crate) fn refuse_encoding(request: &HttpRequest) -> Result<(), Problem> {
    match request.headers().get(CONTENT_ENCODING) {
        Some(value) if value != "identity" => {
            Err(Problem::new(415, ErrorCode::EncodingRefused, "send the bytes without Content-Encoding"))
        }
        _ => Ok(()),
    }
}

/// Format of the body of a request, from its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bringing {
    /// The body is the file.
    Bytes,
    /// The body is a form that contains the file (RFC 7578).
    Form,
    /// The body is in another format that wraps the file and that Waybill does not read.
    Envelope,
}

impl Bringing {
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let value = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "multipart/form-data" => Self::Form,
            "application/x-www-form-urlencoded" => Self::Envelope,
            // A saved web page has this type (RFC 2557), so it can be the type of the file itself.
            "multipart/related" => Self::Bytes,
            other if other.starts_with("multipart/") => Self::Envelope,
            _ => Self::Bytes,
        }
    }
}

/// Returns the error for a form on a route that takes only the bytes of the file.
pub(crate) fn form_refused() -> Problem {
    let detail = "send the bytes of the file as the body, not in a form, with the Content-Type of the file or \
                  application/octet-stream";
    Problem::new(415, ErrorCode::ContentTypeRefused, detail)
}

/// Refuses forms on routes that do not read them. Otherwise the form's boundaries and headers would become part of the
/// file.
pub(crate) fn refuse_forms(request: &HttpRequest) -> Result<(), Problem> {
    if Bringing::of(request) == Bringing::Bytes { Ok(()) } else { Err(form_refused()) }
}
