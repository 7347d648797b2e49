//! Races: concurrent writers of the same chunk. The file ends up correct or FAILED, never wrong.

use crate::random::{bytes, sha256};
use serde_json::json;
use waybill_integration_tests::{Answer, Client, Cluster, Counts};
use waybill_test_kit::eventually;

const PART: usize = 8 * 1_024 * 1_024;

fn two() -> Counts {
    Counts { each: 2, ..Counts::default() }
}

/// Asserts that the file has its digest and is one of the `candidates`, or has failed. Returns `true` if it is
/// complete.
async fn right_or_failed(client: &Client, upload: &str, done: &Answer, candidates: &[Vec<u8>]) -> bool {
    if done.status == 200 {
        let content = client.content(upload).await;
        assert_eq!(sha256(&content), done.text("sha256"), "the file has other bytes than were verified");
        assert!(candidates.contains(&content), "the file is a mixture of the sent files");
        return true;
    }
    assert_eq!(done.status, 422, "{done:?}");
    let status = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
    assert_eq!(status.text("status"), "FAILED");
    let content = client.get(&format!("/v1/files/{upload}/content")).await;
    assert_eq!(content.status, 409, "a failed file is readable");
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_bring_the_same_chunk_at_once() {
    let cluster = Cluster::start(two()).await;
    let client = cluster.client();
    let gateways: Vec<Client> =
        cluster.gateways.iter().map(|gateway| client.at(format!("http://{}", gateway.addr()))).collect();
    for (round, same_bytes) in [false, true, false, true, false, true].into_iter().enumerate() {
        let first = bytes(200 + round as u64, 2 * PART);
        let mut second = first.clone();
        second[PART / 2] ^= u8::from(!same_bytes);
        let upload = gateways[0].start(2 * PART as u64).await.expect(201).text("upload_id");
        let put = |gateway: usize, content: &[u8]| {
            let (client, upload, chunk) = (gateways[gateway].clone(), upload.clone(), content[..PART].to_vec());
            async move { client.put_chunk(&upload, 0, chunk).await }
        };
        let (one, other) = tokio::join!(put(0, &first), put(1, &second));
        if one.status != 200 && other.status != 200 {
            // The newer request took over and found different stored bytes. The client of the older request must send
            // them again.
            assert!(!same_bytes, "neither request was accepted: {one:?} {other:?}");
            let again = put(0, &first).await;
            if again.status != 200 {
                put(1, &second).await.expect(200);
            }
        }
        gateways[1].put_chunk(&upload, 1, first[PART..].to_vec()).await.expect(200);
        let done = gateways[0].complete(&upload, &json!({})).await;
        let completed = right_or_failed(&gateways[1], &upload, &done, &[first, second]).await;
        assert!(completed || !same_bytes, "equal bytes from two requests made the file fail: {done:?}");
    }
    cluster.finish().await;
}

/// A worker is stopped while it writes a part, another worker takes over, and the first one resumes and writes its part
/// last.
async fn late_write(same_bytes: bool) {
    let cluster = Cluster::start(Counts { valves: true, ..two() }).await;
    let client = cluster.client();
    let content = bytes(300, PART + 1_000);
    let mut late = content.clone();
    if !same_bytes {
        late[1_000_000] ^= 1;
    }
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    // The event of the other chunk names the worker of the upload.
    client.put_chunk(&upload, 1, content[PART..].to_vec()).await.expect(200);
    let events = client.get(&format!("/v1/audit?file_id={upload}")).await.expect(200).body;
    let chunk = events["items"].as_array().unwrap().iter().find(|event| event["type"] == "ChunkUploaded").unwrap();
    let worker_id = chunk["data"]["worker_id"].as_str().unwrap().to_owned();
    let at = cluster.workers.iter().position(|worker| worker.has_logged(&worker_id)).unwrap();
    let (owner, valve) = (&cluster.workers[at], &cluster.valves[at]);

    let received = owner.metric("waybill_received_bytes_total").await;
    let stored = owner.metric("waybill_stored_bytes_total").await;
    valve.close();
    let waiting = tokio::spawn({
        let (client, upload, late) = (client.clone(), upload.clone(), late[..PART].to_vec());
        async move { client.put_chunk(&upload, 0, late).await.status }
    });
    eventually("the worker to have the whole part", || async {
        let received = owner.metric("waybill_received_bytes_total").await - received;
        (received == PART as u64).then_some(())
    })
    .await;
    owner.hang();
    let taken_over = eventually("another worker to accept the chunk", || async {
        let taken = client.put_chunk(&upload, 0, content[..PART].to_vec()).await;
        (taken.status == 200).then_some(taken)
    })
    .await;
    assert_eq!(taken_over.body["offset_bytes"], content.len());
    assert_eq!(waiting.await.unwrap(), 503, "the waiting client did not get 503");
    owner.go_on();
    valve.open();
    eventually("the late part to be written", || async {
        let stored = owner.metric("waybill_stored_bytes_total").await - stored;
        (stored >= PART as u64).then_some(())
    })
    .await;
    let done = client.complete(&upload, &json!({ "sha256": sha256(&content) })).await;
    let completed = right_or_failed(&client, &upload, &done, &[content]).await;
    assert!(completed || !same_bytes, "writing equal bytes twice made the file fail: {done:?}");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_writes_other_bytes_late() {
    late_write(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_writes_the_same_bytes_late() {
    late_write(true).await;
}
