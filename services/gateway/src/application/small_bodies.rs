//! Memory for small files that the gateway holds until all of their bytes have arrived.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum size of all held files together, in KiB. If it is exceeded, the gateway starts an ordinary upload
/// immediately.
const ALL_KIB: usize = 32 * 1_024;

/// Memory for small files that are being received.
pub(crate) struct SmallBodies(Arc<Semaphore>);

impl Default for SmallBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ALL_KIB)))
    }
}

impl SmallBodies {
    pub(crate) fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1_024)).ok()?;
        self.0.clone().try_acquire_many_owned(kib).ok()
    }
}
