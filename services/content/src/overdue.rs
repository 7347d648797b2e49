//! Searches the tables for pictures and documents that have no previews although they can be read: those that became readable by
//! a changed policy, and those whose event came while the role did not exist. Also for files whose metadata was not looked at before
//! their company wanted it.

use crate::consumer::Step;
use crate::context::utc_now;
use crate::previews::{Previews, Turn};
use chrono::{DateTime, Duration as Span, Utc};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use waybill_read_model::queries::{FileKey, files_to_strip, overdue_previews};
use waybill_read_model::{Connection, Database, ReadModelError};
use waybill_schema::{Causation, CompanyId, UploadId};
use waybill_service_kit::{Shutdown, new_id};

/// Number of files that one query returns.
const PAGE: i64 = 500;
/// Number of searches after which overdue previews are searched. A search finds files that are older than the previous search.
const ROUNDS: u32 = 6;

/// Purpose of a search.
#[derive(Clone, Copy)]
enum Missing {
    Previews,
    Location,
}

impl Missing {
    async fn files(
        self,
        connection: &mut Connection,
        after: FileKey,
        until: DateTime<Utc>,
    ) -> Result<Vec<FileKey>, ReadModelError> {
        match self {
            Self::Previews => overdue_previews(connection, after, until, PAGE).await,
            Self::Location => files_to_strip(connection, after, until, PAGE).await,
        }
    }
}

/// Does the overdue work, one file at a time, until shutdown. `search_every` is the pause between two searches.
pub(crate) async fn run(previews: Arc<Previews>, database: Database, search_every: Duration, shutdown: Shutdown) {
    let mut round = 0_u32;
    while !shutdown.is_triggered() {
        shutdown.unless(tokio::time::sleep(search_every)).await;
        round = (round + 1) % ROUNDS;
        let search = async {
            search(&previews, &database, Missing::Location, search_every).await?;
            if round == 0 {
                search(&previews, &database, Missing::Previews, search_every.saturating_mul(ROUNDS)).await?;
            }
            Ok::<_, ReadModelError>(())
        };
        if let Some(Err(error)) = shutdown.unless(search).await {
            tracing::warn!(%error, "cannot search for files without previews; will try again");
        }
    }
}

/// Works on all files that miss something and are older than `age`.
async fn search(
    previews: &Previews,
    database: &Database,
    missing: Missing,
    age: Duration,
) -> Result<(), ReadModelError> {
    let until = utc_now() - Span::from_std(age).unwrap_or(Span::MAX);
    let mut after = FileKey { company_id: CompanyId(Uuid::nil()), file_id: UploadId(Uuid::nil()) };
    loop {
        let mut connection = database.connection().await?;
        let page = missing.files(&mut connection, after, until).await?;
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
