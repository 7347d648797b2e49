//! Error answers to clients: `application/problem+json` (RFC 9457) with a stable `code`.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::{Map, Value, json};
use std::fmt;
use waybill_schema::ErrorCode;

/// An error answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// Stable error code; docs/errors.md lists all codes.
    pub code: ErrorCode,
    /// Explanation for people: the error and what to do about it.
    pub detail: String,
    /// Further members, such as `missing`.
    pub members: Map<String, Value>,
    /// Number of seconds after which the client can try again.
    pub retry_after_s: Option<u32>,
}

impl Problem {
    /// Creates a problem.
    pub fn new(status: u16, code: ErrorCode, detail: impl Into<String>) -> Self {
        debug_assert!(code.statuses().contains(&status), "{code} is not documented with the status {status}");
        Self { status, code, detail: detail.into(), members: Map::new(), retry_after_s: None }
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The object does not exist, or the caller has no access to it.
    pub fn not_found(what: &str) -> Self {
        Self::new(404, ErrorCode::NotFound, format!("there is no such {what}"))
    }

    /// The request is malformed.
    pub fn bad_request(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self::new(400, code, detail)
    }

    /// A server that Waybill needs is unavailable. The client should try again.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after_s: Some(1), ..Self::new(503, ErrorCode::Unavailable, detail) }
    }

    /// An internal error. Its cause is in the log and not in the answer.
    pub fn internal() -> Self {
        Self::new(
            500,
            ErrorCode::Internal,
            "An internal error occurred. The request id identifies it in the server logs.",
        )
    }

    /// Returns the body of the answer.
    pub fn to_json(&self) -> Value {
        let title = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut body = json!({
            "type": "about:blank",
            "title": title.unwrap_or("Error"),
            "status": self.status,
            "code": self.code.as_str(),
            "detail": self.detail,
        });
        if let Some(members) = body.as_object_mut() {
            members.extend(self.members.clone());
        }
        body
    }

    /// Parses a problem from the answer of another service. Returns `None` if it is no problem, or if this version does
    /// not know its code.
    pub fn from_json(status: u16, body: &[u8]) -> Option<Self> {
        let Value::Object(mut members) = serde_json::from_slice(body).ok()? else { return None };
        let code = members.remove("code")?.as_str()?.parse().ok()?;
        let detail = members.remove("detail")?.as_str()?.to_owned();
        for known in ["type", "title", "status"] {
            members.remove(known);
        }
        Some(Self { status, code, detail, members, retry_after_s: (status == 503).then_some(1) })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponseBuilder::new(self.status_code());
        answer.content_type("application/problem+json").insert_header((CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_after_s {
            answer.insert_header((RETRY_AFTER, seconds));
        }
        answer.body(self.to_json().to_string())
    }
}
