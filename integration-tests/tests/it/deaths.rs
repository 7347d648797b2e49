//! Processes are killed during an upload of 1 GiB. The upload resumes where it was, and the result is correct.

use crate::random::Source;
use serde_json::json;
use std::time::Duration;
use waybill_event_log::read_after;
use waybill_integration_tests::{Client, Cluster, CommandLine, Counts, Process};
use waybill_schema::events::{ChunkStorage, ChunkUploaded, UploadEvent};
use waybill_schema::{Entity, Event, Subject, WorkerId};
use waybill_test_kit::{eventually_within, settings};

/// Maximum time until the upload is in the middle, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const GIB: u64 = 1_024 * 1_024 * 1_024;
const PART: u64 = 8 * 1_024 * 1_024;
/// Number of stored bytes at which a process is killed.
const FAR: u64 = 300 * 1_024 * 1_024;

/// Maximum number of bytes that are sent again: four parallel chunks, each of which can be interrupted several times.
const LOST_AT_MOST: u64 = 16 * PART;

/// A running upload of 1 GiB with the command line.
struct Upload {
    client: Client,
    command: CommandLine,
    id: String,
    source: Source,
}

impl Upload {
    async fn start(cluster: &Cluster) -> Self {
        let client = cluster.client();
        let source = Source::write(cluster.folder(), "film.bin", 77, GIB);
        let command = CommandLine::start(&client, cluster.folder(), "upload", &[&source.path]);
        let id = command.event("started").await["upload_id"].as_str().unwrap().to_owned();
        Self { client, command, id, source }
    }

    /// Waits until the upload has [`FAR`] bytes. Returns the worker that wrote last.
    async fn is_far(&self, cluster: &Cluster) -> WorkerId {
        let last = eventually_within(PATIENCE, "the upload to be in the middle", || async {
            let stored = stored(cluster, &self.client, &self.id).await;
            let bytes: u64 = stored.iter().map(|chunk| chunk.length).sum();
            (bytes >= FAR).then_some(stored.last()?.worker_id)
        });
        last.await
    }

    /// Asserts that the upload was not finished when the process died, and that the command retries.
    async fn is_disturbed(&self) {
        let events = self.command.events();
        assert!(events.iter().all(|event| event["event"] != "uploaded"), "the upload was already finished: {events:?}");
        self.command.event("retrying").await;
    }

    /// Asserts that the upload succeeds, that stored bytes were not stored again, and that all figures are correct.
    async fn ends_well(self, cluster: Cluster) {
        let Self { client, command, id, source } = self;
        let ended = command.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let uploaded = ended.event("uploaded");
        assert_eq!((&uploaded["file_id"], &uploaded["sha256"]), (&json!(id), &json!(source.sha256)));
        let sent = uploaded["sent_bytes"].as_u64().unwrap();
        assert!(sent <= GIB + LOST_AT_MOST, "{sent} bytes were sent: stored bytes were sent again");
        let stored = stored(&cluster, &client, &id).await;
        assert!(stored.len() <= 132, "{} parts were stored instead of 128", stored.len());
        cluster.backing.nothing_reserved(client.principal.company_id).await;
        cluster.backing.projected().await;
        let quota = client.get("/v1/quota").await.expect(200).body;
        assert_eq!(
            (&quota["storage_used_bytes"], &quota["storage_reserved_bytes"], &quota["file_count"]),
            (&json!(GIB), &json!(0), &json!(1))
        );
        let file = client.get(&format!("/v1/files/{id}")).await.expect(200).body;
        assert_eq!((&file["processing_status"], &file["hash"]), (&json!("COMPLETED"), &json!(source.sha256)));
        assert_eq!(client.content_sha256(&id).await, source.sha256, "the downloaded file differs");
        cluster.finish().await;
    }
}

/// Returns the events of stored parts. Reads them from the log, because the killed process may be needed for a request.
async fn stored(cluster: &Cluster, client: &Client, id: &str) -> Vec<ChunkUploaded> {
    let log = cluster.backing.log();
    let company = client.principal.company_id;
    let subject = Subject::new(company, Entity::UploadChunks(id.parse().unwrap()));
    let Ok(events) = read_after(log, subject, 0).await else { return Vec::new() };
    let chunks = events.into_iter().filter_map(|stored| match stored.event.unwrap().event {
        Event::Upload(UploadEvent::ChunkUploaded(chunk)) => Some(chunk),
        _ => None,
    });
    chunks.filter(|chunk| matches!(chunk.storage, ChunkStorage::Part { .. })).collect()
}

async fn dies(role: impl FnOnce(&mut Cluster) -> &mut Process, is_needed: bool) {
    let mut cluster = Cluster::start(Counts::default()).await;
    let upload = Upload::start(&cluster).await;
    upload.is_far(&cluster).await;
    let process = role(&mut cluster);
    process.kill();
    if is_needed {
        upload.is_disturbed().await;
    }
    process.restart().await;
    upload.ends_well(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_dies() {
    dies(|cluster| &mut cluster.gateways[0], true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_dies() {
    dies(|cluster| &mut cluster.workers[0], true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_dies() {
    dies(|cluster| &mut cluster.projectors[0], false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fanout_dies() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let upload = Upload::start(&cluster).await;
    let url = cluster.progress_url();
    let args = [upload.id.as_str(), "--progress-url", &url];
    let watch = CommandLine::start(&upload.client, cluster.folder(), "watch", &args);
    upload.is_far(&cluster).await;
    let snapshots = |events: Vec<serde_json::Value>| events.iter().filter(|frame| frame["t"] == "snap").count();
    assert_eq!(snapshots(watch.events()), 1);
    cluster.fanouts[0].kill();
    cluster.fanouts[0].restart().await;
    upload.ends_well(cluster).await;
    let watched = watch.ended().await;
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(snapshots(watched.events.clone()) == 2, "{watched:?}");
    assert!(watched.events.iter().any(|frame| frame["kind"] == "FileVerified"), "{watched:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_dies() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let upload = Upload::start(&cluster).await;
    upload.is_far(&cluster).await;
    cluster.backing.nats_server().kill_and_restart().await;
    upload.ends_well(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_workers_the_death_of_one_costs_a_retry() {
    let mut cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let upload = Upload::start(&cluster).await;
    let owner = upload.is_far(&cluster).await;
    let owner = cluster.workers.iter_mut().find(|worker| worker.has_logged(&owner.to_string())).unwrap();
    owner.kill();
    upload.is_disturbed().await;
    upload.ends_well(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_dies() {
    let cluster = Cluster::start(Counts::default()).await;
    let upload = Upload::start(&cluster).await;
    upload.is_far(&cluster).await;
    upload.command.signal("KILL");
    let Upload { client, command, id, source } = upload;
    assert_eq!(command.ended().await.code, None);
    // Chunks that were in flight may still be stored; then nothing moves any more.
    let command = CommandLine::start(&client, cluster.folder(), "upload", &[&source.path]);
    let resumed = command.event("resumed").await;
    assert_eq!(resumed["upload_id"], id.as_str());
    assert!(resumed["offset_bytes"].as_u64().unwrap() >= FAR - 4 * PART, "{resumed}");
    Upload { client, command, id, source }.ends_well(cluster).await;
}

/// curl continues the file where it broke off (`-C -`), with a token and with a media URL.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_dies_during_a_download_and_curl_continues() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let client = cluster.client().without_keep_alive();
    let content: Vec<u8> =
        (0..16_u32 << 20).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let file = client.post_file("name=a.bin", content.clone()).await.expect(201).text("file_id");
    client.file_with_status(&file, "COMPLETED").await;
    let made = client.post("/v1/media-urls", &json!({ "items": [{ "file_id": file }] })).await.expect(200);
    let media = format!("{}{}", cluster.url(), made.body["items"][0]["url"].as_str().unwrap());
    let token = format!("Authorization: Bearer {}", client.token());
    for (name, url, headers) in [
        ("token", format!("{}/v1/files/{file}/content", cluster.url()), vec!["--header", &token]),
        ("media", media, vec![]),
    ] {
        let output = cluster.folder().join(name);
        let curl = |more: &[&str]| {
            let mut command = tokio::process::Command::new(settings("WAYBILL_TEST_CURL"));
            command.args(["--silent", "--fail", "--noproxy", "*", "--output"]).arg(&output);
            command.args(&headers).args(more).arg(&url).kill_on_drop(true);
            command
        };
        let mut begun = curl(&["--limit-rate", "4M"]).spawn().unwrap();
        let length = || std::fs::metadata(&output).map_or(0, |file| file.len());
        eventually_within(PATIENCE, "curl to have a part", || async { (length() > 4 << 20).then_some(()) }).await;
        cluster.gateways[0].kill();
        assert!(!begun.wait().await.unwrap().success());
        let stored = length();
        assert!(stored < content.len() as u64, "{stored}");
        cluster.gateways[0].restart().await;
        let resumed = curl(&["--continue-at", "-"]).status().await.unwrap();
        assert!(resumed.success(), "{name}: {resumed}");
        assert!(std::fs::read(&output).unwrap() == content, "{name}");
    }
    cluster.finish().await;
}
