//! Content: an object that several files of a company with equal bytes refer to, or an object that is compressed or was
//! moved to another storage tier. It exists as long as a file refers to it.

mod aggregate;
pub mod compression;

pub use aggregate::ContentAggregate;

use crate::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use waybill_schema::events::{
    ContentCompressed, ContentEvent, ContentMoved, ContentNotCompressed, ContentReferenced, ContentReleased,
    ContentShared,
};
use waybill_schema::{FileId, StorageTier, names};

/// Object in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The bucket.
    pub storage_bucket: String,
    /// The key.
    pub storage_key: String,
}

/// Content, folded from its events. There are no events for bytes that only one file has, before they are compressed
/// or archived.
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

/// An object with the same bytes in another storage tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// A file that refers to the object which was copied, and that object.
    pub of: Holder,
    /// All files that may refer to that object. If another file does, nothing is moved.
    pub files: BTreeSet<FileId>,
    /// The new object.
    pub object: Object,
    /// Tier of the new object.
    pub tier: StorageTier,
    /// Size of the new object in bytes.
    pub stored_bytes: u64,
}

/// Command to content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let verified files with the same bytes refer to the shared object. If there is no shared object yet, or if it is
    /// archived, the object of the holder becomes it.
    Share {
        /// The files. Each has its own object.
        files: Vec<FileId>,
        /// A file with the same bytes: another one, or one of `files` if the shared object is archived.
        holder: Option<Holder>,
    },
    /// Record that a file was purged.
    Release(FileId),
    /// Let all files refer to a compressed object.
    Compress(Compressed),
    /// Record that the compression of a file would gain too little.
    KeepUncompressed(FileId),
    /// Let all files refer to an object in another storage tier.
    Move(Moved),
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
        ContentEvent::ContentCompressed(ContentCompressed {
            file_ids,
            storage_bucket,
            storage_key,
            replaced_bucket,
            replaced_key,
            ..
        })
        | ContentEvent::ContentMoved(ContentMoved {
            file_ids,
            storage_bucket,
            storage_key,
            replaced_bucket,
            replaced_key,
            ..
        }) => {
            let of = |storage_bucket: &String, storage_key: &String| Object {
                storage_bucket: storage_bucket.clone(),
                storage_key: storage_key.clone(),
            };
            state.replaced.push(of(replaced_bucket, replaced_key));
            state.object = Some(of(storage_bucket, storage_key));
            state.references.extend(file_ids);
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
        Command::Move(moved) => move_to(state, moved),
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

    /// Returns the object if it is in the cold bucket.
    pub fn cold_object(&self) -> Option<&Object> {
        self.object.as_ref().filter(|object| names::is_cold(&object.storage_key))
    }

    /// Returns the files whose object is replaced if that of `of` is; `None` if `of` does not refer to its object any more.
    fn referring(&self, of: &Holder) -> Option<Vec<FileId>> {
        match &self.object {
            Some(current) if *current == of.object && self.references.contains(&of.file) => {
                Some(self.references.iter().copied().collect())
            }
            None if !self.released.contains(&of.file) => Some(vec![of.file]),
            _ => None,
        }
    }
}

/// A compressed object replaces only the object that it was made of, and only for a file that refers to it. If another event has
/// replaced or released that object in the meantime, or it was archived, there is no event.
fn compress(state: &State, Compressed { of, object, stored_bytes }: Compressed) -> Option<ContentEvent> {
    if state.references.len() > compression::REFERENCES_MAX {
        return None;
    }
    let file_ids = state.referring(&of).filter(|_| of.object != object)?;
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

/// An object in another tier replaces only the object that it was copied from, and only if no other file refers to that one.
fn move_to(state: &State, Moved { of, files, object, tier, stored_bytes }: Moved) -> Option<ContentEvent> {
    let file_ids = state.referring(&of).filter(|_| of.object != object)?;
    if file_ids.len() > compression::REFERENCES_MAX || !file_ids.iter().all(|file| files.contains(file)) {
        return None;
    }
    Some(moved(file_ids, tier, object, of.size_bytes, stored_bytes, of.object))
}

fn moved(
    file_ids: Vec<FileId>,
    tier: StorageTier,
    to: Object,
    size_bytes: u64,
    stored_bytes: u64,
    replaced: Object,
) -> ContentEvent {
    ContentMoved {
        file_ids,
        tier,
        storage_bucket: to.storage_bucket,
        storage_key: to.storage_key,
        size_bytes,
        stored_bytes,
        replaced_bucket: replaced.storage_bucket,
        replaced_key: replaced.storage_key,
    }
    .into()
}

fn share(state: &State, mut files: Vec<FileId>, holder: Option<Holder>) -> Option<ContentEvent> {
    files.sort_unstable();
    files.dedup();
    files.retain(|file| !state.references.contains(file) && !state.released.contains(file));
    if let Some(archived) = state.cold_object() {
        // The archived files get the object of the new one, which can be read at once.
        let Holder { file, object, size_bytes } = holder.filter(|holder| files.contains(&holder.file))?;
        files.retain(|other| *other != file);
        files.insert(0, file);
        files.extend(&state.references);
        return Some(moved(files, StorageTier::Hot, object, size_bytes, size_bytes, archived.clone()));
    }
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
