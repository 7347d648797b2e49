//! Changes of verified files.

use crate::application::gateway::Gateway;
use crate::http::problems::OrProblem;
use waybill_domain::file::Command;
use waybill_domain::upload::Phase;
use waybill_http_kit::Problem;
use waybill_repository::{Context, FileAggregate, LifecycleAggregate, UploadAggregate};
use waybill_schema::events::UploadDescription;
use waybill_schema::{CompanyId, FileId, Position};

/// Returns the start of the upload of a verified file; 404 if the file does not exist or is not verified.
pub(crate) async fn verified(
    gateway: &Gateway,
    company: CompanyId,
    file: FileId,
) -> Result<UploadDescription, Problem> {
    let aggregate = LifecycleAggregate(UploadAggregate { company, upload: file });
    let upload = gateway.repository.load(&aggregate).await.or_problem("loading an upload")?.state;
    let is_verified = matches!(upload.phase, Phase::Verified { .. });
    upload.started.filter(|_| is_verified).ok_or_else(|| Problem::not_found("file"))
}

pub(crate) async fn run(
    gateway: &Gateway,
    context: &Context,
    company: CompanyId,
    file: FileId,
    command: Command,
) -> Result<Position, Problem> {
    let aggregate = FileAggregate { company, file };
    gateway
        .repository
        .execute(&aggregate, command, context)
        .await
        .map(|done| done.position)
        .or_problem("changing a file")
}

/// Deletes a verified file so that it can still be restored.
pub(crate) async fn delete_file(
    gateway: &Gateway,
    context: &Context,
    company: CompanyId,
    file: FileId,
) -> Result<Position, Problem> {
    run(gateway, context, company, file, Command::Delete).await
}
