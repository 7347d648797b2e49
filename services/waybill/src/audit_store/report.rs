//! Reports the findings as a table, as JSON or in the log.

use super::judge::Kind;
use crate::CommandError;
use serde::Serialize;
use serde_json::json;
use waybill_object_store::s3::Listed;
use waybill_schema::Timestamp;

/// Form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Table,
    /// One JSON object per line.
    Json,
    /// Lines of the log, at most [`LOGGED_MAX`].
    Log,
}

/// Maximum number of findings that are logged.
const LOGGED_MAX: u64 = 100;

/// A finding.
#[derive(Serialize)]
pub(super) struct Finding {
    pub(super) kind: &'static str,
    pub(super) key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upload_id: Option<String>,
    pub(super) size_bytes: u64,
    pub(super) since: Option<Timestamp>,
    pub(super) why: String,
    pub(super) deleted: bool,
}

impl Finding {
    pub(super) fn of(kind: Kind, listed: Listed, why: String) -> Self {
        let Listed { key, upload_id, size_bytes, since } = listed;
        let kind = match kind {
            _ if upload_id.is_some() => "multipart",
            Kind::Object => "object",
            Kind::Staging => "staging",
            Kind::Quarantine => "quarantine",
            Kind::Preview => "preview",
            Kind::Probe => "probe",
        };
        let since = Some(Timestamp(since.saturating_mul(1_000)));
        Self { kind, key, upload_id, size_bytes, since, why, deleted: false }
    }

    /// Returns a finding for a missing object of a file.
    pub(super) fn missing(key: String, size_bytes: u64, why: String) -> Self {
        Self { kind: "missing", key, upload_id: None, size_bytes, since: None, why, deleted: false }
    }

    /// Returns `true` if nothing refers to the object, so that it can be deleted.
    pub(super) fn is_deletable(&self) -> bool {
        !matches!(self.kind, "foreign" | "unknown" | "missing")
    }
}

/// Reports each finding immediately, and counts the findings.
pub(super) struct Report {
    output: Output,
    pub(super) looked_at: u64,
    pub(super) found: u64,
    pub(super) found_bytes: u64,
    pub(super) deleted: u64,
    pub(super) deleted_bytes: u64,
}

impl Report {
    pub(super) fn new(output: Output) -> Self {
        Self { output, looked_at: 0, found: 0, found_bytes: 0, deleted: 0, deleted_bytes: 0 }
    }

    pub(super) fn looked_at(&mut self) {
        self.looked_at += 1;
    }

    pub(super) fn found(&mut self, finding: &Finding) -> Result<(), CommandError> {
        if self.found == 0 && self.output == Output::Table {
            println!("{:<11} {:>15}  {:<8} KEY: REASON", "KIND", "BYTES", "DELETED");
        }
        self.found += 1;
        self.found_bytes = self.found_bytes.saturating_add(finding.size_bytes);
        if finding.deleted {
            self.deleted += 1;
            self.deleted_bytes = self.deleted_bytes.saturating_add(finding.size_bytes);
        }
        let Finding { kind, key, size_bytes, why, deleted, .. } = finding;
        match self.output {
            Output::Json => println!("{}", serde_json::to_string(finding)?),
            Output::Table => {
                println!("{kind:<11} {size_bytes:>15}  {:<8} {key}: {why}", if *deleted { "yes" } else { "no" });
            }
            Output::Log if self.found <= LOGGED_MAX => {
                tracing::warn!(kind, key, size_bytes, why, deleted, "the store and the log differ");
            }
            Output::Log => {}
        }
        Ok(())
    }

    /// Prints the totals. Returns `true` if no finding remains: there was none, or all were deleted.
    pub(super) fn end(&self) -> Result<bool, CommandError> {
        let Self { looked_at, found, found_bytes, deleted, deleted_bytes, .. } = self;
        if self.output == Output::Log {
            tracing::info!(
                looked_at,
                found,
                found_bytes,
                deleted,
                deleted_bytes,
                "the store was compared with the log"
            );
        } else if self.output == Output::Json {
            let sum = json!({
                "kind": "sum",
                "looked_at": looked_at,
                "found": found,
                "found_bytes": found_bytes,
                "deleted": deleted,
                "deleted_bytes": deleted_bytes,
            });
            println!("{sum}");
        } else {
            println!(
                "{looked_at} checked; {found} findings with {found_bytes} bytes; {deleted} deleted with {deleted_bytes} bytes"
            );
        }
        Ok(found == deleted)
    }
}
