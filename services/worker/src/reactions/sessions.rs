//! Cancels the uploads of a cancelled session.

use super::ReactionError;
use crate::Worker;
use waybill_domain::upload::Command;
use waybill_domain::{Refusal, session};
use waybill_read_model::{projection, queries};
use waybill_repository::{ExecuteError, Loaded, SessionAggregate, UploadAggregate};
use waybill_schema::{Causation, CompanyId, Recorded, SessionId, UploadId};

/// Cancels an upload that started while its session was being cancelled.
pub(super) async fn cancel_if_session_was(
    worker: &Worker,
    company: CompanyId,
    session: SessionId,
    upload: UploadId,
    causation: Causation,
) -> Result<(), ReactionError> {
    let loaded = worker.repository.load(&SessionAggregate { company, session }).await?;
    if loaded.state.phase == session::Phase::Cancelled {
        cancel(worker, company, upload, causation).await?;
    }
    Ok(())
}

/// Cancels the running uploads of a session. Reads them from the read model, which must contain the cancellation.
/// Uploads that start later are cancelled in the reaction to their start.
pub(super) async fn cancel_session(
    worker: &Worker,
    recorded: &Recorded,
    session: SessionId,
    causation: Causation,
) -> Result<(), ReactionError> {
    let company = recorded.subject.company;
    let mut connection = worker.database.connection().await?;
    let checkpoint = projection::checkpoint(&mut connection, recorded.position.partition).await?;
    let folded = checkpoint.and_then(|checkpoint| u64::try_from(checkpoint.seq).ok()).unwrap_or(0);
    if folded < recorded.position.seq {
        return Err(ReactionError::ProjectionBehind);
    }
    let running = queries::unfinished_uploads(&mut connection, company, session).await?;
    drop(connection);
    for upload in running {
        cancel(worker, company, upload, causation).await?;
    }
    Ok(())
}

/// Cancels an upload. Does nothing if it is already complete.
pub(crate) async fn cancel(
    worker: &Worker,
    company: CompanyId,
    upload: UploadId,
    causation: Causation,
) -> Result<(), ReactionError> {
    let aggregate = UploadAggregate { company, upload };
    let mut loaded = Loaded::default();
    let context = worker.context(causation);
    match worker.repository.execute_from(&aggregate, &mut loaded, Command::Cancel, &context).await {
        Ok(_) | Err(ExecuteError::Refused(Refusal::UploadCompleted { .. })) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
