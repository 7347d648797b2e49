//! Key-value buckets: small records whose loss does not lose any event.

use super::context;
use super::pulse::{Pulse, Silent};
use crate::{Values, ValuesError};
use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Lifetime of the marker of a deletion. Without a limit, markers would occupy space as long as values.
const MARK: Duration = Duration::from_secs(5);

/// Key-value bucket.
#[derive(Clone)]
pub struct Bucket {
    store: Store,
    pulse: Pulse,
}

/// Value with its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Bytes,
    /// The revision, for [`Bucket::replace`].
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

/// Result of [`Bucket::create`].
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

impl Bucket {
    /// Opens a bucket that [`super::provision`] created.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket does not exist or the server does not answer.
    pub fn open<'a>(client: &'a async_nats::Client, name: &'a str) -> BoxFuture<'a, Result<Self, BucketError>> {
        Box::pin(async move {
            let store = context(client.clone())
                .get_key_value(name)
                .await
                .map_err(|error| BucketError { bucket: name.to_owned(), reason: error.to_string() })?;
            Ok(Self { store, pulse: Pulse::of(client) })
        })
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    pub fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, BucketError>> {
        Box::pin(async move {
            let entry = self.answered(self.store.entry(key)).await?.map_err(|error| self.error(error))?;
            Ok(entry
                .filter(|entry| entry.operation == Operation::Put)
                .map(|entry| Entry { value: entry.value, revision: entry.revision }))
        })
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    pub fn put<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<(), BucketError>> {
        Box::pin(async move {
            self.answered(self.store.put(key, value)).await?.map(drop).map_err(|error| self.error(error))
        })
    }

    /// Sets the value of a key that has no value.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    pub fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<CreateOutcome, BucketError>> {
        Box::pin(async move {
            // The value may be deleted between the refusal and the read. Try again then.
            for _ in 0..3 {
                match self.answered(self.store.create(key, value.clone())).await? {
                    Ok(_) => return Ok(CreateOutcome::Created),
                    Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                        if let Some(entry) = self.get(key).await? {
                            return Ok(CreateOutcome::Exists(entry));
                        }
                    }
                    Err(error) => return Err(self.error(error)),
                }
            }
            Err(self.error("other processes create and delete the key all the time"))
        })
    }

    /// Sets the value of a key if it still has this revision. Returns `false` if another process changed the key first.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    pub fn replace<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        revision: u64,
    ) -> BoxFuture<'a, Result<bool, BucketError>> {
        Box::pin(async move {
            match self.answered(self.store.update(key, value, revision)).await? {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
                Err(error) => Err(self.error(error)),
            }
        })
    }

    /// Deletes a key and returns its value. If several processes do this at the same time, only one gets the value.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    pub fn take<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BucketError>> {
        Box::pin(async move {
            let Some(entry) = self.get(key).await? else { return Ok(None) };
            match self.answered(self.store.purge_expect_revision_with_ttl(key, entry.revision, MARK)).await? {
                Ok(()) => Ok(Some(entry.value)),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
                Err(error) => Err(self.error(error)),
            }
        })
    }

    /// Deletes a key. The marker of the deletion disappears after 5 s.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    pub fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BucketError>> {
        Box::pin(async move {
            self.answered(self.store.purge_with_ttl(key, MARK)).await?.map_err(|error| self.error(error))
        })
    }

    /// Returns the keys that have a value.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    pub fn keys(&self) -> BoxFuture<'_, Result<Vec<String>, BucketError>> {
        Box::pin(async move {
            let keys = self.answered(self.store.keys()).await?.map_err(|error| self.error(error))?;
            keys.try_collect().await.map_err(|error| self.error(error))
        })
    }

    /// Returns the used and the available space.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket cannot be used.
    pub fn room(&self) -> BoxFuture<'_, Result<Room, BucketError>> {
        Box::pin(async move {
            let info = self.answered(self.store.stream.get_info()).await?.map_err(|error| self.error(error))?;
            let max_bytes = u64::try_from(info.config.max_bytes).unwrap_or_default();
            Ok(Room { used_bytes: info.state.bytes, max_bytes })
        })
    }

    /// Waits for the answer to a request. Stops early if the server does not answer at all.
    async fn answered<T>(&self, work: impl Future<Output = T>) -> Result<T, BucketError> {
        self.pulse.unless_silent(work).await.map_err(|silent: Silent| self.error(silent))
    }

    fn error(&self, reason: impl std::fmt::Display) -> BucketError {
        BucketError { bucket: self.store.name.clone(), reason: reason.to_string() }
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
