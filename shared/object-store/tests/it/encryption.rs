//! Server-side encryption that the settings request.

use bytes::Bytes;
use waybill_object_store::s3::{Encryption, S3Config, S3Store};
use waybill_object_store::{CompletedPart, Crc, ObjectStore, PartCrc, crc64nvme};
use waybill_test_kit::TestBucket;

#[tokio::test]
async fn every_object_is_encrypted_as_the_settings_say() {
    let bucket = TestBucket::create().await;
    let store = S3Store::new(&S3Config { encryption: Encryption::Managed, ..bucket.config.clone() });
    let bytes = Bytes::from_static(b"hello");
    store.put("put", bytes.clone(), crc64nvme(&bytes)).await.unwrap();
    let upload = store.create_multipart("parts", Some(Crc::Crc64Nvme)).await.unwrap();
    let etag = store.upload_part("parts", &upload, 1, bytes.clone(), crc64nvme(&bytes)).await.unwrap();
    let part = CompletedPart { part_number: 1, etag, crc: Some(PartCrc::crc64nvme(crc64nvme(&bytes))) };
    store.complete_multipart("parts", &upload, &[part]).await.unwrap();
    let put = store.info("put").await.unwrap().unwrap();
    store.copy("put", "copied", &put).await.unwrap();
    for key in ["put", "parts", "copied"] {
        assert_eq!(store.encryption_of(key).await.unwrap().as_deref(), Some("AES256"), "{key}");
        let body = store.get(key, 1, Some(3)).await.unwrap().collect().await.unwrap();
        assert_eq!(body, "ell", "{key}");
    }
    bucket.store().put("plain", bytes.clone(), crc64nvme(&bytes)).await.unwrap();
    assert_eq!(store.encryption_of("plain").await.unwrap(), None);
}
