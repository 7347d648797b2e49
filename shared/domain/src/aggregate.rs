//! The shape that all aggregates have: a state, commands, events, and pure functions between them.

use crate::Refusal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use waybill_schema::events::AggregateEvent;
use waybill_schema::{Event, Routing, Subject, Timestamp};

/// Rules of one kind of aggregate, and where its events are in the log.
pub trait Aggregate: Send + Sync {
    /// State of the aggregate.
    type State: Default + Clone + Send + Sync + Serialize + DeserializeOwned;
    /// Commands to the aggregate.
    type Command: Clone + Send + Sync;
    /// Events of the aggregate.
    type Event: AggregateEvent;

    /// Version of the snapshots. It must change when the type of the state changes, so that older snapshots are not
    /// read. `None` if the rules keep the number of events small.
    const SNAPSHOT_VERSION: Option<u16> = None;

    /// Returns the subject to which decisions are appended.
    fn subject(&self) -> Subject;

    /// Returns the subject of the facts, if there is one. Facts are folded too, but are not decided one at a time.
    fn facts(&self) -> Option<Subject> {
        None
    }

    /// Returns `true` if the aggregate has ended, so that a snapshot is not worth its cost.
    fn is_over(_: &Self::State) -> bool {
        false
    }

    /// Applies one event to the state.
    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp);

    /// Applies one recorded event to the state. The subject of an aggregate never contains events of another kind of
    /// aggregate.
    fn fold(state: &mut Self::State, event: &Event, time: Timestamp) {
        if let Some(event) = Self::Event::of(event) {
            Self::evolve(state, event, time);
        }
    }

    /// Decides on a command.
    ///
    /// # Errors
    /// The refusal for the client.
    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal>;

    /// Returns the subject whose events have the routing of this aggregate, if its own state does not have it.
    fn routed_like(&self) -> Option<Subject> {
        None
    }

    /// Returns the routing for the envelope of an event, if [`Self::routed_like`] returns `None`.
    fn routing(&self, _: &Self::State, _: &Self::Event) -> Routing {
        Routing::default()
    }
}
