//! Key-value buckets: small records that several processes share, and whose loss does not lose any event.

use crate::{Values, ValuesError};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::future::ready;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Value with its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Bytes,
    /// The revision, for [`KeyValues::replace`].
    pub revision: u64,
}

/// Used and available space of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Used bytes.
    pub used_bytes: u64,
    /// Maximum number of bytes. 0 means no limit.
    pub max_bytes: u64,
}

/// Result of [`KeyValues::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The key had no value and has the new value now.
    Created,
    /// The key already had this value.
    Exists(Entry),
}

/// Error if a bucket cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the bucket {bucket}: {reason}")]
pub struct BucketError {
    /// Name of the bucket.
    pub bucket: String,
    /// The reason.
    pub reason: String,
}

/// Result of a request to a bucket, as soon as it is there.
pub type Pending<'a, T> = BoxFuture<'a, Result<T, BucketError>>;

/// Storage of values by key, in which each change of a value has a revision.
pub trait KeyValues: Send + Sync {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    fn get<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Entry>>;

    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> Pending<'a, ()>;

    /// Sets the value of a key that has no value.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> Pending<'a, CreateOutcome>;

    /// Sets the value of a key if it still has this revision. Returns `false` if another process changed the key first.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    fn replace<'a>(&'a self, key: &'a str, value: Bytes, revision: u64) -> Pending<'a, bool>;

    /// Deletes a key and returns its value. If several processes do this at the same time, only one gets the value.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    fn take<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Bytes>>;

    /// Deletes a key. The marker of the deletion disappears after 5 s.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    fn delete<'a>(&'a self, key: &'a str) -> Pending<'a, ()>;

    /// Returns the keys that have a value.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    fn keys(&self) -> Pending<'_, Vec<String>>;

    /// Returns the used and the available space.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    fn room(&self) -> Pending<'_, Room>;
}

/// A bucket. Clones share it.
#[derive(Clone)]
pub struct Bucket(Arc<dyn KeyValues>);

impl Bucket {
    /// Returns a bucket that stores its values in `storage`.
    pub fn new(storage: impl KeyValues + 'static) -> Self {
        Self(Arc::new(storage))
    }
}

impl Deref for Bucket {
    type Target = dyn KeyValues;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref()
    }
}

#[async_trait]
impl Values for Bucket {
    async fn value(&self, key: &str) -> Result<Option<Bytes>, ValuesError> {
        let entry = self.get(key).await.map_err(|error| ValuesError(error.to_string()))?;
        Ok(entry.map(|entry| entry.value))
    }

    async fn set_value(&self, key: &str, value: Bytes) -> Result<(), ValuesError> {
        self.put(key, value).await.map_err(|error| ValuesError(error.to_string()))
    }

    async fn remove_value(&self, key: &str) -> Result<(), ValuesError> {
        self.delete(key).await.map_err(|error| ValuesError(error.to_string()))
    }
}

/// Bucket in memory, for tests and simulations. It has no limit.
#[derive(Default)]
pub struct MemoryBucket(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    values: BTreeMap<String, Entry>,
    revision: u64,
}

impl MemoryBucket {
    fn locked(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn set(&mut self, key: &str, value: Bytes) {
        self.revision += 1;
        self.values.insert(key.to_owned(), Entry { value, revision: self.revision });
    }
}

fn done<'a, T: Send + 'a>(value: T) -> Pending<'a, T> {
    Box::pin(ready(Ok(value)))
}

impl KeyValues for MemoryBucket {
    fn get<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Entry>> {
        done(self.locked().values.get(key).cloned())
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> Pending<'a, ()> {
        self.locked().set(key, value);
        done(())
    }

    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> Pending<'a, CreateOutcome> {
        let mut memory = self.locked();
        let exists = memory.values.get(key).cloned();
        if exists.is_none() {
            memory.set(key, value);
        }
        done(exists.map_or(CreateOutcome::Created, CreateOutcome::Exists))
    }

    fn replace<'a>(&'a self, key: &'a str, value: Bytes, revision: u64) -> Pending<'a, bool> {
        let mut memory = self.locked();
        let is_current = memory.values.get(key).is_some_and(|entry| entry.revision == revision);
        if is_current {
            memory.set(key, value);
        }
        done(is_current)
    }

    fn take<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Bytes>> {
        done(self.locked().values.remove(key).map(|entry| entry.value))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        self.locked().values.remove(key);
        done(())
    }

    fn keys(&self) -> Pending<'_, Vec<String>> {
        done(self.locked().values.keys().cloned().collect())
    }

    fn room(&self) -> Pending<'_, Room> {
        let used_bytes = self.locked().values.values().map(|entry| entry.value.len() as u64).sum();
        done(Room { used_bytes, max_bytes: 0 })
    }
}
