//! The directories of companies: one fold a process, of which what nobody used lately goes where they become too many.
//!
//! Those who change a directory wait for each other; those who look at it wait for nobody: they fold what is new
//! themselves. A fold is begun with its snapshot, which is written whenever as much is new as a sixteenth of it.

use crate::execute::pause;
use crate::snapshot::{self, Mark};
use crate::{Context, ExecuteError};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::directory::{Command, State, decide_within, evolve};
use waybill_event_log::{AppendError, Back, EventLog, Expect, NewEvent, ReadError, append, read_back, read_rest};
use waybill_schema::events::DirectoryEvent;
use waybill_schema::{Aggregate as On, CompanyId, Event, Position, Routing, Subject};

/// Changes whenever [`State`] does: older snapshots are then not read.
const SNAPSHOT_VERSION: u16 = 1;
/// How many events are folded at least before the fold is worth keeping.
const SNAPSHOT_EVERY: usize = 2_000;
/// How much of a fold has to be new before all of it is written again.
const SNAPSHOT_PART: usize = 16;
/// How long a command is tried again if those of other processes come first.
const PATIENCE: Duration = Duration::from_secs(8);
/// For how long after its last use a fold stays though there are too many; unless there are twice as many as that.
const IN_USE_FOR: Duration = Duration::from_secs(60);
/// How often it is looked who may go, unless there are twice as many as are kept.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What a fold counts at least, in entries.
const LEAST_WEIGHT: usize = 16;

/// How large directories may be.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryLimits {
    /// How many entries one may have ([`State::len`]).
    pub max_entries: usize,
    /// How many entries of all of them together are kept at hand, roughly.
    pub kept_entries: usize,
}

/// The directories, decided on as the log has them.
pub struct Directories {
    log: Arc<dyn EventLog>,
    limits: DirectoryLimits,
    kept: Mutex<HashMap<CompanyId, Arc<Kept>>>,
    /// How many entries all of them have.
    total: AtomicUsize,
    /// When it was looked last who may go.
    looked_at: Mutex<Instant>,
}

struct Kept {
    company: CompanyId,
    fold: RwLock<Fold>,
    /// Whose turn it is to append.
    writer: tokio::sync::Mutex<()>,
    /// Who reads it from its beginning, for all that want it.
    loader: tokio::sync::Mutex<()>,
    entries: AtomicUsize,
    is_being_written: AtomicBool,
    used_at: Mutex<Instant>,
}

#[derive(Default)]
struct Fold {
    state: State,
    last: Mark,
    /// How many events were folded since the last snapshot.
    is_new: usize,
    /// The log's generation that it was read from.
    generation: u64,
    /// How often it was begun anew: what was read for the fold before is none of this one's.
    begun: u64,
}

/// A lock whose holders never leave half a change behind, so that a panic elsewhere does not matter.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn new(company: CompanyId) -> Self {
        Self {
            company,
            fold: RwLock::default(),
            writer: tokio::sync::Mutex::default(),
            loader: tokio::sync::Mutex::default(),
            entries: AtomicUsize::new(LEAST_WEIGHT),
            is_being_written: AtomicBool::new(false),
            used_at: Mutex::new(Instant::now()),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Fold> {
        self.fold.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Fold> {
        self.fold.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn subject(&self) -> Subject {
        Subject::new(self.company, On::Directory)
    }
}

impl Fold {
    fn begin_again(&mut self, generation: u64) {
        *self = Self { generation, begun: self.begun + 1, ..Self::default() };
    }

    fn take(&mut self, event: &Event, last: Mark) {
        // Somebody else may have read the same.
        if last.seq > self.last.seq {
            if let Event::Directory(event) = event {
                evolve(&mut self.state, event);
            }
            self.last = last;
            self.is_new += 1;
        }
    }
}

impl Directories {
    /// Those in a log.
    pub fn new(log: Arc<dyn EventLog>, limits: DirectoryLimits) -> Self {
        Self { log, limits, kept: Mutex::default(), total: AtomicUsize::new(0), looked_at: Mutex::new(Instant::now()) }
    }

    /// How many entries one directory may have.
    pub fn max_entries(&self) -> usize {
        self.limits.max_entries
    }

    /// Looks at a directory as it is now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn look<T>(&self, company: CompanyId, look: impl FnOnce(&State) -> T) -> Result<T, ReadError> {
        let kept = self.refreshed(company).await?;
        Ok(look(&kept.read().state))
    }

    /// Returns the fold of a directory, with all that the log has now.
    fn refreshed(&self, company: CompanyId) -> BoxFuture<'_, Result<Arc<Kept>, ReadError>> {
        Box::pin(async move {
            let kept = self.of(company);
            self.refresh(&kept).await?;
            self.keep_snapshot(&kept).await;
            Ok(kept)
        })
    }

    /// Carries out commands in their order; answers with the position of the last one.
    ///
    /// # Errors
    /// The index of the first one that is not carried out, and why; those before it have been.
    pub fn run<'a>(
        &'a self,
        company: CompanyId,
        context: &'a Context,
        commands: impl IntoIterator<Item = Command>,
    ) -> BoxFuture<'a, Result<Option<Position>, (usize, ExecuteError)>> {
        self.run_all(company, context, commands.into_iter().collect())
    }

    fn run_all<'a>(
        &'a self,
        company: CompanyId,
        context: &'a Context,
        commands: Vec<Command>,
    ) -> BoxFuture<'a, Result<Option<Position>, (usize, ExecuteError)>> {
        Box::pin(async move {
            let kept = self.of(company);
            let done = self.run_in_turn(&kept, context, commands).await;
            self.weigh(&kept);
            self.keep_snapshot(&kept).await;
            done
        })
    }

    async fn run_in_turn(
        &self,
        kept: &Kept,
        context: &Context,
        commands: Vec<Command>,
    ) -> Result<Option<Position>, (usize, ExecuteError)> {
        let busy = |_| (0, AppendError::Unavailable("those who came before are not done".to_owned()).into());
        let _turn = tokio::time::timeout(PATIENCE, kept.writer.lock()).await.map_err(busy)?;
        self.refresh(kept).await.map_err(|error| (0, error.into()))?;
        let mut position = None;
        for (index, command) in commands.into_iter().enumerate() {
            let done = self.execute(kept, context, &command, index == 0).await;
            position = Some(done.map_err(|error| (index, error))?);
        }
        Ok(position)
    }

    /// Decides, and appends what that leads to; again where somebody of another process was faster. What leads to no event, a
    /// refusal included, is decided on what the log knows then.
    async fn execute(
        &self,
        kept: &Kept,
        context: &Context,
        command: &Command,
        mut is_fresh: bool,
    ) -> Result<Position, ExecuteError> {
        let until = Instant::now() + PATIENCE;
        let mut attempt = 0;
        loop {
            let mut decision = self.decide(kept, command);
            if !is_fresh && !matches!(decision.0, Ok(Some(_))) {
                self.refresh(kept).await?;
                decision = self.decide(kept, command);
            }
            let (event, last_seq) = (decision.0?, decision.1);
            let Some(event) = event else {
                return Ok(Position { partition: self.log.partitions().of(kept.company), seq: last_seq });
            };
            match self.append(kept, context, event, last_seq).await {
                Err(AppendError::Conflict) if Instant::now() < until => {}
                done => return Ok(done?),
            }
            attempt += 1;
            pause(attempt.min(2)).await;
            self.refresh(kept).await?;
            is_fresh = true;
        }
    }

    fn decide(&self, kept: &Kept, command: &Command) -> (Result<Option<DirectoryEvent>, Refusal>, u64) {
        let fold = kept.read();
        (decide_within(&fold.state, command.clone(), self.limits.max_entries), fold.last.seq)
    }

    async fn append(
        &self,
        kept: &Kept,
        context: &Context,
        event: DirectoryEvent,
        last_seq: u64,
    ) -> Result<Position, AppendError> {
        let id = Uuid::now_v7().simple().to_string();
        let event = Event::Directory(event);
        let new = NewEvent {
            subject: kept.subject(),
            envelope: context.envelope(Routing::default()),
            event: event.clone(),
            expect: Expect::LastSeq(last_seq),
            message_id: Some(id.clone()),
        };
        let position = append(self.log.as_ref(), new).await?;
        let mut fold = kept.write();
        // Unless somebody has begun it anew, or has read the event already.
        if fold.last.seq == last_seq {
            fold.take(&event, Mark { seq: position.seq, id: Some(id) });
        }
        Ok(position)
    }

    /// Folds what came since. If the stream is not the one that was read before, all of it is folded anew.
    async fn refresh(&self, kept: &Kept) -> Result<(), ReadError> {
        let generation = self.log.generation();
        if kept.read().generation != generation {
            kept.write().begin_again(generation);
        }
        let _loading = if kept.read().last.seq == 0 { Some(kept.loader.lock().await) } else { None };
        let mut read = self.read_new(kept).await;
        if let Err(ReadError::Diverged { subject, seq }) = &read {
            tracing::warn!(subject, seq, "the stream was restored or replaced; reading a directory again");
            kept.write().begin_again(generation);
            read = self.read_new(kept).await;
        }
        read?;
        self.weigh(kept);
        Ok(())
    }

    async fn read_new(&self, kept: &Kept) -> Result<(), ReadError> {
        let (log, subject) = (self.log.as_ref(), kept.subject());
        let (known, begun) = {
            let fold = kept.read();
            (fold.last.seq, fold.begun)
        };
        let last = log.last(subject).await?;
        let back = read_back(log, subject, last, known).await?;
        if known == 0
            && matches!(back, Back::Newest(_))
            && let Some(values) = log.snapshots()
            && let Some((state, last)) = snapshot::read(log, values, subject, SNAPSHOT_VERSION).await
        {
            let mut fold = kept.write();
            if fold.last.seq < last.seq && fold.begun == begun {
                let (generation, begun) = (fold.generation, fold.begun);
                *fold = Fold { state, last, is_new: 0, generation, begun };
            }
        }
        // What came before this is folded, also if others fold more meanwhile.
        let known = kept.read().last.seq.max(known);
        let mut folded = Vec::new();
        for mut stored in read_rest(log, subject, back, known).await? {
            let id = stored.message_id.take();
            let recorded = stored.into_event()?;
            folded.push((recorded.event, Mark { seq: recorded.position.seq, id }));
        }
        let mut fold = kept.write();
        if fold.begun == begun {
            folded.into_iter().for_each(|(event, last)| fold.take(&event, last));
        }
        Ok(())
    }

    /// Keeps a snapshot, if there is enough that is new. It is finished also if whoever asked goes away.
    async fn keep_snapshot(&self, kept: &Arc<Kept>) {
        let is_due = {
            let fold = kept.read();
            fold.is_new >= SNAPSHOT_EVERY.max(fold.state.len() / SNAPSHOT_PART)
        };
        if !is_due || kept.is_being_written.swap(true, Ordering::SeqCst) {
            return;
        }
        let (log, kept) = (self.log.clone(), kept.clone());
        let written = tokio::spawn(async move {
            write_snapshot(log.as_ref(), &kept).await;
            kept.is_being_written.store(false, Ordering::SeqCst);
        });
        if let Err(error) = written.await {
            tracing::error!(%error, "a directory's snapshot was not kept");
        }
    }

    fn of(&self, company: CompanyId) -> Arc<Kept> {
        let (kept, is_new) = {
            let mut all = locked(&self.kept);
            let before = all.len();
            let kept = all.entry(company).or_insert_with(|| Arc::new(Kept::new(company))).clone();
            (kept, all.len() > before)
        };
        *locked(&kept.used_at) = Instant::now();
        if is_new {
            self.total.fetch_add(LEAST_WEIGHT, Ordering::Relaxed);
            self.let_go();
        }
        kept
    }

    /// What has grown is weighed again.
    fn weigh(&self, kept: &Kept) {
        let entries = kept.read().state.len().max(LEAST_WEIGHT);
        let before = kept.entries.swap(entries, Ordering::Relaxed);
        self.total.fetch_add(entries.saturating_sub(before), Ordering::Relaxed);
        self.total.fetch_sub(before.saturating_sub(entries), Ordering::Relaxed);
        if entries > before {
            self.let_go();
        }
    }

    /// Lets those go that were not used for the longest time, if there are too many. What is in use stays.
    fn let_go(&self) {
        let (bound, total) = (self.limits.kept_entries, self.total.load(Ordering::Relaxed));
        let is_urgent = total > bound.saturating_mul(2);
        if total <= bound || !(is_urgent || self.is_time_to_look()) {
            return;
        }
        // Some more than needed, so that this is not done again and again.
        let enough = bound - bound / 8;
        let enough_in_use = if is_urgent { bound.saturating_add(enough) } else { usize::MAX };
        let mut all = locked(&self.kept);
        let idle = all.iter().filter(|(_, kept)| Arc::strong_count(kept) == 1);
        let mut idle: Vec<(Duration, CompanyId)> =
            idle.map(|(company, kept)| (locked(&kept.used_at).elapsed(), *company)).collect();
        idle.sort_unstable();
        while let Some((idle_for, company)) = idle.pop() {
            let total = self.total.load(Ordering::Relaxed);
            if total <= enough || (idle_for < IN_USE_FOR && total <= enough_in_use) {
                return;
            }
            if let Some(gone) = all.remove(&company) {
                self.total.fetch_sub(gone.entries.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    fn is_time_to_look(&self) -> bool {
        let mut looked_at = locked(&self.looked_at);
        let is_time = looked_at.elapsed() >= LOOK_EVERY;
        if is_time {
            *looked_at = Instant::now();
        }
        is_time
    }
}

async fn write_snapshot(log: &dyn EventLog, kept: &Kept) {
    let Some(values) = log.snapshots() else { return };
    let (bytes, last) = {
        let fold = kept.read();
        (snapshot::pack(&fold.state), fold.last.clone())
    };
    kept.write().is_new = 0;
    let Some(bytes) = bytes else { return };
    if let Err(error) = snapshot::write(values, kept.subject(), SNAPSHOT_VERSION, last, &bytes).await {
        tracing::warn!(company = %kept.company, %error, "a directory's snapshot was not kept");
    }
}
