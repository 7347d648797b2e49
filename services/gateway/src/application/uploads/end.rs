//! Completion and cancellation of uploads, for all protocols.

use crate::application::completion_wait::until_ended;
use crate::application::files::change::delete_file;
use crate::application::gateway::Gateway;
use crate::http::problems::{IntoProblem, OrProblem};
use std::time::Duration;
use waybill_domain::Refusal;
use waybill_domain::upload::{Command, Phase, State};
use waybill_repository::{Context, ExecuteError, Loaded, UploadAggregate};
use waybill_schema::{Position, Sha256Digest};
use waybill_service_kit::{Problem, now};

/// Appends `FileCompleted` and waits for the end of the verification, at most for `patience`.
pub(crate) async fn finish(
    gateway: &Gateway,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
    context: &Context,
    declared_sha256: Option<Sha256Digest>,
    patience: Duration,
) -> Result<(), Problem> {
    let command = Command::Complete { declared_sha256, now: now() };
    let done = gateway
        .repository
        .execute_from(aggregate, loaded, command, context)
        .await
        .or_problem("completing an upload")?;
    if !patience.is_zero() {
        until_ended(gateway, aggregate, loaded, patience).await?;
    }
    loaded.read_to = loaded.read_to.max(done.position.seq);
    Ok(())
}

/// Cancels an upload. If it is already verified, deletes its file instead.
pub(crate) async fn cancel_upload(
    gateway: &Gateway,
    context: &Context,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
) -> Result<Position, Problem> {
    match gateway.repository.execute_from(aggregate, loaded, Command::Cancel, context).await {
        Ok(done) => Ok(done.position),
        Err(ExecuteError::Refused(Refusal::UploadCompleted { .. }))
            if matches!(loaded.state.phase, Phase::Verified { .. }) =>
        {
            delete_file(gateway, context, aggregate.company, aggregate.upload).await
        }
        Err(error) => Err(error.into_problem("cancelling an upload")),
    }
}
