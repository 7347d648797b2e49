//! Attacks on requests between gateways and workers, and the replacement of their secrets.

use crate::random::bytes;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use waybill_integration_tests::{Cluster, Counts, Process, free_addr};

const PART: usize = 8 << 20;

/// A TCP proxy in front of a worker that records what gateways send.
struct Recorder {
    addr: SocketAddr,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    async fn start(worker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, sent) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let connections = sent.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(worker).await else { continue };
                let number = {
                    let mut connections = connections.lock().unwrap();
                    connections.push(Vec::new());
                    connections.len() - 1
                };
                let ((mut from, mut to), (mut back, mut answer)) = (client.into_split(), server.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut back, &mut to).await });
                let connections = connections.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = from.read(&mut buffer).await {
                        connections.lock().unwrap()[number].extend(&buffer[..count]);
                        if answer.write_all(&buffer[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { addr, sent }
    }

    /// Returns the first request with bytes, as it was sent.
    fn request(&self) -> Vec<u8> {
        let sent = self.sent.lock().unwrap();
        sent.iter().find(|connection| connection.starts_with(b"PUT /internal/")).unwrap().clone()
    }
}

/// Sends a request and returns the status of the answer.
async fn status(addr: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    // The server may answer and close the connection before it has read everything.
    let _ = socket.write_all(request).await;
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap().split_off(9)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_between_roles_reveals_no_secret_and_cannot_be_repeated_or_changed() {
    let cluster = Cluster::start(Counts::default()).await;
    let worker = cluster.workers[0].addr();
    let recorder = Recorder::start(worker).await;
    let addr = free_addr();
    let own = [format!("--http-addr={addr}"), format!("--worker-urls=http://{}", recorder.addr)];
    let args = cluster.backing.arguments("gateway", &own);
    let gateway = Process::start("gateway", addr, args, cluster.folder().join("recorded.log")).await;
    let client = cluster.client().at(format!("http://{addr}"));

    let upload = client.start(2 * PART as u64).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, bytes(31, PART)).await.expect(200);
    let request = recorder.request();
    let head_length = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(request[..head_length].to_vec()).unwrap();
    assert!(!head.contains("a secret that only the tests know"), "{head}");
    let with = |head: &str| [head.as_bytes(), &request[head_length..]].concat();

    // The same request again, the same signature for the other chunk, and no signature.
    assert_eq!(status(worker, &request).await, "401");
    let moved = head.replacen("from=0&to=8388608", "from=8388608&to=16777216", 1);
    assert_ne!(moved, head);
    assert_eq!(status(worker, &with(&moved)).await, "401");
    let lines: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with("waybill-signature")).collect();
    assert_eq!(lines.len() + 1, head.split("\r\n").count());
    assert_eq!(status(worker, &with(&lines.join("\r\n"))).await, "401");

    // The upload continues as if nothing had happened.
    let status = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
    assert_eq!(status.body["offset_bytes"], PART);
    client.put_chunk(&upload, 1, bytes(32, PART)).await.expect(200);
    client.complete(&upload, &serde_json::json!({})).await.expect(200);
    client.file_with_status(&upload, "COMPLETED").await;
    drop(gateway);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_replaced_one_process_after_another_without_a_refused_request() {
    let mut cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    let client = cluster.client();
    let file = client.small_file("kept.txt").await.text("file_id");
    let other = client.small_file("other.txt").await.text("file_id");
    client.file_with_status(&file, "COMPLETED").await;
    client.file_with_status(&other, "COMPLETED").await;
    let page = client.get("/v1/files?limit=1").await.expect(200);
    let cursor = page.text("next_cursor");
    let link = || {
        let request = client.request(reqwest::Method::POST, &format!("/v1/files/{file}/tokens"));
        request.header("Idempotency-Key", "a link").json(&serde_json::json!({ "max_downloads": 3 }))
    };
    let first = client.send(link()).await.expect(201);
    let keys = client.get("/v1/audit/key").await.expect(200);

    let new = |name: &str| format!("a new secret for the setting {name} in tests");
    let names = ["worker-secret", "audit-secret", "cursor-secret", "token-secret"];
    let steps: [fn(&str, &str) -> String; 3] =
        [|old, new| format!("{old},{new}"), |old, new| format!("{new},{old}"), |_, new| new.to_owned()];
    let steps =
        steps.map(|step| names.map(|name| format!("--{name}={}", step(cluster.backing.secret(name), &new(name)))));
    for (number, step) in steps.iter().enumerate() {
        for index in 0..2 {
            cluster.workers[index].restart_with(step).await;
            upload(&client, number).await;
            cluster.gateways[index].restart_with(step).await;
            upload(&client, number).await;
        }
        if number < 2 {
            // Cursors and repeated requests for links work as long as the old secrets are listed.
            client.get(&format!("/v1/files?limit=1&cursor={cursor}")).await.expect(200);
            assert_eq!(client.send(link()).await.expect(201).text("token"), first.text("token"));
        }
    }
    client.get(&format!("/d/{}", first.text("token"))).await.expect(200);
    client.get(&format!("/v1/files?limit=1&cursor={cursor}")).await.refused(400, "cursor_invalid");
    let now = client.get("/v1/audit/key").await.expect(200);
    assert_ne!(now.text("public_key"), keys.text("public_key"));
    cluster.finish().await;
}

/// Uploads a file by chunks, through any gateway and any worker.
async fn upload(client: &waybill_integration_tests::Client, seed: usize) {
    let content = bytes(seed as u64 + 40, 100_000);
    let upload = client.start(100_000).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, content).await.expect(200);
    client.complete(&upload, &serde_json::json!({})).await.expect(200);
    client.file_with_status(&upload, "COMPLETED").await;
}
