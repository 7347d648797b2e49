//! Limits of the new `Idempotency-Key`s of a company and of a user in 24 hours. All companies keep their keys in one
//! bucket. Without limits, one company could fill it, and one user could use up the share of the company.
//!
//! The counts are records in the same bucket, so that the limits apply to all gateways together. Gateways take keys from
//! them in lots, so that few requests wait for the bucket.

use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::sync::Mutex;
use waybill_cache::{Cache, CacheKey};
use waybill_event_log::{Bucket, BucketError, CreateOutcome};
use waybill_http_kit::Principal;
use waybill_schema::{CompanyId, UserId};
use waybill_service_kit::now;

/// Length in seconds of the intervals in which keys are counted: an hour.
const HOUR_S: i64 = 3_600;

/// Number of hours after its own hour in which the bucket may still contain a key.
const KEPT_HOURS: i64 = 24;

/// Maximum number of keys in a lot.
const LOT_MAX: u32 = 100;

/// Number of lots into which a share is divided. A gateway loses the keys that it has not used by the end of the hour.
const LOTS: u32 = 1_000;

/// Number of seconds for which a gateway refuses new keys of an owner without reading the record again.
const REFUSED_S: i64 = 5;

/// Maximum number of attempts to take a lot if other gateways change the record at the same time.
const ATTEMPTS: u32 = 20;

const PAUSE: Duration = Duration::from_millis(5);

/// Number of companies, and of users, whose lots are cached.
const OWNERS: u64 = 10_000;

/// Keys that a company or user has taken: pairs of an hour and the number of keys.
#[derive(Default, Debug, PartialEq, Serialize, Deserialize)]
struct Taken(Vec<(i64, u32)>);

/// Part of a share that this gateway can use.
#[derive(Default)]
struct Lot {
    hour: i64,
    left: u32,
    /// Time until which keys are refused, and time at which the owner has keys again. Both in Unix seconds.
    refused: Option<(i64, i64)>,
}

/// Maximum numbers of new keys in 24 hours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyShares {
    /// Keys of a company.
    pub(crate) per_company: NonZeroU32,
    /// Keys of one of its users.
    pub(crate) per_user: NonZeroU32,
}

/// Owner of a share of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The company.
    Company,
    /// The user.
    User,
}

/// The company or the user has used all keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted {
    /// Owner of the share that is used up.
    pub(crate) owner: Owner,
    /// Number of seconds after which there are keys again.
    pub(crate) retry_after_s: u32,
}

/// The shares of all companies and users.
pub(crate) struct KeyBudget {
    companies: Shares<CompanyId>,
    users: Shares<(CompanyId, UserId)>,
}

impl KeyBudget {
    pub(crate) fn new(bucket: &Bucket, shares: KeyShares) -> Self {
        Self {
            companies: Shares::new(bucket.clone(), shares.per_company),
            users: Shares::new(bucket.clone(), shares.per_user),
        }
    }

    /// Takes one key of the shares of the user and of the company.
    ///
    /// # Errors
    /// [`BucketError`] if the bucket fails. The inner error is [`Exhausted`].
    pub(crate) async fn take(&self, principal: &Principal) -> Result<Result<(), Exhausted>, BucketError> {
        let (company, user) = (&principal.company_id, &principal.counted_as());
        if let Err(retry_after_s) = self.users.take((*company, *user), &format!("share.{company}.{user}")).await? {
            return Ok(Err(Exhausted { owner: Owner::User, retry_after_s }));
        }
        let taken = self.companies.take(*company, &format!("share.{company}")).await;
        if !matches!(taken, Ok(Ok(()))) {
            self.users.give_back((*company, *user)).await;
        }
        Ok(taken?.map_err(|retry_after_s| Exhausted { owner: Owner::Company, retry_after_s }))
    }

    /// Returns a key that was not needed.
    pub(crate) async fn give_back(&self, principal: &Principal) {
        self.companies.give_back(principal.company_id).await;
        self.users.give_back((principal.company_id, principal.counted_as())).await;
    }
}

/// The shares of all owners of one kind.
struct Shares<K> {
    bucket: Bucket,
    share: u32,
    lots: Cache<K, Mutex<Lot>>,
}

impl<K: CacheKey> Shares<K> {
    fn new(bucket: Bucket, share: NonZeroU32) -> Self {
        let lots = Cache::builder(OWNERS).time_to_idle(Duration::from_secs(3_600)).build();
        Self { bucket, share: share.get(), lots }
    }

    /// Takes one key of an owner's share, whose count is in `record`. The inner error is the number of seconds after
    /// which there are keys again.
    async fn take(&self, owner: K, record: &str) -> Result<Result<(), u32>, BucketError> {
        let lot = self.lots.get_with(&owner, Mutex::default);
        let mut lot = lot.lock().await;
        let time = now().0 / 1_000;
        let hour = time / HOUR_S;
        if lot.hour != hour {
            *lot = Lot { hour, ..Lot::default() };
        }
        let wait_s = |free_at: i64| u32::try_from((free_at - time).max(1)).unwrap_or(u32::MAX);
        if let Some((_, free_at)) = lot.refused.filter(|(until, _)| time < *until) {
            return Ok(Err(wait_s(free_at)));
        }
        if lot.left == 0 {
            match self.draw(record, hour).await? {
                Ok(drawn) => lot.left = drawn,
                Err(free_at) => {
                    lot.refused = Some((time + REFUSED_S, free_at));
                    return Ok(Err(wait_s(free_at)));
                }
            }
        }
        lot.left -= 1;
        Ok(Ok(()))
    }

    async fn give_back(&self, owner: K) {
        if let Some(lot) = self.lots.get(&owner) {
            let mut lot = lot.lock().await;
            lot.left = lot.left.saturating_add(1);
        }
    }

    /// Takes a lot from a record. The inner error is the time at which the owner has keys again, in Unix seconds.
    async fn draw(&self, record: &str, hour: i64) -> Result<Result<u32, i64>, BucketError> {
        for _ in 0..ATTEMPTS {
            let kept = self.bucket.get(record).await?;
            // Another version has written a record that cannot be read: counting starts again.
            let mut taken: Taken =
                kept.as_ref().and_then(|kept| serde_json::from_slice(&kept.value).ok()).unwrap_or_default();
            let drawn = match taken.draw(self.share, hour) {
                Ok(drawn) => drawn,
                Err(free_at) => return Ok(Err(free_at)),
            };
            // The serialization of pairs of numbers cannot fail.
            let value = serde_json::to_vec(&taken).unwrap_or_default().into();
            let is_kept = match kept {
                Some(kept) => self.bucket.replace(record, value, kept.revision).await?,
                None => self.bucket.create(record, value).await? == CreateOutcome::Created,
            };
            if is_kept {
                return Ok(Ok(drawn));
            }
            tokio::time::sleep(PAUSE).await;
        }
        let reason = "cannot take idempotency keys: other gateways change the record at the same time".to_owned();
        Err(BucketError { bucket: record.to_owned(), reason })
    }
}

impl Taken {
    /// Takes a lot in `hour`. The error is the time at which the owner has keys again, in Unix seconds.
    fn draw(&mut self, share: u32, hour: i64) -> Result<u32, i64> {
        self.0.retain(|(taken_in, _)| *taken_in >= hour - KEPT_HOURS);
        let used: u32 = self.0.iter().map(|(_, keys)| *keys).sum();
        let drawn = (share / LOTS).clamp(1, LOT_MAX).min(share.saturating_sub(used));
        if drawn == 0 {
            let oldest = self.0.iter().map(|(taken_in, _)| *taken_in).min().unwrap_or(hour);
            return Err((oldest + KEPT_HOURS + 1) * HOUR_S);
        }
        match self.0.iter_mut().find(|(taken_in, _)| *taken_in == hour) {
            Some((_, keys)) => *keys += drawn,
            None => self.0.push((hour, drawn)),
        }
        Ok(drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_what_the_bucket_may_still_keep_of_a_company() {
        let mut taken = Taken::default();
        for _ in 0..10 {
            assert_eq!(taken.draw(10, 100), Ok(1));
        }
        assert_eq!(taken.draw(10, 100), Err(125 * HOUR_S));
        // The bucket keeps a key from the end of an hour until the end of the 24th hour after it.
        assert_eq!(taken.draw(10, 124), Err(125 * HOUR_S));
        assert_eq!(taken.draw(10, 125), Ok(1));
        assert_eq!(taken.0, [(125, 1)]);
    }

    #[test]
    fn a_large_share_goes_in_lots_and_the_last_one_is_what_is_left() {
        let mut taken = Taken(vec![(98, 499_950)]);
        assert_eq!(taken.draw(500_000, 99), Ok(50));
        assert_eq!(taken.draw(500_000, 99), Err(123 * HOUR_S));
        assert_eq!(Taken::default().draw(500_000, 99), Ok(100));
    }

    #[test]
    fn a_record_fits_into_the_bucket() {
        let full = Taken((490_000..490_025).map(|hour| (hour, u32::MAX / 25)).collect());
        assert!(serde_json::to_vec(&full).unwrap().len() < 1_024);
    }
}
