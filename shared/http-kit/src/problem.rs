//! Error answers to clients: `application/problem+json` (RFC 9457) with a stable `code`.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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
    /// Further members.
    pub members: Box<Members>,
    /// Number of seconds after which the client can try again.
    pub retry_after_s: Option<u32>,
}

/// Defines [`Members`]: optional fields that are left out of the JSON document if they have no value.
macro_rules! members {
    ($($(#[$attribute:meta])* $name:ident: $kind:ty,)*) => {
        /// Further members of a problem. `docs/errors.md` lists the members of each code.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct Members {
            $($(#[$attribute])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<$kind>,)*
        }
    };
}

members! {
    /// The offset of the upload.
    offset_bytes: u64,
    /// Missing ranges of the file, `[from, to)`.
    missing: Vec<[u64; 2]>,
    /// Minimum size of a piece.
    least_bytes: u64,
    /// Maximum size.
    limit_bytes: u64,
    /// Number of files that can still be sent with an upload link.
    left_files: u32,
    /// Bytes of these files together.
    left_bytes: u64,
    /// Storage that the company uses.
    storage_used_bytes: u64,
    /// Storage that is reserved for uploads of the company.
    storage_reserved_bytes: u64,
    /// Storage that the company may use.
    storage_limit_bytes: u64,
    /// Status of the upload, if it was rejected.
    upload_status: String,
    /// URL of the upload, which exists despite the error.
    upload_url: String,
    /// Time at which the upload expires, as an HTTP date. The upload protocols also send it as a header.
    upload_expires: String,
    /// Methods that the URL supports. The answer also has the header `Allow`.
    allow: String,
    /// Index of the refused item in a list of items.
    index: usize,
    /// Number of a part.
    part_number: u32,
    /// Required size of the part.
    part_size_bytes: u64,
    /// Number of chunks of the upload.
    total_chunks: u32,
    /// Checks that fail.
    failing: Vec<String>,
    /// Id of the association that exists already.
    association_id: String,
    /// The explanation again, for clients that show only this member.
    message: String,
    /// Type of the problem, instead of `about:blank`.
    #[serde(rename = "type")]
    kind: String,
    /// Title of the problem, instead of that of its status.
    title: String,
    /// The offset of the upload, as the IETF draft calls it.
    #[serde(rename = "expected-offset")]
    expected_offset: u64,
    /// The offset that the request names, as the IETF draft calls it.
    #[serde(rename = "provided-offset")]
    provided_offset: u64,
}

impl Problem {
    /// Creates a problem.
    pub fn new(status: u16, code: ErrorCode, detail: impl Into<String>) -> Self {
        debug_assert!(code.statuses().contains(&status), "{code} is not documented with the status {status}");
        Self { status, code, detail: detail.into(), members: Box::default(), retry_after_s: None }
    }

    /// Sets further members: `problem.with(|members| members.index = Some(7))`.
    #[must_use]
    pub fn with(mut self, set: impl FnOnce(&mut Members)) -> Self {
        set(&mut self.members);
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
        if let (Some(body), Ok(Value::Object(members))) = (body.as_object_mut(), serde_json::to_value(&self.members)) {
            body.extend(members);
        }
        body
    }

    /// Parses a problem from the answer of another service. Returns `None` if it is no problem, or if this version does
    /// not know its code.
    pub fn from_json(status: u16, body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Received {
            code: String,
            detail: String,
            #[serde(flatten)]
            members: Members,
        }
        let Received { code, detail, members } = serde_json::from_slice(body).ok()?;
        let members = Members { kind: None, title: None, ..members };
        let retry_after_s = (status == 503).then_some(1);
        Some(Self { status, code: code.parse().ok()?, detail, members: Box::new(members), retry_after_s })
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
