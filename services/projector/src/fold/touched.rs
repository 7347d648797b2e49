//! Finds the keys of the rows that events touch, so that these rows can be loaded before the events are folded.

use super::convert::id_of_content;
use super::keys::block_of_event;
use super::tables::Touched;
use uuid::Uuid;
use waybill_event_log::Stored;
use waybill_read_model::ids::id_of_member;
use waybill_schema::events::{DirectoryEvent, QuotaEvent, UploadEvent};
use waybill_schema::{CompanyId, Entity, Event, Recorded};

impl Touched {
    /// Returns the keys that the readable events of a batch touch. Leaves out uploads that begin in the batch, because
    /// they have no rows yet.
    pub(crate) fn by(batch: &[Stored]) -> Self {
        let mut touched = Self::default();
        batch.iter().filter_map(|stored| stored.event.as_ref().ok()).for_each(|recorded| touched.add(recorded));
        touched.blocks.extend(batch.iter().filter_map(block_of_event));
        batch.iter().filter(|stored| stored.previous == Some(0)).for_each(|stored| {
            if let Ok(recorded) = &stored.event {
                touched.forget_begun(recorded);
            }
        });
        touched
    }

    /// Adds the keys that `recorded` touches. The routing of an upload event names the session.
    pub(crate) fn add(&mut self, recorded: &Recorded) {
        let company = recorded.subject.company.0;
        let key = |id: Uuid| (company, id);
        match (&recorded.event, recorded.subject.aggregate) {
            (Event::Directory(event), _) => {
                self.companies.insert(key(company));
                self.add_directory(recorded.subject.company, event);
            }
            (Event::Share(_), Entity::Share(id)) => drop(self.shares.insert(key(id.0))),
            (Event::Token(_), Entity::Token(id) | Entity::TokenDownloads(id)) => {
                self.tokens.insert(key(id.0));
            }
            (Event::Link(_), Entity::Link(id)) => drop(self.links.insert(key(id.0))),
            (Event::Content(event), Entity::Content(sha256)) => {
                self.contents.insert(key(id_of_content(recorded.subject.company, sha256)));
                self.files.extend(event.file_ids().iter().map(|file| key(file.0)));
            }
            (Event::Upload(_), on @ (Entity::UploadLifecycle(id) | Entity::UploadChunks(id))) => {
                // Events about stored bytes do not change the row of the file.
                if matches!(on, Entity::UploadLifecycle(_)) {
                    self.files.insert(key(id.0));
                    self.totals.insert(key(company));
                    // A file that is uploaded into a chatroom or thread is associated with it from the start.
                    let routing = &recorded.envelope.routing;
                    if routing.chatroom_id.is_some() || routing.thread_id.is_some() {
                        self.shares.insert(key(id.0));
                    }
                }
                // Only the first event of an upload tells whether the upload is partial.
                self.progress.insert(key(id.0));
                self.partials.insert(key(id.0));
                self.sessions.extend(recorded.envelope.routing.session_id.map(|id| key(id.0)));
            }
            (Event::File(_), Entity::File(id)) => {
                self.files.insert(key(id.0));
                self.totals.insert(key(company));
            }
            (Event::Session(_), Entity::Session(id)) => drop(self.sessions.insert(key(id.0))),
            (Event::Quota(event), _) => {
                self.quotas.insert(key(company));
                self.add_quota(company, event);
            }
            // These events are on the subject of another aggregate. Folding them returns an error.
            (
                Event::Share(_)
                | Event::Token(_)
                | Event::Link(_)
                | Event::Content(_)
                | Event::Upload(_)
                | Event::File(_)
                | Event::Session(_),
                _,
            ) => {}
        }
    }

    fn add_directory(&mut self, company: CompanyId, event: &DirectoryEvent) {
        let key = |id: Uuid| (company.0, id);
        match event {
            DirectoryEvent::UserRegistered(user) => drop(self.users.insert(key(user.user_id.0))),
            DirectoryEvent::UserRemoved(user) => drop(self.users.insert(key(user.user_id.0))),
            DirectoryEvent::ChatroomOpened(opened) => drop(self.chatrooms.insert(key(opened.chatroom_id.0))),
            DirectoryEvent::ChatroomDeleted(deleted) => drop(self.chatrooms.insert(key(deleted.chatroom_id.0))),
            DirectoryEvent::ThreadOpened(opened) => drop(self.threads.insert(key(opened.thread_id.0))),
            DirectoryEvent::ThreadDeleted(deleted) => drop(self.threads.insert(key(deleted.thread_id.0))),
            DirectoryEvent::MemberAdded(member) => {
                self.members.insert(key(id_of_member(company, member.place, member.user_id)));
            }
            DirectoryEvent::MemberRemoved(member) => {
                self.members.insert(key(id_of_member(company, member.place, member.user_id)));
            }
            DirectoryEvent::TokensInvalidated(invalidated) => {
                self.users.extend(invalidated.user_id.map(|user| key(user.0)));
            }
            DirectoryEvent::CompanyRegistered(_)
            | DirectoryEvent::CompanySettingsChanged(_)
            | DirectoryEvent::CompanyLimitsSet(_)
            | DirectoryEvent::CompanyClosed(_) => {}
        }
    }

    fn add_quota(&mut self, company: Uuid, event: &QuotaEvent) {
        let key = |id: Uuid| (company, id);
        match event {
            QuotaEvent::QuotaReserved(reserved) => {
                self.reservations.extend(reserved.items.iter().map(|item| key(item.upload_id.0)));
            }
            QuotaEvent::QuotaRaised(raised) => drop(self.reservations.insert(key(raised.upload_id.0))),
            QuotaEvent::QuotaTransferred(transferred) => {
                let all = transferred.from.iter().chain([&transferred.item.upload_id]);
                self.reservations.extend(all.map(|id| key(id.0)));
            }
            QuotaEvent::QuotaSettled(settled) => {
                self.reservations.extend(settled.items.iter().map(|item| key(item.upload_id.0)));
            }
            QuotaEvent::QuotaReleased(released) => {
                self.totals.insert(key(company));
                self.reservations.extend(released.items.iter().map(|item| key(item.file_id.0)));
            }
            QuotaEvent::QuotaLimitSet(_) | QuotaEvent::QuotaUserLimitSet(_) | QuotaEvent::QuotaRecalculated(_) => {}
        }
    }

    /// Removes the keys of rows that the first event of an upload creates.
    fn forget_begun(&mut self, recorded: &Recorded) {
        let Entity::UploadLifecycle(id) = recorded.subject.aggregate else { return };
        let is_start =
            matches!(recorded.event, Event::Upload(UploadEvent::UploadStarted(_) | UploadEvent::FileUploaded(_)));
        let key = (recorded.subject.company.0, id.0);
        if is_start {
            for rows in [&mut self.files, &mut self.progress, &mut self.partials, &mut self.shares] {
                rows.remove(&key);
            }
        }
    }
}
