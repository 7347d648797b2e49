//! Server-side encryption of objects.

use super::errors::classify;
use super::{Encryption, S3Store};
use crate::StoreError;

impl S3Store {
    /// Returns `true` if new objects are written with an explicit encryption.
    pub fn encrypts(&self) -> bool {
        self.encryption != Encryption::AsTheBucket
    }

    /// Returns the encryption method of an object, or `None` if the store reports none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn encryption_of(&self, key: &str) -> Result<Option<String>, StoreError> {
        let answer = self.client.head_object().bucket(&self.bucket).key(key).send().await;
        let answer = answer.map_err(|error| classify("reading the metadata of an object", &error))?;
        Ok(answer.server_side_encryption.map(|method| method.as_str().to_owned()))
    }
}
