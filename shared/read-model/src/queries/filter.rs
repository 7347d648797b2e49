//! Filter of a listing of files.

use super::Timeout;
use serde::Serialize;
use serde_json::{Value, json};
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
    /// Returns `true` if the filter has a name, a type, a label, a verdict, previews or a storage tier, so that the query may read many
    /// rows for a page.
    pub fn is_search(&self) -> bool {
        let is_by_text = self.folded_name.is_some() || self.mime_type.is_some() || self.label.is_some();
        is_by_text || self.verdict.is_some() || self.has_preview.is_some() || self.storage_tier.is_some()
    }

    /// Returns the JSON that the terms of a file with the label contain.
    pub(super) fn term(&self, company: CompanyId) -> Option<Value> {
        self.label.as_ref().map(|label| json!([term(company, label)]))
    }

    /// Returns the condition on `f` for the previews.
    pub(super) fn preview_condition(&self) -> Option<&'static str> {
        self.has_preview.map(|has_preview| match has_preview {
            true => "f.preview->>'set' IS NOT NULL",
            false => "f.preview->>'failure' IS NOT NULL",
        })
    }

    /// Returns the condition on `f` for the processing status, without values of the client.
    pub(super) fn status_condition(&self) -> Option<String> {
        let status = self.processing_status?;
        let has = format!("f.processing_status = '{}'", status.as_str());
        let ScanFilter { is_on, is_required, blocks_unscanned } = self.scans;
        if !is_on {
            return Some(has);
        }
        let blocked = match blocks_unscanned {
            true => "(f.scan_verdict IN ('INFECTED', 'UNSCANNED') AND f.released_at IS NULL)",
            false => "(f.scan_verdict = 'INFECTED' AND f.released_at IS NULL)",
        };
        let verified = format!("f.processing_status = '{}'", ProcessingStatus::Completed.as_str());
        Some(match status {
            ProcessingStatus::Pending => has,
            ProcessingStatus::Processing if is_required => {
                format!("({has} OR ({verified} AND f.scan_verdict IS NULL))")
            }
            ProcessingStatus::Processing => has,
            ProcessingStatus::Failed => format!("({has} OR ({verified} AND {blocked}))"),
            ProcessingStatus::Completed if is_required => {
                format!("({has} AND f.scan_verdict IS NOT NULL AND NOT {blocked})")
            }
            ProcessingStatus::Completed => format!("({has} AND {blocked} IS NOT TRUE)"),
        })
    }

    /// Returns the time that the query may take.
    pub(super) fn timeout(&self) -> Option<Timeout> {
        self.is_search().then_some(SEARCH_TIMEOUT)
    }

    /// Returns the pattern for `LIKE` on the folded name.
    pub(super) fn name_pattern(&self) -> Option<String> {
        self.folded_name.as_ref().map(|name| format!("%{}%", escaped(name)))
    }

    /// Returns the pattern for `LIKE` on the media type.
    pub(super) fn type_pattern(&self) -> Option<String> {
        self.mime_type.as_ref().map(|mime_type| match mime_type.strip_suffix('*') {
            Some(prefix) => format!("{}%", escaped(prefix)),
            None => escaped(mime_type),
        })
    }
}

/// Returns the text with which a label is in `file.terms`. It contains the company, so that neither the cost nor the plan of a search
/// depends on the labels of other companies.
pub fn term(company: CompanyId, label: &str) -> String {
    format!("{company}:{label}")
}

/// Escapes the special characters of a `LIKE` pattern.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
