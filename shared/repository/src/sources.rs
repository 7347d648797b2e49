//! Sources of the states of aggregates.

use crate::memory::Memory;
use crate::quota::Quotas;
use std::sync::Arc;
use waybill_event_log::EventLog;

/// The log, and what a repository keeps of it in memory.
pub struct Sources {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) quotas: Quotas,
    pub(crate) memory: Memory,
}

impl Sources {
    /// Returns the log.
    pub(crate) fn log(&self) -> &dyn EventLog {
        self.log.as_ref()
    }
}
