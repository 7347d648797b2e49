//! Recent changes of what the tables contain, for the decision whether rows that were read earlier are still right.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;
use waybill_domain::access::affects_access;
use waybill_event_log::Stored;
use waybill_schema::events::{DirectoryEvent, FileEvent, ShareEvent};
use waybill_schema::{CompanyId, Entity, Event, FileId, Place, Recorded, Subject, UserId};

/// Minimum time for which changes are kept, unless there are too many.
const KEPT: Duration = Duration::from_secs(5 * 60);

/// Number of changed scopes in half of the kept time. With more, the older half is let go.
const KEPT_MAX: usize = 20_000;

/// The stream from which rows were built, and their incarnation. Rows of the same history differ only by events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Epoch of the stream.
    pub epoch: String,
    /// Incarnation of the rows.
    pub incarnation: Uuid,
}

/// Part of the rows of a company. Rows that were read earlier are still right if none of the scopes that they depend on has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everything of the company. It changes with events that this process cannot read.
    Company(CompanyId),
    /// The facts that decide access: the directory, shares, and the files that were deleted, restored, scanned or released.
    Access(CompanyId),
    /// Those of them that can give access to somebody, apart from new shares.
    Granted(CompanyId),
    /// Shares of a file.
    Shares(CompanyId, FileId),
    /// The row of a file.
    File(CompanyId, FileId),
    /// The list of the files that a user has uploaded.
    Uploads(CompanyId, UserId),
    /// The list of the files in a chatroom or thread.
    Place(CompanyId, Place),
    /// All lists of the company. It changes with events that do not tell which lists they change.
    Lists(CompanyId),
}

/// The sequences of the last changes of a partition.
#[derive(Default)]
pub(crate) struct Changes {
    epoch: String,
    /// The sequence after which all changes are known, and the one after which `current` has them.
    from: u64,
    current_from: u64,
    begun: Option<Instant>,
    current: HashMap<Scope, u64>,
    before: HashMap<Scope, u64>,
}

impl Changes {
    /// Begins again, at a sequence after which all events of the stream with this epoch arrive.
    pub(crate) fn restart(&mut self, epoch: &str, at: u64) {
        *self = Self { epoch: epoch.to_owned(), from: at, current_from: at, ..Self::default() };
    }

    /// Returns the epoch of the stream.
    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Notes an event. Events arrive in order.
    pub(crate) fn note(&mut self, stored: &Stored) {
        let seq = stored.position.seq;
        let scopes = match &stored.event {
            Ok(recorded) => scopes_of(recorded),
            // A newer version of Waybill wrote it.
            Err(_) => match Subject::parse(&stored.subject) {
                Ok(subject) => BTreeSet::from([Scope::Company(subject.company)]),
                Err(_) => {
                    let epoch = std::mem::take(&mut self.epoch);
                    return self.restart(&epoch, seq);
                }
            },
        };
        let begun = *self.begun.get_or_insert_with(Instant::now);
        if self.current.len() >= KEPT_MAX || begun.elapsed() >= KEPT {
            self.before = std::mem::take(&mut self.current);
            self.from = self.current_from;
            self.current_from = seq.saturating_sub(1);
            self.begun = Some(Instant::now());
        }
        for scope in scopes {
            self.current.insert(scope, seq);
        }
    }

    /// Returns `true` if certainly nothing in the scopes has changed after `seq` of the stream with this epoch, as far as the log was
    /// followed.
    pub(crate) fn none_since(&self, epoch: &str, seq: u64, scopes: impl IntoIterator<Item = Scope>) -> bool {
        let last = |scope: &Scope| self.current.get(scope).or_else(|| self.before.get(scope));
        let changed = |scope| last(&scope).is_some_and(|at| *at > seq);
        epoch == self.epoch && seq >= self.from && !scopes.into_iter().any(changed)
    }
}

/// Returns the scopes that an event changes. The projector's `Touched` says which rows it changes.
fn scopes_of(recorded: &Recorded) -> BTreeSet<Scope> {
    let Recorded { subject: Subject { company, aggregate }, envelope, .. } = recorded;
    let company = *company;
    let mut scopes = BTreeSet::new();
    if affects_access(&recorded.event) {
        scopes.insert(Scope::Access(company));
    }
    let place = |chatroom, thread| {
        let chatroom = Option::map(chatroom, Place::Chatroom);
        let thread = Option::map(thread, Place::Thread);
        chatroom.into_iter().chain(thread).map(|place| Scope::Place(company, place)).collect::<Vec<_>>()
    };
    match &recorded.event {
        Event::Upload(_) => {
            // Events about stored bytes do not change the row of the file.
            if let Entity::UploadLifecycle(id) = aggregate {
                scopes.insert(Scope::File(company, *id));
                let routing = &envelope.routing;
                scopes.insert(routing.uploaded_by.map_or(Scope::Lists(company), |user| Scope::Uploads(company, user)));
                scopes.extend(place(routing.chatroom_id, routing.thread_id));
            }
        }
        Event::File(event) => {
            if let Entity::File(id) = aggregate {
                scopes.insert(Scope::File(company, *id));
            }
            scopes.extend(can_appear(event).then_some(Scope::Lists(company)));
        }
        Event::Content(event) => scopes.extend(event.file_ids().iter().map(|file| Scope::File(company, *file))),
        Event::Share(event) => match event {
            ShareEvent::FileShared(shared) => {
                scopes.insert(Scope::Shares(company, shared.file_id));
                scopes.extend(place(shared.chatroom_id, shared.thread_id));
            }
            // Only the first event of a share tells of which file it is, and where.
            ShareEvent::ShareChanged(_) => scopes.extend([Scope::Lists(company), Scope::Granted(company)]),
            ShareEvent::SharePinned(_) | ShareEvent::ShareRevoked(_) => drop(scopes.insert(Scope::Lists(company))),
        },
        Event::Directory(event) => match event {
            DirectoryEvent::UserRegistered(_) | DirectoryEvent::MemberAdded(_) => {
                scopes.insert(Scope::Granted(company));
            }
            DirectoryEvent::CompanyRegistered(_)
            | DirectoryEvent::ChatroomOpened(_)
            | DirectoryEvent::ThreadOpened(_) => scopes.extend([Scope::Lists(company), Scope::Granted(company)]),
            DirectoryEvent::CompanySettingsChanged(_)
            | DirectoryEvent::CompanyLimitsSet(_)
            | DirectoryEvent::CompanyClosed(_)
            | DirectoryEvent::UserRemoved(_)
            | DirectoryEvent::TokensInvalidated(_)
            | DirectoryEvent::ChatroomDeleted(_)
            | DirectoryEvent::ThreadDeleted(_)
            | DirectoryEvent::MemberRemoved(_) => drop(scopes.insert(Scope::Lists(company))),
        },
        Event::Session(_) | Event::Quota(_) | Event::Token(_) | Event::Link(_) => {}
    }
    scopes
}

/// Returns `true` if the file may be in a list after the event that did not contain it before.
fn can_appear(event: &FileEvent) -> bool {
    match event {
        FileEvent::FileRestored(_) | FileEvent::FileScanned(_) | FileEvent::FileReleased(_) => true,
        FileEvent::FileDeleted(_)
        | FileEvent::FilePurged(_)
        | FileEvent::FileRenamed(_)
        | FileEvent::FileMetadataChanged(_)
        | FileEvent::FileLabelled(_)
        | FileEvent::FileSpaceReleased(_)
        | FileEvent::PreviewsMade(_)
        | FileEvent::PreviewFailed(_)
        | FileEvent::FileArchived(_)
        | FileEvent::FileRestoreRequested(_)
        | FileEvent::FileThawed(_)
        | FileEvent::LocationStripped(_)
        | FileEvent::FileChecksummed(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waybill_schema::events::{FileDeleted, FileRestored, MemberAdded, ShareRevoked};
    use waybill_schema::{Actor, Causation, ChatroomId, Envelope, Position, Routing, ShareId, Timestamp, UploadId};

    const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));

    fn stored(seq: u64, aggregate: Entity, event: impl Into<Event>) -> Stored {
        let position = Position { partition: 0, seq };
        let envelope = Envelope {
            time: Timestamp::default(),
            actor: Actor::Service("test".to_owned()),
            causation: Causation::Event(position),
            address: None,
            routing: Routing::default(),
        };
        let subject = Subject::new(COMPANY, aggregate);
        let recorded = Recorded { position, subject, envelope, event: event.into() };
        Stored { position, message_id: None, subject: subject.to_string(), previous: None, event: Ok(recorded) }
    }

    #[test]
    fn only_the_scopes_of_an_event_have_changed() {
        let (first, second) = (UploadId(Uuid::from_u128(4)), UploadId(Uuid::from_u128(5)));
        let (one, other) = (Scope::File(COMPANY, first), Scope::File(COMPANY, second));
        let (lists, access) = (Scope::Lists(COMPANY), Scope::Access(COMPANY));
        let mut changes = Changes::default();
        changes.restart("a", 10);
        let unchanged = |changes: &Changes, seq, scopes: &[Scope]| changes.none_since("a", seq, scopes.iter().copied());
        assert!(!changes.none_since("b", 10, [one]));
        // Nothing is known about the time before.
        assert!(!unchanged(&changes, 9, &[one]) && unchanged(&changes, 10, &[one, lists, access]));
        changes.note(&stored(11, Entity::File(first), FileDeleted {}));
        assert!(!unchanged(&changes, 10, &[one]) && !unchanged(&changes, 10, &[access]));
        assert!(unchanged(&changes, 11, &[one]) && unchanged(&changes, 10, &[other, lists]));
        changes.note(&stored(12, Entity::File(first), FileRestored {}));
        assert!(!unchanged(&changes, 11, &[lists]) && unchanged(&changes, 12, &[lists, one]));
        changes.note(&stored(13, Entity::Share(ShareId(Uuid::from_u128(6))), ShareRevoked {}));
        assert!(!unchanged(&changes, 12, &[lists]) && unchanged(&changes, 10, &[other]));
        let place = Place::Chatroom(ChatroomId(Uuid::from_u128(7)));
        let added = MemberAdded { place, user_id: UserId(Uuid::from_u128(8)) };
        changes.note(&stored(14, Entity::Directory, added));
        assert!(!unchanged(&changes, 13, &[access]) && unchanged(&changes, 13, &[lists]));
        assert!(!unchanged(&changes, 13, &[Scope::Granted(COMPANY)]) && unchanged(&changes, 12, &[one]));
    }

    #[test]
    fn a_burst_of_changes_needs_no_more_memory_and_hides_none() {
        let mut changes = Changes::default();
        changes.restart("a", 0);
        let file = |number: u64| UploadId(Uuid::from_u128(number.into()));
        let last = u64::try_from(3 * KEPT_MAX).unwrap();
        for seq in 1..=last {
            changes.note(&stored(seq, Entity::File(file(seq)), FileDeleted {}));
            assert!(changes.current.len() <= KEPT_MAX + 1 && changes.before.len() <= KEPT_MAX + 1);
        }
        for seq in [1, last / 2, last - 1, last] {
            assert!(!changes.none_since("a", seq - 1, [Scope::File(COMPANY, file(seq))]));
        }
        assert!(changes.none_since("a", last - 1, [Scope::File(COMPANY, file(last + 1))]));
    }
}
