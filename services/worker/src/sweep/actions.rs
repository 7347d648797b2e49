//! Handles one candidate of the sweep. The events of the candidate decide what happens.

use super::candidate::{aggregate, time_now};
use crate::Worker;
use crate::metrics;
use crate::reactions::{ReactionError, advance};
use chrono::Duration as Span;
use waybill_domain::upload::Command;
use waybill_domain::{Refusal, file, quota, token};
use waybill_read_model::queries::{Counted, Overdue};
use waybill_repository::{Aggregate, ExecuteError, FileAggregate, QuotaAggregate, TokenAggregate, forget_snapshot};
use waybill_schema::events::{QuotaRecalculated, UploadKind};
use waybill_schema::{Causation, CompanyId, Timestamp, TokenId};
use waybill_service_kit::{new_id, now};

/// Appends only the event that expires an upload. The reaction to this event releases the reservation and deletes the
/// objects. If the client of a direct upload has created its object in time, that object counts: it is looked for
/// first, because the worker that awaited it may be gone.
pub(super) async fn expire(worker: &Worker, overdue: Overdue) -> Result<(), ReactionError> {
    let causation = Causation::Request(new_id());
    let mut known = worker.repository.load(&aggregate(overdue)).await?;
    if matches!(known.state.kind, UploadKind::Quarantine { .. }) {
        advance(worker, overdue.company_id, overdue.upload_id, causation).await?;
    }
    let context = worker.context(causation);
    let command = Command::Expire { now: now() };
    match worker.repository.execute_from(&aggregate(overdue), &mut known, command, &context).await {
        Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Retires or purges a file. Does nothing if a user has restored it in the meantime.
pub(super) async fn change(worker: &Worker, file: Overdue, command: file::Command) -> Result<(), ReactionError> {
    let context = worker.context(Causation::Request(new_id()));
    let aggregate = FileAggregate { company: file.company_id, file: file.upload_id };
    match worker.repository.execute(&aggregate, command, &context).await {
        Ok(_) | Err(ExecuteError::Refused(Refusal::FileNotDeleted | Refusal::NotFound { .. })) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes a file if its retention period is over under the company's current policy, which the tables may not contain
/// yet.
pub(super) async fn retire(worker: &Worker, file: Overdue) -> Result<(), ReactionError> {
    let Some(days) = worker.policies.retention_days(file.company_id).await? else { return Ok(()) };
    let until = time_now() - Span::days(i64::from(days));
    if file.place.time > until {
        return Ok(());
    }
    change(worker, file, file::Command::Retire { restored_until: Timestamp(until.timestamp_millis()) }).await
}

/// Appends the event that removes an ended token, and deletes its snapshot.
pub(super) async fn forget(
    worker: &Worker,
    company: CompanyId,
    token: TokenId,
    ended_until: Timestamp,
) -> Result<(), ReactionError> {
    let context = worker.context(Causation::Request(new_id()));
    let aggregate = TokenAggregate { company, token };
    let command = token::Command::Forget { ended_until };
    worker.repository.execute(&aggregate, command, &context).await?;
    if let Err(error) = forget_snapshot(worker.log.as_ref(), aggregate.subject()).await {
        tracing::debug!(token_id = %token, %error, "cannot delete the snapshot of an ended token");
    }
    Ok(())
}

/// Appends the bytes and the number of a company's files, and how much the quota differed from them.
pub(super) async fn recalculate(worker: &Worker, counted: &Counted) -> Result<(), ReactionError> {
    let company = counted.company_id;
    let (drift_bytes, drift_files) = (counted.drift_bytes(), counted.drift_files());
    if drift_bytes != 0 || drift_files != 0 {
        metrics::QUOTA_DRIFTS.inc();
        tracing::error!(%company, drift_bytes, drift_files, "the quota of a company differs from its files");
    }
    let event = QuotaRecalculated {
        storage_used_bytes: counted.file_bytes.unsigned_abs(),
        file_count: counted.files.unsigned_abs(),
        drift_bytes,
        drift_files,
    };
    let context = worker.context(Causation::Request(new_id()));
    worker.repository.execute(&QuotaAggregate { company }, quota::Command::Recalculate(event), &context).await?;
    Ok(())
}
