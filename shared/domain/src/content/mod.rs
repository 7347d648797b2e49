//! Content: an object that several files of a company with equal bytes refer to, or a compressed object. It exists as
//! long as a file refers to it.

mod aggregate;
pub mod compression;

pub use aggregate::ContentAggregate;

use crate::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use waybill_schema::events::{
    ContentCompressed, ContentEvent, ContentNotCompressed, ContentReferenced, ContentReleased, ContentShared,
};
use waybill_schema::{FileId, names};

/// Object in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The bucket.
    pub storage_bucket: String,
    /// The key.
    pub storage_key: String,
}

/// Content, folded from its events. There are no events for bytes that only one file has, before they are compressed.
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
    /// Objects that the object has replaced. They are deleted later than the event, so that downloads of them can end.
    pub replaced: Vec<Object>,
    /// Files whose compression would gain too little.
    pub not_compressed: BTreeSet<FileId>,
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

/// A compressed object with the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compressed {
    /// The file, with the object that was compressed.
    pub of: Holder,
    /// The compressed object.
    pub object: Object,
    /// Size of the compressed object in bytes.
    pub stored_bytes: u64,
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
    /// Let all files refer to a compressed object.
    Compress(Compressed),
    /// Record that the compression of a file would gain too little.
    KeepUncompressed(FileId),
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
                state.doomed.append(&mut state.replaced);
            }
        }
        ContentEvent::ContentCompressed(compressed) => {
            state.replaced.push(Object {
                storage_bucket: compressed.replaced_bucket.clone(),
                storage_key: compressed.replaced_key.clone(),
            });
            state.object = Some(Object {
                storage_bucket: compressed.storage_bucket.clone(),
                storage_key: compressed.storage_key.clone(),
            });
            state.references.extend(&compressed.file_ids);
        }
        ContentEvent::ContentNotCompressed(kept) => {
            state.not_compressed.insert(kept.file_id);
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
        Command::Compress(compressed) => compress(state, compressed),
        Command::KeepUncompressed(file) => {
            let is_decided = state.not_compressed.contains(&file) || state.has_compressed(file);
            (!state.released.contains(&file) && !is_decided).then(|| ContentNotCompressed { file_id: file }.into())
        }
    })
}

impl State {
    /// Returns `true` if the file refers to a compressed object.
    pub fn has_compressed(&self, file: FileId) -> bool {
        let is_compressed = |object: &Object| names::is_compressed(&object.storage_key);
        self.references.contains(&file) && self.object.as_ref().is_some_and(is_compressed)
    }
}

/// A compressed object replaces only the object that it was made of, and only for a file that refers to it. If another event has
/// replaced or released that object in the meantime, there is no event.
fn compress(state: &State, Compressed { of, object, stored_bytes }: Compressed) -> Option<ContentEvent> {
    if state.references.len() > compression::REFERENCES_MAX {
        return None;
    }
    let file_ids = match &state.object {
        Some(current) if *current == of.object && *current != object && state.references.contains(&of.file) => {
            state.references.iter().copied().collect()
        }
        None if !state.released.contains(&of.file) && of.object != object => vec![of.file],
        _ => return None,
    };
    let (replaced, size_bytes) = (of.object, of.size_bytes);
    let event = ContentCompressed {
        file_ids,
        storage_bucket: object.storage_bucket,
        storage_key: object.storage_key,
        size_bytes,
        stored_bytes,
        replaced_bucket: replaced.storage_bucket,
        replaced_key: replaced.storage_key,
    };
    Some(event.into())
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
