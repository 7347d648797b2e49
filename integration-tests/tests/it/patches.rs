//! PATCH requests of every size, and connections that break anywhere. The offset never decreases, the file is correct,
//! no staged object remains, and no byte is written to the store more often than necessary.

use crate::random::{bytes, sha256};
use crate::speaker::{Speaker, id_of};
use std::io::Read;
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use waybill_domain::upload::Command;
use waybill_integration_tests::{Cluster, Counts, Stack};
use waybill_object_store::ObjectStore;
use waybill_repository::{Context, Repository, UploadAggregate};
use waybill_schema::events::{ChunkStorage, ChunkUploaded};
use waybill_schema::{Actor, Causation, CompanyId, WorkerId};
use waybill_test_kit::eventually_within;

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;
const PART: usize = 8 * MIB;

/// Pseudo-random numbers that are the same in every run.
struct Numbers(std::vec::IntoIter<u8>);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(bytes(seed, 4_096).into_iter())
    }

    fn below(&mut self, bound: usize) -> usize {
        let number = (0..4).fold(0_u64, |number, _| number << 8 | u64::from(self.0.next().unwrap()));
        usize::try_from(number).unwrap() % bound
    }
}

async fn offset(tus: &Speaker, upload: &str) -> usize {
    tus.head(upload).await.expect(200).header("Upload-Offset").unwrap().parse().unwrap()
}

async fn nothing_is_staged(store: &impl ObjectStore, company: CompanyId) {
    let staged = format!("s/{company}/");
    eventually_within(Duration::from_secs(60), "the staged objects to be deleted", || async {
        store.list(&staged).await.unwrap().is_empty().then_some(())
    })
    .await;
}

async fn is_there(tus: &Speaker, upload: &str, content: &[u8]) {
    let id = id_of(upload);
    let file = tus.client.file_with_status(&id, "COMPLETED").await;
    assert_eq!(file["hash"], sha256(content));
    assert!(tus.client.content(&id).await == content);
}

/// Uploads a file in PATCH requests of `size` bytes. Returns how many bytes were written to the store per byte of the
/// file.
async fn in_patches_of(cluster: &Cluster, seed: u64, length: usize, size: usize) -> f64 {
    let tus = Speaker::tus(cluster.client());
    let content = bytes(seed, length);
    let before = cluster.workers[0].metric("waybill_stored_bytes_total").await;
    let upload = tus.create(length).await;
    let mut sent = 0;
    for piece in content.chunks(size) {
        let answer = tus.patch(&upload, sent, piece.to_vec()).await.expect(204);
        sent += piece.len();
        assert_eq!(answer.header("Upload-Offset").unwrap(), sent.to_string());
    }
    is_there(&tus, &upload, &content).await;
    nothing_is_staged(&cluster.backing.store(), tus.client.principal.company_id).await;
    let written = cluster.workers[0].metric("waybill_stored_bytes_total").await - before;
    written as f64 / length as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_of_every_size_are_written_twice_at_most_and_whole_parts_once() {
    let cluster = Cluster::start(Counts::default()).await;
    // Size of the file and of each PATCH, in bytes.
    let small = [
        (300, 1),
        (3 * MIB, 64 * KIB),
        (PART + 3 * MIB, MIB),
        (2 * PART + 5, 5 * MIB - 1),
        (2 * PART + 5, 5 * MIB),
        (2 * PART + 5, 5 * MIB + 1),
        (3 * PART, PART - 1),
        (3 * PART, PART + 1),
    ];
    for (seed, (length, size)) in (900..).zip(small) {
        let times = in_patches_of(&cluster, seed, length, size).await;
        assert!(times <= 2.0, "PATCHes of {size} bytes: every byte was written {times} times");
    }
    for (seed, (length, size)) in (920..).zip([(3 * PART + 17, PART), (3 * PART + 17, 2 * PART), (PART - 9, PART)]) {
        let times = in_patches_of(&cluster, seed, length, size).await;
        assert!((1.0..1.000_001).contains(&times), "whole parts in {size} bytes: written {times} times");
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_of_random_lengths_make_the_file() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let mut numbers = Numbers::new(940);
    let content = bytes(941, 3 * PART + 12_345);
    let upload = tus.create(content.len()).await;
    let mut sent = 0;
    while sent < content.len() {
        let most = [100, 10 * KIB, MIB, 2 * PART][numbers.below(4)];
        let to = (sent + 1 + numbers.below(most)).min(content.len());
        tus.patch(&upload, sent, content[sent..to].to_vec()).await.expect(204).with("Upload-Offset", &to.to_string());
        sent = to;
    }
    is_there(&tus, &upload, &content).await;
    nothing_is_staged(&stack.store(), tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_cuts_lose_nothing() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let mut numbers = Numbers::new(950);
    let content = bytes(951, 6 * PART + 321);
    let upload = tus.create(content.len()).await;
    let mut at = 0;
    for cut in 0..100 {
        let left = content.len() - at;
        // Sometimes less than a part, sometimes across two parts, sometimes no byte.
        let most = [1, 1_000, 300 * KIB, MIB][numbers.below(4)];
        let sent = numbers.below(most.min(left));
        let mut socket = tus.begin_patch(&upload, at, left, &content[at..at + sent]);
        if sent == 0 {
            // The offset does not show when an empty request has arrived. It must not arrive after the next one,
            // because it would take over.
            socket.shutdown(Shutdown::Write).unwrap();
            drop(socket.read_to_end(&mut Vec::new()));
        }
        drop(socket);
        let (noticed, status) = (format!("cut {cut}"), format!("/v1/uploads/{}", id_of(&upload)));
        let (last, to) = (AtomicU64::new(at as u64), (at + sent) as u64);
        // Exactly the bytes that arrived are kept.
        eventually_within(Duration::from_secs(120), &noticed, || async {
            let now = tus.client.get(&status).await.expect(200).body["offset_bytes"].as_u64().unwrap();
            let last = last.swap(now, Ordering::Relaxed);

            assert!((last..=to).contains(&now), "{noticed}: {now} after {last} of {to}");
            (now == to).then_some(())
        })
        .await;
        at += sent;
        assert_eq!(offset(&tus, &upload).await, at);
    }
    assert!(at > 0 && at < content.len());
    tus.patch(&upload, at, content[at..].to_vec()).await.expect(204);
    is_there(&tus, &upload, &content).await;
    nothing_is_staged(&stack.store(), tus.client.principal.company_id).await;
    stack.finish().await;
}

/// Correctness S3-11: the events that are read for an upload do not grow with its number of pieces, and the number of
/// very small pieces is limited.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_ten_thousand_pieces_is_looked_at_quickly_and_takes_no_more_small_ones() {
    const PIECES: usize = 10_000;
    const LEAST: usize = 10_000;
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(LEAST * 40_000).await;
    let aggregate =
        UploadAggregate { company: tus.client.principal.company_id, upload: id_of(&upload).parse().unwrap() };
    let context = Context {
        actor: Actor::Service("test".to_owned()),
        causation: Causation::Request(uuid::Uuid::now_v7()),
        address: None,
        clock: waybill_service_kit::now,
    };
    // The events that a worker would append. Sending the pieces would take some minutes.
    let repository = Repository::new(std::sync::Arc::new(stack.log().clone()));
    let mut loaded = repository.load(&aggregate).await.unwrap();
    for number in 0..PIECES as u64 {
        let piece = Command::RecordChunk(ChunkUploaded {
            offset: number,
            length: 1,
            crc64nvme: number,
            etag: number.to_string(),
            storage: ChunkStorage::Staged { storage_key: format!("s/{}/none", aggregate.company) },
            worker_id: WorkerId(uuid::Uuid::now_v7()),
            store_writes: 1,
        });
        repository.execute_from(&aggregate, &mut loaded, piece, &context).await.unwrap();
    }
    let began = std::time::Instant::now();
    assert_eq!(offset(&tus, &upload).await, PIECES);
    let first = began.elapsed();
    let began = std::time::Instant::now();
    assert_eq!(offset(&tus, &upload).await, PIECES);
    eprintln!("HEAD of an upload in {PIECES} pieces took {first:?}, and {:?} with the snapshot", began.elapsed());
    let refused = tus.patch(&upload, PIECES, vec![1; LEAST - 1]).await.refused(400, "piece_too_small");
    assert_eq!(refused.json()["least_bytes"], LEAST);
    assert_eq!(offset(&tus, &upload).await, PIECES);
    tus.patch(&upload, PIECES, vec![1; LEAST]).await.expect(204);
    assert_eq!(offset(&tus, &upload).await, PIECES + LEAST);
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}
