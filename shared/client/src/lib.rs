//! Client commands of the `waybill` binary. They use the HTTP API of a running Waybill, given by a URL and a token.

mod api;
mod audit;
mod end;
mod export;
mod files;
mod get;
mod healthy;
mod interrupt;
mod output;
mod prove;
mod retry;
mod state;
mod upload;
mod verify;
mod views;
mod watch;

pub use audit::{AuditArgs, audit};
pub use end::Ended;
pub use files::{LsArgs, QuotaArgs, ls, quota};
pub use get::{GetArgs, get};
pub use healthy::{HealthyArgs, healthy};
pub use upload::{UploadArgs, upload};
pub use watch::{WatchArgs, watch};
