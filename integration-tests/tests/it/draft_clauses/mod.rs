//! draft-ietf-httpbis-resumable-upload-12, clause by clause, in one file per topic. The name of a test begins with the
//! ids of its clauses; docs/resumable-uploads.md has the table.

mod append;
mod completeness;
mod concurrency;
mod creation;
mod interop;
mod limits;
mod offset;
mod security;

use crate::random::sha256;
use crate::speaker::{Headers, Reply, Speaker, answered, id_of};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use reqwest::{Body, Method};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::Duration;
use waybill_integration_tests::Client;
use waybill_test_kit::eventually;

/// Maximum time for an answer on a raw connection; shorter than the time after which the server disconnects a silent
/// client.
const SOON: Duration = Duration::from_secs(20);
const INCONSISTENT_LENGTH: &str = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length";
const NAMED: &str = "inline; filename=\"letter.txt\"; filename*=UTF-8''a%20letter.txt";
const PARTIAL: (&str, &str) = ("Content-Type", "application/partial-upload");

/// Creates an upload without bytes, with a length if `length` is given, and returns its path.
async fn open(draft: &Speaker, length: Option<usize>) -> String {
    let length = length.map(|length| length.to_string());
    let mut headers = vec![("Upload-Complete", "?0")];
    headers.extend(length.as_deref().map(|length| ("Upload-Length", length)));
    draft.post(&headers, "").await.expect(201).location()
}

/// Sends a PATCH with exactly these headers.
async fn patch(draft: &Speaker, path: &str, headers: Headers<'_>, body: impl Into<Body>) -> Reply {
    draft.send(Method::PATCH, path, headers, body).await
}

/// Returns a body without `Content-Length`.
fn chunked(content: impl Into<Vec<u8>>) -> Body {
    Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(content.into())]))
}

/// Parses `Upload-Limit`, which must be a Dictionary of Integers.
fn limits(reply: &Reply) -> BTreeMap<String, u64> {
    let limits = reply.header("Upload-Limit").expect("the answer has Upload-Limit");
    let member = |member: &str| {
        let (key, value) = member.trim().split_once('=').unwrap();
        (key.to_owned(), value.parse().unwrap())
    };
    limits.split(',').map(member).collect()
}

/// Waits until `offset` bytes are recorded. Uses the native protocol, which does not interrupt running requests.
async fn stored(client: &Client, upload: &str, offset: usize) {
    eventually(&format!("{offset} bytes to be stored"), || async {
        let status = client.get(&format!("/v1/uploads/{}", id_of(upload))).await.expect(200);
        (status.body["offset_bytes"] == offset).then_some(())
    })
    .await;
}

/// Waits until the upload is a file with this content.
async fn is_file(client: &Client, upload: &str, content: &[u8]) {
    let file = client.file_with_status(&id_of(upload), "COMPLETED").await;
    assert_eq!(file["hash"], sha256(content));
    assert!(client.content(&id_of(upload)).await == content);
}

/// Asserts that an upload with `offset` bytes can no longer be continued.
async fn is_gone(draft: &Speaker, upload: &str, offset: usize) {
    draft.head(upload).await.expect(410);
    draft.append(upload, offset, false, "abc").await.refused(410, "upload_ended");
    draft.append(upload, offset, false, "").await.refused(410, "upload_ended");
    assert!(draft.append(upload, offset, true, "").await.status >= 400);
}

/// Returns the status of the next answer on a raw connection.
fn first_status(socket: &mut TcpStream) -> u16 {
    socket.set_read_timeout(Some(SOON)).unwrap();
    let head = answered(socket);
    let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {head:?}"));
    status.parse().unwrap()
}

fn digest(content: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64.encode(Sha256::digest(content)))
}
