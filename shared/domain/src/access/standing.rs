//! State of a user and of the user's company, which decides whether the user may do anything at all.

use super::Viewer;
use waybill_schema::events::DirectoryEvent;
use waybill_schema::{Timestamp, UserId};

/// State of a company or user in the directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Not registered.
    #[default]
    Unknown,
    /// Registered.
    Active,
    /// A removed user or a closed company.
    Ended,
}

/// Reason why a user may do nothing with a valid token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// The company or the user is not registered, or has ended.
    NotRegistered,
    /// The host product invalidated the token.
    TokenInvalidated,
}

/// State of a user and of the user's company. It decides whether the user may do anything at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// State of the company.
    pub company: Presence,
    /// State of the user.
    pub user: Presence,
    /// Tokens of the user that were issued before this time are invalid.
    pub tokens_valid_from: Option<Timestamp>,
}

impl Standing {
    /// Returns `true` if company and user are registered.
    pub fn is_active(self) -> bool {
        self.company == Presence::Active && self.user == Presence::Active
    }

    /// Returns `true` if the company was closed or the user was removed.
    pub fn has_ended(self) -> bool {
        self.company == Presence::Ended || self.user == Presence::Ended
    }

    /// Decides whether a user may send requests with a token that was issued at `issued_at` (`iat`). If registration is
    /// automatic, users who are not registered yet may.
    ///
    /// # Errors
    /// The reason why the user may not.
    pub fn check(self, is_registration_automatic: bool, issued_at: Option<Timestamp>) -> Result<(), Barred> {
        let is_known = if is_registration_automatic { !self.has_ended() } else { self.is_active() };
        if !is_known {
            return Err(Barred::NotRegistered);
        }
        let is_valid = self.tokens_valid_from.is_none_or(|from| issued_at.is_some_and(|at| at >= from));
        if is_valid { Ok(()) } else { Err(Barred::TokenInvalidated) }
    }

    /// Returns the viewer of a link that `issuer` issued at `issued_at`. A role ends when the host product invalidates the
    /// tokens that assert it, and with it the rights of the links that were issued with it. The link keeps the rights
    /// that the user has without the role.
    pub fn viewer_of_link(self, issuer: Viewer, issued_at: Option<Timestamp>) -> Viewer {
        // Tokens are invalidated by whole seconds, because they state whole seconds.
        let is_newer = |from: Timestamp| issued_at.is_some_and(|at| at >= from.plus_ms(1_000));
        Viewer { is_admin: issuer.is_admin && self.tokens_valid_from.is_none_or(is_newer), ..issuer }
    }

    /// Applies a newer event.
    pub fn apply(&mut self, viewer: UserId, event: &DirectoryEvent) {
        match event {
            DirectoryEvent::TokensInvalidated(invalidated) if invalidated.user_id.is_none_or(|user| user == viewer) => {
                self.tokens_valid_from = self.tokens_valid_from.max(Some(invalidated.issued_before));
            }
            DirectoryEvent::CompanyRegistered(_) => self.company = Presence::Active,
            DirectoryEvent::CompanyClosed(_) => self.company = Presence::Ended,
            DirectoryEvent::UserRegistered(user) if user.user_id == viewer => self.user = Presence::Active,
            DirectoryEvent::UserRemoved(user) if user.user_id == viewer => self.user = Presence::Ended,
            DirectoryEvent::UserRegistered(_)
            | DirectoryEvent::UserRemoved(_)
            | DirectoryEvent::CompanySettingsChanged(_)
            | DirectoryEvent::CompanyLimitsSet(_)
            | DirectoryEvent::TokensInvalidated(_)
            | DirectoryEvent::ChatroomOpened(_)
            | DirectoryEvent::ChatroomDeleted(_)
            | DirectoryEvent::ThreadOpened(_)
            | DirectoryEvent::ThreadDeleted(_)
            | DirectoryEvent::MemberAdded(_)
            | DirectoryEvent::MemberRemoved(_) => {}
        }
    }
}
