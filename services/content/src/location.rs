//! Removes the metadata of files whose company wants it.

use crate::context::context;
use crate::metrics;
use crate::previews::{PreviewError, Previews, Verified, note};
use waybill_domain::Refusal;
use waybill_domain::file::Command;
use waybill_domain::location::Step;
use waybill_object_store::StoreError;
use waybill_repository::{ContentAggregate, ExecuteError, FileAggregate};
use waybill_schema::{ByteRange, Causation, CompanyId, FileId, Stripped};

impl Previews {
    /// Does the next step for the metadata of a file, and records the result.
    pub(crate) async fn strip(
        &self,
        verified: Verified<'_>,
        step: Step,
        causation: Causation,
    ) -> Result<(), PreviewError> {
        let Verified { company, file, sha256, size_bytes, storage_key } = verified;
        let stripped = match step {
            Step::Nothing => return Ok(()),
            Step::Unsupported => Stripped::Unsupported,
            Step::Strip => {
                let content = ContentAggregate { company, sha256 };
                let key = self.repository.key_of_file(&content, file, storage_key).await?;
                let body = match self.file_bytes.get(&key, size_bytes, ByteRange { from: 0, to: size_bytes }).await {
                    Err(StoreError::NotFound { .. }) if self.is_purged(company, file).await? => return Ok(()),
                    body => body?,
                };
                match self.renderer.strip(size_bytes, body.bytes).await.map_err(PreviewError::Strip)? {
                    Ok(stripped) => stripped,
                    Err(refused) => {
                        note(company, file, refused);
                        Stripped::Unsupported
                    }
                }
            }
        };
        self.record_stripped(company, file, stripped, causation).await
    }

    /// Records the result of removing the metadata of a file.
    async fn record_stripped(
        &self,
        company: CompanyId,
        file: FileId,
        stripped: Stripped,
        causation: Causation,
    ) -> Result<(), PreviewError> {
        let word = stripped.as_str();
        let command = Command::RecordStripped(stripped);
        match self.repository.execute(&FileAggregate { company, file }, command, &context(causation)).await {
            Ok(_) => {
                metrics::STRIPPED.with_label_values(&[word]).inc();
                Ok(())
            }
            // The file was purged in the meantime.
            Err(ExecuteError::Refused(Refusal::NotFound { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
