//! Many parallel changes of the same file. On a slow machine some wait for longer than a command may take. They are
//! answered with 503 and repeated.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    let sent = AtomicUsize::new(0);
    for round in 0..ROUNDS {
        let changes = (0..AT_ONCE).map(|number| {
            let body = json!({ "metadata": { "n": round * AT_ONCE + number } });
            let (client, path, sent) = (&client, &path, &sent);
            async move {
                let request = || {
                    sent.fetch_add(1, Ordering::Relaxed);
                    client.request(Method::PATCH, path).json(&body)
                };
                client.send_until_done(request).await.expect(204)
            }
        });
        join_all(changes).await;
    }
    let repeated = sent.into_inner() - ROUNDS * AT_ONCE;
    let path = format!("/v1/audit?file_id={file}&limit=1000");
    let numbers = eventually("each change to be in the history", || async {
        let history = client.get(&path).await.expect(200).body;
        let events = history["items"].as_array().unwrap().iter();
        let changed = events.filter(|event| event["type"] == "FileMetadataChanged");
        let numbers: Vec<String> = changed.map(|event| event["data"]["metadata"].to_string()).collect();
        let distinct: HashSet<&String> = numbers.iter().collect();
        (distinct.len() == ROUNDS * AT_ONCE).then_some(numbers)
    })
    .await;
    // A change is in the history once, unless the client had to repeat it and could not know that it was stored.
    assert!(numbers.len() <= ROUNDS * AT_ONCE + repeated, "{} changes, {repeated} repeated", numbers.len());
    cluster.finish().await;
}
