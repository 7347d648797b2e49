//! Extensions `creation` and `creation-defer-length`.

use super::{DEFERRED, OCTETS, PART, chunked, concat, is_file, is_unchanged, no_space_is_taken, partial, with_args};
use crate::random::bytes;
use crate::speaker::Speaker;
use reqwest::{Method, Url};
use std::collections::BTreeSet;
use waybill_integration_tests::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_is_refused_for_its_bytes_reserves_nothing() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let with = |more| [("Upload-Length", "3"), OCTETS, more];
    tus.post(&with(("Upload-Checksum", "md5 XrY7u+Ae7tCTyyK7j1rNww==")), "abc").await.refused(400, "checksum_invalid");
    tus.post(&with(("Upload-Metadata", "")), "abcd").await.refused(413, "size_exceeded");
    no_space_is_taken(&stack, &tus).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_post_5_6_7_a_new_upload_is_where_its_location_says() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let mut seen = BTreeSet::new();
    for endpoint in ["/tus/", "/tus"] {
        let created = tus.send(Method::POST, endpoint, &[("Upload-Length", "5")], "").await.expect(201);
        let base = Url::parse(&format!("{}{endpoint}", stack.url())).unwrap();
        let resolved = base.join(&created.location()).unwrap();
        assert!(resolved.as_str().starts_with(stack.url()), "{resolved}");
        let upload = resolved.path().to_owned();
        is_unchanged(&tus, &upload, 0, 5).await;
        tus.patch(&upload, 0, "hello").await.expect(204);
        is_file(&tus, &upload, b"hello").await;
        assert!(seen.insert(upload), "two creations have the same upload");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_post_1_2_creation_defer_1_a_creation_says_one_length_or_that_it_is_deferred() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    tus.post(&[], "").await.refused(400, "header_invalid").without("Location");
    tus.post(&[OCTETS], "abc").await.refused(400, "header_invalid").without("Location");
    for value in ["0", "2", "01", "true", "?1", ""] {
        let deferred = ("Upload-Defer-Length", value);
        tus.post(&[deferred], "").await.refused(400, "header_invalid").without("Location");
    }
    tus.post(&[DEFERRED, ("Upload-Length", "5")], "").await.refused(400, "header_invalid").without("Location");
    no_space_is_taken(&stack, &tus).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_post_3_an_empty_file_is_complete_at_once() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let created = tus.post(&[("Upload-Length", "0")], "").await.expect(201).without("Upload-Expires");
    let upload = created.location();
    is_file(&tus, &upload, b"").await;
    is_unchanged(&tus, &upload, 0, 0).await;
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_post_4_what_is_too_long_is_413() {
    let stack = with_args(&["--max-file-bytes=1000"]).await;
    let tus = Speaker::tus(stack.client());
    tus.post(&[("Upload-Length", "1001")], "").await.refused(413, "file_too_large").without("Location");
    let with_bytes = [OCTETS, ("Upload-Length", "1001")];
    tus.post(&with_bytes, vec![1; 1_001]).await.refused(413, "file_too_large").without("Location");
    no_space_is_taken(&stack, &tus).await;
    let largest = tus.create(1_000).await;
    tus.delete(&largest).await.expect(204);
    // The size of an upload of deferred length is checked later.
    let grown = tus.post(&[DEFERRED], "").await.expect(201).location();
    tus.patch_with(&grown, 0, &[("Upload-Length", "1001")], "abc").await.refused(413, "file_too_large");
    tus.patch(&grown, 0, vec![1; 1_001]).await.refused(413, "file_too_large");
    tus.patch(&grown, 0, chunked(&[1; 1_001])).await.refused(413, "file_too_large");
    tus.head(&grown).await.expect(200).with("Upload-Offset", "0").with("Upload-Defer-Length", "1");
    let parts = [partial(&tus, &[1; 600]).await, partial(&tus, &[2; 401]).await];
    concat(&tus, &[&parts[0], &parts[1]]).await.refused(413, "file_too_large").without("Location");
    for upload in [&grown, &parts[0], &parts[1]] {
        tus.delete(upload).await.expect(204);
    }
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_defer_2_4_5_a_length_may_come_with_any_patch() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_007, PART + 1_000);
    let total = content.len().to_string();
    // The length comes with the first bytes, with the last bytes, and after them.
    for when in 0..3 {
        let upload = tus.post(&[DEFERRED], "").await.expect(201).location();
        let mut offset = 0;
        for (number, end) in [1_000, content.len(), content.len()].into_iter().enumerate() {
            let head = tus.head(&upload).await.expect(200).with("Upload-Offset", &offset.to_string());
            if number <= when {
                head.with("Upload-Defer-Length", "1").without("Upload-Length");
            } else {
                head.without("Upload-Defer-Length").with("Upload-Length", &total);
            }
            let length = [("Upload-Length", total.as_str())];
            let said: &[(&str, &str)] = if number == when { &length } else { &[] };
            let answer = tus.patch_with(&upload, offset, said, content[offset..end].to_vec()).await.expect(204);
            answer.with("Upload-Offset", &end.to_string());
            offset = end;
        }
        is_unchanged(&tus, &upload, content.len(), content.len()).await;
        is_file(&tus, &upload, &content).await;
    }
    // 0 is a valid length.
    let empty = tus.post(&[DEFERRED], "").await.expect(201).location();
    tus.patch_with(&empty, 0, &[("Upload-Length", "0")], "").await.expect(204).with("Upload-Offset", "0");
    is_file(&tus, &empty, b"").await;
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creation_defer_3_a_length_stays_what_it_is() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.post(&[DEFERRED], "").await.expect(201).location();
    tus.patch(&upload, 0, "hello").await.expect(204);
    // The length is less than the offset.
    tus.patch_with(&upload, 5, &[("Upload-Length", "4")], "").await.refused(400, "length_conflict");
    tus.head(&upload).await.expect(200).with("Upload-Defer-Length", "1");
    tus.patch_with(&upload, 5, &[("Upload-Length", "11")], "").await.expect(204).with("Upload-Offset", "5");
    let known = tus.create(11).await;
    tus.patch(&known, 0, "hello").await.expect(204);
    for upload in [upload, known] {
        for length in ["10", "12", "5"] {
            let length = [("Upload-Length", length)];
            tus.patch_with(&upload, 5, &length, " worl").await.refused(400, "length_conflict");
        }
        is_unchanged(&tus, &upload, 5, 11).await;
        // Repeating the same length is allowed.
        tus.patch_with(&upload, 5, &[("Upload-Length", "11")], " world").await.expect(204);
        is_file(&tus, &upload, b"hello world").await;
    }
    stack.finish().await;
}
