//! tus 1.0.0, clause by clause, in one file per extension. The name of a test begins with the ids of its clauses;
//! docs/resumable-uploads.md has the table.

mod checksum;
mod concatenation;
mod core_protocol;
mod creation;
mod creation_with_upload;
mod expiration;
mod headers;
mod metadata;
mod termination;

use crate::random::sha256;
use crate::speaker::{Reply, Speaker, id_of};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use reqwest::Body;
use serde_json::Value;
use sha2::{Digest, Sha256};
use waybill_integration_tests::{Client, Options, Stack};
use waybill_test_kit::eventually;

const PART: usize = 8 * 1_024 * 1_024;
const OCTETS: (&str, &str) = ("Content-Type", "application/offset+octet-stream");
const DEFERRED: (&str, &str) = ("Upload-Defer-Length", "1");
const PARTIAL: (&str, &str) = ("Upload-Concat", "partial");
/// Checksums of `hello world`.
const SUMS: [&str; 4] = [
    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
    "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
    "crc32 DUoRhQ==",
    "crc32c yZRlqg==",
];
/// Valid checksums that do not match `hello world`.
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

/// Returns the elements of a header with a comma-separated list.
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

/// Returns a body without `Content-Length`.
fn chunked(content: &[u8]) -> Body {
    Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(content.to_vec())]))
}

async fn no_space_is_taken(stack: &Stack, tus: &Speaker) {
    assert_eq!(stack.reserved_bytes(tus.client.principal.company_id).await, 0);
}

/// Waits until the upload has `offset` bytes. Uses the native protocol, which does not interrupt a running request.
async fn offset_reaches(client: &Client, upload: &str, offset: usize) {
    let status = eventually(&format!("the offset to reach {offset}"), || async {
        let status = client.get(&format!("/v1/uploads/{}", id_of(upload))).await.expect(200);
        (status.body["offset_bytes"].as_u64() >= Some(offset as u64)).then_some(status.body)
    })
    .await;
    assert_eq!(status["offset_bytes"], offset, "more bytes were recorded than were sent");
}

/// Waits until the upload is a file with this content, and returns the file.
async fn is_file(tus: &Speaker, upload: &str, content: &[u8]) -> Value {
    let file = tus.client.file_with_status(&id_of(upload), "COMPLETED").await;
    assert_eq!(file["hash"], sha256(content));
    assert!(tus.client.content(&id_of(upload)).await == content);
    file
}

/// Creates a partial upload with these bytes and returns its path.
async fn partial(tus: &Speaker, content: &[u8]) -> String {
    let length = content.len().to_string();
    let upload = tus.post(&[PARTIAL, ("Upload-Length", &length)], "").await.expect(201).location();
    tus.patch(&upload, 0, content.to_vec()).await.expect(204).with("Upload-Offset", &length);
    upload
}

/// Creates a final upload of these partial uploads.
async fn concat(tus: &Speaker, partials: &[&str]) -> Reply {
    tus.post(&[("Upload-Concat", &format!("final;{}", partials.join(" ")))], "").await
}

/// Asserts the offset and the length of an upload.
async fn is_unchanged(tus: &Speaker, upload: &str, offset: usize, length: usize) {
    let head = tus.head(upload).await.expect(200);
    head.with("Upload-Offset", &offset.to_string()).with("Upload-Length", &length.to_string());
}
