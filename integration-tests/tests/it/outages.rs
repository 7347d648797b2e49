//! Every server goes away for a while, in every way that servers do, under a load of small files and one long upload with a
//! watcher. Users notice a short retry at most: requests are answered in a bounded time, each one that fails says so with a
//! problem and when to try again, and a moment after the server is back all succeed. `WAYBILL_OUTAGE_S` makes the outages
//! longer than in CI, and `--nocapture` shows the table.

use crate::random::{bytes, sha256};
use crate::speaker::{Speaker, id_of};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, Response};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, JoinSet};
use waybill_integration_tests::{Client, Cluster, CommandLine, Counts};
use waybill_test_kit::{eventually, eventually_within};

const KIB: usize = 1_024;
/// How often a small file is sent.
const EVERY: Duration = Duration::from_millis(100);
/// For how long requests may fail after the server is back: 2 s, and what a busy machine takes.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// How long a request may take if a server behind the gateways is away, however long: who may do it is asked for 4 s, and each
/// of the two events of a small file is appended for 8 s; a PATCH waits for 8 s until NATS delivers its questions.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// A store that takes its time is waited for: parts are large, and clients would have to send them again.
const STORED_WITHIN: Duration = Duration::from_secs(75);
/// The long upload goes in pieces of this, one after the other.
const PIECE: usize = 200 * KIB;

/// A request, as its client saw it.
#[derive(Debug)]
struct Outcome {
    method: &'static str,
    began: Instant,
    took: Duration,
    /// How it failed.
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    what: String,
    /// Whether it was a problem that says when to try again.
    is_told: bool,
}

/// What is sent while something is away.
struct Load {
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
    async fn start(cluster: &Cluster) -> Self {
        let client = cluster.client();
        let speaker = Arc::new(Speaker::tus(client.clone()));
        let content = Arc::new(bytes(15, 400 * PIECE));
        let upload = speaker.create(content.len()).await;
        let url = cluster.progress_url();
        let watch = CommandLine::start(&client, cluster.folder(), "watch", &[&id_of(&upload), "--progress-url", &url]);
        eventually("the watcher to be there", || async {
            watch.events().iter().any(|frame| frame["t"] == "snap").then_some(())
        })
        .await;
        let (outcomes, stops) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let small = tokio::spawn(small_files(client.clone(), Arc::clone(&outcomes), stops.clone()));
        let long = pieces(client, upload.clone(), content.clone(), Arc::clone(&outcomes), stops.clone());
        Self { outcomes, stops, small, long: tokio::spawn(long), content, speaker, upload, watch }
    }

    /// Until so many requests that began now have succeeded.
    async fn goes_on(&self, count: usize) {
        let now = Instant::now();
        eventually_within(Duration::from_secs(60), "requests to succeed", || async {
            let outcomes = self.outcomes.lock().unwrap();
            let good = outcomes.iter().filter(|outcome| outcome.began > now && outcome.failure.is_none()).count();
            (good >= count).then_some(())
        })
        .await;
    }

    /// Ends it: the long upload is whole, and its watcher saw it.
    async fn ends_well(self) -> Vec<Outcome> {
        self.stops.store(true, Ordering::Relaxed);
        self.small.await.unwrap();
        let offset = self.long.await.unwrap();
        let reply = self.speaker.head(&self.upload).await.expect(200);
        assert_eq!(reply.header("Upload-Offset"), Some(offset.to_string().as_str()), "what was acknowledged is there");
        self.speaker.patch(&self.upload, offset, self.content[offset..].to_vec()).await.expect(204);
        let file = self.speaker.client.file_with_status(&id_of(&self.upload), "COMPLETED").await;
        assert_eq!(file["hash"], sha256(&self.content));
        let watched = self.watch.ended().await;
        assert_eq!(watched.code, Some(0), "{watched:?}");
        Arc::try_unwrap(self.outcomes).unwrap().into_inner().unwrap()
    }
}

/// Sends small files, also while others wait for an answer.
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

/// Sends the pieces of a long upload, and after a failure looks where it goes on. Answers with how far it came.
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
        // The last piece is for the end.
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
            assert!(said >= offset, "the offset went back from {offset} to {said}");
            offset = said;
        }
        outcomes.lock().unwrap().push(Outcome { method, began, took: began.elapsed(), failure });
    }
    offset
}

/// How a request failed, if it did.
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

/// What goes away, and how.
struct Outage {
    name: &'static str,
    away: for<'a> fn(&'a mut Cluster) -> futures_util::future::BoxFuture<'a, ()>,
    back: for<'a> fn(&'a mut Cluster) -> futures_util::future::BoxFuture<'a, ()>,
    /// Whether connections may break: those of a gateway that is killed.
    may_break: bool,
}

fn seconds() -> u64 {
    std::env::var("WAYBILL_OUTAGE_S")
        .map_or(3, |seconds| seconds.parse().expect("WAYBILL_OUTAGE_S is a number of seconds"))
}

/// Goes through outages one after the other.
async fn go_through(answered_within: Duration, outages: &[Outage]) {
    let mut cluster = Cluster::start(Counts { each: 2, ways: true, ..Counts::default() }).await;
    println!("{:<28} {:>7} {:>7} {:>9} {:>12} failures", "outage", "away s", "failed", "back s", "longest s");
    let mut faults = Vec::new();
    for Outage { name, away, back, may_break } in outages {
        let load = Load::start(&cluster).await;
        load.goes_on(10).await;
        let began = Instant::now();
        away(&mut cluster).await;
        tokio::time::sleep(Duration::from_secs(seconds())).await;
        back(&mut cluster).await;
        let is_back = Instant::now();
        load.goes_on(20).await;
        let outcomes = load.ends_well().await;
        let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect();
        let last = failed.iter().map(|outcome| outcome.began).max();
        let back_after = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(is_back));
        let slowest = outcomes.iter().max_by_key(|outcome| outcome.took).expect("there were requests");
        let longest = slowest.took;
        let failures: Vec<&Failure> = failed.iter().filter_map(|outcome| outcome.failure.as_ref()).collect();
        let mut kinds = std::collections::BTreeMap::<&str, usize>::new();
        for failure in &failures {
            *kinds.entry(&failure.what).or_default() += 1;
        }
        println!(
            "{name:<28} {:>7.1} {:>7} {:>9.1} {:>6.1} {:<5} {kinds:?}",
            (is_back - began).as_secs_f64(),
            failed.len(),
            back_after.as_secs_f64(),
            longest.as_secs_f64(),
            slowest.method
        );
        if back_after > BACK_WITHIN {
            faults.push(format!("{name}: requests failed for {back_after:?} after the server was back"));
        }
        if longest > answered_within {
            faults.push(format!("{name}: {slowest:?}"));
        }
        let untold = failures.iter().find(|failure| !failure.is_told);
        if let Some(failure) = untold.filter(|_| !may_break) {
            faults.push(format!("{name}: no problem that says when to try again: {failure:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    cluster.finish().await;
}

macro_rules! outage {
    ($name:literal, $may_break:expr, |$cluster:ident| $away:expr, $back:expr) => {
        Outage {
            name: $name,
            away: |$cluster| {
                Box::pin(async move {
                    $away;
                })
            },
            back: |$cluster| {
                Box::pin(async move {
                    $back;
                })
            },
            may_break: $may_break,
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_goes_away() {
    go_through(
        ANSWERED_WITHIN,
        &[
            outage!(
                "NATS killed",
                false,
                |cluster| cluster.backing.nats_server().kill(),
                cluster.backing.nats_server().restart().await
            ),
            outage!(
                "NATS stopped",
                false,
                |cluster| cluster.backing.nats_server().hang(),
                cluster.backing.nats_server().go_on()
            ),
            outage!("NATS refuses", false, |cluster| cluster.ways().nats.cut(), cluster.ways().nats.open()),
            outage!("NATS silent", false, |cluster| cluster.ways().nats.close(), cluster.ways().nats.open()),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_goes_away() {
    go_through(
        ANSWERED_WITHIN,
        &[
            outage!(
                "PostgreSQL refuses",
                false,
                |cluster| cluster.ways().postgres.cut(),
                cluster.ways().postgres.open()
            ),
            outage!(
                "PostgreSQL silent",
                false,
                |cluster| cluster.ways().postgres.close(),
                cluster.ways().postgres.open()
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_goes_away() {
    go_through(
        STORED_WITHIN,
        &[
            outage!("store refuses", false, |cluster| cluster.ways().store.cut(), cluster.ways().store.open()),
            outage!("store silent", false, |cluster| cluster.ways().store.close(), cluster.ways().store.open()),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_away() {
    go_through(
        ANSWERED_WITHIN,
        &[
            outage!(
                "worker ends",
                false,
                |cluster| cluster.workers[0].terminate().await,
                cluster.workers[0].restart().await
            ),
            outage!("worker killed", false, |cluster| cluster.workers[0].kill(), cluster.workers[0].restart().await),
            outage!("worker stopped", false, |cluster| cluster.workers[0].hang(), cluster.workers[0].go_on()),
            outage!(
                "all workers killed",
                false,
                |cluster| cluster.workers.iter_mut().for_each(|worker| worker.kill()),
                for worker in &mut cluster.workers {
                    worker.restart().await
                }
            ),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_goes_away() {
    go_through(
        ANSWERED_WITHIN,
        &[
            outage!(
                "projector ends",
                false,
                |cluster| cluster.projectors[0].terminate().await,
                cluster.projectors[0].restart().await
            ),
            outage!(
                "projector killed",
                false,
                |cluster| cluster.projectors[0].kill(),
                cluster.projectors[0].restart().await
            ),
            outage!("projector stopped", false, |cluster| cluster.projectors[0].hang(), cluster.projectors[0].go_on()),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fanout_goes_away() {
    go_through(
        ANSWERED_WITHIN,
        &[
            outage!(
                "fan-out ends",
                false,
                |cluster| cluster.fanouts[0].terminate().await,
                cluster.fanouts[0].restart().await
            ),
            outage!("fan-out killed", false, |cluster| cluster.fanouts[0].kill(), cluster.fanouts[0].restart().await),
            outage!("fan-out stopped", false, |cluster| cluster.fanouts[0].hang(), cluster.fanouts[0].go_on()),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_goes_away() {
    go_through(
        // A stopped gateway answers after SIGCONT.
        ANSWERED_WITHIN + Duration::from_secs(seconds()),
        &[
            outage!(
                "gateway ends",
                true,
                |cluster| cluster.gateways[0].terminate().await,
                cluster.gateways[0].restart().await
            ),
            outage!("gateway killed", true, |cluster| cluster.gateways[0].kill(), cluster.gateways[0].restart().await),
            outage!("gateway stopped", false, |cluster| cluster.gateways[0].hang(), cluster.gateways[0].go_on()),
        ],
    )
    .await;
}
