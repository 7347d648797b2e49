//! The storage quota of a company. It has one subject, and the size of its state depends on the number of open uploads.
//!
//! Bytes are reserved before an upload starts. The event is appended with the expected sequence of `….quota`, so that
//! the sum never exceeds the limit, even if many gateways decide at the same time. Only an open reservation can be
//! settled, so that each reservation ends once. The events of an upload tell whether its reservation ended before, so
//! that a repeated start does not reserve again.

mod change;
mod reserve;
mod settle;
mod state;

pub use change::{raise, transfer};
pub use reserve::{Reservation, reserve};
pub use settle::{release, settle};
pub use state::{Reserved, State, evolve};
