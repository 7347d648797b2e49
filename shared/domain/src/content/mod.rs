//! Bytes that files of one company have in common: one object for all of them, for as long as one refers to it.

use crate::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use waybill_schema::FileId;
use waybill_schema::events::{ContentEvent, ContentReferencedV2, ContentReleasedV2, ContentSharedV1};

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its bucket.
    pub storage_bucket: String,
    /// Its key.
    pub storage_key: String,
}

/// Content, folded from its events. Of content that one file has nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The object that has it; it is doomed once no file refers to it, and never used again.
    pub object: Option<Object>,
    /// The files that refer to it.
    pub references: BTreeSet<FileId>,
    /// Files that never will (again).
    pub released: BTreeSet<FileId>,
    /// Objects that nothing refers to any more.
    pub doomed: Vec<Object>,
}

/// A verified file that has the bytes, in an object of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The file.
    pub file: FileId,
    /// Its object.
    pub object: Object,
    /// Bytes.
    pub size_bytes: u64,
}

/// A command to content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// These verified files have the bytes. If they have no object yet, that of the holder becomes it.
    Share {
        /// The files, of which each has an object of its own.
        files: Vec<FileId>,
        /// Another file that has them.
        holder: Option<Holder>,
    },
    /// A file was purged.
    Release(FileId),
}

/// Folds one event.
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

/// Decides; no event means that it is so already, or that there is nothing to share. A file that was released never refers to
/// the content again.
///
/// # Errors
/// None.
pub fn decide(state: &State, command: Command) -> Result<Option<ContentEvent>, Refusal> {
    Ok(match command {
        Command::Share { files, holder } => share(state, files, holder),
        Command::Release(file) => (!state.released.contains(&file)).then(|| {
            let others = state.references.len() - usize::from(state.references.contains(&file));
            ContentReleasedV2 { file_id: file, references: others as u64 }.into()
        }),
    })
}

fn share(state: &State, mut files: Vec<FileId>, holder: Option<Holder>) -> Option<ContentEvent> {
    files.sort_unstable();
    files.dedup();
    files.retain(|file| !state.references.contains(file) && !state.released.contains(file));
    if let Some(object) = &state.object {
        let Object { storage_bucket, storage_key } = object.clone();
        return (!files.is_empty())
            .then(|| ContentReferencedV2 { file_ids: files, storage_bucket, storage_key }.into());
    }
    let holder = holder.filter(|holder| !state.released.contains(&holder.file))?;
    files.retain(|file| *file != holder.file);
    if files.is_empty() {
        return None;
    }
    files.insert(0, holder.file);
    let Object { storage_bucket, storage_key } = holder.object;
    Some(ContentSharedV1 { file_ids: files, storage_bucket, storage_key, size_bytes: holder.size_bytes }.into())
}
