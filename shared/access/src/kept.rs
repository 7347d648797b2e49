//! Data from the tables that were read earlier and are still right.

use crate::changes::{History, Scope};
use crate::{Access, AccessError, Known};
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use waybill_read_cache::{Kept, Name};
use waybill_read_model::queries::{AccessRows, Wanted};
use waybill_schema::{CompanyId, UserId};

impl Access {
    /// Like [`Access::look`]. Keeps the data from the tables for [`Access::look_kept`].
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn look_and_keep<'a>(
        &'a self,
        connection: &'a mut AsyncPgConnection,
        company: CompanyId,
        user: UserId,
        wanted: &'a Wanted,
    ) -> BoxFuture<'a, Result<Known, AccessError>> {
        Box::pin(self.look_at(connection, company, user, wanted, true))
    }

    /// Returns the current access rights of `user` as [`Access::look`] does, but without a query. Returns `None` if that is not
    /// possible.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn look_kept<'a>(
        &'a self,
        company: CompanyId,
        user: UserId,
        wanted: &'a Wanted,
    ) -> BoxFuture<'a, Result<Option<Known>, AccessError>> {
        Box::pin(self.look_at_kept(company, user, wanted))
    }

    async fn look_at_kept(
        &self,
        company: CompanyId,
        user: UserId,
        wanted: &Wanted,
    ) -> Result<Option<Known>, AccessError> {
        let Some(shelf) = &self.kept else { return Ok(None) };
        self.reach_the_end(company).await?;
        let tail = self.tail(self.log.partitions().of(company));
        let Some(history) = tail.history() else { return Ok(None) };
        let Some(name) = self.name(&history, company, user, wanted) else { return Ok(None) };
        // Recent events that end access are applied. Those that give it need data that the rows do not have.
        let needed = || {
            let of_file = |file| [Scope::File(company, file), Scope::Shares(company, file)];
            let files = wanted.files.iter().copied().flat_map(of_file);
            files.chain([Scope::Company(company), Scope::Granted(company)])
        };
        let is_valid = |kept: &Kept<AccessRows>| {
            tail.none_changed(&history, kept.seq, needed())
                && (tail.none_changed(&history, kept.seq, [Scope::Access(company)]) || kept.seq >= tail.oldest())
        };
        let Some(kept) = shelf.get(company, name, is_valid).await else { return Ok(None) };
        // If events were let go meanwhile, the rows are right only if none of them affects access.
        let recent = match tail.since(company, kept.seq) {
            Ok(recent) => recent,
            Err(_) if tail.none_changed(&history, kept.seq, needed().chain([Scope::Access(company)])) => Vec::new(),
            Err(_) => return Ok(None),
        };
        self.known(company, user, AccessRows::clone(&kept.value), &recent).map(Some)
    }

    /// Keeps data from the tables.
    pub(crate) fn keep(&self, company: CompanyId, user: UserId, wanted: &Wanted, rows: &AccessRows, text: &str) {
        let Some(shelf) = &self.kept else { return };
        if rows.has_parked {
            return;
        }
        let (Some(epoch), Some(incarnation)) = (rows.epoch.clone(), rows.incarnation) else { return };
        let Some(name) = self.name(&History { epoch, incarnation }, company, user, wanted) else { return };
        shelf.keep(company, name, rows.seq, None, Arc::new(rows.clone()), text.as_bytes());
    }

    fn name(&self, history: &History, company: CompanyId, user: UserId, wanted: &Wanted) -> Option<Name> {
        let wanted = serde_json::to_vec(wanted).ok()?;
        Some(self.name_of(history, company, "access", &[user.0.as_bytes(), &wanted]))
    }

    /// Returns the name of rows of this history, from the tables of a company.
    pub fn name_of(&self, history: &History, company: CompanyId, kind: &str, parts: &[&[u8]]) -> Name {
        let schema = self.database.schema().to_string();
        // Rows of different versions of the program may have different members.
        let versions = [env!("CARGO_PKG_VERSION").as_bytes(), waybill_read_model::newest_migration().as_bytes()];
        let history = [history.epoch.as_bytes(), history.incarnation.as_bytes()];
        let what = [schema.as_bytes(), kind.as_bytes(), company.0.as_bytes()];
        Name::of(&[&versions, &history, &what[..], parts].concat())
    }

    /// Returns the history of the rows of a company, as far as this process knows; `None` before the first event.
    pub fn history(&self, company: CompanyId) -> Option<History> {
        self.tail(self.log.partitions().of(company)).history()
    }

    /// Returns `true` if certainly nothing in the scopes has changed after `seq` of the history, as far as this process has followed the
    /// log. Events that it cannot read count as changes.
    pub fn none_changed(&self, history: &History, company: CompanyId, seq: u64, scopes: &[Scope]) -> bool {
        let scopes = scopes.iter().copied().chain([Scope::Company(company)]);
        self.tail(self.log.partitions().of(company)).none_changed(history, seq, scopes)
    }
}
