//! `GET` and `HEAD /v1/files/{id}/content`: the bytes of a file, with ranges and conditions (RFC 9110 §13, §14). They
//! are sent as an attachment, so that browsers do not run them.

use crate::application::access::viewer;
use crate::application::content::{Source, compressed_length, send_compressed, send_noted};
use crate::application::files::find::find;
use crate::application::gateway::Gateway;
use crate::application::plain::form_for;
use crate::application::reads::record_download;
use crate::http::download::{
    Described, Prepared, check_readable, check_restored, prepare, prepare_compressed, without_bytes,
};
use crate::http::parameters::{Bytes, RangeHeaders};
use crate::http::path::FilePath;
use actix_web::{HttpRequest, HttpResponse, get, head, web};
use waybill_access::{Credential, Transfer};
use waybill_domain::access::Operation;
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_schema::FileId;

routes!(get, head);

/// Downloads a file
#[utoipa::path(
    tag = "files",
    operation_id = "download_file",
    extensions(("x-waybill-points" = json!(2))),
    params(("id" = Uuid, Path), RangeHeaders),
    responses(
        (status = 200, description = "All bytes of the file. If the store has them compressed and the client accepts `zstd`, they have this content coding, and an `ETag` of their own", content_type = "*/*", body = Bytes),
        (status = 206, description = "The bytes of the range", content_type = "*/*", body = Bytes),
        (status = 304, description = "The copy of the client is current"),
        (status = 409, description = "`file_not_ready`: the file is not verified yet, or its metadata is not removed yet; `file_archived`: it must be restored first"),
        (status = 410, description = "`file_deleted`"),
        (status = 412, description = "`precondition_failed`"),
        (status = 416, description = "`range_unsatisfiable`"),
        (status = 429, description = "`too_many_requests`, `too_many_at_once`: try again after `Retry-After`"),
    ),
)]
#[get("/v1/files/{id}/content")]
pub(crate) async fn get(
    request: HttpRequest,
    principal: Principal,
    FilePath(id): FilePath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    answer(&request, &principal, id, &gateway).await
}

/// Answers a GET for the content of the file with this id.
pub(crate) async fn answer(
    request: &HttpRequest,
    principal: &Principal,
    id: FileId,
    gateway: &Gateway,
) -> Result<HttpResponse, Problem> {
    let company = principal.company_id;
    let seen = gateway.access.followed(company);
    let (file, facts) = find(request, principal, id, gateway, Operation::Download).await?;
    check_readable(&file)?;
    check_restored(&file)?;
    let plain = form_for(gateway, &file, &facts, Some(viewer(principal))).await?;
    let shown = plain.as_ref().map_or(&file, |plain| &plain.described);
    let credential = Credential::Bearer { issued_at: principal.issued_at };
    let transfer = Transfer::new(gateway.access.clone(), company, viewer(principal), credential, facts, seen);
    if let Some(answer) = prepare_compressed(request, shown) {
        let slot = gateway.at_once.download(principal)?;
        record_download(gateway, principal, RequestId::of(request), id).await?;
        return send_compressed(gateway, &file, answer, slot, transfer).await;
    }
    match prepare(request, &Described::file(shown))? {
        Prepared::Done(answer) => Ok(answer),
        Prepared::Body(answer, range) => {
            let slot = gateway.at_once.download(principal)?;
            record_download(gateway, principal, RequestId::of(request), id).await?;
            let source = Source { file: &file, form: plain.as_ref().map(|plain| &plain.form) };
            send_noted(gateway, source, answer, range, None, slot, transfer).await
        }
    }
}

/// Returns the headers of a download without the bytes
#[utoipa::path(
    tag = "files",
    operation_id = "look_at_content",
    params(("id" = Uuid, Path), RangeHeaders),
    responses(
        (status = 200, description = "The headers of a GET for all bytes"),
        (status = 206, description = "The headers of a GET for the range"),
        (status = 304, description = "The copy of the client is current"),
        (status = 409, description = "`file_not_ready`: the file is not verified yet, or its metadata is not removed yet; `file_archived`: it must be restored first"),
        (status = 410, description = "`file_deleted`"),
        (status = 412, description = "`precondition_failed`"),
        (status = 416, description = "`range_unsatisfiable`"),
    ),
)]
#[head("/v1/files/{id}/content")]
pub(crate) async fn head(
    request: HttpRequest,
    principal: Principal,
    FilePath(id): FilePath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (file, facts) = find(&request, &principal, id, &gateway, Operation::Download).await?;
    check_readable(&file)?;
    check_restored(&file)?;
    let plain = form_for(&gateway, &file, &facts, Some(viewer(&principal))).await?;
    let file = plain.map_or(file, |plain| plain.described);
    if let Some(answer) = prepare_compressed(&request, &file) {
        return Ok(without_bytes(answer, compressed_length(&gateway, &file).await?));
    }
    Ok(match prepare(&request, &Described::file(&file))? {
        Prepared::Done(answer) => answer,
        Prepared::Body(answer, range) => without_bytes(answer, range.len()),
    })
}
