//! Refusals of commands. Each has a message for the client and a stable code (docs/errors.md) that clients can rely on.

use crate::media_type::Danger;
use waybill_schema::ByteRange;
use waybill_schema::ErrorCode;

/// Reason why the rules do not allow a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The object does not exist, or the caller may not know that it exists. The answer is the same in both cases.
    #[error("There is no such {what}.")]
    NotFound {
        /// Kind of object.
        what: &'static str,
    },
    /// The file name is invalid.
    #[error("The file name is invalid: {reason}. Choose another name.")]
    NameInvalid {
        /// The reason, as a clause that begins with "it".
        reason: &'static str,
    },
    /// The company does not accept files of this type.
    #[error("Files of the type {mime_type} are not accepted{}.", .danger.map(reason).unwrap_or_default())]
    TypeRefused {
        /// The type, or the extension with its dot.
        mime_type: String,
        /// The danger, if the file is refused because it is dangerous.
        danger: Option<Danger>,
    },
    /// The file is larger than the limit.
    #[error("The file has {size_bytes} bytes. Files can have at most {limit_bytes} bytes.")]
    FileTooLarge {
        /// Size of the file in bytes.
        size_bytes: u64,
        /// The limit in bytes, inclusive.
        limit_bytes: u64,
    },
    /// There are more bytes than the upload declared, or the object of a quarantined upload has another size.
    #[error(
        "The upload was declared with {size_bytes} bytes. Send no other number of bytes, or start a new upload for \
         another file."
    )]
    SizeExceeded {
        /// The declared size in bytes.
        size_bytes: u64,
    },
    /// The quota of the company does not suffice.
    #[error(
        "{requested_bytes} more bytes exceed the limit of {limit_bytes} bytes: {used_bytes} bytes are used and \
         {reserved_bytes} bytes are reserved. Delete files, or ask an administrator to raise the limit."
    )]
    QuotaExceeded {
        /// The requested bytes.
        requested_bytes: u64,
        /// The used bytes.
        used_bytes: u64,
        /// The bytes that are reserved for open uploads.
        reserved_bytes: u64,
        /// The limit in bytes, inclusive.
        limit_bytes: u64,
    },
    /// An administrator of the company would raise the limit that the host product set.
    #[error("The storage limit can be at most {limit_bytes} bytes. Ask the operator for more.")]
    LimitAboveHosts {
        /// The limit of the host product in bytes, inclusive.
        limit_bytes: u64,
    },
    /// A file that nothing keeps from being read cannot be released.
    #[error("The file has no verdict that keeps it from being read. Only infected or unscanned files can be released.")]
    NotQuarantined,
    /// The company does not allow download links.
    #[error("This company does not allow download links. Share the file with a chatroom or thread instead.")]
    LinksForbidden,
    /// The upload link accepts no more uploads.
    #[error("The upload link {why}. Ask the person who gave it to you for a new one.")]
    LinkEnded {
        /// The reason, as a verb.
        why: &'static str,
    },
    /// The upload link has not enough left for the file.
    #[error(
        "{left_files} more files with {left_bytes} bytes can be sent with this link. Send a smaller file, or ask for a new link."
    )]
    LinkExhausted {
        /// Number of files that can be sent.
        left_files: u32,
        /// Bytes of these files together.
        left_bytes: u64,
    },
    /// The limit of the user does not suffice.
    #[error(
        "{requested_bytes} more bytes exceed the limit of {limit_bytes} bytes of the user, who uses {used_bytes} bytes and has \
         {reserved_bytes} bytes in open uploads. Delete files, or ask an administrator to raise the limit."
    )]
    UserLimitExceeded {
        /// The requested bytes.
        requested_bytes: u64,
        /// Bytes of the files of the user.
        used_bytes: u64,
        /// Bytes of the open uploads of the user.
        reserved_bytes: u64,
        /// The limit in bytes, inclusive.
        limit_bytes: u64,
    },
    /// The open uploads of the user would need too much of the quota of the company.
    #[error(
        "{requested_bytes} more bytes exceed the limit of {limit_bytes} bytes for the open uploads of one user, which have \
         {reserved_bytes} bytes. Complete or cancel uploads first."
    )]
    UserSpaceExceeded {
        /// The requested bytes.
        requested_bytes: u64,
        /// The bytes that are reserved for open uploads of the user.
        reserved_bytes: u64,
        /// The limit in bytes, inclusive.
        limit_bytes: u64,
    },
    /// The user or the company has too many open uploads.
    #[error("{whose} has the maximum of {max} open uploads. Complete or cancel uploads first.")]
    TooManyUploads {
        /// The maximum number of open uploads.
        max: u32,
        /// `The user` or `The company`.
        whose: &'static str,
    },
    /// The files of the session together would be larger than the limit.
    #[error(
        "The session would have {total_bytes} bytes. Sessions can have at most {limit_bytes} bytes. Open another session."
    )]
    SessionTooLarge {
        /// The bytes that the session would have.
        total_bytes: u64,
        /// The limit in bytes, inclusive.
        limit_bytes: u64,
    },
    /// The session accepts no more files.
    #[error("The session is {status} and accepts no more files. Open a new session.")]
    SessionEnded {
        /// `closed`, `cancelled` or `expired`.
        status: &'static str,
    },
    /// The upload is complete and cannot be changed any more.
    #[error("The upload is complete. {hint}")]
    UploadCompleted {
        /// What to do instead, as complete sentences.
        hint: &'static str,
    },
    /// The upload has ended without a file.
    #[error("The upload is {status}. Start a new upload.")]
    UploadEnded {
        /// `cancelled`, `expired` or `rejected`.
        status: &'static str,
    },
    /// Bytes are missing.
    #[error(
        "{} bytes are missing. Send the missing ranges, then complete the upload again.",
        missing.iter().map(|gap| gap.len()).sum::<u64>()
    )]
    ChunksMissing {
        /// The missing ranges.
        missing: Vec<ByteRange>,
    },
    /// The request does not begin at the offset of the upload.
    #[error("The upload continues at byte {offset}. Send the bytes from there on.")]
    OffsetMismatch {
        /// The offset to send from.
        offset: u64,
    },
    /// The upload already has too many pieces to accept one as small as this.
    #[error(
        "The upload already has {pieces} pieces. Send at least {least_bytes} new bytes in each request, or all bytes up \
         to the end of a file of known length."
    )]
    PieceTooSmall {
        /// The number of pieces.
        pieces: u32,
        /// The minimum number of new bytes of a piece.
        least_bytes: u64,
    },
    /// The length was deferred and is still unknown.
    #[error("The length of the file is not known yet. Send the length first.")]
    LengthUnknown,
    /// The length differs from the known length, or is less than the stored bytes.
    #[error(
        "The length cannot be {size_bytes} bytes, because {known_bytes} bytes were declared or stored before. Correct the \
         length, or start a new upload."
    )]
    LengthConflict {
        /// The new length in bytes.
        size_bytes: u64,
        /// The known length, or the end of the stored bytes.
        known_bytes: u64,
    },
    /// The upload cannot be used for a concatenation as requested.
    #[error("The upload cannot be used for this: {reason}.")]
    PartialUnfit {
        /// The reason, as a clause.
        reason: &'static str,
    },
    /// The id is already used by another object.
    #[error("Another {what} already has this id. Use a new id.")]
    IdTaken {
        /// Kind of object.
        what: &'static str,
    },
    /// The metadata is too large.
    #[error("The metadata has more than 8 KiB as JSON. Send less metadata.")]
    MetadataTooLarge,
    /// The metadata cannot be stored.
    #[error("The metadata is invalid: {reason}.")]
    MetadataInvalid {
        /// The rule that the metadata violates, as a clause.
        reason: &'static str,
    },
    /// The labels cannot be stored.
    #[error("The labels are invalid: {reason}.")]
    LabelsInvalid {
        /// The rule that the labels violate, as a clause.
        reason: &'static str,
    },
    /// The file was deleted.
    #[error("The file is deleted. Restore it first.")]
    FileDeleted,
    /// The file is not deleted.
    #[error("The file is not deleted. Delete it first.")]
    FileNotDeleted,
    /// The company or the user is not registered in the directory, or was removed.
    #[error("The company or the user is not registered, or was removed. The host product must register it.")]
    NotRegistered,
    /// The directory has the maximum number of entries.
    #[error(
        "The directory has the maximum of {max_entries} users, chatrooms, threads and memberships. Remove memberships first."
    )]
    DirectoryFull {
        /// The maximum number of entries.
        max_entries: usize,
    },
    /// The settings of the company are invalid.
    #[error("The settings are invalid: {reason}.")]
    SettingsInvalid {
        /// The rule that the settings violate, as a clause.
        reason: &'static str,
    },
    /// The settings of the token are invalid.
    #[error("The settings of the token are invalid: {reason}.")]
    TokenInvalid {
        /// The rule that the settings violate, as a clause.
        reason: &'static str,
    },
    /// The token is no longer valid.
    #[error("The link is no longer valid: {reason}. Ask the sender for a new link.")]
    TokenEnded {
        /// The reason, as a clause that begins with "it".
        reason: &'static str,
    },
    /// Another download with the same token is running.
    #[error("Another download with this link is running. Try again in a few seconds.")]
    DownloadRunning,
    /// The association is invalid.
    #[error("The association is invalid: {reason}.")]
    ShareInvalid {
        /// The rule that the association violates, as a clause.
        reason: &'static str,
    },
    /// The file has an association with this place, which the user may not change.
    #[error(
        "The file already has another association with this chatroom or thread, which you may not change. Ask the user \
         who uploaded the file to change it."
    )]
    ShareExists,
    /// The file has the maximum number of associations.
    #[error("The file already has {max} associations. Revoke associations that are not needed.")]
    SharesExhausted {
        /// The maximum number of associations.
        max: u32,
    },
}

impl Refusal {
    /// Returns the stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::NameInvalid { .. } => ErrorCode::NameInvalid,
            Self::TypeRefused { .. } => ErrorCode::TypeRefused,
            Self::FileTooLarge { .. } => ErrorCode::FileTooLarge,
            Self::SizeExceeded { .. } => ErrorCode::SizeExceeded,
            Self::QuotaExceeded { .. } => ErrorCode::QuotaExceeded,
            Self::LimitAboveHosts { .. } => ErrorCode::LimitInvalid,
            Self::NotQuarantined => ErrorCode::FileNotQuarantined,
            Self::LinksForbidden => ErrorCode::LinksForbidden,
            Self::LinkEnded { .. } => ErrorCode::LinkEnded,
            Self::LinkExhausted { .. } => ErrorCode::LinkExhausted,
            Self::SessionTooLarge { .. } => ErrorCode::SessionTooLarge,
            Self::SessionEnded { .. } => ErrorCode::SessionEnded,
            Self::UploadCompleted { .. } => ErrorCode::UploadCompleted,
            Self::UploadEnded { .. } => ErrorCode::UploadEnded,
            Self::ChunksMissing { .. } => ErrorCode::ChunksMissing,
            Self::OffsetMismatch { .. } => ErrorCode::OffsetMismatch,
            Self::PieceTooSmall { .. } => ErrorCode::PieceTooSmall,
            Self::LengthUnknown => ErrorCode::LengthUnknown,
            Self::LengthConflict { .. } => ErrorCode::LengthConflict,
            Self::PartialUnfit { .. } => ErrorCode::PartialUnfit,
            Self::IdTaken { .. } => ErrorCode::IdTaken,
            Self::MetadataTooLarge => ErrorCode::MetadataTooLarge,
            Self::MetadataInvalid { .. } => ErrorCode::MetadataInvalid,
            Self::LabelsInvalid { .. } => ErrorCode::LabelsInvalid,
            Self::FileDeleted => ErrorCode::FileDeleted,
            Self::FileNotDeleted => ErrorCode::FileNotDeleted,
            Self::NotRegistered => ErrorCode::NotRegistered,
            Self::DirectoryFull { .. } => ErrorCode::DirectoryFull,
            Self::SettingsInvalid { .. } => ErrorCode::SettingsInvalid,
            Self::TokenInvalid { .. } => ErrorCode::TokenSettingsInvalid,
            Self::TokenEnded { .. } => ErrorCode::TokenEnded,
            Self::DownloadRunning => ErrorCode::DownloadRunning,
            Self::UserSpaceExceeded { .. } => ErrorCode::UserSpaceExceeded,
            Self::UserLimitExceeded { .. } => ErrorCode::UserLimitExceeded,
            Self::TooManyUploads { .. } => ErrorCode::TooManyUploads,
            Self::ShareInvalid { .. } => ErrorCode::AssociationInvalid,
            Self::ShareExists => ErrorCode::AssociationExists,
            Self::SharesExhausted { .. } => ErrorCode::AssociationsExhausted,
        }
    }
}

/// Returns the rest of the message for a dangerous file: the reason and what to do.
fn reason(danger: Danger) -> String {
    let advice = match danger {
        Danger::Executable | Danger::Installer | Danger::Script => "ask an administrator to allow the type",
        Danger::Misleading => "upload it with the type and the extension of a web page",
    };
    format!(": {}. Put it into an archive, or {advice}", danger.what())
}
