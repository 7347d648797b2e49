//! Extension `checksum`.

use super::{
    DEFERRED, OCTETS, OTHER_SUMS, PART, SUMS, chunked, is_file, is_unchanged, list, offset_reaches, sha256_sum,
};
use crate::random::bytes;
use crate::speaker::Speaker;
use waybill_integration_tests::Stack;
use waybill_object_store::ObjectStore;

#[tokio::test(flavor = "multi_thread")]
async fn checksum_2_6_7_8_10_bytes_with_a_right_checksum_of_each_algorithm_are_taken() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let algorithms = list(&tus.options("/tus/", &[]).await, "Tus-Checksum-Algorithm");
    assert!(algorithms.contains(&"sha1".to_owned()), "{algorithms:?}");
    let lower =
        |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    assert!(algorithms.iter().all(lower), "{algorithms:?}");
    for algorithm in &algorithms {
        let sum =
            SUMS.into_iter().find(|sum| sum.split(' ').next() == Some(algorithm)).expect("SUMS has the algorithm");
        let upload = tus.create(22).await;
        tus.patch_with(&upload, 0, &[("Upload-Checksum", sum)], "hello world")
            .await
            .expect(204)
            .with("Upload-Offset", "11");
        // The checksum covers the bytes of the request, not those of the file.
        let sum = [("Upload-Checksum", sum)];
        tus.patch_with(&upload, 11, &sum, "hello world").await.expect(204).with("Upload-Offset", "22");
        is_file(&tus, &upload, b"hello worldhello world").await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checksum_3_5_11_what_is_no_checksum_is_400_and_changes_nothing() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(11).await;
    let values = [
        "md5 XrY7u+Ae7tCTyyK7j1rNww==",
        "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1",
        "sha1 ",
        "sha1:Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha1 2aae6c35c94fcfb415dbe95f408b9ce91ee846ed",
        "sha1 !!!",
        "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "",
    ];
    for value in values {
        let sum = [("Upload-Checksum", value)];
        tus.patch_with(&upload, 0, &sum, "hello world").await.refused(400, "checksum_invalid");
    }
    is_unchanged(&tus, &upload, 0, 11).await;
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checksum_4_5_bytes_with_another_checksum_are_discarded() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(16).await;
    tus.patch(&upload, 0, "12345").await.expect(204);
    for sum in OTHER_SUMS {
        let sum = [("Upload-Checksum", sum)];
        tus.patch_with(&upload, 5, &sum, "hello world").await.refused(460, "digest_mismatch");
        tus.patch_with(&upload, 5, &sum, chunked(b"hello world")).await.refused(460, "digest_mismatch");
        is_unchanged(&tus, &upload, 5, 16).await;
    }
    tus.patch_with(&upload, 5, &[("Upload-Checksum", SUMS[0])], "hello world").await.expect(204);
    is_file(&tus, &upload, b"12345hello world").await;
    // More than Waybill checks in memory: no byte is recorded, and the staged objects are deleted.
    let content = bytes(1_010, 2 * PART + 1_000);
    let upload = tus.create(content.len()).await;
    let (right, wrong) = (sha256_sum(&content), sha256_sum(b"another"));
    let refused = tus.patch_with(&upload, 0, &[("Upload-Checksum", &wrong)], content.clone()).await;
    refused.refused(460, "digest_mismatch");
    is_unchanged(&tus, &upload, 0, content.len()).await;
    let staged = format!("s/{}/", tus.client.principal.company_id);
    assert!(stack.store().list(&staged).await.unwrap().is_empty(), "discarded bytes are still stored");
    tus.patch_with(&upload, 0, &[("Upload-Checksum", &right)], content.clone()).await.expect(204);
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checksum_2_no_bytes_have_a_checksum_too() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(11).await;
    let of_nothing = sha256_sum(b"");
    tus.patch_with(&upload, 0, &[("Upload-Checksum", &of_nothing)], "").await.expect(204).with("Upload-Offset", "0");
    tus.patch_with(&upload, 0, &[("Upload-Checksum", SUMS[0])], "").await.refused(460, "digest_mismatch");
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checksum_5_bytes_that_are_discarded_set_no_length() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.post(&[DEFERRED], "").await.expect(201).location();
    let headers = [("Upload-Length", "11"), ("Upload-Checksum", OTHER_SUMS[0])];
    tus.patch_with(&upload, 0, &headers, "hello world").await.refused(460, "digest_mismatch");
    let head = tus.head(&upload).await.expect(200).with("Upload-Offset", "0");
    head.without("Upload-Length").with("Upload-Defer-Length", "1");
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

/// Both core-patch-11 and checksum-5 apply: the checksum of an interrupted body cannot be compared. The bytes that
/// arrived are kept, and the digest of the file is verified at the end.
#[tokio::test(flavor = "multi_thread")]
async fn checksum_5_core_patch_11_what_arrived_of_a_broken_request_with_a_checksum_is_kept() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_011, PART + 100_000);
    let upload = tus.create(content.len()).await;
    // Within one part, and across two parts.
    let mut from = 0;
    for (announced, sent) in [(200_000, 123_456), (PART + 2_000 - 123_456, PART + 1_000 - 123_456)] {
        let (offset, sum) = (from.to_string(), sha256_sum(&content[from..from + announced]));
        let headers = [OCTETS, ("Upload-Offset", offset.as_str()), ("Upload-Checksum", &sum)];
        drop(tus.begin("PATCH", &upload, &headers, announced, &content[from..from + sent]));
        from += sent;
        offset_reaches(&tus.client, &upload, from).await;
        is_unchanged(&tus, &upload, from, content.len()).await;
    }
    let sum = sha256_sum(&content[from..]);
    tus.patch_with(&upload, from, &[("Upload-Checksum", &sum)], content[from..].to_vec()).await.expect(204);
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}
