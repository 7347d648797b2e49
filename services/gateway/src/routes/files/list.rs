//! `GET /v1/files`: pages of the user's own files, or of the files in a chatroom or thread.

use crate::application::access::viewer;
use crate::application::files::find::facts_of;
use crate::application::files::places::check_member;
use crate::application::gateway::Gateway;
use crate::application::reads::record_list;
use crate::application::rows;
use crate::http::parameters::MinPosition;
use crate::http::problems::OrProblem;
use crate::http::response::private;
use crate::routes::files::{shown, shown_type};
use actix_web::{HttpRequest, HttpResponse, get, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_access::scan_filter;
use waybill_api::files::{ListQuery, Listed, PreviewFilter, ProcessingStatus, Sort, View};
use waybill_data_plane::refused;
use waybill_domain::access::{FileFacts, ShownShare, Viewer};
use waybill_domain::label;
use waybill_http_kit::{Principal, Problem, RequestId};
use waybill_read_model::queries::{
    Association, File, FileFilter, ListKey, Order, OwnPage, SharedFile, SharedKey, SharedPage, SortBy, SortValue,
    rows_read,
};
use waybill_schema::ErrorCode;
use waybill_schema::{Place, ShareId, UploadId};
use waybill_service_kit::now;

routes!(list);

const PAGE_DEFAULT: u16 = 50;

const PAGE_MAX: u16 = 200;

/// Maximum length of a search text in bytes.
const SEARCH_MAX_BYTES: usize = 255;

/// Points of a search per millisecond. A command takes about 2.5 ms of CPU time in all processes and costs 5 points.
const POINTS_PER_MS: u32 = 2;

/// Position in a list after which the next page begins. A cursor is valid only for the list that returned it.
#[derive(Serialize, Deserialize)]
enum Cursor {
    /// In a list of a user or of a company in the default order.
    Own { created_at: DateTime<Utc>, id: Uuid },
    /// In such a list in another order.
    Sorted { order: Order, after: ListKey },
    /// In the list of a chatroom or thread.
    Shared { place: Place, is_pinned: bool, created_at: DateTime<Utc>, id: Uuid },
    /// In such a list from its end.
    Reversed { place: Place, after: SharedKey },
}

impl Cursor {
    /// Returns the cursor of the page after a file in a list of a user or of a company.
    fn after_file(order: Order, file: &File) -> Self {
        match order == Order::default() {
            true => Self::Own { created_at: file.created_at, id: file.id },
            false => Self::Sorted { order, after: order.key_of(file) },
        }
    }

    /// Returns the cursor of the page after an association in the list of a chatroom or thread.
    fn after_association(place: Place, is_reversed: bool, association: &Association) -> Self {
        let Association { is_pinned, created_at, id, .. } = *association;
        match is_reversed {
            true => Self::Reversed { place, after: SharedKey { is_pinned, created_at, id } },
            false => Self::Shared { place, is_pinned, created_at, id },
        }
    }

    /// Returns the end of the previous page of a list of a user or of a company, unless the cursor is of another list.
    fn in_files(self, order: Order) -> Option<ListKey> {
        match self {
            Self::Own { created_at, id } if order == Order::default() => {
                Some(ListKey { value: SortValue::CreatedAt(created_at), id })
            }
            Self::Sorted { order: of, after } if of == order => Some(after),
            Self::Own { .. } | Self::Sorted { .. } | Self::Shared { .. } | Self::Reversed { .. } => None,
        }
    }

    /// Returns the end of the previous page of the list of a chatroom or thread, unless the cursor is of another list.
    fn in_place(self, place: Place, is_reversed: bool) -> Option<SharedKey> {
        match self {
            Self::Shared { place: of, is_pinned, created_at, id } if of == place && !is_reversed => {
                Some(SharedKey { is_pinned, created_at, id })
            }
            Self::Reversed { place: of, after } if of == place && is_reversed => Some(after),
            Self::Own { .. } | Self::Sorted { .. } | Self::Shared { .. } | Self::Reversed { .. } => None,
        }
    }
}

/// File in a list. In a chatroom or thread it has the association through which the user sees it.
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

/// Page of files.
#[derive(Serialize, ToSchema)]
struct FilePage {
    items: Vec<Item>,
    /// Cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

/// Viewer of a list, and the members that it has.
#[derive(Clone, Copy)]
struct Seen {
    viewer: Viewer,
    view: View,
}

/// Returns a file with the members of a view.
fn item_of(seen: Seen, file: File, facts: Option<&FileFacts>, association: Option<Association>) -> Item {
    let file = shown(file, facts, seen.viewer);
    let file = match seen.view {
        View::Full => Shown::Full(Box::new(file)),
        View::List => Shown::List(Listed {
            id: file.id,
            name: file.display_name.unwrap_or(file.original_name),
            mime_type: shown_type(file.mime_type),
            size_bytes: file.size_bytes,
            uploaded_by: file.uploaded_by,
            processing_status: file.processing_status.as_str().to_owned(),
            created_at: file.created_at,
            preview: file.preview,
            storage_tier: file.storage_tier,
            verdict: file.scan.and_then(|scan| Some(scan.get("verdict")?.as_str()?.to_owned())),
        }),
    };
    Item { file, association }
}

/// Lists files
///
/// Without a chatroom or thread, users get their own files and admins get all files of the company. By default, files are sorted
/// from newest to oldest; in a chatroom or thread, pinned files come first.
#[utoipa::path(
    tag = "files",
    operation_id = "list_files",
    extensions(("x-waybill-points" = json!(2))),
    params(ListQuery, MinPosition),
    responses(
        (status = 200, description = "A page of files", body = FilePage),
        (status = 429, description = "`too_many_requests`; also if two searches of the user are running"),
        (status = 422, description = "`labels_invalid`: `label` cannot be a label"),
        (status = 404, description = "`not_found`: the chatroom or thread does not exist, or the user is not a member"),
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
        let text = "name and mime_type must have at most 255 bytes and no NUL character";
        return Err(Problem::bad_request(ErrorCode::QueryInvalid, text));
    }
    let label = query.label.map(|label| label::check(&[label])).transpose().map_err(refused)?;
    let metadata = query.metadata.as_deref().map(|text| declared(&gateway, text)).transpose()?;
    let place = match (query.chatroom_id, query.thread_id) {
        (None, None) => None,
        (Some(chatroom), None) => Some(Place::Chatroom(chatroom)),
        (None, Some(thread)) => Some(Place::Thread(thread)),
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request(ErrorCode::QueryInvalid, "send chatroom_id or thread_id, not both"));
        }
    };
    let limit = usize::from(query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX));
    let after: Option<Cursor> =
        query.cursor.as_deref().map(|cursor| gateway.cursors.read(principal.company_id, cursor)).transpose()?;
    let rules = gateway.access.scan_rules(principal.company_id).await.or_problem("loading the rules of a company")?;
    // A filter for a verdict includes files that cannot be read.
    let status = query.status.or_else(|| query.verdict.is_none().then(ProcessingStatus::default));
    let filter = FileFilter {
        uploaded_by: (place.is_none() && !viewer(&principal).is_admin).then_some(principal.user_id),
        processing_status: status.map(Into::into),
        folded_name: query.name.as_deref().map(waybill_domain::name::fold),
        mime_type: query.mime_type,
        metadata,
        label: label.and_then(|labels| labels.into_iter().next()),
        verdict: query.verdict.map(Into::into),
        storage_tier: query.storage_tier.map(Into::into),
        has_preview: query.preview.map(|preview| preview == PreviewFilter::Made),
        scans: scan_filter(rules),
    };
    let searching = if filter.is_search() { Some(gateway.searches.begin(&principal).await?) } else { None };
    let page = PageRequest { order: order_of(query.sort), after, limit, view: query.view };
    if place.is_some() && page.order.by != SortBy::CreatedAt {
        let text = "the files of a chatroom or thread can be sorted by created_at only";
        return Err(Problem::bad_request(ErrorCode::QueryInvalid, text));
    }
    let began = Instant::now();
    let page = match place {
        None => own_page(&request, &principal, &gateway, &filter, page).await,
        Some(place) => shared_page(&request, &principal, &gateway, place, &filter, page).await,
    };
    if searching.is_some() {
        gateway.admission.charge(&principal, points_of(began.elapsed()));
    }
    drop(searching);
    let page = page?;
    record_list(&gateway, &principal, RequestId::of(&request), place).await?;
    let next_cursor = page.next.and_then(|cursor| gateway.cursors.seal(principal.company_id, &cursor));
    Ok(private(HttpResponse::Ok()).json(FilePage { items: page.items, next_cursor }))
}

/// Returns the points of a search, which depend on how much it reads.
fn points_of(search: Duration) -> u32 {
    u32::try_from(search.as_millis()).unwrap_or(u32::MAX).saturating_mul(POINTS_PER_MS)
}

/// Returns the metadata key and the value that a client searches for.
fn declared(gateway: &Gateway, text: &str) -> Result<(String, String), Problem> {
    let invalid = |text: &str| Problem::bad_request(ErrorCode::QueryInvalid, text.to_owned());
    let keys = gateway.database.metadata_keys();
    let (key, value) = text.split_once(':').ok_or_else(|| invalid("metadata must be KEY:VALUE"))?;
    if !keys.has(key) {
        let keys = keys.list();
        return Err(invalid(&match keys.as_str() {
            "" => "files are not found by metadata: the operator declares keys with WAYBILL_METADATA_KEYS".to_owned(),
            keys => format!("files are found by these metadata keys: {keys}"),
        }));
    }
    if value.len() > SEARCH_MAX_BYTES * 4 || value.contains('\0') {
        return Err(invalid("the value of metadata must have at most 100 characters and no NUL character"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Returns the order that a client asks for.
fn order_of(sort: Sort) -> Order {
    let (by, is_ascending) = match sort {
        Sort::Newest => (SortBy::CreatedAt, false),
        Sort::Oldest => (SortBy::CreatedAt, true),
        Sort::Name => (SortBy::Name, true),
        Sort::NameReversed => (SortBy::Name, false),
        Sort::Smallest => (SortBy::Size, true),
        Sort::Largest => (SortBy::Size, false),
    };
    Order { by, is_ascending }
}

/// Page that a client asks for.
struct PageRequest {
    order: Order,
    /// End of the previous page.
    after: Option<Cursor>,
    /// Maximum number of files.
    limit: usize,
    view: View,
}

/// Page of a list, and the cursor of the next page.
struct Page {
    items: Vec<Item>,
    next: Option<Cursor>,
}

fn foreign_cursor() -> Problem {
    Problem::bad_request(ErrorCode::CursorInvalid, "the cursor belongs to another list; start again without a cursor")
}

/// Returns the number of rows to read for a page: at least one row more than the limit shows if there is a next page.
fn rows_for(limit: usize) -> i64 {
    rows_read(i64::try_from(limit + 1).unwrap_or(i64::MAX))
}

/// Removes the rows that do not belong to the page. Returns the last row of the page if there is a next page.
fn cut<T>(rows: &mut Vec<T>, limit: usize) -> Option<&T> {
    let has_next = rows.len() > limit;
    rows.truncate(limit);
    rows.last().filter(|_| has_next)
}

/// Lists the principal's own files, or all files of the company if the principal is an admin.
async fn own_page(
    request: &HttpRequest,
    principal: &Principal,
    gateway: &Gateway,
    filter: &FileFilter,
    page: PageRequest,
) -> Result<Page, Problem> {
    let PageRequest { order, after, limit, view } = page;
    let after = after.map(|cursor| cursor.in_files(order).ok_or_else(foreign_cursor)).transpose()?;
    let mut reading = gateway.positions.reading(request, None)?;
    let page = OwnPage { order, after, limit: rows_for(limit) };
    let mut files = rows::own_page(gateway, &mut reading, principal.company_id, filter, page).await?;
    let next = cut(&mut files, limit).map(|last| Cursor::after_file(order, last));
    let facts = facts_of(gateway, &mut reading, principal, files.iter().map(|file| UploadId(file.id))).await?;
    // The tables may still contain files that were deleted recently.
    let gone = |file: &File| facts.get(&UploadId(file.id)).is_some_and(|facts| facts.is_deleted || facts.is_purged);
    let items = files.into_iter().filter(|file| !gone(file)).map(|file| {
        let facts = facts.get(&UploadId(file.id));
        item_of(Seen { viewer: viewer(principal), view }, file, facts, None)
    });
    let items = items.collect();
    Ok(Page { items, next })
}

/// Lists the files of a chatroom or thread, if the principal is a member or an admin.
async fn shared_page(
    request: &HttpRequest,
    principal: &Principal,
    gateway: &Gateway,
    place: Place,
    filter: &FileFilter,
    page: PageRequest,
) -> Result<Page, Problem> {
    let PageRequest { order, after, limit, view } = page;
    let is_reversed = order.is_ascending;
    let after = after.map(|cursor| cursor.in_place(place, is_reversed).ok_or_else(foreign_cursor)).transpose()?;
    let mut reading = gateway.positions.reading(request, None)?;
    check_member(gateway, &mut reading, principal, place).await?;
    let asks = viewer(principal);
    let named = (!asks.is_admin).then_some(principal.user_id);
    let page = SharedPage { after, is_reversed, limit: rows_for(limit) };
    let company = principal.company_id;
    let mut found = rows::shared_page(gateway, &mut reading, company, place, filter, named, page).await?;
    let next = cut(&mut found, limit);
    let next = next.map(|SharedFile { association, .. }| Cursor::after_association(place, is_reversed, association));
    let ids = found.iter().map(|shared| UploadId(shared.file.id));
    let facts = facts_of(gateway, &mut reading, principal, ids).await?;
    // The access facts are newer than the tables. Show a file only if this viewer can still see it through this
    // association.
    let seen = |mut shared: SharedFile| {
        let association = &mut shared.association;
        match facts.get(&UploadId(shared.file.id))?.shown_by(ShareId(association.id), asks, now())? {
            ShownShare::Whole => {}
            ShownShare::WithoutOthers => association.name_only(asks.user_id),
        }
        Some(shared)
    };
    let items = found.into_iter().filter_map(seen).map(|shared| {
        let facts = facts.get(&UploadId(shared.file.id));
        item_of(Seen { viewer: asks, view }, shared.file, facts, Some(shared.association))
    });
    Ok(Page { items: items.collect(), next })
}
