//! Folds several partitions at once up to given positions. The leases keep projectors out of the schema meanwhile.

use crate::ahead::{self, Batches};
use crate::apply::apply;
use crate::error::ReplayError;
use crate::writing::is_refusal;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use std::convert::Infallible;
use std::thread;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use waybill_event_log::{EventLog, ReadError};
use waybill_read_model::projection::{self, Checkpoint};
use waybill_read_model::{Database, ReadModelError, bulk};
use waybill_service_kit::new_id;

/// Number of events in one transaction of a rebuild.
const BATCH: usize = 5_000;

/// Duration of a lease that is not renewed.
const LEASE: Duration = Duration::from_secs(60);

/// Maximum number of partitions that are folded at the same time.
const AT_ONCE: usize = 4;

/// Number of connections that a partition needs: one to read rows and one to write them.
const CONNECTIONS: usize = 2;

/// Minimum number of events for which indexes are created only after all events are folded. For fewer events, creating
/// the indexes afterwards takes longer than it saves.
const MANY: u64 = 2_000;

/// Position up to which a partition must be folded.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) partition: u32,
    /// Epoch of the stream.
    pub(crate) epoch: String,
    /// Sequence of the last event, inclusive.
    pub(crate) seq: u64,
}

impl Target {
    /// Returns the position that a checkpoint of `partition` has.
    pub(crate) fn at(partition: u32, checkpoint: &Checkpoint) -> Self {
        Self { partition, epoch: checkpoint.epoch.clone(), seq: seq_of(checkpoint) }
    }
}

/// Returns the current ends of `partitions`.
pub(crate) async fn heads(log: &dyn EventLog, partitions: impl Iterator<Item = u32>) -> Result<Vec<Target>, ReadError> {
    let mut heads = Vec::new();
    for partition in partitions {
        let head = log.head(partition).await?;
        heads.push(Target { partition, epoch: head.epoch, seq: head.last_seq });
    }
    Ok(heads)
}

/// Folds each partition from its checkpoint to its target and returns the number of folded events. After an
/// interruption, another call continues from the checkpoints.
pub(crate) async fn fold_up_to(
    log: &dyn EventLog,
    database: &Database,
    targets: Vec<Target>,
) -> Result<u64, ReplayError> {
    match run(log, database, &targets, true).await {
        Err(ReplayError::ReadModel(ReadModelError::Query { source, .. }))
            if is_refusal(&source) && bulk::is_put_off(database).await? =>
        {
            // Only with foreign keys in place can the rebuild find the event that does not fit, and park it.
            tracing::warn!(
                schema = %database.schema(),
                reason = %source,
                "the tables violate a constraint; rebuilding them with constraints in place"
            );
            database.drop_schema().await?;
            database.migrate().await?;
            run(log, database, &targets, false).await
        }
        done => done,
    }
}

async fn run(log: &dyn EventLog, database: &Database, targets: &[Target], puts_off: bool) -> Result<u64, ReplayError> {
    let (running, mut threads) = mpsc::channel(1);
    let rebuild = Rebuild { log, database, owner: new_id(), puts_off, running };
    let done = rebuild.run(targets).await;
    drop(rebuild);
    // Abandoned threads must not write after this function returns.
    threads.recv().await;
    done
}

struct Rebuild<'a> {
    log: &'a dyn EventLog,
    database: &'a Database,
    owner: Uuid,
    /// `true` if indexes and foreign keys may be created after all events are folded.
    puts_off: bool,
    /// Each thread holds a clone until it ends.
    running: mpsc::Sender<Infallible>,
}

impl Rebuild<'_> {
    async fn run(&self, targets: &[Target]) -> Result<u64, ReplayError> {
        let mut from = Vec::new();
        let leased = self.lease_all(targets, &mut from).await;
        let done = match leased {
            Ok(()) => self.fold_held(targets, &from).await,
            Err(error) => Err(error),
        };
        for target in targets {
            // This does not change leases of other owners.
            if let Err(error) = projection::release_lease(self.database, target.partition, self.owner).await {
                tracing::debug!(partition = target.partition, %error, "cannot release the lease; it will expire");
            }
        }
        done
    }

    async fn lease_all(&self, targets: &[Target], from: &mut Vec<Checkpoint>) -> Result<(), ReplayError> {
        for target in targets {
            let checkpoint = self.lease(target).await?;
            if !checkpoint.epoch.is_empty() && checkpoint.epoch != target.epoch {
                return Err(ReplayError::OtherStream {
                    schema: self.database.schema().clone(),
                    partition: target.partition,
                });
            }
            from.push(checkpoint);
        }
        Ok(())
    }

    async fn lease(&self, target: &Target) -> Result<Checkpoint, ReplayError> {
        let lease = projection::take_lease(self.database, target.partition, self.owner, LEASE).await?;
        lease.ok_or_else(|| ReplayError::Leased { schema: self.database.schema().clone(), partition: target.partition })
    }

    /// Renews the leases until that fails. A renewal skips a row that one of our own transactions has locked; the lease
    /// is long enough for a later renewal. A lost lease is detected when the checkpoint moves.
    async fn keep(&self, targets: &[Target]) -> ReadModelError {
        loop {
            tokio::time::sleep(LEASE / 12).await;
            for target in targets {
                if let Err(error) = projection::take_lease(self.database, target.partition, self.owner, LEASE).await {
                    return error;
                }
            }
        }
    }

    async fn fold_held(&self, targets: &[Target], from: &[Checkpoint]) -> Result<u64, ReplayError> {
        tokio::select! {
            folded = self.fold_all(targets, from) => folded,
            failed = self.keep(targets) => Err(failed.into()),
        }
    }

    async fn fold_all(&self, targets: &[Target], from: &[Checkpoint]) -> Result<u64, ReplayError> {
        let all: u64 = targets.iter().map(|target| target.seq).sum();
        if self.puts_off && all >= MANY && from.iter().all(|checkpoint| checkpoint.seq == 0) {
            let is_new = projection::checkpoints(&mut *self.database.connection().await?).await?;
            if is_new.iter().all(|(_, checkpoint)| checkpoint.seq == 0) {
                bulk::put_off(self.database).await?;
            }
        }
        let at_once = AT_ONCE.min(self.database.pool_size() / CONNECTIONS).max(1);
        let folding = targets.iter().zip(from).map(|(target, from)| self.fold(target, from, at_once).boxed());
        let folding: Vec<BoxFuture<'_, _>> = folding.collect();
        let folded: Vec<u64> = stream::iter(folding).buffer_unordered(at_once).try_collect().await?;
        if bulk::is_put_off(self.database).await? {
            bulk::make(self.database, at_once).await?;
        }
        Ok(folded.into_iter().sum())
    }

    /// Folds one partition. Uses a separate thread if there are many events.
    async fn fold(&self, target: &Target, from: &Checkpoint, at_once: usize) -> Result<u64, ReplayError> {
        if target.seq.saturating_sub(seq_of(from)) < MANY {
            return fold(self.log, self.database, target, from, at_once).await;
        }
        let (log, database) = (self.log.apart(), self.database.apart(CONNECTIONS)?);
        let (target, from) = (target.clone(), from.clone());
        let work = async move { fold(&*log.await?, &database, &target, &from, at_once).await };
        in_a_thread(work, self.running.clone()).await
    }
}

/// Folds one partition. Uses the pipeline until an event does not fit, and then folds and parks in small steps.
async fn fold(
    log: &dyn EventLog,
    database: &Database,
    target: &Target,
    from: &Checkpoint,
    at_once: usize,
) -> Result<u64, ReplayError> {
    let Target { partition, epoch, seq: until } = target;
    let mut at = from.clone();
    if seq_of(&at) < *until && !projection::is_any_parked_of(&mut *database.connection().await?, *partition).await? {
        let batches = read_ahead(log, *partition, seq_of(&at), *until).await?;
        at = ahead::fold(database, *partition, at, epoch, batches, at_once).await?;
    }
    // `apply` parks events that do not fit, and later events of their aggregates.
    let mut batches = read_ahead(log, *partition, seq_of(&at), *until).await?;
    while let Some(batch) = batches.recv().await {
        at = apply(database, *partition, &at, epoch, &batch?).await?;
    }
    Ok(seq_of(&at).saturating_sub(seq_of(from)))
}

/// Runs `work` in a new thread with its own runtime. The many small allocations of an event are then freed by the
/// thread that made them, which takes a third less time. Stops the work if the returned future is dropped. Drops
/// `running` when the thread ends.
async fn in_a_thread<T: Send + 'static>(
    work: impl Future<Output = Result<T, ReplayError>> + Send + 'static,
    running: mpsc::Sender<Infallible>,
) -> Result<T, ReplayError> {
    let failed = |reason: String| ReplayError::from(ReadModelError::Unavailable { operation: "folding", reason });
    let (mut sender, done) = oneshot::channel();
    let run = move || {
        let done = match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(async {
                tokio::select! {
                    done = work => Some(done),
                    () = sender.closed() => None,
                }
            }),
            Err(error) => Some(Err(failed(error.to_string()))),
        };
        if let Some(done) = done {
            // The receiver may have been dropped. Then nobody needs the result.
            drop(sender.send(done));
        }
        drop(running);
    };
    thread::Builder::new().name("rebuild".to_owned()).spawn(run).map_err(|error| failed(error.to_string()))?;
    done.await.map_err(|_| failed("the thread ended early".to_owned()))?
}

pub(crate) fn seq_of(checkpoint: &Checkpoint) -> u64 {
    u64::try_from(checkpoint.seq).unwrap_or(0)
}

/// Returns the events after `from`, up to and including `until`, in batches. Reads the next batch while one is folded.
async fn read_ahead(log: &dyn EventLog, partition: u32, from: u64, until: u64) -> Result<Batches, ReadError> {
    let (sender, batches) = mpsc::channel(1);
    if from >= until {
        return Ok(batches);
    }
    let mut events = log.subscribe(partition, from).await?;
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while let Some(event) = events.next().await {
            let position = match event {
                Ok(event) => {
                    let seq = event.position.seq;
                    batch.push(event);
                    seq
                }
                Err(error) => {
                    drop(sender.send(Err(error)).await);
                    return;
                }
            };
            let ends = position >= until;
            if ends || batch.len() == BATCH {
                let sent = sender.send(Ok(std::mem::take(&mut batch))).await;
                if ends || sent.is_err() {
                    return;
                }
            }
        }
        let error = ReadError::Unavailable("the subscription ended before the target".to_owned());
        drop(sender.send(Err(error)).await);
    });
    Ok(batches)
}
