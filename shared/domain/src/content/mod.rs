//! Content: an object that several files of a company with equal bytes refer to. It exists as long as a file refers to
//! it.

mod aggregate;

pub use aggregate::ContentAggregate;

use crate::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use waybill_schema::FileId;
use waybill_schema::events::{ContentEvent, ContentReferenced, ContentReleased, ContentShared};

/// Object in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The bucket.
    pub storage_bucket: String,
    /// The key.
    pub storage_key: String,
}

/// Content, folded from its events. There are no events for bytes that only one file has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The object with the bytes. It moves to `doomed` after its last reference was released, and is never used again.
    pub object: Option<Object>,
    /// The files that refer to the object.
    pub references: BTreeSet<FileId>,
    /// Files that do not refer to the content and never will (again).
    pub released: BTreeSet<FileId>,
    /// Objects that no file refers to any more. They will be deleted.
    pub doomed: Vec<Object>,
}

/// Verified file with the same bytes in its own object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The file.
    pub file: FileId,
    /// The object of the file.
    pub object: Object,
    /// Size of the object in bytes.
    pub size_bytes: u64,
}

/// Command to content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let verified files with the same bytes refer to the shared object. If there is no shared object yet, the object
    /// of the holder becomes it.
    Share {
        /// The files. Each has its own object.
        files: Vec<FileId>,
        /// Another file with the same bytes.
        holder: Option<Holder>,
    },
    /// Record that a file was purged.
    Release(FileId),
}

/// Applies one event to the state.
pub fn evolve(state: &mut State, event: &ContentEvent) {
    match event {
        ContentEvent::ContentShared(shared) => {
            state.object =
                Some(Object { storage_bucket: shared.storage_bucket.clone(), storage_key: shared.storage_key.clone() });
            state.references.extend(&shared.file_ids);
        }
        ContentEvent::ContentReferenced(referenced) => state.references.extend(&referenced.file_ids),
        ContentEvent::ContentReleased(released) => {
            state.references.remove(&released.file_id);
            state.released.insert(released.file_id);
            if state.references.is_empty() {
                state.doomed.extend(state.object.take());
            }
        }
    }
}

/// Decides on a command. Returns no event if the command was carried out before or there is nothing to share. A
/// released file never refers to the content again.
///
/// # Errors
/// None.
pub fn decide(state: &State, command: Command) -> Result<Option<ContentEvent>, Refusal> {
    Ok(match command {
        Command::Share { files, holder } => share(state, files, holder),
        Command::Release(file) => (!state.released.contains(&file)).then(|| {
            let others = state.references.len() - usize::from(state.references.contains(&file));
            ContentReleased { file_id: file, references: others as u64 }.into()
        }),
    })
}

fn share(state: &State, mut files: Vec<FileId>, holder: Option<Holder>) -> Option<ContentEvent> {
    files.sort_unstable();
    files.dedup();
    files.retain(|file| !state.references.contains(file) && !state.released.contains(file));
    if let Some(object) = &state.object {
        let Object { storage_bucket, storage_key } = object.clone();
        return (!files.is_empty()).then(|| ContentReferenced { file_ids: files, storage_bucket, storage_key }.into());
    }
    let holder = holder.filter(|holder| !state.released.contains(&holder.file))?;
    files.retain(|file| *file != holder.file);
    if files.is_empty() {
        return None;
    }
    files.insert(0, holder.file);
    let Object { storage_bucket, storage_key } = holder.object;
    Some(ContentShared { file_ids: files, storage_bucket, storage_key, size_bytes: holder.size_bytes }.into())
}
