//! The routes of a Companion for multipart uploads (version 5).

use super::Nothing;
use super::described::Described;
use super::quarantined::{Asked, Quarantined};
use crate::gateway::Gateway;
use crate::json;
use crate::metadata::Metadata;
use crate::problems::{IntoProblem, refused, rejected};
use crate::uploads::cancel_upload;
use crate::wait;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::upload::Phase;
use waybill_object_store::{CompletedPart, ListedPart};
use waybill_service_kit::{Principal, Problem, RequestId};

/// The largest list of parts: S3 has 10,000, and each takes less than 128 bytes.
const COMPLETION_MAX_BYTES: usize = 10_000 * 128;

/// A multipart upload that was begun.
#[derive(Serialize, ToSchema)]
#[schema(as = UppyCreated)]
struct Created {
    #[serde(rename = "uploadId")]
    upload_id: String,
    key: String,
    bucket: String,
    file_id: Uuid,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UppySignedPart)]
struct SignedPart {
    url: String,
    /// Seconds.
    expires: u64,
}

#[derive(Serialize, ToSchema)]
struct UppyPart {
    #[serde(rename = "PartNumber")]
    part_number: u32,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "Size")]
    size: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UppyCompleted)]
struct Completed {
    location: String,
    key: String,
    bucket: String,
    file_id: Uuid,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = UppyCreate)]
pub(crate) struct Create {
    filename: Option<String>,
    #[serde(rename = "type")]
    mime_type: Option<String>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeyQuery {
    key: String,
}

/// Version 5: begins a multipart upload.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_create",
    request_body = Create,
    responses(
        (status = 200, description = "Begun", body = Created),
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
    let upload_id =
        store.create_multipart(&key, None).await.map_err(|e| e.into_problem("opening a multipart upload"))?;
    Ok(HttpResponse::Ok().json(Created { upload_id, key, bucket: store.bucket().to_owned(), file_id }))
}

/// Version 5: a URL for a part.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_sign_part",
    params(("upload_id" = String, Path, description = "The store's"), ("part_number" = u32, Path), KeyQuery),
    responses(
        (status = 200, description = "A URL", body = SignedPart),
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
    Ok(HttpResponse::Ok().json(SignedPart { url: signed.url, expires: asked.gateway.upload_url_lifetime.as_secs() }))
}

/// Version 5: what is there already.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_list_parts",
    params(("upload_id" = String, Path, description = "The store's"), KeyQuery),
    responses(
        (status = 200, description = "What is there already", body = Vec<UppyPart>),
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

#[derive(Deserialize, ToSchema)]
#[schema(as = UppyCompletion)]
pub(crate) struct Completion {
    parts: Vec<CompletionPart>,
}

#[derive(Deserialize, ToSchema)]
struct CompletionPart {
    #[serde(rename = "PartNumber")]
    part_number: u32,
    #[serde(rename = "ETag")]
    etag: String,
}

/// Version 5: makes the object of its parts, and waits a while until it is verified.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_complete",
    params(("upload_id" = String, Path, description = "The store's"), KeyQuery),
    request_body = Completion,
    responses(
        (status = 200, description = "Verified", body = Completed),
        (status = 202, description = "The object is made, and is being verified", body = Completed),
        (status = 400, description = "`parts_invalid`: no parts, or not in their order"),
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
    wait::until_ended(&asked.gateway, &found.aggregate, &mut found.loaded, wait::FOR_VERIFICATION).await?;
    let phase = &found.loaded.state.phase;
    rejected(phase)?;
    let mut answer = match phase {
        Phase::Verified { .. } => HttpResponse::Ok(),
        Phase::Cancelled => return Err(refused(&Refusal::UploadEnded { status: "cancelled" })),
        Phase::Expired => return Err(refused(&Refusal::UploadEnded { status: "expired" })),
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

/// Version 5: no more of it.
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_abort",
    params(("upload_id" = String, Path, description = "The store's"), KeyQuery),
    responses(
        (status = 200, description = "Cancelled", body = Nothing),
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
