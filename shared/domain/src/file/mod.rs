//! A verified file's life: names, deletion, restoring.

use crate::{Refusal, name};
use waybill_schema::events::{Event, FileDeletedV1, FileRenamedV1, FileRestoredV1};

/// A file, folded from its events. That it exists is known from its upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The name that replaced the original one.
    pub display_name: Option<String>,
    /// Whether it was deleted softly.
    pub deleted: bool,
}

/// A command to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Show it under another name.
    Rename(String),
    /// Delete it softly.
    Delete,
    /// Bring it back.
    Restore,
}

/// Folds one event.
pub fn evolve(state: &mut State, event: &Event) {
    match event {
        Event::FileRenamed(renamed) => state.display_name = Some(renamed.display_name.clone()),
        Event::FileDeleted(_) => state.deleted = true,
        Event::FileRestored(_) => state.deleted = false,
        _ => {}
    }
}

/// Decides; no event means that the command was carried out before.
///
/// # Errors
/// The [`Refusal`] that the client is to see.
pub fn decide(state: &State, command: Command) -> Result<Option<Event>, Refusal> {
    match command {
        Command::Rename(_) if state.deleted => Err(Refusal::FileDeleted),
        Command::Rename(display_name) => {
            name::check(&display_name)?;
            let new = state.display_name.as_ref() != Some(&display_name);
            Ok(new.then(|| FileRenamedV1 { display_name }.into()))
        }
        Command::Delete => Ok((!state.deleted).then(|| FileDeletedV1 {}.into())),
        Command::Restore => Ok(state.deleted.then(|| FileRestoredV1 {}.into())),
    }
}
