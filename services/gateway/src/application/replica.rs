//! A streaming replica of the read model, and whether it may answer queries at present.

use prometheus::IntGauge;
use std::collections::{BTreeMap, VecDeque};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use waybill_access::Access;
use waybill_read_model::projection::{Checkpoint, checkpoints};
use waybill_read_model::{Connection, Database};
use waybill_service_kit::Shutdown;
use waybill_service_kit::metrics::gauge;

/// Interval of the checks.
const EVERY: Duration = Duration::from_millis(500);

/// Time within which a server must answer a check, and within which the replica must give a connection to a query.
const CHECK_WITHIN: Duration = Duration::from_secs(1);
const CONNECT_WITHIN: Duration = Duration::from_millis(300);

static USABLE: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("waybill_replica_usable", "1 while the replica of PostgreSQL answers queries, otherwise 0"));

/// Checkpoints of all partitions.
type Checkpoints = BTreeMap<u32, Checkpoint>;

/// A replica that is used while it answers and does not lag behind.
pub(crate) struct Replica {
    database: Database,
    max_lag: Duration,
    is_usable: AtomicBool,
}

impl Replica {
    pub(crate) fn new(database: Database, max_lag: Duration) -> Self {
        Self { database, max_lag, is_usable: AtomicBool::new(false) }
    }

    /// Returns a connection; `None` if the replica may not be used now.
    pub(crate) async fn connection(&self) -> Option<Connection> {
        if !self.is_usable.load(Ordering::Relaxed) {
            return None;
        }
        let connected = timeout(CONNECT_WITHIN, self.database.connection()).await.ok().and_then(Result::ok);
        if connected.is_none() {
            self.set(false, "it gives no connection");
        }
        connected
    }

    /// Checks the replica periodically, until shutdown. `access` decides access with the tables of the replica, too.
    pub(crate) async fn watch(&self, primary: &Database, access: &Access, shutdown: Shutdown) {
        let mut needed = Needed::default();
        loop {
            let now = Instant::now();
            // While the primary does not answer, its last known checkpoints count.
            if let Some(reached) = read(primary).await {
                needed.note(now, reached);
            }
            match (read(&self.database).await, needed.at(now, self.max_lag)) {
                (None, _) => self.set(false, "it does not answer"),
                (Some(reached), Some(needed)) if !has_reached(&reached, needed) => self.set(false, "it lags behind"),
                (Some(reached), _)
                    if !reached.iter().all(|(partition, at)| at.seq.unsigned_abs() >= access.oldest(*partition)) =>
                {
                    self.set(false, "it lags behind the events that this process knows");
                }
                (Some(_), _) => self.set(true, ""),
            }
            if shutdown.unless(tokio::time::sleep(EVERY)).await.is_none() {
                return;
            }
        }
    }

    fn set(&self, is_usable: bool, reason: &str) {
        USABLE.set(is_usable.into());
        if self.is_usable.swap(is_usable, Ordering::Relaxed) == is_usable {
            return;
        }
        if is_usable {
            tracing::info!("the replica of PostgreSQL answers queries");
        } else {
            tracing::warn!(reason, "the primary answers queries instead of the replica of PostgreSQL");
        }
    }
}

async fn read(database: &Database) -> Option<Checkpoints> {
    let read = async {
        let mut connection = database.connection().await.ok()?;
        checkpoints(&mut connection).await.ok()
    };
    Some(timeout(CHECK_WITHIN, read).await.ok()??.into_iter().collect())
}

fn has_reached(reached: &Checkpoints, needed: &Checkpoints) -> bool {
    needed.iter().all(|(partition, needed)| {
        reached.get(partition).is_some_and(|reached| reached.epoch == needed.epoch && reached.seq >= needed.seq)
    })
}

/// Recent checkpoints of the primary.
#[derive(Default)]
struct Needed(VecDeque<(Instant, Checkpoints)>);

impl Needed {
    fn note(&mut self, now: Instant, reached: Checkpoints) {
        self.0.push_back((now, reached));
    }

    /// Returns the checkpoints that a replica with this lag has: the newest ones that are at least that old, or else the oldest.
    fn at(&mut self, now: Instant, lag: Duration) -> Option<&Checkpoints> {
        while self.0.get(1).is_some_and(|(at, _)| *at + lag <= now) {
            self.0.pop_front();
        }
        self.0.front().map(|(_, reached)| reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: &str, seq: i64) -> Checkpoints {
        [(0, Checkpoint { epoch: epoch.to_owned(), seq, last_id: String::new() })].into()
    }

    #[test]
    fn a_replica_needs_what_the_primary_had_before_the_lag() {
        let (begun, lag) = (Instant::now(), Duration::from_secs(5));
        let mut needed = Needed::default();
        for second in 0..=20 {
            let now = begun + Duration::from_secs(second);
            needed.note(now, at("a", i64::try_from(second).unwrap()));
            let wanted = i64::try_from(second.saturating_sub(5)).unwrap();
            assert_eq!(needed.at(now, lag).unwrap()[&0].seq, wanted);
        }
        assert_eq!(needed.0.len(), 6);
    }

    #[test]
    fn a_replica_of_other_tables_has_reached_nothing() {
        assert!(has_reached(&at("a", 5), &at("a", 5)) && has_reached(&at("a", 6), &at("a", 5)));
        for other in [at("a", 4), at("b", 9), Checkpoints::new()] {
            assert!(!has_reached(&other, &at("a", 5)));
        }
        assert!(has_reached(&Checkpoints::new(), &Checkpoints::new()));
    }
}
