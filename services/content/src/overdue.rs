//! Searches the tables for pictures and documents that have no previews although they can be read: those that became readable by
//! a changed policy, and those whose event came while the role did not exist.

use crate::consumer::Step;
use crate::context::utc_now;
use crate::previews::{Previews, Turn};
use chrono::Duration as Span;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use waybill_read_model::queries::{FileKey, overdue_previews};
use waybill_read_model::{Database, ReadModelError};
use waybill_schema::{Causation, CompanyId, UploadId};
use waybill_service_kit::{Shutdown, new_id};

/// Number of files that one query returns.
const PAGE: i64 = 500;
/// Number of searches for scans after which overdue previews are searched. A search finds files that are older than the previous
/// search.
const ROUNDS: u32 = 6;

/// Makes overdue previews, one at a time, until shutdown. `search_every` is the pause between two searches for scans.
pub(crate) async fn run(previews: Arc<Previews>, database: Database, search_every: Duration, shutdown: Shutdown) {
    let pause = search_every.saturating_mul(ROUNDS);
    while !shutdown.is_triggered() {
        shutdown.unless(tokio::time::sleep(pause)).await;
        if let Some(Err(error)) = shutdown.unless(search(&previews, &database, pause)).await {
            tracing::warn!(%error, "cannot search for overdue previews; will try again");
        }
    }
}

async fn search(previews: &Previews, database: &Database, pause: Duration) -> Result<(), ReadModelError> {
    let age = Span::from_std(pause).unwrap_or(Span::MAX);
    let until = utc_now() - age;
    let mut after = FileKey { company_id: CompanyId(Uuid::nil()), file_id: UploadId(Uuid::nil()) };
    loop {
        let mut connection = database.connection().await?;
        let page = overdue_previews(&mut connection, after, until, PAGE).await?;
        drop(connection);
        let Some(last) = page.last() else { return Ok(()) };
        after = *last;
        for FileKey { company_id, file_id } in page {
            previews.possible().await;
            let causation = Causation::Request(new_id());
            if let Err(error) = previews.make(company_id, file_id, Turn::Own, false, causation).await {
                tracing::warn!(%company_id, %file_id, %error, "cannot make overdue previews; the next search tries again");
            }
        }
    }
}
