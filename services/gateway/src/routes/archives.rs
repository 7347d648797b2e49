//! Zip archives: `POST /v1/archives` makes one, and `GET` and `HEAD /z/{token}` send it.

use crate::application::archives::make::make_archive;
use crate::application::archives::open::{find, open};
use crate::application::archives::send::send;
use crate::application::gateway::Gateway;
use crate::http::download::{Described, Prepared, prepare, without_bytes};
use crate::http::parameters::{Bytes, MinPosition, RangeHeaders};
use crate::http::response::private;
use actix_web::http::Method;
use actix_web::http::header::LOCATION;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, post, route, web};
use waybill_api::archives::{ArchiveBody, MadeArchive};
use waybill_http_kit::rate_limit::ValidToken;
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_service_kit::now;

routes!(make, download);

const ZIP: &str = "application/zip";

/// Makes a zip archive
///
/// The answer has a URL with which the archive can be downloaded without an `Authorization` header, for 24 hours or until the access of
/// the caller to one of its files ends. Each file counts as downloaded in the audit when the archive is made.
#[utoipa::path(
    tag = "archives",
    operation_id = "make_archive",
    extensions(("x-waybill-points" = json!(10))),
    params(MinPosition),
    request_body = ArchiveBody,
    responses(
        (status = 201, description = "The archive. `Location` is its URL", body = MadeArchive),
        (status = 404, description = "`not_found`: a file, the chatroom, thread or session does not exist for the caller"),
        (status = 409, description = "`file_not_ready`, `file_archived`; with `Retry-After` if it may succeed later"),
        (status = 413, description = "`archive_too_large`"),
        (status = 422, description = "`archive_invalid`, `archive_empty`, `name_invalid`"),
    ),
)]
#[post("/v1/archives")]
pub(crate) async fn make(
    request: HttpRequest,
    principal: Principal,
    body: web::Json<ArchiveBody>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let made = make_archive(&request, &principal, &gateway, body.into_inner()).await?;
    Ok(private(HttpResponse::Created()).insert_header((LOCATION, made.url.clone())).json(made))
}

/// Downloads a zip archive
///
/// The files are not compressed, so that the length is known and ranges are possible: a broken download can be continued.
#[utoipa::path(
    tag = "archives",
    operation_id = "download_archive",
    security(()),
    extensions(("x-waybill-token-in-path" = json!("text"))),
    params(("token" = String, Path), RangeHeaders),
    responses(
        (status = 200, description = "The archive", content_type = "application/zip", body = Bytes),
        (status = 206, description = "The bytes of the range", content_type = "application/zip", body = Bytes),
        (status = 304, description = "The copy of the client is current"),
        (status = 409, description = "`file_archived`"),
        (status = 410, description = "`archive_stale`"),
        (status = 412, description = "`precondition_failed`"),
        (status = 416, description = "`range_unsatisfiable`"),
        (status = 429, description = "`too_many_requests`, `too_many_at_once`"),
    ),
)]
#[route("/z/{token}", method = "GET", method = "HEAD")]
pub(crate) async fn download(
    request: HttpRequest,
    id: RequestId,
    token: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let archive = find(&gateway, &token, now()).await?;
    request.extensions_mut().insert(ValidToken);
    let described = Described {
        size_bytes: archive.layout.size_bytes(),
        etag: archive.etag.clone(),
        other_etag: None,
        varies: false,
        sha256: None,
        mime_type: ZIP,
        name: &archive.manifest.name,
    };
    // The files are checked for each request, so each takes a place.
    let slot = gateway.at_once.download_by_media_url(archive.company, archive.manifest.user, id.address)?;
    let prepared = prepare(&request, &described)?;
    let opened = open(&gateway, archive.clone(), now()).await?;
    match prepared {
        Prepared::Done(answer) => Ok(answer),
        Prepared::Body(answer, range) if request.method() == Method::HEAD => Ok(without_bytes(answer, range.len())),
        Prepared::Body(answer, range) => Ok(send(gateway, opened, answer, range, slot)),
    }
}
