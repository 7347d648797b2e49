//! Every server goes away for a while, in every way that servers fail, under a load of small files and one long upload
//! with a watcher. Users notice a short retry at most: every request is answered within a limited time, a failed
//! request gets a problem with `Retry-After`, and shortly after the server is back all requests succeed.
//! `WAYBILL_OUTAGE_S` makes the outages longer than in CI, and `--nocapture` shows the table of results.

mod load;

use load::{Failure, Load, Outcome};
use std::time::{Duration, Instant};
use waybill_integration_tests::{Cluster, Counts};

/// Maximum time for which requests may fail after the server is back: 2 s and a margin for a busy machine.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// Maximum time of a request while a server behind the gateways is away. The authorization takes up to 4 s, and
/// appending each of the two events of a small file up to 8 s. A PATCH waits up to 8 s until NATS delivers its
/// messages.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Maximum time of a request while the store is away. Waybill waits longer for the store, because parts are large and
/// clients would have to send them again.
const STORED_WITHIN: Duration = Duration::from_secs(75);

/// Description of one outage.
struct Outage {
    name: &'static str,
    away: for<'a> fn(&'a mut Cluster) -> futures_util::future::BoxFuture<'a, ()>,
    back: for<'a> fn(&'a mut Cluster) -> futures_util::future::BoxFuture<'a, ()>,
    /// `true` if connections may break because a gateway ends.
    may_break: bool,
}

fn seconds() -> u64 {
    std::env::var("WAYBILL_OUTAGE_S")
        .map_or(3, |seconds| seconds.parse().expect("WAYBILL_OUTAGE_S is a number of seconds"))
}

/// Runs outages one after another under load.
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
            faults.push(format!("{name}: an answer without a problem or without Retry-After: {failure:?}"));
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
