//! The sweep: ends uploads that were not continued in time, takes back space that was reserved for uploads which never
//! started, looks for objects that clients make by themselves where nobody else does any more, and deletes what they made
//! too late. The read model only says where to look; whether it is so is decided on the events.

use crate::Worker;
use crate::reactions::{ReactionError, advance, clear};
use chrono::{DateTime, Duration as Span, Utc};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use waybill_domain::upload::Command;
use waybill_read_model::queries::{Overdue, awaited_objects, open_quarantines, overdue_reservations, overdue_uploads};
use waybill_repository::{ExecuteError, Loaded, UploadAggregate, execute};
use waybill_schema::{Causation, Timestamp};
use waybill_service_kit::{Shutdown, now};

/// How many of each kind are looked after in one round.
const BATCH: i64 = 500;
/// For how long nothing was heard of an upload when the sweep looks for its object: the worker that was told to is gone.
const QUIET_S: i64 = 120;
/// How many times the grace a PUT may run on when its URL has ended.
const PUT_GRACES: i32 = 8;

/// `grace` is how much later than `expires_at` it acts: running requests were cut by then.
pub(crate) async fn run(worker: Arc<Worker>, every: Duration, grace: Duration, shutdown: Shutdown) {
    while shutdown.unless(tokio::time::sleep(every)).await.is_some() {
        worker.uploads.close_idle();
        if let Err(error) = sweep(&worker, grace).await {
            tracing::warn!(%error, "the sweep will try again");
        }
    }
}

async fn sweep(worker: &Worker, grace: Duration) -> Result<(), ReactionError> {
    let grace = Span::from_std(grace).unwrap_or_default();
    let time = DateTime::<Utc>::from_timestamp_millis(now().0).unwrap_or_default();
    let put_ended = time - grace * PUT_GRACES;
    let mut connection = worker.database.connection().await?;
    let mut overdue = overdue_uploads(&mut connection, time - grace, BATCH).await?;
    overdue.extend(overdue_reservations(&mut connection, time, BATCH).await?);
    let awaited = awaited_objects(&mut connection, time - Span::seconds(QUIET_S), put_ended, BATCH).await?;
    let open = open_quarantines(&mut connection, put_ended, BATCH).await?;
    drop(connection);
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

/// The event alone; the reaction to it gives the space back and deletes what is there.
async fn expire(worker: &Worker, overdue: Overdue) -> Result<(), ReactionError> {
    let context = worker.context(Causation::Request(Uuid::now_v7()));
    let command = Command::Expire { now: now() };
    match execute(worker.log.as_ref(), &aggregate(overdue), &mut Loaded::default(), &context, command).await {
        Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
