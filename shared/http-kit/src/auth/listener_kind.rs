//! Separate listeners for the host product and for users.

use super::{Principal, Role};
use crate::Problem;
use waybill_schema::ErrorCode;

/// Principals whose requests a listener accepts. It is application data of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// Users and the host product.
    Shared,
    /// Only users, because the host product has a listener of its own.
    Users,
    /// Only the host product.
    Host,
}

impl ListenerKind {
    /// Checks that the listener accepts the requests of a principal. Requests without a principal are those with a download
    /// link or a ticket.
    ///
    /// # Errors
    /// 403 `wrong_listener`.
    pub fn check(self, principal: Option<&Principal>) -> Result<(), Problem> {
        let is_host = principal.is_some_and(|principal| principal.roles.contains(&Role::Service));
        let detail = match self {
            Self::Users if is_host => "the host product has an address of its own; send the request there",
            Self::Host if !is_host => "this address is only for the host product; send the request to the other one",
            _ => return Ok(()),
        };
        Err(Problem::new(403, ErrorCode::WrongListener, detail))
    }
}
