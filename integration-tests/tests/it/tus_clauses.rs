//! tus 1.0.0, clause by clause. Each test bears the ids of its clauses; docs/resumable-uploads.md has the table.

use crate::random::{bytes, sha256};
use crate::speaker::{Reply, Speaker, answered, id_of};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use reqwest::{Body, Method, Url};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use waybill_integration_tests::{Client, Options, Stack};
use waybill_object_store::ObjectStore;
use waybill_test_kit::eventually;

const PART: usize = 8 * 1_024 * 1_024;
const OCTETS: (&str, &str) = ("Content-Type", "application/offset+octet-stream");
const DEFERRED: (&str, &str) = ("Upload-Defer-Length", "1");
const PARTIAL: (&str, &str) = ("Upload-Concat", "partial");
/// A version that nobody speaks any more.
const OLD: (&str, &str) = ("Tus-Resumable", "0.2.2");
/// Checksums of `hello world`.
const SUMS: [&str; 4] = [
    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
    "crc32 DUoRhQ==",
    "crc32c yZRlqg==",
];
/// Checksums of something else.
const OTHER_SUMS: [&str; 4] = [
    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu4=",
    "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzeg=",
    "crc32 DUoRhA==",
    "crc32c yZRlqw==",
];

async fn with_args(args: &[&str]) -> Stack {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Stack::with(Options { args, ..Options::default() }).await
}

/// The elements of a comma-separated list.
fn list(reply: &Reply, name: &str) -> Vec<String> {
    let value = reply.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", reply.headers));
    value.split(',').map(|element| element.trim().to_owned()).collect()
}

pub(crate) fn base64(text: &str) -> String {
    BASE64.encode(text)
}

fn sha256_sum(content: &[u8]) -> String {
    format!("sha256 {}", BASE64.encode(Sha256::digest(content)))
}

/// A body whose length is not said.
fn chunked(content: &[u8]) -> Body {
    Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(content.to_vec())]))
}

/// Somebody of no company: the token is none.
fn anonymous(tus: &Speaker) -> Client {
    Client::new(tus.client.url().to_owned(), "nonsense".to_owned(), tus.client.principal.clone())
}

async fn no_space_is_taken(stack: &Stack, tus: &Speaker) {
    assert_eq!(stack.reserved_bytes(tus.client.principal.company_id).await, 0);
}

/// What has arrived by now, without a word to whoever still sends.
async fn offset_reaches(client: &Client, upload: &str, offset: usize) {
    let status = eventually(&format!("the offset to reach {offset}"), || async {
        let status = client.get(&format!("/v1/uploads/{}", id_of(upload))).await.expect(200);
        (status.body["offset_bytes"].as_u64() >= Some(offset as u64)).then_some(status.body)
    })
    .await;
    assert_eq!(status["offset_bytes"], offset, "not a byte more than was sent");
}

/// The upload became this file.
async fn is_file(tus: &Speaker, upload: &str, content: &[u8]) -> Value {
    let file = tus.client.file_with_status(&id_of(upload), "COMPLETED").await;
    assert_eq!(file["hash"], sha256(content));
    assert!(tus.client.content(&id_of(upload)).await == content);
    file
}

/// A partial upload with these bytes.
async fn partial(tus: &Speaker, content: &[u8]) -> String {
    let length = content.len().to_string();
    let upload = tus.post(&[PARTIAL, ("Upload-Length", &length)], "").await.expect(201).location();
    tus.patch(&upload, 0, content.to_vec()).await.expect(204).with("Upload-Offset", &length);
    upload
}

/// A final upload of partial ones.
async fn concat(tus: &Speaker, partials: &[&str]) -> Reply {
    tus.post(&[("Upload-Concat", &format!("final;{}", partials.join(" ")))], "").await
}

/// The offset is still this, and of the length nothing more is known than before.
async fn is_unchanged(tus: &Speaker, upload: &str, offset: usize, length: usize) {
    let head = tus.head(upload).await.expect(200);
    head.with("Upload-Offset", &offset.to_string()).with("Upload-Length", &length.to_string());
}

// Creation, beside the clauses

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
async fn partial_uploads_end_with_their_session_and_count_once() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let session = tus.client.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    let metadata = format!("filename YQ==,session_id {}", BASE64.encode(&session));
    let start = async |length: usize| {
        let length = length.to_string();
        let headers = [PARTIAL, ("Upload-Length", &*length), ("Upload-Metadata", &*metadata)];
        tus.post(&headers, "").await.expect(201).location()
    };
    let left = start(5).await;
    tus.patch(&left, 0, "hello").await.expect(204);
    let concat = format!("final;{left}");
    let headers = [("Upload-Concat", &*concat), ("Upload-Metadata", &*metadata)];
    let whole = tus.post(&headers, "").await.expect(201).location();
    is_file(&tus, &whole, b"hello").await;
    let running = start(5).await;
    tus.client.delete(&format!("/v1/sessions/{session}")).await.expect(204);
    eventually("the partial upload to end", || async { (tus.head(&running).await.status == 404).then_some(()) }).await;
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

// Core

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
    // Across the edge of a part, without a length, and without a byte.
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
    // Before, behind, past the end; with bytes, without, and with more than there is room for.
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
    // Whoever lost the answer may ask again; more does not become of it.
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
    // The server waits for half a minute before it gives up.
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
    // Of one that hangs the client learns what arrived by asking; it may ask before anything did.
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

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_offset_1_core_hdr_length_1_what_is_no_number_is_refused() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(10).await;
    for number in ["-1", "+1", "1.5", "1e3", "0x10", "ten", "1 0", "1, 2", ""] {
        let headers = [("Upload-Offset", number), OCTETS];
        tus.send(Method::PATCH, &upload, &headers, "abc").await.refused(400, "header_invalid");
        tus.post(&[("Upload-Length", number)], "").await.refused(400, "header_invalid").without("Location");
    }
    is_unchanged(&tus, &upload, 0, 10).await;
    tus.delete(&upload).await.expect(204);
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_resumable_1_2_the_version_is_on_every_answer() {
    let stack = with_args(&["--max-file-bytes=1000"]).await;
    let tus = Speaker::tus(stack.client());
    let nobody = Speaker::tus(anonymous(&tus));
    let (upload, gone) = (tus.create(11).await, tus.create(1).await);
    let empty = partial(&tus, b"").await;
    let whole = concat(&tus, &[&empty]).await.expect(201);
    let created = tus.post(&[("Upload-Length", "1")], "").await.expect(201);
    let offset = ("Upload-Offset", "0");
    let answers = [
        tus.options("/tus/", &[]).await.expect(204),
        tus.options(&upload, &[]).await.expect(204),
        tus.head(&upload).await.expect(200),
        tus.delete(&gone).await.expect(204),
        tus.delete(&created.location()).await.expect(204),
        tus.post(&[], "").await.expect(400),
        tus.patch(&upload, 0, "hello").await.expect(204),
        tus.send(Method::PATCH, &upload, &[OCTETS], "x").await.expect(400),
        nobody.head(&upload).await.expect(401),
        nobody.post(&[("Upload-Length", "1")], "").await.expect(401),
        tus.patch(&whole.location(), 0, "").await.expect(403),
        tus.head("/tus/nonsense").await.expect(404),
        tus.send(Method::GET, &upload, &[], "").await.expect(204),
        tus.send(Method::PUT, "/tus/", &[], "").await.expect(405),
        tus.patch(&upload, 0, "hello").await.expect(409),
        tus.head(&gone).await.expect(404),
        tus.send(Method::HEAD, &upload, &[OLD], "").await.expect(412),
        tus.post(&[("Upload-Length", "1001")], "").await.expect(413),
        tus.send(Method::PATCH, &upload, &[offset], "x").await.expect(415),
        tus.patch_with(&upload, 5, &[("Upload-Checksum", OTHER_SUMS[0])], " world").await.expect(460),
        whole,
        created,
    ];
    for answer in answers {
        answer.with("Tus-Resumable", "1.0.0");
    }
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_resumable_3_4_5_another_version_is_412_and_does_nothing() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(10).await;
    let reserved = stack.reserved_bytes(tus.client.principal.company_id).await;
    for version in ["0.2.2", "1.0", "1.0.1", "2.0.0", "nonsense"] {
        let version = ("Tus-Resumable", version);
        let answers = [
            tus.send(Method::HEAD, &upload, &[version], "").await.without("Upload-Offset"),
            tus.patch_with(&upload, 0, &[version], "0123456789").await.refused(412, "version_refused"),
            tus.send(Method::DELETE, &upload, &[version], "").await.refused(412, "version_refused"),
            tus.post(&[version, ("Upload-Length", "1")], "").await.refused(412, "version_refused").without("Location"),
        ];
        for answer in answers {
            answer.expect(412).with("Tus-Version", "1.0.0").with("Tus-Resumable", "1.0.0");
        }
    }
    // What names no version, and is of no other protocol, is none that is spoken here.
    let plain = Speaker::plain(tus.client.clone());
    plain.patch(&upload, 0, "0123456789").await.refused(412, "version_refused").with("Tus-Version", "1.0.0");
    plain.post(&[("Upload-Length", "1")], "").await.refused(412, "version_refused").without("Location");
    is_unchanged(&tus, &upload, 0, 10).await;
    assert_eq!(stack.reserved_bytes(tus.client.principal.company_id).await, reserved);
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_resumable_3_the_version_is_looked_at_first() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let nobody = Speaker::tus(anonymous(&tus));
    nobody.post(&[OLD], "").await.refused(412, "version_refused").with("Tus-Version", "1.0.0");
    let strange = tus.post(&[OLD, ("X-HTTP-Method-Override", "NONSENSE")], "").await;
    strange.refused(412, "version_refused").with("Tus-Version", "1.0.0");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_override_1_2_the_method_in_the_header_is_the_one() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_006, 40);
    let upload = tus.create(content.len()).await;
    let patch = ("X-HTTP-Method-Override", "PATCH");
    // Whatever the request's own method would have done.
    for (number, method) in [Method::POST, Method::PUT, Method::GET, Method::DELETE].into_iter().enumerate() {
        let (from, to) = (number * 10, (number + 1) * 10);
        let headers = [patch, OCTETS, ("Upload-Offset", &from.to_string())];
        let answer = tus.send(method, &upload, &headers, content[from..to].to_vec()).await;
        answer.expect(204).with("Upload-Offset", &to.to_string());
    }
    is_file(&tus, &upload, &content).await;
    let head = tus.send(Method::POST, &upload, &[("X-HTTP-Method-Override", "HEAD")], "").await;
    head.expect(200).with("Upload-Offset", "40");
    let delete = ("X-HTTP-Method-Override", "DELETE");
    for method in [Method::POST, Method::PATCH] {
        let upload = tus.create(10).await;
        let headers = [delete, OCTETS, ("Upload-Offset", "0")];
        tus.send(method, &upload, &headers, "0123456789").await.expect(204).without("Upload-Offset");
        tus.head(&upload).await.expect(404);
    }
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_override_1_2_options_is_a_method_too() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(10).await;
    let meant = tus.send(Method::POST, "/tus/", &[("X-HTTP-Method-Override", "OPTIONS")], "").await;
    assert!(matches!(meant.status, 200 | 204), "{meant:?}");
    meant.with("Tus-Version", "1.0.0");
    let head = tus.send(Method::OPTIONS, &upload, &[("X-HTTP-Method-Override", "HEAD")], "").await;
    head.expect(200).with("Upload-Offset", "0");
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_options_1_2_3_core_hdr_version_1_2_core_hdr_maxsize_1_2_options_tells_versions_and_limits() {
    let stack = with_args(&["--max-file-bytes=123456"]).await;
    let tus = Speaker::tus(stack.client());
    let (nobody, plain) = (Speaker::tus(anonymous(&tus)), Speaker::plain(tus.client.clone()));
    let upload = tus.create(10).await;
    let answers = [
        tus.options("/tus/", &[]).await,
        tus.options(&upload, &[]).await,
        // A client asks before it knows a version, or has a token.
        plain.options("/tus/", &[]).await,
        nobody.options("/tus/", &[]).await,
        tus.options("/tus/", &[OLD]).await,
        tus.options("/tus/", &[("Tus-Resumable", "nonsense")]).await,
    ];
    for answer in answers {
        assert!(matches!(answer.status, 200 | 204), "{answer:?}");
        assert_eq!(list(&answer, "Tus-Version"), ["1.0.0"], "the preferred one first");
        answer.with("Tus-Max-Size", "123456");
    }
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

/// Of those that are announced the tests below are the proof; two more there are, and they are not spoken.
#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_extension_1_ext_1_creation_1_2_creation_defer_6_cwu_1_2_expiration_2_checksum_1_9_termination_1_concat_1_7_are_announced()
 {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let options = tus.options("/tus/", &[]).await;
    let announced = list(&options, "Tus-Extension");
    let all = [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "termination",
        "concatenation",
    ];
    let (found, wanted) = (announced.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(all));
    assert_eq!(found, wanted, "neither checksum-trailer nor concatenation-unfinished");
    assert_eq!(announced.len(), all.len(), "each once");
    stack.finish().await;
}

// Creation

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
        assert!(seen.insert(upload), "each creation makes an upload of its own");
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
    // What is not known at the start is found out later.
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
    // With the first bytes, with the last ones, after them.
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
    // Nothing at all is a length, too.
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
    // Less than there is already.
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
        // The same again is no change.
        tus.patch_with(&upload, 5, &[("Upload-Length", "11")], " world").await.expect(204);
        is_file(&tus, &upload, b"hello world").await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_1_5_8_pairs_are_understood_and_given_back_as_they_came() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let (name, kind) = (base64("Ünïcode name.png"), base64("image/png"));
    let headers = [
        // In the middle, at the end, with a space and without; and a space after a comma.
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
async fn metadata_1_8_no_pair_is_no_header() {
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
    // Good metadata of a file that is not taken.
    create(&format!("filetype {}", base64("application/x-msdownload"))).await.refused(415, "type_refused");
    create(&format!("filename {}", base64("../a"))).await.refused(422, "name_invalid");
    create(&format!("a {}", base64(&"x".repeat(9_000)))).await.refused(413, "metadata_too_large");
    no_space_is_taken(&stack, &tus).await;
    stack.finish().await;
}

/// A key should be ASCII, but need not be; so it is given back, or refused, and never just lost.
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
    assert!(!disposition.contains("x=\"b"), "a quotation mark does not end the name: {disposition}");
    stack.finish().await;
}

// Creation With Upload

#[tokio::test(flavor = "multi_thread")]
async fn cwu_3_5_6_the_first_bytes_may_come_with_the_creation() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_008, 1_000);
    let sum = sha256_sum(&content[..400]);
    // Some, all, with a checksum, without a length of the body, without one of the file.
    for (length, sent, sum) in [("1000", 400, None), ("1000", 1_000, None), ("1000", 400, Some(&sum)), ("", 400, None)]
    {
        let mut headers = vec![OCTETS, if length.is_empty() { DEFERRED } else { ("Upload-Length", length) }];
        headers.extend(sum.map(|sum| ("Upload-Checksum", sum.as_str())));
        let body = if length.is_empty() { chunked(&content[..sent]) } else { Body::from(content[..sent].to_vec()) };
        let created = tus.post(&headers, body).await.expect(201).with("Upload-Offset", &sent.to_string());
        let upload = created.location();
        tus.head(&upload).await.expect(200).with("Upload-Offset", &sent.to_string());
        if sent < content.len() {
            let rest = content[sent..].to_vec();
            tus.patch_with(&upload, sent, &[("Upload-Length", "1000")], rest).await.expect(204);
        }
        is_file(&tus, &upload, &content).await;
    }
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cwu_3_checksum_4_5_bytes_of_a_creation_are_checked_like_those_of_a_patch() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let length = ("Upload-Length", "11");
    let sum = |sum| ("Upload-Checksum", sum);
    tus.post(&[OCTETS, length, sum("md5 XrY7u+Ae7tCTyyK7j1rNww==")], "hello world")
        .await
        .refused(400, "checksum_invalid");
    tus.post(&[OCTETS, length], "hello world!").await.refused(413, "size_exceeded");
    let refused = tus.post(&[OCTETS, length, sum(OTHER_SUMS[0])], "hello world").await.refused(460, "digest_mismatch");
    // The upload is there, and has none of the bytes.
    let upload = refused.json()["upload_url"].as_str().unwrap().to_owned();
    is_unchanged(&tus, &upload, 0, 11).await;
    tus.patch_with(&upload, 0, &[sum(SUMS[0])], "hello world").await.expect(204);
    is_file(&tus, &upload, b"hello world").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cwu_4_what_arrived_of_a_broken_creation_is_kept() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_009, 1_000_000);
    let headers = [OCTETS, ("Upload-Length", "1000000")];
    drop(tus.begin("POST", "/tus/", &headers, content.len(), &content[..123_456]));
    let upload = eventually("the upload to be there", || async {
        let files = tus.client.get("/v1/files?status=PENDING").await.expect(200);
        files.body["items"][0]["id"].as_str().map(|id| format!("/tus/{id}"))
    })
    .await;
    offset_reaches(&tus.client, &upload, 123_456).await;
    is_unchanged(&tus, &upload, 123_456, 1_000_000).await;
    tus.patch(&upload, 123_456, content[123_456..].to_vec()).await.expect(204);
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}

/// tus has no word for how a client finds an upload whose creation broke before its answer; Waybill has
/// `Idempotency-Key`.
#[tokio::test(flavor = "multi_thread")]
async fn cwu_4_a_broken_creation_is_found_again_by_its_key() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let key = ("Idempotency-Key", "mine");
    let first = tus.post(&[key, ("Upload-Length", "11")], "").await.expect(201).location();
    tus.patch(&first, 0, "hello").await.expect(204);
    let again = tus.post(&[key, ("Upload-Length", "11")], "").await.expect(201).location();
    assert_eq!(first, again);
    tus.post(&[key, ("Upload-Length", "12")], "").await.refused(422, "idempotency_key_reused");
    tus.patch(&again, 5, " world").await.expect(204);
    is_file(&tus, &again, b"hello world").await;
    stack.finish().await;
}

/// What the server answers with after its head is there, besides `100 Continue`.
fn final_answer(socket: &mut TcpStream) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let first = answered(socket);
    if first.starts_with("HTTP/1.1 100") { answered(socket) } else { first }
}

#[tokio::test(flavor = "multi_thread")]
async fn cwu_7_who_waits_to_be_told_is_refused_before_the_first_byte() {
    let stack = with_args(&["--max-file-bytes=1000"]).await;
    let tus = Speaker::tus(stack.client());
    let expect = ("Expect", "100-continue");
    let mut too_long = tus.begin("POST", "/tus/", &[expect, OCTETS, ("Upload-Length", "1001")], 1_001, b"");
    assert!(final_answer(&mut too_long).starts_with("HTTP/1.1 413"));
    let mut wrong = tus.begin("POST", "/tus/", &[expect, ("Upload-Length", "10")], 10, b"");
    assert!(final_answer(&mut wrong).starts_with("HTTP/1.1 415"));
    let upload = tus.create(10).await;
    let mut elsewhere = tus.begin("PATCH", &upload, &[expect, OCTETS, ("Upload-Offset", "5")], 5, b"");
    assert!(final_answer(&mut elsewhere).starts_with("HTTP/1.1 409"));
    // And who is not refused is told to go on.
    let mut taken = tus.begin("PATCH", &upload, &[expect, OCTETS, ("Upload-Offset", "0")], 5, b"");
    taken.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(answered(&mut taken).starts_with("HTTP/1.1 100"));
    std::io::Write::write_all(&mut taken, b"hello").unwrap();
    assert!(answered(&mut taken).starts_with("HTTP/1.1 204"));
    is_unchanged(&tus, &upload, 5, 10).await;
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

// Expiration

/// A time as HTTP has it (IMF-fixdate, RFC 9110 §5.6.7), of one of RFC 3339 in UTC.
fn imf_fixdate(time: &str) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const SHIFTS: [usize; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    let number = |range: std::ops::Range<usize>| time[range].parse::<usize>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let counted = if month < 3 { year - 1 } else { year };
    let weekday = (counted + counted / 4 - counted / 100 + counted / 400 + SHIFTS[month - 1] + day) % 7;
    format!("{}, {day:02} {} {year} {} GMT", DAYS[weekday], MONTHS[month - 1], &time[11..19])
}

async fn expires(client: &Client, upload: &str) -> String {
    let status = client.get(&format!("/v1/uploads/{}", id_of(upload))).await.expect(200);
    imf_fixdate(&status.text("expires_at"))
}

#[tokio::test(flavor = "multi_thread")]
async fn expiration_3_4_8_until_when_is_said_to_whoever_creates_and_continues() {
    assert_eq!(imf_fixdate("2014-06-25T16:00:00.000Z"), "Wed, 25 Jun 2014 16:00:00 GMT");
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    for more in [vec![("Upload-Length", "11")], vec![DEFERRED], vec![PARTIAL, ("Upload-Length", "11")]] {
        let created = tus.post(&more, "").await.expect(201);
        let upload = created.location();
        let time = expires(&tus.client, &upload).await;
        created.with("Upload-Expires", &time);
        tus.patch(&upload, 0, "hello").await.expect(204).with("Upload-Expires", &time);
        tus.head(&upload).await.expect(200).with("Upload-Expires", &time);
        tus.patch(&upload, 5, "").await.expect(204).with("Upload-Expires", &time);
        tus.delete(&upload).await.expect(204);
    }
    let created = tus.post(&[OCTETS, ("Upload-Length", "11")], "hello").await.expect(201);
    let upload = created.location();
    created.with("Upload-Expires", &expires(&tus.client, &upload).await);
    // What is complete does not expire.
    tus.patch(&upload, 5, " world").await.expect(204).without("Upload-Expires");
    is_file(&tus, &upload, b"hello world").await;
    tus.head(&upload).await.expect(200).without("Upload-Expires");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expiration_3_until_when_is_said_with_refusals_of_a_patch_too() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(11).await;
    let time = expires(&tus.client, &upload).await;
    let refused = tus.patch(&upload, 5, "abc").await.refused(409, "offset_mismatch");
    let mismatch = tus.patch_with(&upload, 0, &[("Upload-Checksum", OTHER_SUMS[0])], "hello world").await;
    let mismatch = mismatch.refused(460, "digest_mismatch");
    tus.delete(&upload).await.expect(204);
    refused.with("Upload-Expires", &time);
    mismatch.with("Upload-Expires", &time);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expiration_1_6_7_what_was_not_continued_in_time_is_gone() {
    let stack = with_args(&["--upload-lifetime-s=4", "--expiry-grace-s=0", "--worker-sweep-ms=200"]).await;
    let tus = Speaker::tus(stack.client());
    let kept = tus.post(&[OCTETS, ("Upload-Length", "5")], "hello").await.expect(201).location();
    let begun = tus.create(PART * 2).await;
    tus.patch(&begun, 0, vec![1; 1_000]).await.expect(204);
    let open = tus.post(&[DEFERRED], "").await.expect(201).location();
    let part = partial(&tus, b"hello").await;
    for (upload, offset) in [(&begun, 1_000), (&open, 0), (&part, 5)] {
        let head = eventually("an upload to expire", || async {
            let head = tus.head(upload).await;
            (head.status != 200).then_some(head)
        });
        head.await.expect(404).without("Upload-Offset");
        let status = eventually("an expired upload to be cleaned up", || async {
            let status = tus.client.get(&format!("/v1/uploads/{}", id_of(upload))).await.expect(200);
            (status.body["error_code"] == "upload_expired").then_some(status)
        });
        assert_eq!(status.await.body["status"], "FAILED");
        // It is known that it was there, and stays known.
        tus.head(upload).await.expect(404).without("Upload-Offset");
        tus.patch(upload, offset, "x").await.refused(410, "upload_ended").without("Upload-Offset");
        tus.patch(upload, offset, "").await.refused(410, "upload_ended").without("Upload-Offset");
    }
    concat(&tus, &[&part]).await.refused(410, "upload_ended");
    let company = tus.client.principal.company_id;
    stack.nothing_reserved(company).await;
    eventually("what was stored to be deleted", || async {
        stack.store().list(&format!("s/{company}/")).await.unwrap().is_empty().then_some(())
    })
    .await;
    // Only what is unfinished expires.
    is_unchanged(&tus, &kept, 5, 5).await;
    is_file(&tus, &kept, b"hello").await;
    stack.finish().await;
}

// Checksum

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
        let sum = SUMS.into_iter().find(|sum| sum.split(' ').next() == Some(algorithm)).expect("it is known here");
        let upload = tus.create(22).await;
        tus.patch_with(&upload, 0, &[("Upload-Checksum", sum)], "hello world")
            .await
            .expect(204)
            .with("Upload-Offset", "11");
        // It is of the request's bytes, not of the file's.
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
    // More than is checked in memory: none of it counts, none of it stays.
    let content = bytes(1_010, 2 * PART + 1_000);
    let upload = tus.create(content.len()).await;
    let (right, wrong) = (sha256_sum(&content), sha256_sum(b"another"));
    let refused = tus.patch_with(&upload, 0, &[("Upload-Checksum", &wrong)], content.clone()).await;
    refused.refused(460, "digest_mismatch");
    is_unchanged(&tus, &upload, 0, content.len()).await;
    let staged = format!("s/{}/", tus.client.principal.company_id);
    assert!(stack.store().list(&staged).await.unwrap().is_empty(), "what does not count is deleted");
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

/// Where core-patch-11 and checksum-5 meet: a body that broke has no checksum that could be wrong. What came of it is
/// kept, and the digest of the file decides.
#[tokio::test(flavor = "multi_thread")]
async fn checksum_5_core_patch_11_what_arrived_of_a_broken_request_with_a_checksum_is_kept() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_011, PART + 100_000);
    let upload = tus.create(content.len()).await;
    // Within one part, and over two.
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

// Termination

#[tokio::test(flavor = "multi_thread")]
async fn termination_2_3_4_an_unfinished_upload_is_ended_and_leaves_nothing() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_012, PART + 1_000);
    let begun = tus.create(2 * PART).await;
    tus.patch(&begun, 0, content.clone()).await.expect(204);
    let (empty, open) = (tus.create(10).await, tus.post(&[DEFERRED], "").await.expect(201).location());
    let part = partial(&tus, &content).await;
    for (upload, offset) in [(&begun, content.len()), (&empty, 0), (&open, 0), (&part, content.len())] {
        tus.delete(upload).await.expect(204);
        tus.head(upload).await.expect(404).without("Upload-Offset");
        tus.patch(upload, offset, "x").await.refused(410, "upload_ended").without("Upload-Offset");
        tus.patch(upload, offset, "").await.refused(410, "upload_ended").without("Upload-Offset");
    }
    concat(&tus, &[&part]).await.refused(410, "upload_ended");
    let company = tus.client.principal.company_id;
    stack.nothing_reserved(company).await;
    eventually("what was stored to be deleted", || async {
        stack.store().list(&format!("s/{company}/")).await.unwrap().is_empty().then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_2_a_request_that_still_brings_bytes_is_ended_with_its_upload() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(1_000).await;
    let hanging = tus.begin_patch(&upload, 0, 1_000, &[1; 500]);
    offset_reaches(&tus.client, &upload, 500).await;
    tus.delete(&upload).await.expect(204);
    tus.head(&upload).await.expect(404);
    drop(hanging);
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_3_4_5_a_complete_upload_is_ended_with_its_file() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.post(&[OCTETS, ("Upload-Length", "5")], "hello").await.expect(201).location();
    is_file(&tus, &upload, b"hello").await;
    tus.delete(&upload).await.expect(204);
    tus.head(&upload).await.expect(404).without("Upload-Offset");
    let part = partial(&tus, b"hello").await;
    let whole = concat(&tus, &[&part]).await.expect(201).location();
    is_file(&tus, &whole, b"hello").await;
    tus.delete(&whole).await.expect(204);
    tus.head(&whole).await.expect(404).without("Upload-Offset");
    for upload in [upload, whole] {
        eventually("the file to be gone", || async {
            let content = tus.client.get(&format!("/v1/files/{}/content", id_of(&upload))).await;
            matches!(content.status, 404 | 410).then_some(())
        })
        .await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_4_what_was_ended_is_gone_whatever_offset_is_said() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let (begun, open) = (tus.create(10).await, tus.post(&[DEFERRED], "").await.expect(201).location());
    for upload in [begun, open] {
        tus.patch(&upload, 0, "hello").await.expect(204);
        tus.delete(&upload).await.expect(204);
        for (offset, body) in [(0, ""), (7, ""), (0, "hello"), (7, "x"), (0, "more than there is room for")] {
            let patched = tus.patch(&upload, offset, body).await;
            assert!(matches!(patched.status, 404 | 410), "{patched:?}");
            patched.without("Upload-Offset");
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_4_what_was_ended_cannot_be_ended_again() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let begun = tus.create(10).await;
    let whole = tus.post(&[OCTETS, ("Upload-Length", "5")], "hello").await.expect(201).location();
    is_file(&tus, &whole, b"hello").await;
    for upload in [begun, whole] {
        tus.delete(&upload).await.expect(204);
        let again = tus.delete(&upload).await;
        assert!(matches!(again.status, 404 | 410), "{again:?}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_4_what_was_ended_when_complete_takes_no_patch() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.post(&[OCTETS, ("Upload-Length", "5")], "hello").await.expect(201).location();
    is_file(&tus, &upload, b"hello").await;
    tus.delete(&upload).await.expect(204);
    for (offset, body) in [(5, ""), (5, "x"), (0, "hello")] {
        let patched = tus.patch(&upload, offset, body).await;
        assert!(matches!(patched.status, 404 | 410), "{patched:?}");
    }
    stack.finish().await;
}

// Concatenation

#[tokio::test(flavor = "multi_thread")]
async fn concat_3_5_6_14_a_final_upload_has_the_bytes_of_its_partial_ones_in_the_order_of_the_list() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_013, 2 * PART + 3_000);
    // Made in another order than they are joined; one is empty, one has more than a part.
    let ranges = [0..1_000, 1_000..PART + 2_000, PART + 2_000..PART + 2_000, PART + 2_000..content.len()];
    let mut partials = Vec::new();
    for number in [3, 1, 0, 2] {
        partials.push((number, partial(&tus, &content[ranges[number].clone()]).await));
    }
    partials.sort();
    let partials: Vec<&str> = partials.iter().map(|(_, upload)| upload.as_str()).collect();
    let upload = concat(&tus, &partials).await.expect(201).location();
    is_file(&tus, &upload, &content).await;
    is_unchanged(&tus, &upload, content.len(), content.len()).await;
    tus.head(&upload).await.expect(200).without("Upload-Defer-Length").without("Upload-Expires");
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_15_16_17_18_19_urls_of_any_kind_are_taken_and_given_back_as_they_came() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let started = tus.post(&[PARTIAL, ("Upload-Length", "6")], "").await.expect(201).location();
    let head = tus.head(&started).await.expect(200).with("Upload-Concat", "partial");
    head.with("Upload-Offset", "0").with("Upload-Length", "6");
    tus.patch(&started, 0, "hello ").await.expect(204);
    let deferred = tus.post(&[PARTIAL, DEFERRED], "").await.expect(201).location();
    let head = tus.head(&deferred).await.expect(200).with("Upload-Concat", "partial");
    head.with("Upload-Offset", "0").with("Upload-Defer-Length", "1").without("Upload-Length");
    tus.patch_with(&deferred, 0, &[("Upload-Length", "5")], "world").await.expect(204);
    for upload in [&started, &deferred] {
        tus.head(upload).await.expect(200).with("Upload-Concat", "partial");
    }
    let with_bytes = tus.post(&[OCTETS, PARTIAL, ("Upload-Length", "1")], "!").await.expect(201).location();
    let header = format!("final;{started} {}{deferred} {}", stack.url(), id_of(&with_bytes));
    let upload = tus.post(&[("Upload-Concat", &header)], "").await.expect(201).location();
    is_file(&tus, &upload, b"hello world!").await;
    tus.head(&upload).await.expect(200).with("Upload-Concat", &header).with("Upload-Length", "12");
    // Of what is neither the one nor the other nothing is said.
    let usual = tus.create(1).await;
    tus.head(&usual).await.expect(200).without("Upload-Concat");
    tus.delete(&usual).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_18_the_answer_to_a_creation_says_what_it_made() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let part = tus.post(&[OCTETS, PARTIAL, ("Upload-Length", "5")], "hello").await.expect(201);
    let header = format!("final;{}", part.location());
    let whole = tus.post(&[("Upload-Concat", &header)], "").await.expect(201);
    is_file(&tus, &whole.location(), b"hello").await;
    part.with("Upload-Concat", "partial");
    whole.with("Upload-Concat", &header);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_2_a_partial_upload_is_no_file() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let part = partial(&tus, b"hello").await;
    let status = tus.client.get(&format!("/v1/uploads/{}", id_of(&part))).await.expect(200);
    assert_eq!((&status.body["status"], &status.body["offset_bytes"]), (&json!("UPLOADING"), &json!(5)));
    let complete = format!("/v1/uploads/{}/complete", id_of(&part));
    tus.client.post(&complete, &json!({})).await.refused(409, "partial_unfit");
    stack.projected().await;
    tus.client.get(&format!("/v1/files/{}", id_of(&part))).await.refused(404, "not_found");
    for status in ["PENDING", "PROCESSING", "COMPLETED", "FAILED"] {
        let files = tus.client.get(&format!("/v1/files?status={status}")).await.expect(200);
        assert_eq!(files.body["items"], json!([]), "{status}");
    }
    tus.delete(&part).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_4_what_is_no_list_is_refused() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let part = partial(&tus, b"hello").await;
    for value in ["", "final", "Partial", "partials", "final,", "nonsense"] {
        let headers = [("Upload-Concat", value), ("Upload-Length", "5")];
        tus.post(&headers, "").await.refused(400, "header_invalid").without("Location");
    }
    for value in ["final;".to_owned(), "final; ".to_owned(), format!("final {part}"), format!("final:{part}")] {
        tus.post(&[("Upload-Concat", &value)], "").await.refused(400, "header_invalid").without("Location");
    }
    let headers = [("Upload-Concat", &*format!("final;{part}")), ("Upload-Length", "5")];
    tus.post(&headers, "").await.refused(400, "header_invalid").without("Location");
    is_unchanged(&tus, &part, 5, 5).await;
    tus.delete(&part).await.expect(204);
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_7_partial_uploads_are_joined_only_when_they_are_complete() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let done = partial(&tus, b"hello ").await;
    let begun = tus.post(&[PARTIAL, ("Upload-Length", "5")], "").await.expect(201).location();
    let open = tus.post(&[PARTIAL, DEFERRED], "").await.expect(201).location();
    tus.patch(&begun, 0, "wor").await.expect(204);
    tus.patch(&open, 0, "!").await.expect(204);
    concat(&tus, &[&done, &begun]).await.refused(409, "partial_unfit").without("Location");
    concat(&tus, &[&done, &open]).await.refused(409, "partial_unfit").without("Location");
    // All of them can still be continued, and be used.
    tus.patch(&begun, 3, "ld").await.expect(204);
    tus.patch_with(&open, 1, &[("Upload-Length", "2")], "!").await.expect(204);
    let upload = concat(&tus, &[&done, &begun, &open]).await.expect(201).location();
    is_file(&tus, &upload, b"hello world!!").await;
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

/// All bytes of a partial upload are there when its length is said.
async fn is_joined_when_its_length_came_last(content: Vec<u8>) {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let part = tus.post(&[PARTIAL, DEFERRED], "").await.expect(201).location();
    tus.patch(&part, 0, content.clone()).await.expect(204);
    let length = content.len().to_string();
    tus.patch_with(&part, content.len(), &[("Upload-Length", &length)], "").await.expect(204);
    let upload = concat(&tus, &[&part]).await.expect(201).location();
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_3_5_creation_defer_4_a_partial_upload_whose_length_came_last_is_joined() {
    is_joined_when_its_length_came_last(bytes(1_015, 5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_3_5_creation_defer_4_a_long_partial_upload_whose_length_came_last_is_joined() {
    is_joined_when_its_length_came_last(bytes(1_016, PART + 5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_4_own_only_partial_uploads_of_ones_own_are_joined() {
    let stack = Stack::start().await;
    let (tus, stranger) = (Speaker::tus(stack.client()), Speaker::tus(stack.client()));
    let part = partial(&tus, b"hello").await;
    let theirs = partial(&stranger, b"secret").await;
    let usual = tus.create(5).await;
    let whole = {
        let part = partial(&tus, b"hello").await;
        concat(&tus, &[&part]).await.expect(201).location()
    };
    is_file(&tus, &whole, b"hello").await;
    let nothing = format!("/tus/{}", uuid::Uuid::now_v7());
    concat(&tus, &[&part, &theirs]).await.refused(404, "not_found").without("Location");
    concat(&tus, &[&part, &nothing]).await.refused(404, "not_found").without("Location");
    concat(&tus, &[&part, "/tus/nonsense"]).await.refused(404, "not_found").without("Location");
    concat(&tus, &[&part, &usual]).await.refused(409, "partial_unfit").without("Location");
    let of_final = concat(&tus, &[&part, &whole]).await.without("Location");
    assert_eq!(of_final.status, 409, "{of_final:?}");
    let colleague = Speaker::tus(stack.client_for(tus.client.principal.company_id, &[]));
    concat(&colleague, &[&part]).await.refused(404, "not_found").without("Location");
    is_unchanged(&tus, &part, 5, 5).await;
    is_unchanged(&stranger, &theirs, 6, 6).await;
    for (speaker, upload) in [(&tus, &part), (&tus, &usual), (&stranger, &theirs)] {
        speaker.delete(upload).await.expect(204);
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_8_metadata_of_partial_uploads_is_not_that_of_the_final_one() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let of_part = format!("filename {},colour {}", base64("part.txt"), base64("red"));
    let make = async || {
        let headers = [OCTETS, PARTIAL, ("Upload-Length", "5"), ("Upload-Metadata", &of_part)];
        tus.post(&headers, "hello").await.expect(201).location()
    };
    let bare = concat(&tus, &[&make().await]).await.expect(201).location();
    tus.head(&bare).await.expect(200).without("Upload-Metadata");
    let file = is_file(&tus, &bare, b"hello").await;
    assert_ne!(file["original_name"], "part.txt");
    assert!(!file["metadata"].to_string().contains("red"), "{file}");
    let of_whole = format!("filename {}", base64("whole.txt"));
    let header = format!("final;{}", make().await);
    let headers = [("Upload-Concat", &*header), ("Upload-Metadata", &of_whole)];
    let named = tus.post(&headers, "").await.expect(201).location();
    tus.head(&named).await.expect(200).with("Upload-Metadata", &of_whole);
    assert_eq!(is_file(&tus, &named, b"hello").await["original_name"], "whole.txt");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_9_10_a_partial_upload_may_come_twice_in_one_list_and_is_used_up_by_it() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let (ha, end) = (partial(&tus, b"ha").await, partial(&tus, b"!").await);
    let upload = concat(&tus, &[&ha, &ha, &end]).await.expect(201).location();
    is_file(&tus, &upload, b"haha!").await;
    stack.nothing_reserved(tus.client.principal.company_id).await;
    let quota = eventually("the quota to be projected", || async {
        let quota = tus.client.get("/v1/quota").await.expect(200).body;
        (quota["storage_used_bytes"] == 5).then_some(quota)
    });
    assert_eq!(quota.await["file_count"], 1, "a partial upload takes no space of its own any more");
    let company = tus.client.principal.company_id;
    for part in [&ha, &end] {
        let objects = waybill_schema::names::objects_prefix(company, id_of(part).parse().unwrap());
        eventually("what a partial upload stored to be deleted", || async {
            stack.store().list(&objects).await.unwrap().is_empty().then_some(())
        })
        .await;
    }
    let objects = waybill_schema::names::objects_prefix(company, id_of(&upload).parse().unwrap());
    assert_eq!(stack.store().list(&objects).await.unwrap().len(), 1, "the file itself is there");
    // Whoever lost the answer asks again, and gets the same; another file cannot be made of them.
    assert_eq!(concat(&tus, &[&ha, &ha, &end]).await.expect(201).location(), upload);
    concat(&tus, &[&end, &ha]).await.refused(409, "partial_unfit").without("Location");
    tus.patch(&ha, 2, "x").await.refused(410, "upload_ended");
    is_file(&tus, &upload, b"haha!").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_10_own_a_partial_upload_that_comes_twice_takes_its_space_twice() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let company = tus.client.principal.company_id;
    let put = tus.client.request(Method::PUT, &format!("/v1/admin/companies/{company}/quota"));
    tus.client.send(put.json(&json!({ "storage_limit_bytes": 2_500 }))).await.expect(200);
    let (part, other) = (partial(&tus, &[1; 1_000]).await, tus.create(1_000).await);
    concat(&tus, &[&part, &part]).await.refused(413, "quota_exceeded").without("Location");
    let upload = concat(&tus, &[&part]).await.expect(201).location();
    is_file(&tus, &upload, &[1; 1_000]).await;
    tus.delete(&other).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_9_termination_3_4_a_partial_upload_that_was_used_is_there_or_gone() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let part = partial(&tus, b"hello").await;
    let upload = concat(&tus, &[&part]).await.expect(201).location();
    is_file(&tus, &upload, b"hello").await;
    let (head, delete) = (tus.head(&part).await, tus.delete(&part).await);
    match head.status {
        200 => {
            head.with("Upload-Offset", "5").with("Upload-Length", "5").with("Upload-Concat", "partial");
            delete.expect(204);
        }
        _ => {
            let gone = [404, 410];
            assert!(gone.contains(&head.status) && gone.contains(&delete.status), "{head:?} {delete:?}");
        }
    }
    is_file(&tus, &upload, b"hello").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_11_12_a_final_upload_takes_no_bytes() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let parts = [partial(&tus, b"hello ").await, partial(&tus, b"world").await];
    let upload = concat(&tus, &[&parts[0], &parts[1]]).await.expect(201).location();
    let before = [tus.head(&parts[0]).await, tus.head(&parts[1]).await];
    for (offset, body) in [(0, "x"), (0, ""), (11, "x"), (11, ""), (5, "x")] {
        tus.patch(&upload, offset, body).await.refused(403, "upload_kind");
    }
    tus.patch_with(&upload, 11, &[("Upload-Length", "12")], "x").await.refused(403, "upload_kind");
    is_unchanged(&tus, &upload, 11, 11).await;
    is_file(&tus, &upload, b"hello world").await;
    for (part, before) in parts.iter().zip(before) {
        let after = tus.head(part).await.expect(before.status);
        assert_eq!(after.header("Upload-Offset"), before.header("Upload-Offset"));
    }
    stack.finish().await;
}

/// A final upload has no offset before it has all bytes, and then one that is its length.
fn has_no_offset_but_its_length(head: Reply, length: usize) -> bool {
    let length = length.to_string();
    let head = head.expect(200).with("Upload-Length", &length);
    head.header("Upload-Offset").inspect(|offset| assert_eq!(*offset, length)).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_13_14_16_a_final_upload_has_no_offset_until_it_is_done() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_014, 3 * PART);
    let parts = [partial(&tus, &content[..PART + 1]).await, partial(&tus, &content[PART + 1..]).await];
    let is_made = AtomicBool::new(false);
    let make = async {
        let made = concat(&tus, &[&parts[0], &parts[1]]).await;
        is_made.store(true, Ordering::Relaxed);
        made.expect(201).location()
    };
    // While it is made it can be seen among the files.
    let watch = async {
        while !is_made.load(Ordering::Relaxed) {
            for status in ["PENDING", "PROCESSING"] {
                let files = tus.client.get(&format!("/v1/files?status={status}")).await.expect(200);
                for file in files.body["items"].as_array().unwrap() {
                    let upload = format!("/tus/{}", file["id"].as_str().unwrap());
                    has_no_offset_but_its_length(tus.head(&upload).await, content.len());
                }
            }
        }
    };
    let (upload, ()) = tokio::join!(make, watch);
    eventually("the final upload to be done", || async {
        has_no_offset_but_its_length(tus.head(&upload).await, content.len()).then_some(())
    })
    .await;
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}
