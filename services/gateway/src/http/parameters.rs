//! Parameters and types that the OpenAPI descriptions of several routes share.

use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// The bytes of a file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) struct Bytes(Vec<u8>);

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) struct CompanyPath {
    company: Uuid,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) struct IdempotencyKey {
    /// 1 to 255 bytes. A repeated request with the same key takes effect only once within 24 hours.
    #[param(rename = "Idempotency-Key", max_length = 255)]
    idempotency_key: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) struct MinPosition {
    /// Value of a `Waybill-Position` header from an earlier response. This response includes the change at that
    /// position.
    #[param(rename = "Waybill-Min-Position")]
    min_position: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only describes the API")]
pub(crate) struct RangeHeaders {
    /// A single range of bytes (RFC 9110 §14.2). Several ranges are ignored.
    #[param(rename = "Range")]
    range: Option<String>,
    /// An `ETag`. If it is not the current one, `Range` is ignored and all bytes are sent.
    #[param(rename = "If-Range")]
    if_range: Option<String>,
    /// `ETag`s that the client has. If one of them is current, the answer is 304.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
    /// `ETag`s. If none of them is current, the answer is 412.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// With `sha-256`, the answer has the SHA-256 of the whole file in `Repr-Digest` (RFC 9530).
    #[param(rename = "Want-Repr-Digest")]
    want_repr_digest: Option<String>,
}
