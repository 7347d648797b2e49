//! Folds events into rows in memory. This code does no I/O; the caller loads the rows before and writes them
//! afterwards.

mod content;
mod convert;
mod directory;
mod files;
mod keys;
mod links;
mod misfit;
mod partials;
mod quota;
mod rows;
mod sessions;
mod shares;
mod tables;
mod tokens;
mod totals;
mod touched;
mod verified;

pub(crate) use keys::aggregate_key;
pub(crate) use rows::Rows;
pub(crate) use tables::{Tables, Touched};

use convert::time_of;
use keys::block_of_event;
use misfit::Misfit;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use waybill_event_log::Stored;
use waybill_read_model::MetadataKeys;
use waybill_read_model::blocks::bit_of;
use waybill_read_model::rows::{EventPositionsRow, Key, Row};
use waybill_schema::{Entity, Event, Recorded};

/// All rows that a batch touches, by company. Host products and identity providers choose ids, so two companies may use
/// the same id.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllTables {
    of: BTreeMap<Uuid, Tables>,
    /// Companies with unwritten changes.
    unwritten: BTreeSet<Uuid>,
    /// Metadata keys by which files are found.
    metadata_keys: MetadataKeys,
}

impl AllTables {
    /// Returns no rows. Files are found by these metadata keys.
    pub(crate) fn new(metadata_keys: &MetadataKeys) -> Self {
        Self { metadata_keys: metadata_keys.clone(), ..Self::default() }
    }

    /// Adds loaded rows to the table that `of` selects.
    pub(crate) fn extend<R: Row>(&mut self, rows: Vec<R>, of: fn(&mut Tables) -> &mut Rows<R>) {
        for row in rows {
            of(self.of.entry(row.company_id()).or_default()).insert(row);
        }
    }

    /// Returns `true` if the table that `of` selects contains the row, or if the row is known to have been removed.
    pub(crate) fn has<R: Row>(&mut self, company: Uuid, id: Uuid, of: fn(&mut Tables) -> &mut Rows<R>) -> bool {
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
        fold(self.of.entry(company).or_default(), recorded, &self.metadata_keys)
    }
}

/// Folds one event with the fold of its aggregate.
fn fold(tables: &mut Tables, recorded: &Recorded, keys: &MetadataKeys) -> Result<(), Misfit> {
    let company_id = recorded.subject.company.0;
    let time = time_of(recorded.envelope.time);
    match (&recorded.event, recorded.subject.aggregate) {
        (Event::Upload(event), Entity::UploadChunks(id)) => files::fold_upload(tables, id, event, recorded, keys),
        (Event::Upload(event), Entity::UploadLifecycle(id)) => {
            totals::follow(tables, company_id, id.0, |tables| files::fold_upload(tables, id, event, recorded, keys))
        }
        (Event::File(event), Entity::File(id)) => {
            totals::follow(tables, company_id, id.0, |tables| verified::fold_file(tables, id, event, time, keys))
        }
        (Event::Session(event), Entity::Session(id)) => sessions::fold(tables, id, event, company_id, time),
        (Event::Quota(event), Entity::Quota) => quota::fold(tables, recorded.subject.company, event, time),
        (Event::Directory(event), Entity::Directory) => {
            directory::fold(tables, recorded.subject.company, event, recorded)
        }
        (Event::Share(event), Entity::Share(id)) => shares::fold(tables, id, event, recorded),
        (Event::Token(event), Entity::Token(id) | Entity::TokenDownloads(id)) => {
            tokens::fold(tables, id, event, recorded)
        }
        (Event::Link(event), Entity::Link(id)) => links::fold(tables, id, event, recorded),
        (Event::Content(event), Entity::Content(sha256)) => content::fold(tables, sha256, event, recorded),
        (
            Event::Upload(_)
            | Event::File(_)
            | Event::Session(_)
            | Event::Quota(_)
            | Event::Directory(_)
            | Event::Share(_)
            | Event::Token(_)
            | Event::Link(_)
            | Event::Content(_),
            _,
        ) => Err(Misfit(format!("{} is on the subject of another aggregate", recorded.event.event_type()))),
    }
}
