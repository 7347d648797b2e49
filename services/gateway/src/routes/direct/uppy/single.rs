//! Companion route for small files, which Uppy version 5 sends in one request.

use crate::application::gateway::Gateway;
use crate::routes::direct::uppy::described::Described;
use crate::routes::direct::uppy::quarantined::Asked;
use actix_web::{HttpRequest, HttpResponse, get, web};
use serde_json::Value;
use waybill_api::uppy::{Fields, Nothing, UploadParameters, UppyParams};
use waybill_http_kit::{Principal, Problem, RequestId};

routes!(params);

/// Signs a URL for a small file (Uppy version 5)
#[utoipa::path(
    tag = "uppy",
    operation_id = "uppy_params",
    params(UppyParams),
    responses(
        (status = 200, description = "The presigned request", body = UploadParameters),
        (status = 409, description = "`session_ended`"),
        (status = 413, description = "`file_too_large`, `quota_exceeded`, `metadata_too_large`"),
        (status = 415, description = "`type_refused`"),
        (status = 422, description = "`name_invalid`, `digest_invalid`"),
    ),
)]
#[get("/uppy/s3/params")]
pub(crate) async fn params(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    query: web::Query<Vec<(String, String)>>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::new(gateway, principal, id, request);
    let mut described = Described::default();
    for (name, value) in query.into_inner() {
        match name.as_str() {
            "filename" => described.name = Some(value),
            "type" => described.mime_type = Some(value),
            other => {
                let key = other.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']'));
                described.meta.extend(key.map(|key| (key.to_owned(), Value::String(value))));
            }
        }
    }
    let found = asked.start(&described).await?;
    let signed = asked.sign_object(&found, described.size_bytes()).await?;
    let (upload, key) = (found.aggregate.upload, found.key);
    Ok(HttpResponse::Ok().json(UploadParameters {
        method: signed.method.to_string(),
        url: signed.url,
        headers: Nothing {},
        fields: Fields { key },
        expires: signed.lifetime.as_secs(),
        file_id: upload.0,
    }))
}
