//! `POST /v1/uploads`: checks the description of a file, reserves its space and starts the upload. The other protocols
//! use these steps too.

use crate::application::gateway::Gateway;
use crate::application::idempotency::Idempotency;
use crate::application::uploads::description::check;
use crate::application::uploads::start::{ROUTE, start_now};
use crate::http::parameters::IdempotencyKey;
use crate::http::response::POSITION;
use crate::http::time::rfc3339;
use actix_web::{HttpRequest, HttpResponse, post, web};
use waybill_api::uploads::{FileFacts, Mode, UploadStarted};
use waybill_domain::grid::PartGrid;
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_schema::UploadId;
use waybill_schema::events::{self, UploadKind};

routes!(start);

/// Starts an upload
///
/// Waybill checks the description of the file and reserves its space. The client then sends the bytes.
#[utoipa::path(
    tag = "uploads",
    operation_id = "start_upload",
    params(IdempotencyKey),
    request_body = FileFacts,
    responses(
        (status = 201, description = "The upload is started", body = UploadStarted),
        (status = 409, description = "`session_ended`, `direct_unavailable`"),
        (status = 413, description = "`file_too_large`, `session_too_large`, `quota_exceeded`, `metadata_too_large`, `json_too_large`"),
        (status = 415, description = "`type_refused`, `content_type_refused`"),
        (status = 422, description = "`name_invalid`, `digest_invalid`, `idempotency_key_reused`"),
    ),
)]
#[post("/v1/uploads")]
pub(crate) async fn start(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    body: web::Json<FileFacts>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let facts = body.into_inner();
    if facts.mode == Mode::Direct {
        gateway.check_direct()?;
    }
    let context = gateway.context(&principal, id);
    let started = check(&gateway, &principal, &context, &facts).await?;
    let key = serde_json::to_vec(&facts).map_err(|_| Problem::internal())?;
    let upload = UploadId(gateway.idempotency.id_for(&request, &principal, ROUTE, &key).await?);
    let is_repeatable = Idempotency::is_repeatable(&request);
    let kind = match facts.mode {
        Mode::Gateway => UploadKind::File,
        Mode::Direct => UploadKind::Direct,
    };
    let upload_start = events::UploadStarted { kind, ..started.clone().into() };
    let position = start_now(&gateway, &principal, &context, upload, upload_start, is_repeatable).await?;
    let grid = PartGrid { size_bytes: started.size_bytes, part_size_bytes: started.part_size_bytes };
    Ok(HttpResponse::Created()
        .insert_header((POSITION, position.to_string()))
        .insert_header(("Location", format!("/v1/uploads/{upload}")))
        .json(UploadStarted {
            upload_id: upload.0,
            file_id: upload.0,
            part_size_bytes: grid.part_size_bytes,
            total_chunks: grid.total_parts(),
            expires_at: rfc3339(started.expires_at),
        }))
}
