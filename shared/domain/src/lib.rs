//! The rules of Waybill, pure: no clock, randomness, I/O or async. Times and ids come in as arguments.
//!
//! One module per aggregate, each of one shape: a `State` folded by `evolve` from recorded events, a `Command`, and a
//! `decide` that answers with the events to append. Deciding the same command on the state that it led to yields no
//! event. `upload::react` says what a worker has to do next, as data.

pub mod access;
pub mod content;
pub mod directory;
pub mod file;
pub mod grid;
pub mod limits;
pub mod media_type;
pub mod metadata;
pub mod name;
pub mod progress;
pub mod quota;
mod refusal;
pub mod session;
pub mod share;
pub mod token;
pub mod upload;

pub use refusal::Refusal;
