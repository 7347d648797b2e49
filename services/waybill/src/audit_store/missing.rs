//! Finds files whose object is missing in the store.
//!
//! The tables and the store list files and objects in the same order, because the key of an object begins with the ids
//! of its company and its upload. Therefore one pass reads both lists side by side. Only objects that this pass does
//! not find are requested by their key.

use super::judge::Judge;
use super::report::{Finding, Report};
use crate::CommandError;
use std::collections::{HashSet, VecDeque};
use uuid::Uuid;
use waybill_object_store::ObjectStore;
use waybill_object_store::s3::S3Store;
use waybill_read_model::Database;
use waybill_read_model::queries::{KeptFile, kept_files};
use waybill_schema::{CompanyId, UploadId, names};

const BATCH: i64 = 1_000;
/// Maximum number of keys of existing shared objects in memory.
const SHARED: usize = 10_000;

/// Search for missing objects of all files.
pub(super) struct Missing<'a> {
    /// The bucket whose list is read.
    hot: &'a S3Store,
    /// All buckets.
    store: &'a dyn ObjectStore,
    /// Next keys of the store's list.
    listed: VecDeque<String>,
    /// Last key that the store has listed; `None` at the beginning.
    after: Option<String>,
    is_at_end: bool,
    shared: HashSet<String>,
}

impl<'a> Missing<'a> {
    pub(super) fn new(hot: &'a S3Store, store: &'a dyn ObjectStore) -> Self {
        Self { hot, store, listed: VecDeque::new(), after: None, is_at_end: false, shared: HashSet::new() }
    }

    pub(super) async fn look(
        mut self,
        database: &Database,
        judge: &mut Judge,
        report: &mut Report,
    ) -> Result<(), CommandError> {
        let (mut company, mut file) = (CompanyId(Uuid::nil()), UploadId(Uuid::nil()));
        loop {
            let mut connection = database.connection().await?;
            let files = kept_files(&mut connection, company, file, BATCH).await?;
            drop(connection);
            let Some(last) = files.last() else { return Ok(()) };
            (company, file) = (last.company_id, last.file_id);
            for file in files {
                if !self.is_there(&file).await? {
                    self.confirm(&file, judge, report).await?;
                }
            }
        }
    }

    async fn is_there(&mut self, file: &KeptFile) -> Result<bool, CommandError> {
        let own = names::objects_prefix(file.company_id, file.file_id);
        if file.storage_key.starts_with(&own) && !names::is_cold(&file.storage_key) {
            return self.is_listed(&file.storage_key).await;
        }
        if self.shared.contains(&file.storage_key) {
            return Ok(true);
        }
        let is_there = self.store.size(&file.storage_key).await?.is_some();
        if is_there {
            if self.shared.len() >= SHARED {
                self.shared.clear();
            }
            self.shared.insert(file.storage_key.clone());
        }
        Ok(is_there)
    }

    /// Returns `true` if the store lists the key `wanted`. Successive calls must pass the keys in ascending order.
    async fn is_listed(&mut self, wanted: &str) -> Result<bool, CommandError> {
        loop {
            while let Some(next) = self.listed.front() {
                if next.as_str() >= wanted {
                    return Ok(next == wanted);
                }
                self.listed.pop_front();
            }
            if self.is_at_end {
                return Ok(false);
            }
            let page = self.hot.objects_after(names::OBJECTS, self.after.as_deref()).await?;
            self.is_at_end = page.is_empty();
            self.after = page.last().map(|last| last.key.clone()).or(self.after.take());
            self.listed.extend(page.into_iter().map(|listed| listed.key));
        }
    }

    /// Reports the file if its object is really missing. The tables can lag behind, so the log names the key, and the
    /// store is asked again.
    async fn confirm(&self, file: &KeptFile, judge: &mut Judge, report: &mut Report) -> Result<(), CommandError> {
        let Some(key) = judge.key_of(file.company_id, file.file_id).await? else { return Ok(()) };
        if self.store.size(&key).await?.is_some() {
            return Ok(());
        }
        let why = format!("the object of the file {} is missing", file.file_id);
        report.found(&Finding::missing(key, file.size_bytes, why))
    }
}
