//! Decides which files get previews, and when.

use crate::media_type::essence;
use crate::scan::{Clearance, ScanRules, Scans};
use crate::upload::{self, Phase};
use serde::{Deserialize, Serialize};
use waybill_schema::events::FileEvent;
use waybill_schema::{CompanyId, FileId, PreviewFailure, PreviewSet, Variant, names};

/// Maximum size in bytes of a file that gets previews. The decoder holds the whole file in memory.
pub const SOURCE_MAX_BYTES: u64 = 64 << 20;

/// Media types of the files that get previews.
const TYPES: &[&str] = &["application/pdf", "image/gif", "image/jpeg", "image/png", "image/webp"];

/// Previews of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Previews {
    /// None were made yet.
    #[default]
    Absent,
    /// They were made and stored.
    Made {
        /// Id of the set.
        set: PreviewSet,
        /// The variants that are stored.
        variants: Vec<Variant>,
    },
    /// They could not be made.
    Failed(PreviewFailure),
}

impl Previews {
    /// Returns the keys of the objects.
    pub fn keys(&self, company: CompanyId, file: FileId) -> Vec<String> {
        match self {
            Self::Made { set, variants } => {
                variants.iter().map(|variant| names::variant_key(company, file, *set, *variant)).collect()
            }
            Self::Absent | Self::Failed(_) => Vec::new(),
        }
    }

    /// Applies an event of the file.
    pub fn apply(&mut self, event: &FileEvent) {
        match event {
            FileEvent::PreviewsMade(made) => {
                let variants = made.variants.iter().map(|stored| stored.variant).collect();
                *self = Self::Made { set: made.set, variants };
            }
            FileEvent::PreviewFailed(failed) => *self = Self::Failed(failed.reason),
            FileEvent::FileRenamed(_)
            | FileEvent::FileDeleted(_)
            | FileEvent::FileRestored(_)
            | FileEvent::FileMetadataChanged(_)
            | FileEvent::FilePurged(_)
            | FileEvent::FileSpaceReleased(_)
            | FileEvent::FileScanned(_)
            | FileEvent::FileReleased(_) => {}
        }
    }
}

/// Next step for the previews of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the file has previews or needs none, or another event comes first.
    Nothing,
    /// Record that there are no previews.
    Fail(PreviewFailure),
    /// Make the previews.
    Make,
}

/// A file that may get previews.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its upload.
    pub upload: &'a upload::State,
    /// Its virus scans.
    pub scans: &'a Scans,
    /// Its previews.
    pub previews: &'a Previews,
    /// `true` if the file was purged.
    pub is_purged: bool,
}

/// Returns the next step for the previews of a file. With `again`, previews that could not be made before are tried again.
pub fn next_step(file: Candidate<'_>, rules: ScanRules, again: bool) -> Step {
    let upload = file.upload;
    let (Phase::Verified { .. }, Some(started)) = (&upload.phase, &upload.started) else { return Step::Nothing };
    let is_open = match file.previews {
        Previews::Absent => true,
        Previews::Failed(_) => again,
        Previews::Made { .. } => false,
    };
    // A verdict or a release that makes the file readable comes with an event.
    let is_readable = !file.is_purged && rules.clearance_of(file.scans) == Clearance::Readable;
    // The content decides. The type that the client names counts only if the content was not recognised.
    let mime_type = upload.sniffed_mime_type.as_deref().unwrap_or(&started.mime_type);
    if !is_open || !is_readable || !is_supported(mime_type) {
        return Step::Nothing;
    }
    if upload.grid().size_bytes > SOURCE_MAX_BYTES {
        return Step::Fail(PreviewFailure::TooLarge);
    }
    Step::Make
}

/// Returns `true` if files of this media type get previews.
pub fn is_supported(mime_type: &str) -> bool {
    TYPES.contains(&essence(mime_type).as_str())
}
