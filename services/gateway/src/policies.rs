//! What a company may upload: the installation's limits, and what the company says below them.

use std::sync::Arc;
use waybill_access::Access;
use waybill_domain::limits::Limits;
use waybill_domain::media_type::TypePolicy;
use waybill_schema::CompanyId;
use waybill_service_kit::Problem;

/// The limits of companies.
#[derive(Clone)]
pub(crate) struct Policies {
    pub(crate) access: Arc<Access>,
    /// What no company gets past.
    pub(crate) limits: Limits,
    /// What is accepted where a company says nothing.
    pub(crate) types: TypePolicy,
}

impl Policies {
    /// How large a company's files and sessions may be.
    pub(crate) async fn limits(&self, company: CompanyId) -> Result<Limits, Problem> {
        let settings = self.access.settings(company).await;
        let settings = settings.map_err(|error| error.into_problem("looking up a company"))?;
        Ok(self.limits.lowered(settings.max_file_bytes, settings.max_session_bytes))
    }

    /// Which types a company accepts.
    pub(crate) async fn types(&self, company: CompanyId) -> Result<TypePolicy, Problem> {
        let settings = self.access.settings(company).await;
        let settings = settings.map_err(|error| error.into_problem("looking up a company"))?;
        Ok(settings.allowed_mime_types.as_ref().map_or_else(|| self.types.clone(), TypePolicy::new))
    }
}
