//! A company's storage quota: one subject, and a state that is as large as what is open.
//!
//! Space is reserved before an upload starts, by an event appended with the expected sequence of `….quota`; so the sum
//! never passes the limit, however many gateways decide at once. A reservation that is not open any more cannot be settled
//! again, so each ends once. That one ended before a repeated start asks for it again is known from the upload's own events.

mod change;
mod reserve;
mod settle;
mod state;

pub use change::{raise, transfer};
pub use reserve::{Reservation, reserve};
pub use settle::{release, settle};
pub use state::{Reserved, State, evolve};
