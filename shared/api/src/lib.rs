//! What clients and servers of Waybill send to each other: WebSocket frames and error codes. Servers, the commands for
//! people and tests use the same definitions. The crate has no I/O and no rules.

pub mod extensible;
pub mod frames;

pub use extensible::Extensible;
pub use waybill_schema::{ErrorCode, UnknownErrorCode};
