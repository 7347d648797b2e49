//! A verified file's life: names, metadata, deletion, restoring, the end.

use crate::{Refusal, name};
use serde::{Deserialize, Serialize};
use waybill_schema::Timestamp;
use waybill_schema::events::{
    FileDeletedV1, FileEvent, FileMetadataChangedV1, FilePurgedV1, FileRenamedV1, FileRestoredV1, FileSpaceReleasedV1,
};

/// A file, folded from its events. That it exists is known from its upload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The name that replaced the original one.
    pub display_name: Option<String>,
    /// Whether it was deleted softly.
    pub deleted: bool,
    /// When that was.
    pub deleted_at: Option<Timestamp>,
    /// When it was last brought back.
    pub restored_at: Option<Timestamp>,
    /// The metadata that replaced those of the upload.
    pub metadata: Option<Option<String>>,
    /// Whether it is gone for good.
    pub purged: bool,
    /// Whether its space was given back.
    pub is_space_released: bool,
}

/// A command to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Show it under another name.
    Rename(String),
    /// Delete it softly.
    Delete,
    /// Delete it softly because its retention is over. A file that somebody brought back begins another retention.
    Retire {
        /// Files that were brought back later stay.
        restored_until: Timestamp,
    },
    /// Bring it back.
    Restore,
    /// Replace the host product's own facts about it: a JSON object, or nothing.
    SetMetadata(Option<String>),
    /// End it for good, if it was deleted by then.
    Purge {
        /// Files that were deleted later stay.
        deleted_until: Timestamp,
    },
    /// The space of a purged file was given back.
    RecordRelease,
}

/// Folds one event, recorded at `time`.
pub fn evolve(state: &mut State, event: &FileEvent, time: Timestamp) {
    match event {
        FileEvent::FileRenamed(renamed) => state.display_name = Some(renamed.display_name.clone()),
        FileEvent::FileDeleted(_) => {
            state.deleted = true;
            state.deleted_at = Some(time);
        }
        FileEvent::FileRestored(_) => {
            state.deleted = false;
            state.deleted_at = None;
            state.restored_at = Some(time);
        }
        FileEvent::FileMetadataChanged(changed) => state.metadata = Some(changed.metadata.clone()),
        FileEvent::FilePurged(_) => state.purged = true,
        FileEvent::FileSpaceReleased(_) => state.is_space_released = true,
    }
}

/// Decides; no event means that the command was carried out before.
///
/// # Errors
/// The [`Refusal`] that the client is to see.
pub fn decide(state: &State, command: Command) -> Result<Option<FileEvent>, Refusal> {
    match command {
        Command::Purge { .. } if state.purged => Ok(None),
        Command::RecordRelease if state.purged => Ok((!state.is_space_released).then(|| FileSpaceReleasedV1 {}.into())),
        Command::RecordRelease => Err(Refusal::FileNotDeleted),
        _ if state.purged => Err(Refusal::NotFound { what: "file" }),
        Command::Rename(_) | Command::SetMetadata(_) if state.deleted => Err(Refusal::FileDeleted),
        Command::Rename(display_name) => {
            name::check(&display_name)?;
            let new = state.display_name.as_ref() != Some(&display_name);
            Ok(new.then(|| FileRenamedV1 { display_name }.into()))
        }
        Command::Delete => Ok((!state.deleted).then(|| FileDeletedV1 {}.into())),
        Command::Retire { restored_until } => {
            let is_over = state.restored_at.is_none_or(|restored_at| restored_at <= restored_until);
            Ok((is_over && !state.deleted).then(|| FileDeletedV1 {}.into()))
        }
        Command::SetMetadata(metadata) => {
            let new = state.metadata.as_ref() != Some(&metadata);
            Ok(new.then(|| FileMetadataChangedV1 { metadata }.into()))
        }
        Command::Purge { deleted_until } => match state.deleted_at {
            Some(at) if at <= deleted_until => Ok(Some(FilePurgedV1 {}.into())),
            _ => Err(Refusal::FileNotDeleted),
        },
        Command::Restore => Ok(state.deleted.then(|| FileRestoredV1 {}.into())),
    }
}
