//! `/v1/files`: listing, one file, renaming, deleting, restoring.

use crate::gateway::Gateway;
use crate::position::POSITION;
use crate::problems::IntoProblem;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
use waybill_domain::file::Command;
use waybill_domain::upload::Phase;
use waybill_read_model::queries::{File, FileFilter, PageKey, find_file, list_files};
use waybill_repository::{Context, FileAggregate, Loaded, UploadAggregate, execute, load};
use waybill_schema::{ChatroomId, CompanyId, FileId, Position, ThreadId};
use waybill_service_kit::{Principal, Problem, RequestId, Role};

const PAGE_DEFAULT: u16 = 50;
const PAGE_MAX: u16 = 200;

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    chatroom_id: Option<Uuid>,
    thread_id: Option<Uuid>,
    status: Option<String>,
    cursor: Option<String>,
    limit: Option<u16>,
}

#[derive(Serialize, Deserialize)]
struct Place {
    created_at: DateTime<Utc>,
    id: Uuid,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rename {
    display_name: String,
}

pub(crate) async fn list(
    request: HttpRequest,
    principal: Principal,
    query: web::Query<ListQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let status = query.status.as_deref().unwrap_or("COMPLETED");
    if !["PENDING", "PROCESSING", "COMPLETED", "FAILED"].contains(&status) {
        return Err(Problem::bad_request("query_invalid", "status is PENDING, PROCESSING, COMPLETED or FAILED"));
    }
    let limit = query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let after: Option<Place> =
        query.cursor.as_deref().map(|cursor| gateway.cursors.read(principal.company_id, cursor)).transpose()?;
    let filter = FileFilter {
        uploaded_by: (!sees_all(&principal)).then_some(principal.user_id),
        chatroom_id: query.chatroom_id.map(ChatroomId),
        thread_id: query.thread_id.map(ThreadId),
        processing_status: Some(status.to_owned()),
    };
    let mut connection = gateway.positions.connection(&request, None).await?;
    let after = after.map(|place| PageKey { created_at: place.created_at, id: place.id });
    // One more than asked for tells whether there is a next page.
    let mut files = list_files(&mut connection, principal.company_id, &filter, after, i64::from(limit) + 1)
        .await
        .map_err(|error| error.into_problem("listing files"))?;
    let more = files.len() > usize::from(limit);
    files.truncate(usize::from(limit));
    let next_cursor = files.last().filter(|_| more).and_then(|last| {
        gateway.cursors.sign(principal.company_id, &Place { created_at: last.created_at, id: last.id })
    });
    let items: Vec<File> = files.into_iter().map(with_url).collect();
    Ok(private(HttpResponse::Ok()).json(json!({ "items": items, "next_cursor": next_cursor })))
}

pub(crate) async fn show(
    request: HttpRequest,
    principal: Principal,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let file = find(&request, &principal, &path, &gateway).await?;
    Ok(private(HttpResponse::Ok()).json(with_url(file)))
}

/// The file, if the principal may see it.
pub(crate) async fn find(
    request: &HttpRequest,
    principal: &Principal,
    id: &str,
    gateway: &Gateway,
) -> Result<File, Problem> {
    let id: FileId = id.parse().map_err(|_| Problem::not_found("file"))?;
    let mut file = find_at(request, principal, id, gateway, None).await?;
    if file.as_ref().is_none_or(|file| !file.is_processed) {
        // A file that was verified a moment ago is there, even for a client that sends no position.
        let position = verified_at(principal, id, gateway).await;
        if position.is_some() {
            file = find_at(request, principal, id, gateway, position).await?;
        }
    }
    file.filter(|file| file.uploaded_by == principal.user_id.0 || sees_all(principal))
        .ok_or_else(|| Problem::not_found("file"))
}

async fn find_at(
    request: &HttpRequest,
    principal: &Principal,
    id: FileId,
    gateway: &Gateway,
    position: Option<Position>,
) -> Result<Option<File>, Problem> {
    let mut connection = gateway.positions.connection(request, position).await?;
    let found = find_file(&mut connection, principal.company_id, id).await;
    found.map_err(|error| error.into_problem("finding a file"))
}

/// Where in the log the file was verified, if it was. A log that does not say leaves it at what the tables say.
async fn verified_at(principal: &Principal, id: FileId, gateway: &Gateway) -> Option<Position> {
    let aggregate = UploadAggregate { company: principal.company_id, upload: id };
    let loaded = load(gateway.log.as_ref(), &aggregate).await.ok()?;
    let partition = gateway.log.partitions().of(principal.company_id);
    let verified = matches!(loaded.state.phase, Phase::Verified { .. });
    verified.then_some(Position { partition, seq: loaded.last_seq })
}

fn sees_all(principal: &Principal) -> bool {
    principal.roles.contains(&Role::Admin)
}

/// The column is NULL: where a file is to be had is said in answers.
fn with_url(file: File) -> File {
    let readable = file.is_processed && file.deleted_at.is_none();
    let download_url = readable.then(|| format!("/v1/files/{}/content", file.id));
    File { download_url, ..file }
}

fn private(mut answer: actix_web::HttpResponseBuilder) -> actix_web::HttpResponseBuilder {
    answer.insert_header(("Cache-Control", "private, no-store"));
    answer
}

pub(crate) async fn rename(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    body: web::Json<Rename>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    change(&gateway, &principal, id, &path, Command::Rename(body.into_inner().display_name)).await
}

pub(crate) async fn delete(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    change(&gateway, &principal, id, &path, Command::Delete).await
}

pub(crate) async fn restore(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    change(&gateway, &principal, id, &path, Command::Restore).await
}

async fn change(
    gateway: &Gateway,
    principal: &Principal,
    id: RequestId,
    path: &str,
    command: Command,
) -> Result<HttpResponse, Problem> {
    let file: FileId = path.parse().map_err(|_| Problem::not_found("file"))?;
    let found = gateway.upload(principal, file).await.map_err(|problem| match problem.status {
        404 => Problem::not_found("file"),
        _ => problem,
    })?;
    if !matches!(found.1.state.phase, Phase::Verified { .. }) {
        return Err(Problem::not_found("file"));
    }
    let context = gateway.context(principal, id);
    let position = run(gateway, &context, principal.company_id, file, command).await?;
    Ok(HttpResponse::NoContent().insert_header((POSITION, position.to_string())).finish())
}

async fn run(
    gateway: &Gateway,
    context: &Context,
    company: CompanyId,
    file: FileId,
    command: Command,
) -> Result<Position, Problem> {
    let aggregate = FileAggregate { company, file };
    execute(gateway.log.as_ref(), &aggregate, &mut Loaded::default(), context, command)
        .await
        .map(|done| done.position)
        .map_err(|error| error.into_problem("changing a file"))
}

/// Deletes a verified file softly.
pub(crate) async fn delete_file(
    gateway: &Gateway,
    context: &Context,
    company: CompanyId,
    file: FileId,
) -> Result<Position, Problem> {
    run(gateway, context, company, file, Command::Delete).await
}
