//! The aggregate of a quota.

use super::{Command, State, decide, evolve};
use crate::{Aggregate, Refusal};
use waybill_schema::events::QuotaEvent;
use waybill_schema::{CompanyId, Entity, Subject, Timestamp};

/// Quota of a company.
#[derive(Clone, Copy, Debug)]
pub struct QuotaAggregate {
    /// The company.
    pub company: CompanyId,
}

impl Aggregate for QuotaAggregate {
    type State = State;
    type Command = Command;
    type Event = QuotaEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(7);

    fn subject(&self) -> Subject {
        Subject::new(self.company, Entity::Quota)
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        evolve(state, event, time);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        decide(state, command)
    }
}
