//! Key-value storage for records whose loss does not lose any event.

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Error if the storage cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValuesError(pub String);

/// Storage of values by key. A value has at most 1 MiB.
#[async_trait]
pub trait Values: Send + Sync {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// [`ValuesError`] if the storage cannot be used.
    async fn value(&self, key: &str) -> Result<Option<Bytes>, ValuesError>;

    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`ValuesError`] if the storage cannot be used.
    async fn set_value(&self, key: &str, value: Bytes) -> Result<(), ValuesError>;

    /// Removes a key.
    ///
    /// # Errors
    /// [`ValuesError`] if the storage cannot be used.
    async fn remove_value(&self, key: &str) -> Result<(), ValuesError>;
}

/// Storage in memory, for tests.
#[derive(Clone, Default)]
pub struct MemoryValues(Arc<Mutex<HashMap<String, Bytes>>>);

impl MemoryValues {
    fn locked(&self) -> MutexGuard<'_, HashMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the keys that have a value.
    pub fn keys(&self) -> Vec<String> {
        self.locked().keys().cloned().collect()
    }
}

#[async_trait]
impl Values for MemoryValues {
    async fn value(&self, key: &str) -> Result<Option<Bytes>, ValuesError> {
        Ok(self.locked().get(key).cloned())
    }

    async fn set_value(&self, key: &str, value: Bytes) -> Result<(), ValuesError> {
        self.locked().insert(key.to_owned(), value);
        Ok(())
    }

    async fn remove_value(&self, key: &str) -> Result<(), ValuesError> {
        self.locked().remove(key);
        Ok(())
    }
}
