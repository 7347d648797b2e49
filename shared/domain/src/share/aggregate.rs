//! The aggregate of an association.

use super::{Command, State, decide, evolve};
use crate::{Aggregate, Refusal};
use waybill_schema::events::ShareEvent;
use waybill_schema::{CompanyId, Entity, Routing, ShareId, Subject, Timestamp};

/// Association of a file with a chatroom or thread.
#[derive(Clone, Copy, Debug)]
pub struct ShareAggregate {
    /// Company of the association.
    pub company: CompanyId,
    /// Id of the association.
    pub share: ShareId,
}

impl Aggregate for ShareAggregate {
    type State = State;
    type Command = Command;
    type Event = ShareEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(2);

    fn subject(&self) -> Subject {
        Subject::new(self.company, Entity::Share(self.share))
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        evolve(state, event, time);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        decide(state, command)
    }

    fn routing(&self, state: &Self::State, event: &Self::Event) -> Routing {
        // Only this event has the places. All later ones have those of the state.
        let shared = if let ShareEvent::FileShared(shared) = event { Some(shared) } else { state.shared.as_ref() };
        shared.map_or_else(Routing::default, |shared| Routing {
            chatroom_id: shared.chatroom_id,
            thread_id: shared.thread_id,
            ..Routing::default()
        })
    }
}
