//! Lets files of a company with the same bytes share one object, and purges files.

use super::{ReactionError, cleanup};
use crate::contents::Verified;
use crate::{Worker, keys};
use waybill_domain::upload::{Phase, State};
use waybill_repository::{ContentAggregate, FileAggregate, LifecycleAggregate, Loaded, UploadAggregate};
use waybill_schema::events::ReleasedItem;
use waybill_schema::{Causation, CompanyId, FileId};

/// Lets a verified file share an object with other files of the company that have the same bytes. This happens only
/// after the verification, so that a client cannot find out from its upload if the company already has these bytes.
pub(super) async fn keep(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &Loaded<State>,
    causation: Causation,
) -> Result<(), ReactionError> {
    let Phase::Verified { sha256, storage_key } = &loaded.state.phase else { return Ok(()) };
    let caused_at = match causation {
        Causation::Event(position) => position.seq,
        Causation::Request(_) => 0,
    };
    let verified = Verified {
        file: aggregate.upload,
        sha256: *sha256,
        seq: caused_at.max(loaded.last_seq),
        context: worker.context(causation),
    };
    let shared = worker.contents.share(aggregate.company, verified).await?;
    if shared.is_some_and(|object| object.storage_key != *storage_key) {
        worker.delete_with_others(storage_key).await?;
    }
    Ok(())
}

/// Purges a file: removes the reference to its content, deletes its previews and objects to which no file refers, and
/// releases its space.
pub(super) async fn purge(
    worker: &Worker,
    company: CompanyId,
    file: FileId,
    causation: Causation,
) -> Result<(), ReactionError> {
    let aggregate = UploadAggregate { company, upload: file };
    let upload = worker.repository.load(&LifecycleAggregate(aggregate)).await?.state;
    let Phase::Verified { sha256, .. } = &upload.phase else { return Ok(()) };
    let context = worker.context(causation);
    let content = ContentAggregate { company, sha256: *sha256 };
    let (object, doomed) = worker.contents.release(content, file, &context).await?;
    for doomed in &doomed {
        worker.delete(&doomed.storage_key).await?;
    }
    // A request that was repeated after its answer was lost may have left two objects.
    let kept = object.as_ref().map(|object| object.storage_key.as_str());
    cleanup::delete_others(worker, &keys::objects(company, file), kept).await?;
    let previews = worker.repository.load(&FileAggregate { company, file }).await?.state.previews;
    for key in previews.keys(company, file) {
        worker.delete(&key).await?;
    }
    let item = ReleasedItem {
        file_id: file,
        bytes: upload.grid().size_bytes,
        user_id: upload.started.as_ref().map(|started| started.uploaded_by),
    };
    Ok(worker.space.release(company, item, context).await?)
}
