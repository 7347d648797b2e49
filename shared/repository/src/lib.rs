//! Where the rules meet the log: an aggregate is loaded, a command is decided on it, the event is appended with the
//! sequence that was loaded as its expectation, and where somebody else was first all of it is done again.

mod aggregate;
mod batches;
mod directories;
mod execute;
mod loaded;
mod on_log;
mod quota;
mod snapshot;
mod turn;

pub use aggregate::{
    Aggregate, ContentAggregate, FileAggregate, LifecycleAggregate, SessionAggregate, ShareAggregate, TokenAggregate,
    UploadAggregate, routing_of,
};
pub use batches::{BatchSize, Batches, Busy, Linger};
pub use directories::{Directories, DirectoryLimits};
pub use execute::{Context, Done, ExecuteError, execute};
pub use loaded::{Loaded, load, look_at_upload, refresh};
pub use on_log::OnLog;
pub use quota::{Held, Quotas};
pub use snapshot::forget_snapshot;
