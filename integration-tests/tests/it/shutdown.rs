//! SIGTERM under load: a role finishes its running requests and ends. Clients that retry notice nothing.

use crate::random::Source;
use serde_json::json;
use std::time::Duration;
use waybill_integration_tests::{Cluster, CommandLine, Counts, Process};
use waybill_test_kit::{eventually, eventually_within};

const MIB: u64 = 1_024 * 1_024;
/// Maximum time until the upload has reached the next step, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// Maximum time until a role has ended.
const GRACE: Duration = Duration::from_secs(30);

/// Runs two processes of each role under load. Stops one process of `role`, and the other one after the first is back.
async fn stops(role: impl Fn(&mut Cluster) -> &mut Vec<Process>) {
    let mut cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let client = cluster.client();
    let large = Source::write(cluster.folder(), "large.bin", 600, 400 * MIB);
    let small: Vec<Source> = (0..60)
        .map(|n| Source::write(cluster.folder(), &format!("small-{n}.bin"), 601 + n, 100_000 + 40_000 * n))
        .collect();
    let one = CommandLine::start(&client, cluster.folder(), "upload", &[&large.path]);
    let paths: Vec<_> = small.iter().map(|source| &source.path).collect();
    let many = CommandLine::start(&client, cluster.folder(), "upload", &paths);
    let upload = one.event("started").await["upload_id"].as_str().unwrap().to_owned();
    let url = cluster.progress_url();
    let watch = CommandLine::start(&client, cluster.folder(), "watch", &[upload.as_str(), "--progress-url", &url]);
    eventually("the watcher to get its snapshot", || async {
        watch.events().into_iter().find(|frame| frame["t"] == "snap")
    })
    .await;
    for (at, stored) in [(0, 50 * MIB), (1, 200 * MIB)] {
        eventually_within(PATIENCE, "the upload to reach the next step", || async {
            let status = client.get(&format!("/v1/uploads/{upload}")).await;
            (status.body["bytes_uploaded"].as_u64()? >= stored).then_some(())
        })
        .await;
        let process = &mut role(&mut cluster)[at];
        let (status, after) = process.terminate().await;
        assert!(status.success(), "the process ended with {status}");
        assert!(after < GRACE, "the process took {after:?} to end");
        process.restart().await;
    }
    for (command, count) in [(one, 1), (many, 60)] {
        let ended = command.ended().await;
        assert_eq!((ended.code, &ended.event("summary")["uploaded"]), (Some(0), &json!(count)), "{ended:?}");
    }
    let watched = watch.ended().await;
    assert_eq!(watched.code, Some(0), "the watcher did not reconnect: {watched:?}");
    assert_eq!(client.content_sha256(&upload).await, large.sha256);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_stops() {
    stops(|cluster| &mut cluster.gateways).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops() {
    stops(|cluster| &mut cluster.workers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_stops() {
    stops(|cluster| &mut cluster.projectors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fanout_stops() {
    stops(|cluster| &mut cluster.fanouts).await;
}
