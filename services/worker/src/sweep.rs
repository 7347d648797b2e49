//! The sweep: ends uploads that were not continued in time, takes back space that was reserved for uploads which never
//! started, looks for objects that clients make by themselves where nobody else does any more, and deletes what they made
//! too late. The read model only says where to look; whether it is so is decided on the events.

use crate::reactions::{ReactionError, advance, clear};
use crate::{Worker, leftovers};
use chrono::{DateTime, Duration as Span, Utc};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use waybill_domain::upload::Command;
use waybill_domain::{Refusal, file, token};
use waybill_read_model::queries::{
    Counted, Overdue, awaited_objects, files_to_purge, files_to_retire, open_quarantines, overdue_reservations,
    overdue_uploads, quotas_to_count, tokens_to_forget,
};
use waybill_repository::{
    ExecuteError, FileAggregate, Loaded, TokenAggregate, UploadAggregate, append_quota, execute, load, load_quota,
};
use waybill_schema::events::{QuotaRecalculatedV1, UploadKind};
use waybill_schema::{Causation, CompanyId, Routing, Timestamp, TokenId};
use waybill_service_kit::metrics;
use waybill_service_kit::{Shutdown, now};

/// How many of each kind are looked after in one round.
const BATCH: i64 = 500;
/// How many companies are counted in one round.
const COUNTS: i64 = 20;
/// For how long nothing was heard of an upload when the sweep looks for its object: the worker that was told to is gone.
const QUIET_S: i64 = 120;
/// How many times the grace a PUT may run on when its URL has ended.
const PUT_GRACES: i32 = 8;

/// When the sweep does what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// How often it looks.
    pub(crate) every: Duration,
    /// How much later than `expires_at` uploads are ended.
    pub(crate) grace: Duration,
    /// How long a deleted file can be restored.
    pub(crate) purge_after: Duration,
    /// How often a company's space is counted anew.
    pub(crate) count_every: Duration,
    /// How long the row of a token that has ended is kept.
    pub(crate) tokens_kept: Duration,
}

/// `grace` is how much later than `expires_at` it acts: running requests were cut by then.
pub(crate) async fn run(worker: Arc<Worker>, times: Times, shutdown: Shutdown) {
    while shutdown.unless(tokio::time::sleep(times.every)).await.is_some() {
        worker.uploads.close_idle();
        if let Err(error) = sweep(&worker, times).await {
            tracing::warn!(%error, "the sweep will try again");
        }
        if let Err(error) = leftovers::sweep(&worker, times.every * LEFTOVER_ROUNDS).await {
            tracing::warn!(%error, "the sweep will come back to objects that stayed");
        }
    }
}

/// How many rounds lie between two attempts to delete an object that the store does not let go: an hour, by default.
const LEFTOVER_ROUNDS: u32 = 60;

async fn sweep(worker: &Worker, times: Times) -> Result<(), ReactionError> {
    let grace = Span::from_std(times.grace).unwrap_or_default();
    let time = DateTime::<Utc>::from_timestamp_millis(now().0).unwrap_or_default();
    let put_ended = time - grace * PUT_GRACES;
    let mut connection = worker.database.connection().await?;
    let mut overdue = overdue_uploads(&mut connection, time - grace, BATCH).await?;
    overdue.extend(overdue_reservations(&mut connection, time, BATCH).await?);
    let awaited = awaited_objects(&mut connection, time - Span::seconds(QUIET_S), put_ended, BATCH).await?;
    let open = open_quarantines(&mut connection, put_ended, BATCH).await?;
    let purge_until = time - Span::from_std(times.purge_after).unwrap_or_default();
    let retired = files_to_retire(&mut connection, time, BATCH).await?;
    let purged = files_to_purge(&mut connection, purge_until, BATCH).await?;
    let counted = time - Span::from_std(times.count_every).unwrap_or_default();
    let counted = quotas_to_count(&mut connection, counted, COUNTS).await?;
    let ended_until = time - Span::from_std(times.tokens_kept).unwrap_or_default();
    let forgotten = tokens_to_forget(&mut connection, ended_until, BATCH).await?;
    drop(connection);
    for file in retired {
        report(file, change(worker, file, file::Command::Delete).await);
    }
    for file in purged {
        let deleted_until = Timestamp(purge_until.timestamp_millis());
        report(file, change(worker, file, file::Command::Purge { deleted_until }).await);
    }
    for (company, token) in forgotten {
        if let Err(error) = forget(worker, company, token, Timestamp(ended_until.timestamp_millis())).await {
            tracing::warn!(token_id = %token, %error, "the sweep will come back to a token");
        }
    }
    for quota in counted {
        if let Err(error) = recalculate(worker, &quota).await {
            tracing::warn!(company = %quota.company_id, %error, "the sweep will come back to a company's space");
        }
    }
    for upload in overdue {
        report(upload, expire(worker, upload).await);
    }
    for upload in awaited {
        let causation = Causation::Request(Uuid::now_v7());
        report(upload, advance(worker, upload.company_id, upload.upload_id, causation).await);
    }
    for upload in open {
        report(upload, clear(worker, &aggregate(upload), Timestamp(put_ended.timestamp_millis())).await);
    }
    Ok(())
}

/// What goes wrong with one upload keeps no other from its turn.
fn report(upload: Overdue, outcome: Result<(), ReactionError>) {
    match outcome {
        Err(error) if !error.is_contention() => {
            tracing::warn!(upload_id = %upload.upload_id, %error, "the sweep will come back to an upload");
        }
        _ => {}
    }
}

fn aggregate(overdue: Overdue) -> UploadAggregate {
    UploadAggregate { company: overdue.company_id, upload: overdue.upload_id }
}

/// The event alone; the reaction to it gives the space back and deletes what is there. An object that its client made in
/// time is looked for first: whoever was to do that may have gone.
async fn expire(worker: &Worker, overdue: Overdue) -> Result<(), ReactionError> {
    let causation = Causation::Request(Uuid::now_v7());
    let mut known = load(worker.log.as_ref(), &aggregate(overdue)).await?;
    if matches!(known.state.kind, UploadKind::Quarantine { .. }) {
        advance(worker, overdue.company_id, overdue.upload_id, causation).await?;
    }
    let context = worker.context(causation);
    let command = Command::Expire { now: now() };
    match execute(worker.log.as_ref(), &aggregate(overdue), &mut known, &context, command).await {
        Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes or purges a file; one that somebody has just restored stays.
async fn change(worker: &Worker, file: Overdue, command: file::Command) -> Result<(), ReactionError> {
    let context = worker.context(Causation::Request(Uuid::now_v7()));
    let aggregate = FileAggregate { company: file.company_id, file: file.upload_id, routing: Routing::default() };
    match execute(worker.log.as_ref(), &aggregate, &mut Loaded::default(), &context, command).await {
        Ok(_) | Err(ExecuteError::Refused(Refusal::FileNotDeleted | Refusal::NotFound { .. })) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Forgets a token that ended.
async fn forget(
    worker: &Worker,
    company: CompanyId,
    token: TokenId,
    ended_until: Timestamp,
) -> Result<(), ReactionError> {
    let context = worker.context(Causation::Request(Uuid::now_v7()));
    let aggregate = TokenAggregate { company, token };
    let command = token::Command::Forget { ended_until };
    execute(worker.log.as_ref(), &aggregate, &mut Loaded::default(), &context, command).await?;
    Ok(())
}

/// Says what a company's files take, and by how much that is not what was accounted for. Somebody who is faster puts it
/// off to the next round.
async fn recalculate(worker: &Worker, counted: &Counted) -> Result<(), ReactionError> {
    let company = counted.company_id;
    let (drift_bytes, drift_files) = (counted.drift_bytes(), counted.drift_files());
    if drift_bytes != 0 || drift_files != 0 {
        metrics::QUOTA_DRIFTS.inc();
        tracing::error!(%company, drift_bytes, drift_files, "a company's files are not what is accounted for");
    }
    let quota = load_quota(worker.log.as_ref(), Some(&worker.snapshots), company).await?;
    let event = QuotaRecalculatedV1 {
        storage_used_bytes: counted.file_bytes.unsigned_abs(),
        file_count: counted.files.unsigned_abs(),
        drift_bytes,
        drift_files,
    };
    let context = worker.context(Causation::Request(Uuid::now_v7()));
    let appended = append_quota(worker.log.as_ref(), company, quota.last_seq, &context, event.into()).await;
    appended.map(drop).map_err(|error| ExecuteError::from(error).into())
}
