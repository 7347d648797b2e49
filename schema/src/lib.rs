//! What Waybill stores for ever: event versions, the envelope around them, and the subjects that they travel on.
//!
//! Everything here is read again years later, by rebuilds and by auditors. A struct whose name ends in a version
//! (`UploadStartedV1`) is frozen: its bytes are committed under `golden/`, and a test fails when they would change.
//! A change of shape is a new version beside the old one, with a pure upcaster to the newest.

pub mod access;
pub mod envelope;
pub mod events;
pub mod ids;
pub mod names;
pub mod ranges;
pub mod subject;
mod values;

pub use access::{AccessType, Grant, Permissions, Place};
pub use envelope::{Actor, Causation, DecodeError, Envelope, Position, PositionError, Recorded, Routing};
pub use events::Event;
pub use ids::{ChatroomId, CompanyId, FileId, SessionId, ShareId, ThreadId, TokenId, UploadId, UserId, WorkerId};
pub use ranges::{ByteRange, RangeSet};
pub use subject::{Aggregate, Partitions, Subject, SubjectError};
pub use values::{Sha256Digest, Sha256DigestError, Timestamp};
