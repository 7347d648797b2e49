//! Logs and events for the tests.

use std::sync::Arc;
use uuid::Uuid;
use waybill_event_log::faults::{Fault, FaultyLog};
use waybill_event_log::{EventLog, Expect, NewEvent};
use waybill_schema::events::QuotaLimitSet;
use waybill_schema::*;

/// The log under test.
pub(crate) struct Log {
    pub(crate) log: Arc<dyn EventLog>,
    faulty: Box<dyn Fn(Vec<Fault>) -> Arc<dyn EventLog> + Send + Sync>,
}

impl Log {
    pub(crate) fn new<L: EventLog + Clone + 'static>(log: L) -> Self {
        let inner = log.clone();
        Self { log: Arc::new(log), faulty: Box::new(move |faults| Arc::new(FaultyLog::new(inner.clone(), faults))) }
    }

    /// Returns the same log with injected faults.
    pub(crate) fn with_faults(&self, faults: impl Into<Vec<Fault>>) -> Arc<dyn EventLog> {
        (self.faulty)(faults.into())
    }

    pub(crate) fn partition_of(&self, subject: Subject) -> u32 {
        self.log.partitions().of(subject.company)
    }
}

pub(crate) fn subject() -> Subject {
    Subject::new(CompanyId(Uuid::now_v7()), Entity::Quota)
}

/// Returns an event that can be identified by `bytes`.
pub(crate) fn event(subject: Subject, bytes: u64, expect: Expect) -> NewEvent {
    NewEvent {
        subject,
        envelope: Envelope {
            time: Timestamp(1_764_000_000_000),
            actor: Actor::User(UserId(Uuid::from_u128(7))),
            causation: Causation::Request(Uuid::from_u128(8)),
            address: None,
            routing: Routing { session_id: Some(SessionId(Uuid::from_u128(9))), ..Routing::default() },
        },
        event: QuotaLimitSet { storage_limit_bytes: bytes, is_of_host: true }.into(),
        expect,
        message_id: None,
    }
}
