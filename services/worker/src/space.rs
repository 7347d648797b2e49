//! Settling reservations, and giving back the space of purged files: those of one company together.

use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use waybill_domain::file;
use waybill_domain::limits::RESERVATION_ITEMS_MAX;
use waybill_domain::quota::{release, settle};
use waybill_event_log::{AppendError, EventLog, ReadError};
use waybill_repository::{
    BatchSize, Batches, Busy, Context, ExecuteError, FileAggregate, Linger, Loaded, Quotas, execute, load,
};
use waybill_schema::events::{ReleasedItem, SettledItem};
use waybill_schema::{CompanyId, FileId, Routing};

/// Nobody waits for a settlement, so a few are waited for: each event costs the company's next start a look at it.
const BATCHES: BatchSize =
    BatchSize { most: RESERVATION_ITEMS_MAX, queue: 4_096, linger: Linger::For(Duration::from_millis(50)) };
/// How many files of earlier releases are looked at by the way.
const EARLIER: usize = 16;

type Answer = Result<(), ExecuteError>;

/// What ends reservations.
pub(crate) struct Space {
    settlements: Batches<CompanyId, (SettledItem, Context), Answer>,
    releases: Batches<CompanyId, (ReleasedItem, Context), Answer>,
}

impl Space {
    pub(crate) fn new(log: Arc<dyn EventLog>, quotas: Arc<Quotas>) -> Self {
        let settlements = Batches::new(BATCHES, {
            let quotas = quotas.clone();
            move |company, asked: Vec<(SettledItem, Context)>| {
                let quotas = quotas.clone();
                async move {
                    let (items, contexts): (Vec<SettledItem>, Vec<Context>) = asked.into_iter().unzip();
                    let done = settle_all(&quotas, company, &items, &contexts).await;
                    vec![done; items.len()]
                }
                .boxed()
            }
        });
        let releases = Batches::new(BATCHES, move |company, asked: Vec<(ReleasedItem, Context)>| {
            let (log, quotas) = (log.clone(), quotas.clone());
            async move {
                let (items, contexts): (Vec<ReleasedItem>, Vec<Context>) = asked.into_iter().unzip();
                let done = release_all(log.as_ref(), &quotas, company, &items, &contexts).await;
                vec![done; items.len()]
            }
            .boxed()
        });
        Self { settlements, releases }
    }

    /// Settles the reservation of an upload, if it is open.
    pub(crate) async fn settle(&self, company: CompanyId, item: SettledItem, context: Context) -> Answer {
        self.settlements.ask(company, (item, context)).await.map_err(busy)?
    }

    /// Gives back the space of a purged file, once.
    pub(crate) async fn release(&self, company: CompanyId, item: ReleasedItem, context: Context) -> Answer {
        self.releases.ask(company, (item, context)).await.map_err(busy)?
    }
}

fn busy(busy: Busy) -> ExecuteError {
    AppendError::Unavailable(busy.to_string()).into()
}

async fn settle_all(quotas: &Quotas, company: CompanyId, items: &[SettledItem], contexts: &[Context]) -> Answer {
    let Some(context) = contexts.first() else { return Ok(()) };
    quotas.change(context, company, |state| Ok(settle(state, items).map(Into::into))).await.map(drop)
}

/// The quota's event first, behind a look at the files' own events; then those. Whoever is stopped in between finds the
/// file in the quota's state.
async fn release_all(
    log: &dyn EventLog,
    quotas: &Quotas,
    company: CompanyId,
    items: &[ReleasedItem],
    contexts: &[Context],
) -> Answer {
    let Some(context) = contexts.first() else { return Ok(()) };
    let mut held = quotas.hold(company).await?;
    let due = loop {
        let state = held.look().await?;
        let is_asked = |file: &FileId| items.iter().any(|item| item.file_id == *file);
        let earlier: Vec<FileId> =
            state.released.iter().filter(|file| !is_asked(file)).take(EARLIER).copied().collect();
        let (mut due, mut recorded) = (Vec::new(), Vec::new());
        for item in items {
            if is_recorded(log, company, item.file_id).await? {
                recorded.push(item.file_id);
            } else {
                due.push(item.clone());
            }
        }
        for file in earlier {
            if is_recorded(log, company, file).await? {
                recorded.push(file);
            }
        }
        let Some(event) = release(state, &due, &recorded) else { break due };
        if held.append(context, event.into()).await?.is_some() {
            break due;
        }
    };
    drop(held);
    for item in due {
        let command = file::Command::RecordRelease;
        execute(log, &aggregate(company, item.file_id), &mut Loaded::default(), context, command).await?;
    }
    Ok(())
}

async fn is_recorded(log: &dyn EventLog, company: CompanyId, file: FileId) -> Result<bool, ReadError> {
    Ok(load(log, &aggregate(company, file)).await?.state.is_space_released)
}

fn aggregate(company: CompanyId, file: FileId) -> FileAggregate {
    FileAggregate { company, file, routing: Routing::default() }
}
