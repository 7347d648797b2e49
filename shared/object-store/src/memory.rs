//! A store in memory for tests. It has the semantics of S3 that Waybill relies on, and injectable faults.

use crate::{CompletedPart, Crc, ListedPart, ObjectBody, ObjectInfo, ObjectStore, StoreError, crc64nvme};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The outcome of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The write succeeds.
    None,
    /// The write fails and nothing is stored.
    Refused,
    /// The bytes are stored, but the write reports an error.
    AnswerLost,
}

#[derive(Default)]
struct Objects {
    objects: BTreeMap<String, Bytes>,
    uploads: BTreeMap<String, BTreeMap<u32, (Bytes, String)>>,
    next_upload: u64,
    faults: VecDeque<Fault>,
}

/// A bucket in memory. Clones share their objects.
///
/// ```
/// use bytes::Bytes;
/// use waybill_object_store::memory::{Fault, MemoryStore};
/// use waybill_object_store::{ObjectStore, crc64nvme};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let bytes = Bytes::from_static(b"content");
/// store.put("key", bytes.clone(), crc64nvme(&bytes)).await?;
/// assert_eq!(store.get("key", 3, Some(4)).await?.collect().await?, "tent");
///
/// // The store keeps the bytes of this write, but the caller sees an error.
/// store.inject([Fault::AnswerLost]);
/// assert!(store.put("lost", bytes.clone(), crc64nvme(&bytes)).await.is_err());
/// assert_eq!(store.size("lost").await?, Some(7));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Objects>>,
}

impl MemoryStore {
    /// Creates an empty bucket.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds faults. Each of the next writes consumes one.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.inner().faults.extend(faults);
    }

    /// Returns the keys of all objects.
    pub fn keys(&self) -> Vec<String> {
        self.inner().objects.keys().cloned().collect()
    }

    /// Returns the number of open multipart uploads.
    pub fn open_uploads(&self) -> usize {
        self.inner().uploads.len()
    }

    fn inner(&self) -> MutexGuard<'_, Objects> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `write` according to the next fault.
fn write<T>(
    inner: &mut Objects,
    operation: &'static str,
    write: impl FnOnce(&mut Objects) -> T,
) -> Result<T, StoreError> {
    let lost = || StoreError::Unavailable { operation, reason: "injected".to_owned() };
    match inner.faults.pop_front().unwrap_or(Fault::None) {
        Fault::None => Ok(write(inner)),
        Fault::Refused => Err(lost()),
        Fault::AnswerLost => {
            write(inner);
            Err(lost())
        }
    }
}

fn info(bytes: &Bytes) -> ObjectInfo {
    let crc = crc64nvme(bytes);
    ObjectInfo { size_bytes: bytes.len() as u64, etag: format!("{crc:016x}"), crc64nvme: Some(crc) }
}

fn checked(operation: &'static str, bytes: &Bytes, crc: u64) -> Result<String, StoreError> {
    if crc64nvme(bytes) != crc {
        return Err(StoreError::Corrupt { operation });
    }
    Ok(format!("\"{crc:016x}\""))
}

#[async_trait]
impl ObjectStore for MemoryStore {
    fn bucket(&self) -> &str {
        "memory"
    }

    async fn ensure_bucket(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn put(&self, key: &str, bytes: Bytes, crc64nvme: u64) -> Result<String, StoreError> {
        let etag = checked("putting an object", &bytes, crc64nvme)?;
        write(&mut self.inner(), "putting an object", |inner| inner.objects.insert(key.to_owned(), bytes))?;
        Ok(etag)
    }

    async fn create_multipart(&self, key: &str, _crc: Option<Crc>) -> Result<String, StoreError> {
        let mut inner = self.inner();
        inner.next_upload += 1;
        let id = format!("{key}#{}", inner.next_upload);
        inner.uploads.insert(id.clone(), BTreeMap::new());
        Ok(id)
    }

    async fn upload_part(
        &self,
        _key: &str,
        upload_id: &str,
        part_number: u32,
        bytes: Bytes,
        crc64nvme: u64,
    ) -> Result<String, StoreError> {
        let operation = "uploading a part";
        let etag = checked(operation, &bytes, crc64nvme)?;
        let mut inner = self.inner();
        if !inner.uploads.contains_key(upload_id) {
            return Err(StoreError::NoSuchUpload { operation });
        }
        write(&mut inner, operation, |inner| {
            if let Some(parts) = inner.uploads.get_mut(upload_id) {
                parts.insert(part_number, (bytes, etag.clone()));
            }
        })?;
        Ok(etag)
    }

    async fn part(&self, key: &str, upload_id: &str, part_number: u32) -> Result<Vec<ListedPart>, StoreError> {
        let listed = self.list_parts(key, upload_id).await?;
        Ok(listed.into_iter().filter(|part| part.part_number == part_number).collect())
    }

    async fn list_parts(&self, _key: &str, upload_id: &str) -> Result<Vec<ListedPart>, StoreError> {
        let inner = self.inner();
        let parts = inner.uploads.get(upload_id).ok_or(StoreError::NoSuchUpload { operation: "listing parts" })?;
        let listed = |(n, (bytes, etag)): (&u32, &(Bytes, String))| ListedPart {
            part_number: *n,
            size_bytes: bytes.len() as u64,
            etag: etag.clone(),
            crc: None,
        };
        Ok(parts.iter().map(listed).collect())
    }

    async fn complete_multipart(&self, key: &str, upload_id: &str, parts: &[CompletedPart]) -> Result<(), StoreError> {
        let operation = "completing a multipart upload";
        let mut inner = self.inner();
        let stored = inner.uploads.get(upload_id).ok_or(StoreError::NoSuchUpload { operation })?;
        let mut object = BytesMut::new();
        for part in parts {
            match stored.get(&part.part_number) {
                Some((bytes, etag)) if *etag == part.etag => object.extend_from_slice(bytes),
                _ => return Err(StoreError::PartsInvalid { operation, code: "InvalidPart".to_owned() }),
            }
        }
        write(&mut inner, operation, |inner| {
            inner.uploads.remove(upload_id);
            inner.objects.insert(key.to_owned(), object.freeze());
        })
    }

    async fn list_multiparts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let inner = self.inner();
        let key_of = |id: &String| id.rsplit_once('#').map(|(key, _)| (key.to_owned(), id.clone()));
        Ok(inner.uploads.keys().filter_map(key_of).filter(|(key, _)| key.starts_with(prefix)).collect())
    }

    async fn copy(&self, from: &str, to: &str, of: &ObjectInfo) -> Result<(), StoreError> {
        let operation = "copying an object";
        let mut inner = self.inner();
        let object = inner.objects.get(from).cloned().ok_or(StoreError::NotFound { operation })?;
        if info(&object) != *of {
            return Err(StoreError::Unavailable { operation, reason: "the object was replaced".to_owned() });
        }
        write(&mut inner, operation, |inner| drop(inner.objects.insert(to.to_owned(), object)))
    }

    async fn abort_multipart(&self, _key: &str, upload_id: &str) -> Result<(), StoreError> {
        self.inner().uploads.remove(upload_id);
        Ok(())
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        Ok(self.inner().objects.get(key).map(info))
    }

    async fn get(&self, key: &str, offset: u64, length: Option<u64>) -> Result<ObjectBody, StoreError> {
        let object = self.inner().objects.get(key).cloned();
        let object = object.ok_or(StoreError::NotFound { operation: "reading an object" })?;
        let size = object.len() as u64;
        let from = offset.min(size);
        let to = length.map_or(size, |length| from.saturating_add(length).min(size));
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = object.slice(index(from)..index(to));
        Ok(ObjectBody { length: to - from, bytes: stream::iter([Ok(bytes)]).boxed() })
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner().objects.remove(key);
        Ok(())
    }

    async fn list_after(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let inner = self.inner();
        let later = inner.objects.keys().filter(|key| after.is_none_or(|after| key.as_str() > after));
        Ok(later.filter(|key| key.starts_with(prefix)).cloned().collect())
    }
}
