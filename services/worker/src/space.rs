//! Settles reservations and releases the space of purged files. Requests of one company are combined into batches.

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use waybill_domain::file;
use waybill_domain::limits::RESERVATION_ITEMS_MAX;
use waybill_domain::quota::{Command, State};
use waybill_event_log::{AppendError, EventLog, ReadError};
use waybill_repository::{
    Aggregate, BatchSize, Batches, Busy, Context, ExecuteError, FileAggregate, Linger, Prepare, QuotaAggregate,
    Repository,
};
use waybill_schema::events::{FileEvent, ReleasedItem, SettledItem};
use waybill_schema::{CompanyId, Event, FileId};

/// Nothing waits for a settlement, so several are collected: the next start of an upload must read each quota event.
const BATCHES: BatchSize =
    BatchSize { most: RESERVATION_ITEMS_MAX, queue: 4_096, linger: Linger::For(Duration::from_millis(100)) };
/// Maximum number of files of earlier, unfinished releases that a release also checks.
const EARLIER: usize = 16;
/// Number of files that are checked or recorded in parallel.
const AT_ONCE: usize = 16;

type Answer = Result<(), ExecuteError>;

/// Settles reservations, and releases the space of purged files.
pub(crate) struct Space {
    settlements: Batches<CompanyId, (SettledItem, Context), Answer>,
    releases: Batches<CompanyId, (ReleasedItem, Context), Answer>,
}

impl Space {
    pub(crate) fn new(repository: Arc<Repository>) -> Self {
        let settlements = Batches::new(BATCHES, {
            let repository = repository.clone();
            move |company, asked: Vec<(SettledItem, Context)>| {
                let repository = repository.clone();
                async move {
                    let (items, contexts): (Vec<SettledItem>, Vec<Context>) = asked.into_iter().unzip();
                    let done = settle_all(&repository, company, items, &contexts).await;
                    vec![done; contexts.len()]
                }
            }
        });
        let releases = Batches::new(BATCHES, move |company, asked: Vec<(ReleasedItem, Context)>| {
            let repository = repository.clone();
            async move {
                let (items, contexts): (Vec<ReleasedItem>, Vec<Context>) = asked.into_iter().unzip();
                release_all(&repository, company, &items, &contexts).await
            }
        });
        Self { settlements, releases }
    }

    /// Settles the reservation of an upload, if it is open.
    pub(crate) async fn settle(&self, company: CompanyId, item: SettledItem, context: Context) -> Answer {
        self.settlements.ask(company, (item, context)).await.map_err(busy)?
    }

    /// Releases the space of a purged file, exactly once.
    pub(crate) async fn release(&self, company: CompanyId, item: ReleasedItem, context: Context) -> Answer {
        self.releases.ask(company, (item, context)).await.map_err(busy)?
    }
}

fn busy(busy: Busy) -> ExecuteError {
    AppendError::Unavailable(busy.to_string()).into()
}

async fn settle_all(
    repository: &Repository,
    company: CompanyId,
    items: Vec<SettledItem>,
    contexts: &[Context],
) -> Answer {
    let Some(context) = contexts.first() else { return Ok(()) };
    repository.execute(&QuotaAggregate { company }, Command::Settle(items), context).await.map(drop)
}

/// Releases the space of files in three steps: reads the events of the files and appends the event of the quota,
/// records the release in the files, and records in the quota that the files have it. If a worker stops between two
/// steps, the next release finds the file in the state of the quota. Returns one answer per item, in order.
async fn release_all(
    repository: &Repository,
    company: CompanyId,
    items: &[ReleasedItem],
    contexts: &[Context],
) -> Vec<Answer> {
    let Some(context) = contexts.first() else { return Vec::new() };
    let due = match give_back(repository, company, items, context).await {
        Ok(due) => due,
        Err(error) => return vec![Err(error); items.len()],
    };
    let record = |file| async move {
        let command = file::Command::RecordRelease;
        let done = repository.execute(&aggregate(company, file), command, context).await;
        (file, done.map(drop))
    };
    let done: HashMap<FileId, Answer> = stream::iter(due).map(record).buffer_unordered(AT_ONCE).collect().await;
    let recorded: Vec<FileId> = done.iter().filter(|(_, done)| done.is_ok()).map(|(file, _)| *file).collect();
    let told = Command::Release { purged: Vec::new(), recorded };
    let told = repository.execute(&QuotaAggregate { company }, told, context).await;
    if let Err(error) = told {
        tracing::debug!(%company, %error, "cannot record finished releases in the quota; a later release does");
    }
    items.iter().map(|item| done.get(&item.file_id).cloned().unwrap_or(Ok(()))).collect()
}

/// Releases the space of those files in the quota whose own events do not record the release yet. Returns these files.
async fn give_back(
    repository: &Repository,
    company: CompanyId,
    items: &[ReleasedItem],
    context: &Context,
) -> Result<Vec<FileId>, ExecuteError> {
    let mut release = Release { log: repository.log(), company, items, due: Vec::new() };
    repository.hold_quota(company).await?.execute(&mut release, context).await?;
    Ok(release.due)
}

/// Release of the space of files. It reads the events of the files before each decision.
struct Release<'s> {
    log: &'s dyn EventLog,
    company: CompanyId,
    items: &'s [ReleasedItem],
    /// Files whose events do not record the release yet.
    due: Vec<FileId>,
}

impl Prepare for Release<'_> {
    fn command<'a>(&'a mut self, state: &'a State) -> BoxFuture<'a, Result<Command, ExecuteError>> {
        let Self { log, company, items, .. } = *self;
        Box::pin(async move {
            let is_asked = |file: &FileId| items.iter().any(|item| item.file_id == *file);
            let earlier = state.released.iter().filter(|file| !is_asked(file)).take(EARLIER).copied();
            let files: Vec<FileId> = items.iter().map(|item| item.file_id).chain(earlier).collect();
            let look = |file| async move { (file, is_recorded(log, company, file).await) };
            let looked: Vec<(FileId, Result<bool, ReadError>)> =
                stream::iter(files).map(look).buffered(AT_ONCE).collect().await;
            let mut recorded = Vec::new();
            for (file, is_recorded) in looked {
                match is_recorded {
                    Ok(true) => recorded.push(file),
                    Ok(false) => {}
                    Err(error) if is_asked(&file) => return Err(error.into()),
                    // A later release checks this file again.
                    Err(_) => {}
                }
            }
            let is_due = |item: &&ReleasedItem| !recorded.contains(&item.file_id);
            let purged: Vec<ReleasedItem> = items.iter().filter(is_due).cloned().collect();
            self.due = purged.iter().map(|item| item.file_id).collect();
            Ok(Command::Release { purged, recorded })
        })
    }
}

/// Returns `true` if the events of a file record that its space was released. This is the last event of a file.
async fn is_recorded(log: &dyn EventLog, company: CompanyId, file: FileId) -> Result<bool, ReadError> {
    let last = log.last(aggregate(company, file).subject()).await?;
    let is_release = |event: &Event| matches!(event, Event::File(FileEvent::FileSpaceReleased(_)));
    Ok(last.is_some_and(|last| last.event.is_ok_and(|recorded| is_release(&recorded.event))))
}

fn aggregate(company: CompanyId, file: FileId) -> FileAggregate {
    FileAggregate { company, file }
}
