//! Divides the work of the sweep among the workers.

use std::num::NonZeroU32;
use uuid::Uuid;
use waybill_read_model::queries::Share;

/// Seconds after which the shares rotate among the workers.
const SHARES_CHANGE_S: u64 = 600;

/// Returns the share of `worker`. Shares rotate, so that another worker tries what one worker cannot do. If two workers
/// disagree about the live workers for a short time, some work is done twice, which is harmless.
pub(crate) fn share_of(worker: Uuid, alive: &[Uuid], now_s: i64) -> Share {
    let of = u32::try_from(alive.len()).ok().and_then(NonZeroU32::new);
    let (Some(of), Some(rank)) = (of, alive.iter().position(|id| *id == worker)) else { return Share::default() };
    let turn = now_s.unsigned_abs() / SHARES_CHANGE_S % u64::from(of.get());
    let rank = (u64::try_from(rank).unwrap_or(0) + turn) % u64::from(of.get());
    Share { rank: u32::try_from(rank).unwrap_or(0), of }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_everything_and_their_shares_change_hands() {
        let workers = [1, 2, 3].map(Uuid::from_u128);
        let ranks = |now| workers.map(|worker| share_of(worker, &workers, now).rank);
        assert_eq!((ranks(0), ranks(600)), ([0, 1, 2], [1, 2, 0]));
        assert_eq!(
            share_of(workers[0], &[], 0),
            Share::default(),
            "a worker that knows of no live worker does everything"
        );
        assert_eq!(
            share_of(Uuid::nil(), &workers, 0),
            Share::default(),
            "a worker that is not in the list does everything"
        );
    }
}
