//! Folds events into rows in memory. This code does no I/O; the caller loads the rows before and writes them
//! afterwards.

mod content;
mod convert;
mod directory;
mod files;
mod quota;
mod sessions;
mod shares;
mod tokens;
mod totals;

use convert::{id_of_content, id_of_member, time_of};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use waybill_event_log::Stored;
use waybill_read_model::blocks::{bit_of, block_of};
use waybill_read_model::rows::{
    ChatroomRow, CompanyRow, ContentRow, DownloadTokenRow, EventPositionsRow, FileAssociationRow, FileRow,
    FileTotalRow, Key, MemberRow, PartialUploadRow, QuotaReservationRow, Row, StorageQuotaRow, ThreadRow,
    UploadProgressRow, UploadSessionRow, UserRow,
};
use waybill_schema::events::{DirectoryEvent, QuotaEvent, UploadEvent};
use waybill_schema::{Aggregate, CompanyId, Event, Recorded, Subject, names};

/// Error for an event that does not fit the rows that earlier events produced. Contains the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misfit(pub(crate) String);

/// Rows of one table and one company that a batch of events touches.
#[derive(Clone, Debug)]
pub(crate) struct Rows<R> {
    rows: BTreeMap<Uuid, R>,
    /// Ids of rows that the database does not have yet.
    new: BTreeSet<Uuid>,
    /// Ids of rows that differ from those in the database.
    changed: BTreeSet<Uuid>,
    /// Ids of rows that must be deleted from the database.
    removed: BTreeSet<Uuid>,
    /// Ids of all rows that were ever removed. The database may still have some of them.
    gone: BTreeSet<Uuid>,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            new: BTreeSet::new(),
            changed: BTreeSet::new(),
            removed: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }
}

impl<R: Row> Rows<R> {
    fn insert(&mut self, row: R) {
        self.rows.insert(row.lookup_id(), row);
    }

    fn those<'a>(&'a self, ids: &'a BTreeSet<Uuid>) -> impl Iterator<Item = &'a R> {
        ids.iter().filter_map(|id| self.rows.get(id))
    }

    fn written(&mut self) {
        self.new.clear();
        self.changed.clear();
        self.removed.clear();
    }

    fn get(&self, id: Uuid) -> Option<&R> {
        self.rows.get(&id)
    }

    /// Adds a row and returns `true`, unless a row with this id exists.
    fn add(&mut self, row: R) -> bool {
        let id = row.lookup_id();
        if self.rows.contains_key(&id) {
            return false;
        }
        let is_there = self.removed.remove(&id);
        self.gone.remove(&id);
        self.rows.insert(id, row);
        if is_there { self.changed.insert(id) } else { self.new.insert(id) }
    }

    /// Removes the row.
    fn remove(&mut self, id: Uuid) -> Result<(), Misfit> {
        self.rows.remove(&id).ok_or_else(|| Misfit(format!("{} has no row {id}", R::TABLE)))?;
        self.changed.remove(&id);
        if !self.new.remove(&id) {
            self.removed.insert(id);
        }
        self.gone.insert(id);
        Ok(())
    }

    /// Returns the row for a change, and marks it as changed.
    fn change(&mut self, id: Uuid) -> Result<&mut R, Misfit> {
        let row = self.rows.get_mut(&id).ok_or_else(|| Misfit(format!("{} has no row {id}", R::TABLE)))?;
        if !self.new.contains(&id) {
            self.changed.insert(id);
        }
        Ok(row)
    }
}

/// All rows that a batch touches, by company. Host products and identity providers choose ids, so two companies may use
/// the same id.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllTables {
    of: BTreeMap<Uuid, Tables>,
    /// Companies with unwritten changes.
    unwritten: BTreeSet<Uuid>,
}

/// Rows of one company that a batch touches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) companies: Rows<CompanyRow>,
    pub(crate) users: Rows<UserRow>,
    pub(crate) chatrooms: Rows<ChatroomRow>,
    pub(crate) threads: Rows<ThreadRow>,
    pub(crate) members: Rows<MemberRow>,
    pub(crate) shares: Rows<FileAssociationRow>,
    pub(crate) tokens: Rows<DownloadTokenRow>,
    pub(crate) contents: Rows<ContentRow>,
    pub(crate) files: Rows<FileRow>,
    pub(crate) progress: Rows<UploadProgressRow>,
    pub(crate) partials: Rows<PartialUploadRow>,
    pub(crate) sessions: Rows<UploadSessionRow>,
    pub(crate) quotas: Rows<StorageQuotaRow>,
    pub(crate) reservations: Rows<QuotaReservationRow>,
    pub(crate) totals: Rows<FileTotalRow>,
    pub(crate) blocks: Rows<EventPositionsRow>,
}

/// Keys of the rows that events touch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    pub(crate) companies: BTreeSet<Key>,
    pub(crate) users: BTreeSet<Key>,
    pub(crate) chatrooms: BTreeSet<Key>,
    pub(crate) threads: BTreeSet<Key>,
    pub(crate) members: BTreeSet<Key>,
    pub(crate) shares: BTreeSet<Key>,
    pub(crate) tokens: BTreeSet<Key>,
    pub(crate) contents: BTreeSet<Key>,
    pub(crate) files: BTreeSet<Key>,
    /// Keys of uploads, including partial uploads. Only the first event of an upload tells whether it is partial.
    pub(crate) progress: BTreeSet<Key>,
    pub(crate) sessions: BTreeSet<Key>,
    pub(crate) quotas: BTreeSet<Key>,
    pub(crate) reservations: BTreeSet<Key>,
    pub(crate) totals: BTreeSet<Key>,
    pub(crate) blocks: BTreeSet<Key>,
}

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
            (Event::Share(_), Aggregate::Share(id)) => drop(self.shares.insert(key(id.0))),
            (Event::Token(_), Aggregate::Token(id) | Aggregate::TokenDownloads(id)) => {
                self.tokens.insert(key(id.0));
            }
            (Event::Content(event), Aggregate::Content(sha256)) => {
                self.contents.insert(key(id_of_content(recorded.subject.company, sha256)));
                self.files.extend(content::files_of(event).iter().map(|file| key(file.0)));
            }
            (Event::Upload(_), on @ (Aggregate::UploadLifecycle(id) | Aggregate::UploadChunks(id))) => {
                // Events about stored bytes do not change the row of the file.
                if matches!(on, Aggregate::UploadLifecycle(_)) {
                    self.files.insert(key(id.0));
                    self.totals.insert(key(company));
                    // A file that is uploaded into a chatroom or thread is associated with it from the start.
                    let routing = &recorded.envelope.routing;
                    if routing.chatroom_id.is_some() || routing.thread_id.is_some() {
                        self.shares.insert(key(id.0));
                    }
                }
                self.progress.insert(key(id.0));
                self.sessions.extend(recorded.envelope.routing.session_id.map(|id| key(id.0)));
            }
            (Event::File(_), Aggregate::File(id)) => {
                self.files.insert(key(id.0));
                self.totals.insert(key(company));
            }
            (Event::Session(_), Aggregate::Session(id)) => drop(self.sessions.insert(key(id.0))),
            (Event::Quota(event), _) => {
                self.quotas.insert(key(company));
                self.add_quota(company, event);
            }
            // These events are on the subject of another aggregate. Folding them returns an error.
            (
                Event::Share(_)
                | Event::Token(_)
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
            DirectoryEvent::CompanyRegistered(_)
            | DirectoryEvent::CompanySettingsChanged(_)
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
            QuotaEvent::QuotaLimitSet(_) | QuotaEvent::QuotaRecalculated(_) => {}
        }
    }

    /// Removes the keys of rows that the first event of an upload creates.
    fn forget_begun(&mut self, recorded: &Recorded) {
        let Aggregate::UploadLifecycle(id) = recorded.subject.aggregate else { return };
        let is_start =
            matches!(recorded.event, Event::Upload(UploadEvent::UploadStarted(_) | UploadEvent::FileUploaded(_)));
        let key = (recorded.subject.company.0, id.0);
        if is_start {
            for rows in [&mut self.files, &mut self.progress, &mut self.shares] {
                rows.remove(&key);
            }
        }
    }
}

impl AllTables {
    /// Adds loaded rows to the table that `of` selects.
    pub(crate) fn extend<R: Row>(&mut self, rows: Vec<R>, of: fn(&mut Tables) -> &mut Rows<R>) {
        for row in rows {
            of(self.of.entry(row.company_id()).or_default()).insert(row);
        }
    }

    /// Returns `true` if the table that `of` selects contains the row, or if the row is known to have been removed.
    pub(crate) fn has<R: Row>(&mut self, (company, id): Key, of: fn(&mut Tables) -> &mut Rows<R>) -> bool {
        self.of.get_mut(&company).map(of).is_some_and(|rows| rows.get(id).is_some() || rows.gone.contains(&id))
    }

    /// Returns the new rows of a table.
    pub(crate) fn new_rows<R: Row>(&self, of: fn(&Tables) -> &Rows<R>) -> Vec<&R> {
        self.unwritten().map(|(_, tables)| of(tables)).flat_map(|rows| rows.those(&rows.new)).collect()
    }

    /// Returns the changed rows of a table.
    pub(crate) fn changed<R: Row>(&self, of: fn(&Tables) -> &Rows<R>) -> Vec<&R> {
        self.unwritten().map(|(_, tables)| of(tables)).flat_map(|rows| rows.those(&rows.changed)).collect()
    }

    /// Returns the keys of the rows that must be deleted from a table.
    pub(crate) fn removed<R: Row>(&self, of: fn(&Tables) -> &Rows<R>) -> Vec<Key> {
        let removed = |(company, tables): (Uuid, &'_ Tables)| {
            of(tables).removed.iter().map(move |id| (company, *id)).collect::<Vec<Key>>()
        };
        self.unwritten().flat_map(removed).collect()
    }

    fn unwritten(&self) -> impl Iterator<Item = (Uuid, &Tables)> {
        self.unwritten.iter().filter_map(|company| Some((*company, self.of.get(company)?)))
    }

    /// Returns the number of rows in memory, including the ids of removed rows.
    pub(crate) fn len(&self) -> usize {
        self.of.values().map(Tables::len).sum()
    }

    /// Marks all changes as written.
    pub(crate) fn written(&mut self) {
        for company in std::mem::take(&mut self.unwritten) {
            if let Some(tables) = self.of.get_mut(&company) {
                tables.written();
            }
        }
    }

    /// Records the position of an event, also of an unreadable one.
    pub(crate) fn note(&mut self, stored: &Stored) {
        let Some((company_id, id)) = block_of_event(stored) else { return };
        let bit = bit_of(stored.position.seq);
        let blocks = &mut self.of.entry(company_id).or_default().blocks;
        if blocks.get(id).is_some_and(|block| block.events & bit != 0) {
            return;
        }
        match blocks.change(id) {
            Ok(block) => block.events |= bit,
            Err(_) => drop(blocks.add(EventPositionsRow { company_id, id, events: bit })),
        }
        self.unwritten.insert(company_id);
    }

    /// Folds one event.
    pub(crate) fn fold(&mut self, recorded: &Recorded) -> Result<(), Misfit> {
        let company = recorded.subject.company.0;
        self.unwritten.insert(company);
        self.of.entry(company).or_default().fold(recorded)
    }
}

impl Tables {
    fn len(&self) -> usize {
        let uploads = self.progress.rows.len() + self.partials.rows.len();
        let files = self.files.rows.len() + uploads + self.sessions.rows.len();
        let places = self.chatrooms.rows.len() + self.threads.rows.len() + self.members.rows.len();
        let shared = self.shares.rows.len() + self.tokens.rows.len() + self.contents.rows.len();
        let others = self.companies.rows.len() + self.users.rows.len() + places + shared;
        let gone = self.tokens.gone.len() + self.reservations.gone.len();
        let space = self.quotas.rows.len() + self.reservations.rows.len() + self.totals.rows.len();
        files + others + gone + space + self.blocks.rows.len()
    }

    fn written(&mut self) {
        self.companies.written();
        self.users.written();
        self.chatrooms.written();
        self.threads.written();
        self.members.written();
        self.shares.written();
        self.tokens.written();
        self.contents.written();
        self.files.written();
        self.progress.written();
        self.partials.written();
        self.sessions.written();
        self.quotas.written();
        self.reservations.written();
        self.totals.written();
        self.blocks.written();
    }

    fn fold(&mut self, recorded: &Recorded) -> Result<(), Misfit> {
        let company_id = recorded.subject.company.0;
        let time = time_of(recorded.envelope.time);
        match (&recorded.event, recorded.subject.aggregate) {
            (Event::Upload(event), Aggregate::UploadChunks(id)) => files::fold_upload(self, id, event, recorded),
            (Event::Upload(event), Aggregate::UploadLifecycle(id)) => {
                totals::follow(self, company_id, id.0, |tables| files::fold_upload(tables, id, event, recorded))
            }
            (Event::File(event), Aggregate::File(id)) => {
                totals::follow(self, company_id, id.0, |tables| files::fold_file(tables, id, event, time))
            }
            (Event::Session(event), Aggregate::Session(id)) => sessions::fold(self, id, event, company_id, time),
            (Event::Quota(event), Aggregate::Quota) => quota::fold(self, recorded.subject.company, event, time),
            (Event::Directory(event), Aggregate::Directory) => {
                directory::fold(self, recorded.subject.company, event, recorded)
            }
            (Event::Share(event), Aggregate::Share(id)) => shares::fold(self, id, event, recorded),
            (Event::Token(event), Aggregate::Token(id) | Aggregate::TokenDownloads(id)) => {
                tokens::fold(self, id, event, recorded)
            }
            (Event::Content(event), Aggregate::Content(sha256)) => content::fold(self, sha256, event, recorded),
            (event, _) => Err(Misfit(format!("{} is on the subject of another aggregate", event.event_type()))),
        }
    }
}

/// Returns the company of an event and the block of positions that contains it.
fn block_of_event(stored: &Stored) -> Option<Key> {
    let company = match &stored.event {
        Ok(recorded) => recorded.subject.company,
        Err(_) => names::company_of(&stored.subject)?,
    };
    Some((company.0, block_of(stored.position.seq)))
}

/// Returns the key that events about the same object share. If one of them is parked, later ones are parked too.
pub(crate) fn aggregate_key(subject: &Subject) -> String {
    let company = subject.company;
    match subject.aggregate {
        Aggregate::UploadLifecycle(id) | Aggregate::UploadChunks(id) | Aggregate::File(id) => {
            format!("{company}.file.{id}")
        }
        Aggregate::TokenDownloads(id) => Subject::new(company, Aggregate::Token(id)).to_string(),
        _ => subject.to_string(),
    }
}
