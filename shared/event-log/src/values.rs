//! Records beside the log that may be lost without losing an event.

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The records cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValuesError(pub String);

/// Values by key, 1 MiB each at most.
#[async_trait]
pub trait Values: Send + Sync {
    /// Reads the value of a key.
    ///
    /// # Errors
    /// [`ValuesError`].
    async fn value(&self, key: &str) -> Result<Option<Bytes>, ValuesError>;

    /// Sets a key.
    ///
    /// # Errors
    /// [`ValuesError`].
    async fn set_value(&self, key: &str, value: Bytes) -> Result<(), ValuesError>;

    /// Removes a key.
    ///
    /// # Errors
    /// [`ValuesError`].
    async fn remove_value(&self, key: &str) -> Result<(), ValuesError>;
}

/// Values in memory, for tests of rules.
#[derive(Clone, Default)]
pub struct MemoryValues(Arc<Mutex<HashMap<String, Bytes>>>);

impl MemoryValues {
    fn locked(&self) -> MutexGuard<'_, HashMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys that have a value.
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
