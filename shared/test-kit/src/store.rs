//! A bucket of one test.

use crate::wait::settings;
use uuid::Uuid;
use waybill_object_store::ObjectStore;
use waybill_object_store::s3::{Encryption, S3Config, S3Store};

/// A bucket of its own in the test's S3 store.
pub struct TestBucket {
    /// How to reach it.
    pub config: S3Config,
}

impl TestBucket {
    /// Makes one.
    ///
    /// # Panics
    /// Where the store does not answer.
    pub async fn create() -> Self {
        let bucket = Self {
            config: S3Config {
                endpoint: Some(settings("WAYBILL_TEST_S3_ENDPOINT")),
                region: "us-east-1".to_owned(),
                bucket: format!("test-{}", Uuid::now_v7().simple()),
                access_key_id: settings("WAYBILL_TEST_S3_ACCESS_KEY_ID"),
                secret_access_key: settings("WAYBILL_TEST_S3_SECRET_ACCESS_KEY"),
                encryption: Encryption::default(),
            },
        };
        bucket.store().ensure_bucket().await.expect("the test store makes a bucket");
        bucket
    }

    /// A client of it.
    pub fn store(&self) -> S3Store {
        S3Store::new(&self.config)
    }
}
