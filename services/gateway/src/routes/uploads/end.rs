//! `POST /v1/uploads/{id}/complete` and `DELETE /v1/uploads/{id}`.

use crate::application::completion_wait::until_scanned;
use crate::application::gateway::Gateway;
use crate::application::uploads::description::parse_sha256;
use crate::application::uploads::end::{cancel_upload, finish};
use crate::http::json;
use crate::http::path::UploadPath;
use crate::http::preference::preferred;
use crate::http::problems::rejection;
use crate::http::response::POSITION;
use crate::routes::uploads::status::status;
use actix_web::{HttpRequest, HttpResponse, delete, post, web};
use std::time::Duration;
use tokio::time::Instant;
use waybill_api::uploads::{Completion, UploadStatus};
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_domain::upload::{Phase, State};
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_repository::{FileAggregate, Loaded, UploadAggregate};
use waybill_schema::{Position, UploadId};

routes!(cancel, complete);

/// Completes an upload
///
/// A worker then verifies the file. With `Prefer: wait=N`, the response waits for the verification, and for the virus scan if the
/// company requires one, for at most N seconds.
#[utoipa::path(
    tag = "uploads",
    operation_id = "complete_upload",
    params(("id" = Uuid, Path), ("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the verification and a required virus scan (RFC 7240)")),
    request_body = Option<Completion>,
    responses(
        (status = 200, description = "The file is verified", body = UploadStatus),
        (status = 202, description = "The verification is not finished", body = UploadStatus),
        (status = 409, description = "`chunks_missing`, `length_unknown`, `upload_kind`"),
        (status = 410, description = "`upload_ended`"),
        (status = 422, description = "`digest_mismatch`, `type_refused`, `parts_differ`, `parts_lost`, `digest_invalid`. If the upload failed for good, the member `upload_status` is `FAILED`"),
    ),
)]
#[post("/v1/uploads/{id}/complete")]
pub(crate) async fn complete(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    UploadPath(upload): UploadPath,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let completion: Completion = json::optional(payload).await?;
    let declared_sha256 = completion.sha256.as_deref().map(parse_sha256).transpose()?;
    let (aggregate, mut loaded) = gateway.upload(&principal, upload).await?;
    let context = gateway.context(&principal, id);
    let patience = preferred(&request).unwrap_or(Duration::ZERO);
    let until = Instant::now() + patience;
    finish(&gateway, &aggregate, &mut loaded, &context, declared_sha256, patience).await?;
    if !patience.is_zero() && matches!(loaded.state.phase, Phase::Verified { .. }) {
        let file = FileAggregate { company: aggregate.company, file: upload };
        let uploader = loaded.state.started.as_ref().map(|started| started.uploaded_by);
        loaded.read_to = loaded.read_to.max(until_scanned(&gateway, &file, uploader, until).await?);
    }
    answer(&gateway, &aggregate, upload, &loaded, 200)
}

/// Returns the response with the state of the upload: `verified_status` after the verification, 202 before it, and an
/// error if the upload failed or has ended.
pub(crate) fn answer(
    gateway: &Gateway,
    aggregate: &UploadAggregate,
    upload: UploadId,
    loaded: &Loaded<State>,
    verified_status: u16,
) -> Result<HttpResponse, Problem> {
    let code = match &loaded.state.phase {
        Phase::Rejected { code, message } => return Err(rejection(code, message)),
        Phase::Verified { .. } => verified_status,
        Phase::Cancelled => return Err(refused(Refusal::UploadEnded { status: "cancelled" })),
        Phase::Expired => return Err(refused(Refusal::UploadEnded { status: "expired" })),
        Phase::Absent | Phase::Active | Phase::Verifying | Phase::Concatenated { .. } => 202,
    };
    let partition = gateway.log.partitions().of(aggregate.company);
    let position = Position { partition, seq: loaded.read_to };
    let code = actix_web::http::StatusCode::from_u16(code).map_err(|_| Problem::internal())?;
    Ok(HttpResponse::build(code).insert_header((POSITION, position.to_string())).json(status(upload, &loaded.state)))
}

/// Cancels an upload
///
/// If the upload is already verified, this deletes its file.
#[utoipa::path(
    tag = "uploads",
    operation_id = "cancel_upload",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "The upload is cancelled, or the verified file is deleted"),
        (status = 409, description = "`upload_completed`: the verification is not finished; `file_deleted`"),
        (status = 410, description = "`upload_ended`"),
    ),
)]
#[delete("/v1/uploads/{id}")]
pub(crate) async fn cancel(
    principal: Principal,
    id: RequestId,
    UploadPath(upload): UploadPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (aggregate, mut loaded) = gateway.upload(&principal, upload).await?;
    let context = gateway.context(&principal, id);
    let position = cancel_upload(&gateway, &context, &aggregate, &mut loaded).await?;
    Ok(HttpResponse::NoContent().insert_header((POSITION, position.to_string())).finish())
}
