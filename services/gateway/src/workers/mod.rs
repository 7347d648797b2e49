//! The gateway's connections to the workers: which workers are alive, which one has an upload, and how bytes get there.

mod pool;
mod transport;

pub(crate) use pool::WorkerPool;
pub use pool::WorkerUrlError;
pub(crate) use transport::RemoteWorkers;
