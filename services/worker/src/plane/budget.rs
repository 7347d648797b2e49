//! Memory for part buffers, out of one budget.
//!
//! A request takes a little memory before its first read ([`FIRST_BYTES`]), and that of a whole part only when so much
//! has come: a slow client holds no more than it has sent. First come first served, and one company at most a quarter.
//! A request that waits for the rest of a part gives up after [`PATIENCE`] and stores what it has, so that requests do not
//! wait for each other for ever. Half of the budget is for parts on their way in; three eighths are for parts that are
//! stored and wait to be hashed, which are dropped (and read back later) rather than waited for. The last eighth is for what
//! is read ahead of the hash ([`ahead_bytes`]).

use super::PlaneError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waybill_schema::CompanyId;

const KIB: u64 = 1_024;
/// The smallest budget.
const LEAST_MIB: usize = 32;
/// How long a request waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a part gets before its first byte.
pub(super) const FIRST_BYTES: u64 = 256 * KIB;

/// How many bytes of a budget are for reading ahead.
pub(crate) fn ahead_bytes(mib: usize) -> u64 {
    mib.max(LEAST_MIB) as u64 * KIB * KIB / 8
}

pub(crate) struct Budget {
    incoming: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    company_kib: usize,
    companies: Mutex<HashMap<CompanyId, Weak<Semaphore>>>,
}

/// Memory for one part on its way in.
pub(crate) struct Room {
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

    /// Room for the first bytes of a part of `bytes`, waited for.
    pub(crate) async fn begin(&self, company: CompanyId, bytes: u64) -> Result<Room, PlaneError> {
        self.take(company, bytes.min(FIRST_BYTES)).await
    }

    /// Room for a part of `bytes`, waited for.
    pub(crate) async fn take(&self, company: CompanyId, bytes: u64) -> Result<Room, PlaneError> {
        let share = self.share_of(company);
        let (all, company) = self.permits(&share, self.fitting_kib(bytes)).await?;
        Ok(Room { all, company, share })
    }

    /// As much room as a part of `bytes` takes, waited for; what is held already counts.
    pub(crate) async fn grow(&self, room: &mut Room, bytes: u64) -> Result<(), PlaneError> {
        let held = u32::try_from(room.all.num_permits()).unwrap_or(u32::MAX);
        let more = self.fitting_kib(bytes).saturating_sub(held);
        if more > 0 {
            let (all, company) = self.permits(&room.share, more).await?;
            room.all.merge(all);
            room.company.merge(company);
        }
        Ok(())
    }

    /// Returns whether `room` holds so many bytes; that of a whole share holds any part.
    pub(crate) fn is_enough(&self, room: &Room, bytes: u64) -> bool {
        let held = room.all.num_permits();
        held >= self.company_kib || bytes <= held as u64 * KIB
    }

    /// A part larger than a share takes all of it, so that it is stored at all.
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

    /// Whether a quarter of a company's share is free, and half of all memory, and two more parts of `bytes` at least: then one of
    /// its requests may hold several.
    pub(crate) fn has_spare(&self, company: CompanyId, bytes: u64) -> bool {
        let two = usize::try_from(self.fitting_kib(bytes)).unwrap_or(usize::MAX).saturating_mul(2);
        let of_company = self.share_of(company).available_permits();
        // A company's share is a quarter of the whole.
        of_company >= two.max(self.company_kib / 4) && self.incoming.available_permits() >= two.max(self.company_kib)
    }

    /// Room for a stored part that waits to be hashed, if there is any now.
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
