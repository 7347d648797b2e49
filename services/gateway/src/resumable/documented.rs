//! The resumable uploads as OpenAPI has them. Which protocol a request speaks its headers say, so one handler takes
//! them all, and these are descriptions alone; docs/resumable-uploads.md says more.
#![expect(dead_code, reason = "descriptions alone")]

use crate::api::Bytes;
use utoipa::IntoParams;

/// Headers of tus 1.0 and of the IETF's draft; a request has those of one of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct Headers {
    /// `1.0.0`, in tus alone.
    #[param(rename = "Tus-Resumable")]
    tus_resumable: Option<String>,
    #[param(rename = "Upload-Length")]
    upload_length: Option<String>,
    #[param(rename = "Upload-Offset")]
    upload_offset: Option<String>,
    /// tus: pairs of a name and base64.
    #[param(rename = "Upload-Metadata")]
    upload_metadata: Option<String>,
    /// tus: an algorithm, a space, base64.
    #[param(rename = "Upload-Checksum")]
    upload_checksum: Option<String>,
    /// The draft: `?1` with the last bytes.
    #[param(rename = "Upload-Complete")]
    upload_complete: Option<String>,
}

/// Creates an upload, empty or with its first bytes; in the draft by any method that has content.
#[utoipa::path(
    method(post, put, patch),
    path = "/tus/",
    tag = "resumable uploads",
    operation_id = "tus_create",
    params(Headers),
    request_body(content = Bytes, content_type = "application/offset+octet-stream"),
    responses(
        (status = 201, description = "Created; `Location` says where"),
        (status = 409, description = "`session_ended`, `partial_unfit`, `superseded`, `chunks_missing`"),
        (status = 410, description = "`upload_ended`"),
        (status = 412, description = "`version_refused`"),
        (status = 413, description = "`file_too_large`, `session_too_large`, `quota_exceeded`, `size_exceeded`"),
        (status = 415, description = "`type_refused`, `content_type_refused`, `encoding_refused`"),
        (status = 422, description = "`name_invalid`, `digest_invalid`, `digest_mismatch`, `partial_unfit`"),
        (status = 423, description = "tus: busy, try again"),
        (status = 460, description = "tus: `digest_mismatch`"),
    ),
)]
pub(crate) fn create() {}

/// How far an upload is; a GET of one that is finished answers with its file.
#[utoipa::path(
    method(head, get),
    path = "/tus/{id}",
    tag = "resumable uploads",
    operation_id = "tus_look",
    params(Headers, ("id" = Uuid, Path)),
    responses(
        (status = 200, description = "tus: `Upload-Offset` says it"),
        (status = 204, description = "The draft: `Upload-Offset` says it"),
        (status = 410, description = "`upload_ended`"),
        (status = 412, description = "`version_refused`"),
        (status = 423, description = "tus: busy, try again"),
    ),
)]
pub(crate) fn look() {}

/// Appends bytes where the upload stands.
#[utoipa::path(
    patch,
    path = "/tus/{id}",
    tag = "resumable uploads",
    operation_id = "tus_append",
    params(Headers, ("id" = Uuid, Path)),
    request_body(content = Bytes, content_type = "application/offset+octet-stream"),
    responses(
        (status = 200, description = "The draft: the upload is complete"),
        (status = 204, description = "`Upload-Offset` says how far it is"),
        (status = 403, description = "`upload_kind`: a final upload takes no bytes"),
        (status = 409, description = "`offset_mismatch`, `superseded`, `upload_completed`, `length_unknown`"),
        (status = 410, description = "`upload_ended`"),
        (status = 412, description = "`version_refused`"),
        (status = 413, description = "`size_exceeded`, `quota_exceeded`, `file_too_large`, `session_too_large`"),
        (status = 415, description = "`content_type_refused`, `encoding_refused`"),
        (status = 422, description = "`digest_mismatch`, `type_refused`"),
        (status = 423, description = "Busy, try again"),
        (status = 460, description = "tus: `digest_mismatch`"),
    ),
)]
pub(crate) fn append() {}

/// Ends an upload.
#[utoipa::path(
    delete,
    path = "/tus/{id}",
    tag = "resumable uploads",
    operation_id = "tus_terminate",
    params(Headers, ("id" = Uuid, Path)),
    responses(
        (status = 204, description = "Ended"),
        (status = 409, description = "The draft: `upload_completed`, `file_deleted`"),
        (status = 410, description = "`upload_ended`"),
        (status = 412, description = "`version_refused`"),
        (status = 423, description = "tus: `upload_completed`, being verified"),
    ),
)]
pub(crate) fn terminate() {}

/// What both protocols can do here.
#[utoipa::path(
    options,
    path = "/tus/",
    tag = "resumable uploads",
    operation_id = "tus_capabilities",
    responses((status = 204, description = "Headers say it")),
)]
pub(crate) fn capabilities() {}
