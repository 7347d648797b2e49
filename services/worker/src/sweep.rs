//! The sweep: ends uploads that were not continued in time, and takes back space that was reserved for uploads which
//! never started. The read model only says where to look; whether it is so is decided on the events.

use crate::Worker;
use crate::reactions::ReactionError;
use chrono::{DateTime, Duration as Span, Utc};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use waybill_domain::upload::Command;
use waybill_read_model::queries::{Overdue, overdue_reservations, overdue_uploads};
use waybill_repository::{ExecuteError, Loaded, UploadAggregate, execute};
use waybill_schema::Causation;
use waybill_service_kit::{Shutdown, now};

/// How many are ended in one round.
const BATCH: i64 = 500;

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
    let time = DateTime::<Utc>::from_timestamp_millis(now().0).unwrap_or_default();
    let mut connection = worker.database.connection().await?;
    let mut found = overdue_uploads(&mut connection, time - Span::from_std(grace).unwrap_or_default(), BATCH).await?;
    found.extend(overdue_reservations(&mut connection, time, BATCH).await?);
    drop(connection);
    for overdue in found {
        match expire(worker, overdue).await {
            Err(error) if error.is_contention() => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// The event alone; the reaction to it gives the space back and deletes what is there.
async fn expire(worker: &Worker, overdue: Overdue) -> Result<(), ReactionError> {
    let aggregate = UploadAggregate { company: overdue.company_id, upload: overdue.upload_id };
    let context = worker.context(Causation::Request(Uuid::now_v7()));
    let command = Command::Expire { now: now() };
    match execute(worker.log.as_ref(), &aggregate, &mut Loaded::default(), &context, command).await {
        Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
