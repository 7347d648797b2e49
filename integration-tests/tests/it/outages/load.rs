//! Requests that run during an outage: small files and one long upload with a watcher.

use crate::random::{bytes, sha256};
use crate::speaker::{Speaker, id_of};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, Response};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};
use waybill_integration_tests::{Client, Cluster, CommandLine};
use waybill_test_kit::{eventually, eventually_within};

const KIB: usize = 1_024;
/// Interval between two small files.
const EVERY: Duration = Duration::from_millis(100);
/// Size of the pieces of the long upload, in bytes. They are sent one after another.
const PIECE: usize = 200 * KIB;

/// A request and its result, as the client saw it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) method: &'static str,
    pub(super) began: Instant,
    pub(super) took: Duration,
    /// The failure, if the request failed.
    pub(super) failure: Option<Failure>,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) what: String,
    /// `true` if the answer was a problem with `Retry-After`.
    pub(super) is_told: bool,
}

/// Requests that run during an outage.
pub(super) struct Load {
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    stops: Arc<AtomicBool>,
    small: JoinHandle<()>,
    long: JoinHandle<usize>,
    content: Arc<Vec<u8>>,
    speaker: Arc<Speaker>,
    upload: String,
    watch: CommandLine,
}

impl Load {
    pub(super) async fn start(cluster: &Cluster) -> Self {
        let client = cluster.client();
        let speaker = Arc::new(Speaker::tus(client.clone()));
        let content = Arc::new(bytes(15, 400 * PIECE));
        let upload = speaker.create(content.len()).await;
        let url = cluster.progress_url();
        let watch = CommandLine::start(&client, cluster.folder(), "watch", &[&id_of(&upload), "--progress-url", &url]);
        eventually("the watcher to connect", || async {
            watch.events().iter().any(|frame| frame["t"] == "snap").then_some(())
        })
        .await;
        let (outcomes, stops) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let small = tokio::spawn(small_files(client.clone(), Arc::clone(&outcomes), stops.clone()));
        let long = pieces(client, upload.clone(), content.clone(), Arc::clone(&outcomes), stops.clone());
        Self { outcomes, stops, small, long: tokio::spawn(long), content, speaker, upload, watch }
    }

    /// Waits until `count` requests that begin after this call have succeeded.
    pub(super) async fn goes_on(&self, count: usize) {
        let now = Instant::now();
        eventually_within(Duration::from_secs(60), "requests to succeed", || async {
            let outcomes = self.outcomes.lock().unwrap();
            let good = outcomes.iter().filter(|outcome| outcome.began > now && outcome.failure.is_none()).count();
            (good >= count).then_some(())
        })
        .await;
    }

    /// Ends the load, completes the long upload, and asserts that its watcher saw the completion.
    pub(super) async fn ends_well(self) -> Vec<Outcome> {
        self.stops.store(true, Ordering::Relaxed);
        self.small.await.unwrap();
        let offset = self.long.await.unwrap();
        let reply = self.speaker.head(&self.upload).await.expect(200);
        assert_eq!(reply.header("Upload-Offset"), Some(offset.to_string().as_str()), "acknowledged bytes are missing");
        self.speaker.patch(&self.upload, offset, self.content[offset..].to_vec()).await.expect(204);
        let file = self.speaker.client.file_with_status(&id_of(&self.upload), "COMPLETED").await;
        assert_eq!(file["hash"], sha256(&self.content));
        let watched = self.watch.ended().await;
        assert_eq!(watched.code, Some(0), "{watched:?}");
        Arc::try_unwrap(self.outcomes).unwrap().into_inner().unwrap()
    }
}

/// Sends small files at a fixed rate, without waiting for the answers.
async fn small_files(client: Client, outcomes: Arc<Mutex<Vec<Outcome>>>, stops: Arc<AtomicBool>) {
    let mut running = JoinSet::new();
    let mut every = tokio::time::interval(EVERY);
    while !stops.load(Ordering::Relaxed) {
        every.tick().await;
        let request = client.request(Method::POST, "/v1/files?name=a.txt&mime_type=text/plain").body("hello");
        let outcomes = outcomes.clone();
        running.spawn(async move {
            let began = Instant::now();
            let failure = failure(request.send().await, 201, false).await;
            outcomes.lock().unwrap().push(Outcome { method: "POST", began, took: began.elapsed(), failure });
        });
    }
    running.join_all().await;
}

/// Sends the pieces of a long upload, and asks for the offset after a failure. Returns the last offset.
async fn pieces(
    client: Client,
    upload: String,
    content: Arc<Vec<u8>>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    stops: Arc<AtomicBool>,
) -> usize {
    let request = |method| client.request(method, &upload).header("Tus-Resumable", "1.0.0");
    let (mut offset, mut is_known) = (0, true);
    let mut every = tokio::time::interval(EVERY);
    while !stops.load(Ordering::Relaxed) || !is_known {
        every.tick().await;
        // `ends_well` sends the last piece.
        if is_known && content.len() - offset <= PIECE {
            continue;
        }
        let began = Instant::now();
        let (method, expected) = if is_known { ("PATCH", 204) } else { ("HEAD", 200) };
        let request = match is_known {
            false => request(Method::HEAD),
            true => request(Method::PATCH)
                .header("Upload-Offset", offset)
                .header("Content-Type", "application/offset+octet-stream")
                .body(content[offset..(offset + PIECE).min(content.len())].to_vec()),
        };
        let sent = request.send().await;
        let said =
            sent.as_ref().ok().and_then(|answer| answer.headers().get("Upload-Offset")?.to_str().ok()?.parse().ok());
        let failure = failure(sent, expected, !is_known).await;
        let failure = failure.map(|failure| Failure { what: format!("{method} {}", failure.what), ..failure });
        is_known = failure.is_none();
        if let Some(said) = said.filter(|_| is_known) {
            assert!(said >= offset, "the offset decreased from {offset} to {said}");
            offset = said;
        }
        outcomes.lock().unwrap().push(Outcome { method, began, took: began.elapsed(), failure });
    }
    offset
}

/// Returns the failure of a request, or `None` if it has the expected status.
async fn failure(sent: Result<Response, reqwest::Error>, expected: u16, is_head: bool) -> Option<Failure> {
    let response = match sent {
        Ok(response) => response,
        Err(error) => return Some(Failure { what: format!("{error:?}"), is_told: false }),
    };
    let status = response.status().as_u16();
    if status == expected {
        return response.bytes().await.err().map(|error| Failure { what: format!("{error:?}"), is_told: false });
    }
    let says_when = response.headers().contains_key(RETRY_AFTER);
    let problem: Value = response.json().await.unwrap_or_default();
    let is_told = says_when && (problem["code"].is_string() || is_head);
    Some(Failure { what: format!("{status} {} {}", problem["code"], problem["detail"]), is_told })
}
