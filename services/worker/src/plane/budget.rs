//! Memory for part buffers, out of one budget.
//!
//! A request takes the permits of a whole part before its first read, first come first served, and one company at most
//! a quarter. Half of the budget is for parts on their way in; the other half for parts that are stored and wait to be
//! hashed, which are dropped (and read back later) rather than waited for: so no request ever waits for one that waits
//! for it.

use super::PlaneError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waybill_schema::CompanyId;

const KIB: u64 = 1_024;
/// How long a request waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Budget {
    incoming: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    company_kib: usize,
    companies: Mutex<HashMap<CompanyId, Weak<Semaphore>>>,
}

/// Memory for one part on its way in.
pub(crate) struct Room {
    _all: OwnedSemaphorePermit,
    _company: OwnedSemaphorePermit,
    _share: Arc<Semaphore>,
}

impl Budget {
    pub(crate) fn new(mib: usize) -> Self {
        let half_kib = mib.max(32) * 1_024 / 2;
        Self {
            incoming: Arc::new(Semaphore::new(half_kib)),
            waiting: Arc::new(Semaphore::new(half_kib)),
            company_kib: half_kib / 2,
            companies: Mutex::default(),
        }
    }

    /// Room for a part of `bytes`, waited for.
    pub(crate) async fn take(&self, company: CompanyId, bytes: u64) -> Result<Room, PlaneError> {
        let share = self.share_of(company);
        // A part larger than a share takes all of it, so that it is stored at all.
        let kib = kib(bytes).min(u32::try_from(self.company_kib).unwrap_or(u32::MAX));
        let taken = async {
            let company = share.clone().acquire_many_owned(kib).await;
            let all = self.incoming.clone().acquire_many_owned(kib).await;
            Some(Room { _all: all.ok()?, _company: company.ok()?, _share: share })
        };
        tokio::time::timeout(PATIENCE, taken).await.ok().flatten().ok_or(PlaneError::NoRoom)
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
