//! Credentials of the object store that an endpoint of the container hands out for a short time, as on Amazon ECS and EKS.

use crate::direct;
use crate::random::bytes;
use reqwest::Method;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use waybill_integration_tests::{Cluster, Counts};
use waybill_service_kit::now;
use waybill_test_kit::{TestBucket, eventually};

/// Time for which the credentials of an answer are valid.
const VALID: Duration = Duration::from_secs(3);

/// Endpoint that hands out the keys of the test store.
struct Endpoint {
    addr: SocketAddr,
    answers: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Endpoint {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, answers, fails) = (listener.local_addr().unwrap(), Arc::default(), Arc::default());
        let (counted, is_broken): (Arc<AtomicUsize>, Arc<AtomicBool>) = (Arc::clone(&answers), Arc::clone(&fails));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A client that disconnects needs no answer.
                drop(answer(client, is_broken.load(Ordering::SeqCst)).await);
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { addr, answers, fails, task }
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::SeqCst)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut client: TcpStream, is_broken: bool) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let (id, secret) = TestBucket::keys();
    let end = chrono::DateTime::from_timestamp_millis(now().0).unwrap() + VALID;
    let keys = json!({ "AccessKeyId": id, "SecretAccessKey": secret, "Token": "", "Expiration": end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true) });
    let (status, body) = if is_broken { (500, "{}".to_owned()) } else { (200, keys.to_string()) };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(body.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn m17_credentials_of_a_container_are_used_and_read_again_after_their_end() {
    let endpoint = Endpoint::start().await;
    let mut cluster = Cluster::start(Counts::default()).await;
    let url = format!("http://{}/keys", endpoint.addr);
    let none = ["--s3-access-key-id=", "--s3-secret-access-key="].map(str::to_owned);
    for process in [&mut cluster.workers[0], &mut cluster.gateways[0]] {
        process.set_variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.clone());
        process.restart_with(&none).await;
    }
    let client = cluster.client();

    // Through the worker, and directly into the store with a presigned URL.
    let content = bytes(71, 300_000);
    let upload = client.start(300_000).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, content.clone()).await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    client.file_with_status(&upload, "COMPLETED").await;
    let direct = direct::start(&client, 5, json!({})).await;
    let signed = direct::sign(&client, &direct, direct::to_sign(b"hello")).await;
    let part = direct::stored(&signed[0], b"hello").await;
    client.post(&format!("/v1/uploads/{direct}/parts"), &part).await.expect(200);
    client.complete(&direct, &json!({})).await.expect(200);
    client.file_with_status(&direct, "COMPLETED").await;

    // The first credentials are not valid any more.
    let before = endpoint.answers();
    let content_of = || client.request(Method::GET, &format!("/v1/files/{upload}/content"));
    let read = eventually("new credentials", || async {
        let read = content_of().send().await.unwrap();
        assert_eq!(read.status(), 200);
        (endpoint.answers() >= before + 2).then_some(read)
    });
    assert_eq!(read.await.bytes().await.unwrap(), content);

    endpoint.fails.store(true, Ordering::SeqCst);
    eventually("the last credentials to end", || async {
        (content_of().send().await.unwrap().status() == 503).then_some(())
    })
    .await;
    endpoint.fails.store(false, Ordering::SeqCst);
    eventually("credentials after the outage", || async {
        (content_of().send().await.unwrap().status() == 200).then_some(())
    })
    .await;
    cluster.finish().await;
}
