//! Projectors share the partitions, and take over the partitions of a projector that dies.

use diesel::sql_types::BigInt;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_integration_tests::{Cluster, Counts};
use waybill_read_model::Database;
use waybill_read_model::projection::{self, Lease};
use waybill_test_kit::eventually;

const PARTITIONS: u32 = 4;
const LEASE: Duration = Duration::from_secs(5);

/// Returns the projector that holds the lease of each partition, if all partitions are leased.
async fn leases(cluster: &Cluster) -> Option<BTreeMap<u32, Uuid>> {
    let database = cluster.backing.database("waybill");
    let leases: Vec<Lease> = projection::leases(&mut *database.connection().await.ok()?).await.ok()?;
    let held: BTreeMap<u32, Uuid> =
        leases.into_iter().map(|lease| (lease.partition.unsigned_abs(), lease.owner)).collect();
    (held.len() == PARTITIONS as usize).then_some(held)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_dies_is_replaced_within_the_lease() {
    let lease_ms = u32::try_from(LEASE.as_millis()).unwrap();
    let mut cluster = Cluster::start(Counts { each: 2, partitions: PARTITIONS, lease_ms, ..Counts::default() }).await;
    let companies = cluster.company_of_each_partition();
    for victim in [0, 1] {
        let held = eventually("each projector to have two partitions", || async {
            let held = leases(&cluster).await?;
            let owners: BTreeSet<Uuid> = held.values().copied().collect();
            let fair = owners.iter().all(|owner| held.values().filter(|holder| *holder == owner).count() == 2);
            (owners.len() == 2 && fair).then_some(held)
        })
        .await;
        let dead = *held.values().find(|owner| cluster.projectors[victim].has_logged(&owner.to_string())).unwrap();
        cluster.projectors[victim].kill();
        let began = Instant::now();
        eventually("the partitions to move", || async {
            leases(&cluster).await?.values().all(|owner| *owner != dead).then_some(())
        })
        .await;
        let moved_after = began.elapsed();
        assert!(moved_after <= LEASE, "the partitions moved after {moved_after:?}");
        for client in &companies {
            let file = client.small_file("a.txt").await;
            client.get_after(&format!("/v1/files/{}", file.text("file_id")), &file).await.expect(200);
        }
        cluster.projectors[victim].restart().await;
    }
    cluster.finish().await;
}

/// Waits until a session of the database waits for a lock.
async fn somebody_waits(database: &Database) {
    let waiting =
        "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
    eventually("somebody to wait for the lock", || async {
        let count = diesel::select(diesel::dsl::sql::<BigInt>(waiting));
        let count: i64 = count.get_result(&mut database.connection().await.ok()?).await.ok()?;
        (count > 0).then_some(())
    })
    .await;
}

/// A projector that hangs in a transaction holds locks that block the other projectors (correctness S2-3).
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_hangs_in_a_transaction_is_replaced_within_the_lease() {
    // The takeover can take seven eighths of the lease.
    let lease = 2 * LEASE;
    let lease_ms = u32::try_from(lease.as_millis()).unwrap();
    let cluster = Cluster::start(Counts { each: 2, lease_ms, ..Counts::default() }).await;
    let client = cluster.client();
    let database = cluster.backing.database("waybill");
    let holder = async || {
        let leases: Vec<Lease> = projection::leases(&mut *database.connection().await.ok()?).await.ok()?;
        leases.into_iter().next().map(|lease| lease.owner)
    };
    let hanging = eventually("a projector to have the partition", holder).await;
    let projector = cluster.projectors.iter().find(|it| it.has_logged(&hanging.to_string())).unwrap();
    let mut locking = database.connection().await.unwrap();
    // This lock blocks writers only. The projector waits for it in its transaction.
    locking.batch_execute("BEGIN; LOCK TABLE file IN SHARE MODE").await.unwrap();
    let file = client.small_file("a.txt").await;
    somebody_waits(&database).await;
    projector.hang();
    locking.batch_execute("ROLLBACK").await.unwrap();
    let began = Instant::now();
    eventually("another projector to have the partition", || async {
        holder().await.filter(|owner| *owner != hanging)
    })
    .await;
    let moved_after = began.elapsed();
    assert!(moved_after <= lease, "the partition moved after {moved_after:?}");
    client.get_after(&format!("/v1/files/{}", file.text("file_id")), &file).await.expect(200);
    projector.go_on();
    cluster.finish().await;
}
