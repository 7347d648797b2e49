//! Failures that other upload servers were seen to have, each provoked.

use crate::random::{bytes, sha256};
use crate::speaker::{Speaker, answered, id_of};
use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use reqwest::{Body, Method};
use serde_json::json;
use std::time::{Duration, Instant};
use waybill_integration_tests::{Client, Cluster, Counts, Options, Stack};
use waybill_object_store::ObjectStore;
use waybill_schema::names::takeover_subject;
use waybill_test_kit::eventually;

const MIB: usize = 1_024 * 1_024;
const PART: usize = 8 * MIB;

async fn offset(tus: &Speaker, upload: &str) -> usize {
    tus.head(upload).await.expect(200).header("Upload-Offset").unwrap().parse().unwrap()
}

/// The types of all events of a file, in order.
async fn history(client: &Client, file: &str) -> Vec<String> {
    let events = client.get(&format!("/v1/audit?file_id={file}&limit=1000")).await.expect(200).body;
    events["items"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

fn count(history: &[String], kind: &str) -> usize {
    history.iter().filter(|event| *event == kind).count()
}

/// tus-node-server #505: the offset was the sum of what was stored, and a gap went unnoticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_not_counted_as_an_offset() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(960, 3 * PART);
    let upload = tus.create(content.len()).await;
    let id = id_of(&upload);
    tus.client.put_chunk(&id, 1, content[PART..2 * PART].to_vec()).await.expect(200);
    assert_eq!(offset(&tus, &upload).await, 0, "the second part is there, the first one is not");
    tus.patch(&upload, PART, "x").await.refused(409, "offset_mismatch").with("Upload-Offset", "0");
    tus.patch(&upload, 0, content[..PART].to_vec()).await.expect(204).with("Upload-Offset", &(2 * PART).to_string());
    tus.patch(&upload, 2 * PART, content[2 * PART..].to_vec()).await.expect(204);
    assert_eq!(tus.client.file_with_status(&id, "COMPLETED").await["hash"], sha256(&content));
    assert!(tus.client.content(&id).await == content);
    stack.finish().await;
}

/// The acknowledged end of an upload was deleted before the part that it was merged into was stored: after a crash the
/// offset went back.
#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_offset_survives_crashes_at_any_moment() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let tus = Speaker::tus(cluster.client());
    let content = bytes(961, 4 * PART);
    let upload = tus.create(content.len()).await;
    let mut acknowledged = 0;
    for round in 0..8 {
        // The worker dies while it takes pieces that fill up a part, each time at another moment.
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
            eventually("the worker to have taken some", || async {
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
    let rest = eventually("the rest to be taken", || async {
        let at = offset(&tus, &upload).await;
        tus.is_taken(&upload, at, content[at..].to_vec()).await.then_some(())
    });
    rest.await;
    assert_eq!(tus.client.file_with_status(&id_of(&upload), "COMPLETED").await["hash"], sha256(&content));
    cluster.finish().await;
}

/// A crash between the last part and the completion: HEAD said complete, the client reported success, there was no file.
#[tokio::test(flavor = "multi_thread")]
async fn what_head_calls_whole_becomes_a_file_once() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(962, PART + 100);
    let upload = tus.create(content.len()).await;
    let id = id_of(&upload);
    // All bytes are there, and nobody has said so: as after a crash behind the last part.
    tus.client.put_chunk(&id, 0, content[..PART].to_vec()).await.expect(200);
    tus.client.put_chunk(&id, 1, content[PART..].to_vec()).await.expect(200);
    assert_eq!(count(&history(&tus.client, &id).await, "FileCompleted"), 0);
    let heads = join_all((0..8).map(|_| tus.head(&upload))).await;
    for head in heads {
        head.expect(200).with("Upload-Offset", &content.len().to_string());
    }
    assert_eq!(tus.client.file_with_status(&id, "COMPLETED").await["hash"], sha256(&content));
    // tusd #1270, ocis #8720: hooks that came twice, or never.
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

/// ocis #8720, opencloud #3027: an event was lost, and a file was "processing" for ever.
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

/// tusd #1247, #1278, tus-node-server #688: part numbers that skip or run past 10,000, parts of different sizes.
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
    // As large as it may be, and of a length that nobody knows yet.
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

/// tusd #1372: a lock outlived its owner.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_locked_by_those_that_died() {
    let mut cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let client = cluster.client();
    let at = |number: usize| format!("http://{}", cluster.gateways[number].addr());
    let (first, second) = (Speaker::tus(client.at(at(0))), Speaker::tus(client.at(at(1))));
    let content = bytes(965, 2 * PART);
    let upload = first.create(content.len()).await;
    let held = first.begin_patch(&upload, 0, content.len(), &content[..MIB]);
    eventually("the bytes to be on their way", || async {
        let received = [
            cluster.workers[0].metric("waybill_received_bytes_total").await,
            cluster.workers[1].metric("waybill_received_bytes_total").await,
        ];
        (received.iter().sum::<u64>() >= MIB as u64).then_some(())
    })
    .await;
    cluster.gateways[0].kill();
    cluster.workers[0].kill();
    let began = Instant::now();
    let at = eventually("the upload to be there", || async {
        let head = second.head(&upload).await;
        head.header("Upload-Offset").map(|offset| offset.parse::<usize>().unwrap())
    })
    .await;
    eventually("the rest to be taken", || async {
        let at = offset(&second, &upload).await.max(at);
        second.is_taken(&upload, at, content[at..].to_vec()).await.then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    drop(held);
    assert_eq!(second.client.file_with_status(&id_of(&upload), "COMPLETED").await["hash"], sha256(&content));
    cluster.gateways[0].restart().await;
    cluster.workers[0].restart().await;
    cluster.finish().await;
}

/// tusd #1183: locks for one node only. A newer request ends the older one, on whichever gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_request_ends_the_older_one_on_another_gateway() {
    let cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let client = cluster.client();
    let at = |number: usize| format!("http://{}", cluster.gateways[number].addr());
    let (first, second) = (Speaker::tus(client.at(at(0))), Speaker::tus(client.at(at(1))));
    let content = bytes(966, 2 * PART);
    let upload = first.create(content.len()).await;
    let mut older = first.begin_patch(&upload, 0, content.len(), &content[..MIB + 17]);
    eventually("the bytes to be on their way", || async {
        let received = [
            cluster.workers[0].metric("waybill_received_bytes_total").await,
            cluster.workers[1].metric("waybill_received_bytes_total").await,
        ];
        (received.iter().sum::<u64>() >= (MIB + 17) as u64).then_some(())
    })
    .await;
    let began = Instant::now();
    assert_eq!(offset(&second, &upload).await, MIB + 17, "every byte that had arrived counts");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(answered(&mut older).starts_with("HTTP/1.1 409"), "the older one is told that it was superseded");
    second.patch(&upload, MIB + 17, content[MIB + 17..].to_vec()).await.expect(204);
    assert_eq!(second.client.file_with_status(&id_of(&upload), "COMPLETED").await["hash"], sha256(&content));
    cluster.finish().await;
}

/// A holder lets go while it is asked, and the question gets lost: the newer request asks again, and goes on without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_request_asks_again_where_it_gets_no_answer() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(MIB).await;
    let nats = stack.nats().await;
    let mut questions = nats.subscribe(takeover_subject(id_of(&upload).parse().unwrap())).await.unwrap();
    nats.flush().await.unwrap();
    let asked = async {
        for _ in 0..3 {
            questions.next().await.unwrap();
        }
        questions.unsubscribe().await.unwrap();
    };
    let (_, offset) = join(asked, offset(&tus, &upload)).await;
    assert_eq!(offset, 0);
    stack.finish().await;
}

/// tusd #1356: uploads blocked downloads, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_and_a_stalled_upload_block_nobody() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(967, 4 * PART);
    let upload = tus.create(content.len()).await;
    tus.patch(&upload, 0, content.clone()).await.expect(204);
    let id = id_of(&upload);
    tus.client.file_with_status(&id, "COMPLETED").await;
    // A download of which nobody reads more than the head.
    let mut download = tus.begin("GET", &format!("/v1/files/{id}/content"), &[], 0, b"");
    assert!(answered(&mut download).starts_with("HTTP/1.1 200"));
    let stalled = tus.create(1_000).await;
    let held = tus.begin_patch(&stalled, 0, 1_000, &content[..10]);
    tus.head(&upload).await.expect(200).with("Upload-Offset", &content.len().to_string());
    assert!(tus.client.content(&id).await == content);
    tus.delete(&upload).await.expect(204);
    tus.head(&upload).await.expect(404);
    assert_eq!(offset(&tus, &stalled).await, 10, "whoever stalls is asked to give way");
    tus.delete(&stalled).await.expect(204);
    drop((download, held));
    stack.finish().await;
}

/// owncloud/client #5027: uploads that grew at the same time overshot the quota.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_unknown_length_never_pass_the_limit_together() {
    let stack = Stack::start().await;
    let client = stack.client();
    let company = client.principal.company_id;
    let limit = 200 * MIB as u64;
    let put = client.request(Method::PUT, &format!("/v1/admin/companies/{company}/quota"));
    client.send(put.json(&json!({ "storage_limit_bytes": limit }))).await.expect(200);
    let tus = Speaker::tus(client);
    let mut uploads = Vec::new();
    for _ in 0..3 {
        uploads.push(tus.post(&[("Upload-Defer-Length", "1")], "").await.expect(201).location());
    }
    tus.post(&[("Upload-Defer-Length", "1")], "").await.refused(413, "quota_exceeded");
    // Each has 64 MiB; only one of them can get 64 more, by a body whose length is not known either.
    let piece = bytes(968, MIB);
    let grow = async |upload: &String| {
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> = (0..65).map(|_| Ok(piece.clone())).collect();
        let body = Body::wrap_stream(futures_util::stream::iter(pieces));
        tus.patch(upload, 0, body).await.status
    };
    let statuses = join_all(uploads.iter().map(grow)).await;
    assert!(stack.reserved_bytes(company).await <= limit);
    assert!(statuses.iter().all(|status| *status == 413), "nobody has 8 MiB left: {statuses:?}");
    for upload in &uploads {
        let stored = offset(&tus, upload).await;
        assert!(stored <= 64 * MIB, "{stored} bytes without a reservation");
    }
    // What was taken can be completed: the length is what is there.
    let stored = offset(&tus, &uploads[0]).await;
    let said = [("Upload-Length", &*stored.to_string())];
    tus.patch_with(&uploads[0], stored, &said, "").await.expect(204);
    let file = tus.client.file_with_status(&id_of(&uploads[0]), "COMPLETED").await;
    assert_eq!(file["size_bytes"], stored);
    for upload in &uploads[1..] {
        tus.delete(upload).await.expect(204);
    }
    stack.nothing_reserved(company).await;
    let used = eventually("the quota to be projected", || async {
        let quota = tus.client.get("/v1/quota").await.expect(200).body;
        (quota["storage_reserved_bytes"] == 0).then_some(quota)
    })
    .await;
    assert_eq!(used["storage_used_bytes"], stored);
    stack.finish().await;
}

/// HEAD told anyone how far an upload was.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_is_told() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(100).await;
    let stranger = Speaker::tus(stack.client());
    let colleague = Speaker::tus(stack.client_for(tus.client.principal.company_id, &[]));
    for method in [Method::HEAD, Method::PATCH, Method::DELETE, Method::GET] {
        let url = format!("{}{upload}", stack.url());
        let request = reqwest::Client::new().request(method.clone(), &url).header("Tus-Resumable", "1.0.0");
        let answer = request.header("Upload-Offset", "0").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().get("Upload-Offset")), (401, None), "{method}");
        let overridden = reqwest::Client::new().post(&url).header("X-HTTP-Method-Override", method.as_str());
        let answer = overridden.header("Tus-Resumable", "1.0.0").send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 400 | 401), "{method}: {}", answer.status());
    }
    for other in [&stranger, &colleague] {
        other.head(&upload).await.expect(404).without("Upload-Offset");
        other.patch(&upload, 0, "abc").await.refused(404, "not_found");
        other.delete(&upload).await.refused(404, "not_found");
    }
    assert_eq!(offset(&tus, &upload).await, 0);
    stack.finish().await;
}

/// tusd #420: memory grew with the number of uploads.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_number_of_uploads() {
    let cluster = Cluster::start(Counts::default()).await;
    let tus = Speaker::tus(cluster.client());
    let begin = async |count: usize| {
        for _ in 0..count / 10 {
            let started = (0..10).map(|_| async {
                let upload = tus.create(PART).await;
                tus.patch(&upload, 0, vec![7; 1_000]).await.expect(204);
            });
            join_all(started).await;
        }
    };
    let rss = || cluster.gateways[0].rss_bytes() + cluster.workers[0].rss_bytes();
    begin(100).await;
    let before = rss();
    begin(400).await;
    let each = rss().saturating_sub(before) / 400;
    assert!(each < 64 * 1_024, "an open upload takes {each} bytes of memory");
    cluster.finish().await;
}

/// Uploads that nobody goes on with end, with all that they hold; whoever comes late is told that they are gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_continued_ends_and_leaves_nothing() {
    let args = ["--upload-lifetime-s=8", "--expiry-grace-s=0", "--worker-sweep-ms=200"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let tus = Speaker::tus(stack.client());
    let company = tus.client.principal.company_id;
    let content = bytes(969, PART + 5_000);
    let upload = tus.create(content.len()).await;
    tus.patch(&upload, 0, content.clone()[..PART + 10].to_vec()).await.expect(204);
    let partial = [("Upload-Concat", "partial"), ("Upload-Length", "1000")];
    let partial = tus.post(&partial, "").await.expect(201).location();
    let deferred = tus.post(&[("Upload-Defer-Length", "1")], "").await.expect(201).location();
    let direct = tus.client.start_with(PART as u64, json!({ "mode": "direct" })).await.expect(201).text("upload_id");
    stack.nothing_reserved(company).await;
    for upload in [&upload, &partial, &deferred] {
        tus.head(upload).await.expect(404);
        tus.patch(upload, 0, "abc").await.refused(410, "upload_ended");
    }
    let status = tus.client.get(&format!("/v1/uploads/{}", id_of(&upload))).await.expect(200);
    assert_eq!((status.text("status"), status.text("error_code")), ("FAILED".into(), "upload_expired".into()));
    let sign = format!("/v1/uploads/{direct}/parts/sign");
    let parts = json!({ "parts": [{ "part_number": 1, "size_bytes": PART, "checksum": "crc32c AAAAAA==" }] });
    tus.client.post(&sign, &parts).await.refused(410, "upload_ended");
    eventually("all that was stored to be gone", || async {
        let mut left = Vec::new();
        for prefix in ["s", "o", "q"] {
            left.extend(stack.store().list(&format!("{prefix}/{company}/")).await.unwrap());
        }
        let open = stack.store().list_multiparts(&format!("o/{company}/")).await.unwrap();
        (left.is_empty() && open.is_empty()).then_some(())
    })
    .await;
    stack.finish().await;
}
