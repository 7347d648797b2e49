//! Upload limits and accepted media types: those of the installation, restricted by the settings of the company.

use crate::{Access, AccessError};
use std::sync::Arc;
use waybill_domain::limits::Limits;
use waybill_domain::media_type::TypePolicy;
use waybill_domain::scan::ScanRules;
use waybill_domain::token::LinkPolicy;
use waybill_read_model::queries::ScanFilter;
use waybill_schema::{CompanyId, ScanPolicy, UnscannedPolicy};

/// The upload policies of all companies.
#[derive(Clone)]
pub struct Policies {
    /// Provides the settings of companies.
    pub access: Arc<Access>,
    /// Upper limits for every company.
    pub limits: Limits,
    /// Media types that are accepted if the host product sets no others.
    pub types: TypePolicy,
    /// Rules for virus scans that apply to every company.
    pub scans: ScanRules,
}

/// Returns the effect of virus scans with these rules on the processing status of files.
pub fn scan_filter(rules: ScanRules) -> ScanFilter {
    let is_required = rules.policy == ScanPolicy::Require;
    ScanFilter {
        is_on: rules.policy != ScanPolicy::Off,
        is_required,
        blocks_unscanned: is_required && rules.unscanned == UnscannedPolicy::Block,
    }
}

impl Policies {
    /// Returns the maximum sizes of a company's files and sessions.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn limits(&self, company: CompanyId) -> Result<Limits, AccessError> {
        Ok(self.access.rules(company).await?.sizes(self.limits))
    }

    /// Returns the number of days after which a company's files are deleted, or `None` if they are kept.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn retention_days(&self, company: CompanyId) -> Result<Option<u32>, AccessError> {
        Ok(self.access.rules(company).await?.retention_days())
    }

    /// Returns the media types that a company accepts.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn types(&self, company: CompanyId) -> Result<TypePolicy, AccessError> {
        Ok(self.access.rules(company).await?.types(&self.types))
    }

    /// Returns the rules for a company's download links.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn links(&self, company: CompanyId) -> Result<LinkPolicy, AccessError> {
        Ok(self.access.rules(company).await?.links())
    }
}
