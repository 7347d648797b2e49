//! An S3 bucket for one test.

use crate::wait::settings;
use uuid::Uuid;
use waybill_object_store::ObjectStore;
use waybill_object_store::s3::{Encryption, S3Config, S3Store, StoreCredentials};

/// A bucket in the S3 store of the test run.
pub struct TestBucket {
    /// Address, name and credentials of the bucket.
    pub config: S3Config,
}

impl TestBucket {
    /// Creates a bucket.
    ///
    /// # Panics
    /// Panics if the store does not answer.
    pub async fn create() -> Self {
        let (id, secret) = Self::keys();
        let bucket = Self {
            config: S3Config {
                storage_class: None,
                endpoint: Some(settings("WAYBILL_TEST_S3_ENDPOINT")),
                region: "us-east-1".to_owned(),
                bucket: format!("test-{}", Uuid::now_v7().simple()),
                credentials: StoreCredentials::Keys { id, secret },
                encryption: Encryption::default(),
            },
        };
        bucket.store().ensure_bucket().await.expect("the test store creates a bucket");
        bucket
    }

    /// Removes the bucket with its objects. Otherwise the buckets of all tests fill the disk, and the store then refuses writes.
    ///
    /// # Panics
    /// Panics if the store does not answer.
    pub async fn delete_it(self) {
        self.store().delete_bucket().await.expect("the test store deletes a bucket");
    }

    /// Returns the id and the secret of the access key of the store.
    ///
    /// # Panics
    /// Panics if the tests were not started by `scripts/test`.
    pub fn keys() -> (String, String) {
        (settings("WAYBILL_TEST_S3_ACCESS_KEY_ID"), settings("WAYBILL_TEST_S3_SECRET_ACCESS_KEY"))
    }

    /// Returns a client for the bucket.
    pub fn store(&self) -> S3Store {
        S3Store::new(&self.config)
    }
}
