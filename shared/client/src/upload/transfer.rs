//! Running upload of one file: the state and the requests that all protocols have in common.

use super::error::UploadError;
use super::plan::Plan;
use super::shared::Shared;
use crate::api::ApiError;
use crate::retry::Patience;
use indicatif::ProgressBar;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use waybill_api::uploads::UploadStatus;

/// Running upload of one file.
pub(super) struct Upload<'a> {
    pub(super) shared: &'a Shared,
    pub(super) plan: &'a Plan,
    pub(super) patience: Patience,
    pub(super) bar: ProgressBar,
    pub(super) sent_bytes: Arc<AtomicU64>,
}

impl Upload<'_> {
    /// Requests the status of the upload.
    pub(super) async fn status(&self, upload_id: &str) -> Result<UploadStatus, UploadError> {
        self.persist(|| self.shared.api.json(self.shared.api.get(&format!("/v1/uploads/{upload_id}"))))
            .await
            .map_err(UploadError::from)
    }

    /// Repeats a request until it succeeds or cannot succeed any more.
    pub(super) async fn persist<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, ApiError> {
        let value = self.patience.persist(attempt, |error, pause| self.waits(error, pause)).await;
        self.bar.set_message("");
        value
    }

    /// Reports an error after which the upload continues, and the pause before that.
    pub(super) fn waits(&self, error: &ApiError, pause: Duration) {
        self.bar.set_message(format!("waiting: {error}"));
        self.shared.output.event(|| {
            json!({
                "event": "retrying", "path": self.plan.shown_path(), "error": error.to_string(),
                "pause_ms": pause.as_millis(),
            })
        });
        if !self.shared.output.has_bars() {
            self.shared.output.note(&format!("{}: {error}; retrying in {:.1} s", self.plan.name, pause.as_secs_f64()));
        }
    }

    /// Prints an event of the upload for scripts.
    pub(super) fn event(&self, kind: &str, upload_id: &str, there: u64) {
        self.shared.output.event(|| {
            json!({
                "event": kind, "path": self.plan.shown_path(), "upload_id": upload_id, "offset_bytes": there,
                "size_bytes": self.plan.size_bytes(),
            })
        });
    }
}
