//! Formats that Waybill stores permanently: versions of events, their envelope and their subjects.
//!
//! Rebuilds and auditors read these formats years later. A struct whose name ends in a version (`UploadStartedV1`) is
//! frozen: its bytes are committed under `golden/`, and a test fails if they change. To change the shape of an event,
//! add a new version and a pure conversion from the old version to the newest.

pub mod access;
pub mod envelope;
mod error_code;
pub mod events;
pub mod ids;
pub mod location;
pub mod names;
pub mod preview;
pub mod ranges;
pub mod scan;
mod status;
pub mod subject;
pub mod tier;
mod values;

pub use access::{Grant, Permissions, Place, ShareBasis};
pub use envelope::{Actor, Causation, DecodeError, Envelope, Position, PositionError, Recorded, Routing};
pub use error_code::{ErrorCode, UnknownErrorCode};
pub use events::Event;
pub use ids::{
    ChatroomId, CompanyId, FileId, LinkId, SessionId, ShareId, ThreadId, TokenId, UploadId, UserId, WorkerId,
};
pub use location::{FileForm, LocationPolicy, Piece, PlainForm, Stripped};
pub use preview::{PreviewFacts, PreviewFailure, PreviewSet, StoredVariant, Variant};
pub use ranges::{ByteRange, RangeSet};
pub use scan::{ScanPolicy, ScanResult, UnscannedPolicy, UnscannedReason};
pub use status::{AccessType, ProcessingStatus, SessionStatus, UnknownName, UploadStatus, Verdict};
pub use subject::{Entity, Partitions, Subject, SubjectError};
pub use tier::StorageTier;
pub use values::{Sha256Digest, Sha256DigestError, Timestamp};
