//! The streams are restored from a copy. Later events are lost, and the tables contain nothing of them either.

use serde_json::json;
use tempfile::TempDir;
use waybill_integration_tests::{Client, Cluster, Counts};
use waybill_test_kit::eventually;

/// Uploads files and repeats each one until it is accepted, because NATS may just have restarted.
pub(crate) async fn send(client: &Client, count: usize) -> Vec<String> {
    let mut files = Vec::new();
    for number in 0..count {
        let query = format!("name={number}.txt&mime_type=text/plain");
        let file = eventually("a file to be accepted", || async {
            let posted = client.post_file(&query, "hello").await;
            (posted.status == 201).then(|| posted.text("file_id"))
        });
        files.push(file.await);
    }
    files
}

/// Copies the streams.
pub(crate) async fn copied(cluster: &mut Cluster) -> TempDir {
    let nats = cluster.backing.nats_server();
    nats.kill();
    let copy = nats.copy_data();
    nats.restart().await;
    copy
}

pub(crate) async fn restore(cluster: &mut Cluster, copy: &TempDir) {
    let nats = cluster.backing.nats_server();
    nats.kill();
    nats.restore_data(copy);
    nats.restart().await;
}

/// Waits until the tables contain exactly these files of the company.
async fn are_there(client: &Client, files: &[String]) {
    eventually("the tables to match the stream", || async {
        let quota = client.get("/v1/quota").await;
        if quota.status != 200 || quota.body["file_count"] != json!(files.len()) {
            return None;
        }
        for file in files {
            if client.get(&format!("/v1/files/{file}")).await.status != 200 {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// Correctness S2-8. In the first part the copy ends before the checkpoint of the tables. In the second part the stream
/// has grown past the checkpoint before a projector reads it.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_files_from_after_the_backup_are_not_found_and_others_remain() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let client = cluster.client();
    let mut kept = send(&client, 2).await;
    cluster.backing.settled().await;

    let copy = copied(&mut cluster).await;
    let lost = send(&client, 2).await;
    cluster.backing.settled().await;
    restore(&mut cluster, &copy).await;
    are_there(&client, &kept).await;
    for file in &lost {
        client.get(&format!("/v1/files/{file}")).await.refused(404, "not_found");
        client.get(&format!("/v1/uploads/{file}")).await.refused(404, "not_found");
    }

    cluster.backing.settled().await;
    let copy = copied(&mut cluster).await;
    let lost = send(&client, 1).await;
    cluster.backing.settled().await;
    cluster.projectors[0].kill();
    restore(&mut cluster, &copy).await;
    // More events than there were before.
    kept.extend(send(&client, 10).await);
    cluster.projectors[0].restart().await;
    are_there(&client, &kept).await;
    client.get(&format!("/v1/files/{}", lost[0])).await.refused(404, "not_found");
    cluster.backing.settled().await;
    cluster.finish().await;
}
