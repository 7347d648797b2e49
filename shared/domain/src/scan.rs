//! Rules for reading files that are scanned for viruses.

use serde::{Deserialize, Serialize};
use waybill_schema::events::FileEvent;
use waybill_schema::{ScanPolicy, ScanResult, UnscannedPolicy, Verdict};

/// Rules of a company, or of the installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanRules {
    /// Policy for scans.
    pub policy: ScanPolicy,
    /// Policy for files that could not be scanned completely, if a scan is required.
    pub unscanned: UnscannedPolicy,
}

/// Scans of a file, as far as they decide whether it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scans {
    /// Result of the last scan; `None` before the first one.
    pub last: Option<ScanResult>,
    /// `true` if an administrator released the file although it is not clean.
    pub is_released: bool,
}

impl Scans {
    /// Applies an event of the file.
    pub fn apply(&mut self, event: &FileEvent) {
        match event {
            FileEvent::FileScanned(scan) => {
                // A release is about one finding. Another finding keeps the file from being read again.
                self.is_released &= self.last.as_ref() == Some(&scan.result);
                self.last = Some(scan.result.clone());
            }
            FileEvent::FileReleased(_) => self.is_released = true,
            FileEvent::FileRenamed(_)
            | FileEvent::FileDeleted(_)
            | FileEvent::FileRestored(_)
            | FileEvent::FileMetadataChanged(_)
            | FileEvent::FileLabelled(_)
            | FileEvent::FilePurged(_)
            | FileEvent::FileSpaceReleased(_)
            | FileEvent::PreviewsMade(_)
            | FileEvent::PreviewFailed(_)
            | FileEvent::FileArchived(_)
            | FileEvent::FileRestoreRequested(_)
            | FileEvent::FileThawed(_)
            | FileEvent::LocationStripped(_)
            | FileEvent::FileChecksummed(_) => {}
        }
    }
}

/// Effect of scans on a verified file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clearance {
    /// The file can be read.
    Readable,
    /// The file must be scanned first.
    Waiting,
    /// The file is infected. Only a release by an administrator makes it readable.
    Infected,
    /// The file could not be scanned completely. Only a release by an administrator makes it readable.
    Unscanned,
}

impl ScanRules {
    /// Returns whether a verified file with these scans can be read.
    pub fn clearance_of(self, scans: &Scans) -> Clearance {
        self.clearance(scans.last.as_ref().map(Verdict::from), scans.is_released)
    }

    /// Returns whether a verified file can be read.
    pub fn clearance(self, verdict: Option<Verdict>, is_released: bool) -> Clearance {
        let is_required = self.policy == ScanPolicy::Require;
        match verdict {
            _ if self.policy == ScanPolicy::Off => Clearance::Readable,
            None if is_required => Clearance::Waiting,
            None | Some(Verdict::Clean) => Clearance::Readable,
            Some(Verdict::Infected | Verdict::Unscanned) if is_released => Clearance::Readable,
            Some(Verdict::Infected) => Clearance::Infected,
            Some(Verdict::Unscanned) if is_required && self.unscanned == UnscannedPolicy::Block => Clearance::Unscanned,
            Some(Verdict::Unscanned) => Clearance::Readable,
        }
    }
}
