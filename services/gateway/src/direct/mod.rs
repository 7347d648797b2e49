//! Bytes that go from the client to the object store by presigned URLs, and never through Waybill: natively part by part
//! ([`native`]), and in the way that Uppy's S3 plugin knows ([`uppy`]).

mod native;
mod uppy;

use actix_web::web::{self, delete, get, post};
use std::time::Duration;
use waybill_schema::Timestamp;
use waybill_service_kit::now;

/// When a URL that is signed now for so long ends.
fn end_of(lifetime: Duration) -> Timestamp {
    now().plus_ms(i64::try_from(lifetime.as_millis()).unwrap_or(0))
}

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/v1/uploads/{id}/parts/sign", post().to(native::sign))
        .route("/v1/uploads/{id}/parts", post().to(native::report))
        .route("/uppy/s3/multipart", post().to(uppy::create))
        .route("/uppy/s3/multipart/{upload_id}", get().to(uppy::list))
        .route("/uppy/s3/multipart/{upload_id}", delete().to(uppy::abort))
        .route("/uppy/s3/multipart/{upload_id}/complete", post().to(uppy::complete))
        .route("/uppy/s3/multipart/{upload_id}/{part_number}", get().to(uppy::sign_part))
        .route("/uppy/s3/params", get().to(uppy::params))
        .route("/uppy/s3/sign", post().to(uppy::sign));
}
