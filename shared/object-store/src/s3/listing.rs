//! Lists all objects and multipart uploads of a bucket, page by page.

use super::{S3Store, classify, unavailable};
use crate::StoreError;
use aws_sdk_s3::primitives::DateTime;

/// An object or an open multipart upload, as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Key of the object.
    pub key: String,
    /// The store's id of the multipart upload; `None` for an object.
    pub upload_id: Option<String>,
    /// Size in bytes; 0 for a multipart upload.
    pub size_bytes: u64,
    /// Time of the write or of the creation, in seconds since 1970.
    pub since: i64,
}

/// Position at which the next page of multipart uploads begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    key: Option<String>,
    upload_id: Option<String>,
}

impl S3Store {
    /// Returns up to 1,000 objects whose keys begin with `prefix` and are greater than `after`, ordered by key. An
    /// empty page is the last one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn objects_after(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let request = request.set_start_after(after.map(str::to_owned));
        let page = request.send().await.map_err(|error| classify("listing objects", &error))?;
        let listed = page.contents().iter().filter_map(|object| {
            let size_bytes = object.size().and_then(|size| size.try_into().ok()).unwrap_or(0);
            Some(Listed {
                key: object.key()?.to_owned(),
                upload_id: None,
                size_bytes,
                since: since(object.last_modified()),
            })
        });
        Ok(listed.collect())
    }

    /// Returns up to 1,000 open multipart uploads whose keys begin with `prefix`, from a marker on, and the next marker
    /// if there are more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn multiparts_from(
        &self,
        prefix: &str,
        from: Marker,
    ) -> Result<(Vec<Listed>, Option<Marker>), StoreError> {
        let operation = "listing multipart uploads";
        let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(prefix);
        let request = request.set_key_marker(from.key.clone()).set_upload_id_marker(from.upload_id.clone());
        let page = request.send().await.map_err(|error| classify(operation, &error))?;
        let listed = page.uploads().iter().filter_map(|upload| {
            let key = upload.key().filter(|key| key.starts_with(prefix))?.to_owned();
            let upload_id = Some(upload.upload_id()?.to_owned());
            Some(Listed { key, upload_id, size_bytes: 0, since: since(upload.initiated()) })
        });
        let listed = listed.collect();
        if page.is_truncated() != Some(true) {
            return Ok((listed, None));
        }
        let next = Marker {
            key: page.next_key_marker().map(str::to_owned),
            upload_id: page.next_upload_id_marker().map(str::to_owned),
        };
        // If the store returned the same marker again, the caller would never finish.
        if next == from || next == Marker::default() {
            return Err(unavailable(operation, "the store does not return the marker of the next page"));
        }
        Ok((listed, Some(next)))
    }
}

/// Returns the time in seconds since 1970. A missing time counts as now, so that the entry is never treated as old.
fn since(time: Option<&DateTime>) -> i64 {
    time.map_or(i64::MAX, DateTime::secs)
}
