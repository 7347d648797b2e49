//! The workers as the gateway sees them: which are alive, which one has an upload, and the way bytes go there.

mod pool;
mod transport;

pub(crate) use pool::WorkerPool;
pub use pool::WorkerUrlError;
pub(crate) use transport::RemoteWorkers;
