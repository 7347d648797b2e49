//! Bytes that files of one company have in common: one object for all of them, for as long as one refers to it.

use crate::Refusal;
use std::collections::BTreeSet;
use waybill_schema::FileId;
use waybill_schema::events::{ContentReferencedV1, ContentReleasedV1, ContentStoredV1, Event};

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its bucket.
    pub storage_bucket: String,
    /// Its key.
    pub storage_key: String,
}

/// Content, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The object that has it; it is doomed once no file refers to it, and never used again.
    pub object: Option<Object>,
    /// The files that refer to it.
    pub references: BTreeSet<FileId>,
    /// Files that did.
    pub released: BTreeSet<FileId>,
    /// Objects that nothing refers to any more.
    pub doomed: Vec<Object>,
}

/// A command to content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A verified file has these bytes, in an object of its own.
    Keep {
        /// The file.
        file: FileId,
        /// Its own object.
        own: Object,
        /// Bytes.
        size_bytes: u64,
    },
    /// A file that refers to it was purged.
    Release(FileId),
}

/// Folds one event.
pub fn evolve(state: &mut State, event: &Event) {
    match event {
        Event::ContentStored(stored) => {
            state.object =
                Some(Object { storage_bucket: stored.storage_bucket.clone(), storage_key: stored.storage_key.clone() });
            state.references.insert(stored.file_id);
        }
        Event::ContentReferenced(referenced) => drop(state.references.insert(referenced.file_id)),
        Event::ContentReleased(released) => {
            state.references.remove(&released.file_id);
            state.released.insert(released.file_id);
            if state.references.is_empty() {
                state.doomed.extend(state.object.take());
            }
        }
        _ => {}
    }
}

/// Decides; no event means that it is so already. A file that let go never refers to the content again.
///
/// # Errors
/// None.
pub fn decide(state: &State, command: Command) -> Result<Option<Event>, Refusal> {
    Ok(match command {
        Command::Keep { file, .. } if state.references.contains(&file) || state.released.contains(&file) => None,
        Command::Keep { file, own, size_bytes } => Some(match &state.object {
            Some(object) => ContentReferencedV1 {
                file_id: file,
                storage_bucket: object.storage_bucket.clone(),
                storage_key: object.storage_key.clone(),
            }
            .into(),
            None => ContentStoredV1 {
                file_id: file,
                storage_bucket: own.storage_bucket,
                storage_key: own.storage_key,
                size_bytes,
            }
            .into(),
        }),
        Command::Release(file) => state.references.contains(&file).then(|| ContentReleasedV1 { file_id: file }.into()),
    })
}
