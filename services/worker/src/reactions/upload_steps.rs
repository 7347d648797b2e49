//! Does the steps that the domain decides for an upload.

use super::{ReactionError, cleanup, complete, concatenate, content, quarantine, verify};
use crate::Worker;
use crate::data_plane::{PlaneError, assemble_part};
use waybill_domain::Refusal;
use waybill_domain::upload::{self, Step};
use waybill_repository::{Loaded, UploadAggregate};
use waybill_schema::events::SettledItem;
use waybill_schema::{Causation, CompanyId, UploadId};

/// Loads an upload and does its next steps.
pub(crate) async fn advance(
    worker: &Worker,
    company: CompanyId,
    upload: UploadId,
    causation: Causation,
) -> Result<(), ReactionError> {
    let aggregate = UploadAggregate { company, upload };
    let mut loaded = worker.repository.load(&aggregate).await?;
    take_steps(worker, &aggregate, &mut loaded, causation).await
}

pub(super) async fn take_steps(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<upload::State>,
    causation: Causation,
) -> Result<(), ReactionError> {
    for step in upload::react(&loaded.state) {
        do_step(worker, aggregate, loaded, causation, step).await?;
    }
    if loaded.state.has_ended() {
        worker.uploads.close(aggregate.upload);
    }
    Ok(())
}

async fn do_step(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<upload::State>,
    causation: Causation,
    step: Step,
) -> Result<(), ReactionError> {
    tracing::debug!(upload_id = %aggregate.upload, ?step, "reacting");
    let (company, upload) = (aggregate.company, aggregate.upload);
    match step {
        Step::AssemblePart(part_number) => {
            let open = worker.uploads.open(company, upload).await?;
            let _lease = open.lease(part_number).await;
            worker.repository.refresh(aggregate, &mut *open.loaded.lock().await).await?;
            match assemble_part(worker, &open, &worker.context(causation), part_number, None).await {
                // The end of the upload has its own event and reaction.
                Ok(()) | Err(PlaneError::Refused(Refusal::UploadEnded { .. })) => {}
                Err(error) => return Err(error.into()),
            }
            worker.repository.refresh(aggregate, loaded).await?;
            Ok(())
        }
        Step::Concatenate => concatenate::concatenate(worker, aggregate, loaded, causation).await,
        Step::TakeOver => quarantine::take_over(worker, aggregate, loaded, causation).await,
        Step::CompleteObject => complete::complete_or_reject(worker, aggregate, loaded, causation).await,
        Step::VerifyObject => verify::verify_object(worker, aggregate, loaded, causation).await,
        Step::DeleteObject => cleanup::delete_object(worker, aggregate, &loaded.state).await,
        Step::DeletePartials => concatenate::delete_partials(worker, aggregate, &loaded.state, causation).await,
        Step::DeleteQuarantine => quarantine::delete(worker, aggregate, &loaded.state).await,
        Step::DeleteStaging => cleanup::delete_staging(worker, aggregate).await,
        Step::KeepContent => content::keep(worker, aggregate, loaded, causation).await,
        Step::SettleAsUsed => settle(worker, aggregate, Some(loaded.state.grid().size_bytes), causation).await,
        Step::SettleAsUnused => settle(worker, aggregate, None, causation).await,
    }
}

/// Settles the reservation of an upload. `bytes_used` is the size of its file, or `None` if it did not become a file.
async fn settle(
    worker: &Worker,
    aggregate: &UploadAggregate,
    bytes_used: Option<u64>,
    causation: Causation,
) -> Result<(), ReactionError> {
    let item = SettledItem { upload_id: aggregate.upload, bytes_used };
    Ok(worker.space.settle(aggregate.company, item, worker.context(causation)).await?)
}
