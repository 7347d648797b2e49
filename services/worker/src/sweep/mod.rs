//! The sweep: a periodic search for overdue work. It expires uploads that were not continued in time, releases
//! reservations of uploads that never started, deletes files whose retention period is over, purges deleted files,
//! deletes ended download tokens and archives, and recalculates quotas. It also looks for objects of direct uploads that no worker
//! awaits any more, deletes objects that clients created too late, and retries parked reactions and failed deletions.
//!
//! The read model only provides candidates. The events of each candidate decide what happens to it.

mod actions;
mod archives;
mod candidate;

use crate::metrics;
use crate::reactions::{ReactionError, advance, check_parts, clear};
use crate::{Worker, leftovers, parked, rooms};
use chrono::{DateTime, Duration as Span, Utc};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;
use waybill_domain::file;
use waybill_event_log::BucketError;
use waybill_read_model::alive::{self, Group};
use waybill_read_model::queries::{
    Counted, Overdue, Page, Place, Share, abandoned_uploads, awaited_objects, companies_with_retention, files_to_purge,
    files_to_retire, open_quarantines, overdue_partial_uploads, overdue_reservations, overdue_uploads, quotas_to_count,
    tokens_to_forget,
};
use waybill_read_model::{Connection, ReadModelError};
use waybill_schema::{Causation, CompanyId, Timestamp};
use waybill_service_kit::{Shutdown, new_id};

use candidate::{aggregate, before_now, time_now};

use actions::{change, expire, forget, recalculate, retire};

/// Number of candidates that one query returns.
const BATCH: i64 = 500;
/// Number of candidates of one kind that are handled in parallel.
const AT_ONCE: usize = 8;
/// Maximum time without an event of an upload after which the sweep looks for its object: the worker that awaited it is
/// gone.
const QUIET: Duration = Duration::from_secs(120);
/// The same in rounds of the sweep, which is less if the sweep is frequent.
const QUIET_ROUNDS: u32 = 10;
/// Number of rounds for which an announcement of a worker is valid, and its shortest validity.
const ALIVE_ROUNDS: u32 = 3;
const ALIVE_AT_LEAST: Duration = Duration::from_secs(10);
/// Time for which a PUT may continue after its URL has expired, as a multiple of the grace period.
const PUT_GRACES: u32 = 8;

/// Runs the sweep until shutdown. Each kind of work has its own rounds, so a slow or failing one does not delay the
/// others.
pub(crate) async fn run(worker: Arc<Worker>, shutdown: Shutdown) {
    let sweep = Sweep { worker: &worker, has_retried: AtomicBool::new(false), alive: Mutex::default() };
    let every = Every { pause: worker.settings.sweep_every(), shutdown: &shutdown };
    let close_idle = async || {
        worker.uploads.close_idle();
        Ok::<(), Infallible>(())
    };
    tokio::join!(
        every.round("workers", || sweep.announce()),
        every.round("idle", close_idle),
        every.round("deletions", || sweep.retire()),
        every.round("purges", || sweep.purge()),
        every.round("tokens", || sweep.forget_tokens()),
        every.round("recalculations", || sweep.count()),
        every.round("reservations", || sweep.release()),
        every.round("uploads", || sweep.expire()),
        every.round("partial uploads", || sweep.expire_partial()),
        every.round("abandoned uploads", || sweep.expire_abandoned()),
        every.round("objects", || sweep.look_for_objects()),
        every.round("quarantines", || sweep.clear_quarantines()),
        every.round("archives", || archives::delete_expired(&worker)),
        every.round("leftovers", || sweep.delete_leftovers()),
        every.round("parked", || sweep.retry_parked()),
        every.round("buckets", || rooms::measure(&worker)),
    );
    if let Err(error) = alive::withdraw(&worker.database, Group::Sweepers, worker.id.0).await {
        tracing::debug!(%error, "cannot withdraw this worker; its announcement expires");
    }
}

/// Runs rounds of work with a pause before each round.
struct Every<'a> {
    pause: Duration,
    shutdown: &'a Shutdown,
}

impl Every<'_> {
    async fn round<F, E>(&self, kind: &str, work: impl Fn() -> F)
    where
        F: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        while self.shutdown.unless(tokio::time::sleep(self.pause)).await.is_some() {
            // Shutdown may stop a round halfway. The next round of any worker finds the rest.
            let Some(done) = self.shutdown.unless(work()).await else { return };
            if let Err(error) = done {
                metrics::SWEEP_FAILURES.with_label_values(&[kind]).inc();
                tracing::warn!(kind, %error, "a round of the sweep failed; the next round tries again");
            }
        }
    }
}

/// Number of rounds between two attempts of a parked reaction: ten minutes by default.
const PARKED_ROUNDS: u32 = 10;
/// Number of rounds between two attempts to delete an object that the store refused to delete: one hour by default.
const LEFTOVER_ROUNDS: u32 = 60;

/// The sweep of a worker.
struct Sweep<'a> {
    worker: &'a Worker,
    has_retried: AtomicBool,
    /// Ids of the live workers, in the same order on every worker. Empty until the first announcement.
    alive: Mutex<Vec<Uuid>>,
}

impl Sweep<'_> {
    async fn connection(&self) -> Result<Connection, ReactionError> {
        Ok(self.worker.database.connection().await?)
    }

    /// Announces that this worker is alive and reads which other workers are.
    async fn announce(&self) -> Result<(), ReadModelError> {
        let lease = self.worker.settings.sweep_every().saturating_mul(ALIVE_ROUNDS).max(ALIVE_AT_LEAST);
        let found = alive::announce(&self.worker.database, Group::Sweepers, self.worker.id.0, lease).await?;
        *self.alive.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }

    /// Returns this worker's share of the candidates.
    fn share(&self) -> Share {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        alive::share_of(self.worker.id.0, &alive, time_now().timestamp())
    }

    fn page(&self, after: Place) -> Page {
        Page { after, limit: BATCH, share: self.share() }
    }

    /// Handles all candidates of a kind, page by page and some of them in parallel. A failure is logged and does not
    /// stop the others.
    async fn each<'s>(
        &'s self,
        find: impl Fn(Place) -> BoxFuture<'s, Result<Vec<Overdue>, ReactionError>>,
        act: impl Fn(Overdue) -> BoxFuture<'s, Result<(), ReactionError>>,
    ) -> Result<(), ReactionError> {
        let mut after = Place::default();
        loop {
            let found = find(after).await?;
            let is_last = i64::try_from(found.len()).unwrap_or(BATCH) < BATCH;
            let Some(last) = found.last() else { return Ok(()) };
            after = last.place;
            let act = &act;
            stream::iter(found).for_each_concurrent(AT_ONCE, |one| async move { report(one, act(one).await) }).await;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Deletes files whose retention period is over. Handles one page of each company before the second page of any
    /// company.
    async fn retire(&self) -> Result<(), ReactionError> {
        let (mut after, mut more) = (Uuid::nil(), Vec::new());
        loop {
            let companies = companies_with_retention(&mut *self.connection().await?, after).await?;
            let Some((last, _)) = companies.last() else { break };
            after = last.0;
            for (company, days) in companies {
                let until = time_now() - Span::days(i64::from(days));
                more.extend(self.retire_some(company, until, Place::default()).await?.map(|at| (company, until, at)));
            }
        }
        while !more.is_empty() {
            for (company, until, at) in std::mem::take(&mut more) {
                more.extend(self.retire_some(company, until, at).await?.map(|at| (company, until, at)));
            }
        }
        Ok(())
    }

    /// Deletes one page of a company's files, beginning after `after`. Returns the end of the page if there may be more
    /// files.
    async fn retire_some(
        &self,
        company: CompanyId,
        until: DateTime<Utc>,
        after: Place,
    ) -> Result<Option<Place>, ReactionError> {
        let found = files_to_retire(&mut *self.connection().await?, company, until, self.page(after)).await?;
        let is_last = i64::try_from(found.len()).unwrap_or(BATCH) < BATCH;
        let end = found.last().filter(|_| !is_last).map(|last| last.place);
        let delete = |file| async move { report(file, retire(self.worker, file).await) };
        stream::iter(found).for_each_concurrent(AT_ONCE, delete).await;
        Ok(end)
    }

    async fn purge(&self) -> Result<(), ReactionError> {
        let until = before_now(self.worker.settings.purge_after());
        let deleted_until = Timestamp(until.timestamp_millis());
        let find = |after| {
            let page = self.page(after);
            self.find(move |mut tables| async move { files_to_purge(&mut tables, until, page).await }.boxed())
        };
        self.each(find, |file| change(self.worker, file, file::Command::Purge { deleted_until }).boxed()).await
    }

    async fn forget_tokens(&self) -> Result<(), ReactionError> {
        let until = before_now(self.worker.settings.tokens_kept());
        let mut after = Place::default();
        loop {
            let ended = tokens_to_forget(&mut *self.connection().await?, until, self.page(after)).await?;
            let Some((_, _, last)) = ended.last() else { return Ok(()) };
            after = *last;
            for (company, token, _) in ended {
                if let Err(error) = forget(self.worker, company, token, Timestamp(until.timestamp_millis())).await {
                    tracing::warn!(token_id = %token, %error, "cannot delete an ended token; will try again");
                }
            }
        }
    }

    /// Compares the bytes and numbers of companies' files with their quotas.
    async fn count(&self) -> Result<(), ReactionError> {
        let until = before_now(self.worker.settings.recalculate_every());
        let mut after = Place::default();
        loop {
            let counted = quotas_to_count(&mut *self.connection().await?, until, self.page(after)).await?;
            let Some(last) = counted.last() else { return Ok(()) };
            after = last.place;
            let count = |quota: Counted| async move {
                if let Err(error) = recalculate(self.worker, &quota).await {
                    tracing::warn!(company = %quota.company_id, %error, "cannot recalculate a quota; will try again");
                }
            };
            stream::iter(counted).for_each_concurrent(AT_ONCE, count).await;
        }
    }

    /// Releases reservations of uploads that never started.
    async fn release(&self) -> Result<(), ReactionError> {
        let time = time_now();
        let find = |after| {
            let page = self.page(after);
            self.find(move |mut tables| async move { overdue_reservations(&mut tables, time, page).await }.boxed())
        };
        self.each(find, |upload| expire(self.worker, upload).boxed()).await
    }

    async fn expire(&self) -> Result<(), ReactionError> {
        let time = self.requests_ended();
        let find = |after| {
            let page = self.page(after);
            self.find(move |mut tables| async move { overdue_uploads(&mut tables, time, page).await }.boxed())
        };
        self.each(find, |upload| expire(self.worker, upload).boxed()).await
    }

    async fn expire_partial(&self) -> Result<(), ReactionError> {
        let time = self.requests_ended();
        let find = |after| {
            let page = self.page(after);
            self.find(move |mut tables| async move { overdue_partial_uploads(&mut tables, time, page).await }.boxed())
        };
        self.each(find, |upload| expire(self.worker, upload).boxed()).await
    }

    async fn expire_abandoned(&self) -> Result<(), ReactionError> {
        let time = self.requests_ended();
        let find = |after| {
            let page = self.page(after);
            self.find(move |mut tables| async move { abandoned_uploads(&mut tables, time, page).await }.boxed())
        };
        self.each(find, |upload| expire(self.worker, upload).boxed()).await
    }

    /// Returns the time before which an upload must have expired so that no request for it can still be running.
    fn requests_ended(&self) -> DateTime<Utc> {
        before_now(self.worker.settings.expiry_grace())
    }

    /// Returns the time before which presigned URLs must have expired so that no PUT of a client can still be running.
    fn put_ended(&self) -> DateTime<Utc> {
        before_now(self.worker.settings.expiry_grace() * PUT_GRACES)
    }

    /// Looks for objects of direct uploads for which no worker looks any more, and for parts that are too large.
    async fn look_for_objects(&self) -> Result<(), ReactionError> {
        let quiet = QUIET.min(self.worker.settings.sweep_every() * QUIET_ROUNDS);
        let (quiet_since, until) = (before_now(quiet), self.put_ended());
        let find = |after| {
            let page = self.page(after);
            self.find(move |mut tables| {
                async move { awaited_objects(&mut tables, quiet_since, until, page).await }.boxed()
            })
        };
        let look = |upload: Overdue| {
            async move {
                let causation = Causation::Request(new_id());
                advance(self.worker, upload.company_id, upload.upload_id, causation).await?;
                check_parts(self.worker, &aggregate(upload)).await
            }
            .boxed()
        };
        self.each(find, look).await
    }

    /// Deletes objects that clients created too late.
    async fn clear_quarantines(&self) -> Result<(), ReactionError> {
        let until = self.put_ended();
        let find = |after| {
            let page = self.page(after);
            self.find(move |mut tables| async move { open_quarantines(&mut tables, until, page).await }.boxed())
        };
        let ended_by = Timestamp(until.timestamp_millis());
        let clear_one = |upload: Overdue| async move { clear(self.worker, &aggregate(upload), ended_by).await };
        self.each(find, |upload| clear_one(upload).boxed()).await
    }

    /// Runs a query on the read model.
    fn find<'s, F>(&'s self, query: F) -> BoxFuture<'s, Result<Vec<Overdue>, ReactionError>>
    where
        F: FnOnce(Connection) -> BoxFuture<'s, Result<Vec<Overdue>, ReadModelError>> + Send + 's,
    {
        async move { Ok(query(self.connection().await?).await?) }.boxed()
    }

    /// Retries parked reactions. The first round retries all of them, because this worker may be newer than the worker
    /// that parked them.
    async fn retry_parked(&self) -> Result<(), BucketError> {
        let is_first = !self.has_retried.load(Ordering::Relaxed);
        let share = if is_first { Share::default() } else { self.share() };
        parked::sweep(self.worker, self.worker.settings.sweep_every() * PARKED_ROUNDS, is_first, share).await?;
        self.has_retried.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn delete_leftovers(&self) -> Result<(), BucketError> {
        leftovers::sweep(self.worker, self.worker.settings.sweep_every() * LEFTOVER_ROUNDS, self.share()).await
    }
}

/// Logs a failure, so that it does not stop the other candidates. Contention is not logged.
fn report(upload: Overdue, outcome: Result<(), ReactionError>) {
    match outcome {
        Err(error) if !error.is_contention() => {
            tracing::warn!(upload_id = %upload.upload_id, %error, "cannot handle an upload or file; will try again");
        }
        _ => {}
    }
}
