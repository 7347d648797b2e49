//! The aggregate of content.

use super::{Command, State, decide, evolve};
use crate::{Aggregate, Refusal};
use waybill_schema::events::ContentEvent;
use waybill_schema::{CompanyId, Entity, Sha256Digest, Subject, Timestamp};

/// Content: an object that several files of a company refer to.
#[derive(Clone, Copy, Debug)]
pub struct ContentAggregate {
    /// The company.
    pub company: CompanyId,
    /// SHA-256 of the bytes.
    pub sha256: Sha256Digest,
}

impl Aggregate for ContentAggregate {
    type State = State;
    type Command = Command;
    type Event = ContentEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(2);

    fn subject(&self) -> Subject {
        Subject::new(self.company, Entity::Content(self.sha256))
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, _: Timestamp) {
        evolve(state, event);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        decide(state, command)
    }
}
