//! Lists of files.

use super::find::{facts_of, look};
use super::{private, shown_type, with_url};
use crate::api::MinPosition;
use crate::gateway::{Gateway, viewer};
use crate::problems::IntoProblem;
use actix_web::{HttpRequest, HttpResponse, get, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use waybill_access::Wanted;
use waybill_read_model::queries::{
    Association, File, FileFilter, PageKey, SharedFile, SharedKey, list_files, list_shared,
};
use waybill_schema::{ChatroomId, Place, ShareId, ThreadId, UploadId};
use waybill_service_kit::{Principal, Problem, now};

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
