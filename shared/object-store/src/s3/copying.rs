//! Copies of objects within the store.

use super::S3Store;
use super::errors::{classify, unavailable};
use crate::{CompletedPart, ObjectInfo, ObjectStore, StoreError};
use futures_util::{StreamExt, TryStreamExt, stream};

/// Size in bytes up to which an object is copied in one request. Larger objects are copied in parts of this size. S3
/// allows 5 GiB, but a store answers only after it has copied everything.
const COPY_BYTES: u64 = 256 * 1_024 * 1_024;
/// Number of parts that are copied concurrently.
const COPIES: usize = 4;

/// The source of a copy.
struct Source<'a> {
    /// Bucket and key, separated by a slash.
    path: String,
    of: &'a ObjectInfo,
}

impl Source<'_> {
    fn etag(&self) -> Option<String> {
        Some(self.of.etag.clone()).filter(|etag| !etag.is_empty())
    }
}

impl S3Store {
    /// Copies an object, if it still is the one that `of` describes.
    pub(super) async fn copy_object(&self, from: &str, to: &str, of: &ObjectInfo) -> Result<(), StoreError> {
        let operation = "copying an object";
        let source = Source { path: format!("{}/{from}", self.bucket), of };
        if of.size_bytes <= COPY_BYTES {
            let request = self
                .slow
                .copy_object()
                .bucket(&self.bucket)
                .key(to)
                .copy_source(&source.path)
                .set_copy_source_if_match(source.etag())
                .set_server_side_encryption(self.encryption.method())
                .set_ssekms_key_id(self.encryption.key());
            return request.send().await.map(drop).map_err(|error| classify(operation, &error));
        }
        let upload_id = self.create_multipart(to, None).await?;
        let copied = self.copy_parts(&source, to, &upload_id).await;
        let completed = match copied {
            Ok(parts) => self.complete_multipart(to, &upload_id, &parts).await,
            Err(error) => Err(error),
        };
        if completed.is_err() {
            self.abort_multipart(to, &upload_id).await?;
        }
        completed
    }

    async fn copy_parts(
        &self,
        source: &Source<'_>,
        to: &str,
        upload_id: &str,
    ) -> Result<Vec<CompletedPart>, StoreError> {
        let count = u32::try_from(source.of.size_bytes.div_ceil(COPY_BYTES)).unwrap_or(u32::MAX);
        let parts = (1..=count).map(|part_number| self.copy_part(source, to, upload_id, part_number));
        stream::iter(parts).buffered(COPIES).try_collect().await
    }

    async fn copy_part(
        &self,
        source: &Source<'_>,
        to: &str,
        upload_id: &str,
        part_number: u32,
    ) -> Result<CompletedPart, StoreError> {
        let operation = "copying a part";
        let offset = u64::from(part_number - 1) * COPY_BYTES;
        let end = offset.saturating_add(COPY_BYTES).min(source.of.size_bytes);
        let request = self.slow.upload_part_copy().bucket(&self.bucket).key(to).upload_id(upload_id);
        let answer = request
            .part_number(i32::try_from(part_number).unwrap_or(i32::MAX))
            .copy_source(&source.path)
            .set_copy_source_if_match(source.etag())
            .copy_source_range(format!("bytes={offset}-{}", end - 1))
            .send()
            .await
            .map_err(|error| classify(operation, &error))?;
        let etag = answer.copy_part_result.and_then(|part| part.e_tag);
        let etag = etag.ok_or_else(|| unavailable(operation, "the answer has no ETag"))?;
        Ok(CompletedPart { part_number, etag, crc: None })
    }
}
