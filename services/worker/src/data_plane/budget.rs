//! Memory budget for part buffers.
//!
//! A request takes a little memory before its first read ([`FIRST_BYTES`]). It takes the memory of a whole part only
//! when this memory is full, so a slow client holds little more memory than it has sent bytes. Requests
//! are served in order of arrival. A request that waits for the memory for the rest of a part gives up after
//! [`PATIENCE`] and stores the bytes that it has, so requests cannot deadlock.
//!
//! Half of the budget is for incoming parts; one company can use at most half of it, which is a quarter of the budget.
//! Three eighths are for stored parts that wait to be hashed. If this share is full, such a part is dropped and read
//! back later. The last eighth is for reading ahead of the hash ([`ahead_bytes`]).

use super::PlaneError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waybill_schema::CompanyId;

const KIB: u64 = 1_024;
/// Minimum budget in MiB.
const LEAST_MIB: usize = 32;
/// Maximum time for which a request waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);
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
}

/// Memory for one incoming part, released when the value is dropped.
pub(crate) struct MemoryPermit {
    all: OwnedSemaphorePermit,
    company: OwnedSemaphorePermit,
    share: Arc<Semaphore>,
}

impl Budget {
    pub(crate) fn new(mib: usize) -> Self {
        let half_kib = mib.max(LEAST_MIB) * 1_024 / 2;
        Self {
            incoming: Arc::new(Semaphore::new(half_kib)),
            waiting: Arc::new(Semaphore::new(half_kib - half_kib / 4)),
            company_kib: half_kib / 2,
            companies: Mutex::default(),
        }
    }

    /// Waits for memory for the first bytes of a part of `bytes`.
    pub(crate) async fn begin(&self, company: CompanyId, bytes: u64) -> Result<MemoryPermit, PlaneError> {
        self.take(company, bytes.min(FIRST_BYTES)).await
    }

    /// Waits for memory for a part of `bytes`.
    pub(crate) async fn take(&self, company: CompanyId, bytes: u64) -> Result<MemoryPermit, PlaneError> {
        let share = self.share_of(company);
        let (all, company) = self.permits(&share, self.fitting_kib(bytes)).await?;
        Ok(MemoryPermit { all, company, share })
    }

    /// Grows `permit` to the memory of a part of `bytes`. Waits for the missing memory.
    pub(crate) async fn grow(&self, permit: &mut MemoryPermit, bytes: u64) -> Result<(), PlaneError> {
        let held = u32::try_from(permit.all.num_permits()).unwrap_or(u32::MAX);
        let more = self.fitting_kib(bytes).saturating_sub(held);
        if more > 0 {
            let (all, company) = self.permits(&permit.share, more).await?;
            permit.all.merge(all);
            permit.company.merge(company);
        }
        Ok(())
    }

    /// Returns `true` if `permit` is enough for `bytes`. A permit of a company's whole share is enough for any part.
    pub(crate) fn is_enough(&self, permit: &MemoryPermit, bytes: u64) -> bool {
        let held = permit.all.num_permits();
        held >= self.company_kib || bytes <= held as u64 * KIB
    }

    /// Returns the memory for `bytes` in KiB. A part that is larger than a company's share takes the whole share,
    /// because it could never be stored otherwise.
    fn fitting_kib(&self, bytes: u64) -> u32 {
        kib(bytes).min(u32::try_from(self.company_kib).unwrap_or(u32::MAX))
    }

    async fn permits(
        &self,
        share: &Arc<Semaphore>,
        kib: u32,
    ) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), PlaneError> {
        let taken = async {
            let company = share.clone().acquire_many_owned(kib).await;
            let all = self.incoming.clone().acquire_many_owned(kib).await;
            Some((all.ok()?, company.ok()?))
        };
        tokio::time::timeout(PATIENCE, taken).await.ok().flatten().ok_or(PlaneError::NoRoom)
    }

    /// Returns `true` if a request of the company may hold several parts: a quarter of the company's share and half of
    /// the memory for incoming parts are free, and in both there is room for at least two more parts of `bytes`.
    pub(crate) fn has_spare(&self, company: CompanyId, bytes: u64) -> bool {
        let two = usize::try_from(self.fitting_kib(bytes)).unwrap_or(usize::MAX).saturating_mul(2);
        let of_company = self.share_of(company).available_permits();
        // A company's share is half of the memory for incoming parts.
        of_company >= two.max(self.company_kib / 4) && self.incoming.available_permits() >= two.max(self.company_kib)
    }

    /// Returns memory for a stored part that waits to be hashed, or `None` if the memory is full.
    pub(crate) fn try_wait(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        self.waiting.clone().try_acquire_many_owned(kib(bytes)).ok()
    }

    fn share_of(&self, company: CompanyId) -> Arc<Semaphore> {
        let mut companies = self.companies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = companies.get(&company).and_then(Weak::upgrade) {
            return share;
        }
        companies.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.company_kib));
        companies.insert(company, Arc::downgrade(&share));
        share
    }
}

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX).max(1)
}
