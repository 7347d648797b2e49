//! Small files cost the same with every protocol: one object, and one event on its own subject. The bytes of an
//! interrupted request are kept, as in every upload.

use crate::random::{bytes, sha256};
use crate::speaker::{Reply, Speaker, answered, id_of};
use crate::tus_clauses::base64;
use reqwest::Body;
use std::net::TcpStream;
use std::time::Duration;
use waybill_event_log::read_events;
use waybill_integration_tests::{Cluster, Counts, Stack};
use waybill_object_store::ObjectStore;
use waybill_schema::{Entity, Subject};
use waybill_test_kit::eventually;

const OCTETS: (&str, &str) = ("Content-Type", "application/offset+octet-stream");
const COMPLETE: (&str, &str) = ("Upload-Complete", "?1");
/// Metadata with the name `a.txt`.
const METADATA: (&str, &str) = ("Upload-Metadata", "filename YS50eHQ=,is_confidential");

/// Returns the types of the events of an upload, from both of its subjects.
async fn events(stack: &Stack, speaker: &Speaker, upload: &str) -> Vec<&'static str> {
    let (company, id) = (speaker.client.principal.company_id, id_of(upload).parse().unwrap());
    let mut types = Vec::new();
    for aggregate in [Entity::UploadLifecycle(id), Entity::UploadChunks(id)] {
        let events = read_events(stack.log(), Subject::new(company, aggregate), 0).await.unwrap();
        types.extend(events.iter().map(|recorded| recorded.event.event_type()));
    }
    types
}

/// Returns the number of objects of the company in the store.
async fn objects(stack: &Stack, speaker: &Speaker) -> usize {
    let company = speaker.client.principal.company_id;
    let mut count = 0;
    for prefix in ["o", "s"] {
        count += stack.store().list(&format!("{prefix}/{company}/")).await.unwrap().len();
    }
    count
}

/// Asserts that the creation completed the upload with one object and one event. Returns the path of the upload.
async fn is_one(stack: &Stack, speaker: &Speaker, created: Reply, content: &[u8]) -> String {
    let length = content.len().to_string();
    let upload = created.expect(201).without("Upload-Expires").location();
    assert_eq!(events(stack, speaker, &upload).await, ["FileUploaded"], "{upload}");
    assert_eq!(objects(stack, speaker).await, 1);
    let head = speaker.head(&upload).await.with("Upload-Offset", &length).with("Upload-Length", &length);
    head.with("Cache-Control", "no-store").without("Upload-Expires");
    let file = speaker.client.file_with_status(&id_of(&upload), "COMPLETED").await;
    assert_eq!(file["hash"], sha256(content));
    assert!(speaker.client.content(&id_of(&upload)).await == content);
    upload
}

/// Deletes the upload and asserts that it is gone.
async fn is_ended_by_delete(stack: &Stack, speaker: &Speaker, upload: &str) {
    speaker.delete(upload).await.expect(204);
    speaker.head(upload).await.refused_as_gone();
    assert_eq!(events(stack, speaker, upload).await[0], "FileUploaded");
    stack.nothing_reserved(speaker.client.principal.company_id).await;
}

trait Gone {
    fn refused_as_gone(self);
}

impl Gone for Reply {
    fn refused_as_gone(self) {
        assert!([404, 410].contains(&self.status), "{}", self.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_by_tus_is_one_object_and_one_event() {
    let stack = Stack::start().await;
    for (number, length) in [100_000, 0, 1, 1_048_576].into_iter().enumerate() {
        let tus = Speaker::tus(stack.client());
        let content = bytes(3_000 + number as u64, length);
        let length = content.len().to_string();
        let created = tus.post(&[OCTETS, METADATA, ("Upload-Length", &length)], content.clone()).await;
        // A creation without bytes is answered without an offset.
        assert_eq!(created.header("Upload-Offset"), Some(length.as_str()).filter(|_| !content.is_empty()));
        let upload = is_one(&stack, &tus, created, &content).await;
        tus.head(&upload).await.expect(200).with("Upload-Metadata", METADATA.1);
        tus.patch(&upload, content.len(), "").await.expect(204).with("Upload-Offset", &length);
        tus.patch(&upload, content.len(), "more").await.refused(413, "size_exceeded");
        tus.patch(&upload, content.len() + 1, "").await.refused(409, "offset_mismatch").with("Upload-Offset", &length);
        is_ended_by_delete(&stack, &tus, &upload).await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_by_tus_without_a_length_of_the_body_or_with_a_checksum_is_one_event_too() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let length = ("Upload-Length", "11");
    let chunked = Body::wrap_stream(futures_util::stream::iter(
        ["hello", " world"].map(|piece| Ok::<_, std::io::Error>(piece.as_bytes())),
    ));
    let created = tus.post(&[OCTETS, length], chunked).await;
    is_one(&stack, &tus, created, b"hello world").await;
    let tus = Speaker::tus(stack.client());
    let sum = ("Upload-Checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=");
    let created = tus.post(&[OCTETS, length, sum], "hello world").await;
    is_one(&stack, &tus, created, b"hello world").await;
    // With fewer bytes than the length the upload can be resumed.
    let some = Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("hello".as_bytes())]));
    let upload = tus.post(&[OCTETS, length], some).await.expect(201).with("Upload-Offset", "5").location();
    tus.patch(&upload, 5, " world").await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_by_the_draft_is_one_object_and_one_event() {
    let stack = Stack::start().await;
    let says = |version: u32| if version <= 3 { ("Upload-Incomplete", "?0") } else { COMPLETE };
    for version in [3, 5, 6, 8, 9] {
        for length in [100_000, 0] {
            let draft = Speaker::draft(stack.client(), version);
            let content = bytes(3_100 + u64::from(version), length);
            let created = draft.post(&[says(version)], content.clone()).await;
            assert_eq!(created.json()["sha256"], sha256(&content));
            let (name, value) = if version <= 3 { ("Upload-Incomplete", "?0") } else { COMPLETE };
            let upload = is_one(&stack, &draft, created.with(name, value), &content).await;
            draft.head(&upload).await.expect(204).with(name, value);
            is_ended_by_delete(&stack, &draft, &upload).await;
        }
    }
    // Clients of the early versions do not send the completion. The declared length completes the upload.
    let draft = Speaker::draft(stack.client(), 5);
    let created = draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "11")], "hello world").await;
    is_one(&stack, &draft, created, b"hello world").await;
    // In later versions it does not.
    let draft = Speaker::draft(stack.client(), 9);
    let created = draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "11")], "hello world").await;
    let upload = created.expect(201).with("Upload-Complete", "?0").location();
    draft.append(&upload, 11, true, "").await.expect(200);
    stack.finish().await;
}

/// Waits until the upload has `offset` bytes and returns its path. Uses the native protocol, which does not interrupt a
/// running request.
async fn begun(speaker: &Speaker, offset: usize) -> String {
    eventually("the upload to have the bytes that arrived", || async {
        for status in ["PENDING", "PROCESSING"] {
            let files = speaker.client.get(&format!("/v1/files?status={status}")).await.expect(200);
            let Some(id) = files.body["items"][0]["id"].as_str() else { continue };
            let upload = speaker.client.get(&format!("/v1/uploads/{id}")).await.expect(200);
            return (upload.body["offset_bytes"] == offset).then(|| format!("/tus/{id}"));
        }
        None
    })
    .await
}

/// Begins a creation and sends a part of the body.
fn some_of(speaker: &Speaker, complete: bool, content: &[u8], sent: usize) -> TcpStream {
    let length = content.len().to_string();
    let how = if complete { COMPLETE } else { OCTETS };
    speaker.begin("POST", "/tus/", &[how, ("Upload-Length", &length)], content.len(), &content[..sent])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_of_a_small_file_that_broke_off_or_hangs_is_gone_on_with_at_its_byte() {
    let stack = Stack::start().await;
    let content = bytes(3_200, 1_000);
    for hangs in [false, true] {
        for is_draft in [false, true] {
            let client = stack.client();
            let speaker = if is_draft { Speaker::draft(client, 9) } else { Speaker::tus(client) };
            let socket = some_of(&speaker, is_draft, &content, 357);
            let socket = Some(socket).filter(|_| hangs);
            let upload = begun(&speaker, 357).await;
            speaker.head(&upload).await.with("Upload-Offset", "357").with("Upload-Length", "1000");
            if is_draft {
                speaker.append(&upload, 357, true, content[357..].to_vec()).await.expect(200);
            } else {
                speaker.patch(&upload, 357, content[357..].to_vec()).await.expect(204);
            }
            drop(socket);
            let file = speaker.client.file_with_status(&id_of(&upload), "COMPLETED").await;
            assert_eq!(file["hash"], sha256(&content));
            stack.nothing_reserved(speaker.client.principal.company_id).await;
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_creation_that_hangs_gives_way_to_the_same_one_sent_again() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(3_300, 1_000);
    let headers = [OCTETS, ("Upload-Length", "1000"), ("Idempotency-Key", "mine")];
    let mut hanging = tus.begin("POST", "/tus/", &headers, 1_000, &content[..400]);
    let created = tus.post(&headers, content.clone()).await;
    let upload = is_one(&stack, &tus, created, &content).await;
    hanging.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert!(answered(&mut hanging).starts_with("HTTP/1.1 409"), "the hanging request did not get 409");
    // A third request gets the usual answer of a complete upload.
    tus.post(&headers, content.clone()).await.refused(409, "offset_mismatch").with("Upload-Offset", "1000");
    assert_eq!(events(&stack, &tus, &upload).await, ["FileUploaded"]);
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_that_is_not_what_was_said_is_refused_as_any_other() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    // A wrong SHA-256, and a program declared as text.
    let metadata = format!("filename YS50eHQ=,sha256 {}", base64(&"0".repeat(64)));
    let digest = ("Upload-Metadata", metadata.as_str());
    let refused = tus.post(&[OCTETS, ("Upload-Length", "5"), digest], "hello").await.refused(422, "digest_mismatch");
    assert_eq!(refused.json()["upload_status"], "FAILED");
    let program = [b"\x7fELF\x02\x01\x01\x00".as_slice(), &[0; 92]].concat();
    let refused = tus.post(&[OCTETS, METADATA, ("Upload-Length", "100")], program).await;
    let refused = refused.refused(422, "type_refused");
    assert_eq!(refused.json()["upload_status"], "FAILED");
    stack.nothing_reserved(tus.client.principal.company_id).await;
    eventually("nothing to be stored", || async { (objects(&stack, &tus).await == 0).then_some(()) }).await;
    stack.finish().await;
}

/// If gateway and worker are separate processes, the gateway sends `Upload-Metadata` with the bytes.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_a_small_file_is_given_back_between_processes_too() {
    let cluster = Cluster::start(Counts::default()).await;
    let tus = Speaker::tus(cluster.client());
    let created = tus.post(&[OCTETS, METADATA, ("Upload-Length", "11")], "hello world").await;
    let upload = created.expect(201).with("Upload-Offset", "11").location();
    let head = tus.head(&upload).await.expect(200).with("Upload-Metadata", METADATA.1);
    head.with("Upload-Offset", "11").with("Upload-Length", "11");
    assert!(tus.client.content(&id_of(&upload)).await == b"hello world");
    cluster.finish().await;
}
