//! Recent events that could end access, for the decision whether an earlier permission is certainly still valid.

use std::collections::HashMap;
use waybill_domain::access::{Ended, ended_by};
use waybill_schema::{CompanyId, Entity, FileId, Recorded, Timestamp, UserId};

/// How long an ending is kept, in milliseconds. Permissions that are older are looked up again.
const KEPT_MS: i64 = 2 * 60 * 60 * 1_000;

/// Maximum number of kept endings of a partition. With more, all permissions of the partition are looked up again.
const KEPT_MAX: usize = 100_000;

#[derive(PartialEq, Eq, Hash)]
enum Whose {
    Company(CompanyId),
    User(CompanyId, UserId),
    File(CompanyId, FileId),
}

/// The times at which this process received the last event that could end access.
#[derive(Default)]
pub(crate) struct Endings {
    /// Nothing is known about the time before.
    from: Timestamp,
    last: HashMap<Whose, Timestamp>,
}

impl Endings {
    /// Begins again, at a time from which on all events arrive.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        *self = Self { from: now, last: HashMap::new() };
    }

    /// Notes an event that arrived now.
    pub(crate) fn note(&mut self, recorded: &Recorded, now: Timestamp) {
        let company = recorded.subject.company;
        let whose = match (ended_by(&recorded.event), &recorded.subject.aggregate) {
            (None, _) => return,
            (Some(Ended::OfUser(user)), _) => Whose::User(company, user),
            (Some(Ended::OfFile), Entity::File(file)) => Whose::File(company, *file),
            (Some(Ended::OfCompany | Ended::OfFile), _) => Whose::Company(company),
        };
        self.last.insert(whose, now);
        if self.last.len() > KEPT_MAX {
            self.restart(now);
        }
    }

    /// Forgets endings that are no longer needed.
    pub(crate) fn tidy(&mut self, now: Timestamp) {
        let from = now.plus_ms(-KEPT_MS);
        if from > self.from {
            self.from = from;
            self.last.retain(|_, at| *at >= from);
        }
    }

    /// Returns `true` if the access of a user to a file may have ended at `since` or later.
    pub(crate) fn any_since(&self, company: CompanyId, user: UserId, file: FileId, since: Timestamp) -> bool {
        let is_recent = |whose| self.last.get(&whose).is_some_and(|at| *at >= since);
        since < self.from
            || is_recent(Whose::Company(company))
            || is_recent(Whose::User(company, user))
            || is_recent(Whose::File(company, file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use waybill_schema::events::{FileDeleted, ShareRevoked, TokensInvalidated};
    use waybill_schema::{Actor, Causation, Envelope, Event, Position, Routing, ShareId, Subject, UploadId};

    const COMPANY: CompanyId = CompanyId(Uuid::from_u128(1));

    fn recorded(aggregate: Entity, event: impl Into<Event>) -> Recorded {
        let position = Position { partition: 0, seq: 1 };
        let envelope = Envelope {
            time: Timestamp::default(),
            actor: Actor::Service("test".to_owned()),
            causation: Causation::Event(position),
            address: None,
            routing: Routing::default(),
        };
        Recorded { position, subject: Subject::new(COMPANY, aggregate), envelope, event: event.into() }
    }

    #[test]
    fn only_events_that_could_end_the_access_count() {
        let (anna, ben) = (UserId(Uuid::from_u128(2)), UserId(Uuid::from_u128(3)));
        let (first, second) = (UploadId(Uuid::from_u128(4)), UploadId(Uuid::from_u128(5)));
        let mut endings = Endings::default();
        endings.restart(Timestamp(1_000));
        let any = |endings: &Endings, user, file, since| endings.any_since(COMPANY, user, file, Timestamp(since));
        assert!(any(&endings, anna, first, 999) && !any(&endings, anna, first, 1_000));

        endings.note(&recorded(Entity::File(first), FileDeleted {}), Timestamp(2_000));
        assert!(any(&endings, anna, first, 2_000) && !any(&endings, anna, first, 2_001));
        assert!(!any(&endings, anna, second, 1_000));
        let invalidated = TokensInvalidated { user_id: Some(anna), issued_before: Timestamp(0) };
        endings.note(&recorded(Entity::Directory, invalidated), Timestamp(3_000));
        assert!(any(&endings, anna, second, 3_000) && !any(&endings, ben, second, 1_000));
        let share = Entity::Share(ShareId(Uuid::from_u128(6)));
        endings.note(&recorded(share, ShareRevoked {}), Timestamp(4_000));
        assert!(any(&endings, ben, second, 4_000) && !any(&endings, ben, second, 4_001));

        // A time before the kept endings counts as ended.
        endings.tidy(Timestamp(4_001 + KEPT_MS));
        assert!(any(&endings, ben, second, 4_000) && !any(&endings, ben, second, 4_001));
        assert!(endings.last.is_empty());
    }

    #[test]
    fn a_burst_of_endings_needs_no_more_memory() {
        let mut endings = Endings::default();
        for number in 0..=KEPT_MAX {
            let file = UploadId(Uuid::from_u128(number as u128));
            endings.note(&recorded(Entity::File(file), FileDeleted {}), Timestamp(5));
        }
        assert!(endings.last.is_empty());
        let (user, file) = (UserId(Uuid::nil()), UploadId(Uuid::nil()));
        assert!(endings.any_since(COMPANY, user, file, Timestamp(4)));
    }
}
