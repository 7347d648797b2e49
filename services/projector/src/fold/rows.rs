//! The rows of one table, with the changes that must be written.

use super::misfit::Misfit;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use waybill_read_model::rows::Row;

/// Rows of one table and one company that a batch of events touches.
#[derive(Clone, Debug)]
pub(crate) struct Rows<R> {
    pub(super) rows: BTreeMap<Uuid, R>,
    /// Ids of rows that the database does not have yet.
    pub(super) new: BTreeSet<Uuid>,
    /// Ids of rows that differ from those in the database.
    pub(super) changed: BTreeSet<Uuid>,
    /// Ids of rows that must be deleted from the database.
    pub(super) removed: BTreeSet<Uuid>,
    /// Ids of all rows that were ever removed. The database may still have some of them.
    pub(super) gone: BTreeSet<Uuid>,
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
    pub(super) fn insert(&mut self, row: R) {
        self.rows.insert(row.lookup_id(), row);
    }

    pub(super) fn those<'a>(&'a self, ids: &'a BTreeSet<Uuid>) -> impl Iterator<Item = &'a R> {
        ids.iter().filter_map(|id| self.rows.get(id))
    }

    /// Returns the number of rows in memory, including the ids of removed rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len() + self.gone.len()
    }

    pub(super) fn written(&mut self) {
        self.new.clear();
        self.changed.clear();
        self.removed.clear();
    }

    pub(super) fn get(&self, id: Uuid) -> Option<&R> {
        self.rows.get(&id)
    }

    /// Adds a row and returns `true`, unless a row with this id exists.
    pub(super) fn add(&mut self, row: R) -> bool {
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
    pub(super) fn remove(&mut self, id: Uuid) -> Result<(), Misfit> {
        self.rows.remove(&id).ok_or_else(|| Misfit(format!("{} has no row {id}", R::NAME)))?;
        self.changed.remove(&id);
        if !self.new.remove(&id) {
            self.removed.insert(id);
        }
        self.gone.insert(id);
        Ok(())
    }

    /// Returns the row for a change, and marks it as changed.
    pub(super) fn change(&mut self, id: Uuid) -> Result<&mut R, Misfit> {
        let row = self.rows.get_mut(&id).ok_or_else(|| Misfit(format!("{} has no row {id}", R::NAME)))?;
        if !self.new.contains(&id) {
            self.changed.insert(id);
        }
        Ok(row)
    }
}
