//! Measures how full the key-value buckets are. A full bucket accepts no more values, so operators are warned before.

use crate::Worker;
use crate::metrics::BUCKET_FILL;
use waybill_event_log::{Bucket, BucketError, Room};
use waybill_schema::names;

const BUCKETS: [&str; 6] = [
    names::IDEMPOTENCY_BUCKET,
    names::LEFTOVERS_BUCKET,
    names::MIDSTATES_BUCKET,
    names::PARKED_BUCKET,
    names::SNAPSHOTS_BUCKET,
    names::TICKETS_BUCKET,
];
/// Fill level in percent from which operators are warned.
const NEARLY_FULL: u64 = 80;

/// Measures all buckets, sets the metrics, and logs a warning for each bucket that is nearly full.
///
/// # Errors
/// If a bucket does not answer.
pub(crate) async fn measure(worker: &Worker) -> Result<(), BucketError> {
    for name in BUCKETS {
        let room = Bucket::open(&worker.nats, name).await?.room().await?;
        let Some(percent) = percent(room) else { continue };
        BUCKET_FILL.with_label_values(&[name]).set(i64::try_from(percent).unwrap_or(i64::MAX));
        if percent >= NEARLY_FULL {
            let Room { used_bytes, max_bytes } = room;
            tracing::warn!(bucket = name, percent, used_bytes, max_bytes, "a bucket is nearly full; raise its limit");
        }
    }
    Ok(())
}

/// Returns the fill level in percent, or `None` if the bucket has no limit.
fn percent(room: Room) -> Option<u64> {
    room.used_bytes.saturating_mul(100).checked_div(room.max_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_without_a_limit_is_never_full() {
        assert_eq!(percent(Room { used_bytes: 5, max_bytes: 0 }), None);
        assert_eq!(percent(Room { used_bytes: 4, max_bytes: 5 }), Some(80));
    }
}
