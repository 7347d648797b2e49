//! Offsets, parts and completions that other servers got wrong.

use super::{PART, offset};
use crate::random::{bytes, sha256};
use crate::speaker::{Speaker, id_of};
use futures_util::future::join_all;
use serde_json::json;
use waybill_integration_tests::{Client, Cluster, Counts, Options, Stack};
use waybill_test_kit::eventually;

/// Returns the types of all events of a file, in order.
async fn history(client: &Client, file: &str) -> Vec<String> {
    let events = client.get(&format!("/v1/audit?file_id={file}&limit=1000")).await.expect(200).body;
    events["items"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

fn count(history: &[String], kind: &str) -> usize {
    history.iter().filter(|event| *event == kind).count()
}

/// tus-node-server #505: the offset was the sum of the stored bytes, and a gap was not noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_not_counted_as_an_offset() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(960, 3 * PART);
    let upload = tus.create(content.len()).await;
    let id = id_of(&upload);
    tus.client.put_chunk(&id, 1, content[PART..2 * PART].to_vec()).await.expect(200);
    assert_eq!(offset(&tus, &upload).await, 0, "only the second part is stored");
    tus.patch(&upload, PART, "x").await.refused(409, "offset_mismatch").with("Upload-Offset", "0");
    tus.patch(&upload, 0, content[..PART].to_vec()).await.expect(204).with("Upload-Offset", &(2 * PART).to_string());
    tus.patch(&upload, 2 * PART, content[2 * PART..].to_vec()).await.expect(204);
    assert_eq!(tus.client.file_with_status(&id, "COMPLETED").await["hash"], sha256(&content));
    assert!(tus.client.content(&id).await == content);
    stack.finish().await;
}

/// A server deleted the acknowledged tail of an upload before it stored the part with these bytes. After a crash the
/// offset was lower.
#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_offset_survives_crashes_at_any_moment() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let tus = Speaker::tus(cluster.client());
    let content = bytes(961, 4 * PART);
    let upload = tus.create(content.len()).await;
    let mut acknowledged = 0;
    for round in 0..8 {
        // The worker is killed while it receives pieces that complete a part, at another moment in each round.
        let begin = acknowledged;
        let (tus, upload, content) = (&tus, &upload, &content);
        let pieces = async move {
            let mut at = begin;
            while at < content.len() - PART {
                let to = (at + 700_001).min(content.len());
                if !tus.is_taken(upload, at, content[at..to].to_vec()).await {
                    return at;
                }
                at = to;
            }
            at
        };
        let die = async {
            let before = cluster.workers[0].metric("waybill_received_bytes_total").await;
            eventually("the worker to receive some bytes", || async {
                let received = cluster.workers[0].metric("waybill_received_bytes_total").await - before;
                (received > 400_000 + 500_000 * round).then_some(())
            })
            .await;
        };
        tokio::pin!(pieces);
        let done = tokio::select! {
            at = &mut pieces => Some(at),
            () = die => None,
        };
        if done.is_some() {
            break;
        }
        cluster.workers[0].kill();
        acknowledged = pieces.await;
        cluster.workers[0].restart().await;
        let now = eventually("the offset to be known again", || async {
            let head = tus.head(upload).await;
            head.header("Upload-Offset").map(|offset| offset.parse::<usize>().unwrap())
        })
        .await;
        assert!(now >= acknowledged, "{acknowledged} bytes were acknowledged, {now} are there");
        acknowledged = now;
    }
    let rest = eventually("the rest to be accepted", || async {
        let at = offset(&tus, &upload).await;
        tus.is_taken(&upload, at, content[at..].to_vec()).await.then_some(())
    });
    rest.await;
    assert_eq!(tus.client.file_with_status(&id_of(&upload), "COMPLETED").await["hash"], sha256(&content));
    cluster.finish().await;
}

/// After a crash between the last part and the completion, HEAD returned the whole length and the client reported
/// success, but there was no file.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_head_reports_as_complete_becomes_a_file_exactly_once() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(962, PART + 100);
    let upload = tus.create(content.len()).await;
    let id = id_of(&upload);
    // All bytes are stored, but the upload is not completed, as after a crash after the last part.
    tus.client.put_chunk(&id, 0, content[..PART].to_vec()).await.expect(200);
    tus.client.put_chunk(&id, 1, content[PART..].to_vec()).await.expect(200);
    assert_eq!(count(&history(&tus.client, &id).await, "FileCompleted"), 0);
    let heads = join_all((0..8).map(|_| tus.head(&upload))).await;
    for head in heads {
        head.expect(200).with("Upload-Offset", &content.len().to_string());
    }
    assert_eq!(tus.client.file_with_status(&id, "COMPLETED").await["hash"], sha256(&content));
    // tusd #1270, ocis #8720: hooks fired twice or never.
    stack.settled().await;
    let history = history(&tus.client, &id).await;
    for kind in ["UploadStarted", "FileCompleted", "FileVerified"] {
        assert_eq!(count(&history, kind), 1, "{kind} in {history:?}");
    }
    let all = tus.client.get("/v1/audit?limit=1000").await.expect(200);
    let items = all.body["items"].as_array().unwrap();
    let settled = items.iter().filter(|event| event["type"] == "QuotaSettled");
    let of_upload = settled.flat_map(|event| event["data"]["items"].as_array().unwrap());
    assert_eq!(of_upload.filter(|item| item["upload_id"] == id).count(), 1, "{items:?}");
    stack.finish().await;
}

/// ocis #8720, opencloud #3027: an event was lost, and a file stayed "processing" forever.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_before_it_verifies_leaves_no_file_in_processing() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let client = cluster.client();
    let content = bytes(963, PART + 5);
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, content[..PART].to_vec()).await.expect(200);
    client.put_chunk(&upload, 1, content[PART..].to_vec()).await.expect(200);
    cluster.workers[0].kill();
    client.post(&format!("/v1/uploads/{upload}/complete"), &json!({})).await.expect(202);
    client.file_with_status(&upload, "PROCESSING").await;
    cluster.workers[0].restart().await;
    assert_eq!(client.file_with_status(&upload, "COMPLETED").await["hash"], sha256(&content));
    cluster.finish().await;
}

/// tusd #1247, #1278, tus-node-server #688: part numbers with gaps or above 10,000, and parts of different sizes.
#[tokio::test(flavor = "multi_thread")]
async fn parts_are_numbered_without_gaps_and_equal_in_size() {
    let args = vec!["--max-file-bytes=1099511627776".to_owned(), "--default-quota-bytes=10995116277760".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(964, 3 * PART + 1_000);
    let upload = tus.create(content.len()).await;
    let id = id_of(&upload);
    let mut at = 0;
    for piece in content.chunks(1_234_567) {
        tus.patch(&upload, at, piece.to_vec()).await.expect(204);
        at += piece.len();
    }
    let events = tus.client.get(&format!("/v1/audit?file_id={id}&limit=1000")).await.expect(200).body;
    let mut parts: Vec<(u64, u64)> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| {
            let data = &event["data"];
            let number = data["part_number"].as_u64().or_else(|| data["storage"]["Part"]["part_number"].as_u64())?;
            Some((number, data["length"].as_u64()?))
        })
        .collect();
    parts.sort_unstable();
    let part = PART as u64;
    assert_eq!(parts, [(1, part), (2, part), (3, part), (4, 1_000)]);
    // An upload of the maximum size, and one of deferred length.
    let headers = [("Upload-Length", "1099511627776")];
    let largest = tus.post(&headers, "").await.expect(201).location();
    let unknown = tus.post(&[("Upload-Defer-Length", "1")], "").await.expect(201).location();
    for upload in [largest, unknown] {
        let status = tus.client.get(&format!("/v1/uploads/{}", id_of(&upload))).await.expect(200).body;
        let part_size_bytes = status["part_size_bytes"].as_u64().unwrap();
        assert!((1_u64 << 40).div_ceil(part_size_bytes) <= 10_000, "{status}");
        tus.delete(&upload).await.expect(204);
    }
    stack.finish().await;
}
