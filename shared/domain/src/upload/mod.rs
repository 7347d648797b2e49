//! An upload, from its start to a verified file or its end without one.
//!
//! Its events are on two subjects that are folded together in stream order: the lifecycle, decided one event at a
//! time, and the chunks, facts that may come in any order and more than once.

mod command;
mod decide;
mod evolve;
mod known;
mod react;
mod state;
mod weight;

pub use command::{Command, Verification};
pub use decide::decide;
pub use evolve::evolve;
pub use known::{Joined, Known};
pub use react::{Step, react};
pub use state::{Phase, StagedPiece, State, Status, StoredPart};
pub use weight::start_weight;
