//! The projector: folds every event, in order, into the read models of Postgres; and rebuilds those.
//!
//! One partition is folded by one projector at a time. A batch of events is one transaction that first moves the
//! checkpoint and then writes whole rows, so each event takes effect exactly once.

mod ahead;
mod apply;
mod fold;
mod follow;
mod rebuild;
mod replay;
mod server;
mod share;
mod swap;
mod unpark;
mod writing;

pub use apply::ProjectError;
pub use replay::{Comparison, ReplayError, TableComparison, replay_into, verify};
pub use server::{Config, Server};
pub use swap::{Swapped, put_right, swap};
pub use unpark::fold_parked;
pub use waybill_read_model::swap::PutRight;
