//! Upload limits and accepted media types: those of the installation, restricted by the settings of the company.

use crate::{Access, AccessError};
use std::sync::Arc;
use waybill_domain::limits::Limits;
use waybill_domain::media_type::TypePolicy;
use waybill_schema::CompanyId;

/// The upload policies of all companies.
#[derive(Clone)]
pub struct Policies {
    /// Provides the settings of companies.
    pub access: Arc<Access>,
    /// Upper limits for every company.
    pub limits: Limits,
    /// Media types that are accepted if a company has no setting.
    pub types: TypePolicy,
}

impl Policies {
    /// Returns the maximum sizes of a company's files and sessions.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn limits(&self, company: CompanyId) -> Result<Limits, AccessError> {
        let settings = self.access.settings(company).await?;
        Ok(self.limits.lowered(settings.max_file_bytes, settings.max_session_bytes))
    }

    /// Returns the number of days after which a company's files are deleted, or `None` if they are kept.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn retention_days(&self, company: CompanyId) -> Result<Option<u32>, AccessError> {
        Ok(self.access.settings(company).await?.retention_days)
    }

    /// Returns the media types that a company accepts.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn types(&self, company: CompanyId) -> Result<TypePolicy, AccessError> {
        let settings = self.access.settings(company).await?;
        Ok(settings.allowed_mime_types.as_ref().map_or_else(|| self.types.clone(), TypePolicy::new))
    }
}
