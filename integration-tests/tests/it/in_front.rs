//! Proxies, load balancers and probes in front of Waybill, and restarts of NATS.

use crate::socket::{next, send, with_token};
use crate::speaker::Speaker;
use futures_util::future::join_all;
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use waybill_integration_tests::{Backing, Client, Cluster, Counts, Options, Stack, free_addr};
use waybill_test_kit::{eventually, settings};

/// Returns a connection on which one request was answered.
fn used_connection(stack: &Stack) -> TcpStream {
    let host = stack.url().strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    write!(socket, "GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = [0; 4_096];
    let length = socket.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_a_connection_is_kept_as_long_as_the_setting_says() {
    let stack = Stack::start().await;
    let mut socket = used_connection(&stack);
    // Load balancers send requests on connections that were idle for a minute.
    socket.set_read_timeout(Some(Duration::from_secs(7))).unwrap();
    let read = socket.read(&mut [0; 16]).unwrap_err();
    assert_eq!(read.kind(), ErrorKind::WouldBlock, "the server closed an idle connection");
    stack.finish().await;

    let args = vec!["--keep-alive-s=1".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let mut socket = used_connection(&stack);
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(socket.read(&mut [0; 16]).unwrap(), 0, "the server did not close the connection");
    stack.finish().await;
}

async fn status(stack: &Stack, path: &str, headers: &[(&str, &str)]) -> u16 {
    let request = reqwest::Client::new().get(format!("{}{path}", stack.url()));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap().status().as_u16()
}

fn some_link() -> String {
    format!("/d/{}", "A".repeat(86))
}

#[tokio::test(flavor = "multi_thread")]
async fn a16_probes_and_good_links_go_on_while_somebody_guesses() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await;
    client.get_after(&format!("/v1/files/{}", file.text("file_id")), &file).await.expect(200);
    let tokens = format!("/v1/files/{}/tokens", file.text("file_id"));
    let link = client.post(&tokens, &json!({ "max_downloads": null })).await.expect(201).text("url");
    // On a slow machine the guesses of one client are too few to be refused, so that several guess.
    let guesses = || {
        let guess = |_| status(&stack, "/v1/quota", &[("Authorization", "Bearer x")]);
        join_all((0..150).map(guess))
    };
    eventually("guesses to be refused", || async { guesses().await.contains(&429).then_some(()) }).await;
    for path in ["/healthz", "/readyz", "/metrics", &link] {
        assert_eq!(status(&stack, path, &[]).await, 200, "{path}");
    }
    // Probes need no valid token.
    assert_eq!(status(&stack, "/healthz", &[("Authorization", "Bearer x")]).await, 200);
    assert_eq!(status(&stack, &some_link(), &[]).await, 429, "a guess");
    client.get("/v1/quota").await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a20_clients_of_a_proxy_that_adds_ports_are_told_apart() {
    let args = vec!["--trusted-proxies=127.0.0.1/32".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let link = some_link();
    for (guesser, neighbour) in
        [("203.0.113.7:51008", "198.51.100.1:40000"), ("[2001:db8::7]:443", "[2001:db8:0:1::7]:443")]
    {
        let mut last = 0;
        for _ in 0..150 {
            last = status(&stack, &link, &[("X-Forwarded-For", guesser)]).await;
        }
        assert_eq!(last, 429, "{guesser}");
        assert_eq!(status(&stack, &link, &[("X-Forwarded-For", neighbour)]).await, 404, "{neighbour}");
    }
    stack.finish().await;

    let args = ["--trusted-proxies=127.0.0.1/32", "--proxy-header=forwarded"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    for _ in 0..150 {
        let headers = [("Forwarded", "for=\"[2001:db8::7]:443\";proto=https"), ("X-Forwarded-For", "9.9.9.9")];
        status(&stack, &link, &headers).await;
    }
    assert_eq!(status(&stack, &link, &[("Forwarded", "for=\"[2001:db8::7]:1\"")]).await, 429);
    assert_eq!(status(&stack, &link, &[("Forwarded", "for=198.51.100.1")]).await, 404);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_4_a_process_without_free_file_descriptors_is_not_ready() {
    let backing = Backing::start(1).await;
    let (addr, folder) = (free_addr(), tempfile::tempdir().unwrap());
    let log = folder.path().join("log");
    let output = std::fs::File::create(&log).unwrap();
    // Fewer than the 32 free ones that a ready process has, and enough for its checks.
    const FULL: usize = 280;
    // The server raises the soft limit to the hard limit.
    let mut all = std::process::Command::new("sh")
        .args(["-c", "ulimit -S -n 64 && ulimit -H -n 300 && exec \"$0\" \"$@\""])
        .arg(settings("WAYBILL_TEST_BIN"))
        .arg("serve")
        .args(&backing.arguments("all", &[format!("--http-addr={addr}")])[1..])
        .stdin(std::process::Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let ready = || async {
        // A new connection for each request, like a probe from another client.
        let http =
            reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(10)).build().unwrap();
        let answer = http.get(format!("http://{addr}/readyz")).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    };
    eventually("a role to be ready", || async { ready().await.filter(|(status, _)| *status == 200) }).await;
    let files = format!("/proc/{}/fd", all.id());
    let missing = || FULL.saturating_sub(std::fs::read_dir(&files).unwrap().count());
    let connect = |count| (0..count).map(|_| TcpStream::connect(addr).unwrap()).collect::<Vec<_>>();
    let unready = eventually("a role to have too few descriptors", || async {
        // The server closes connections that send nothing, so each attempt begins with new ones. They are accepted
        // before the connection of the probe.
        let open = connect(missing());
        let answer = ready().await;
        drop(open);
        answer.filter(|(status, said)| *status == 503 && said.contains("descriptors"))
    });
    unready.await;
    assert!(std::fs::read_to_string(&log).unwrap().contains("cannot open more files"));
    eventually("a role to be ready again", || async { ready().await.filter(|(status, _)| *status == 200) }).await;
    drop(all.kill());
    drop(all.wait());
    backing.remove().await;
}

/// Waits until a small file is accepted and files can be listed. Returns the time that this took.
async fn all_works_again(client: &Client) -> Duration {
    let since = Instant::now();
    eventually("uploads and lists to work", || async {
        let answer = client.post_file("name=c.txt&mime_type=text/plain", "hello").await;
        (answer.status == 201 && client.get("/v1/files").await.status == 200).then_some(())
    })
    .await;
    since.elapsed()
}

/// Shorter than the time after which a lost consumer is noticed, and long enough for a busy machine.
const NOTICED: Duration = Duration::from_secs(14);

#[tokio::test(flavor = "multi_thread")]
async fn compose_2_after_a_restart_of_nats_everything_goes_on_at_once() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let client = cluster.client();
    client.small_file("a.txt").await;
    for _ in 0..2 {
        let upload = client.start(5).await.expect(201).text("upload_id");
        let mut socket = with_token(&cluster.progress_url(), &client).await;
        send(&mut socket, json!({ "t": "sub", "id": 1, "topic": format!("upload:{upload}") })).await;
        assert_eq!(next(&mut socket).await["t"], "snap");
        cluster.backing.nats_server().kill_and_restart().await;
        let since = Instant::now();
        let took = all_works_again(&client).await;
        // A consumer that was lost in the restart is noticed only after 15 s without a heartbeat.
        assert!(took < NOTICED, "{took:?}");
        client.send_until_done(|| client.request(reqwest::Method::DELETE, &format!("/v1/uploads/{upload}"))).await;
        assert_eq!(next(&mut socket).await["kind"], "UploadCancelled");
        assert!(since.elapsed() < NOTICED, "{:?}", since.elapsed());
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_3_while_nats_hangs_an_answer_takes_as_long_for_many_as_for_one() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let client = cluster.client();
    client.small_file("a.txt").await;
    cluster.backing.nats_server().hang();
    let began = Instant::now();
    let asked = (0..100).map(async |_| {
        let answer = client.get("/v1/files").await;
        (answer.status, began.elapsed())
    });
    let answers = futures_util::future::join_all(asked).await;
    let longest = answers.iter().map(|(_, took)| *took).max().unwrap();
    assert!(longest < Duration::from_secs(20), "{longest:?}");
    assert!(answers.iter().any(|(status, _)| *status == 503));
    assert_eq!(client.get("/healthz").await.status, 200, "a probe with a token failed");
    cluster.backing.nats_server().go_on();
    all_works_again(&client).await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_17_a_client_that_hangs_up_is_no_failure_of_ours() {
    let cluster = Cluster::start(Counts::default()).await;
    let tus = Speaker::tus(cluster.client());
    let path = tus.post(&[("Upload-Length", "2000000")], "").await.expect(201).location();
    let host = cluster.url().strip_prefix("http://").unwrap().to_owned();
    let mut socket = TcpStream::connect(&host).unwrap();
    write!(
        socket,
        "PATCH {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n\
         Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\nContent-Length: 2000000\r\n\r\n",
        tus.client.token()
    )
    .unwrap();
    socket.write_all(&vec![7; 1_000_000]).unwrap();
    drop(socket);
    // Not with HEAD, which would take the upload over from the request that is ending.
    let status = format!("/v1/uploads/{}", path.rsplit('/').next().unwrap());
    eventually("the bytes that arrived to be recorded", || async {
        (tus.client.get(&status).await.expect(200).body["offset_bytes"] == 1_000_000).then_some(())
    })
    .await;
    let gateway = &cluster.gateways[0];
    assert!(!gateway.has_logged("request failed") && !gateway.has_logged("went away"));
    cluster.finish().await;
}
