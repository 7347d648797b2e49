//! Decides which files get previews, and when.

use crate::media_type::essence;
use crate::scan::{Clearance, ScanRules, Scans};
use crate::upload::{self, Phase};
use serde::{Deserialize, Serialize};
use waybill_schema::events::FileEvent;
use waybill_schema::{CompanyId, FileId, PreviewFailure, PreviewSet, Variant, names};

/// Maximum size in bytes of a picture or document that gets previews. The decoder holds the whole file in memory. Of a video, it
/// gets this many bytes from its beginning.
pub const SOURCE_MAX_BYTES: u64 = 64 << 20;

/// Kind of a file that can have previews, by the program that decodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture or document that Waybill decodes itself.
    Own,
    /// A picture for which the operator sets a program.
    Heic,
    /// A video for which the operator sets a program.
    Video,
}

/// Programs that the operator has set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// There is one for [`Kind::Heic`].
    pub heic: bool,
    /// There is one for [`Kind::Video`].
    pub video: bool,
}

impl Programs {
    /// Returns `true` if files of a kind get previews.
    pub fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Own => true,
            Kind::Heic => self.heic,
            Kind::Video => self.video,
        }
    }
}

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
            FileEvent::FileArchived(_)
            | FileEvent::FileRestoreRequested(_)
            | FileEvent::FileThawed(_)
            | FileEvent::LocationStripped(_)
            | FileEvent::FileChecksummed(_)
            | FileEvent::FileRenamed(_)
            | FileEvent::FileDeleted(_)
            | FileEvent::FileRestored(_)
            | FileEvent::FileMetadataChanged(_)
            | FileEvent::FileLabelled(_)
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
    Make(Kind),
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
    /// `true` if the file was deleted or purged.
    pub is_gone: bool,
}

/// Returns the next step for the previews of a file. With `again`, previews that could not be made before are tried again.
pub fn next_step(file: Candidate<'_>, programs: Programs, rules: ScanRules, again: bool) -> Step {
    let upload = file.upload;
    let Some(kind) = kind_of(upload).filter(|kind| programs.has(*kind)) else { return Step::Nothing };
    let is_open = match file.previews {
        Previews::Absent => true,
        Previews::Failed(_) => again,
        Previews::Made { .. } => false,
    };
    // A verdict, a release or a restoring that makes the file readable is an event. After a changed policy, a search finds the file.
    let is_readable = !file.is_gone && rules.clearance_of(file.scans) == Clearance::Readable;
    if !is_open || !is_readable {
        return Step::Nothing;
    }
    match kind {
        Kind::Own | Kind::Heic if upload.grid().size_bytes > SOURCE_MAX_BYTES => Step::Fail(PreviewFailure::TooLarge),
        Kind::Own | Kind::Heic | Kind::Video => Step::Make(kind),
    }
}

/// Returns the kind of a verified file; `None` if it cannot have previews.
pub fn kind_of(upload: &upload::State) -> Option<Kind> {
    let (Phase::Verified { .. }, Some(started)) = (&upload.phase, &upload.started) else { return None };
    kind_of_type(upload.sniffed_mime_type.as_deref(), &started.mime_type)
}

/// Returns the kind of a file by the media type of its content. The type that the client names counts only if the content was not
/// recognised.
pub fn kind_of_type(sniffed: Option<&str>, declared: &str) -> Option<Kind> {
    match essence(sniffed.unwrap_or(declared)).as_str() {
        "application/pdf" | "image/gif" | "image/jpeg" | "image/png" | "image/webp" => Some(Kind::Own),
        "image/heic" | "image/heic-sequence" | "image/heif" | "image/heif-sequence" => Some(Kind::Heic),
        // Of an MPEG-4 file without tracks, nothing else is known.
        "application/mp4" => Some(Kind::Video),
        video if video.starts_with("video/") => Some(Kind::Video),
        _ => None,
    }
}
