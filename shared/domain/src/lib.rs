//! The rules of Waybill as pure functions: without clock, randomness, I/O and async code. Times and ids are arguments.
//!
//! Each aggregate has a module of the same shape: a `State` that `evolve` folds from recorded events, a `Command`, and
//! a `decide` that returns the events to append. Deciding a command again on the resulting state returns no event.
//! [`reaction::reaction_to`] and [`upload::react`] return the work of a worker as data.

pub mod access;
mod aggregate;
pub mod content;
pub mod directory;
pub mod file;
pub mod grid;
pub mod label;
pub mod limits;
pub mod link;
pub mod location;
pub mod media_type;
pub mod metadata;
pub mod name;
pub mod preview;
pub mod progress;
pub mod quota;
pub mod reaction;
mod refusal;
pub mod scan;
pub mod session;
pub mod share;
pub mod token;
pub mod upload;

pub use aggregate::Aggregate;
pub use refusal::Refusal;
