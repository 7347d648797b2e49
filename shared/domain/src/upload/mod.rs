//! An upload, from its start to a verified file or to an end without a file.
//!
//! Its events are on two subjects, which are folded together in the order of the stream. Events of the lifecycle are
//! decided one at a time. Events of chunks can come in any order and more than once.

mod aggregate;
mod command;
mod decide;
mod evolve;
mod known;
mod pieces;
mod react;
mod state;
mod weight;

pub use aggregate::{LifecycleAggregate, UploadAggregate};
pub use command::{Command, Verification};
pub use decide::decide;
pub use evolve::evolve;
pub use known::Known;
pub use pieces::{Joined, StagedPiece};
pub use react::{Step, react};
pub use state::{Phase, State, StoredPart};
pub use weight::start_weight;
