//! Completion and cancellation of uploads, for all protocols.

use crate::application::completion_wait::until_ended;
use crate::application::files::change::delete_file;
use crate::application::gateway::Gateway;
use crate::http::problems::{IntoProblem, OrProblem};
use futures_util::{StreamExt, stream};
use std::time::Duration;
use waybill_domain::Refusal;
use waybill_domain::upload::{Command, Phase, State};
use waybill_http_kit::Problem;
use waybill_repository::{Context, ExecuteError, Loaded, UploadAggregate};
use waybill_schema::{CompanyId, Position, Sha256Digest, UploadId, UserId};
use waybill_service_kit::now;

/// Maximum number of uploads that one request cancels.
const CANCELLED_MAX: usize = 1_000;

/// Number of uploads that are cancelled at the same time.
const CANCELLED_AT_ONCE: usize = 8;

/// Result of [`cancel_all`].
pub(crate) struct CancelledAll {
    pub(crate) cancelled: u32,
    /// Number of open uploads that are left.
    pub(crate) open: u32,
}

/// Cancels the uploads for which a user has open reservations. Reservations of uploads that are already complete or
/// cancelled end without this.
pub(crate) async fn cancel_all(
    gateway: &Gateway,
    context: &Context,
    company: CompanyId,
    user: UserId,
) -> Result<CancelledAll, Problem> {
    let quota = gateway.reserver.quota(company).await?;
    let open = quota.reserved.iter().filter(|(_, reserved)| reserved.user_id == Some(user));
    let open: Vec<UploadId> = open.map(|(upload, _)| *upload).collect();
    let outcomes: Vec<Result<bool, Problem>> = stream::iter(open.iter().take(CANCELLED_MAX))
        .map(|upload| cancel_open(gateway, context, UploadAggregate { company, upload: *upload }))
        .buffer_unordered(CANCELLED_AT_ONCE)
        .collect()
        .await;
    let mut cancelled = 0;
    for is_cancelled in outcomes {
        cancelled += u32::from(is_cancelled?);
    }
    let left = open.len().saturating_sub(CANCELLED_MAX);
    Ok(CancelledAll { cancelled, open: u32::try_from(left).unwrap_or(u32::MAX) })
}

/// Cancels an upload. Returns `false` if the upload cannot be cancelled, because it is complete, has ended or has not
/// begun.
async fn cancel_open(gateway: &Gateway, context: &Context, aggregate: UploadAggregate) -> Result<bool, Problem> {
    match gateway.repository.execute(&aggregate, Command::Cancel, context).await {
        Ok(done) => Ok(done.event.is_some()),
        Err(ExecuteError::Refused(_)) => Ok(false),
        Err(error) => Err(error.into_problem("cancelling an upload")),
    }
}

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
