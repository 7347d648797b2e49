//! An upload link: people without an account send files with it, which belong to the user who made it.
//!
//! The link says what may be sent. The quota of the company counts what was sent, so that concurrent starts never exceed the
//! limits of the link.

mod aggregate;

pub use aggregate::LinkAggregate;

use crate::Refusal;
use crate::media_type::TypePolicy;
use crate::quota::LinkLimits;
use serde::{Deserialize, Serialize};
use waybill_schema::Timestamp;
use waybill_schema::events::{LinkEvent, UploadLinkMade, UploadLinkRevoked};

/// Longest lifetime of a link, in seconds.
pub const LIFETIME_MAX_S: u32 = 90 * 24 * 3_600;
/// Maximum number of files of a link.
pub const FILES_MAX: u32 = 10_000;
/// Maximum number of entries in the list of types of a link.
pub const TYPES_MAX: usize = 50;
/// Maximum length of the label in bytes.
pub const LABEL_MAX_BYTES: usize = 255;

/// Upload link, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Rules of the link; `None` if it was never made.
    pub made: Option<UploadLinkMade>,
    /// Time at which it was made.
    pub made_at: Timestamp,
    /// `true` if it was revoked.
    pub revoked: bool,
}

impl State {
    /// Returns what the link permits.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if it was never made.
    pub fn made(&self) -> Result<&UploadLinkMade, Refusal> {
        self.made.as_ref().ok_or(Refusal::NotFound { what: "upload link" })
    }

    /// Returns what the link permits, if uploads can start.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if it was never made, [`Refusal::LinkEnded`].
    pub fn check(&self, now: Timestamp) -> Result<&UploadLinkMade, Refusal> {
        let made = self.made()?;
        if self.revoked {
            return Err(Refusal::LinkEnded { why: "was revoked" });
        }
        if now >= made.expires_at {
            return Err(Refusal::LinkEnded { why: "has expired" });
        }
        Ok(made)
    }
}

/// Returns the limits that the quota enforces.
pub fn limits(made: &UploadLinkMade) -> LinkLimits {
    LinkLimits { max_files: made.max_files, max_bytes: made.max_bytes }
}

/// Returns the types that a link accepts, out of those of the company.
pub fn types(made: &UploadLinkMade, of_company: &TypePolicy) -> TypePolicy {
    if made.mime_types.is_empty() {
        of_company.clone()
    } else {
        of_company.narrowed(&TypePolicy::new(&made.mime_types))
    }
}

/// Command to an upload link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make the link.
    Make(UploadLinkMade),
    /// Revoke the link.
    Revoke,
}

/// Applies one event, recorded at `time`, to the state.
pub fn evolve(state: &mut State, event: &LinkEvent, time: Timestamp) {
    match event {
        LinkEvent::UploadLinkMade(made) => {
            state.made = Some(made.clone());
            state.made_at = time;
        }
        LinkEvent::UploadLinkRevoked(_) => state.revoked = true,
    }
}

/// Decides on a command. Returns no event if the command was carried out before.
///
/// # Errors
/// The [`Refusal`] for the client.
pub fn decide(state: &State, command: Command) -> Result<Option<LinkEvent>, Refusal> {
    match command {
        Command::Make(made) => match &state.made {
            None => Ok(Some(made.into())),
            Some(before) if *before == made => Ok(None),
            Some(_) => Err(Refusal::IdTaken { what: "upload link" }),
        },
        Command::Revoke => {
            state.made()?;
            Ok((!state.revoked).then(|| UploadLinkRevoked {}.into()))
        }
    }
}
