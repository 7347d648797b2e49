//! The catalogue of events: one frozen struct per version, and the enum of the newest ones that the code works with.

mod content;
mod directory;
mod file;
mod quota;
mod session;
mod share;
mod token;
mod upload;

pub use content::{ContentReferencedV2, ContentReleasedV2, ContentSharedV1};
pub use directory::{
    ChatroomDeletedV1, ChatroomOpenedV1, CompanyClosedV1, CompanyRegisteredV1, CompanySettings,
    CompanySettingsChangedV1, MemberAddedV1, MemberRemovedV1, ThreadDeletedV1, ThreadOpenedV1, UserRegisteredV1,
    UserRemovedV1,
};
pub use file::{
    FileDeletedV1, FileMetadataChangedV1, FilePurgedV1, FileRenamedV1, FileRestoredV1, FileSpaceReleasedV1,
};
pub use quota::{
    QuotaLimitSetV1, QuotaRaisedV1, QuotaRecalculatedV1, QuotaReleasedV2, QuotaReservedV1, QuotaSettledV1,
    QuotaTransferredV1, ReleasedItem, ReservedItem, SettledItem,
};
pub use session::{SessionCancelledV1, SessionClosedV1, SessionOpenedV1};
pub use share::{FileSharedV1, ShareChangedV1, SharePinnedV1, ShareRevokedV1};
pub use token::{
    DownloadTokenContinuedV1, DownloadTokenExpiredV1, DownloadTokenIssuedV1, DownloadTokenRedeemedV1,
    DownloadTokenRedeemedV2, DownloadTokenRevokedV1, DownloadTokenServedV1,
};
pub use upload::{
    ChunkStorage, ChunkUploadedV1, FileCompletedV1, FileRejectedV1, FileUploadedV1, FileUploadedV2, FileVerifiedV1,
    MultipartOpenedV1, MultipartOpenedV2, PartAssembledV1, QuarantineClearedV1, QuarantineCopiedV1, QuarantineSignedV1,
    UploadCancelledV1, UploadConcatenatedV1, UploadExpiredV1, UploadKind, UploadLengthSetV1, UploadStartedV1,
    UploadStartedV2,
};

/// Why bytes are no event that this build can fold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A type or version that this build does not know: written by a newer one.
    #[error("unknown event {event_type} version {version}")]
    Unknown {
        /// The `Waybill-Type` header.
        event_type: String,
        /// The `Waybill-Version` header.
        version: u16,
    },
    /// The bytes are not those of the type that the headers name.
    #[error("corrupt {event_type} version {version}")]
    Corrupt {
        /// The `Waybill-Type` header.
        event_type: String,
        /// The `Waybill-Version` header.
        version: u16,
    },
}

macro_rules! catalogue {
    ($($name:ident, $version:literal => $body:ident $(, before: $($old:literal => $old_body:ident),+)?;)*) => {
        /// An event, in the newest version of its type. Serialised it is its body alone, for people to read.
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        #[serde(untagged)]
        pub enum Event {
            $(
                #[doc = concat!("See [`", stringify!($body), "`].")]
                $name($body),
            )*
        }

        $(
            impl From<$body> for Event {
                fn from(body: $body) -> Self {
                    Self::$name(body)
                }
            }
        )*

        impl Event {
            /// Every type with every version that can be read.
            pub const CATALOGUE: &'static [(&'static str, u16)] =
                &[$((stringify!($name), $version), $($((stringify!($name), $old),)+)?)*];

            /// The type's name, as the `Waybill-Type` header carries it.
            pub fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }

            /// The version that [`Event::encode`] writes.
            pub fn version(&self) -> u16 {
                match self {
                    $(Self::$name(_) => $version,)*
                }
            }

            /// The body's bytes: postcard.
            ///
            /// # Errors
            /// None that a value of these types can cause; postcard's signature has one.
            pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
                match self {
                    $(Self::$name(body) => postcard::to_stdvec(body),)*
                }
            }

            /// Reads the body of the named type and version, and upcasts it to the newest.
            ///
            /// # Errors
            /// [`EventError`] where the type or version is unknown, or the bytes are not its own.
            pub fn decode(event_type: &str, version: u16, bytes: &[u8]) -> Result<Self, EventError> {
                match (event_type, version) {
                    $(
                        (stringify!($name), $version) => exact::<$body>(bytes).map(Self::$name),
                        $($((stringify!($name), $old) => exact::<$old_body>(bytes).map(|old| Self::$name(old.into())),)+)?
                    )*
                    _ => {
                        return Err(EventError::Unknown { event_type: event_type.to_owned(), version });
                    }
                }
                .ok_or_else(|| EventError::Corrupt { event_type: event_type.to_owned(), version })
            }
        }
    };
}

catalogue! {
    UploadStarted, 2 => UploadStartedV2, before: 1 => UploadStartedV1;
    UploadLengthSet, 1 => UploadLengthSetV1;
    UploadConcatenated, 1 => UploadConcatenatedV1;
    QuarantineSigned, 1 => QuarantineSignedV1;
    QuarantineCopied, 1 => QuarantineCopiedV1;
    QuarantineCleared, 1 => QuarantineClearedV1;
    MultipartOpened, 2 => MultipartOpenedV2, before: 1 => MultipartOpenedV1;
    ChunkUploaded, 1 => ChunkUploadedV1;
    PartAssembled, 1 => PartAssembledV1;
    FileCompleted, 1 => FileCompletedV1;
    FileVerified, 1 => FileVerifiedV1;
    FileRejected, 1 => FileRejectedV1;
    FileUploaded, 2 => FileUploadedV2, before: 1 => FileUploadedV1;
    UploadCancelled, 1 => UploadCancelledV1;
    UploadExpired, 1 => UploadExpiredV1;
    FileRenamed, 1 => FileRenamedV1;
    FileDeleted, 1 => FileDeletedV1;
    FileRestored, 1 => FileRestoredV1;
    FileMetadataChanged, 1 => FileMetadataChangedV1;
    FilePurged, 1 => FilePurgedV1;
    FileSpaceReleased, 1 => FileSpaceReleasedV1;
    FileShared, 1 => FileSharedV1;
    ShareChanged, 1 => ShareChangedV1;
    SharePinned, 1 => SharePinnedV1;
    ShareRevoked, 1 => ShareRevokedV1;
    DownloadTokenIssued, 1 => DownloadTokenIssuedV1;
    DownloadTokenRedeemed, 2 => DownloadTokenRedeemedV2, before: 1 => DownloadTokenRedeemedV1;
    DownloadTokenContinued, 1 => DownloadTokenContinuedV1;
    DownloadTokenServed, 1 => DownloadTokenServedV1;
    DownloadTokenRevoked, 1 => DownloadTokenRevokedV1;
    DownloadTokenExpired, 1 => DownloadTokenExpiredV1;
    ContentShared, 1 => ContentSharedV1;
    ContentReferenced, 2 => ContentReferencedV2;
    ContentReleased, 2 => ContentReleasedV2;
    SessionOpened, 1 => SessionOpenedV1;
    SessionClosed, 1 => SessionClosedV1;
    SessionCancelled, 1 => SessionCancelledV1;
    QuotaLimitSet, 1 => QuotaLimitSetV1;
    QuotaReserved, 1 => QuotaReservedV1;
    QuotaRaised, 1 => QuotaRaisedV1;
    QuotaTransferred, 1 => QuotaTransferredV1;
    QuotaSettled, 1 => QuotaSettledV1;
    QuotaReleased, 2 => QuotaReleasedV2;
    QuotaRecalculated, 1 => QuotaRecalculatedV1;
    CompanyRegistered, 1 => CompanyRegisteredV1;
    CompanySettingsChanged, 1 => CompanySettingsChangedV1;
    CompanyClosed, 1 => CompanyClosedV1;
    UserRegistered, 1 => UserRegisteredV1;
    UserRemoved, 1 => UserRemovedV1;
    ChatroomOpened, 1 => ChatroomOpenedV1;
    ChatroomDeleted, 1 => ChatroomDeletedV1;
    ThreadOpened, 1 => ThreadOpenedV1;
    ThreadDeleted, 1 => ThreadDeletedV1;
    MemberAdded, 1 => MemberAddedV1;
    MemberRemoved, 1 => MemberRemovedV1;
}

/// A value that uses up all of the bytes: trailing ones would be data that a fold silently drops.
fn exact<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes::<T>(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}
