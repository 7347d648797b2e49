//! The aggregate of an upload session.

use super::{Command, State, decide, evolve};
use crate::{Aggregate, Refusal};
use waybill_schema::events::SessionEvent;
use waybill_schema::{CompanyId, Entity, SessionId, Subject, Timestamp};

/// Upload session.
#[derive(Clone, Copy, Debug)]
pub struct SessionAggregate {
    /// Company of the session.
    pub company: CompanyId,
    /// Id of the session.
    pub session: SessionId,
}

impl Aggregate for SessionAggregate {
    type State = State;
    type Command = Command;
    type Event = SessionEvent;

    fn subject(&self) -> Subject {
        Subject::new(self.company, Entity::Session(self.session))
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        evolve(state, event, time);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        decide(state, command)
    }
}
