//! Routes that change a file: rename it, set its metadata or labels, delete or restore it.

use crate::application::access::{denied, viewer};
use crate::application::administration::Administration;
use crate::application::files::change::{run, verified};
use crate::application::files::find::{facts_of, find};
use crate::application::gateway::Gateway;
use crate::http::download::check_readable;
use crate::http::metadata::text_of;
use crate::http::parameters::CompanyPath;
use crate::http::path::FilePath;
use crate::http::problems::OrProblem;
use crate::http::response::POSITION;
use actix_web::{HttpRequest, HttpResponse, delete, patch, post, web};
use waybill_api::files::{Change, DeleteQuery};
use waybill_data_plane::refused;
use waybill_domain::access::Operation;
use waybill_domain::file::Command;
use waybill_domain::label;
use waybill_http_kit::{Principal, Problem, RequestId, Role};
use waybill_repository::FileAggregate;
use waybill_schema::ErrorCode;
use waybill_schema::{FileId, StorageTier, Timestamp};
use waybill_service_kit::now;

routes!(patch, delete, restore, release, thaw, delete_by_host);

/// Renames a file, or sets its metadata or labels
#[utoipa::path(
    tag = "files",
    operation_id = "change_file",
    params(("id" = Uuid, Path)),
    request_body = Change,
    responses(
        (status = 204, description = "The file is changed"),
        (status = 409, description = "`file_deleted`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`metadata_too_large`, `json_too_large`"),
        (status = 415, description = "`type_refused`: the name has the extension of a dangerous type"),
        (status = 422, description = "`name_invalid`, `labels_invalid`"),
    ),
)]
#[patch("/v1/files/{id}")]
pub(crate) async fn patch(
    principal: Principal,
    id: RequestId,
    FilePath(file): FilePath,
    body: web::Json<Change>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let Change { display_name, metadata, labels } = body.into_inner();
    let metadata = metadata.map(|metadata| metadata.as_ref().map(text_of).transpose()).transpose()?;
    if let Some(name) = &display_name {
        let types = gateway.types(principal.company_id).await?;
        types.check_name(name).map_err(refused)?;
    }
    let labels = labels.map(Option::unwrap_or_default);
    if let Some(labels) = &labels {
        label::check(labels).map_err(refused)?;
    }
    let commands = display_name.map(Command::Rename).into_iter();
    let commands = commands.chain(metadata.map(Command::SetMetadata)).chain(labels.map(Command::SetLabels));
    let commands: Vec<Command> = commands.collect();
    if commands.is_empty() {
        return Err(Problem::bad_request(
            ErrorCode::JsonInvalid,
            "send display_name, metadata, labels or several of them",
        ));
    }
    change(&gateway, &principal, id, file, commands).await
}

/// Returns the commands that delete a file and, if the client wants it, purge the file.
fn deletion(query: &DeleteQuery) -> Vec<Command> {
    let purge = query.purge.then_some(Command::Purge { deleted_until: Timestamp(i64::MAX) });
    std::iter::once(Command::Delete).chain(purge).collect()
}

/// Deletes a file
///
/// The file can be restored until it is purged. `purge` requires the role `admin`.
#[utoipa::path(
    tag = "files",
    operation_id = "delete_file",
    params(("id" = Uuid, Path), DeleteQuery),
    responses(
        (status = 204, description = "The file is deleted or, with `purge`, purged"),
        (status = 409, description = "`file_not_deleted`, `file_deleted`"),
        (status = 410, description = "`upload_ended`"),
    ),
)]
#[delete("/v1/files/{id}")]
pub(crate) async fn delete(
    principal: Principal,
    id: RequestId,
    FilePath(file): FilePath,
    query: web::Query<DeleteQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    if query.purge {
        principal.require(Role::Admin, "admin")?;
    }
    change(&gateway, &principal, id, file, deletion(&query)).await
}

/// Deletes a file on behalf of the host product
#[utoipa::path(
    tag = "directory",
    operation_id = "delete_file_by_host",
    params(CompanyPath, ("id" = Uuid, Path), DeleteQuery),
    responses(
        (status = 204, description = "The file is deleted or, with `purge`, purged"),
        (status = 409, description = "`file_not_deleted`, `file_deleted`"),
        (status = 410, description = "`upload_ended`"),
    ),
)]
#[delete("/v1/admin/companies/{company}/files/{id}")]
pub(crate) async fn delete_by_host(
    by: Administration,
    FilePath(file): FilePath,
    query: web::Query<DeleteQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    verified(&gateway, by.company, file).await?;
    let mut answer = HttpResponse::NoContent();
    for command in deletion(&query) {
        let position = run(&gateway, &by.context, by.company, file, command).await?;
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.finish())
}

/// Restores a deleted file
#[utoipa::path(
    tag = "files",
    operation_id = "restore_file",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "The file is restored"),
        (status = 409, description = "`file_deleted`"),
        (status = 410, description = "`upload_ended`: the file was purged"),
    ),
)]
#[post("/v1/files/{id}/restore")]
pub(crate) async fn restore(
    principal: Principal,
    id: RequestId,
    FilePath(file): FilePath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    change(&gateway, &principal, id, file, vec![Command::Restore]).await
}

/// Releases a file that cannot be read because of its virus scan
///
/// Requires the role `admin`. A later scan that finds something else keeps the file from being read again.
#[utoipa::path(
    tag = "files",
    operation_id = "release_file",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "The file is released"),
        (status = 409, description = "`file_not_quarantined`, `file_deleted`"),
        (status = 410, description = "`upload_ended`"),
    ),
)]
#[post("/v1/files/{id}/release")]
pub(crate) async fn release(
    principal: Principal,
    id: RequestId,
    FilePath(file): FilePath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    principal.require(Role::Admin, "admin")?;
    change(&gateway, &principal, id, file, vec![Command::Release]).await
}

/// Asks that an archived file is restored
///
/// Everybody who can see the file may ask, also if it must be scanned for viruses before it can be read. The event `FileThawed` tells when the file can be downloaded, which takes from
/// seconds to two days, depending on the storage class.
#[utoipa::path(
    tag = "files",
    operation_id = "thaw_file",
    params(("id" = Uuid, Path)),
    responses(
        (status = 202, description = "The file will be restored"),
        (status = 204, description = "The file is not archived"),
        (status = 409, description = "`file_not_ready`: the file is not verified yet"),
        (status = 410, description = "`file_deleted`"),
    ),
)]
#[post("/v1/files/{id}/thaw")]
pub(crate) async fn thaw(
    request: HttpRequest,
    principal: Principal,
    id: RequestId,
    FilePath(file): FilePath,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (found, _) = find(&request, &principal, file, &gateway, Operation::View).await?;
    check_readable(&found)?;
    let context = gateway.context(&principal, id);
    let aggregate = FileAggregate { company: principal.company_id, file };
    let done = gateway.repository.execute(&aggregate, Command::RequestRestore, &context).await;
    let position = done.or_problem("asking for an archived file")?.position;
    let state = gateway.repository.load(&aggregate).await.or_problem("loading a file")?.state;
    if !state.is_restore_requested && found.storage_tier != StorageTier::Hot.as_str() {
        return Err(Problem::unavailable("the file is being moved at the moment; try again"));
    }
    let mut answer = if state.is_restore_requested { HttpResponse::Accepted() } else { HttpResponse::NoContent() };
    Ok(answer.insert_header((POSITION, position.to_string())).finish())
}

/// Executes the commands if the principal can change the file, and answers 204.
async fn change(
    gateway: &Gateway,
    principal: &Principal,
    id: RequestId,
    file: FileId,
    commands: Vec<Command>,
) -> Result<HttpResponse, Problem> {
    let started = verified(gateway, principal.company_id, file).await?;
    let asks = viewer(principal);
    if started.uploaded_by != asks.user_id && !asks.is_admin {
        // Users who can see the file get 403, all others 404.
        let mut reading = gateway.positions.reading_primary();
        let facts = facts_of(gateway, &mut reading, principal, std::iter::once(file)).await?.remove(&file);
        let facts = facts.ok_or_else(|| Problem::not_found("file"))?;
        facts.check(asks, Operation::Change, now()).map_err(|why| denied(why, "file"))?;
    }
    let context = gateway.context(principal, id);
    let mut position = None;
    for command in commands {
        position = Some(run(gateway, &context, principal.company_id, file, command).await?);
    }
    let mut answer = HttpResponse::NoContent();
    if let Some(position) = position {
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.finish())
}
