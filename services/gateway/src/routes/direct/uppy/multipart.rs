//! Companion routes for multipart uploads (Uppy version 5).

use crate::application::completion_wait::FOR_VERIFICATION;
use crate::application::completion_wait::until_ended;
use crate::application::gateway::Gateway;
use crate::application::uploads::end::cancel_upload;
use crate::http::json;
use crate::http::problems::{OrProblem, rejected};
use crate::routes::direct::uppy::described::Described;
use crate::routes::direct::uppy::quarantined::{Asked, Quarantined};
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use waybill_api::Metadata;
use waybill_api::uppy::{
    Completed, Completion, CompletionPart, Create, Created, KeyQuery, Nothing, SignedPart, UppyPart,
};
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_domain::upload::Phase;
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_object_store::{CompletedPart, ListedPart};

routes!(create, list, abort, complete, sign_part);

/// Maximum size of a list of parts. S3 allows 10,000 parts, and each takes less than 128 bytes of JSON.
const COMPLETION_MAX_BYTES: usize = 10_000 * 128;

/// Begins a multipart upload (Uppy version 5)
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_create",
    request_body = Create,
    responses(
        (status = 200, description = "The multipart upload is open", body = Created),
        (status = 409, description = "`session_ended`"),
        (status = 413, description = "`file_too_large`, `quota_exceeded`, `metadata_too_large`, `json_too_large`"),
        (status = 415, description = "`type_refused`, `content_type_refused`"),
        (status = 422, description = "`name_invalid`, `digest_invalid`"),
    ),
)]
#[post("/uppy/s3/multipart")]
pub(crate) async fn create(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    body: web::Json<Create>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let Create { filename, mime_type, metadata } = body.into_inner();
    let meta = metadata.as_ref().map(Metadata::members).unwrap_or_default();
    let described = Described { name: filename, mime_type, meta, sent: metadata };
    let Quarantined { aggregate, key, .. } = asked.start(&described).await?;
    let (store, file_id) = (&asked.gateway.store, aggregate.upload.0);
    let upload_id = store.create_multipart(&key, None).await.or_problem("opening a multipart upload")?;
    Ok(HttpResponse::Ok().json(Created { upload_id, key, bucket: store.bucket().to_owned(), file_id }))
}

/// Signs a URL for a part (Uppy version 5)
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_sign_part",
    extensions(("x-waybill-points" = json!(2))),
    params(("upload_id" = String, Path, description = "Upload id of the object store"), ("part_number" = u32, Path, description = "1 to 10,000"), KeyQuery),
    responses(
        (status = 200, description = "The presigned URL", body = SignedPart),
        (status = 409, description = "`upload_completed`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`size_exceeded`"),
    ),
)]
#[get("/uppy/s3/multipart/{upload_id}/{part_number}")]
pub(crate) async fn sign_part(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    path: web::Path<(String, u32)>,
    query: web::Query<KeyQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let mut found = asked.find(&query.key).await?;
    let (upload_id, part_number) = path.into_inner();
    let signed = asked.sign_part(&mut found, &upload_id, part_number).await?;
    Ok(HttpResponse::Ok().json(SignedPart { url: signed.url, expires: signed.lifetime.as_secs() }))
}

/// Lists the stored parts of a multipart upload (Uppy version 5)
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_list_parts",
    extensions(("x-waybill-points" = json!(2))),
    params(("upload_id" = String, Path, description = "Upload id of the object store"), KeyQuery),
    responses(
        (status = 200, description = "The parts that the object store has", body = Vec<UppyPart>),
        (status = 409, description = "`upload_completed`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`size_exceeded`"),
    ),
)]
#[get("/uppy/s3/multipart/{upload_id}")]
pub(crate) async fn list(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    query: web::Query<KeyQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let mut found = asked.find(&query.key).await?;
    let parts = asked.check_room(&mut found, &path).await?;
    let part = |part: ListedPart| UppyPart { part_number: part.part_number, etag: part.etag, size: part.size_bytes };
    let parts: Vec<UppyPart> = parts.into_iter().map(part).collect();
    Ok(HttpResponse::Ok().json(parts))
}

/// Completes a multipart upload (Uppy version 5)
///
/// Joins the parts to an object and waits for its verification for a limited time.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_complete",
    params(("upload_id" = String, Path, description = "Upload id of the object store"), KeyQuery),
    request_body = Completion,
    responses(
        (status = 200, description = "The file is verified", body = Completed),
        (status = 202, description = "The object is stored, and its verification is not finished", body = Completed),
        (status = 400, description = "`parts_invalid`: the list has no parts, or they are not in ascending order"),
        (status = 409, description = "`upload_completed`, `part_missing`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`size_exceeded`, `quota_exceeded`, `json_too_large`"),
        (status = 415, description = "`content_type_refused`"),
        (status = 422, description = "`digest_mismatch`, `type_refused`"),
    ),
)]
#[post("/uppy/s3/multipart/{upload_id}/complete")]
pub(crate) async fn complete(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    query: web::Query<KeyQuery>,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let completion: Completion = json::read(&request, payload, COMPLETION_MAX_BYTES).await?;
    let asked = Asked::new(gateway, principal, id, request);
    let mut found = asked.find_any(&query.key).await?;
    let part = |part: CompletionPart| CompletedPart { part_number: part.part_number, etag: part.etag, crc: None };
    let parts: Vec<CompletedPart> = completion.parts.into_iter().map(part).collect();
    if !matches!(found.loaded.state.phase, Phase::Verifying | Phase::Verified { .. } | Phase::Rejected { .. }) {
        asked.make_object(&mut found, &path, &parts).await?;
    }
    let store = &asked.gateway.store;
    until_ended(&asked.gateway, &found.aggregate, &mut found.loaded, FOR_VERIFICATION).await?;
    let phase = &found.loaded.state.phase;
    rejected(phase)?;
    let mut answer = match phase {
        Phase::Verified { .. } => HttpResponse::Ok(),
        Phase::Cancelled => return Err(refused(Refusal::UploadEnded { status: "cancelled" })),
        Phase::Expired => return Err(refused(Refusal::UploadEnded { status: "expired" })),
        _ => HttpResponse::Accepted(),
    };
    let upload = found.aggregate.upload;
    Ok(answer.json(Completed {
        location: format!("/v1/files/{upload}/content"),
        key: found.key,
        bucket: store.bucket().to_owned(),
        file_id: upload.0,
    }))
}

/// Cancels a multipart upload (Uppy version 5)
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_abort",
    params(("upload_id" = String, Path, description = "Upload id of the object store"), KeyQuery),
    responses(
        (status = 200, description = "The upload is cancelled", body = Nothing),
        (status = 409, description = "`upload_completed`"),
        (status = 410, description = "`upload_ended`"),
    ),
)]
#[delete("/uppy/s3/multipart/{upload_id}")]
pub(crate) async fn abort(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    query: web::Query<KeyQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let mut found = asked.find(&query.key).await?;
    cancel_upload(&asked.gateway, &asked.context, &found.aggregate, &mut found.loaded).await?;
    Ok(HttpResponse::Ok().json(Nothing {}))
}
