//! Memory budget for part buffers.
//!
//! A request takes a little memory before its first read ([`FIRST_BYTES`]). When this memory is full, a fast request takes
//! the memory of the whole part, and a slow one twice what it has. So a slow client holds at most about twice as much
//! memory as it has sent bytes. Requests are served in order of arrival. A request that waits for the memory for the
//! rest of a part gives up after [`PATIENCE`] and stores the bytes that it has, so requests cannot deadlock.
//!
//! Half of the budget is for incoming parts; one company can use at most half of it, which is a quarter of the budget. A
//! user can use at most seven eighths of what the company can.
//! Three eighths are for stored parts that wait to be hashed. If this share is full, such a part is dropped and read
//! back later. The last eighth is for reading ahead of the hash ([`ahead_bytes`]).

use super::PlaneError;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waybill_schema::{CompanyId, UserId};

const KIB: u64 = 1_024;
/// Minimum budget in MiB.
const LEAST_MIB: usize = 32;
/// Maximum time for which a request waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);
/// Throughput from which on a request takes the memory of a whole part at once. A slower one would hold it for long.
const FAST_BYTES_PER_S: u64 = 256 * KIB;
/// Memory that a request takes before the first byte of a part.
pub(super) const FIRST_BYTES: u64 = 256 * KIB;

/// Returns the number of bytes for reading ahead, out of a budget of `mib` MiB.
pub(crate) fn ahead_bytes(mib: usize) -> u64 {
    mib.max(LEAST_MIB) as u64 * KIB * KIB / 8
}

/// The memory budget of a worker.
pub(crate) struct Budget {
    incoming: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    company_kib: usize,
    companies: Mutex<HashMap<CompanyId, Weak<Semaphore>>>,
    users: Mutex<HashMap<Owner, Weak<Semaphore>>>,
}

/// The user for whom memory is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) company: CompanyId,
    /// The user, or `None` if the bytes come from the store.
    pub(crate) user: Option<UserId>,
}

/// Memory for one incoming part, released when the value is dropped.
pub(crate) struct MemoryPermit {
    all: OwnedSemaphorePermit,
    company: OwnedSemaphorePermit,
    user: OwnedSemaphorePermit,
    shares: Shares,
}

/// The memory that a company and its user may take.
#[derive(Clone)]
struct Shares {
    company: Arc<Semaphore>,
    user: Arc<Semaphore>,
}

/// Permits for the same memory.
struct Permits {
    all: OwnedSemaphorePermit,
    company: OwnedSemaphorePermit,
    user: OwnedSemaphorePermit,
}

impl Budget {
    pub(crate) fn new(mib: usize) -> Self {
        let half_kib = mib.max(LEAST_MIB) * 1_024 / 2;
        Self {
            incoming: Arc::new(Semaphore::new(half_kib)),
            waiting: Arc::new(Semaphore::new(half_kib - half_kib / 4)),
            company_kib: half_kib / 2,
            companies: Mutex::default(),
            users: Mutex::default(),
        }
    }

    /// Waits for memory for the first bytes of a part of `bytes`.
    pub(crate) async fn begin(&self, owner: Owner, bytes: u64) -> Result<MemoryPermit, PlaneError> {
        self.take(owner, bytes.min(FIRST_BYTES)).await
    }

    /// Waits for memory for a part of `bytes`.
    pub(crate) async fn take(&self, owner: Owner, bytes: u64) -> Result<MemoryPermit, PlaneError> {
        let company = share_of(&self.companies, owner.company, self.company_kib);
        let user = share_of(&self.users, owner, self.user_kib());
        let shares = Shares { company, user };
        let Permits { all, company, user } = self.permits(&shares, self.fitting_kib(bytes)).await?;
        Ok(MemoryPermit { all, company, user, shares })
    }

    /// Grows `permit` to the memory of a part of `bytes`. Waits for the missing memory.
    pub(crate) async fn grow(&self, permit: &mut MemoryPermit, bytes: u64) -> Result<(), PlaneError> {
        let held = u32::try_from(permit.all.num_permits()).unwrap_or(u32::MAX);
        let more = self.fitting_kib(bytes).saturating_sub(held);
        if more > 0 {
            let Permits { all, company, user } = self.permits(&permit.shares, more).await?;
            permit.all.merge(all);
            permit.company.merge(company);
            permit.user.merge(user);
        }
        Ok(())
    }

    /// Grows `permit` for the next bytes of a part of `bytes`, after `received` bytes have arrived in `elapsed`. Waits
    /// for the missing memory.
    pub(crate) async fn grow_for(
        &self,
        permit: &mut MemoryPermit,
        bytes: u64,
        received: u64,
        elapsed: Duration,
    ) -> Result<(), PlaneError> {
        let held = permit.all.num_permits() as u64 * KIB;
        self.grow(permit, next_size(held, bytes, received, elapsed)).await
    }

    /// Returns `true` if `permit` is enough for `bytes`. A permit of a user's whole share is enough for any part.
    pub(crate) fn is_enough(&self, permit: &MemoryPermit, bytes: u64) -> bool {
        let held = permit.all.num_permits();
        held >= self.user_kib() || bytes <= held as u64 * KIB
    }

    /// Returns the memory for `bytes` in KiB. A part that is larger than a user's share takes the whole share, because
    /// it could never be stored otherwise.
    fn fitting_kib(&self, bytes: u64) -> u32 {
        kib(bytes).min(u32::try_from(self.user_kib()).unwrap_or(u32::MAX))
    }

    /// Returns the share of a user in KiB. The rest of the company's share is for its other users.
    fn user_kib(&self) -> usize {
        self.company_kib - self.company_kib / 8
    }

    async fn permits(&self, shares: &Shares, kib: u32) -> Result<Permits, PlaneError> {
        let taken = async {
            let user = shares.user.clone().acquire_many_owned(kib).await;
            let company = shares.company.clone().acquire_many_owned(kib).await;
            let all = self.incoming.clone().acquire_many_owned(kib).await;
            Some(Permits { all: all.ok()?, company: company.ok()?, user: user.ok()? })
        };
        tokio::time::timeout(PATIENCE, taken).await.ok().flatten().ok_or(PlaneError::NoRoom)
    }

    /// Returns `true` if a request of the company may hold several parts: a quarter of the company's share and half of
    /// the memory for incoming parts are free, and in both there is room for at least two more parts of `bytes`.
    pub(crate) fn has_spare(&self, company: CompanyId, bytes: u64) -> bool {
        let two = usize::try_from(self.fitting_kib(bytes)).unwrap_or(usize::MAX).saturating_mul(2);
        let of_company = share_of(&self.companies, company, self.company_kib).available_permits();
        // A company's share is half of the memory for incoming parts.
        of_company >= two.max(self.company_kib / 4) && self.incoming.available_permits() >= two.max(self.company_kib)
    }

    /// Returns memory for a stored part that waits to be hashed, or `None` if the memory is full.
    pub(crate) fn try_wait(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        self.waiting.clone().try_acquire_many_owned(kib(bytes)).ok()
    }
}

/// Returns the share of a company or a user, which lives while somebody uses it.
fn share_of<K: Copy + Eq + Hash>(shares: &Mutex<HashMap<K, Weak<Semaphore>>>, key: K, kib: usize) -> Arc<Semaphore> {
    let mut shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(share) = shares.get(&key).and_then(Weak::upgrade) {
        return share;
    }
    shares.retain(|_, share| share.strong_count() > 0);
    let share = Arc::new(Semaphore::new(kib));
    shares.insert(key, Arc::downgrade(&share));
    share
}

/// Returns the memory that a request takes next for a part of `bytes`.
fn next_size(held: u64, bytes: u64, received: u64, elapsed: Duration) -> u64 {
    let is_fast = received as f64 >= FAST_BYTES_PER_S as f64 * elapsed.as_secs_f64();
    if is_fast { bytes } else { bytes.min(held.max(received).saturating_mul(2)) }
}

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const MIB: u64 = 1_024 * KIB;

    fn owner(user: u128) -> Owner {
        Owner { company: CompanyId(Uuid::from_u128(1)), user: Some(UserId(Uuid::from_u128(user))) }
    }

    #[test]
    fn h9_a_slow_body_holds_about_twice_what_it_has_sent() {
        let part = 8 * MIB;
        assert_eq!(next_size(FIRST_BYTES, part, FIRST_BYTES, Duration::from_secs(1)), part);
        let mut held = FIRST_BYTES;
        for received in (1..32).map(|number| number * FIRST_BYTES) {
            // 25 KiB per second.
            let elapsed = Duration::from_secs(received / (25 * KIB));
            if received >= held {
                held = next_size(held, part, received, elapsed);
            }
            assert!(received < held && held <= 2 * received, "{received} bytes hold {held}");
        }
        assert_eq!(held, part);
    }

    #[tokio::test(start_paused = true)]
    async fn h9_a_user_cannot_take_the_whole_share_of_the_company() {
        let budget = Budget::new(512);
        let mut held = Vec::new();
        for _ in 0..14 {
            held.push(budget.take(owner(1), 8 * MIB).await.unwrap());
        }
        assert!(budget.take(owner(1), 8 * MIB).await.is_err());
        let other = budget.take(owner(2), 8 * MIB).await;
        assert!(other.is_ok(), "a colleague has no room");
        held.pop();
        assert!(budget.take(owner(1), 8 * MIB).await.is_ok());
    }
}
