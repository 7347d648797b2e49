//! Events of the directory: `directory`.

use crate::{CompanyId, UserId};
use serde::{Deserialize, Serialize};

/// A company is known from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyRegisteredV1 {
    /// Which.
    pub company_id: CompanyId,
}

/// A user of the company is known from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRegisteredV1 {
    /// Which.
    pub user_id: UserId,
}
