//! A server that hangs keeps its connections and does not answer. Clients get an answer soon, no matter how many there
//! are.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use waybill_integration_tests::{Client, Cluster, Counts};
use waybill_test_kit::eventually;

const CLIENTS: usize = 50;
/// Maximum time of an answer: 1.5 s and a margin for a busy machine. Without the probe of NATS the longest answer takes
/// 8 s or more.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// Sends one request of each kind at the same time. Returns their statuses and the time of the slowest one.
async fn ask(client: &Client, upload: &str, file: &str) -> (Vec<u16>, Duration) {
    let company = client.principal.company_id;
    let json = |method, path: String, body| client.request(method, &path).json(&body);
    let requests = [
        client.request(Method::GET, &format!("/v1/uploads/{upload}")),
        client.request(Method::HEAD, &format!("/tus/{file}")).header("Tus-Resumable", "1.0.0"),
        client.request(Method::PUT, &format!("/v1/uploads/{upload}/chunks/0")).body("0123456789"),
        client.request(Method::POST, "/v1/files?name=a.txt&mime_type=text/plain").body("hello"),
        json(Method::POST, "/v1/sessions".to_owned(), json!({})),
        json(Method::POST, "/v1/uploads".to_owned(), json!({ "name": "a.bin", "size_bytes": 10 })),
        json(Method::PATCH, format!("/v1/files/{file}"), json!({ "display_name": "b.txt" })),
        json(Method::PUT, format!("/v1/admin/companies/{company}/quota"), json!({ "storage_limit_bytes": 1_000_000 })),
    ];
    let began = Instant::now();
    let answers = join_all(requests.map(|request| async { request.send().await.unwrap().status().as_u16() })).await;
    (answers, began.elapsed())
}

/// Correctness S2-10.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_are_answered_while_nats_hangs() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let mut clients: Vec<(Client, String, String)> = Vec::new();
    // Half of the clients reserve space of the same company.
    let first = cluster.client();
    for number in 0..CLIENTS {
        let client = if number % 2 == 0 { cluster.client() } else { cluster.client_for(first.principal.company_id) };
        let upload = client.start(10).await.expect(201).text("upload_id");
        let file = client.small_file("a.txt").await.text("file_id");
        clients.push((client, upload, file));
    }
    cluster.backing.settled().await;
    cluster.backing.nats_server().hang();
    // The requests of the first round arrive before the probe notices the outage, those of the second round after it.
    for round in 0..2 {
        let asked = clients.iter().map(|(client, upload, file)| ask(client, upload, file));
        let answers = join_all(asked).await;
        let longest = answers.iter().map(|(_, took)| *took).max().unwrap();
        println!("round {round}: the longest answer took {longest:?}");
        // A request whose answer from NATS arrived just before may still succeed. tus answers 423 to a HEAD that must
        // be repeated.
        let is_other = |status: &&u16| !matches!(**status, 503 | 423 | 200..300);
        let others: Vec<&u16> = answers.iter().flat_map(|(statuses, _)| statuses).filter(is_other).collect();
        assert!(others.is_empty(), "{others:?}");
        assert!(longest <= ANSWERED_WITHIN, "an answer took {longest:?}");
    }
    cluster.backing.nats_server().go_on();
    for (client, upload, file) in &clients {
        eventually("all requests to succeed again", || async {
            let (statuses, _) = ask(client, upload, file).await;
            statuses.iter().all(|status| *status < 300).then_some(())
        })
        .await;
    }
    cluster.backing.settled().await;
    cluster.finish().await;
}
