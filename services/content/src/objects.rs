//! Objects of verified files.

use waybill_event_log::ReadError;
use waybill_object_store::{ObjectStore, StoreError};
use waybill_repository::{ContentAggregate, Repository};
use waybill_schema::FileId;

/// Reason why the object of a file cannot be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns the key of a file's object: the one under which the file was verified, or that of the object that it shares with
/// other files of the same content.
pub(crate) async fn existing_key(
    store: &dyn ObjectStore,
    repository: &Repository,
    content: ContentAggregate,
    file: FileId,
    storage_key: &str,
) -> Result<String, ObjectError> {
    if store.size(storage_key).await?.is_some() {
        return Ok(storage_key.to_owned());
    }
    let state = repository.load(&content).await?.state;
    let object = state.object.filter(|_| state.references.contains(&file));
    let operation = "reading a file to look into it";
    object.map(|object| object.storage_key).ok_or(ObjectError::Store(StoreError::NotFound { operation }))
}
