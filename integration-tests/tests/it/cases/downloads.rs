//! Downloads with a download token: link previews, probes and interrupted downloads.

use super::{MIB, get};
use crate::random::bytes;
use serde_json::{Value, json};
use waybill_integration_tests::{Client, Stack};
use waybill_test_kit::eventually;

async fn issue(client: &Client, file: &str, body: Value) -> String {
    client.post(&format!("/v1/files/{file}/tokens"), &body).await.expect(201).text("url")
}

/// Waits until the read model shows `count` downloads.
async fn downloads(client: &Client, file: &str, count: u32) {
    eventually("the downloads to be counted", || async {
        let listed = client.get(&format!("/v1/files/{file}/tokens")).await.expect(200);
        (listed.body["items"][0]["download_count"] == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a7_who_only_looks_at_a_link_gets_no_file_and_uses_nothing_up() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let link = issue(&client, &file, json!({})).await;
    for looks in [
        &[("User-Agent", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"), ("Range", "bytes=0-32768")][..],
        &[("User-Agent", "TelegramBot (like TwitterBot)")],
        &[("User-Agent", "facebookexternalhit/1.1 Facebot Twitterbot/1.0")],
        &[("Sec-Purpose", "prefetch;prerender")],
    ] {
        let answer = get(&stack, &link, looks).await;
        assert_eq!(answer.status().as_u16(), 200, "{looks:?}");
        assert_eq!(answer.headers()["cache-control"], "private, no-store");
        assert!(!answer.text().await.unwrap().contains("hello"), "{looks:?}");
    }
    downloads(&client, &file, 0).await;
    let answer = get(&stack, &link, &[("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0")]).await;
    assert_eq!(answer.text().await.unwrap(), "hello");
    downloads(&client, &file, 1).await;
    stack.finish().await;
}

/// Uploads a file that is larger than all buffers, so that an interrupted answer is really incomplete.
async fn large_file(client: &Client) -> (String, Vec<u8>) {
    let content = bytes(910, 12 * MIB);
    let sent = client.post_file("name=a.bin&mime_type=application/octet-stream", content.clone()).await.expect(201);
    (sent.text("file_id"), content)
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_one_person_may_probe_repeat_and_change_programs_and_gets_the_file_once() {
    let stack = Stack::start().await;
    let client = stack.client();
    let (file, content) = large_file(&client).await;
    // Media players request two bytes first, then the whole file.
    let link = issue(&client, &file, json!({})).await;
    let probe = get(&stack, &link, &[("Range", "bytes=0-1")]).await;
    assert_eq!((probe.status().as_u16(), probe.bytes().await.unwrap().len()), (206, 2));
    let all = get(&stack, &link, &[("Range", "bytes=0-")]).await;
    assert!(all.bytes().await.unwrap() == content);
    downloads(&client, &file, 1).await;
    // The client closes the connection after the head, and another program repeats the request.
    let link = issue(&client, &file, json!({})).await;
    let browser = get(&stack, &link, &[("User-Agent", "Mozilla/5.0 (Linux; Android 13) Chrome/140.0 Mobile")]).await;
    assert_eq!(browser.status().as_u16(), 200);
    drop(browser);
    let manager = get(&stack, &link, &[("User-Agent", "AndroidDownloadManager/13")]).await;
    assert_eq!(manager.status().as_u16(), 200);
    assert!(manager.bytes().await.unwrap() == content);
    // The download is interrupted in the middle and resumed.
    let link = issue(&client, &file, json!({})).await;
    let mut broken = get(&stack, &link, &[]).await;
    let first = broken.chunk().await.unwrap().unwrap();
    drop(broken);
    let rest = get(&stack, &link, &[("Range", &format!("bytes={}-", first.len()))]).await;
    assert_eq!(rest.status().as_u16(), 206);
    assert!([first.to_vec(), rest.bytes().await.unwrap().to_vec()].concat() == content);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_a_small_file_whose_first_answer_was_thrown_away_is_sent_again_once() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let link = issue(&client, &file, json!({})).await;
    drop(get(&stack, &link, &[]).await);
    let again = get(&stack, &link, &[("User-Agent", "another program")]).await;
    assert_eq!(again.status().as_u16(), 200);
    assert_eq!(again.text().await.unwrap(), "hello");
    let third = get(&stack, &link, &[]).await.status().as_u16();
    assert!(matches!(third, 410 | 429), "the file was sent a third time: {third}");
    downloads(&client, &file, 1).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a8_the_bytes_that_a_download_sends_are_bounded() {
    let stack = Stack::start().await;
    let client = stack.client();
    let (file, content) = large_file(&client).await;
    let link = issue(&client, &file, json!({ "max_downloads": 1 })).await;
    let mut sent = 0;
    for _ in 0..10 {
        let piece = get(&stack, &link, &[("Range", "bytes=1000000-6999999")]).await;
        if piece.status() == 206 {
            sent += piece.bytes().await.unwrap().len();
        }
    }
    assert!(sent > content.len() && sent <= 2 * content.len(), "{sent} of {}", content.len());
    stack.finish().await;
}
