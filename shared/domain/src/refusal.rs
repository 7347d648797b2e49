//! Why a command is refused. Each has a stable code (docs/errors.md) that clients may rely on.

use crate::media_type::Danger;
use waybill_schema::ByteRange;

/// A command that the rules do not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such object, or it belongs to somebody else: the answer is the same.
    #[error("there is no such {what}")]
    NotFound {
        /// What kind of object.
        what: &'static str,
    },
    /// A file name that no file may have.
    #[error("the name is refused: {reason}")]
    NameInvalid {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file of a type that the company does not accept.
    #[error("the type {mime_type} is not accepted{}", .danger.map(reason).unwrap_or_default())]
    TypeRefused {
        /// The type, or the extension.
        mime_type: String,
        /// Why, where it is refused for what the file does.
        danger: Option<Danger>,
    },
    /// A file above the limit.
    #[error("the file has {size_bytes} bytes; at most {limit_bytes} are accepted")]
    FileTooLarge {
        /// Its size.
        size_bytes: u64,
        /// The limit, inclusive.
        limit_bytes: u64,
    },
    /// More bytes than the upload declared.
    #[error("the upload was declared with {size_bytes} bytes; more are not accepted")]
    SizeExceeded {
        /// What was declared.
        size_bytes: u64,
    },
    /// The company's space would not do.
    #[error(
        "{requested_bytes} bytes are more than what is free: {used_bytes} used and {reserved_bytes} reserved of {limit_bytes}"
    )]
    QuotaExceeded {
        /// What was asked for.
        requested_bytes: u64,
        /// What is used.
        used_bytes: u64,
        /// What is reserved for running uploads.
        reserved_bytes: u64,
        /// The limit, inclusive.
        limit_bytes: u64,
    },
    /// The session's files together would pass its limit.
    #[error("the session would have {total_bytes} bytes; at most {limit_bytes} are accepted")]
    SessionTooLarge {
        /// What the session would have.
        total_bytes: u64,
        /// The limit, inclusive.
        limit_bytes: u64,
    },
    /// The session takes no more files.
    #[error("the session is {status}; it takes no more files")]
    SessionEnded {
        /// closed, cancelled or expired.
        status: &'static str,
    },
    /// The upload is complete, so it cannot be changed any more.
    #[error("the upload is complete; {hint}")]
    UploadCompleted {
        /// What to do instead.
        hint: &'static str,
    },
    /// The upload has ended without a file.
    #[error("the upload has ended: {status}; start a new one")]
    UploadEnded {
        /// cancelled, expired or rejected.
        status: &'static str,
    },
    /// Bytes are missing.
    #[error("{} bytes are missing", missing.iter().map(|gap| gap.len()).sum::<u64>())]
    ChunksMissing {
        /// Which.
        missing: Vec<ByteRange>,
    },
    /// The bytes do not begin where the upload is to go on.
    #[error("the upload goes on at byte {offset}")]
    OffsetMismatch {
        /// The offset to send from.
        offset: u64,
    },
    /// The upload came in too many pieces for one as small as this.
    #[error(
        "the upload came in {pieces} pieces; send at least {least_bytes} new bytes in each request from now on, or up to the \
         end of a file whose length is known"
    )]
    PieceTooSmall {
        /// In how many pieces it came.
        pieces: u32,
        /// How many bytes a piece must have.
        least_bytes: u64,
    },
    /// The length was deferred and is not known yet.
    #[error("the length of the file is not known yet; say it first")]
    LengthUnknown,
    /// Another length than the one that is known, or less than what is stored.
    #[error("the length cannot be {size_bytes} bytes: {known_bytes} are known")]
    LengthConflict {
        /// What was said now.
        size_bytes: u64,
        /// What was said before, or is stored.
        known_bytes: u64,
    },
    /// An upload that cannot be used as it was meant in a concatenation.
    #[error("the upload is unfit: {reason}")]
    PartialUnfit {
        /// Why.
        reason: &'static str,
    },
    /// The id was used for something else before.
    #[error("the id is taken by another {what}")]
    IdTaken {
        /// What kind of object.
        what: &'static str,
    },
    /// Metadata that are too large.
    #[error("metadata have more than 8 KiB as JSON")]
    MetadataTooLarge,
    /// Metadata that cannot be kept.
    #[error("these metadata cannot be kept: {reason}")]
    MetadataInvalid {
        /// Why.
        reason: &'static str,
    },
    /// The file was deleted.
    #[error("the file was deleted; restore it first")]
    FileDeleted,
    /// The file is still there.
    #[error("the file was not deleted; delete it first")]
    FileNotDeleted,
    /// The company or the user is not in the directory, or not any more.
    #[error("the company or the user is not registered here, or no longer")]
    NotRegistered,
    /// The directory has as many entries as one may have.
    #[error(
        "the directory has {max_entries} users, chatrooms, threads and memberships, which is the most; remove some"
    )]
    DirectoryFull {
        /// The limit.
        max_entries: usize,
    },
    /// Settings that no company may have.
    #[error("the settings are refused: {reason}")]
    SettingsInvalid {
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A token that cannot be.
    #[error("the token is refused: {reason}")]
    TokenInvalid {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A token that is good for nothing any more.
    #[error("the token has ended: {reason}")]
    TokenEnded {
        /// Why.
        reason: &'static str,
    },
    /// The file is being sent to somebody by the same token.
    #[error("a download by this link is running; try again in a moment")]
    DownloadRunning,
    /// A share that cannot be.
    #[error("the association is refused: {reason}")]
    ShareInvalid {
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Refusal {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::NameInvalid { .. } => "name_invalid",
            Self::TypeRefused { .. } => "type_refused",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::SizeExceeded { .. } => "size_exceeded",
            Self::QuotaExceeded { .. } => "quota_exceeded",
            Self::SessionTooLarge { .. } => "session_too_large",
            Self::SessionEnded { .. } => "session_ended",
            Self::UploadCompleted { .. } => "upload_completed",
            Self::UploadEnded { .. } => "upload_ended",
            Self::ChunksMissing { .. } => "chunks_missing",
            Self::OffsetMismatch { .. } => "offset_mismatch",
            Self::PieceTooSmall { .. } => "piece_too_small",
            Self::LengthUnknown => "length_unknown",
            Self::LengthConflict { .. } => "length_conflict",
            Self::PartialUnfit { .. } => "partial_unfit",
            Self::IdTaken { .. } => "id_taken",
            Self::MetadataTooLarge => "metadata_too_large",
            Self::MetadataInvalid { .. } => "metadata_invalid",
            Self::FileDeleted => "file_deleted",
            Self::FileNotDeleted => "file_not_deleted",
            Self::NotRegistered => "not_registered",
            Self::DirectoryFull { .. } => "directory_full",
            Self::SettingsInvalid { .. } => "settings_invalid",
            Self::TokenInvalid { .. } => "token_settings_invalid",
            Self::TokenEnded { .. } => "token_ended",
            Self::DownloadRunning => "download_running",
            Self::ShareInvalid { .. } => "association_invalid",
        }
    }
}

/// Why a dangerous file is refused, and what to do.
fn reason(danger: Danger) -> String {
    let what = danger.what();
    format!(": {what}; put it into an archive, or have an administrator allow the type")
}
