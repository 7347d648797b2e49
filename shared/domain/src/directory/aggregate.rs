//! The aggregate of a directory.

use super::{Command, State, decide, evolve};
use crate::{Aggregate, Refusal};
use waybill_schema::events::DirectoryEvent;
use waybill_schema::{CompanyId, Entity, Subject, Timestamp};

/// Directory of a company.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryAggregate {
    /// The company.
    pub company: CompanyId,
}

impl Aggregate for DirectoryAggregate {
    type State = State;
    type Command = Command;
    type Event = DirectoryEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(5);

    fn subject(&self) -> Subject {
        Subject::new(self.company, Entity::Directory)
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, _: Timestamp) {
        evolve(state, event);
    }

    /// Decides without a maximum number of entries, which [`super::decide_within`] also checks.
    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        decide(state, command)
    }
}
