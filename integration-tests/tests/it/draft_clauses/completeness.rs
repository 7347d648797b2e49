//! `Upload-Complete` and `Upload-Length`.

use super::{INCONSISTENT_LENGTH, PARTIAL, chunked, digest, is_file, open, patch};
use crate::speaker::{Reply, Speaker, id_of};
use reqwest::Body;
use waybill_integration_tests::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn complete_1_append_11_a_completed_upload_takes_nothing_and_repeats_its_answer() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(5)).await;
    let first = draft.append(&upload, 0, true, "hello").await.expect(200).with("Upload-Complete", "?1");
    // The answer was lost. The client asks for the offset and sends the completion again.
    draft.head(&upload).await.expect(204).with("Upload-Offset", "5").with("Upload-Complete", "?1");
    let replayed = draft.append(&upload, 5, true, "").await.expect(200).with("Upload-Complete", "?1");
    assert_eq!(replayed.json(), first.json());
    for last in [false, true] {
        draft.append(&upload, 5, last, "more").await.expect(400);
        draft.append(&upload, 0, last, "jelly").await.expect(409);
        draft.append(&upload, 3, last, "ly").await.refused(409, "offset_mismatch").with("Upload-Offset", "5");
    }
    draft.head(&upload).await.expect(204).with("Upload-Offset", "5").with("Upload-Complete", "?1");
    is_file(&draft.client, &upload, b"hello").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_2_length_2_invalid_values_of_upload_complete_and_upload_length_are_ignored() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, None).await;
    for complete in ["true", "1", "?2", "0", "\"?1\"", "?1, ?1", ""] {
        let headers = [("Upload-Offset", "0"), ("Upload-Complete", complete), PARTIAL];
        patch(&draft, &upload, &headers, "abc").await.refused(400, "header_missing");
        // A creation is then an upload in one request, like those of clients that do not use the draft.
        let plain = draft.post(&[("Upload-Complete", complete)], "hello").await.expect(201);
        is_file(&draft.client, &plain.location(), b"hello").await;
    }
    for length in ["-1", "3.0", "abc", "3, 3", ""] {
        let created = draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", length)], "").await.expect(201);
        draft.head(&created.location()).await.expect(204).without("Upload-Length");
        let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?0"), ("Upload-Length", length), PARTIAL];
        patch(&draft, &upload, &headers, "").await.expect(204);
    }
    draft.head(&upload).await.expect(204).with("Upload-Offset", "0").without("Upload-Length");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_3_length_6_append_19_only_the_clients_word_completes() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(5)).await;
    draft.append(&upload, 0, false, "hello").await.expect(204).with("Upload-Complete", "?0");
    let full = draft.head(&upload).await.expect(204).with("Upload-Offset", "5").with("Upload-Length", "5");
    full.with("Upload-Complete", "?0");
    draft.append(&upload, 5, true, "").await.expect(200).with("Upload-Complete", "?1");
    is_file(&draft.client, &upload, b"hello").await;
    let with_bytes = draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "5")], "hello").await.expect(201);
    with_bytes.with("Upload-Complete", "?0");
    let empty = open(&draft, Some(0)).await;
    draft.head(&empty).await.expect(204).with("Upload-Complete", "?0");
    draft.append(&empty, 0, true, "").await.expect(200).with("Upload-Complete", "?1");
    // `?1` with less than the whole length does not complete the upload.
    let short = open(&draft, Some(10)).await;
    draft.append(&short, 0, true, "hello").await.expect(400).with("Upload-Complete", "?0");
    draft.head(&short).await.expect(204).with("Upload-Complete", "?0");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_4_append_9_sec_5_an_answer_tells_whether_it_is_of_the_file_or_of_the_transfer() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    // About the file: a wrong digest, and a program declared as a picture, in two appends.
    let wrong = digest(b"another");
    let created = draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "5"), ("Repr-Digest", &wrong)], "").await;
    let upload = created.expect(201).location();
    let failed = draft.append(&upload, 0, true, "hello").await.refused(422, "digest_mismatch");
    failed.with("Upload-Complete", "?1");
    let failed = draft.post(&[("Upload-Complete", "?1"), ("Repr-Digest", &wrong)], "hello").await;
    failed.refused(422, "digest_mismatch").with("Upload-Complete", "?1");
    let program = [b"\x7fELF\x02\x01\x01\0".to_vec(), vec![0; 100]].concat();
    let headers = [("Upload-Complete", "?0"), ("Content-Type", "image/png")];
    let upload = draft.post(&headers, program[..2].to_vec()).await.expect(201).location();
    let failed = draft.append(&upload, 2, true, program[2..].to_vec()).await.refused(422, "type_refused");
    failed.with("Upload-Complete", "?1");
    draft.client.file_with_status(&id_of(&upload), "FAILED").await;
    // About the transfer.
    let upload = open(&draft, Some(10)).await;
    draft.append(&upload, 5, true, "hello").await.expect(409).with("Upload-Complete", "?0");
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?1")];
    patch(&draft, &upload, &headers, "0123456789").await.expect(415).with("Upload-Complete", "?0");
    draft.head(&upload).await.expect(204).with("Upload-Complete", "?0");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn length_1_create_9_append_12_the_length_is_recorded_from_whatever_says_it() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    // A creation declares the length in a header, or has all the content.
    let upload = open(&draft, Some(7)).await;
    draft.head(&upload).await.expect(204).with("Upload-Length", "7");
    let upload = draft.post(&[("Upload-Complete", "?1")], "hello").await.expect(201).location();
    draft.head(&upload).await.expect(204).with("Upload-Length", "5");
    let upload = draft.post(&[("Upload-Complete", "?1")], chunked("hello")).await.expect(201);
    let upload = upload.with("Upload-Complete", "?1").location();
    draft.head(&upload).await.expect(204).with("Upload-Length", "5");
    is_file(&draft.client, &upload, b"hello").await;
    // An append declares the length in the same two ways.
    let upload = open(&draft, None).await;
    draft.append(&upload, 0, false, "he").await.expect(204);
    draft.head(&upload).await.expect(204).with("Upload-Offset", "2").without("Upload-Length");
    let headers = [("Upload-Offset", "2"), ("Upload-Complete", "?0"), ("Upload-Length", "5"), PARTIAL];
    patch(&draft, &upload, &headers, "l").await.expect(204);
    draft.head(&upload).await.expect(204).with("Upload-Offset", "3").with("Upload-Length", "5");
    draft.append(&upload, 3, true, "lo").await.expect(200);
    is_file(&draft.client, &upload, b"hello").await;
    for (first, last) in
        [("he", Body::from("llo")), ("he", chunked("llo")), ("hello", Body::from("")), ("hello", chunked(""))]
    {
        let upload = open(&draft, None).await;
        draft.append(&upload, 0, false, first).await.expect(204);
        draft.append(&upload, first.len(), true, last).await.expect(200).with("Upload-Complete", "?1");
        draft.head(&upload).await.expect(204).with("Upload-Length", "5");
        is_file(&draft.client, &upload, b"hello").await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn length_3_5_two_lengths_in_one_request_must_be_one() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let inconsistent = |reply: Reply| {
        let reply = reply.expect(400).with("Content-Type", "application/problem+json").with("Upload-Complete", "?0");
        assert_eq!(reply.json()["type"], INCONSISTENT_LENGTH);
    };
    for length in ["4", "6"] {
        let both = [("Upload-Complete", "?1"), ("Upload-Length", length)];
        inconsistent(draft.post(&both, "hello").await);
        inconsistent(draft.post(&both, chunked("hello")).await);
        for body in [Body::from("llo"), chunked("llo")] {
            let upload = open(&draft, None).await;
            draft.append(&upload, 0, false, "he").await.expect(204);
            let both = [("Upload-Offset", "2"), ("Upload-Complete", "?1"), ("Upload-Length", length), PARTIAL];
            inconsistent(patch(&draft, &upload, &both, body).await);
        }
    }
    let both = [("Upload-Complete", "?1"), ("Upload-Length", "5")];
    let upload = draft.post(&both, "hello").await.expect(201).with("Upload-Complete", "?1").location();
    is_file(&draft.client, &upload, b"hello").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn length_4_5_a_length_that_is_known_stays() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let said_at_first = open(&draft, Some(5)).await;
    let said_later = open(&draft, None).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?0"), ("Upload-Length", "5"), PARTIAL];
    patch(&draft, &said_later, &headers, "").await.expect(204);
    for upload in [said_at_first, said_later] {
        for length in ["4", "6"] {
            let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?0"), ("Upload-Length", length), PARTIAL];
            let refused = patch(&draft, &upload, &headers, "he").await.refused(400, "length_conflict");
            assert_eq!(refused.json()["type"], INCONSISTENT_LENGTH);
            draft.head(&upload).await.expect(204).with("Upload-Length", "5").with("Upload-Offset", "0");
        }
        let refused = draft.append(&upload, 0, true, "four").await.refused(400, "length_conflict");
        assert_eq!(refused.json()["type"], INCONSISTENT_LENGTH);
        let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?0"), ("Upload-Length", "5"), PARTIAL];
        patch(&draft, &upload, &headers, "he").await.expect(204);
        draft.append(&upload, 2, true, "llo").await.expect(200);
        is_file(&draft.client, &upload, b"hello").await;
    }
    stack.finish().await;
}
