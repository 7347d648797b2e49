//! OpenAPI descriptions of the resumable uploads. The functions here are never called: the headers of a request select
//! the protocol, so one handler serves all of these operations. See docs/resumable-uploads.md.
#![expect(dead_code, reason = "only for OpenAPI")]

use crate::http::parameters::Bytes;
use utoipa::IntoParams;

/// Headers of tus 1.0 and of the IETF draft. A request uses the headers of one protocol.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct Headers {
    /// tus: always `1.0.0`.
    #[param(rename = "Tus-Resumable")]
    tus_resumable: Option<String>,
    /// Length of the file in bytes.
    #[param(rename = "Upload-Length")]
    upload_length: Option<String>,
    /// Position in the file of the first byte of the body.
    #[param(rename = "Upload-Offset")]
    upload_offset: Option<String>,
    /// tus: comma-separated pairs of a key and a base64 value.
    #[param(rename = "Upload-Metadata")]
    upload_metadata: Option<String>,
    /// tus: the algorithm, a space and the base64 of the body's digest.
    #[param(rename = "Upload-Checksum")]
    upload_checksum: Option<String>,
    /// Draft: `?1` with the last bytes, `?0` with all others.
    #[param(rename = "Upload-Complete")]
    upload_complete: Option<String>,
}

/// Creates a resumable upload
///
/// The body can contain the first bytes. In the draft, POST, PUT and PATCH can create an upload; in tus, only POST can.
#[utoipa::path(
    method(post, put, patch),
    path = "/tus/",
    tag = "resumable uploads",
    operation_id = "tus_create",
    params(Headers),
    request_body(content = Bytes, content_type = "application/offset+octet-stream"),
    responses(
        (status = 201, description = "The upload is created. `Location` is its URL"),
        (status = 409, description = "`session_ended`, `partial_unfit`, `superseded`, `chunks_missing`"),
        (status = 410, description = "`upload_ended`"),
        (status = 412, description = "`version_refused`"),
        (status = 413, description = "`file_too_large`, `session_too_large`, `quota_exceeded`, `size_exceeded`"),
        (status = 415, description = "`type_refused`, `content_type_refused`, `encoding_refused`"),
        (status = 422, description = "`name_invalid`, `digest_invalid`, `digest_mismatch`, `partial_unfit`"),
        (status = 423, description = "tus: the upload is busy; try again"),
        (status = 460, description = "tus: `digest_mismatch`"),
    ),
)]
pub(crate) fn create() {}

/// Returns the offset of a resumable upload
///
/// A GET after the verification returns the file.
#[utoipa::path(
    method(head, get),
    path = "/tus/{id}",
    tag = "resumable uploads",
    operation_id = "tus_look",
    params(Headers, ("id" = Uuid, Path)),
    responses(
        (status = 200, description = "HEAD of tus: the offset is in `Upload-Offset`. GET: the file"),
        (status = 204, description = "HEAD of the draft, or GET before the verification: the offset is in `Upload-Offset`"),
        (status = 410, description = "`upload_ended`"),
        (status = 412, description = "`version_refused`"),
        (status = 423, description = "tus: the upload is busy; try again"),
    ),
)]
pub(crate) fn look() {}

/// Appends bytes to a resumable upload
///
/// `Upload-Offset` must be the current offset of the upload.
#[utoipa::path(
    patch,
    path = "/tus/{id}",
    tag = "resumable uploads",
    operation_id = "tus_append",
    extensions(("x-waybill-points" = json!(2))),
    params(Headers, ("id" = Uuid, Path)),
    request_body(content = Bytes, content_type = "application/offset+octet-stream"),
    responses(
        (status = 200, description = "Draft: the upload is complete"),
        (status = 204, description = "The bytes are stored. The new offset is in `Upload-Offset`"),
        (status = 403, description = "`upload_kind`: the upload is final or direct, and accepts no bytes here"),
        (status = 409, description = "`offset_mismatch`, `superseded`, `upload_completed`, `length_unknown`"),
        (status = 410, description = "`upload_ended`"),
        (status = 412, description = "`version_refused`"),
        (status = 413, description = "`size_exceeded`, `quota_exceeded`, `file_too_large`, `session_too_large`"),
        (status = 415, description = "`content_type_refused`, `encoding_refused`"),
        (status = 422, description = "`digest_mismatch`, `type_refused`"),
        (status = 423, description = "The upload is busy; try again"),
        (status = 460, description = "tus: `digest_mismatch`"),
    ),
)]
pub(crate) fn append() {}

/// Cancels a resumable upload
///
/// If the upload is already verified, this deletes its file.
#[utoipa::path(
    delete,
    path = "/tus/{id}",
    tag = "resumable uploads",
    operation_id = "tus_terminate",
    params(Headers, ("id" = Uuid, Path)),
    responses(
        (status = 204, description = "The upload is cancelled, or the verified file is deleted"),
        (status = 409, description = "Draft: `upload_completed`, `file_deleted`"),
        (status = 410, description = "`upload_ended`"),
        (status = 412, description = "`version_refused`"),
        (status = 423, description = "tus: `upload_completed`, the verification is not finished"),
    ),
)]
pub(crate) fn terminate() {}

/// Returns the supported features of both protocols
#[utoipa::path(
    options,
    path = "/tus/",
    tag = "resumable uploads",
    operation_id = "tus_capabilities",
    security(()),
    responses((status = 204, description = "The features and limits are in the headers")),
)]
pub(crate) fn capabilities() {}
