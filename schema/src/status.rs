//! Statuses and access types of the data model, with their names in JSON and in PostgreSQL.

use crate::scan::ScanResult;
use serde::{Deserialize, Serialize};

/// The text is not a name of the data model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name of the data model")]
pub struct UnknownName(String);

/// Defines an enum whose variants have these names in JSON and in PostgreSQL.
macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
            pub enum $name {
                $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
            }

            impl $name {
                /// All statuses.
                pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

                /// Returns the name in JSON and in PostgreSQL.
                pub fn as_str(self) -> &'static str {
                    match self {
                        $(Self::$variant => $text,)*
                    }
                }
            }

            impl TryFrom<String> for $name {
                type Error = UnknownName;

                fn try_from(text: String) -> Result<Self, UnknownName> {
                    match text.as_str() {
                        $($text => Ok(Self::$variant),)*
                        _ => Err(UnknownName(text)),
                    }
                }
            }
        )*
    };
}

statuses! {
    /// Status of an upload.
    UploadStatus {
        /// Started, without stored bytes.
        Pending = "PENDING",
        /// Bytes are being transferred or verified.
        Uploading = "UPLOADING",
        /// Verified.
        Completed = "COMPLETED",
        /// Rejected or expired.
        Failed = "FAILED",
        /// Cancelled.
        Cancelled = "CANCELLED",
    }

    /// Status of the processing of a file.
    ProcessingStatus {
        /// Bytes are being transferred.
        Pending = "PENDING",
        /// All bytes are stored, and Waybill verifies them.
        Processing = "PROCESSING",
        /// Verified.
        Completed = "COMPLETED",
        /// The upload was rejected or cancelled, or it expired.
        Failed = "FAILED",
    }

    /// Verdict of a virus scan.
    Verdict {
        /// The scanner read all bytes and found nothing.
        Clean = "CLEAN",
        /// The scanner found something.
        Infected = "INFECTED",
        /// The scanner could not look at everything.
        Unscanned = "UNSCANNED",
    }

    /// Status of an upload session.
    SessionStatus {
        /// The session is open, or some of its files have not ended.
        Active = "ACTIVE",
        /// The session is closed and all of its files are verified.
        Completed = "COMPLETED",
        /// The session is closed, all of its files have ended, and some of them are not verified.
        Failed = "FAILED",
        /// Cancelled.
        Cancelled = "CANCELLED",
    }

    /// Group of users that a share is for.
    #[derive(Default)]
    AccessType {
        /// All users of the company.
        Public = "PUBLIC",
        /// The members of the chatroom or thread.
        #[default]
        Private = "PRIVATE",
        /// Only the members that [`crate::Permissions::users`] names.
        Restricted = "RESTRICTED",
    }
}

impl From<&ScanResult> for Verdict {
    fn from(result: &ScanResult) -> Self {
        match result {
            ScanResult::Clean => Self::Clean,
            ScanResult::Infected { .. } => Self::Infected,
            ScanResult::Unscanned { .. } => Self::Unscanned,
        }
    }
}

impl UploadStatus {
    /// The statuses of an upload that has not ended.
    pub const RUNNING: [Self; 2] = [Self::Pending, Self::Uploading];
    /// The statuses of an upload that has ended.
    pub const ENDED: [Self; 3] = [Self::Completed, Self::Failed, Self::Cancelled];
}
