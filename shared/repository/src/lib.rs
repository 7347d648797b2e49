//! Execution of commands on aggregates: load the aggregate, decide on the command, and append the event with the loaded
//! sequence as its expectation. After a conflict, all of this is repeated.

mod batches;
mod directories;
mod execute;
mod loaded;
mod memory;
mod on_log;
mod quota;
mod repository;
mod snapshot;
mod sources;
mod turn;

pub use batches::{BatchSize, Batches, Busy, Linger};
pub use directories::{Directories, DirectoryLimits};
pub use execute::{Context, Done, ExecuteError};
pub use loaded::Loaded;
pub use on_log::{Execute, OnLog};
pub use quota::{Held, Prepare};
pub use repository::Repository;
pub use snapshot::forget_snapshot;
pub use waybill_domain::Aggregate;
pub use waybill_domain::content::ContentAggregate;
pub use waybill_domain::file::FileAggregate;
pub use waybill_domain::link::LinkAggregate;
pub use waybill_domain::quota::QuotaAggregate;
pub use waybill_domain::session::SessionAggregate;
pub use waybill_domain::share::ShareAggregate;
pub use waybill_domain::token::TokenAggregate;
pub use waybill_domain::upload::{LifecycleAggregate, UploadAggregate};
