//! The authenticated caller, and the problems of requests without one.

use crate::Problem;
use serde::{Deserialize, Serialize};
use waybill_schema::ErrorCode;
use waybill_schema::{CompanyId, LinkId, Timestamp, UserId};

/// A role in a token, which gives permissions beyond the user's own uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Can read the audit of the company.
    Auditor,
    /// Can set the limits of the company and manage its directory.
    Admin,
    /// The host product, which manages the directories of all companies. Not a user.
    Service,
    /// A role that has no meaning in Waybill.
    #[serde(other)]
    Other,
}

/// The authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user.
    pub user_id: UserId,
    /// The company of the user.
    pub company_id: CompanyId,
    /// The roles in the token.
    pub roles: Vec<Role>,
    /// The time at which the token was issued (`iat`), if the token says it.
    pub issued_at: Option<Timestamp>,
    /// The time at which the token expires.
    pub expires_at: Timestamp,
    /// The upload link of the user with which the request is sent, instead of a token.
    pub link: Option<LinkId>,
}

impl Principal {
    /// Returns the id whose rates and numbers the request counts towards: people with an upload link must not use up those of its
    /// owner.
    pub fn counted_as(&self) -> UserId {
        self.link.map_or(self.user_id, |link| UserId(link.0))
    }

    /// Returns `true` if the caller is the host product and not a user.
    pub fn is_host(&self) -> bool {
        self.roles.contains(&Role::Service)
    }

    /// Returns an error if the caller is not a user.
    ///
    /// # Errors
    /// 403 `user_required`.
    pub fn require_user(&self) -> Result<(), Problem> {
        if self.is_host() {
            return Err(Problem::new(
                403,
                ErrorCode::UserRequired,
                "a service token cannot act as a user; send the token of a user",
            ));
        }
        Ok(())
    }

    /// Returns an error unless the caller has a role.
    ///
    /// # Errors
    /// 403 `role_required`.
    pub fn require(&self, role: Role, name: &str) -> Result<(), Problem> {
        if self.roles.contains(&role) {
            return Ok(());
        }
        Err(Problem::new(403, ErrorCode::RoleRequired, format!("This request needs a token with the role {name}.")))
    }
}

/// Returns the problem for a token that is not accepted. It does not say why.
pub(super) fn token_invalid() -> Problem {
    Problem::new(401, ErrorCode::TokenInvalid, "The token is invalid, expired or not for this service.")
}

/// Returns the problem for a token that the host product invalidated.
pub fn token_invalidated() -> Problem {
    Problem::new(401, ErrorCode::TokenInvalid, "The token was invalidated. Sign in again.")
}
