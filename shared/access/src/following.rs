//! How far this process has followed the log.

use crate::Access;
use crate::error::AccessError;
use crate::tail::Tail;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use waybill_schema::{CompanyId, FileId, Recorded, Timestamp, UserId};

impl Access {
    /// Returns the sequence up to which this process has followed the company's partition. Facts that are read later
    /// contain all events up to it.
    pub fn followed(&self, company: CompanyId) -> u64 {
        self.tail(self.log.partitions().of(company)).at()
    }

    /// Waits until this process has followed the company's partition up to `seq`.
    ///
    /// # Errors
    /// [`AccessError::Behind`].
    pub fn reach(&self, company: CompanyId, seq: u64) -> BoxFuture<'_, Result<(), AccessError>> {
        Box::pin(self.wait_for(company, seq))
    }

    async fn wait_for(&self, company: CompanyId, seq: u64) -> Result<(), AccessError> {
        self.tail(self.log.partitions().of(company)).reach(seq).await
    }

    /// Waits until this process has followed the company's partition to the end that it had at most 400 ms ago.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn reach_the_end(&self, company: CompanyId) -> BoxFuture<'_, Result<(), AccessError>> {
        let partition = self.log.partitions().of(company);
        Box::pin(self.tail(partition).reach_the_end(&self.log, partition))
    }

    /// Returns those of the files to which the access of the user may have ended at `since` or later, after this process has
    /// followed the log to its end.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn doubtful<'a>(
        &'a self,
        company: CompanyId,
        user: UserId,
        files: &'a [FileId],
        since: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<FileId>, AccessError>> {
        Box::pin(async move {
            self.reach_the_end(company).await?;
            let ended = |file: &&FileId| self.may_have_ended(company, user, **file, since);
            Ok(files.iter().filter(ended).copied().collect())
        })
    }

    pub(crate) fn may_have_ended(&self, company: CompanyId, user: UserId, file: FileId, since: Timestamp) -> bool {
        self.tail(self.log.partitions().of(company)).may_have_ended(company, user, file, since)
    }

    pub(crate) fn recent(&self, company: CompanyId, after: u64) -> Result<Vec<Arc<Recorded>>, AccessError> {
        self.tail(self.log.partitions().of(company)).since(company, after)
    }

    pub(crate) fn tail(&self, partition: u32) -> &Tail {
        &self.tails[partition as usize]
    }

    /// Returns the sequence that tables must have reached so that access can be decided with them: the later events of the partition
    /// that affect access are known.
    pub fn oldest(&self, partition: u32) -> u64 {
        // Tables with an unknown partition belong to another log.
        self.tails.get(partition as usize).map_or(u64::MAX, Tail::oldest)
    }
}
