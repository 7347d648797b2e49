//! The aggregate of a verified file.

use super::{Command, State, decide, evolve};
use crate::{Aggregate, Refusal};
use waybill_schema::events::FileEvent;
use waybill_schema::{CompanyId, Entity, FileId, Subject, Timestamp};

/// Verified file.
#[derive(Clone, Copy, Debug)]
pub struct FileAggregate {
    /// Company of the file.
    pub company: CompanyId,
    /// Id of the file.
    pub file: FileId,
}

impl Aggregate for FileAggregate {
    type State = State;
    type Command = Command;
    type Event = FileEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(7);

    fn subject(&self) -> Subject {
        Subject::new(self.company, Entity::File(self.file))
    }

    fn is_over(state: &Self::State) -> bool {
        state.purged
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        evolve(state, event, time);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        decide(state, command)
    }

    fn routed_like(&self) -> Option<Subject> {
        Some(Subject::new(self.company, Entity::UploadLifecycle(self.file)))
    }
}
