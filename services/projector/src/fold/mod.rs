//! Events into rows, in memory: pure but for the rows that were loaded before.

mod convert;
mod files;
mod quota;
mod sessions;

use convert::time_of;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use waybill_read_model::rows::{
    CompanyRow, FileRow, Key, PartialUploadRow, QuotaReservationRow, Row, StorageQuotaRow, UploadProgressRow,
    UploadSessionRow, UserRow,
};
use waybill_schema::{Aggregate, Event, Recorded};

/// An event that does not fit what was folded before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misfit(pub(crate) String);

/// The rows of one table that a batch of events touches.
#[derive(Clone, Debug)]
pub(crate) struct Rows<R> {
    rows: BTreeMap<Uuid, R>,
    changed: BTreeSet<Uuid>,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), changed: BTreeSet::new() }
    }
}

impl<R: Row> Rows<R> {
    pub(crate) fn extend(&mut self, rows: Vec<R>) {
        self.rows.extend(rows.into_iter().map(|row| (row.lookup_id(), row)));
    }

    pub(crate) fn changed(&self) -> Vec<R> {
        self.changed.iter().filter_map(|id| self.rows.get(id).cloned()).collect()
    }

    fn get(&self, id: Uuid) -> Option<&R> {
        self.rows.get(&id)
    }

    /// Adds a row unless there is one.
    fn add(&mut self, row: R) -> bool {
        let id = row.lookup_id();
        if self.rows.contains_key(&id) {
            return false;
        }
        self.rows.insert(id, row);
        self.changed.insert(id);
        true
    }

    /// The row, to be changed.
    fn change(&mut self, id: Uuid) -> Result<&mut R, Misfit> {
        let row = self.rows.get_mut(&id).ok_or_else(|| Misfit(format!("{} has no row {id}", R::TABLE)))?;
        self.changed.insert(id);
        Ok(row)
    }
}

/// All rows that a batch touches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) companies: Rows<CompanyRow>,
    pub(crate) users: Rows<UserRow>,
    pub(crate) files: Rows<FileRow>,
    pub(crate) progress: Rows<UploadProgressRow>,
    pub(crate) partials: Rows<PartialUploadRow>,
    pub(crate) sessions: Rows<UploadSessionRow>,
    pub(crate) quotas: Rows<StorageQuotaRow>,
    pub(crate) reservations: Rows<QuotaReservationRow>,
}

/// The keys of the rows that events touch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    pub(crate) companies: BTreeSet<Key>,
    pub(crate) users: BTreeSet<Key>,
    pub(crate) files: BTreeSet<Key>,
    /// Also those of partial uploads: which one an upload is, only its start says.
    pub(crate) progress: BTreeSet<Key>,
    pub(crate) sessions: BTreeSet<Key>,
    pub(crate) quotas: BTreeSet<Key>,
    pub(crate) reservations: BTreeSet<Key>,
}

impl Touched {
    /// Adds what `recorded` touches. An upload's session is known from the event's routing.
    pub(crate) fn add(&mut self, recorded: &Recorded) {
        let company = recorded.subject.company.0;
        let key = |id: Uuid| (company, id);
        match recorded.subject.aggregate {
            Aggregate::Directory => match &recorded.event {
                Event::UserRegistered(user) => drop(self.users.insert(key(user.user_id.0))),
                _ => drop(self.companies.insert(key(company))),
            },
            on @ (Aggregate::UploadLifecycle(id) | Aggregate::UploadChunks(id)) => {
                // Bytes that were stored change nothing about the file.
                if matches!(on, Aggregate::UploadLifecycle(_)) {
                    self.files.insert(key(id.0));
                }
                self.progress.insert(key(id.0));
                self.sessions.extend(recorded.envelope.routing.session_id.map(|id| key(id.0)));
            }
            Aggregate::File(id) => drop(self.files.insert(key(id.0))),
            Aggregate::Session(id) => drop(self.sessions.insert(key(id.0))),
            Aggregate::Quota => {
                self.quotas.insert(key(company));
                match &recorded.event {
                    Event::QuotaReserved(reserved) => {
                        self.reservations.extend(reserved.items.iter().map(|item| key(item.upload_id.0)));
                    }
                    Event::QuotaRaised(raised) => drop(self.reservations.insert(key(raised.upload_id.0))),
                    Event::QuotaTransferred(transferred) => {
                        let all = transferred.from.iter().chain([&transferred.item.upload_id]);
                        self.reservations.extend(all.map(|id| key(id.0)));
                    }
                    _ => {}
                }
            }
            Aggregate::QuotaSettlement(id) => {
                self.quotas.insert(key(company));
                self.reservations.insert(key(id.0));
            }
        }
    }
}

impl Tables {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        let uploads = self.progress.rows.len() + self.partials.rows.len();
        let files = self.files.rows.len() + uploads + self.sessions.rows.len();
        let others = self.companies.rows.len() + self.users.rows.len();
        files + others + self.quotas.rows.len() + self.reservations.rows.len()
    }

    /// What changed is written.
    pub(crate) fn written(&mut self) {
        self.companies.changed.clear();
        self.users.changed.clear();
        self.files.changed.clear();
        self.progress.changed.clear();
        self.partials.changed.clear();
        self.sessions.changed.clear();
        self.quotas.changed.clear();
        self.reservations.changed.clear();
    }

    /// Folds one event.
    pub(crate) fn fold(&mut self, recorded: &Recorded) -> Result<(), Misfit> {
        let company_id = recorded.subject.company.0;
        let time = time_of(recorded.envelope.time);
        match (recorded.subject.aggregate, &recorded.event) {
            (_, Event::CompanyRegistered(company)) => {
                self.companies.add(CompanyRow { id: company.company_id.0, created_at: time });
                Ok(())
            }
            (_, Event::UserRegistered(user)) => {
                self.users.add(UserRow { company_id, id: user.user_id.0, created_at: time });
                Ok(())
            }
            (Aggregate::UploadLifecycle(id) | Aggregate::UploadChunks(id), event) => {
                files::fold_upload(self, id, event, recorded)
            }
            (Aggregate::File(id), event) => files::fold_file(self, id, event, time),
            (Aggregate::Session(id), event) => sessions::fold(self, id, event, company_id, time),
            (Aggregate::Quota | Aggregate::QuotaSettlement(_), event) => {
                quota::fold(self, recorded.subject.company, event, time)
            }
            (Aggregate::Directory, _) => Ok(()),
        }
    }
}

/// What waits behind an event that was parked: everything about the same thing.
pub(crate) fn aggregate_key(recorded: &Recorded) -> String {
    let company = recorded.subject.company;
    match recorded.subject.aggregate {
        Aggregate::UploadLifecycle(id) | Aggregate::UploadChunks(id) | Aggregate::File(id) => {
            format!("{company}.file.{id}")
        }
        _ => recorded.subject.to_string(),
    }
}
