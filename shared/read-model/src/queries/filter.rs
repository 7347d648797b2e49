//! Filter of a listing of files.

use super::load::Timeout;
use crate::statement::Bind;
use crate::terms::{label_term, metadata_term};
use serde::Serialize;
use serde_json::Value;
use waybill_schema::{CompanyId, ProcessingStatus, StorageTier, UserId, Verdict};

/// Time that a search may take. It is shorter than that of other statements, because anybody can search.
const SEARCH_TIMEOUT: Timeout = Timeout("SET LOCAL statement_timeout = '3s'");

/// Filter of a listing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FileFilter {
    /// Only files that this user uploaded.
    pub uploaded_by: Option<UserId>,
    /// Only files with this `processing_status`.
    pub processing_status: Option<ProcessingStatus>,
    /// Only files whose name contains this text, which must be folded like `file.search_name`.
    pub folded_name: Option<String>,
    /// Only files of this media type, or of all types that begin with it if it ends in `*`.
    pub mime_type: Option<String>,
    /// Only files with this label.
    pub label: Option<String>,
    /// Only files with this value of this declared metadata key.
    pub metadata: Option<(String, String)>,
    /// Only files whose last virus scan had this verdict.
    pub verdict: Option<Verdict>,
    /// Only files that have previews (`true`), or only files whose previews could not be made (`false`).
    pub has_preview: Option<bool>,
    /// Only files in this storage tier.
    pub storage_tier: Option<StorageTier>,
    /// Effect of virus scans on the processing status.
    pub scans: ScanFilter,
}

/// Effect of virus scans on the processing status of verified files: a file that must be scanned first counts as
/// `PROCESSING`, and one that cannot be read because of its verdict as `FAILED`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ScanFilter {
    /// `true` if verdicts have an effect.
    pub is_on: bool,
    /// `true` if a file must be scanned before it can be read.
    pub is_required: bool,
    /// `true` if a file cannot be read if it could not be scanned completely.
    pub blocks_unscanned: bool,
}

impl FileFilter {
    /// Returns `true` if the filter has a name, a type, a label, metadata, a verdict, previews or a storage tier, so that the query may read many
    /// rows for a page.
    pub fn is_search(&self) -> bool {
        let is_by_text = self.folded_name.is_some() || self.mime_type.is_some();
        let is_by_term = self.label.is_some() || self.metadata.is_some();
        is_by_text || is_by_term || self.verdict.is_some() || self.has_preview.is_some() || self.storage_tier.is_some()
    }

    /// Adds the conditions on `file` to a statement, except the one for the uploader.
    pub(super) fn add_to(&self, company: CompanyId, text: &mut String, binds: &mut Vec<(&'static str, Bind)>) {
        let mut and = |condition: &str, bind: Option<(&'static str, Bind)>| {
            text.push_str(" AND ");
            text.push_str(condition);
            binds.extend(bind);
        };
        if let Some(condition) = self.status_condition() {
            and(&condition, None);
        }
        if let Some(verdict) = self.verdict {
            and("file.scan_verdict = :verdict", Some(("verdict", Bind::Text(verdict.as_str().to_owned()))));
        }
        if let Some(tier) = self.storage_tier {
            and("file.storage_tier = :tier", Some(("tier", Bind::Text(tier.as_str().to_owned()))));
        }
        if let Some(condition) = self.preview_condition() {
            and(condition, None);
        }
        if let Some(pattern) = self.name_pattern() {
            and("file.search_name LIKE :name", Some(("name", Bind::Text(pattern))));
        }
        if let Some(pattern) = self.type_pattern() {
            and("file.mime_type LIKE :type", Some(("type", Bind::Text(pattern))));
        }
        if let Some(terms) = self.terms(company) {
            and("file.terms @> :terms::jsonb", Some(("terms", Bind::Text(terms.to_string()))));
        }
    }

    /// Returns `true` if most files match, so that the first rows of an index in the order of the list make a page.
    pub(super) fn matches_most(&self) -> bool {
        !self.is_search() && matches!(self.processing_status, None | Some(ProcessingStatus::Completed))
    }

    /// Returns the JSON that the terms of a file contain, or `None` if all files match.
    fn terms(&self, company: CompanyId) -> Option<Value> {
        let label = self.label.as_ref().map(|label| label_term(company, label));
        // No file is found by a value that is too long to be a term.
        let value = self.metadata.as_ref().map(|(key, value)| metadata_term(company, key, value).unwrap_or_default());
        let terms: Vec<Value> = label.into_iter().chain(value).collect();
        (!terms.is_empty()).then_some(Value::Array(terms))
    }

    /// Returns the condition on `file` for the previews.
    fn preview_condition(&self) -> Option<&'static str> {
        self.has_preview.map(|has_preview| match has_preview {
            true => "file.preview->>'set' IS NOT NULL",
            false => "file.preview->>'failure' IS NOT NULL",
        })
    }

    /// Returns the condition on `file` for the processing status, without values of the client.
    fn status_condition(&self) -> Option<String> {
        let status = self.processing_status?;
        let has = format!("file.processing_status = '{}'", status.as_str());
        let ScanFilter { is_on, is_required, blocks_unscanned } = self.scans;
        if !is_on {
            return Some(has);
        }
        let blocked = match blocks_unscanned {
            true => "(file.scan_verdict IN ('INFECTED', 'UNSCANNED') AND file.released_at IS NULL)",
            false => "(file.scan_verdict = 'INFECTED' AND file.released_at IS NULL)",
        };
        let verified = format!("file.processing_status = '{}'", ProcessingStatus::Completed.as_str());
        Some(match status {
            ProcessingStatus::Pending => has,
            ProcessingStatus::Processing if is_required => {
                format!("({has} OR ({verified} AND file.scan_verdict IS NULL))")
            }
            ProcessingStatus::Processing => has,
            ProcessingStatus::Failed => format!("({has} OR ({verified} AND {blocked}))"),
            ProcessingStatus::Completed if is_required => {
                format!("({has} AND file.scan_verdict IS NOT NULL AND NOT {blocked})")
            }
            ProcessingStatus::Completed => format!("({has} AND {blocked} IS NOT TRUE)"),
        })
    }

    /// Returns the time that the query may take.
    pub(super) fn timeout(&self) -> Option<Timeout> {
        self.is_search().then_some(SEARCH_TIMEOUT)
    }

    /// Returns the pattern for `LIKE` on the folded name.
    fn name_pattern(&self) -> Option<String> {
        self.folded_name.as_ref().map(|name| format!("%{}%", escaped(name)))
    }

    /// Returns the pattern for `LIKE` on the media type.
    fn type_pattern(&self) -> Option<String> {
        self.mime_type.as_ref().map(|mime_type| match mime_type.strip_suffix('*') {
            Some(prefix) => format!("{}%", escaped(prefix)),
            None => escaped(mime_type),
        })
    }
}

/// Escapes the special characters of a `LIKE` pattern.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
