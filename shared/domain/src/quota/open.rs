//! Limits on the open uploads of a user and of a company. They keep one user from taking the whole quota of a company,
//! and the state of the quota small.

use super::{State, Terms};
use crate::Refusal;
use crate::limits::OpenLimits;
use std::collections::HashMap;
use waybill_schema::events::{ReservedItem, ReservedLink};
use waybill_schema::{LinkId, UploadId, UserId};

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

/// Open uploads of a company and of some of its users and links, which grow while items are checked.
pub(super) struct Open {
    uploads: usize,
    /// Open uploads of each user without those with upload links, and of each link.
    holders: HashMap<Holder, Held>,
    /// Bytes of the open uploads of each user, including those with the upload links of the user.
    users: HashMap<UserId, u64>,
}

/// A user or an upload link. Uploads with a link do not take the place of those of its owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    User(UserId),
    Link(LinkId),
}

impl Holder {
    fn of(user: Option<UserId>, link: Option<ReservedLink>) -> Option<Self> {
        link.map(|link| Self::Link(link.link_id)).or(user.map(Self::User))
    }
}

impl Open {
    /// Counts the open uploads of the company and of those who send `items`, except `without`.
    pub(super) fn count<'a>(
        state: &State,
        items: impl Iterator<Item = &'a ReservedItem>,
        without: impl Fn(&UploadId) -> bool,
    ) -> Self {
        let mut open = Self { uploads: 0, holders: HashMap::new(), users: HashMap::new() };
        for item in items {
            open.users.extend(item.user_id.map(|user| (user, 0)));
            open.holders.extend(Holder::of(item.user_id, item.link).map(|holder| (holder, Held::default())));
        }
        for (_, reserved) in state.reserved.iter().filter(|(upload, _)| !without(upload)) {
            open.add_bytes(reserved.user_id, reserved.link, reserved.bytes);
        }
        open
    }

    fn add_bytes(&mut self, user: Option<UserId>, link: Option<ReservedLink>, bytes: u64) {
        self.uploads += 1;
        if let Some(held) = Holder::of(user, link).and_then(|holder| self.holders.get_mut(&holder)) {
            held.add(bytes);
        }
        if let Some(total) = user.and_then(|user| self.users.get_mut(&user)) {
            *total = total.saturating_add(bytes);
        }
    }

    /// Checks that the company and the user may have another open upload, with the bytes of the item.
    ///
    /// # Errors
    /// [`Refusal::TooManyUploads`], [`Refusal::UserLimitExceeded`], [`Refusal::UserSpaceExceeded`].
    pub(super) fn check(&self, state: &State, item: &ReservedItem, terms: &Terms) -> Result<(), Refusal> {
        let OpenLimits { per_user, per_company, user_percent } = terms.open;
        if self.uploads >= per_company as usize {
            return Err(Refusal::TooManyUploads { max: per_company, whose: "The company" });
        }
        if let Some(user) = item.user_id {
            check_limit(state, user, self.users.get(&user).copied().unwrap_or(0), item)?;
        }
        let holder = Holder::of(item.user_id, item.link);
        let Some(held) = holder.and_then(|holder| self.holders.get(&holder)) else { return Ok(()) };
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
        self.add_bytes(item.user_id, item.link, item.bytes_total);
    }
}

/// Checks the limit of a user for all files and open uploads together.
fn check_limit(state: &State, user: UserId, reserved_bytes: u64, item: &ReservedItem) -> Result<(), Refusal> {
    let Some(limit_bytes) = state.limit_of(user) else { return Ok(()) };
    let used_bytes = state.used_by(user);
    let total = used_bytes.saturating_add(reserved_bytes).saturating_add(item.bytes_total);
    if total <= limit_bytes {
        return Ok(());
    }
    Err(Refusal::UserLimitExceeded { requested_bytes: item.bytes_total, used_bytes, reserved_bytes, limit_bytes })
}
