//! Rules of a company for download links.

use super::State;
use crate::Refusal;
use waybill_schema::Timestamp;

/// Rules of a company for download links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkPolicy {
    /// Maximum validity in seconds. 0 forbids links. `None` stands for no limit.
    pub max_age_s: Option<u32>,
    /// Maximum number of downloads with one link. `None` stands for no limit.
    pub max_downloads: Option<u32>,
}

impl LinkPolicy {
    /// Checks the settings of a new link.
    ///
    /// # Errors
    /// [`Refusal::LinksForbidden`], [`Refusal::TokenInvalid`].
    pub fn check_new(&self, lifetime_s: u32, max_downloads: Option<u32>) -> Result<(), Refusal> {
        if self.max_age_s == Some(0) {
            return Err(Refusal::LinksForbidden);
        }
        if self.max_age_s.is_some_and(|max| lifetime_s > max) {
            return Err(Refusal::TokenInvalid { reason: "expires_in_s must be at most the limit of the company" });
        }
        if self.max_downloads.is_some_and(|max| max_downloads.is_none_or(|downloads| downloads > max)) {
            return Err(Refusal::TokenInvalid { reason: "max_downloads must be at most the limit of the company" });
        }
        Ok(())
    }

    /// Checks whether a link that was issued under other rules may still be used.
    ///
    /// # Errors
    /// [`Refusal::TokenEnded`].
    pub fn check_use(&self, state: &State, now: Timestamp) -> Result<(), Refusal> {
        let Some(max_age_s) = self.max_age_s else { return Ok(()) };
        if state.issued_at.is_some_and(|at| now < at.plus_ms(i64::from(max_age_s).saturating_mul(1_000))) {
            return Ok(());
        }
        Err(Refusal::TokenEnded { reason: "the company does not allow links of this age" })
    }
}
