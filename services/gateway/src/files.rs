//! `/v1/files`: listing, one file, renaming, deleting, restoring.

use crate::api::{CompanyPath, MinPosition};
use crate::directory::administer;
use crate::gateway::{Gateway, denied, viewer};
use crate::metadata::Metadata;
use crate::position::POSITION;
use crate::problems::{IntoProblem, refused};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use waybill_access::{Known, Wanted};
use waybill_domain::access::{FileFacts, Operation};
use waybill_domain::file::Command;
use waybill_domain::media_type;
use waybill_domain::upload::Phase;
use waybill_read_model::queries::{
    Association, File, FileFilter, PageKey, SharedFile, SharedKey, find_file, list_files, list_shared,
};
use waybill_repository::{Context, FileAggregate, LifecycleAggregate, Loaded, UploadAggregate, execute, load};
use waybill_schema::events::UploadStartedV1;
use waybill_schema::{ChatroomId, CompanyId, FileId, Place, Position, ShareId, ThreadId, Timestamp, UploadId};
use waybill_service_kit::{Principal, Problem, RequestId, Role, now};

const PAGE_DEFAULT: u16 = 50;
const PAGE_MAX: u16 = 200;
/// The longest text that is searched for, in bytes.
const SEARCH_MAX_BYTES: usize = 255;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    #[param(value_type = Option<Uuid>)]
    chatroom_id: Option<ChatroomId>,
    #[param(value_type = Option<Uuid>)]
    thread_id: Option<ThreadId>,
    /// COMPLETED where it is left out.
    #[param(inline)]
    status: Option<ProcessingStatus>,
    /// A piece of the name.
    name: Option<String>,
    /// A type, or the beginning of one and `*`.
    mime_type: Option<String>,
    #[serde(default)]
    #[param(inline, required = false)]
    view: View,
    cursor: Option<String>,
    limit: Option<u16>,
}

/// How much of each file is wanted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum View {
    /// What a list shows.
    List,
    /// Everything.
    #[default]
    Full,
}

/// How far a file is.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ProcessingStatus {
    Pending,
    Processing,
    #[default]
    Completed,
    Failed,
}

impl ProcessingStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Processing => "PROCESSING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

/// Where the next page begins. Cursors of one list are none of another.
#[derive(Serialize, Deserialize)]
enum Cursor {
    Own { created_at: DateTime<Utc>, id: Uuid },
    Shared { place: Place, is_pinned: bool, created_at: DateTime<Utc>, id: Uuid },
}

/// At least one of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    display_name: Option<String>,
    /// `null` takes them away.
    #[serde(default, deserialize_with = "crate::json::present")]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Option<Metadata>>,
}

/// A file in a list.
#[derive(Serialize, ToSchema)]
struct Item {
    #[serde(flatten)]
    file: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    association: Option<Association>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Shown {
    Full(Box<File>),
    List(Listed),
}

/// What a list shows of a file.
#[derive(Serialize, ToSchema)]
struct Listed {
    id: Uuid,
    name: String,
    mime_type: String,
    size_bytes: i64,
    uploaded_by: Uuid,
    processing_status: String,
    created_at: DateTime<Utc>,
}

/// A page of files.
#[derive(Serialize, ToSchema)]
struct FilePage {
    items: Vec<Item>,
    /// `null` on the last page.
    next_cursor: Option<String>,
}

impl View {
    fn of(self, file: File, association: Option<Association>) -> Item {
        let file = match self {
            Self::Full => Shown::Full(Box::new(with_url(file))),
            Self::List => Shown::List(Listed {
                id: file.id,
                name: file.display_name.unwrap_or(file.original_name),
                mime_type: shown_type(file.mime_type),
                size_bytes: file.size_bytes,
                uploaded_by: file.uploaded_by,
                processing_status: file.processing_status,
                created_at: file.created_at,
            }),
        };
        Item { file, association }
    }
}

#[utoipa::path(
    tag = "files",
    operation_id = "list_files",
    params(ListQuery, MinPosition),
    responses(
        (status = 200, description = "A page, newest first, in a chatroom or thread pinned ones before", body = FilePage),
        (status = 404, description = "`not_found`: no such chatroom or thread"),
    ),
)]
#[get("/v1/files")]
pub(crate) async fn list(
    request: HttpRequest,
    principal: Principal,
    query: web::Query<ListQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
    let searched = [&query.name, &query.mime_type];
    if searched.into_iter().flatten().any(|text| text.len() > SEARCH_MAX_BYTES || text.contains('\0')) {
        return Err(Problem::bad_request("query_invalid", "name and mime_type have at most 255 bytes"));
    }
    let place = match (query.chatroom_id, query.thread_id) {
        (None, None) => None,
        (Some(chatroom), None) => Some(Place::Chatroom(chatroom)),
        (None, Some(thread)) => Some(Place::Thread(thread)),
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request("query_invalid", "ask for a chatroom or for a thread, not for both"));
        }
    };
    let limit = usize::from(query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX));
    let after: Option<Cursor> =
        query.cursor.as_deref().map(|cursor| gateway.cursors.read(principal.company_id, cursor)).transpose()?;
    let filter = FileFilter {
        uploaded_by: (place.is_none() && !viewer(&principal).is_admin).then_some(principal.user_id),
        processing_status: Some(query.status.unwrap_or_default().as_str().to_owned()),
        folded_name: query.name.as_deref().map(waybill_domain::name::fold),
        mime_type: query.mime_type,
    };
    let page = match place {
        None => own_page(&request, &principal, &gateway, &filter, (after, limit, query.view)).await?,
        Some(place) => shared_page(&request, &principal, &gateway, place, &filter, (after, limit, query.view)).await?,
    };
    let next_cursor = page.1.and_then(|cursor| gateway.cursors.seal(principal.company_id, &cursor));
    Ok(private(HttpResponse::Ok()).json(FilePage { items: page.0, next_cursor }))
}

type Page = (Vec<Item>, Option<Cursor>);

fn foreign_cursor() -> Problem {
    Problem::bad_request("cursor_invalid", "the cursor is one of another list; begin anew")
}

/// The principal's own files; all of the company for its admins.
async fn own_page(
    request: &HttpRequest,
    principal: &Principal,
    gateway: &Gateway,
    filter: &FileFilter,
    (after, limit, view): (Option<Cursor>, usize, View),
) -> Result<Page, Problem> {
    let after = match after {
        None => None,
        Some(Cursor::Own { created_at, id }) => Some(PageKey { created_at, id }),
        Some(Cursor::Shared { .. }) => return Err(foreign_cursor()),
    };
    let mut connection = gateway.positions.connection(request, None).await?;
    // One more than asked for tells whether there is a next page.
    let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut files = list_files(&mut connection, principal.company_id, filter, after, rows)
        .await
        .map_err(|error| error.into_problem("listing files"))?;
    let more = files.len() > limit;
    files.truncate(limit);
    let last = files.last().filter(|_| more);
    let next = last.map(|last| Cursor::Own { created_at: last.created_at, id: last.id });
    let facts = facts_of(gateway, &mut connection, principal, files.iter().map(|file| UploadId(file.id))).await?;
    // What was deleted a moment ago may still be in the tables.
    let gone = |file: &File| facts.get(&UploadId(file.id)).is_some_and(|facts| facts.is_deleted || facts.is_purged);
    Ok((files.into_iter().filter(|file| !gone(file)).map(|file| view.of(file, None)).collect(), next))
}

/// The files of a chatroom or thread, for those who belong to it.
async fn shared_page(
    request: &HttpRequest,
    principal: &Principal,
    gateway: &Gateway,
    place: Place,
    filter: &FileFilter,
    (after, limit, view): (Option<Cursor>, usize, View),
) -> Result<Page, Problem> {
    let after = match after {
        None => None,
        Some(Cursor::Shared { place: of, is_pinned, created_at, id }) if of == place => {
            Some(SharedKey { is_pinned, created_at, id })
        }
        Some(_) => return Err(foreign_cursor()),
    };
    let mut connection = gateway.positions.connection(request, None).await?;
    check_member(gateway, &mut connection, principal, place).await?;
    let asks = viewer(principal);
    let named = (!asks.is_admin).then_some(principal.user_id);
    let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut found = list_shared(&mut connection, principal.company_id, place, filter, named, (after, rows))
        .await
        .map_err(|error| error.into_problem("listing files"))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|SharedFile { association, .. }| Cursor::Shared {
        place,
        is_pinned: association.is_pinned,
        created_at: association.created_at,
        id: association.id,
    });
    let ids = found.iter().map(|shared| UploadId(shared.file.id));
    let facts = facts_of(gateway, &mut connection, principal, ids).await?;
    // As of now, whatever the tables say: each file must be there, by this association, for this viewer.
    let is_there = |shared: &SharedFile| {
        let facts = facts.get(&UploadId(shared.file.id));
        facts.is_some_and(|facts| facts.is_shown(ShareId(shared.association.id), asks, now()))
    };
    let items = found.into_iter().filter(is_there).map(|shared| view.of(shared.file, Some(shared.association)));
    Ok((items.collect(), next))
}

/// Whether the principal belongs to the place, or is an admin; 404 otherwise, as where there is none.
async fn check_member(
    gateway: &Gateway,
    connection: &mut waybill_read_model::Connection,
    principal: &Principal,
    place: Place,
) -> Result<(), Problem> {
    let (wanted, what) = match place {
        Place::Chatroom(id) => (Wanted { chatrooms: vec![id], ..Wanted::default() }, "chatroom"),
        Place::Thread(id) => (Wanted { threads: vec![id], ..Wanted::default() }, "thread"),
    };
    let known = look(gateway, connection, principal, &wanted).await?;
    let theirs = known.is_member(place) || (viewer(principal).is_admin && known.places.contains(&place));
    if theirs { Ok(()) } else { Err(Problem::not_found(what)) }
}

async fn look(
    gateway: &Gateway,
    connection: &mut waybill_read_model::Connection,
    principal: &Principal,
    wanted: &Wanted,
) -> Result<Known, Problem> {
    Ok(gateway.access.look(connection, principal.company_id, principal.user_id, wanted).await?)
}

async fn facts_of(
    gateway: &Gateway,
    connection: &mut waybill_read_model::Connection,
    principal: &Principal,
    files: impl Iterator<Item = FileId>,
) -> Result<HashMap<FileId, FileFacts>, Problem> {
    let wanted = Wanted { files: files.collect(), ..Wanted::default() };
    if wanted.files.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(look(gateway, connection, principal, &wanted).await?.files)
}

#[utoipa::path(
    tag = "files",
    operation_id = "show_file",
    params(("id" = Uuid, Path), MinPosition),
    responses(
        (status = 200, description = "The file", body = File),
    ),
)]
#[get("/v1/files/{id}")]
pub(crate) async fn show(
    request: HttpRequest,
    principal: Principal,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (file, _) = find(&request, &principal, &path, &gateway, Operation::View).await?;
    Ok(private(HttpResponse::Ok()).json(with_url(file)))
}

/// The file and what is known of it, if the principal may do that with it.
pub(crate) async fn find(
    request: &HttpRequest,
    principal: &Principal,
    id: &str,
    gateway: &Gateway,
    operation: Operation,
) -> Result<(File, FileFacts), Problem> {
    let id: FileId = id.parse().map_err(|_| Problem::not_found("file"))?;
    let mut found = find_at(request, principal, id, gateway, None).await?;
    if found.as_ref().is_none_or(|(file, _)| !file.is_processed) {
        // A file that was verified a moment ago is there, even for a client that sends no position.
        let position = verified_at(principal, id, gateway).await;
        if position.is_some() {
            found = find_at(request, principal, id, gateway, position).await?;
        }
    }
    let (file, facts) = found.ok_or_else(|| Problem::not_found("file"))?;
    facts.check(viewer(principal), operation, now()).map_err(|why| denied(why, "file"))?;
    Ok((file, facts))
}

async fn find_at(
    request: &HttpRequest,
    principal: &Principal,
    id: FileId,
    gateway: &Gateway,
    position: Option<Position>,
) -> Result<Option<(File, FileFacts)>, Problem> {
    let mut connection = gateway.positions.connection(request, position).await?;
    let found = find_file(&mut connection, principal.company_id, id).await;
    let Some(mut file) = found.map_err(|error| error.into_problem("finding a file"))? else { return Ok(None) };
    let facts = facts_of(gateway, &mut connection, principal, std::iter::once(id)).await?.remove(&id);
    Ok(facts.map(|facts| {
        // The facts are the newer ones.
        if facts.is_deleted {
            file.deleted_at.get_or_insert(file.updated_at);
        }
        (file, facts)
    }))
}

/// Where in the log the file was verified, if it was. A log that does not say leaves it at what the tables say.
async fn verified_at(principal: &Principal, id: FileId, gateway: &Gateway) -> Option<Position> {
    let aggregate = LifecycleAggregate(UploadAggregate { company: principal.company_id, upload: id });
    let loaded = load(gateway.log.as_ref(), &aggregate).await.ok()?;
    let partition = gateway.log.partitions().of(principal.company_id);
    let verified = matches!(loaded.state.phase, Phase::Verified { .. });
    verified.then_some(Position { partition, seq: loaded.last_seq })
}

/// The column is NULL: where a file is to be had is said in answers.
fn with_url(file: File) -> File {
    let readable = file.is_processed && file.deleted_at.is_none();
    let download_url = readable.then(|| format!("/v1/files/{}/content", file.id));
    let mime_type = shown_type(file.mime_type);
    File { download_url, mime_type, ..file }
}

/// Until the content is known, of a file without a type nothing is known.
fn shown_type(mime_type: String) -> String {
    if mime_type.is_empty() { media_type::ANY.to_owned() } else { mime_type }
}

pub(crate) fn private(mut answer: actix_web::HttpResponseBuilder) -> actix_web::HttpResponseBuilder {
    answer.insert_header(("Cache-Control", "private, no-store"));
    answer
}

#[utoipa::path(
    tag = "files",
    operation_id = "change_file",
    params(("id" = Uuid, Path)),
    request_body = Change,
    responses(
        (status = 204, description = "Changed"),
        (status = 409, description = "`file_deleted`"),
        (status = 410, description = "`upload_ended`"),
        (status = 413, description = "`metadata_too_large`, `json_too_large`"),
        (status = 415, description = "`type_refused`: the name has the extension of a dangerous type"),
        (status = 422, description = "`name_invalid`"),
    ),
)]
#[patch("/v1/files/{id}")]
pub(crate) async fn patch(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    body: web::Json<Change>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let Change { display_name, metadata } = body.into_inner();
    let metadata = metadata.map(|metadata| metadata.map(|metadata| metadata.text()).transpose()).transpose()?;
    if let Some(name) = &display_name {
        let types = gateway.policies.types(principal.company_id).await?;
        types.check_name(name).map_err(|refusal| refused(&refusal))?;
    }
    let commands: Vec<Command> =
        display_name.map(Command::Rename).into_iter().chain(metadata.map(Command::SetMetadata)).collect();
    if commands.is_empty() {
        return Err(Problem::bad_request("json_invalid", "say display_name or metadata"));
    }
    change(&gateway, &principal, id, &path, commands).await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Whether the file is ended for good at once: its object is deleted and its space given back.
    #[serde(default)]
    #[param(required = false)]
    purge: bool,
}

impl DeleteQuery {
    fn commands(&self) -> Vec<Command> {
        let purge = self.purge.then_some(Command::Purge { deleted_until: Timestamp(i64::MAX) });
        std::iter::once(Command::Delete).chain(purge).collect()
    }
}

#[utoipa::path(
    tag = "files",
    operation_id = "delete_file",
    params(("id" = Uuid, Path), DeleteQuery),
    responses(
        (status = 204, description = "Deleted, or purged"),
        (status = 409, description = "`file_not_deleted`, `file_deleted`"),
        (status = 410, description = "`upload_ended`"),
    ),
)]
#[delete("/v1/files/{id}")]
pub(crate) async fn delete(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    query: web::Query<DeleteQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    if query.purge {
        principal.require(Role::Admin, "admin")?;
    }
    change(&gateway, &principal, id, &path, query.commands()).await
}

/// `DELETE /v1/admin/companies/{company}/files/{id}`: the host product takes a file back.
#[utoipa::path(
    tag = "directory",
    operation_id = "delete_file_by_host",
    params(CompanyPath, ("id" = Uuid, Path), DeleteQuery),
    responses(
        (status = 204, description = "Deleted, or purged"),
        (status = 409, description = "`file_not_deleted`, `file_deleted`"),
        (status = 410, description = "`upload_ended`"),
    ),
)]
#[delete("/v1/admin/companies/{company}/files/{id}")]
pub(crate) async fn delete_by_host(
    principal: Principal,
    id: RequestId,
    path: web::Path<(String, String)>,
    query: web::Query<DeleteQuery>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let (company, file) = path.into_inner();
    let by = administer(&principal, id, &company)?;
    let file: FileId = file.parse().map_err(|_| Problem::not_found("file"))?;
    verified(&gateway, by.company, file).await?;
    let mut answer = HttpResponse::NoContent();
    for command in query.commands() {
        let position = run(&gateway, &by.context, by.company, file, command).await?;
        answer.insert_header((POSITION, position.to_string()));
    }
    Ok(answer.finish())
}

/// What was said at the start of a verified file's upload.
async fn verified(gateway: &Gateway, company: CompanyId, file: FileId) -> Result<UploadStartedV1, Problem> {
    let upload = load(gateway.log.as_ref(), &LifecycleAggregate(UploadAggregate { company, upload: file })).await;
    let upload = upload.map_err(|error| error.into_problem("loading an upload"))?.state;
    let is_verified = matches!(upload.phase, Phase::Verified { .. });
    upload.started.filter(|_| is_verified).ok_or_else(|| Problem::not_found("file"))
}

#[utoipa::path(
    tag = "files",
    operation_id = "restore_file",
    params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "There again"),
        (status = 409, description = "`file_deleted`"),
        (status = 410, description = "`upload_ended`: it was purged"),
    ),
)]
#[post("/v1/files/{id}/restore")]
pub(crate) async fn restore(
    principal: Principal,
    id: RequestId,
    path: web::Path<String>,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    change(&gateway, &principal, id, &path, vec![Command::Restore]).await
}

async fn change(
    gateway: &Gateway,
    principal: &Principal,
    id: RequestId,
    path: &str,
    commands: Vec<Command>,
) -> Result<HttpResponse, Problem> {
    let file: FileId = path.parse().map_err(|_| Problem::not_found("file"))?;
    let started = verified(gateway, principal.company_id, file).await?;
    let asks = viewer(principal);
    if started.uploaded_by != asks.user_id && !asks.is_admin {
        // Who sees the file is told that they may not; the others, that there is none.
        let mut connection =
            gateway.database.connection().await.map_err(|error| error.into_problem("connecting for a query"))?;
        let facts = facts_of(gateway, &mut connection, principal, std::iter::once(file)).await?.remove(&file);
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
