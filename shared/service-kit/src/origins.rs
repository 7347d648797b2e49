//! Which pages may use the gateway from a browser (CORS, the Fetch standard §3.3), and which headers they see.

use actix_cors::Cors;
use actix_web::http::Method;

/// How long a browser remembers a preflight, in seconds: the most that browsers accept.
const MAX_AGE_S: usize = 7_200;

/// Headers that clients of all protocols send.
const REQUEST_HEADERS: [&str; 25] = [
    "Authorization",
    "Origin",
    "X-Requested-With",
    "X-Request-ID",
    "X-HTTP-Method-Override",
    "Content-Type",
    "Content-Disposition",
    "Content-Range",
    "Content-Digest",
    "Repr-Digest",
    "Want-Repr-Digest",
    "Idempotency-Key",
    "Prefer",
    "Waybill-Min-Position",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Checksum",
    "Tus-Resumable",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Complete",
    "Upload-Incomplete",
    "Upload-Draft-Interop-Version",
    "Range",
];

/// Headers that pages may read.
const ANSWER_HEADERS: [&str; 22] = [
    "Location",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Expires",
    "Upload-Limit",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Complete",
    "Upload-Incomplete",
    "Upload-Draft-Interop-Version",
    "Tus-Version",
    "Tus-Resumable",
    "Tus-Max-Size",
    "Tus-Extension",
    "Tus-Checksum-Algorithm",
    "Repr-Digest",
    "ETag",
    "Retry-After",
    "Waybill-Position",
    "X-Request-ID",
    "Accept-Patch",
];

/// Pages of these origins may ask, and no others. Tokens travel in a header, so that no cookie is needed.
pub(crate) fn of(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allowed_headers(REQUEST_HEADERS)
        .expose_headers(ANSWER_HEADERS)
        .block_on_origin_mismatch(false)
        .max_age(MAX_AGE_S);
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}
