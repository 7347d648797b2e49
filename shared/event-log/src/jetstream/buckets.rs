//! Key-value buckets of JetStream.

use super::context;
use super::pulse::{Pulse, Silent};
use crate::bucket::{Bucket, BucketError, CreateOutcome, Entry, KeyValues, Pending, Room};
use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind};
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Lifetime of the marker of a deletion. Without a limit, markers would occupy space as long as values.
const MARK: Duration = Duration::from_secs(5);

struct JetStreamBucket {
    store: Store,
    pulse: Pulse,
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
            Ok(Self::new(JetStreamBucket { store, pulse: Pulse::of(client) }))
        })
    }
}

impl KeyValues for JetStreamBucket {
    fn get<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Entry>> {
        Box::pin(async move {
            let entry = self.answered(self.store.entry(key)).await?.map_err(|error| self.error(error))?;
            Ok(entry
                .filter(|entry| entry.operation == Operation::Put)
                .map(|entry| Entry { value: entry.value, revision: entry.revision }))
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> Pending<'a, ()> {
        Box::pin(async move {
            self.answered(self.store.put(key, value)).await?.map(drop).map_err(|error| self.error(error))
        })
    }

    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> Pending<'a, CreateOutcome> {
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

    fn replace<'a>(&'a self, key: &'a str, value: Bytes, revision: u64) -> Pending<'a, bool> {
        Box::pin(async move {
            match self.answered(self.store.update(key, value, revision)).await? {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
                Err(error) => Err(self.error(error)),
            }
        })
    }

    fn take<'a>(&'a self, key: &'a str) -> Pending<'a, Option<Bytes>> {
        Box::pin(async move {
            let Some(entry) = self.get(key).await? else { return Ok(None) };
            match self.answered(self.store.purge_expect_revision_with_ttl(key, entry.revision, MARK)).await? {
                Ok(()) => Ok(Some(entry.value)),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
                Err(error) => Err(self.error(error)),
            }
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            self.answered(self.store.purge_with_ttl(key, MARK)).await?.map_err(|error| self.error(error))
        })
    }

    fn keys(&self) -> Pending<'_, Vec<String>> {
        Box::pin(async move {
            let keys = self.answered(self.store.keys()).await?.map_err(|error| self.error(error))?;
            keys.try_collect().await.map_err(|error| self.error(error))
        })
    }

    fn room(&self) -> Pending<'_, Room> {
        Box::pin(async move {
            let info = self.answered(self.store.stream.get_info()).await?.map_err(|error| self.error(error))?;
            let max_bytes = u64::try_from(info.config.max_bytes).unwrap_or_default();
            Ok(Room { used_bytes: info.state.bytes, max_bytes })
        })
    }
}

impl JetStreamBucket {
    /// Waits for the answer to a request. Stops early if the server does not answer at all.
    async fn answered<T>(&self, work: impl Future<Output = T>) -> Result<T, BucketError> {
        self.pulse.unless_silent(work).await.map_err(|silent: Silent| self.error(silent))
    }

    fn error(&self, reason: impl std::fmt::Display) -> BucketError {
        BucketError { bucket: self.store.name.clone(), reason: reason.to_string() }
    }
}
