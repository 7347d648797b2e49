//! Folds events into rows in memory. This code does no I/O; the caller loads the rows before and writes them
//! afterwards.

mod content;
mod convert;
mod directory;
mod files;
mod quota;
mod rows;
mod sessions;
mod shares;
mod tokens;
mod totals;
mod touched;

pub(crate) use rows::Rows;
pub(crate) use touched::Touched;

use convert::time_of;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use waybill_event_log::Stored;
use waybill_read_model::blocks::{bit_of, block_of};
use waybill_read_model::rows::{
    ChatroomRow, CompanyRow, ContentRow, DownloadTokenRow, EventPositionsRow, FileAssociationRow, FileRow,
    FileTotalRow, Key, MemberRow, PartialUploadRow, QuotaReservationRow, Row, StorageQuotaRow, ThreadRow,
    UploadProgressRow, UploadSessionRow, UserRow,
};
use waybill_schema::{Aggregate, Event, Recorded, Subject, names};

/// Error for an event that does not fit the rows that earlier events produced. Contains the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misfit(pub(crate) String);

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
