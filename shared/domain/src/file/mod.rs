//! A verified file: renaming, metadata, deletion, restoring and purge.

mod aggregate;

pub use aggregate::FileAggregate;

use crate::preview::Previews;
use crate::scan::Scans;
use crate::{Refusal, label, name};
use serde::{Deserialize, Serialize};
use waybill_schema::events::{
    FileArchived, FileChecksummed, FileDeleted, FileEvent, FileLabelled, FileMetadataChanged, FilePurged, FileReleased,
    FileRenamed, FileRestoreRequested, FileRestored, FileScanned, FileSpaceReleased, FileThawed, LocationStripped,
    PreviewFailed, PreviewsMade,
};
use waybill_schema::{FileForm, ScanResult, StorageTier, Stripped, Timestamp};

/// File, folded from its events. The events of its upload tell whether the file exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The name that replaced the original name.
    pub display_name: Option<String>,
    /// `true` if the file is deleted and can still be restored.
    pub deleted: bool,
    /// Time of the deletion.
    pub deleted_at: Option<Timestamp>,
    /// Time of the last restoring.
    pub restored_at: Option<Timestamp>,
    /// The metadata that replaced the metadata of the upload. The inner `None` means that the metadata was removed.
    pub metadata: Option<Option<String>>,
    /// Labels, sorted.
    pub labels: Vec<String>,
    /// `true` if the file was purged.
    pub purged: bool,
    /// `true` if the quota got the bytes of the file back.
    pub is_space_released: bool,
    /// Scans for viruses.
    pub scans: Scans,
    /// Version of the signatures of the last scan.
    pub scanned_with: Option<String>,
    /// Previews.
    pub previews: Previews,
    /// Storage tier, as it was last recorded.
    pub tier: StorageTier,
    /// `true` if somebody asked for an archived file and its bytes are not in the hot tier yet.
    pub is_restore_requested: bool,
    /// Result of removing the metadata; `None` before that.
    pub stripped: Option<Stripped>,
    /// CRC-32 of the uploaded bytes, if it was computed after the upload.
    pub crc32: Option<u32>,
    /// CRC-32 of the bytes without metadata, if it was computed.
    pub plain_crc32: Option<u32>,
}

impl State {
    /// Returns the recorded CRC-32 of a form.
    fn crc32_of(&self, form: FileForm) -> Option<u32> {
        match form {
            FileForm::Original => self.crc32,
            FileForm::Plain => self.plain_crc32,
        }
    }

    /// Returns the last scan.
    pub fn last_scan(&self) -> LastScan {
        LastScan { result: self.scans.last.clone(), database_version: self.scanned_with.clone() }
    }
}

/// Last scan of a file; without values before the first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastScan {
    /// Result.
    pub result: Option<ScanResult>,
    /// Version of the signatures.
    pub database_version: Option<String>,
}

/// Command to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Change the display name.
    Rename(String),
    /// Delete the file. It can be restored until it is purged.
    Delete,
    /// Delete the file because its retention is over. The retention begins again when a file is restored.
    Retire {
        /// A file that was restored later than this is kept.
        restored_until: Timestamp,
    },
    /// Restore a deleted file.
    Restore,
    /// Replace the metadata of the host product with a JSON object, or remove it.
    SetMetadata(Option<String>),
    /// Replace the labels.
    SetLabels(Vec<String>),
    /// Purge the file, if it was deleted early enough.
    Purge {
        /// A file that was deleted later than this is kept.
        deleted_until: Timestamp,
    },
    /// Record that the quota got the bytes of the purged file back.
    RecordRelease,
    /// Record a scan for viruses. A result that equals the last one, with the same signatures, is not recorded again.
    RecordScan {
        /// The scan.
        scan: FileScanned,
        /// Result and signatures of the last scan when this one began. Nothing is recorded if the file was scanned in the
        /// meantime, because the other scan may have newer signatures.
        seen: LastScan,
    },
    /// Record stored previews. Nothing is recorded if the file has previews, is deleted, or was scanned in the meantime: the
    /// other scan may have found something.
    RecordPreviews {
        /// The previews.
        made: PreviewsMade,
        /// Last scan when the previews were begun.
        seen: LastScan,
    },
    /// Record that no previews could be made, unless the file has some.
    RecordPreviewFailure(PreviewFailed),
    /// Record the result of removing the metadata, unless there is one. The bytes of a file never change.
    RecordStripped(Stripped),
    /// Record the CRC-32 of a form of the file, unless it is recorded. The bytes of a form never change.
    RecordChecksum(FileChecksummed),
    /// Let users read the file although its verdict is not clean.
    Release,
    /// Record the storage tier to which the bytes were moved.
    RecordTier(StorageTier),
    /// Ask that the bytes of an archived file are moved back to the hot tier.
    RequestRestore,
}

/// Applies one event, recorded at `time`, to the state.
pub fn evolve(state: &mut State, event: &FileEvent, time: Timestamp) {
    state.scans.apply(event);
    state.previews.apply(event);
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
        FileEvent::FileLabelled(labelled) => state.labels.clone_from(&labelled.labels),
        FileEvent::FilePurged(_) => state.purged = true,
        FileEvent::FileSpaceReleased(_) => state.is_space_released = true,
        FileEvent::FileScanned(scan) => state.scanned_with = Some(scan.database_version.clone()),
        FileEvent::FileArchived(archived) => {
            state.tier = archived.tier;
            state.is_restore_requested = false;
        }
        FileEvent::FileRestoreRequested(_) => state.is_restore_requested = true,
        FileEvent::FileThawed(_) => {
            state.tier = StorageTier::Hot;
            state.is_restore_requested = false;
        }
        FileEvent::LocationStripped(event) => state.stripped = Some(event.stripped.clone()),
        FileEvent::FileChecksummed(event) => match event.form {
            FileForm::Original => state.crc32 = Some(event.crc32),
            FileForm::Plain => state.plain_crc32 = Some(event.crc32),
        },
        FileEvent::FileReleased(_) | FileEvent::PreviewsMade(_) | FileEvent::PreviewFailed(_) => {}
    }
}

/// Decides on a command. Returns no event if the command was carried out before.
///
/// # Errors
/// The [`Refusal`] for the client.
pub fn decide(state: &State, command: Command) -> Result<Option<FileEvent>, Refusal> {
    match command {
        Command::Purge { .. } if state.purged => Ok(None),
        Command::RecordRelease if state.purged => Ok((!state.is_space_released).then(|| FileSpaceReleased {}.into())),
        Command::RecordRelease => Err(Refusal::FileNotDeleted),
        _ if state.purged => Err(Refusal::NotFound { what: "file" }),
        Command::Rename(_)
        | Command::SetMetadata(_)
        | Command::SetLabels(_)
        | Command::Release
        | Command::RequestRestore
            if state.deleted =>
        {
            Err(Refusal::FileDeleted)
        }
        Command::Rename(display_name) => {
            name::check(&display_name)?;
            let new = state.display_name.as_ref() != Some(&display_name);
            Ok(new.then(|| FileRenamed { display_name }.into()))
        }
        Command::Delete => Ok((!state.deleted).then(|| FileDeleted {}.into())),
        Command::Retire { restored_until } => {
            let is_over = state.restored_at.is_none_or(|restored_at| restored_at <= restored_until);
            Ok((is_over && !state.deleted).then(|| FileDeleted {}.into()))
        }
        Command::SetMetadata(metadata) => {
            let new = state.metadata.as_ref() != Some(&metadata);
            Ok(new.then(|| FileMetadataChanged { metadata }.into()))
        }
        Command::SetLabels(labels) => {
            let labels = label::check(&labels)?;
            Ok((labels != state.labels).then(|| FileLabelled { labels }.into()))
        }
        Command::Purge { deleted_until } => match state.deleted_at {
            Some(at) if at <= deleted_until => Ok(Some(FilePurged {}.into())),
            _ => Err(Refusal::FileNotDeleted),
        },
        Command::Restore => Ok(state.deleted.then(|| FileRestored {}.into())),
        Command::RecordScan { scan, seen } => {
            let is_same = state.scans.last.as_ref() == Some(&scan.result)
                && state.scanned_with.as_ref() == Some(&scan.database_version);
            Ok((seen == state.last_scan() && !is_same).then(|| scan.into()))
        }
        Command::RecordPreviews { made, seen } => Ok(match &state.previews {
            Previews::Made { .. } => None,
            Previews::Absent | Previews::Failed(_) if state.deleted || seen != state.last_scan() => None,
            Previews::Absent | Previews::Failed(_) => Some(made.into()),
        }),
        Command::RecordPreviewFailure(failed) => Ok(match &state.previews {
            Previews::Made { .. } => None,
            Previews::Failed(reason) if *reason == failed.reason => None,
            Previews::Absent | Previews::Failed(_) => Some(failed.into()),
        }),
        Command::RecordStripped(stripped) => Ok(state.stripped.is_none().then(|| LocationStripped { stripped }.into())),
        Command::RecordChecksum(checksum) => Ok(state.crc32_of(checksum.form).is_none().then(|| checksum.into())),
        Command::Release => match &state.scans.last {
            Some(ScanResult::Infected { .. } | ScanResult::Unscanned { .. }) => {
                Ok((!state.scans.is_released).then(|| FileReleased {}.into()))
            }
            Some(ScanResult::Clean) | None => Err(Refusal::NotQuarantined),
        },
        Command::RecordTier(StorageTier::Hot) => Ok((state.tier != StorageTier::Hot).then(|| FileThawed {}.into())),
        Command::RecordTier(tier) => Ok((state.tier != tier).then(|| FileArchived { tier }.into())),
        Command::RequestRestore => {
            let is_new = state.tier != StorageTier::Hot && !state.is_restore_requested;
            Ok(is_new.then(|| FileRestoreRequested {}.into()))
        }
    }
}
