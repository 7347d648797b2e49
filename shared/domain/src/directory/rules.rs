//! Rules for the files of a company: the limits that the host product sets, and the stricter settings of the company.

use crate::Refusal;
use crate::limits::Limits;
use crate::media_type::{TypePolicy, is_pattern};
use crate::scan::ScanRules;
use crate::token::LinkPolicy;
use serde::{Deserialize, Serialize};
use waybill_schema::LocationPolicy;
use waybill_schema::events::{CompanyLimitsSet, CompanySettings, DirectoryEvent};

/// Maximum number of types in an allow-list.
const MAX_TYPES: usize = 200;
/// Maximum number of days of a rule: 100 years.
const MAX_RETENTION_DAYS: u32 = 36_500;

/// Rules of a company. The settings of the company apply within the limits of the host product, and both apply within
/// the limits of the installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyRules {
    /// Upper limits that the host product set.
    pub limits: CompanySettings,
    /// Minimum number of days for which files are kept.
    pub min_retention_days: Option<u32>,
    /// The company's own settings.
    pub settings: CompanySettings,
}

impl CompanyRules {
    /// Applies one event.
    pub fn apply(&mut self, event: &DirectoryEvent) {
        match event {
            DirectoryEvent::CompanySettingsChanged(changed) => self.settings = changed.settings.clone(),
            DirectoryEvent::CompanyLimitsSet(set) => {
                self.limits = set.limits.clone();
                self.min_retention_days = set.min_retention_days;
            }
            DirectoryEvent::CompanyRegistered(_)
            | DirectoryEvent::CompanyClosed(_)
            | DirectoryEvent::UserRegistered(_)
            | DirectoryEvent::UserRemoved(_)
            | DirectoryEvent::ChatroomOpened(_)
            | DirectoryEvent::ChatroomDeleted(_)
            | DirectoryEvent::ThreadOpened(_)
            | DirectoryEvent::ThreadDeleted(_)
            | DirectoryEvent::MemberAdded(_)
            | DirectoryEvent::MemberRemoved(_)
            | DirectoryEvent::TokensInvalidated(_) => {}
        }
    }

    /// Returns the sizes that apply in an installation with these limits.
    pub fn sizes(&self, installation: Limits) -> Limits {
        installation
            .lowered(self.limits.max_file_bytes, self.limits.max_session_bytes)
            .lowered(self.settings.max_file_bytes, self.settings.max_session_bytes)
    }

    /// Returns the types that are accepted. The list of the host product replaces the list of the installation, because
    /// both are of the operator. The list of the company narrows it.
    pub fn types(&self, installation: &TypePolicy) -> TypePolicy {
        let of_operator = self.limits.allowed_mime_types.as_ref().map(TypePolicy::new);
        let of_operator = of_operator.unwrap_or_else(|| installation.clone());
        match &self.settings.allowed_mime_types {
            Some(own) => of_operator.narrowed(&TypePolicy::new(own)),
            None => of_operator,
        }
    }

    /// Returns the number of days after which files are deleted, or `None` if they are kept.
    pub fn retention_days(&self) -> Option<u32> {
        let days = lower(self.limits.retention_days, self.settings.retention_days)?;
        Some(days.max(self.min_retention_days.unwrap_or(0)))
    }

    /// Returns the number of days after which files that nobody reads are archived, or `None` if they are not.
    pub fn archive_after_days(&self) -> Option<u32> {
        lower(self.limits.archive_after_days, self.settings.archive_after_days)
    }

    /// Returns the policy for metadata in pictures. The strictest one applies.
    pub fn strip_location(&self) -> LocationPolicy {
        self.limits.strip_location.max(self.settings.strip_location).unwrap_or_default()
    }

    /// Returns the rules for virus scans in an installation with these rules. The strictest rule applies.
    pub fn scans(&self, installation: ScanRules) -> ScanRules {
        let of = |rules: &CompanySettings| (rules.scan.unwrap_or_default(), rules.unscanned);
        let ((limit, limit_unscanned), (own, own_unscanned)) = (of(&self.limits), of(&self.settings));
        // The operator decides what a missing rule means. A company can only choose a stricter one.
        let operators = limit_unscanned.unwrap_or(installation.unscanned);
        ScanRules {
            policy: installation.policy.max(limit).max(own),
            unscanned: own_unscanned.map_or(operators, |own| own.max(operators)),
        }
    }

    /// Returns the rules for download links.
    pub fn links(&self) -> LinkPolicy {
        LinkPolicy {
            max_age_s: lower(self.limits.link_max_age_s, self.settings.link_max_age_s),
            max_downloads: lower(self.limits.link_max_downloads, self.settings.link_max_downloads),
        }
    }

    /// Checks the company's own settings.
    ///
    /// # Errors
    /// [`Refusal::SettingsInvalid`] if they are invalid or less strict than the limits.
    pub(super) fn check_settings(&self, settings: &CompanySettings, installation: Limits) -> Result<(), Refusal> {
        check(settings, self.sizes_of_operator(installation))?;
        let above =
            |value: Option<u32>, limit: Option<u32>| value.zip(limit).is_some_and(|(value, limit)| value > limit);
        let (days, limits) = (settings.retention_days, &self.limits);
        let reason = if above(days, limits.retention_days) {
            "retention_days must be at most the limit that the host product set"
        } else if above(self.min_retention_days.filter(|_| days.is_some()), days) {
            "retention_days must be at least the minimum that the host product set"
        } else if above(settings.archive_after_days, limits.archive_after_days) {
            "archive_after_days must be at most the limit that the host product set"
        } else if above(settings.link_max_age_s, limits.link_max_age_s) {
            "link_max_age_s must be at most the limit that the host product set"
        } else if above(settings.link_max_downloads, limits.link_max_downloads) {
            "link_max_downloads must be at most the limit that the host product set"
        } else if settings.scan.is_some_and(|scan| Some(scan) < limits.scan) {
            "scan must be at least as strict as the host product requires: off, inform, require"
        } else if settings.unscanned.is_some_and(|unscanned| Some(unscanned) < limits.unscanned) {
            "unscanned must be block, because the host product requires it"
        } else if settings.strip_location.is_some_and(|policy| Some(policy) < limits.strip_location) {
            "strip_location must be for_others, because the host product requires it"
        } else {
            return Ok(());
        };
        Err(Refusal::SettingsInvalid { reason })
    }

    fn sizes_of_operator(&self, installation: Limits) -> Limits {
        installation.lowered(self.limits.max_file_bytes, self.limits.max_session_bytes)
    }
}

/// Checks the limits of the host product.
///
/// # Errors
/// [`Refusal::SettingsInvalid`].
pub(super) fn check_limits(set: &CompanyLimitsSet, installation: Limits) -> Result<(), Refusal> {
    check(&set.limits, installation)?;
    let max_days = set.limits.retention_days.unwrap_or(MAX_RETENTION_DAYS);
    if set.min_retention_days.is_some_and(|days| !(1..=max_days).contains(&days)) {
        return Err(Refusal::SettingsInvalid {
            reason: "min_retention_days must be at least 1 and at most retention_days or 36,500",
        });
    }
    Ok(())
}

fn check(settings: &CompanySettings, limits: Limits) -> Result<(), Refusal> {
    let within = |value: Option<u64>, limit| value.is_none_or(|value| (1..=limit).contains(&value));
    let types = settings.allowed_mime_types.as_deref().unwrap_or_default();
    let reason = if !within(settings.max_file_bytes, limits.max_file_bytes) {
        "max_file_bytes must be at least 1 and at most the limit of the host product and of this installation"
    } else if !within(settings.max_session_bytes, limits.max_session_bytes) {
        "max_session_bytes must be at least 1 and at most the limit of the host product and of this installation"
    } else if types.len() > MAX_TYPES || !types.iter().all(|entry| is_pattern(entry)) {
        "allowed_mime_types must have at most 200 entries such as application/pdf or image/*, in lower case"
    } else if settings.retention_days.is_some_and(|days| !(1..=MAX_RETENTION_DAYS).contains(&days)) {
        "retention_days must be between 1 and 36,500"
    } else if settings.archive_after_days.is_some_and(|days| !(1..=MAX_RETENTION_DAYS).contains(&days)) {
        "archive_after_days must be between 1 and 36,500"
    } else if settings.link_max_downloads == Some(0) {
        "link_max_downloads must be at least 1; set link_max_age_s to 0 to forbid download links"
    } else {
        return Ok(());
    };
    Err(Refusal::SettingsInvalid { reason })
}

/// Returns the lower of two limits. `None` stands for no limit.
fn lower(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
