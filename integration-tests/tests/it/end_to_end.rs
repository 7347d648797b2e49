//! One scenario with all main features, for each way to run Waybill: all roles in one process, each role on its own,
//! and two of each role behind balancers.

use crate::random::{bytes, sha256};
use crate::socket::{next, send, with_token};
use reqwest::Method;
use serde_json::{Value, json};
use waybill_integration_tests::{Client, Cluster, Counts, Options, Shape, Stack};
use waybill_test_kit::eventually;

const PART: usize = 8 * 1_024 * 1_024;

/// Runs a watched session of four files: one in shuffled chunks, one in a single request, one with a wrong digest, and
/// one that is cancelled.
async fn everything(client: &Client, progress_url: &str, seed: u64) {
    let session = client.post("/v1/sessions", &json!({ "name": "Summer" })).await.expect(201).text("session_id");
    let mut socket = with_token(progress_url, client).await;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": format!("session:{session}") })).await;
    assert_eq!(next(&mut socket).await["state"]["session"]["session_name"], "Summer");
    let in_session = json!({ "session_id": session });

    let film = bytes(seed, 2 * PART + 4_321);
    let film_id = client.start_with(film.len() as u64, in_session.clone()).await.expect(201).text("upload_id");
    for index in [2, 0, 1] {
        let chunk = film.chunks(PART).nth(index).unwrap();
        client.put_chunk(&film_id, index, chunk.to_vec()).await.expect(200);
        client.put_chunk(&film_id, index, chunk.to_vec()).await.expect(200);
    }
    let done = client.complete(&film_id, &json!({ "sha256": sha256(&film) })).await.expect(200);
    assert_eq!((done.text("status"), done.text("sha256")), ("COMPLETED".to_owned(), sha256(&film)));

    let note = format!("a note of {seed}").into_bytes();
    let query = format!("name=note.txt&mime_type=text/plain&session_id={session}");
    let post = || {
        let request = client.request(Method::POST, &format!("/v1/files?{query}"));
        request.header("Idempotency-Key", format!("note {seed}")).body(note.clone())
    };
    let note_id = client.send(post()).await.expect(201).text("file_id");
    assert_eq!(client.send(post()).await.expect(201).text("file_id"), note_id, "a repeated request made a second file");

    let wrong = client.start_with(3, in_session.clone()).await.expect(201).text("upload_id");
    client.put_chunk(&wrong, 0, "abc").await.expect(200);
    client.complete(&wrong, &json!({ "sha256": sha256(b"abd") })).await.refused(422, "digest_mismatch");
    let given_up = client.start_with(PART as u64, in_session).await.expect(201).text("upload_id");
    client.delete(&format!("/v1/uploads/{given_up}")).await.expect(204);

    let closed = client.post(&format!("/v1/sessions/{session}/close"), &json!({})).await.expect(204);
    let ended = eventually("the session to end", || async {
        let session = client.get_after(&format!("/v1/sessions/{session}"), &closed).await.expect(200).body;
        (session["status"] != "ACTIVE").then_some(session)
    })
    .await;
    let figures = ["total_files", "completed_files", "failed_files"].map(|member| ended[member].as_u64().unwrap());
    assert_eq!(
        (ended["status"].as_str(), figures),
        (Some("FAILED"), [4, 2, 2]),
        "the session does not count two failed files: {ended}"
    );

    watched(
        &mut socket,
        &[
            ("FileVerified", &film_id),
            ("FileUploaded", &note_id),
            ("FileRejected", &wrong),
            ("UploadCancelled", &given_up),
        ],
    )
    .await;
    readable(client, &film_id, &film).await;
    readable(client, &note_id, &note).await;
    figures_are_right(client, (film.len() + note.len()) as u64).await;
    let history = client.get(&format!("/v1/audit?file_id={film_id}")).await.expect(200).body;
    let kinds: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    for kind in ["QuotaReserved", "UploadStarted", "ChunkUploaded", "FileCompleted", "FileVerified"] {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }
}

/// Waits until all these events have arrived, in any order.
async fn watched(socket: &mut crate::socket::Socket, expected: &[(&str, &String)]) {
    let mut missing: Vec<(String, String)> =
        expected.iter().map(|(kind, id)| ((*kind).to_owned(), (*id).clone())).collect();
    while !missing.is_empty() {
        let frame: Value = next(socket).await;
        let is = |(kind, id): &(String, String)| frame["kind"] == kind.as_str() && frame["upload_id"] == id.as_str();
        missing.retain(|transition| !is(transition));
    }
}

async fn readable(client: &Client, file: &str, content: &[u8]) {
    client.file_with_status(file, "COMPLETED").await;
    assert!(client.content(file).await == content, "the file has other bytes than were sent");
    let path = format!("/v1/files/{file}/content");
    let part = client.request(Method::GET, &path).header("Range", "bytes=2-5").send().await.unwrap();
    assert_eq!((part.status().as_u16(), &part.bytes().await.unwrap()[..]), (206, &content[2..6]));
}

async fn figures_are_right(client: &Client, used: u64) {
    let quota = eventually("the space to be settled", || async {
        let quota = client.get("/v1/quota").await.expect(200).body;
        (quota["storage_reserved_bytes"] == 0 && quota["storage_used_bytes"] == used).then_some(quota)
    })
    .await;
    assert_eq!(quota["file_count"], 2);
    let listed = client.get("/v1/files").await.expect(200).body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
}

async fn in_one_process(shape: Shape) {
    let stack = Stack::with(Options { shape, ..Options::default() }).await;
    everything(&stack.client(), stack.progress_url(), 400).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_roles_together() {
    in_one_process(Shape::Together).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_for_itself() {
    in_one_process(Shape::Apart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_each_role_and_four_partitions() {
    let cluster = Cluster::start(Counts { each: 2, partitions: 4, ..Counts::default() }).await;
    let mut partitions = std::collections::BTreeSet::new();
    for seed in 500.. {
        let client = cluster.client();
        partitions.insert(cluster.backing.partition_of(client.principal.company_id));
        everything(&client, &cluster.progress_url(), seed).await;
        if partitions.len() == 4 {
            break;
        }
    }
    cluster.finish().await;
}
