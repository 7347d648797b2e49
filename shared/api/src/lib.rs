//! Contract between clients and servers of Waybill: requests, responses, WebSocket frames and error codes.
//! Servers, the commands for people and tests use the same definitions. The crate has no I/O and no rules: servers
//! validate the values.
//!
//! `docs/openapi.json` and `docs/websocket-frames.json` are generated from these types. Requests refuse unknown members,
//! if their types say so; responses and frames may get further members, which clients ignore.

pub mod archives;
pub mod associations;
pub mod audit;
pub mod directory;
mod extensible;
pub mod files;
pub mod frames;
pub mod links;
pub mod media;
mod metadata;
pub mod parts;
mod present;
mod problem;
pub mod progress;
pub mod quota;
pub mod sessions;
pub mod tokens;
pub mod uploads;
pub mod uppy;

pub use extensible::Extensible;
pub use metadata::Metadata;
pub use problem::ProblemDetails;
pub use waybill_schema::{ErrorCode, UnknownErrorCode};
