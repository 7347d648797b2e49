//! One object for all files of a company with the same bytes, and the end of files for good.

use super::{ReactionError, cleanup};
use crate::{Worker, keys};
use waybill_domain::content::{Command, Object, State as Content};
use waybill_domain::upload::{Phase, State};
use waybill_repository::{ContentAggregate, LifecycleAggregate, Loaded, UploadAggregate, execute, load};
use waybill_schema::events::ReleasedItem;
use waybill_schema::{Causation, CompanyId, FileId};

/// The file refers to the company's object with its bytes, or brings it. Always after verification: that somebody has
/// the same bytes spares nobody their upload, and so tells nobody of it.
pub(super) async fn keep(
    worker: &Worker,
    aggregate: &UploadAggregate,
    state: &State,
    causation: Causation,
) -> Result<(), ReactionError> {
    let Some((content, keep)) = what_to_keep(worker, aggregate, state) else { return Ok(()) };
    // Hardly ever are the bytes known: whether they are, the append says.
    let mut loaded = Loaded::of_new();
    execute(worker.log.as_ref(), &content, &mut loaded, &worker.context(causation), keep).await?;
    delete_own_copy(worker, state, &loaded.state).await
}

/// The content of a verified file, and what is to be said of it.
fn what_to_keep(worker: &Worker, aggregate: &UploadAggregate, state: &State) -> Option<(ContentAggregate, Command)> {
    let Phase::Verified { sha256, storage_key } = &state.phase else { return None };
    let own = Object { storage_bucket: worker.store.bucket().to_owned(), storage_key: storage_key.clone() };
    let content = ContentAggregate { company: aggregate.company, sha256: *sha256 };
    let size_bytes = state.grid().size_bytes;
    Some((content, Command::Keep { file: aggregate.upload, own, size_bytes }))
}

/// Deletes the file's own object where another one has its bytes, or none is needed any more.
async fn delete_own_copy(worker: &Worker, state: &State, content: &Content) -> Result<(), ReactionError> {
    let Phase::Verified { storage_key, .. } = &state.phase else { return Ok(()) };
    if content.object.as_ref().is_some_and(|object| object.storage_key == *storage_key) {
        return Ok(());
    }
    delete(worker, storage_key).await
}

async fn delete(worker: &Worker, key: &str) -> Result<(), ReactionError> {
    worker.delete(key).await?;
    Ok(())
}

/// A file is gone for good: it refers to its content no longer, objects that nothing refers to are deleted, and its
/// space is given back.
pub(super) async fn purge(
    worker: &Worker,
    company: CompanyId,
    file: FileId,
    causation: Causation,
) -> Result<(), ReactionError> {
    let aggregate = UploadAggregate { company, upload: file };
    let upload = load(worker.log.as_ref(), &LifecycleAggregate(aggregate)).await?.state;
    let Some((content, keep)) = what_to_keep(worker, &aggregate, &upload) else { return Ok(()) };
    let context = worker.context(causation);
    let mut loaded = Loaded::default();
    // What was verified a moment ago may not refer to its content yet; whoever is about to say so finds it said.
    for command in [keep, Command::Release(file)] {
        execute(worker.log.as_ref(), &content, &mut loaded, &context, command).await?;
    }
    for doomed in &loaded.state.doomed {
        delete(worker, &doomed.storage_key).await?;
    }
    delete_own_copy(worker, &upload, &loaded.state).await?;
    // Of a request that was sent again after its answer was lost there may be two objects.
    let kept = loaded.state.object.as_ref().map(|object| object.storage_key.as_str());
    cleanup::delete_others(worker, &keys::objects(company, file), kept).await?;
    let item = ReleasedItem { file_id: file, bytes: upload.grid().size_bytes };
    Ok(worker.space.release(company, item, context).await?)
}
