//! Locks that outlived their owners or blocked other requests.

use super::{MIB, PART, offset};
use crate::random::{bytes, sha256};
use crate::speaker::{Speaker, answered, id_of};
use futures_util::StreamExt;
use futures_util::future::join;
use std::time::{Duration, Instant};
use waybill_integration_tests::{Cluster, Counts, Stack};
use waybill_schema::names::takeover_subject;
use waybill_test_kit::eventually;

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
    eventually("the workers to receive the bytes", || async {
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
    eventually("the rest to be accepted", || async {
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

/// tusd #1183: locks worked on one node only. In Waybill a newer request ends the older one on any gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_request_ends_the_older_one_on_another_gateway() {
    let cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let client = cluster.client();
    let at = |number: usize| format!("http://{}", cluster.gateways[number].addr());
    let (first, second) = (Speaker::tus(client.at(at(0))), Speaker::tus(client.at(at(1))));
    let content = bytes(966, 2 * PART);
    let upload = first.create(content.len()).await;
    let mut older = first.begin_patch(&upload, 0, content.len(), &content[..MIB + 17]);
    eventually("the workers to receive the bytes", || async {
        let received = [
            cluster.workers[0].metric("waybill_received_bytes_total").await,
            cluster.workers[1].metric("waybill_received_bytes_total").await,
        ];
        (received.iter().sum::<u64>() >= (MIB + 17) as u64).then_some(())
    })
    .await;
    let began = Instant::now();
    assert_eq!(offset(&second, &upload).await, MIB + 17, "the offset does not have all bytes that arrived");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(answered(&mut older).starts_with("HTTP/1.1 409"), "the older request did not get 409");
    second.patch(&upload, MIB + 17, content[MIB + 17..].to_vec()).await.expect(204);
    assert_eq!(second.client.file_with_status(&id_of(&upload), "COMPLETED").await["hash"], sha256(&content));
    cluster.finish().await;
}

/// The takeover message can be lost if the older request ends at that moment. The newer request repeats the message,
/// and then continues without an answer.
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

/// tusd #1356: uploads blocked downloads, and downloads blocked uploads.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_and_a_stalled_upload_block_nobody() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(967, 4 * PART);
    let upload = tus.create(content.len()).await;
    tus.patch(&upload, 0, content.clone()).await.expect(204);
    let id = id_of(&upload);
    tus.client.file_with_status(&id, "COMPLETED").await;
    // The client of this download reads only the head.
    let mut download = tus.begin("GET", &format!("/v1/files/{id}/content"), &[], 0, b"");
    assert!(answered(&mut download).starts_with("HTTP/1.1 200"));
    let stalled = tus.create(1_000).await;
    let held = tus.begin_patch(&stalled, 0, 1_000, &content[..10]);
    tus.head(&upload).await.expect(200).with("Upload-Offset", &content.len().to_string());
    assert!(tus.client.content(&id).await == content);
    tus.delete(&upload).await.expect(204);
    tus.head(&upload).await.expect(404);
    assert_eq!(offset(&tus, &stalled).await, 10, "the offset does not have the bytes of the stalled request");
    tus.delete(&stalled).await.expect(204);
    drop((download, held));
    stack.finish().await;
}
