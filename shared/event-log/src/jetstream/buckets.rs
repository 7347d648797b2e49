//! Key-value buckets: small records that may be lost without losing an event.

use super::context;
use super::pulse::{Pulse, Silent};
use crate::{Values, ValuesError};
use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// How long the mark of a deletion stays. Without an end it would take room for as long as a value may.
const MARK: Duration = Duration::from_secs(5);

/// One bucket.
#[derive(Clone)]
pub struct Bucket {
    store: Store,
    pulse: Pulse,
}

/// A value with its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Bytes,
    /// For [`Bucket::take`] and [`Bucket::replace`].
    pub revision: u64,
}

/// How much room a bucket has, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes at most; 0 without a limit.
    pub max_bytes: u64,
}

/// What became of a create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The key was free.
    Created,
    /// The key has this value.
    Exists(Entry),
}

/// The bucket does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bucket {bucket} cannot be used: {reason}")]
pub struct BucketError {
    /// Which.
    pub bucket: String,
    /// Why.
    pub reason: String,
}

impl Bucket {
    /// Opens a bucket that [`super::provision`] made.
    ///
    /// # Errors
    /// [`BucketError`] where it is not there.
    pub fn open<'a>(client: &'a async_nats::Client, name: &'a str) -> BoxFuture<'a, Result<Self, BucketError>> {
        Box::pin(async move {
            let store = context(client.clone())
                .get_key_value(name)
                .await
                .map_err(|error| BucketError { bucket: name.to_owned(), reason: error.to_string() })?;
            Ok(Self { store, pulse: Pulse::of(client) })
        })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, BucketError>> {
        Box::pin(async move {
            let entry = self.answered(self.store.entry(key)).await?.map_err(|error| self.error(error))?;
            Ok(entry
                .filter(|entry| entry.operation == Operation::Put)
                .map(|entry| Entry { value: entry.value, revision: entry.revision }))
        })
    }

    /// Sets a key.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn put<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<(), BucketError>> {
        Box::pin(async move {
            self.answered(self.store.put(key, value)).await?.map(drop).map_err(|error| self.error(error))
        })
    }

    /// Sets a key that has no value.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<CreateOutcome, BucketError>> {
        Box::pin(async move {
            // A key may vanish between the refusal and the look: then it is free.
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
            Err(self.error("a key comes and goes"))
        })
    }

    /// Sets a key that still has a revision. Returns whether it did: if not, somebody else was faster.
    ///
    /// # Errors
    /// [`BucketError`].
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

    /// Removes a key and answers with its value; of several takers one gets it.
    ///
    /// # Errors
    /// [`BucketError`].
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

    /// Removes a key. What marks the deletion is gone some seconds later.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BucketError>> {
        Box::pin(async move {
            self.answered(self.store.purge_with_ttl(key, MARK)).await?.map_err(|error| self.error(error))
        })
    }

    /// The keys that have a value.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn keys(&self) -> BoxFuture<'_, Result<Vec<String>, BucketError>> {
        Box::pin(async move {
            let keys = self.answered(self.store.keys()).await?.map_err(|error| self.error(error))?;
            keys.try_collect().await.map_err(|error| self.error(error))
        })
    }

    /// How full it is.
    ///
    /// # Errors
    /// [`BucketError`].
    pub fn room(&self) -> BoxFuture<'_, Result<Room, BucketError>> {
        Box::pin(async move {
            let info = self.answered(self.store.stream.get_info()).await?.map_err(|error| self.error(error))?;
            let max_bytes = u64::try_from(info.config.max_bytes).unwrap_or_default();
            Ok(Room { used_bytes: info.state.bytes, max_bytes })
        })
    }

    /// What the server answers, if it answers at all.
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
