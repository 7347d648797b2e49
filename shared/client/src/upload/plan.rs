//! File to upload.

use super::args::UploadArgs;
use super::error::UploadError;
use crate::state::FileFacts;
use std::path::{Path, PathBuf};
use uuid::Uuid;
use waybill_api::uploads;

/// File to upload.
pub(super) struct Plan {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) mime_type: String,
    pub(super) chatroom: Option<String>,
    pub(super) thread: Option<String>,
    pub(super) facts: FileFacts,
}

impl Plan {
    /// Checks a path and describes its file.
    pub(super) fn of(path: &Path, args: &UploadArgs) -> Result<Self, UploadError> {
        let absolute = path.canonicalize()?;
        let metadata = absolute.metadata()?;
        if !metadata.is_file() {
            return Err(UploadError::Unfit("not a regular file".to_owned()));
        }
        std::fs::File::open(&absolute)?;
        // For a link, the name is that of the link, not that of its target.
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| UploadError::Unfit("the name of the file is not valid UTF-8".to_owned()))?;
        let guessed = mime_guess::from_path(path).first_or_octet_stream();
        Ok(Self {
            name: name.to_owned(),
            facts: FileFacts::of(&metadata),
            mime_type: args.mime_type.clone().unwrap_or_else(|| guessed.essence_str().to_owned()),
            chatroom: args.chatroom.clone(),
            thread: args.thread.clone(),
            path: absolute,
        })
    }

    /// Returns the size in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.facts.size_bytes
    }

    /// Returns the path for the output. Characters that are not valid text are replaced.
    pub(super) fn shown_path(&self) -> String {
        self.path.display().to_string()
    }

    /// Returns the body of the request that starts the upload.
    pub(super) fn start(&self, session_id: Option<&str>) -> Result<uploads::FileFacts, UploadError> {
        Ok(uploads::FileFacts {
            name: self.name.clone(),
            size_bytes: self.size_bytes(),
            mime_type: Some(self.mime_type.clone()),
            session_id: id(session_id)?,
            chatroom_id: id(self.chatroom.as_deref())?,
            thread_id: id(self.thread.as_deref())?,
            ..uploads::FileFacts::default()
        })
    }
}

/// Parses an id, if there is one.
fn id(text: Option<&str>) -> Result<Option<Uuid>, UploadError> {
    let parse =
        |text: &str| text.parse().map_err(|error| UploadError::Unfit(format!("the id {text} is invalid: {error}")));
    text.map(parse).transpose()
}
