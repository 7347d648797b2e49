//! The projector folds all events in order into the read model in PostgreSQL. It also rebuilds the read model.
//!
//! Only one projector at a time folds a partition. Each batch of events is one transaction that first moves the
//! checkpoint and then writes whole rows. Therefore each event takes effect exactly once.

mod ahead;
mod apply;
mod error;
mod fold;
mod follow;
mod metrics;
mod rebuild;
mod replay;
mod server;
mod settings;
mod share;
mod swap;
mod unpark;
mod writing;

pub use apply::ProjectError;
pub use error::ReplayError;
pub use replay::{Comparison, TableComparison, replay_into, verify};
pub use server::{Config, Server};
pub use settings::ProjectorSettings;
pub use swap::{Swapped, put_right, swap};
pub use unpark::fold_parked;
pub use waybill_read_model::swap::PutRight;
