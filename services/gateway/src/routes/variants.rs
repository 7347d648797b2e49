//! `GET` and `HEAD /v1/files/{id}/variants/{variant}`: previews of a file.

use crate::application::gateway::Gateway;
use crate::application::reads::record_preview;
use crate::application::shown::Found;
use crate::application::variants::{find_variant, send};
use crate::http::download::{includes_etag, without_bytes};
use crate::http::parameters::Bytes;
use crate::http::path::VariantPath;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, get, head, web};
use waybill_http_kit::{Principal, Problem, RequestId};

routes!(get, head);

/// Returns a preview of a file
///
/// A preview is a small picture without metadata of the file: without a place, a camera or a name. It needs the same permission as
/// a download. Clients can keep it and ask with `If-None-Match` whether they may still show it.
#[utoipa::path(
    tag = "files",
    operation_id = "show_variant",
    extensions(("x-waybill-points" = json!(2))),
    params(
        ("id" = Uuid, Path),
        ("variant" = String, Path, description = "`preview-256` or `preview-1024`. The number is the largest length of the longer side in pixels"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of the copy of the client"),
    ),
    responses(
        (status = 200, description = "The picture: `image/jpeg`, or `image/png` if it has transparent pixels", content_type = "image/*", body = Bytes),
        (status = 304, description = "The copy of the client is current"),
        (status = 404, description = "`preview_absent`: the file has no previews, or none yet; `preview` of the file has the reason"),
        (status = 409, description = "`file_not_ready`: the file is not verified yet"),
        (status = 410, description = "`file_deleted`"),
        (status = 429, description = "`too_many_requests`, `too_many_at_once`: try again after `Retry-After`"),
    ),
)]
#[get("/v1/files/{id}/variants/{variant}")]
pub(crate) async fn get(
    request: HttpRequest,
    principal: Principal,
    path: VariantPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let found = find_variant(&request, &principal, path, &gateway).await?;
    if is_current(&request, &found) {
        return Ok(described(StatusCode::NOT_MODIFIED, &found).finish());
    }
    let slot = gateway.at_once.download(&principal)?;
    record_preview(&gateway, &principal, RequestId::of(&request), path.file).await?;
    send(&gateway, &found, described(StatusCode::OK, &found), slot).await
}

/// Returns the headers of a preview
#[utoipa::path(
    tag = "files",
    operation_id = "look_at_variant",
    params(
        ("id" = Uuid, Path),
        ("variant" = String, Path, description = "`preview-256` or `preview-1024`"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of the copy of the client"),
    ),
    responses(
        (status = 200, description = "The headers of a GET"),
        (status = 304, description = "The copy of the client is current"),
        (status = 404, description = "`preview_absent`: the file has no previews, or none yet"),
        (status = 409, description = "`file_not_ready`: the file is not verified yet"),
        (status = 410, description = "`file_deleted`"),
    ),
)]
#[head("/v1/files/{id}/variants/{variant}")]
pub(crate) async fn head(
    request: HttpRequest,
    principal: Principal,
    path: VariantPath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let found = find_variant(&request, &principal, path, &gateway).await?;
    let status = if is_current(&request, &found) { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    Ok(without_bytes(described(status, &found), found.size_bytes))
}

/// Returns `true` if the client has the preview already.
pub(in crate::routes) fn is_current(request: &HttpRequest, found: &Found) -> bool {
    let value = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| includes_etag(value, &found.etag))
}

/// Starts a response with the headers of a preview.
pub(in crate::routes) fn described(status: StatusCode, found: &Found) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((ETAG, found.etag.as_str()))
        .insert_header((CONTENT_TYPE, found.mime_type.as_str()))
        .insert_header((CONTENT_DISPOSITION, "inline"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        // A copy may be shown again only after the access was checked.
        .insert_header((CACHE_CONTROL, "private, no-cache"));
    answer
}
