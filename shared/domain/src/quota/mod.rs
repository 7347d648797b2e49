//! A company's storage quota: reservations on one subject, settlements on one subject per upload.
//!
//! Space is reserved before an upload starts, by an event appended with the expected sequence of `….quota`; so the sum
//! never passes the limit, however many gateways decide at once. Settlements go to `….quota.{upload_id}`, so that each
//! reservation ends exactly once; folding them late only means that less seems free.

mod change;
mod reserve;
mod settle;
mod state;

pub use change::{raise, transfer};
pub use reserve::{Reservation, reserve};
pub use settle::{Settlement, Settling, Space, settle};
pub use state::{Reserved, State, evolve};
