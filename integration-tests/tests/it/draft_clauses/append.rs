//! Appends with PATCH, content codings and digests.

use super::{INCONSISTENT_LENGTH, PARTIAL, chunked, digest, first_status, is_file, is_gone, open, patch, stored};
use crate::random::bytes;
use crate::speaker::{Reply, Speaker, id_of};
use reqwest::Body;
use std::io::Write;
use waybill_integration_tests::Stack;

const MISMATCHING_OFFSET: &str = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset";

#[tokio::test(flavor = "multi_thread")]
async fn append_1_10_17_type_1_coding_2_parts_of_any_size_are_joined() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_040, 9 * 1_024 * 1_024);
    let upload = open(&draft, None).await;
    let mut offset = 0;
    for (length, is_chunked) in
        [(0, false), (1, false), (100_000, true), (0, true), (8 * 1_024 * 1_024, true), (7, false)]
    {
        let part = content[offset..offset + length].to_vec();
        let body = if is_chunked { chunked(part) } else { Body::from(part) };
        let appended = draft.append(&upload, offset, false, body).await.expect(204).with("Upload-Complete", "?0");
        offset += length;
        appended.with("Upload-Offset", &offset.to_string());
        draft.head(&upload).await.expect(204).with("Upload-Offset", &offset.to_string());
    }
    let done = draft.append(&upload, offset, true, chunked(content[offset..].to_vec())).await.expect(200);
    done.with("Upload-Complete", "?1");
    is_file(&draft.client, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn append_2_a_patch_without_what_it_must_say_changes_nothing() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(5)).await;
    let (offset, complete) = (("Upload-Offset", "0"), ("Upload-Complete", "?1"));
    let refused = patch(&draft, &upload, &[complete, PARTIAL], "hello").await.refused(400, "header_missing");
    refused.with("Upload-Complete", "?0");
    let refused = patch(&draft, &upload, &[offset, PARTIAL], "hello").await.refused(400, "header_missing");
    refused.with("Upload-Complete", "?0");
    for other in ["application/offset+octet-stream", "text/plain"] {
        let headers = [offset, complete, ("Content-Type", other)];
        let refused = patch(&draft, &upload, &headers, "hello").await.refused(415, "content_type_refused");
        refused.with("Accept-Patch", "application/partial-upload");
    }
    patch(&draft, &upload, &[offset, complete], "hello").await.refused(415, "content_type_refused");
    draft.head(&upload).await.expect(204).with("Upload-Offset", "0").with("Upload-Complete", "?0");
    let headers = [offset, complete, ("Content-Type", "Application/Partial-Upload; a=b")];
    patch(&draft, &upload, &headers, "hello").await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn append_3_4_abort_1_offset_1_what_came_of_an_interrupted_append_is_kept() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_050, 9_000_000);
    let upload = open(&draft, Some(content.len())).await;
    let mut offset = 0;
    for (sent, complete) in [(1, "?1"), (700_001, "?1"), (8_000_000, "?0")] {
        let at = offset.to_string();
        let headers = [("Upload-Offset", at.as_str()), ("Upload-Complete", complete), PARTIAL];
        let length = content.len() - offset;
        drop(draft.begin("PATCH", &upload, &headers, length, &content[offset..offset + sent]));
        offset += sent;
        stored(&draft.client, &upload, offset).await;
        let head = draft.head(&upload).await.expect(204).with("Upload-Complete", "?0");
        head.with("Upload-Offset", &offset.to_string());
    }
    draft.append(&upload, offset, true, content[offset..].to_vec()).await.expect(200);
    is_file(&draft.client, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn append_5_6_7_another_offset_is_a_conflict_that_says_the_right_one() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_000, 10);
    let created = draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "10")], "").await.expect(201);
    let upload = created.location();
    let refused = draft.append(&upload, 3, false, "abc").await.refused(409, "offset_mismatch");
    let refused = refused.with("Upload-Offset", "0").with("Upload-Complete", "?0");
    assert_eq!(refused.json()["type"], MISMATCHING_OFFSET);
    assert_eq!(
        (refused.json()["expected-offset"].as_u64(), refused.json()["provided-offset"].as_u64()),
        (Some(0), Some(3))
    );
    draft.append(&upload, 0, true, content.clone()).await.expect(200).with("Upload-Complete", "?1");
    is_file(&draft.client, &upload, &content).await;
    stack.finish().await;
}

/// Returns appends at offsets other than 5: the offset, the content, `true` for the last append, and `true` for a body
/// without `Content-Length`.
fn appends() -> Vec<(usize, &'static str, bool, bool)> {
    let mut appends = Vec::new();
    for offset in [0, 3, 6, 10, 11] {
        for content in ["", "x", "0123456789abcdef"] {
            for last in [false, true] {
                appends.extend([(offset, content, last, false), (offset, content, last, true)]);
            }
        }
    }
    appends
}

#[tokio::test(flavor = "multi_thread")]
async fn append_5_6_7_the_offset_is_looked_at_before_anything_else_is_done() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_060, 10);
    for length in [Some(10), None] {
        let upload = open(&draft, length).await;
        draft.append(&upload, 0, false, content[..5].to_vec()).await.expect(204);
        // Offsets before and after the right one, within the length and past it, with all kinds of bodies.
        let mut others = Vec::new();
        for (offset, content, last, is_chunked) in appends() {
            let body = if is_chunked { chunked(content) } else { Body::from(content) };
            let reply = draft.append(&upload, offset, last, body).await;
            let problem = reply.json();
            let is_right = reply.status == 409
                && reply.header("Upload-Offset") == Some("5")
                && reply.header("Upload-Complete") == Some("?0")
                && problem["type"] == MISMATCHING_OFFSET
                && problem["expected-offset"] == 5
                && problem["provided-offset"] == offset;
            if !is_right {
                others.push((offset, content, last, is_chunked, reply.status, problem["code"].clone()));
            }
        }
        assert!(others.is_empty(), "length {length:?}: {others:#?}");
        let head = draft.head(&upload).await.expect(204).with("Upload-Offset", "5").with("Upload-Complete", "?0");
        match length {
            Some(_) => head.with("Upload-Length", "10"),
            None => head.without("Upload-Length"),
        };
        draft.append(&upload, 5, true, content[5..].to_vec()).await.expect(200);
        is_file(&draft.client, &upload, &content).await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn append_13_14_length_3_whoever_goes_past_the_length_ends_the_upload() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let too_long = |reply: Reply| {
        let reply = reply.expect(400).with("Upload-Complete", "?0");
        assert_eq!(reply.json()["type"], INCONSISTENT_LENGTH);
    };
    for body in ["0123456", "01234567890123456789"] {
        for is_chunked in [false, true] {
            let upload = open(&draft, Some(10)).await;
            draft.append(&upload, 0, false, "abcd").await.expect(204);
            let body = if is_chunked { chunked(body) } else { Body::from(body) };
            too_long(draft.append(&upload, 4, false, body).await);
            // The server may have kept the bytes that fit or none; the upload is cancelled in both cases.
            let status = draft.client.get(&format!("/v1/uploads/{}", id_of(&upload))).await.expect(200);
            assert_eq!(status.text("status"), "CANCELLED");
            is_gone(&draft, &upload, usize::try_from(status.body["offset_bytes"].as_u64().unwrap()).unwrap()).await;
        }
    }
    let headers = [("Upload-Complete", "?0"), ("Upload-Length", "4")];
    too_long(draft.post(&headers, "hello").await);
    too_long(draft.post(&headers, chunked("hello")).await);
    stack.nothing_reserved(draft.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn append_13_14_complete_1_a_body_at_the_very_end_is_not_swallowed() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    for last in [false, true] {
        let upload = open(&draft, Some(5)).await;
        draft.append(&upload, 0, false, "hello").await.expect(204);
        let refused = draft.append(&upload, 5, last, chunked(" world")).await.expect(400);
        assert_eq!(refused.with("Upload-Complete", "?0").json()["type"], INCONSISTENT_LENGTH);
        draft.head(&upload).await.expect(410);
    }
    // The file of a completed upload does not change.
    let completed = draft.post(&[("Upload-Complete", "?1")], "hello").await.expect(201).location();
    for last in [false, true] {
        let answer = draft.append(&completed, 5, last, chunked(" world")).await;
        assert!(answer.status >= 400, "more bytes were accepted and dropped: {answer:?}");
    }
    is_file(&draft.client, &completed, b"hello").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_104_1_a_client_that_waits_for_100_is_told_to_go_on() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let expecting = ("Expect", "100-continue");
    let mut socket = draft.begin("POST", "/tus/", &[("Upload-Complete", "?1"), expecting], 5, b"");
    assert_eq!(first_status(&mut socket), 100);
    socket.write_all(b"hello").unwrap();
    assert_eq!(first_status(&mut socket), 201);
    let upload = open(&draft, Some(5)).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?1"), PARTIAL, expecting];
    let mut socket = draft.begin("PATCH", &upload, &headers, 5, b"");
    assert_eq!(first_status(&mut socket), 100);
    socket.write_all(b"hello").unwrap();
    assert_eq!(first_status(&mut socket), 200);
    is_file(&draft.client, &upload, b"hello").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coding_1_a_coding_is_refused_rather_than_forgotten() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let coded = ("Content-Encoding", "gzip");
    draft.post(&[("Upload-Complete", "?1"), coded], "hello").await.refused(415, "encoding_refused");
    draft.post(&[("Upload-Complete", "?0"), coded], "he").await.refused(415, "encoding_refused");
    // The bytes would follow in a request that does not name the coding.
    draft.post(&[("Upload-Complete", "?0"), coded], "").await.refused(415, "encoding_refused");
    let upload = open(&draft, Some(5)).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?1"), PARTIAL, coded];
    patch(&draft, &upload, &headers, "hello").await.refused(415, "encoding_refused");
    draft.head(&upload).await.expect(204).with("Upload-Offset", "0");
    let plain = [("Upload-Complete", "?1"), ("Content-Encoding", "identity")];
    draft.post(&plain, "hello").await.expect(201);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_of_a_request_are_checked_before_the_offset_moves_and_of_the_file_at_its_end() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_080, 9 * 1_024 * 1_024);
    let (first, second) = content.split_at(5_000);
    let headers = [("Upload-Complete", "?0"), ("Repr-Digest", &digest(&content)[..])];
    let upload = draft.post(&headers, "").await.expect(201).location();
    let append = async |offset: &str, digest: &str, body: &[u8]| {
        let complete = if offset == "0" { "?0" } else { "?1" };
        let headers = [("Upload-Offset", offset), ("Upload-Complete", complete), ("Content-Digest", digest), PARTIAL];
        patch(&draft, &upload, &headers, body.to_vec()).await
    };
    for (offset, body) in [("0", first), ("5000", second)] {
        let wrong = append(offset, &digest(b"another"), body).await.refused(400, "digest_mismatch");
        wrong.with("Upload-Complete", "?0");
        draft.head(&upload).await.expect(204).with("Upload-Offset", offset).with("Upload-Complete", "?0");
        let status = if offset == "0" { 204 } else { 200 };
        append(offset, &digest(body), body).await.expect(status);
    }
    is_file(&draft.client, &upload, &content).await;
    let headers = [("Upload-Complete", "?0"), ("Repr-Digest", "sha-256=:AAAA:")];
    draft.post(&headers, "").await.refused(400, "digest_invalid");
    stack.finish().await;
}
