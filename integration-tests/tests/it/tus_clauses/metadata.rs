//! `Upload-Metadata` of the extension `creation`.

use super::{base64, is_file, no_space_is_taken};
use crate::speaker::{Speaker, answered, id_of};
use reqwest::Method;
use serde_json::json;
use waybill_integration_tests::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn metadata_1_5_8_pairs_are_understood_and_given_back_as_they_came() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let (name, kind) = (base64("Ünïcode name.png"), base64("image/png"));
    let headers = [
        // A key without a value: in the middle, with a space after it, at the end. The last header has a space after a
        // comma.
        format!("filename {name},is_confidential,filetype {kind}"),
        format!("filename {name},is_confidential ,filetype {kind}"),
        format!("filename {name}, filetype {kind},is_confidential"),
    ];
    for header in headers {
        let created = tus.post(&[("Upload-Length", "5"), ("Upload-Metadata", &header)], "").await.expect(201);
        let upload = created.location();
        tus.head(&upload).await.expect(200).with("Upload-Metadata", &header);
        tus.patch(&upload, 0, "hello").await.expect(204);
        tus.head(&upload).await.expect(200).with("Upload-Metadata", &header);
        let file = is_file(&tus, &upload, b"hello").await;
        assert_eq!((&file["original_name"], &file["mime_type"]), (&json!("Ünïcode name.png"), &json!("image/png")));
    }
    let bare = tus.create(5).await;
    tus.head(&bare).await.expect(200).without("Upload-Metadata");
    tus.delete(&bare).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_1_8_an_upload_with_empty_metadata_has_no_upload_metadata_header() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.post(&[("Upload-Length", "5"), ("Upload-Metadata", "")], "").await.expect(201).location();
    tus.head(&upload).await.expect(200).without("Upload-Metadata");
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_2_3_4_7_what_is_no_metadata_is_refused() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let create = async |metadata: &str| tus.post(&[("Upload-Length", "5"), ("Upload-Metadata", metadata)], "").await;
    for metadata in [
        ",",
        "a YQ==,",
        "a YQ==,,b YQ==",
        "a YQ==,a Yg==",
        "a,a",
        "my key YQ==",
        "a !!!",
        "a YQ",
        "a YQ==YQ==",
        "a YQ==;b YQ==",
    ] {
        create(metadata).await.refused(400, "metadata_invalid").without("Location");
    }
    // Valid metadata of files that are refused.
    create(&format!("filetype {}", base64("application/x-msdownload"))).await.refused(415, "type_refused");
    create(&format!("filename {}", base64("../a"))).await.refused(422, "name_invalid");
    create(&format!("a {}", base64(&"x".repeat(9_000)))).await.refused(413, "metadata_too_large");
    no_space_is_taken(&stack, &tus).await;
    stack.finish().await;
}

/// A key should be ASCII, but does not have to be. Such a key is returned unchanged or refused; it never disappears.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_3_8_what_could_not_be_given_back_is_refused() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let headers = [("Upload-Length", "5"), ("Upload-Metadata", "größe YQ==")];
    let mut socket = tus.begin("POST", "/tus/", &headers, 0, b"");
    let answer = answered(&mut socket);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    no_space_is_taken(&stack, &tus).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_6_no_value_becomes_a_header() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let evil = base64("a\r\nX-Smuggled: 1");
    let create = async |metadata: String| tus.post(&[("Upload-Length", "5"), ("Upload-Metadata", &metadata)], "").await;
    create(format!("filename {evil}")).await.refused(422, "name_invalid").without("X-Smuggled");
    create(format!("filetype {}", base64("image/png\r\nX-Smuggled: 1"))).await.refused(415, "type_refused");
    let metadata = format!("relativePath {evil},filename {}", base64("a\"; x=\"b.txt"));
    let upload = create(metadata.clone()).await.expect(201).without("X-Smuggled").location();
    tus.patch(&upload, 0, "hello").await.expect(204).without("X-Smuggled");
    tus.head(&upload).await.expect(200).with("Upload-Metadata", &metadata).without("X-Smuggled");
    is_file(&tus, &upload, b"hello").await;
    let path = format!("/v1/files/{}/content", id_of(&upload));
    let content = tus.send(Method::GET, &path, &[], "").await.expect(200).without("X-Smuggled");
    let disposition = content.header("Content-Disposition").unwrap();
    assert!(!disposition.contains("x=\"b"), "a quotation mark in the name ends it: {disposition}");
    stack.finish().await;
}
