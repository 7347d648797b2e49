//! The aggregate of a download token.

use super::{Command, State, decide, evolve};
use crate::{Aggregate, Refusal};
use waybill_schema::events::TokenEvent;
use waybill_schema::{CompanyId, Entity, Subject, Timestamp, TokenId};

/// Download token.
#[derive(Clone, Copy, Debug)]
pub struct TokenAggregate {
    /// Company of the token.
    pub company: CompanyId,
    /// Id of the token.
    pub token: TokenId,
}

impl Aggregate for TokenAggregate {
    type State = State;
    type Command = Command;
    type Event = TokenEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(2);

    fn subject(&self) -> Subject {
        Subject::new(self.company, Entity::Token(self.token))
    }

    fn is_over(state: &Self::State) -> bool {
        state.forgotten
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        evolve(state, event, time);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        decide(state, command)
    }
}
