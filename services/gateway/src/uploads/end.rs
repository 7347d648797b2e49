//! `POST /v1/uploads/{id}/complete` and `DELETE /v1/uploads/{id}`.

use super::start::parse_sha256;
use super::status::{UploadStatus, parse_id, status};
use crate::gateway::Gateway;
use crate::position::POSITION;
use crate::problems::{IntoProblem, refused, rejection};
use crate::{files, json, wait};
use actix_web::{HttpRequest, HttpResponse, delete, post, web};
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;
use waybill_domain::Refusal;
use waybill_domain::upload::{Command, Phase, State};
use waybill_repository::{Context, ExecuteError, Loaded, UploadAggregate, execute};
use waybill_schema::{Position, Sha256Digest, UploadId};
use waybill_service_kit::{Principal, Problem, RequestId, now};

/// Statement of the client that all bytes were sent.
#[derive(Default, Deserialize, ToSchema)]
pub(crate) struct Completion {
    /// SHA-256 of the file, which the verification compares with the stored bytes.
    sha256: Option<String>,
}

/// Completes an upload
///
/// A worker then verifies the file. With `Prefer: wait=N`, the response waits for the verification for at most N
/// seconds.
#[utoipa::path(
    tag = "uploads",
    operation_id = "complete_upload",
    params(("id" = Uuid, Path), ("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the verification (RFC 7240)")),
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
    path: web::Path<String>,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let upload = parse_id(&path)?;
    let completion: Completion = json::optional(payload).await?;
    let declared_sha256 = completion.sha256.as_deref().map(parse_sha256).transpose()?;
    let (aggregate, mut loaded) = gateway.upload(&principal, upload).await?;
    let context = gateway.context(&principal, id);
    let patience = wait::preferred(&request).unwrap_or(Duration::ZERO);
    finish(&gateway, &aggregate, &mut loaded, &context, declared_sha256, patience).await?;
    answer(&gateway, &aggregate, upload, &loaded, 200)
}

/// Appends `FileCompleted` and waits for the end of the verification, at most for `patience`.
pub(crate) async fn finish(
    gateway: &Gateway,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
    context: &Context,
    declared_sha256: Option<Sha256Digest>,
    patience: Duration,
) -> Result<(), Problem> {
    let command = Command::Complete { declared_sha256, now: now() };
    let done = execute(gateway.log.as_ref(), aggregate, loaded, context, command)
        .await
        .map_err(|error| error.into_problem("completing an upload"))?;
    if !patience.is_zero() {
        wait::until_ended(gateway, aggregate, loaded, patience).await?;
    }
    loaded.read_to = loaded.read_to.max(done.position.seq);
    Ok(())
}

/// Returns the response with the state of the upload: `verified_status` after the verification, 202 before it, and an
/// error if the upload failed or has ended.
pub(super) fn answer(
    gateway: &Gateway,
    aggregate: &UploadAggregate,
    upload: UploadId,
    loaded: &Loaded<State>,
    verified_status: u16,
) -> Result<HttpResponse, Problem> {
    let code = match &loaded.state.phase {
        Phase::Rejected { code, message } => return Err(rejection(code, message)),
        Phase::Verified { .. } => verified_status,
        Phase::Cancelled => return Err(refused(&Refusal::UploadEnded { status: "cancelled" })),
        Phase::Expired => return Err(refused(&Refusal::UploadEnded { status: "expired" })),
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
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let upload = parse_id(&path)?;
    let (aggregate, mut loaded) = gateway.upload(&principal, upload).await?;
    let context = gateway.context(&principal, id);
    let position = cancel_upload(&gateway, &context, &aggregate, &mut loaded).await?;
    Ok(HttpResponse::NoContent().insert_header((POSITION, position.to_string())).finish())
}

/// Cancels an upload. If it is already verified, deletes its file instead.
pub(crate) async fn cancel_upload(
    gateway: &Gateway,
    context: &Context,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
) -> Result<Position, Problem> {
    match execute(gateway.log.as_ref(), aggregate, loaded, context, Command::Cancel).await {
        Ok(done) => Ok(done.position),
        Err(ExecuteError::Refused(Refusal::UploadCompleted { .. }))
            if matches!(loaded.state.phase, Phase::Verified { .. }) =>
        {
            files::delete_file(gateway, context, aggregate.company, aggregate.upload).await
        }
        Err(error) => Err(error.into_problem("cancelling an upload")),
    }
}
