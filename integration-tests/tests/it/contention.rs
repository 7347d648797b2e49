//! Many parallel changes of the same file.

use futures_util::future::join_all;
use serde_json::json;
use waybill_integration_tests::{Cluster, Counts};
use waybill_test_kit::eventually;

const AT_ONCE: usize = 64;
const ROUNDS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_file_at_once_all_succeed() {
    let cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let client = cluster.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let path = format!("/v1/files/{file}");
    for round in 0..ROUNDS {
        let changes =
            (0..AT_ONCE).map(|number| {
                let (client, path) = (client.clone(), path.clone());
                async move {
                    client.patch(&path, &json!({ "metadata": { "n": round * AT_ONCE + number } })).await.expect(204)
                }
            });
        join_all(changes).await;
    }
    let path = format!("/v1/audit?file_id={file}&limit=1000");
    eventually("each change to be in the history once", || async {
        let history = client.get(&path).await.expect(200).body;
        let changed =
            history["items"].as_array().unwrap().iter().filter(|event| event["type"] == "FileMetadataChanged");
        (changed.count() == ROUNDS * AT_ONCE).then_some(())
    })
    .await;
    cluster.finish().await;
}
