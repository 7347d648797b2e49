//! HEAD and PATCH of the core protocol.

use super::{DEFERRED, OCTETS, PART, chunked, is_file, is_unchanged, no_space_is_taken, offset_reaches};
use crate::random::bytes;
use crate::speaker::Speaker;
use reqwest::{Body, Method};
use std::io::{ErrorKind, Read};
use std::time::Duration;
use waybill_integration_tests::Stack;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn core_head_1_2_4_5_offset_and_length_are_always_there_and_never_cached() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_000, 1_000);
    let upload = tus.create(content.len()).await;
    for (offset, sent) in [(0, 400), (400, 600)] {
        let head = tus.head(&upload).await.expect(200).with("Upload-Offset", &offset.to_string());
        head.with("Upload-Length", "1000").with("Cache-Control", "no-store");
        let sent_bytes = content[offset..offset + sent].to_vec();
        tus.patch(&upload, offset, sent_bytes).await.expect(204).with("Upload-Offset", &(offset + sent).to_string());
    }
    let head = tus.head(&upload).await.expect(200).with("Upload-Offset", "1000").with("Upload-Length", "1000");
    head.with("Cache-Control", "no-store");
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_head_3_core_patch_8_termination_4_what_is_not_there_or_not_yours_is_404() {
    let stack = Stack::start().await;
    let (owner, stranger) = (Speaker::tus(stack.client()), Speaker::tus(stack.client()));
    let upload = owner.create(10).await;
    for nothing in [format!("/tus/{}", uuid::Uuid::now_v7()), "/tus/nonsense".to_owned(), upload.clone()] {
        let head = stranger.head(&nothing).await.expect(404).without("Upload-Offset");
        head.with("Cache-Control", "no-store");
        stranger.patch(&nothing, 0, "0123456789").await.refused(404, "not_found").without("Upload-Offset");
        stranger.delete(&nothing).await.refused(404, "not_found");
    }
    is_unchanged(&owner, &upload, 0, 10).await;
    owner.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_1_core_patch_1_5_6_7_bytes_are_applied_at_the_offset() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_001, PART + 300_000);
    let upload = tus.create(content.len()).await;
    // Across the boundary of a part, without a length, and without bytes.
    let ends = [1, 200_000, 200_000, PART + 7, content.len()];
    let mut offset = 0;
    for (number, end) in ends.into_iter().enumerate() {
        let piece = &content[offset..end];
        let body = if number == 1 { chunked(piece) } else { Body::from(piece.to_vec()) };
        tus.patch(&upload, offset, body).await.expect(204).with("Upload-Offset", &end.to_string());
        offset = end;
    }
    is_file(&tus, &upload, &content).await;
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_patch_2_cwu_3_another_content_type_is_415() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(3).await;
    let offset = ("Upload-Offset", "0");
    for content_type in ["application/octet-stream", "application/offset", "text/plain"] {
        let headers = [offset, ("Content-Type", content_type)];
        tus.send(Method::PATCH, &upload, &headers, "abc").await.refused(415, "content_type_refused");
    }
    tus.send(Method::PATCH, &upload, &[offset], "abc").await.refused(415, "content_type_refused");
    is_unchanged(&tus, &upload, 0, 3).await;
    tus.delete(&upload).await.expect(204);
    stack.nothing_reserved(tus.client.principal.company_id).await;
    // Bytes of a creation have the same type.
    let length = ("Upload-Length", "3");
    let wrong = [length, ("Content-Type", "application/octet-stream")];
    tus.post(&wrong, "abc").await.refused(415, "content_type_refused").without("Location");
    tus.post(&[length], "abc").await.refused(415, "content_type_refused").without("Location");
    no_space_is_taken(&stack, &tus).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_patch_3_4_another_offset_is_a_conflict_that_changes_nothing() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_002, 1_000);
    let upload = tus.create(1_000).await;
    tus.patch(&upload, 5, "abc").await.refused(409, "offset_mismatch").with("Upload-Offset", "0");
    is_unchanged(&tus, &upload, 0, 1_000).await;
    tus.patch(&upload, 0, content[..600].to_vec()).await.expect(204);
    // Before and after the right offset and past the end; with bytes, without bytes, and with more bytes than the
    // length allows.
    for (offset, length) in [(0, 600), (599, 1), (601, 399), (0, 0), (1_000, 0), (5_000, 10), (300, 1_000)] {
        let refused = tus.patch(&upload, offset, vec![b'x'; length]).await.refused(409, "offset_mismatch");
        refused.with("Upload-Offset", "600");
    }
    tus.patch(&upload, 700, chunked(b"xyz")).await.refused(409, "offset_mismatch").with("Upload-Offset", "600");
    is_unchanged(&tus, &upload, 600, 1_000).await;
    tus.patch(&upload, 600, content[600..].to_vec()).await.expect(204).with("Upload-Offset", "1000");
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_patch_4_another_offset_sets_no_length() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.post(&[DEFERRED], "").await.expect(201).location();
    tus.patch_with(&upload, 5, &[("Upload-Length", "8")], "abc").await.refused(409, "offset_mismatch");
    let head = tus.head(&upload).await.expect(200).with("Upload-Offset", "0");
    head.without("Upload-Length").with("Upload-Defer-Length", "1");
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_patch_3_creation_post_4_numbers_of_any_size_are_numbers() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(10).await;
    for number in ["9223372036854775808", "18446744073709551615", "18446744073709551616", "1000000000000000000000000"] {
        let headers = [("Upload-Offset", number), OCTETS];
        let refused = tus.send(Method::PATCH, &upload, &headers, "abc").await;
        refused.refused(409, "offset_mismatch").with("Upload-Offset", "0");
        tus.post(&[("Upload-Length", number)], "").await.refused(413, "file_too_large").without("Location");
    }
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_patch_1_no_byte_past_the_length_is_taken() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_003, 1_000);
    let upload = tus.create(1_000).await;
    tus.patch(&upload, 0, content[..400].to_vec()).await.expect(204);
    tus.patch(&upload, 400, vec![b'x'; 601]).await.refused(413, "size_exceeded");
    tus.patch(&upload, 400, chunked(&[b'x'; 601])).await.refused(413, "size_exceeded");
    let without = tus.send(Method::PATCH, &upload, &[OCTETS], content[400..].to_vec()).await;
    without.refused(400, "header_missing");
    is_unchanged(&tus, &upload, 400, 1_000).await;
    tus.patch(&upload, 400, content[400..].to_vec()).await.expect(204).with("Upload-Offset", "1000");
    // A client that lost the answer can repeat the request without an effect.
    tus.patch(&upload, 1_000, "").await.expect(204).with("Upload-Offset", "1000");
    tus.patch(&upload, 1_000, "x").await.refused(413, "size_exceeded");
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_patch_9_10_a_stalled_request_is_closed_and_its_bytes_are_kept() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_004, 2_000);
    let upload = tus.create(content.len()).await;
    let mut socket = tus.begin_patch(&upload, 0, 2_000, &content[..1_234]);
    offset_reaches(&tus.client, &upload, 1_234).await;
    // The server waits for 30 s before it closes the connection.
    socket.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    let mut answer = Vec::new();
    let closed = socket.read_to_end(&mut answer);
    let closed =
        closed.map(drop).or_else(|error| if error.kind() == ErrorKind::ConnectionReset { Ok(()) } else { Err(error) });
    closed.expect("the server closes the connection");
    is_unchanged(&tus, &upload, 1_234, 2_000).await;
    tus.patch(&upload, 1_234, content[1_234..].to_vec()).await.expect(204).with("Upload-Offset", "2000");
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_patch_11_what_arrived_of_a_broken_request_is_kept() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_005, PART + 500_000);
    let upload = tus.create(content.len()).await;
    let mut from = 0;
    for sent in [1_234_567, 1, PART - 1_000_000, 77] {
        drop(tus.begin_patch(&upload, from, content.len() - from, &content[from..from + sent]));
        from += sent;
        offset_reaches(&tus.client, &upload, from).await;
        is_unchanged(&tus, &upload, from, content.len()).await;
    }
    // HEAD tells how many bytes of a stalled request arrived. It can be too early for any of them.
    let mut hanging = Vec::new();
    let from: usize = eventually("the offset to grow", || {
        hanging.push(tus.begin_patch(&upload, from, content.len() - from, &content[from..from + 1_000]));
        async {
            let head = tus.head(&upload).await.expect(200);
            head.header("Upload-Offset").unwrap().parse().ok().filter(|offset| *offset > from)
        }
    })
    .await;
    tus.patch(&upload, from, content[from..].to_vec()).await.expect(204);
    drop(hanging);
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}
