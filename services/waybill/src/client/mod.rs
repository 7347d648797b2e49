//! Client commands: they know a running Waybill by its URL and a token.

mod api;
mod audit;
mod upload;

pub(crate) use audit::{AuditArgs, audit};
pub(crate) use upload::{UploadArgs, upload};
