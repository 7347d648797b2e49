//! The catalogue of events: one frozen struct per version, and enums of the newest versions for the rest of the code.

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

/// Reason why bytes are not an event that this build can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// This build does not know the type or version. A newer build wrote the event.
    #[error("unknown event {event_type} version {version}")]
    Unknown {
        /// The `Waybill-Type` header.
        event_type: String,
        /// The `Waybill-Version` header.
        version: u16,
    },
    /// The bytes are not a body of the type and version that the headers name.
    #[error("corrupt {event_type} version {version}")]
    Corrupt {
        /// The `Waybill-Type` header.
        event_type: String,
        /// The `Waybill-Version` header.
        version: u16,
    },
}

/// The events of one kind of aggregate. Folds, projections and reactions match such an enum without a wildcard, so that
/// the compiler lists every place that a new event concerns.
pub trait AggregateEvent: Clone + std::fmt::Debug + Into<Event> + Send + Sync + 'static {
    /// Returns the event if it is of this kind of aggregate.
    fn of(event: &Event) -> Option<&Self>;
}

macro_rules! catalogue {
    ($(
        $(#[$doc:meta])*
        $group:ident($events:ident) {
            $($name:ident, $version:literal => $body:ident $(, before: $($old:literal => $old_body:ident),+)?;)*
        }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
            #[serde(untagged)]
            pub enum $events {
                $(
                    #[doc = concat!("See [`", stringify!($body), "`].")]
                    $name($body),
                )*
            }

            impl AggregateEvent for $events {
                fn of(event: &Event) -> Option<&Self> {
                    if let Event::$group(event) = event { Some(event) } else { None }
                }
            }

            impl From<$events> for Event {
                fn from(event: $events) -> Self {
                    Self::$group(event)
                }
            }

            $(
                impl From<$body> for $events {
                    fn from(body: $body) -> Self {
                        Self::$name(body)
                    }
                }

                impl From<$body> for Event {
                    fn from(body: $body) -> Self {
                        Self::$group($events::$name(body))
                    }
                }
            )*
        )*

        /// An event, in the newest version of its type. It serialises as its body alone, for people to read.
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        #[serde(untagged)]
        #[expect(clippy::large_enum_variant, reason = "most events are about uploads, which is the largest variant")]
        pub enum Event {
            $(
                $(#[$doc])*
                $group($events),
            )*
        }

        impl Event {
            /// All types with all versions that can be read.
            pub const CATALOGUE: &'static [(&'static str, u16)] =
                &[$($((stringify!($name), $version), $($((stringify!($name), $old),)+)?)*)*];

            /// Returns the name of the type, which is the `Waybill-Type` header.
            pub fn event_type(&self) -> &'static str {
                match self {
                    $($(Self::$group($events::$name(_)) => stringify!($name),)*)*
                }
            }

            /// Returns the version that [`Event::encode`] writes.
            pub fn version(&self) -> u16 {
                match self {
                    $($(Self::$group($events::$name(_)) => $version,)*)*
                }
            }

            /// Encodes the body with postcard.
            ///
            /// # Errors
            /// None for values of these types. The signature of postcard has an error.
            pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
                match self {
                    $($(Self::$group($events::$name(body)) => postcard::to_stdvec(body),)*)*
                }
            }

            /// Decodes the body of the given type and version, and converts it to the newest version.
            ///
            /// # Errors
            /// [`EventError`] if the type or version is unknown, or the bytes are not a body of this type.
            pub fn decode(event_type: &str, version: u16, bytes: &[u8]) -> Result<Self, EventError> {
                match (event_type, version) {
                    $($(
                        (stringify!($name), $version) => exact::<$body>(bytes).map(Self::from),
                        $($((stringify!($name), $old) => {
                            exact::<$old_body>(bytes).map(|old| Self::from($body::from(old)))
                        })+)?
                    )*)*
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
    /// Events of an upload, from its start to its verification.
    Upload(UploadEvent) {
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
    }
    /// Events of a verified file.
    File(FileEvent) {
        FileRenamed, 1 => FileRenamedV1;
        FileDeleted, 1 => FileDeletedV1;
        FileRestored, 1 => FileRestoredV1;
        FileMetadataChanged, 1 => FileMetadataChangedV1;
        FilePurged, 1 => FilePurgedV1;
        FileSpaceReleased, 1 => FileSpaceReleasedV1;
    }
    /// Events of an association of a file with a chatroom or thread.
    Share(ShareEvent) {
        FileShared, 1 => FileSharedV1;
        ShareChanged, 1 => ShareChangedV1;
        SharePinned, 1 => SharePinnedV1;
        ShareRevoked, 1 => ShareRevokedV1;
    }
    /// Events of a download token.
    Token(TokenEvent) {
        DownloadTokenIssued, 1 => DownloadTokenIssuedV1;
        DownloadTokenRedeemed, 2 => DownloadTokenRedeemedV2, before: 1 => DownloadTokenRedeemedV1;
        DownloadTokenContinued, 1 => DownloadTokenContinuedV1;
        DownloadTokenServed, 1 => DownloadTokenServedV1;
        DownloadTokenRevoked, 1 => DownloadTokenRevokedV1;
        DownloadTokenExpired, 1 => DownloadTokenExpiredV1;
    }
    /// Events of content that several files of a company have in common.
    Content(ContentEvent) {
        ContentShared, 1 => ContentSharedV1;
        ContentReferenced, 2 => ContentReferencedV2;
        ContentReleased, 2 => ContentReleasedV2;
    }
    /// Events of an upload session.
    Session(SessionEvent) {
        SessionOpened, 1 => SessionOpenedV1;
        SessionClosed, 1 => SessionClosedV1;
        SessionCancelled, 1 => SessionCancelledV1;
    }
    /// Events of the quota of a company.
    Quota(QuotaEvent) {
        QuotaLimitSet, 1 => QuotaLimitSetV1;
        QuotaReserved, 1 => QuotaReservedV1;
        QuotaRaised, 1 => QuotaRaisedV1;
        QuotaTransferred, 1 => QuotaTransferredV1;
        QuotaSettled, 1 => QuotaSettledV1;
        QuotaReleased, 2 => QuotaReleasedV2;
        QuotaRecalculated, 1 => QuotaRecalculatedV1;
    }
    /// Events of the directory of a company.
    Directory(DirectoryEvent) {
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
}

impl From<UploadStartedV1> for UploadEvent {
    fn from(started: UploadStartedV1) -> Self {
        UploadStartedV2::from(started).into()
    }
}

impl From<UploadStartedV1> for Event {
    fn from(started: UploadStartedV1) -> Self {
        UploadEvent::from(started).into()
    }
}

/// Decodes a value. Returns `None` if bytes remain, because a fold would silently drop their data.
fn exact<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes::<T>(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}
