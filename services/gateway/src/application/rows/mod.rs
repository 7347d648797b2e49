//! Rows of the tables that requests read often: files, and pages of lists. Rows that were read earlier answer as long as no event has
//! changed them. Otherwise, and if no rows are kept, the request asks PostgreSQL.

pub(crate) mod kept;

use crate::application::gateway::Gateway;
use crate::application::read_your_writes::Reading;
use crate::application::rows::kept::{FILE, OWN, SHARED};
use crate::http::problems::OrProblem;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use waybill_access::{History, Scope};
use waybill_http_kit::Problem;
use waybill_read_cache::{Kept, Shelf};
use waybill_read_model::queries::{
    self, File, FileFilter, OwnPage, RowsState, SharedFile, SharedPage, SortBy, columns_of, list_files, list_shared,
    next_expiry, rows_state,
};
use waybill_schema::{CompanyId, FileId, Place, Position, Timestamp, UploadId, UserId};

/// How long a request waits until this process has followed the log to the position that it needs, before it asks PostgreSQL.
const FOLLOW_WITHIN: Duration = Duration::from_millis(100);

/// Returns a file, even if it is deleted.
///
/// # Errors
/// The problems of a query.
pub(crate) async fn find_file(
    gateway: &Gateway,
    reading: &mut Reading<'_>,
    company: CompanyId,
    id: FileId,
) -> Result<Option<File>, Problem> {
    let shelf = gateway.rows.as_ref().map(|rows| &rows.files);
    let row = Row { gateway, company, kind: FILE, parts: id.0.as_bytes() };
    if let Some(kept) = row.kept(shelf, reading, |_| vec![Scope::File(company, id)]).await {
        return Ok(kept.value.first().cloned());
    }
    let state = row.state(shelf, reading).await?;
    let connection = reading.connection().await?;
    let file = queries::find_file(connection, company, id).await.or_problem("finding a file")?;
    if let (Some(shelf), Some(file), Some(state)) = (shelf, &file, state)
        && let Ok(columns) = columns_of(std::slice::from_ref(file))
    {
        row.keep(shelf, state, None, vec![file.clone()], &columns);
    }
    Ok(file)
}

/// Returns a page of the files of a user or of the company, as [`list_files`] does.
///
/// # Errors
/// The problems of a query.
pub(crate) async fn own_page(
    gateway: &Gateway,
    reading: &mut Reading<'_>,
    company: CompanyId,
    filter: &FileFilter,
    page: OwnPage,
) -> Result<Vec<File>, Problem> {
    let user = filter.uploaded_by.filter(|_| !filter.is_search());
    let parts = described(&(filter, &page));
    // A new name can move a file from one page of an order by name to another.
    let is_kept = user.is_some() && parts.is_some() && page.order.by == SortBy::CreatedAt;
    let shelf = gateway.rows.as_ref().filter(|_| is_kept);
    let (shelf, parts) = (shelf.map(|rows| &rows.own), parts.unwrap_or_default());
    let row = Row { gateway, company, kind: OWN, parts: &parts };
    let scopes = |files: &Vec<File>| {
        let of_user = user.map(|user| Scope::Uploads(company, user));
        scopes_of(company, files.iter()).chain(of_user).collect()
    };
    if let Some(kept) = row.kept(shelf, reading, scopes).await {
        return Ok(Vec::clone(&kept.value));
    }
    let state = row.state(shelf, reading).await?;
    let connection = reading.connection().await?;
    let files = list_files(connection, company, filter, page).await.or_problem("listing files")?;
    if let (Some(shelf), Some(state)) = (shelf, state)
        && let Ok(columns) = columns_of(&files)
    {
        row.keep(shelf, state, None, files.clone(), &columns);
    }
    Ok(files)
}

/// Returns a page of the files of a chatroom or thread, as [`list_shared`] does.
///
/// # Errors
/// The problems of a query.
pub(crate) async fn shared_page(
    gateway: &Gateway,
    reading: &mut Reading<'_>,
    company: CompanyId,
    place: Place,
    filter: &FileFilter,
    viewer: Option<UserId>,
    page: SharedPage,
) -> Result<Vec<SharedFile>, Problem> {
    let parts = described(&(place, filter, viewer, page));
    let shelf = gateway.rows.as_ref().filter(|_| !filter.is_search() && parts.is_some()).map(|rows| &rows.shared);
    let parts = parts.unwrap_or_default();
    let row = Row { gateway, company, kind: SHARED, parts: &parts };
    let scopes = |files: &Vec<SharedFile>| {
        let of_files = scopes_of(company, files.iter().map(|shared| &shared.file));
        of_files.chain([Scope::Place(company, place)]).collect()
    };
    if let Some(kept) = row.kept(shelf, reading, scopes).await {
        return Ok(Vec::clone(&kept.value));
    }
    let state = row.state(shelf, reading).await?;
    let connection = reading.connection().await?;
    // Associations expire without an event, and one on an earlier page can hide a file of this page.
    let until = match &state {
        None => None,
        Some(_) => next_expiry(connection, company, place).await.or_problem("searching for the next expiry")?,
    };
    let found = list_shared(connection, company, place, filter, viewer, page).await.or_problem("listing files")?;
    if let (Some(shelf), Some(state)) = (shelf, state)
        && let Ok(columns) = serde_json::to_vec(&found)
    {
        let until = until.map(|at| Timestamp(at.timestamp_millis()));
        row.keep(shelf, state, until, found.clone(), &columns);
    }
    Ok(found)
}

/// Returns the scopes on which a list with these files depends, apart from its own one.
fn scopes_of<'a>(company: CompanyId, files: impl Iterator<Item = &'a File>) -> impl Iterator<Item = Scope> {
    files.map(move |file| Scope::File(company, UploadId(file.id))).chain([Scope::Lists(company)])
}

/// Returns bytes that differ for different values.
fn described(value: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

/// Something that is read from the tables: a file or a page.
#[derive(Clone, Copy)]
struct Row<'a> {
    gateway: &'a Gateway,
    company: CompanyId,
    kind: &'static str,
    parts: &'a [u8],
}

impl Row<'_> {
    /// Returns the value if it was read earlier and none of its scopes has changed since.
    async fn kept<V: Send + Sync + 'static>(
        &self,
        shelf: Option<&Shelf<V>>,
        reading: &Reading<'_>,
        scopes: impl Fn(&V) -> Vec<Scope>,
    ) -> Option<Kept<V>> {
        let (shelf, access, company) = (shelf?, &self.gateway.access, self.company);
        if !has_followed(self.gateway, reading, company).await {
            return None;
        }
        let history = access.history(company)?;
        let name = access.name_of(&history, company, self.kind, &[self.parts]);
        let is_valid = |kept: &Kept<V>| access.none_changed(&history, company, kept.seq, &scopes(&kept.value));
        shelf.get(company, name, is_valid).await
    }

    /// Returns the state of the rows if the value that is read next is kept. The request then needs access rights that are as new.
    async fn state<V>(
        &self,
        shelf: Option<&Shelf<V>>,
        reading: &mut Reading<'_>,
    ) -> Result<Option<RowsState>, Problem> {
        if shelf.is_none() {
            return Ok(None);
        }
        let partition = self.gateway.log.partitions().of(self.company);
        let state = rows_state(reading.connection().await?, partition).await.or_problem("reading a checkpoint")?;
        if let Some(state) = &state {
            reading.also(Position { partition, seq: state.seq.unsigned_abs() });
        }
        Ok(state.filter(|state| !state.has_parked))
    }

    fn keep<V: Send + Sync + 'static>(
        &self,
        shelf: &Shelf<V>,
        state: RowsState,
        until: Option<Timestamp>,
        value: V,
        bytes: &[u8],
    ) {
        let RowsState { epoch, seq, incarnation, .. } = state;
        let name = self.gateway.access.name_of(&History { epoch, incarnation }, self.company, self.kind, &[self.parts]);
        shelf.keep(self.company, name, seq.unsigned_abs(), until, Arc::new(value), bytes);
    }
}

/// Returns `true` if this process has followed the log to its end and to the positions that the request needs.
pub(crate) async fn has_followed(gateway: &Gateway, reading: &Reading<'_>, company: CompanyId) -> bool {
    let (access, partition) = (&gateway.access, gateway.log.partitions().of(company));
    if access.reach_the_end(company).await.is_err() {
        return false;
    }
    for position in reading.wanted() {
        let reached = tokio::time::timeout(FOLLOW_WITHIN, access.reach(company, position.seq));
        // If the log has no such position, the query of PostgreSQL refuses it.
        if position.partition != partition || !matches!(reached.await, Ok(Ok(()))) {
            return false;
        }
    }
    true
}
