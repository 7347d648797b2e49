//! One share of a file: its users, grants and end, apart from the share that it rests on.

use super::membership::Member;
use std::collections::BTreeSet;
use waybill_schema::events::{FileShared, ShareChanged, ShareEvent};
use waybill_schema::{AccessType, ChatroomId, Grant, Permissions, Place, ShareId, ThreadId, Timestamp, UserId};

/// Grants of a share without explicit permissions.
const USUAL: &[Grant] = &[Grant::View, Grant::Download];

/// Users, permissions and end that a share is to have.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Users that the share is for.
    pub access_type: AccessType,
    /// Permissions, if they differ from the default.
    pub permissions: Option<&'a Permissions>,
    /// End of the share. `None` if it has no end.
    pub expires_at: Option<Timestamp>,
}

impl Terms<'_> {
    /// Returns all grants that the share gives to anybody.
    pub(super) fn grants(&self) -> BTreeSet<Grant> {
        let everyone = self.permissions.and_then(|given| given.everyone.as_deref()).unwrap_or(USUAL);
        let named = self.permissions.into_iter().flat_map(|given| given.users.values().flatten());
        everyone.iter().chain(named).copied().collect()
    }

    /// Returns `true` if the share reaches nobody that `permitted` does not reach. A share for the members of a place
    /// permits shares for the members of other places.
    pub(super) fn stays_within(&self, permitted: Terms<'_>) -> bool {
        let is_named = |user: &UserId| permitted.permissions.is_some_and(|given| given.users.contains_key(user));
        match permitted.access_type {
            AccessType::Public => true,
            AccessType::Private => self.access_type != AccessType::Public,
            AccessType::Restricted => {
                let mut users = self.permissions.into_iter().flat_map(|given| given.users.keys());
                self.access_type == AccessType::Restricted && users.all(is_named)
            }
        }
    }

    /// Returns `true` if the share ends no later than `end`.
    pub(super) fn ends_by(&self, end: Option<Timestamp>) -> bool {
        end.is_none_or(|end| self.expires_at.is_some_and(|at| at <= end))
    }
}

impl<'a> From<&'a FileShared> for Terms<'a> {
    fn from(shared: &'a FileShared) -> Self {
        let FileShared { access_type, expires_at, .. } = *shared;
        Self { access_type, permissions: shared.permissions.as_ref(), expires_at }
    }
}

impl<'a> From<&'a ShareChanged> for Terms<'a> {
    fn from(changed: &'a ShareChanged) -> Self {
        let ShareChanged { access_type, expires_at, .. } = *changed;
        Self { access_type, permissions: changed.permissions.as_ref(), expires_at }
    }
}

/// Share of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareFacts {
    /// Id of the share.
    pub id: ShareId,
    /// Chatroom that the file is shared with.
    pub chatroom_id: Option<ChatroomId>,
    /// Thread that the file is shared with.
    pub thread_id: Option<ThreadId>,
    /// User that shared the file.
    pub shared_by: UserId,
    /// The share that let `shared_by` share the file. `None` if they needed no share, or if it is not recorded.
    pub parent: Option<ShareId>,
    /// Users that the share is for.
    pub access_type: AccessType,
    /// Permissions, if they differ from the default.
    pub permissions: Option<Permissions>,
    /// End of the share. `None` if it has no end.
    pub expires_at: Option<Timestamp>,
    /// `true` if the share was revoked, or its chatroom or thread was deleted.
    pub ended: bool,
}

impl ShareFacts {
    /// Returns the chatroom and the thread of the share.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.chatroom_id.map(Place::Chatroom).into_iter().chain(self.thread_id.map(Place::Thread))
    }

    pub(super) fn terms(&self) -> Terms<'_> {
        let Self { access_type, expires_at, .. } = *self;
        Terms { access_type, permissions: self.permissions.as_ref(), expires_at }
    }

    pub(super) fn apply(&mut self, event: &ShareEvent) {
        match event {
            // The share was revoked or had expired, and begins again.
            ShareEvent::FileShared(shared) => {
                self.shared_by = shared.shared_by;
                self.parent = shared.basis.parent();
                self.access_type = shared.access_type;
                self.permissions.clone_from(&shared.permissions);
                self.expires_at = shared.expires_at;
                self.ended = false;
            }
            ShareEvent::ShareChanged(changed) => {
                self.access_type = changed.access_type;
                self.permissions.clone_from(&changed.permissions);
                self.expires_at = changed.expires_at;
            }
            ShareEvent::ShareRevoked(_) => self.ended = true,
            ShareEvent::SharePinned(_) => {}
        }
    }

    /// Returns `true` if the share itself has neither ended nor expired.
    pub fn is_current(&self, now: Timestamp) -> bool {
        !self.ended && self.expires_at.is_none_or(|at| now < at)
    }

    /// Returns `true` if the user is a member of a place of the share.
    fn has_member(&self, user: Member<'_>) -> bool {
        self.places().any(|place| user.is_in(place))
    }

    /// Returns `true` if `share`, which rests on this one, may reach the user.
    pub(super) fn lets_reach(&self, share: &Self, user: Member<'_>) -> bool {
        match self.access_type {
            AccessType::Public => true,
            AccessType::Private => share.has_member(user),
            AccessType::Restricted => {
                let users = self.permissions.as_ref().map(|permissions| &permissions.users);
                share.has_member(user) && users.is_some_and(|users| users.contains_key(&user.user_id))
            }
        }
    }

    /// Returns the grants that the share itself gives to the user. They are empty if the share is not for the user.
    pub(super) fn own_grants(&self, user: Member<'_>, now: Timestamp) -> &[Grant] {
        if !self.is_current(now) {
            return &[];
        }
        let named = self.permissions.as_ref().and_then(|permissions| permissions.users.get(&user.user_id));
        let is_for = match self.access_type {
            AccessType::Public => true,
            AccessType::Private => self.has_member(user),
            AccessType::Restricted => self.has_member(user) && named.is_some(),
        };
        if !is_for {
            return &[];
        }
        let everyone = self.permissions.as_ref().and_then(|permissions| permissions.everyone.as_ref());
        named.or(everyone).map_or(USUAL, Vec::as_slice)
    }
}
