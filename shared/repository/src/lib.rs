//! Where the rules meet the log: an aggregate is loaded, a command is decided on it, the event is appended with the
//! sequence that was loaded as its expectation, and where somebody else was first all of it is done again.

mod aggregate;
mod execute;
mod quota;
mod turn;

pub use aggregate::{
    Aggregate, ContentAggregate, DirectoryAggregate, FileAggregate, Loaded, SessionAggregate, ShareAggregate,
    TokenAggregate, UploadAggregate, load, refresh, routing_of,
};
pub use execute::{Context, Done, ExecuteError, execute};
pub use quota::{LoadedQuota, append_quota, change_quota, load_quota, refresh_quota, settle_quota};
