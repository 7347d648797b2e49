//! Limits on the open uploads of a user and of a company. They keep one user from taking the whole quota of a company,
//! and the state of the quota small.

use super::{State, Terms};
use crate::Refusal;
use crate::limits::OpenLimits;
use std::collections::HashMap;
use waybill_schema::events::ReservedItem;
use waybill_schema::{UploadId, UserId};

/// Open uploads of a user.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    uploads: u32,
    bytes: u64,
}

impl Held {
    fn add(&mut self, bytes: u64) {
        self.uploads = self.uploads.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Open uploads of a company and of some of its users, which grow while items are checked.
pub(super) struct Open {
    uploads: usize,
    users: HashMap<UserId, Held>,
}

impl Open {
    /// Counts the open uploads of the company and of `users`, except `without`.
    pub(super) fn count(
        state: &State,
        users: impl Iterator<Item = UserId>,
        without: impl Fn(&UploadId) -> bool,
    ) -> Self {
        let mut users: HashMap<UserId, Held> = users.map(|user| (user, Held::default())).collect();
        let mut uploads = 0;
        for (_, reserved) in state.reserved.iter().filter(|(upload, _)| !without(upload)) {
            uploads += 1;
            if let Some(held) = reserved.user_id.and_then(|user| users.get_mut(&user)) {
                held.add(reserved.bytes);
            }
        }
        Self { uploads, users }
    }

    /// Checks that the company and the user may have another open upload, with the bytes of the item.
    ///
    /// # Errors
    /// [`Refusal::TooManyUploads`], [`Refusal::UserSpaceExceeded`].
    pub(super) fn check(&self, state: &State, item: &ReservedItem, terms: &Terms) -> Result<(), Refusal> {
        let OpenLimits { per_user, per_company, user_percent } = terms.open;
        if self.uploads >= per_company as usize {
            return Err(Refusal::TooManyUploads { max: per_company, whose: "The company" });
        }
        let Some(held) = item.user_id.and_then(|user| self.users.get(&user)) else { return Ok(()) };
        if held.uploads >= per_user {
            return Err(Refusal::TooManyUploads { max: per_user, whose: "The user" });
        }
        let share = terms.limit_bytes(state) / 100 * u64::from(user_percent.min(100));
        let limit_bytes = share.max(terms.limits.max_file_bytes);
        let is_within = held.bytes.checked_add(item.bytes_total).is_some_and(|total| total <= limit_bytes);
        // A share of 100 percent is no limit of its own.
        if is_within || user_percent >= 100 {
            return Ok(());
        }
        Err(Refusal::UserSpaceExceeded { requested_bytes: item.bytes_total, reserved_bytes: held.bytes, limit_bytes })
    }

    /// Adds an accepted item.
    pub(super) fn add(&mut self, item: &ReservedItem) {
        self.uploads += 1;
        if let Some(held) = item.user_id.and_then(|user| self.users.get_mut(&user)) {
            held.add(item.bytes_total);
        }
    }
}
