//! The storage quota of a company. It has one subject, and the size of its state depends on the number of open uploads.
//!
//! Bytes are reserved before an upload starts. The event is appended with the expected sequence of `….quota`, so that
//! the sum never exceeds the limit, even if many gateways decide at the same time. Only an open reservation can be
//! settled, so that each reservation ends once. The events of an upload tell whether its reservation ended before, so
//! that a repeated start does not reserve again.

mod aggregate;
mod change;
mod command;
mod links;
mod open;
mod reserve;
mod sent;
mod settle;
mod state;

pub use aggregate::QuotaAggregate;
pub use command::{Command, Terms};
pub use links::{Left, LinkLimits};
pub use reserve::{Reservation, check_each};
pub use sent::Sent;
pub use state::{Reserved, State, evolve};

use crate::Refusal;
use waybill_schema::events::{QuotaEvent, QuotaLimitSet};

/// Decides on a command.
///
/// # Errors
/// The [`Refusal`] for the client.
pub fn decide(state: &State, command: Command) -> Result<Option<QuotaEvent>, Refusal> {
    Ok(match command {
        Command::SetLimit { storage_limit_bytes } => {
            Some(QuotaLimitSet { storage_limit_bytes, is_of_host: true }.into())
        }
        Command::LowerLimit { storage_limit_bytes, default_limit_bytes } => {
            let limit_bytes = state.limit_of_host_bytes.unwrap_or(default_limit_bytes);
            if storage_limit_bytes > limit_bytes {
                return Err(Refusal::LimitAboveHosts { limit_bytes });
            }
            Some(QuotaLimitSet { storage_limit_bytes, is_of_host: false }.into())
        }
        Command::SetFirstLimit { storage_limit_bytes } => {
            state.limit_bytes.is_none().then(|| QuotaLimitSet { storage_limit_bytes, is_of_host: true }.into())
        }
        Command::Reserve { items, until, terms } => reserve::reserve(state, &items, until, &terms)?,
        Command::Raise { upload_id, needed_bytes, max_bytes, terms } => {
            change::raise(state, upload_id, needed_bytes, max_bytes, &terms)?
        }
        Command::Transfer { item, from, until, terms } => change::transfer(state, item, from, until, &terms)?,
        Command::Settle(ended) => settle::settle(state, ended),
        Command::Release { purged, recorded } => settle::release(state, purged, recorded),
        Command::SetUserLimit(set) => {
            let before = set.user_id.map_or(state.user_limit_bytes, |user| state.user_limits.get(&user).copied());
            (before != set.limit_bytes).then(|| set.into())
        }
        Command::Recalculate(found) => settle::is_of(state, &found).then(|| found.into()),
    })
}
