//! Two buckets that look like one: objects whose keys say so are in the cold bucket, and all others in the hot one.

use crate::{CompletedPart, Crc, ListedPart, ObjectBody, ObjectInfo, ObjectStore, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use waybill_schema::{StorageTier, names};

/// Maximum number of keys in one page of a list.
const PAGE: usize = 1_000;

/// The bucket for files that are rarely read.
#[derive(Clone)]
pub struct Cold {
    /// The bucket.
    pub store: Arc<dyn ObjectStore>,
    /// Tier of its objects: [`StorageTier::Archive`] if they must be restored before they can be read.
    pub tier: StorageTier,
}

/// The buckets of an installation. Readiness is that of the hot bucket.
#[derive(Clone)]
pub struct Tiers {
    hot: Arc<dyn ObjectStore>,
    cold: Option<Cold>,
}

impl Tiers {
    /// Creates a store of these buckets.
    pub fn new(hot: Arc<dyn ObjectStore>, cold: Option<Cold>) -> Self {
        Self { hot, cold }
    }

    fn of(&self, key: &str) -> Result<&dyn ObjectStore, StoreError> {
        if !names::is_cold(key) {
            return Ok(self.hot.as_ref());
        }
        self.cold.as_ref().map(|cold| cold.store.as_ref()).ok_or_else(|| StoreError::Unavailable {
            operation: "looking for the bucket of an object",
            reason: "the object is in the cold bucket; set WAYBILL_S3_COLD_BUCKET".to_owned(),
        })
    }
}

#[async_trait]
impl ObjectStore for Tiers {
    fn bucket(&self) -> &str {
        self.hot.bucket()
    }

    async fn ensure_bucket(&self) -> Result<(), StoreError> {
        self.hot.ensure_bucket().await?;
        match &self.cold {
            Some(cold) => cold.store.ensure_bucket().await,
            None => Ok(()),
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.hot.check().await
    }

    async fn put(&self, key: &str, bytes: Bytes, crc64nvme: u64) -> Result<String, StoreError> {
        self.of(key)?.put(key, bytes, crc64nvme).await
    }

    async fn locks(&self) -> Result<bool, StoreError> {
        self.hot.locks().await
    }

    async fn put_locked(&self, key: &str, bytes: Bytes, until: Option<i64>) -> Result<(), StoreError> {
        self.of(key)?.put_locked(key, bytes, until).await
    }

    async fn create_multipart(&self, key: &str, crc: Option<Crc>) -> Result<String, StoreError> {
        self.of(key)?.create_multipart(key, crc).await
    }

    async fn upload_part(
        &self,
        key: &str,
        upload_id: &str,
        part_number: u32,
        bytes: Bytes,
        crc64nvme: u64,
    ) -> Result<String, StoreError> {
        self.of(key)?.upload_part(key, upload_id, part_number, bytes, crc64nvme).await
    }

    async fn part(&self, key: &str, upload_id: &str, part_number: u32) -> Result<Vec<ListedPart>, StoreError> {
        self.of(key)?.part(key, upload_id, part_number).await
    }

    async fn list_parts(&self, key: &str, upload_id: &str) -> Result<Vec<ListedPart>, StoreError> {
        self.of(key)?.list_parts(key, upload_id).await
    }

    async fn complete_multipart(&self, key: &str, upload_id: &str, parts: &[CompletedPart]) -> Result<(), StoreError> {
        self.of(key)?.complete_multipart(key, upload_id, parts).await
    }

    async fn list_multiparts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let mut open = self.hot.list_multiparts(prefix).await?;
        if let Some(cold) = self.cold.as_ref().filter(|_| may_be_cold(prefix)) {
            let others = cold.store.list_multiparts(prefix).await?;
            open.extend(others.into_iter().filter(|(key, _)| names::is_cold(key)));
        }
        Ok(open)
    }

    /// Copies an object inside one of the buckets.
    async fn copy(&self, from: &str, to: &str, of: &ObjectInfo) -> Result<(), StoreError> {
        if names::is_cold(from) != names::is_cold(to) {
            let code = "NotImplemented".to_owned();
            return Err(StoreError::Refused { operation: "copying an object to another bucket", code });
        }
        self.of(from)?.copy(from, to, of).await
    }

    async fn abort_multipart(&self, key: &str, upload_id: &str) -> Result<(), StoreError> {
        self.of(key)?.abort_multipart(key, upload_id).await
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        self.of(key)?.info(key).await
    }

    async fn get(&self, key: &str, offset: u64, length: Option<u64>) -> Result<ObjectBody, StoreError> {
        self.of(key)?.get(key, offset, length).await
    }

    async fn restore(&self, key: &str) -> Result<bool, StoreError> {
        self.of(key)?.restore(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.of(key)?.delete(key).await
    }

    async fn delete_many(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let (cold, hot): (Vec<String>, Vec<String>) = keys.iter().cloned().partition(|key| names::is_cold(key));
        if cold.is_empty() {
            return self.hot.delete_many(keys).await;
        }
        let of_cold = match &self.cold {
            Some(store) => store.store.delete_many(&cold).await,
            None => cold.iter().map(|key| self.of(key).map(drop)).collect(),
        };
        let of_hot = if hot.is_empty() { Vec::new() } else { self.hot.delete_many(&hot).await };
        let (mut of_cold, mut of_hot) = (of_cold.into_iter(), of_hot.into_iter());
        let missing = || StoreError::Unavailable {
            operation: "deleting objects",
            reason: "the store did not answer for each object".to_owned(),
        };
        let result = |key: &String| {
            let next = if names::is_cold(key) { of_cold.next() } else { of_hot.next() };
            next.unwrap_or_else(|| Err(missing()))
        };
        keys.iter().map(result).collect()
    }

    async fn list_after(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let hot = self.hot.list_after(prefix, after).await?;
        let Some(cold) = self.cold.as_ref().filter(|_| may_be_cold(prefix)) else { return Ok(hot) };
        let cold = cold.store.list_after(prefix, after).await?;
        // A full page says nothing about the keys after its last one.
        let ends = [&hot, &cold].into_iter().filter(|page| page.len() >= PAGE).filter_map(|page| page.last());
        let end = ends.min().cloned();
        let mut keys: Vec<String> =
            hot.into_iter().chain(cold).filter(|key| end.as_ref().is_none_or(|end| key <= end)).collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}

/// Returns `true` if keys with this prefix can be in the cold bucket.
fn may_be_cold(prefix: &str) -> bool {
    prefix.starts_with(names::OBJECTS) || names::OBJECTS.starts_with(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crc64nvme;
    use crate::memory::MemoryStore;

    async fn put(store: &dyn ObjectStore, key: &str) {
        let bytes = Bytes::from_static(b"x");
        store.put(key, bytes.clone(), crc64nvme(&bytes)).await.unwrap();
    }

    #[tokio::test]
    async fn two_buckets_look_like_one() {
        let (hot, cold) = (MemoryStore::new(), MemoryStore::new());
        let tier = StorageTier::Cold;
        let tiers = Tiers::new(Arc::new(hot.clone()), Some(Cold { store: Arc::new(cold.clone()), tier }));
        let keys: Vec<String> =
            (0..2_500).map(|n| if n % 3 == 0 { format!("o/{n:05}-cold") } else { format!("o/{n:05}") }).collect();
        for key in &keys {
            put(&tiers, key).await;
        }
        assert_eq!(cold.list("").await.unwrap().len(), 834);
        assert_eq!(
            (hot.size("o/00000-cold").await.unwrap(), tiers.size("o/00000-cold").await.unwrap()),
            (None, Some(1))
        );
        let (mut listed, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let page = tiers.list_after("o/", after.as_deref()).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            listed.extend(page);
        }
        assert_eq!(listed, keys);
        let deleted = tiers.delete_many(&keys[..4]).await;
        assert!(deleted.len() == 4 && deleted.iter().all(Result::is_ok));
        assert_eq!(tiers.list("o/").await.unwrap()[0], keys[4]);
        // Without the cold bucket, its objects are not taken for missing ones.
        let tiers = Tiers::new(Arc::new(hot), None);
        assert!(matches!(tiers.size("o/00006-cold").await, Err(StoreError::Unavailable { .. })));
    }
}
