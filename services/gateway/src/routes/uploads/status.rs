//! `GET /v1/uploads/{id}`. Reads the event log instead of the read model, so that a client that resumes gets the
//! current state.

use crate::application::gateway::Gateway;
use crate::http::path::UploadPath;
use crate::http::time::rfc3339;
use actix_web::{HttpResponse, get, web};
use waybill_api::uploads::{Status, UploadStatus};
use waybill_domain::upload::{Phase, State};
use waybill_http_kit::{Principal, Problem};
use waybill_schema::ErrorCode;
use waybill_schema::UploadId;

routes!(show);

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
        status: Status::from(state.status()).into(),
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
