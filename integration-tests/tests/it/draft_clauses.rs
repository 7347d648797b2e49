//! draft-ietf-httpbis-resumable-upload-12, clause by clause. Each test bears the id of its clause;
//! docs/resumable-uploads.md has the table.

use crate::random::{bytes, sha256};
use crate::speaker::{Headers, Reply, Speaker, answered, id_of};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use reqwest::{Body, Method};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use waybill_integration_tests::{Client, Cluster, Counts, Options, Stack};
use waybill_object_store::ObjectStore;
use waybill_service_kit::{Principal, now};
use waybill_test_kit::eventually;

/// How long an answer on a raw connection may take; less than what the server lets a silent client wait.
const SOON: Duration = Duration::from_secs(20);
const MISMATCHING_OFFSET: &str = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset";
const INCONSISTENT_LENGTH: &str = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length";
const NAMED: &str = "inline; filename=\"letter.txt\"; filename*=UTF-8''a%20letter.txt";
const PARTIAL: (&str, &str) = ("Content-Type", "application/partial-upload");

async fn with_args(args: &[&str]) -> Stack {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Stack::with(Options { args, ..Options::default() }).await
}

/// A new upload without bytes, of this length if there is one; answers with its path.
async fn open(draft: &Speaker, length: Option<usize>) -> String {
    let length = length.map(|length| length.to_string());
    let mut headers = vec![("Upload-Complete", "?0")];
    headers.extend(length.as_deref().map(|length| ("Upload-Length", length)));
    draft.post(&headers, "").await.expect(201).location()
}

/// PATCH with just these headers.
async fn patch(draft: &Speaker, path: &str, headers: Headers<'_>, body: impl Into<Body>) -> Reply {
    draft.send(Method::PATCH, path, headers, body).await
}

/// A body without `Content-Length`.
fn chunked(content: impl Into<Vec<u8>>) -> Body {
    Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(content.into())]))
}

/// `Upload-Limit`, which must be a Dictionary of Integers.
fn limits(reply: &Reply) -> BTreeMap<String, u64> {
    let limits = reply.header("Upload-Limit").expect("it has an Upload-Limit");
    let member = |member: &str| {
        let (key, value) = member.trim().split_once('=').unwrap();
        (key.to_owned(), value.parse().unwrap())
    };
    limits.split(',').map(member).collect()
}

/// Until this many bytes are stored, looked at in a way that leaves running requests alone.
async fn stored(client: &Client, upload: &str, offset: usize) {
    eventually(&format!("{offset} bytes to be stored"), || async {
        let status = client.get(&format!("/v1/uploads/{}", id_of(upload))).await.expect(200);
        (status.body["offset_bytes"] == offset).then_some(())
    })
    .await;
}

/// The file of an upload is there and is this one.
async fn is_file(client: &Client, upload: &str, content: &[u8]) {
    let file = client.file_with_status(&id_of(upload), "COMPLETED").await;
    assert_eq!(file["hash"], sha256(content));
    assert!(client.content(&id_of(upload)).await == content);
}

/// Nothing goes on with this upload, of which `offset` bytes were stored.
async fn is_gone(draft: &Speaker, upload: &str, offset: usize) {
    draft.head(upload).await.expect(410);
    draft.append(upload, offset, false, "abc").await.refused(410, "upload_ended");
    draft.append(upload, offset, false, "").await.refused(410, "upload_ended");
    assert!(draft.append(upload, offset, true, "").await.status >= 400);
}

/// What comes on a raw connection until it is closed, or until it has been silent for long.
fn ending(mut socket: TcpStream) -> String {
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) if !answer.is_empty() && error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => panic!("the request was not ended: {error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of the first head that comes on a raw connection.
fn first_status(socket: &mut TcpStream) -> u16 {
    socket.set_read_timeout(Some(SOON)).unwrap();
    let head = answered(socket);
    let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {head:?}"));
    status.parse().unwrap()
}

fn digest(content: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64.encode(Sha256::digest(content)))
}

#[tokio::test(flavor = "multi_thread")]
async fn res_1_2_an_upload_answers_after_its_end_and_its_url_is_never_anothers() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let cancelled = open(&draft, Some(5)).await;
    draft.delete(&cancelled).await.expect(204);
    let completed = draft.post(&[("Upload-Complete", "?1")], "hello").await.expect(201).location();
    let running = open(&draft, Some(5)).await;
    let again = open(&draft, Some(5)).await;
    assert_eq!(BTreeSet::from([&cancelled, &completed, &running, &again]).len(), 4);
    is_gone(&draft, &cancelled, 0).await;
    let done = draft.head(&completed).await.expect(204);
    done.with("Upload-Complete", "?1").with("Upload-Offset", "5").with("Upload-Length", "5");
    draft.head(&running).await.expect(204).with("Upload-Complete", "?0").with("Upload-Offset", "0");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offset_1_conc_1_parallel_appends_are_one_file_and_no_offset_goes_back() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_001, 100_000);
    let upload = open(&draft, Some(content.len())).await;
    let append = async |offset: usize| {
        let request = draft.client.request(Method::PATCH, &upload).header("Upload-Draft-Interop-Version", "9");
        let request =
            request.header("Upload-Offset", offset).header("Upload-Complete", "?1").header(PARTIAL.0, PARTIAL.1);
        // Who is told to give way may find the connection closed.
        request.body(content[offset..].to_vec()).send().await.map(|response| response.status().as_u16()).ok()
    };
    let first = futures_util::future::join_all((0..8).map(|_| append(0))).await;
    assert!(first.iter().flatten().all(|status| [200, 400, 409].contains(status)), "{first:?}");
    let mut last = 0;
    loop {
        let head = draft.head(&upload).await.expect(204);
        let offset: usize = head.header("Upload-Offset").unwrap().parse().unwrap();
        assert!(offset >= last, "{offset} after {last}");
        last = offset;
        if head.header("Upload-Complete") == Some("?1") {
            break;
        }
        append(offset).await;
    }
    assert_eq!(last, content.len());
    is_file(&draft.client, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offset_2_an_upload_whose_bytes_were_lost_is_ended() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(1_000)).await;
    draft.append(&upload, 0, false, bytes(2_002, 400)).await.expect(204).with("Upload-Offset", "400");
    let staged = stack.store().list(&format!("s/{}/", draft.client.principal.company_id)).await.unwrap();
    assert!(!staged.is_empty());
    for key in staged {
        stack.store().delete(&key).await.unwrap();
    }
    // As a client does it: after a fault it asks, and goes on. In the end it is told that there is nothing to go on with.
    eventually("the upload to be ended", || async {
        let head = draft.head(&upload).await;
        if head.status != 204 || head.header("Upload-Complete") == Some("?1") {
            return (head.status == 410).then_some(());
        }
        let offset: usize = head.header("Upload-Offset").unwrap().parse().unwrap();
        let answer = draft.append(&upload, offset, true, vec![0; 1_000 - offset]).await;
        assert_ne!(answer.json()["status"], "COMPLETED", "bytes that were lost came out as a file");
        None
    })
    .await;
    draft.client.file_with_status(&id_of(&upload), "FAILED").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offset_3_an_offset_that_is_none_is_as_if_it_were_not_there() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(10)).await;
    for offset in ["-1", "0.0", "abc", "\"0\"", "?0", "0, 0", "9999999999999999", ""] {
        let headers = [("Upload-Offset", offset), ("Upload-Complete", "?0"), PARTIAL];
        patch(&draft, &upload, &headers, "abc").await.refused(400, "header_missing").with("Upload-Complete", "?0");
    }
    draft.head(&upload).await.expect(204).with("Upload-Offset", "0");
    let headers = [("Upload-Offset", "0;of=this"), ("Upload-Complete", "?0;so=far"), PARTIAL];
    patch(&draft, &upload, &headers, "abc").await.expect(204).with("Upload-Offset", "3");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offset_4_an_acknowledged_offset_outlives_gateway_and_worker() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let draft = Speaker::draft(cluster.client(), 9);
    let content = bytes(2_004, 1_000);
    let upload = open(&draft, Some(1_000)).await;
    draft.append(&upload, 0, false, content[..400].to_vec()).await.expect(204).with("Upload-Offset", "400");
    cluster.gateways[0].kill();
    cluster.workers[0].kill();
    cluster.workers[0].restart().await;
    cluster.gateways[0].restart().await;
    eventually("the gateway to be ready", || async {
        let ready = reqwest::get(format!("{}/readyz", cluster.url())).await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
    draft.head(&upload).await.expect(204).with("Upload-Offset", "400").with("Upload-Complete", "?0");
    draft.append(&upload, 400, true, content[400..].to_vec()).await.expect(200);
    is_file(&draft.client, &upload, &content).await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_1_append_11_a_completed_upload_takes_nothing_and_repeats_its_answer() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(5)).await;
    let first = draft.append(&upload, 0, true, "hello").await.expect(200).with("Upload-Complete", "?1");
    // The answer was lost: the client asks, and says once more that this is all.
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
async fn complete_2_length_2_a_value_that_is_none_is_as_if_it_were_not_there() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, None).await;
    for complete in ["true", "1", "?2", "0", "\"?1\"", "?1, ?1", ""] {
        let headers = [("Upload-Offset", "0"), ("Upload-Complete", complete), PARTIAL];
        patch(&draft, &upload, &headers, "abc").await.refused(400, "header_missing");
        // On a creation it leaves an upload in one request, like those of clients that know nothing of the draft.
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
    // Said with less than all of it, it completes nothing.
    let short = open(&draft, Some(10)).await;
    draft.append(&short, 0, true, "hello").await.expect(400).with("Upload-Complete", "?0");
    draft.head(&short).await.expect(204).with("Upload-Complete", "?0");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_4_append_9_sec_5_an_answer_tells_whether_it_is_of_the_file_or_of_the_transfer() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    // Of the file: another digest than its own, and a program that calls itself a picture, in two pieces.
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
    // Of the transfer.
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
    // A creation says it, by its header or by its content being all.
    let upload = open(&draft, Some(7)).await;
    draft.head(&upload).await.expect(204).with("Upload-Length", "7");
    let upload = draft.post(&[("Upload-Complete", "?1")], "hello").await.expect(201).location();
    draft.head(&upload).await.expect(204).with("Upload-Length", "5");
    let upload = draft.post(&[("Upload-Complete", "?1")], chunked("hello")).await.expect(201);
    let upload = upload.with("Upload-Complete", "?1").location();
    draft.head(&upload).await.expect(204).with("Upload-Length", "5");
    is_file(&draft.client, &upload, b"hello").await;
    // An append says it, likewise.
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

#[tokio::test(flavor = "multi_thread")]
async fn limit_1_9_12_whoever_asks_beforehand_is_told_all_limits() {
    let stack = with_args(&["--max-file-bytes=1000000", "--upload-lifetime-s=3600"]).await;
    let (draft, plain) = (Speaker::draft(stack.client(), 9), Speaker::plain(stack.client()));
    for speaker in [&draft, &plain] {
        for path in ["/tus/", "/tus"] {
            let told = speaker.options(path, &[]).await.expect(204);
            assert_eq!(limits(&told).get("max-size"), Some(&1_000_000));
            // Nobody should find later that less holds than what was told.
            assert_eq!(limits(&told).get("max-age"), Some(&3_600), "the lifetime is a limit, too");
        }
    }
    let without_token = reqwest::Client::new().request(Method::OPTIONS, format!("{}/tus/", stack.url()));
    assert_eq!(without_token.send().await.unwrap().status().as_u16(), 204, "limits are no secret");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_1_create_7_head_4_a_new_upload_says_all_its_limits() {
    let stack = with_args(&["--max-file-bytes=1000000", "--upload-lifetime-s=3600"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    for body in ["", "hello"] {
        let created = draft.post(&[("Upload-Complete", "?0")], body).await.expect(201);
        let known = draft.head(&created.location()).await.expect(204);
        for told in [known, created] {
            assert_eq!(limits(&told).get("max-size"), Some(&1_000_000));
            let max_age = limits(&told).get("max-age").copied().expect("the lifetime is a limit, too");
            assert!((3_500..=3_600).contains(&max_age), "{max_age}");
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_2_13_14_what_is_said_to_be_too_large_is_refused_with_the_limit() {
    let stack = with_args(&["--max-file-bytes=1000"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    let too_large = |reply: Reply| {
        let reply = reply.refused(413, "file_too_large").without("Location");
        assert_eq!(limits(&reply).get("max-size"), Some(&1_000));
    };
    too_large(draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "1001")], "").await);
    too_large(draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "1001")], "hello").await);
    too_large(draft.post(&[("Upload-Complete", "?1")], vec![0; 1_001]).await);
    let upload = open(&draft, None).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?0"), ("Upload-Length", "1001"), PARTIAL];
    too_large(patch(&draft, &upload, &headers, "hello").await);
    draft.head(&upload).await.expect(204).with("Upload-Offset", "0").without("Upload-Length");
    draft.append(&upload, 0, true, vec![0; 1_000]).await.expect(200).with("Upload-Complete", "?1");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_2_13_what_grows_too_large_is_refused_with_the_limit() {
    let stack = with_args(&["--max-file-bytes=1000"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    for last in [false, true] {
        for body in [Body::from(vec![0; 601]), chunked(vec![0; 601])] {
            let upload = open(&draft, None).await;
            draft.append(&upload, 0, false, vec![0; 400]).await.expect(204);
            let refused = draft.append(&upload, 400, last, body).await.expect(413).with("Upload-Complete", "?0");
            assert_eq!(limits(&refused).get("max-size"), Some(&1_000));
            assert_ne!(refused.json()["type"], INCONSISTENT_LENGTH, "no length was said");
            let offset = draft.head(&upload).await;
            assert!(offset.status == 410 || offset.header("Upload-Offset") == Some("400"), "{offset:?}");
        }
    }
    let refused = draft.post(&[("Upload-Complete", "?1")], chunked(vec![0; 1_001])).await.expect(413);
    assert_eq!(limits(&refused).get("max-size"), Some(&1_000));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_3_4_5_there_are_no_limits_to_the_size_of_a_request() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, None).await;
    let told = [draft.options("/tus/", &[]).await, draft.head(&upload).await];
    for told in &told {
        let limits = limits(told);
        for none in ["min-size", "max-append-size", "min-append-size"] {
            assert_eq!(limits.get(none), None);
        }
    }
    // So the smallest appends go, and one that is larger than what is held in memory at a time.
    let content = bytes(2_010, 20 * 1_024 * 1_024);
    draft.append(&upload, 0, false, content[..1].to_vec()).await.expect(204);
    draft.append(&upload, 1, false, content[1..2].to_vec()).await.expect(204);
    draft.append(&upload, 2, true, content[2..].to_vec()).await.expect(200);
    is_file(&draft.client, &upload, &content).await;
    let tiny = draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "1")], "").await.expect(201).location();
    draft.append(&tiny, 0, true, "x").await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_6_7_8_sec_7_the_lifetime_is_counted_down_and_appends_do_not_prolong_it() {
    let stack = with_args(&["--upload-lifetime-s=4"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    let idle = open(&draft, Some(10)).await;
    let upload = open(&draft, Some(1_000_000)).await;
    let started = now().0;
    let (mut ages, mut ends, mut offset) = (Vec::new(), Vec::new(), 0);
    let ended = loop {
        let head = draft.head(&upload).await;
        if head.status != 204 {
            break head;
        }
        assert_eq!(limits(&head).get("max-size"), Some(&(10 << 30)));
        let age = i64::try_from(limits(&head)["max-age"]).unwrap();
        ages.push(age);
        ends.push(now().0 + age * 1_000);
        assert!(now().0 < started + 20_000, "small appends keep it alive: {ages:?}");
        let empty = draft.append(&upload, offset, false, "").await;
        let appended = draft.append(&upload, offset, false, "x").await;
        if let Some(ended) = [empty, appended].into_iter().find(|reply| reply.status != 204) {
            break ended;
        }
        offset += 1;
    };
    ended.expect(410);
    assert!(offset > 0 && ages.iter().max() <= Some(&4) && ages.last() < ages.first(), "{ages:?}");
    // Whole seconds were said, so that the end is known to the second.
    assert!(ends.iter().all(|end| *end > ends[0] - 2_000), "the end came nearer: {ends:?}");
    is_gone(&draft, &upload, offset).await;
    is_gone(&draft, &idle, 0).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_7_abort_1_a_trickle_does_not_outlive_the_upload() {
    let stack = with_args(&["--upload-lifetime-s=3"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(100_000)).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?1"), PARTIAL];
    let mut socket = draft.begin("PATCH", &upload, &headers, 100_000, b"a");
    socket.set_nonblocking(true).unwrap();
    let mut answer = [0; 1_024];
    let answer = eventually("the trickle to be cut", || {
        let sent = socket.write(b"a").map_err(|error| error.kind());
        let end = match (sent, socket.read(&mut answer)) {
            (_, Ok(length)) => Some(String::from_utf8_lossy(&answer[..length]).into_owned()),
            (Err(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), _) => Some(String::new()),
            _ => None,
        };
        async { end }
    })
    .await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 410 "), "{answer}");
    draft.head(&upload).await.expect(410);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_7_8_sizes_stay_the_same_throughout_an_upload() {
    let stack = with_args(&["--max-file-bytes=1000"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    let told_before = limits(&draft.options("/tus/", &[]).await)["max-size"];
    let created = draft.post(&[("Upload-Complete", "?0")], "").await.expect(201);
    assert_eq!(limits(&created)["max-size"], told_before);
    let upload = created.location();
    for offset in [0, 300, 600] {
        draft.append(&upload, offset, false, vec![0; 300]).await.expect(204);
        assert_eq!(limits(&draft.head(&upload).await.expect(204))["max-size"], told_before);
    }
    // And the limit that was told is one that can be reached.
    draft.append(&upload, 900, true, vec![0; 100]).await.expect(200).with("Upload-Complete", "?1");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_1_any_method_with_content_begins_an_upload_and_no_content_is_an_empty_file() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        let upload = draft.send(method.clone(), "/tus/", &[("Upload-Complete", "?0")], "he").await.expect(201);
        let upload = upload.with("Upload-Complete", "?0").location();
        draft.append(&upload, 2, true, "llo").await.expect(200);
        is_file(&draft.client, &upload, b"hello").await;
        let whole = draft.send(method.clone(), "/tus/", &[("Upload-Complete", "?1")], "hello").await.expect(201);
        is_file(&draft.client, &whole.with("Upload-Complete", "?1").location(), b"hello").await;
        let empty = draft.send(method, "/tus/", &[("Upload-Complete", "?1")], "").await.expect(201);
        is_file(&draft.client, &empty.with("Upload-Complete", "?1").location(), b"").await;
    }
    // The header alone says that it is the draft.
    let unversioned = Speaker::plain(stack.client());
    let upload = unversioned.post(&[("Upload-Complete", "?0")], "he").await.expect(201).location();
    unversioned.append(&upload, 2, true, "llo").await.expect(200).with("Upload-Complete", "?1");
    is_file(&unversioned.client, &upload, b"hello").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_5_append_8_however_the_bytes_came_the_answer_is_the_files() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_020, 1_000);
    let file = [("Upload-Complete", "?0"), ("Content-Type", "text/plain"), ("Content-Disposition", NAMED)];
    let at_once = [("Upload-Complete", "?1"), file[1], file[2]];
    let at_once = draft.post(&at_once, content.clone()).await.expect(201).with("Upload-Complete", "?1");
    let upload = draft.post(&file, content[..300].to_vec()).await.expect(201).location();
    draft.append(&upload, 300, false, content[300..600].to_vec()).await.expect(204);
    let in_pieces = draft.append(&upload, 600, true, content[600..].to_vec()).await.expect(200);
    let in_pieces = in_pieces.with("Upload-Complete", "?1");
    assert_eq!(at_once.header("Content-Type"), in_pieces.header("Content-Type"));
    let (at_once, in_pieces) = (at_once.json(), in_pieces.json());
    assert_eq!(in_pieces["file_id"], id_of(&upload));
    for answer in [&at_once, &in_pieces] {
        assert_eq!((&answer["sha256"], &answer["size_bytes"]), (&json!(sha256(&content)), &json!(1_000)));
        let id = answer["file_id"].as_str().unwrap();
        let file = draft.client.file_with_status(id, "COMPLETED").await;
        assert_eq!((&file["original_name"], &file["mime_type"]), (&json!("a letter.txt"), &json!("text/plain")));
    }
    let members = |answer: &Value| answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&at_once), members(&in_pieces));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_6_7_8_12_a_creation_without_the_last_bytes_says_where_to_go_on() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    for content in ["", "he"] {
        for headers in [&[("Upload-Complete", "?0")][..], &[("Upload-Complete", "?0"), ("Upload-Length", "5")][..]] {
            let created = draft.post(headers, content).await.expect(201).with("Upload-Complete", "?0");
            let created = created.with("Upload-Offset", &content.len().to_string());
            assert!(limits(&created).contains_key("max-size"));
            let upload = created.location();
            draft.append(&upload, content.len(), true, "hello"[content.len()..].to_owned()).await.expect(200);
            is_file(&draft.client, &upload, b"hello").await;
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_14_15_what_came_of_an_interrupted_creation_is_kept_and_is_not_complete() {
    let stack = Stack::start().await;
    for complete in ["?0", "?1"] {
        let draft = Speaker::draft(stack.client(), 9);
        let content = bytes(2_030, 1_000);
        let headers = [("Upload-Complete", complete), ("Upload-Length", "1000")];
        drop(draft.begin("POST", "/tus/", &headers, 1_000, &content[..400]));
        // Without a 104 the client was not told where; its files say so.
        let upload = eventually("the upload to be listed", || async {
            for status in ["PENDING", "PROCESSING"] {
                let files = draft.client.get(&format!("/v1/files?status={status}")).await.expect(200);
                if let Some(id) = files.body["items"][0]["id"].as_str() {
                    return Some(format!("/tus/{id}"));
                }
            }
            None
        })
        .await;
        stored(&draft.client, &upload, 400).await;
        let head = draft.head(&upload).await.expect(204).with("Upload-Complete", "?0").with("Upload-Offset", "400");
        head.with("Upload-Length", "1000");
        draft.append(&upload, 400, true, content[400..].to_vec()).await.expect(200);
        is_file(&draft.client, &upload, &content).await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_1_2_create_13_head_6_append_18_cancel_3_the_first_answer_is_final_and_no_redirect() {
    let stack = Stack::start().await;
    for version in [None, Some(3), Some(5), Some(6), Some(8), Some(9), Some(10)] {
        let draft = match version {
            Some(version) => Speaker::draft(stack.client(), version),
            None => Speaker::plain(stack.client()),
        };
        let complete = if version == Some(3) { ("Upload-Incomplete", "?1") } else { ("Upload-Complete", "?0") };
        let status = |method: &str, path: &str, headers: Headers<'_>, body: &str| {
            first_status(&mut draft.begin(method, path, headers, body.len(), body.as_bytes()))
        };
        assert_eq!(status("POST", "/tus/", &[complete, ("Upload-Length", "5")], "he"), 201, "{version:?}");
        let upload = draft.post(&[complete, ("Upload-Length", "5")], "").await.expect(201).location();
        let append = [("Upload-Offset", "0"), complete, PARTIAL];
        let appended = if version.is_some_and(|version| version <= 6) { 201 } else { 204 };
        assert_eq!(status("PATCH", &upload, &append, "he"), appended, "{version:?}");
        assert_eq!(status("PATCH", &upload, &append, "he"), 409, "{version:?}");
        assert_eq!(status("HEAD", &upload, &[], ""), 204, "{version:?}");
        assert_eq!(status("DELETE", &upload, &[], ""), 204, "{version:?}");
        assert_eq!(status("HEAD", &upload, &[], ""), 410, "{version:?}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_1_2_3_4_5_an_upload_says_all_that_a_client_needs_to_go_on() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    for method in [Method::HEAD, Method::GET] {
        let look = async |upload: &str| {
            let told = draft.send(method.clone(), upload, &[], "").await.expect(204).with("Cache-Control", "no-store");
            assert!(limits(&told).contains_key("max-age"));
            told
        };
        let upload = open(&draft, Some(5)).await;
        look(&upload).await.with("Upload-Offset", "0").with("Upload-Complete", "?0").with("Upload-Length", "5");
        draft.append(&upload, 0, false, "he").await.expect(204);
        look(&upload).await.with("Upload-Offset", "2").with("Upload-Complete", "?0").with("Upload-Length", "5");
        draft.append(&upload, 2, true, "llo").await.expect(200);
        if method == Method::GET {
            let finished = draft.send(Method::GET, &upload, &[], "").await.expect(200);
            assert_eq!(finished.body, b"hello", "what is finished can be read");
        } else {
            look(&upload).await.with("Upload-Offset", "5").with("Upload-Complete", "?1").with("Upload-Length", "5");
        }
        let of_any_length = open(&draft, None).await;
        look(&of_any_length).await.with("Upload-Offset", "0").with("Upload-Complete", "?0").without("Upload-Length");
    }
    draft.head("/tus/01997000-0000-7000-8000-000000000000").await.expect(404);
    stack.finish().await;
}

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

/// Appends at offsets other than 5: where, what, whether it is the last, and whether it comes without `Content-Length`.
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
        // Before and after the right offset, within the length and past it, empty or not, the last or not.
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
        assert!(others.is_empty(), "of length {length:?}: {others:#?}");
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
            // None of that request, or what fitted: the upload is of no use in any case.
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
    // Of a completed upload the file stays as it is.
    let completed = draft.post(&[("Upload-Complete", "?1")], "hello").await.expect(201).location();
    for last in [false, true] {
        let answer = draft.append(&completed, 5, last, chunked(" world")).await;
        assert!(answer.status >= 400, "more bytes were taken, and forgotten: {answer:?}");
    }
    is_file(&draft.client, &completed, b"hello").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_1_a_cancelled_upload_is_gone_with_its_space() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let company = draft.client.principal.company_id;
    for length in [Some(1_000), None] {
        let upload = open(&draft, length).await;
        draft.append(&upload, 0, false, vec![0; 400]).await.expect(204);
        assert!(stack.reserved_bytes(company).await >= 400);
        draft.delete(&upload).await.expect(204);
        is_gone(&draft, &upload, 400).await;
        draft.delete(&upload).await.expect(204);
        stack.nothing_reserved(company).await;
    }
    eventually("the bytes to be deleted", || async {
        stack.store().list(&format!("s/{company}/")).await.unwrap().is_empty().then_some(())
    })
    .await;
    draft.delete("/tus/01997000-0000-7000-8000-000000000000").await.expect(404);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_2_conc_4_5_running_appends_end_with_the_upload() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(1_000)).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?1"), PARTIAL];
    let running = draft.begin("PATCH", &upload, &headers, 1_000, &[0; 400]);
    stored(&draft.client, &upload, 400).await;
    draft.delete(&upload).await.expect(204);
    let answer = ending(running);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    is_gone(&draft, &upload, 400).await;
    stack.nothing_reserved(draft.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conc_1_whichever_parallel_append_was_acknowledged_is_in_the_file() {
    const LENGTH: usize = 100_000;
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    for round in 0..8 {
        let contents: Vec<Vec<u8>> = (0..6).map(|number| bytes(2_100 + 10 * round + number, LENGTH)).collect();
        let upload = open(&draft, Some(LENGTH + 1)).await;
        let append = async |content: &Vec<u8>| {
            let request = draft.client.request(Method::PATCH, &upload).header("Upload-Draft-Interop-Version", "9");
            let request =
                request.header("Upload-Offset", "0").header("Upload-Complete", "?0").header(PARTIAL.0, PARTIAL.1);
            request.body(content.clone()).send().await.map(|response| response.status().as_u16()).ok()
        };
        let answers = futures_util::future::join_all(contents.iter().map(append)).await;
        let head = draft.head(&upload).await.expect(204);
        let offset: usize = head.header("Upload-Offset").unwrap().parse().unwrap();
        let rest = vec![0; LENGTH + 1 - offset];
        draft.append(&upload, offset, true, rest).await.expect(200);
        draft.client.file_with_status(&id_of(&upload), "COMPLETED").await;
        let file = draft.client.content(&id_of(&upload)).await;
        assert!(contents.iter().any(|content| content[..offset] == file[..offset]), "a mixture: {answers:?}");
        for (content, answer) in contents.iter().zip(&answers) {
            assert!(*answer != Some(204) || file[..LENGTH] == content[..], "acknowledged and lost: {answers:?}");
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conc_1_an_append_and_a_cancellation_at_once_leave_nothing_behind() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let company = draft.client.principal.company_id;
    for _ in 0..5 {
        let upload = open(&draft, Some(100_000)).await;
        let request = draft.client.request(Method::PATCH, &upload).header("Upload-Draft-Interop-Version", "9");
        let request = request.header("Upload-Offset", "0").header("Upload-Complete", "?0").header(PARTIAL.0, PARTIAL.1);
        let (appended, deleted) = tokio::join!(request.body(vec![0; 90_000]).send(), draft.delete(&upload));
        deleted.expect(204);
        if let Ok(appended) = appended {
            assert!([204, 409, 410].contains(&appended.status().as_u16()), "{appended:?}");
        }
        draft.head(&upload).await.expect(410);
    }
    stack.nothing_reserved(company).await;
    eventually("the bytes to be deleted", || async {
        stack.store().list(&format!("s/{company}/")).await.unwrap().is_empty().then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conc_2_3_4_5_incr_1_whoever_asks_ends_the_hanging_append_and_goes_on_from_the_answer() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_070, 10_000);
    let upload = open(&draft, Some(content.len())).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?1"), PARTIAL];
    let mut hanging = draft.begin("PATCH", &upload, &headers, content.len(), &content[..3_000]);
    // What came counts although the request goes on.
    stored(&draft.client, &upload, 3_000).await;
    hanging.write_all(&content[3_000..4_000]).unwrap();
    let head = draft.head(&upload).await.expect(204).with("Upload-Complete", "?0");
    let offset: usize = head.header("Upload-Offset").unwrap().parse().unwrap();
    assert!((3_000..=4_000).contains(&offset), "{offset}");
    // Whoever sent before has no say any more, even if other bytes come: they may find the connection closed.
    let late = hanging.write_all(&[0; 5_000]);
    assert!(late.is_ok() || late.is_err());
    let ended = ending(hanging);
    assert!(ended.is_empty() || ended.starts_with("HTTP/1.1 409 "), "{ended}");
    draft.head(&upload).await.expect(204).with("Upload-Offset", &offset.to_string());
    // A newer append does the same without asking, if it knows the offset.
    let at = offset.to_string();
    let headers = [("Upload-Offset", at.as_str()), ("Upload-Complete", "?1"), PARTIAL];
    let hanging = draft.begin("PATCH", &upload, &headers, content.len() - offset, &content[offset..5_000]);
    stored(&draft.client, &upload, 5_000).await;
    draft.append(&upload, 5_000, true, content[5_000..].to_vec()).await.expect(200).with("Upload-Complete", "?1");
    let ended = ending(hanging);
    assert!(ended.is_empty() || ended.starts_with("HTTP/1.1 409 "), "{ended}");
    is_file(&draft.client, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conc_3_an_offset_that_was_told_is_taken_however_close_an_older_append_was() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let mut refused = Vec::new();
    for round in 0..30 {
        let upload = open(&draft, (round % 2 == 0).then_some(10_000)).await;
        let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?0"), PARTIAL];
        // It may be anywhere between the socket and the store when the next request comes.
        let hanging = draft.begin("PATCH", &upload, &headers, 8_000, &[0; 3_000]);
        let head = draft.head(&upload).await.expect(204);
        let offset: usize = head.header("Upload-Offset").unwrap().parse().unwrap();
        let next = draft.append(&upload, offset, false, "x").await;
        if next.status != 204 {
            refused.push((round, offset, next.status, next.header("Upload-Offset").map(str::to_owned)));
        }
        drop(hanging);
    }
    assert!(refused.is_empty(), "told, and then refused: {refused:?}");
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
    // The bytes would come later, without a word of their coding.
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
async fn strat_1_a_target_without_resumption_takes_the_upload_as_it_is() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let headers = [("Upload-Complete", "?1"), ("Upload-Length", "5")];
    let posted = draft.send(Method::POST, "/v1/files?name=a.txt&mime_type=text/plain", &headers, "hello").await;
    let posted = posted.expect(201).without("Upload-Complete").without("Upload-Limit");
    let id = posted.json()["file_id"].as_str().unwrap().to_owned();
    assert_eq!(draft.client.content(&id).await, b"hello");
    draft.options("/v1/files", &[]).await.without("Upload-Limit");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_1_6_an_upload_is_its_owners_from_the_first_byte_to_the_last() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let owner = &draft.client;
    let upload = open(&draft, Some(5)).await;
    draft.append(&upload, 0, false, "he").await.expect(204);
    let expired = Principal { expires_at: now().plus_ms(-60_000), ..owner.principal.clone() };
    let expired = Client::new(stack.url().to_owned(), stack.token(&expired), owner.principal.clone());
    let colleague = stack.client_for(owner.principal.company_id, &[]);
    for (client, status) in [(stack.client(), 404), (colleague, 404), (expired, 401)] {
        let other = Speaker::draft(client, 9);
        let told = other.head(&upload).await.expect(status).without("Upload-Offset").without("Upload-Length");
        assert!(!told.headers.contains_key("Upload-Limit"));
        other.append(&upload, 2, false, "x").await.expect(status).without("Upload-Offset");
        other.append(&upload, 0, false, "x").await.expect(status).without("Upload-Offset");
        // Also the last step is not done for whoever may not any more.
        other.append(&upload, 2, true, "llo").await.expect(status).with("Upload-Complete", "?0");
        other.delete(&upload).await.expect(status);
    }
    draft.head(&upload).await.expect(204).with("Upload-Offset", "2").with("Upload-Complete", "?0");
    draft.append(&upload, 2, true, "llo").await.expect(200);
    is_file(owner, &upload, b"hello").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_6_an_upload_cannot_be_completed_into_a_session_that_was_cancelled() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let session = draft.client.post("/v1/sessions", &json!({ "name": "move" })).await.expect(201).text("session_id");
    let path = format!("/tus/?session_id={session}");
    let headers = [("Upload-Complete", "?0"), ("Upload-Length", "5")];
    let upload = draft.send(Method::POST, &path, &headers, "he").await.expect(201).location();
    draft.client.delete(&format!("/v1/sessions/{session}")).await.expect(204);
    eventually("the upload to end with its session", || async {
        (draft.head(&upload).await.status == 410).then_some(())
    })
    .await;
    draft.append(&upload, 2, true, "llo").await.refused(410, "upload_ended");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_2_3_an_uploads_url_is_its_random_id_and_nothing_else() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let Principal { company_id, user_id, .. } = &draft.client.principal;
    let mut tails = BTreeSet::new();
    for _ in 0..20 {
        let upload = open(&draft, Some(5)).await;
        let id = uuid::Uuid::parse_str(upload.strip_prefix("/tus/").unwrap()).unwrap();
        assert!(id != company_id.0 && id != user_id.0);
        tails.insert(id.as_u64_pair().1);
    }
    // Nobody comes from one to the next: besides the time 62 bits are random.
    let tails: Vec<u64> = tails.into_iter().collect();
    assert_eq!(tails.len(), 20);
    assert!(tails.windows(2).all(|pair| pair[1] - pair[0] > 1_000_000), "{tails:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_4_what_is_said_of_a_file_is_checked() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    for name in ["../etc/passwd", "/etc/passwd", "a%2fb", "..", "C:\\\\a"] {
        let disposition = format!("inline; filename=\"{name}\"");
        let headers = [("Upload-Complete", "?0"), ("Content-Disposition", disposition.as_str())];
        draft.post(&headers, "").await.refused(422, "name_invalid").without("Location");
    }
    for name in ["a%2Fb", "a%00b", "a%0Ab", "a%E2%80%AEb"] {
        let disposition = format!("inline; filename*=UTF-8''{name}");
        let headers = [("Upload-Complete", "?0"), ("Content-Disposition", disposition.as_str())];
        draft.post(&headers, "").await.refused(422, "name_invalid");
    }
    let program = [("Upload-Complete", "?0"), ("Content-Type", "application/x-msdownload")];
    draft.post(&program, "").await.refused(415, "type_refused");
    let headers = [("Upload-Complete", "?1"), ("Content-Disposition", NAMED), ("Content-Type", "text/plain")];
    let upload = draft.post(&headers, "hello").await.expect(201).location();
    let file = draft.client.file_with_status(&id_of(&upload), "COMPLETED").await;
    assert_eq!((&file["original_name"], &file["mime_type"]), (&json!("a letter.txt"), &json!("text/plain")));
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

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_says_incomplete_and_the_opposite() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 3);
    let says = |reply: Reply, incomplete: &str, offset: &str| {
        let reply =
            reply.with("Upload-Incomplete", incomplete).without("Upload-Complete").with("Upload-Offset", offset);
        reply.with("Upload-Draft-Interop-Version", "3")
    };
    let created = draft.post(&[("Upload-Incomplete", "?1")], "he").await.expect(201);
    let upload = says(created, "?1", "2").location();
    says(draft.head(&upload).await.expect(204), "?1", "2");
    let headers = [("Upload-Offset", "2"), ("Upload-Incomplete", "?1")];
    says(patch(&draft, &upload, &headers, "l").await.expect(201), "?1", "3");
    says(patch(&draft, &upload, &headers, "l").await.refused(409, "offset_mismatch"), "?1", "3");
    // Without the header it is the last one.
    says(patch(&draft, &upload, &[("Upload-Offset", "3")], "lo").await.expect(200), "?0", "5");
    says(draft.head(&upload).await.expect(204), "?0", "5");
    is_file(&draft.client, &upload, b"hello").await;
    let whole = draft.post(&[("Upload-Incomplete", "?0")], "hello").await.expect(201);
    is_file(&draft.client, &says(whole, "?0", "5").location(), b"hello").await;
    let upload = says(draft.post(&[("Upload-Incomplete", "?1")], "").await.expect(201), "?1", "0").location();
    let headers = [("Upload-Offset", "0"), ("Upload-Incomplete", "?0")];
    says(patch(&draft, &upload, &headers, "hello").await.expect(200), "?0", "5");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_5_6_an_append_without_the_word_is_the_last_one() {
    let stack = Stack::start().await;
    for version in [3, 4, 5, 6] {
        let draft = Speaker::draft(stack.client(), version);
        let (name, open, done) = match version {
            3 => ("Upload-Incomplete", "?1", "?0"),
            _ => ("Upload-Complete", "?0", "?1"),
        };
        let upload = draft.post(&[(name, open)], "").await.expect(201).with(name, open).location();
        let headers = [("Upload-Offset", "0"), (name, open), PARTIAL];
        let appended = patch(&draft, &upload, &headers, "he").await.expect(201);
        appended.with(name, open).with("Upload-Offset", "2");
        let broken = [("Upload-Offset", "2"), PARTIAL];
        drop(draft.begin("PATCH", &upload, &broken, 3, b"l"));
        stored(&draft.client, &upload, 3).await;
        draft.head(&upload).await.expect(204).with(name, open).with("Upload-Offset", "3");
        let completed = patch(&draft, &upload, &[("Upload-Offset", "3"), PARTIAL], "lo").await.expect(200);
        completed.with(name, done).with("Upload-Offset", "5");
        is_file(&draft.client, &upload, b"hello").await;
    }
    for version in [7, 8, 9] {
        let draft = Speaker::draft(stack.client(), version);
        let upload = open(&draft, None).await;
        let headers = [("Upload-Offset", "0"), PARTIAL];
        patch(&draft, &upload, &headers, "hello").await.refused(400, "header_missing");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_5_6_the_declared_length_completes() {
    let stack = Stack::start().await;
    for version in [3, 5, 6] {
        let draft = Speaker::draft(stack.client(), version);
        let (name, open, done) = match version {
            3 => ("Upload-Incomplete", "?1", "?0"),
            _ => ("Upload-Complete", "?0", "?1"),
        };
        let upload = draft.post(&[(name, open), ("Upload-Length", "5")], "he").await.expect(201).location();
        let headers = [("Upload-Offset", "2"), (name, open), PARTIAL];
        patch(&draft, &upload, &headers, "llo").await.expect(200).with(name, done).with("Upload-Offset", "5");
        is_file(&draft.client, &upload, b"hello").await;
        // tus-js-client creates an empty file so, and says no more.
        let empty = draft.post(&[(name, open), ("Upload-Length", "0")], "").await.expect(201).with(name, done);
        is_file(&draft.client, &empty.with("Upload-Offset", "0").location(), b"").await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_5_6_the_media_type_of_an_append_came_with_6() {
    let stack = Stack::start().await;
    for version in [3, 4, 5] {
        let draft = Speaker::draft(stack.client(), version);
        let (name, open, last) = match version {
            3 => ("Upload-Incomplete", "?1", "?0"),
            _ => ("Upload-Complete", "?0", "?1"),
        };
        let upload = draft.post(&[(name, open)], "").await.expect(201).location();
        patch(&draft, &upload, &[("Upload-Offset", "0"), (name, open)], "he").await.expect(201);
        let headers = [("Upload-Offset", "2"), (name, last), ("Content-Type", "text/plain")];
        patch(&draft, &upload, &headers, "llo").await.expect(200);
        is_file(&draft.client, &upload, b"hello").await;
    }
    let draft = Speaker::draft(stack.client(), 6);
    let upload = open(&draft, None).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?1")];
    patch(&draft, &upload, &headers, "hello").await.refused(415, "content_type_refused");
    // On the creation it is no type of a file (tus-js-client 4.3 sends it).
    let upload = draft.post(&[("Upload-Complete", "?1"), PARTIAL], "hello").await.expect(201).location();
    let file = draft.client.file_with_status(&id_of(&upload), "COMPLETED").await;
    assert_eq!(file["mime_type"], "text/plain", "the content tells it");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_5_6_a_look_or_a_cancellation_that_brings_a_state_is_malformed() {
    let stack = Stack::start().await;
    for version in [3, 4, 5, 6] {
        let draft = Speaker::draft(stack.client(), version);
        let complete = if version == 3 { ("Upload-Incomplete", "?1") } else { ("Upload-Complete", "?0") };
        let upload = draft.post(&[complete], "he").await.expect(201).location();
        for method in [Method::HEAD, Method::DELETE] {
            for state in [complete, ("Upload-Offset", "2")] {
                draft.send(method.clone(), &upload, &[state], "").await.expect(400);
            }
        }
        draft.head(&upload).await.expect(204).with("Upload-Offset", "2").with("Cache-Control", "no-store");
        draft.delete(&upload).await.expect(204);
        draft.head("/tus/01997000-0000-7000-8000-000000000000").await.expect(404);
    }
    // Since 7 there is no such rule.
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, None).await;
    for method in [Method::HEAD, Method::DELETE] {
        draft.send(method, &upload, &[("Upload-Complete", "?0"), ("Upload-Offset", "0")], "").await.expect(204);
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_5_6_the_version_that_was_asked_for_is_on_every_answer() {
    let stack = Stack::start().await;
    for version in [3, 4, 5, 6, 7, 8, 9] {
        let draft = Speaker::draft(stack.client(), version);
        let complete = if version == 3 { ("Upload-Incomplete", "?1") } else { ("Upload-Complete", "?0") };
        let said = version.to_string();
        let same = |reply: Reply| reply.with("Upload-Draft-Interop-Version", &said);
        let upload = same(draft.post(&[complete], "").await.expect(201)).location();
        let append = [("Upload-Offset", "0"), complete, PARTIAL];
        let status = if version <= 6 { 201 } else { 204 };
        same(patch(&draft, &upload, &append, "he").await.expect(status));
        same(patch(&draft, &upload, &append, "he").await.expect(409));
        same(draft.head(&upload).await.expect(204));
        same(draft.delete(&upload).await.expect(204));
        same(draft.head(&upload).await.expect(410));
        let nobody = Client::new(stack.url().to_owned(), "nonsense".to_owned(), draft.client.principal.clone());
        same(Speaker::draft(nobody, version).head(&upload).await.expect(401));
    }
    // Who says none is told none.
    let unversioned = Speaker::plain(stack.client());
    let created = unversioned.post(&[("Upload-Complete", "?0")], "").await.expect(201);
    let created = created.without("Upload-Draft-Interop-Version");
    unversioned.head(&created.location()).await.expect(204).without("Upload-Draft-Interop-Version");
    stack.finish().await;
}
