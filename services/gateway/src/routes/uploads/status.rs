//! `GET /v1/uploads/{id}`. Reads the event log instead of the read model, so that a client that resumes gets the
//! current state.

use crate::application::gateway::Gateway;
use crate::http::path::UploadPath;
use crate::http::time::rfc3339;
use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_domain::upload::{Phase, State};
use waybill_schema::ErrorCode;
use waybill_schema::UploadId;
use waybill_service_kit::{Principal, Problem};

/// State of an upload. Sizes are in bytes, and times are in the format of RFC 3339.
#[derive(Serialize, ToSchema)]
pub(crate) struct UploadStatus {
    upload_id: Uuid,
    file_id: Uuid,
    /// `PENDING`, `UPLOADING` (until the file is verified), `COMPLETED`, `FAILED` or `CANCELLED`.
    status: &'static str,
    /// Number of consecutive bytes, from the first byte on, that are stored.
    offset_bytes: u64,
    /// Total number of stored bytes.
    bytes_uploaded: u64,
    /// Size of the file; `null` if it is not known yet.
    size_bytes: Option<u64>,
    /// Missing ranges as `[from, to]`. The byte at `to` is not part of the range.
    missing: Vec<[u64; 2]>,
    part_size_bytes: u64,
    total_chunks: u32,
    #[schema(format = DateTime)]
    started_at: String,
    session_id: Option<Uuid>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// SHA-256 of the file. It is present after the verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Code of the error. It is present if the upload failed or expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<String>,
}

/// Returns the current state of an upload
#[utoipa::path(
    tag = "uploads",
    operation_id = "show_upload",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, description = "The state of the upload", body = UploadStatus),
    ),
)]
#[get("/v1/uploads/{id}")]
pub(crate) async fn show(
    principal: Principal,
    UploadPath(id): UploadPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (_, loaded) = gateway.upload(&principal, id).await?;
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(status(id, &loaded.state)))
}

/// Returns the state of an upload as clients see it.
pub(crate) fn status(id: UploadId, state: &State) -> UploadStatus {
    let grid = state.grid();
    let missing: Vec<[u64; 2]> = state.missing().iter().map(|gap| [gap.from, gap.to]).collect();
    let (error_code, error_message) = match &state.phase {
        Phase::Rejected { code, message } => (Some(code.clone()), Some(message.clone())),
        Phase::Expired => {
            (Some(ErrorCode::UploadExpired.to_string()), Some("the upload was not continued in time".to_owned()))
        }
        _ => (None, None),
    };
    UploadStatus {
        upload_id: id.0,
        file_id: id.0,
        status: state.status().as_str(),
        offset_bytes: state.stored.prefix(),
        bytes_uploaded: state.stored.total(),
        size_bytes: state.length(),
        missing,
        part_size_bytes: grid.part_size_bytes,
        total_chunks: grid.total_parts(),
        started_at: rfc3339(state.started_at),
        session_id: state.started.as_ref().and_then(|started| started.session_id.map(|session| session.0)),
        expires_at: state.started.as_ref().map(|started| rfc3339(started.expires_at)),
        sha256: match &state.phase {
            Phase::Verified { sha256, .. } => Some(sha256.to_string()),
            _ => None,
        },
        error_code,
        error_message,
    }
}
