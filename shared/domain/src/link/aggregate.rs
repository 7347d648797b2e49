//! The aggregate of an upload link.

use super::{Command, State, decide, evolve};
use crate::{Aggregate, Refusal};
use waybill_schema::events::LinkEvent;
use waybill_schema::{CompanyId, Entity, LinkId, Subject, Timestamp};

/// Upload link.
#[derive(Clone, Copy, Debug)]
pub struct LinkAggregate {
    /// Company of the link.
    pub company: CompanyId,
    /// Id of the link.
    pub link: LinkId,
}

impl Aggregate for LinkAggregate {
    type State = State;
    type Command = Command;
    type Event = LinkEvent;
    const SNAPSHOT_VERSION: Option<u16> = None;

    fn subject(&self) -> Subject {
        Subject::new(self.company, Entity::Link(self.link))
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        evolve(state, event, time);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        decide(state, command)
    }
}
