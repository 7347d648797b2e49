//! Client commands. They use the HTTP API of a running Waybill, given by a URL and a token.

mod api;
mod audit;
mod end;
mod files;
mod get;
mod healthy;
mod interrupt;
mod output;
mod retry;
mod state;
mod upload;
mod verify;
mod watch;

pub(crate) use audit::{AuditArgs, audit};
pub(crate) use files::{LsArgs, QuotaArgs, ls, quota};
pub(crate) use get::{GetArgs, get};
pub(crate) use healthy::{HealthyArgs, healthy};
pub(crate) use upload::{UploadArgs, upload};
pub(crate) use watch::{WatchArgs, watch};
