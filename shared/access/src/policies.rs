//! What a company may upload: the installation's limits, and what the company says below them.

use crate::{Access, AccessError};
use std::sync::Arc;
use waybill_domain::limits::Limits;
use waybill_domain::media_type::TypePolicy;
use waybill_schema::CompanyId;

/// The limits of companies.
#[derive(Clone)]
pub struct Policies {
    /// Knows what companies say.
    pub access: Arc<Access>,
    /// What no company gets past.
    pub limits: Limits,
    /// What is accepted where a company says nothing.
    pub types: TypePolicy,
}

impl Policies {
    /// How large a company's files and sessions may be.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn limits(&self, company: CompanyId) -> Result<Limits, AccessError> {
        let settings = self.access.settings(company).await?;
        Ok(self.limits.lowered(settings.max_file_bytes, settings.max_session_bytes))
    }

    /// Returns after how many days a company's files are deleted; `None` if they are kept.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn retention_days(&self, company: CompanyId) -> Result<Option<u32>, AccessError> {
        Ok(self.access.settings(company).await?.retention_days)
    }

    /// Which types a company accepts.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn types(&self, company: CompanyId) -> Result<TypePolicy, AccessError> {
        let settings = self.access.settings(company).await?;
        Ok(settings.allowed_mime_types.as_ref().map_or_else(|| self.types.clone(), TypePolicy::new))
    }
}
