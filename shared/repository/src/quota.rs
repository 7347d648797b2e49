//! The space of companies: one fold a process, which all that change it decide on, one after the other.

use crate::execute::pause;
use crate::{Context, ExecuteError};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_domain::quota::{self, State};
use waybill_event_log::jetstream::{Bucket, BucketError};
use waybill_event_log::{AppendError, EventLog, Expect, NewEvent, ReadError, append, read_after};
use waybill_schema::{Aggregate as On, CompanyId, Event, Position, Routing, Subject, Timestamp, names};

/// How many events are folded before the fold is worth keeping.
const SNAPSHOT_EVERY: u64 = 500;
/// Changes whenever [`State`] does: older snapshots are then not read.
const SNAPSHOT_VERSION: u16 = 3;
/// Bytes of a piece of a snapshot: a value of a bucket has 1 MiB at most.
const PIECE_BYTES: usize = 512 * 1_024;
/// The space of how many companies is kept at hand, and for how long after its last use.
const KEPT: u64 = 10_000;
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How long a change is tried if others come first.
const PATIENCE: Duration = Duration::from_secs(8);

/// A company's space, and how far its subject was read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Loaded {
    state: State,
    /// The last event; 0 without one.
    last_seq: u64,
    /// Its message id: with the sequence it tells the stream from one that was restored or replaced.
    last_id: Option<String>,
    folded_since_snapshot: u64,
    /// The log's generation that it was read from.
    #[serde(skip)]
    generation: u64,
}

/// The value of a snapshot's own key.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u16,
    crc64nvme: u64,
    set: u8,
    pieces: u32,
}

/// The space of all companies.
pub struct Quotas {
    log: Arc<dyn EventLog>,
    snapshots: Bucket,
    companies: Cache<CompanyId, Arc<tokio::sync::Mutex<Loaded>>>,
}

/// The right to change a company's space, among those of this process.
pub struct Held<'a> {
    quotas: &'a Quotas,
    company: CompanyId,
    loaded: OwnedMutexGuard<Loaded>,
    until: Instant,
    attempts: u32,
}

impl Quotas {
    /// Those in a log, with snapshots in a bucket.
    pub fn new(log: Arc<dyn EventLog>, snapshots: Bucket) -> Self {
        Self { log, snapshots, companies: Cache::builder().max_capacity(KEPT).time_to_idle(KEPT_FOR).build() }
    }

    /// Waits for the right to change a company's space; nothing is known of it before [`Held::look`].
    ///
    /// # Errors
    /// [`AppendError::Conflict`] if those who came before are not done in time.
    pub async fn hold(&self, company: CompanyId) -> Result<Held<'_>, AppendError> {
        let until = Instant::now() + PATIENCE;
        let loaded = self.companies.get_with(company, Arc::default);
        let loaded = tokio::time::timeout_at(until.into(), loaded.lock_owned()).await;
        let loaded = loaded.map_err(|_| AppendError::Conflict)?;
        Ok(Held { quotas: self, company, loaded, until, attempts: 0 })
    }

    /// A company's space as it is now.
    ///
    /// # Errors
    /// [`ExecuteError`].
    pub async fn look(&self, company: CompanyId) -> Result<State, ExecuteError> {
        let mut held = self.hold(company).await?;
        Ok(held.look().await?.clone())
    }

    /// Changes a company's space: decides on the newest state, again where somebody else was faster. `None` from `decide`
    /// means that there is nothing to change.
    ///
    /// # Errors
    /// [`ExecuteError`].
    pub async fn change(
        &self,
        context: &Context,
        company: CompanyId,
        decide: impl Fn(&State) -> Result<Option<Event>, Refusal>,
    ) -> Result<Position, ExecuteError> {
        let mut held = self.hold(company).await?;
        loop {
            let Some(event) = decide(held.look().await?)? else { return Ok(held.position()) };
            if let Some(position) = held.append(context, event).await? {
                return Ok(position);
            }
        }
    }
}

impl Held<'_> {
    /// The state as it is now.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn look(&mut self) -> Result<&State, ReadError> {
        let Quotas { log, snapshots, .. } = self.quotas;
        let generation = log.generation();
        if self.loaded.generation != generation {
            *self.loaded = Loaded { generation, ..Loaded::default() };
        }
        if self.loaded.last_seq == 0
            && let Some(kept) = read_snapshot(log.as_ref(), snapshots, self.company).await
        {
            *self.loaded = Loaded { generation, ..kept };
        }
        let mut read = read_after(log.as_ref(), self.subject(), self.loaded.last_seq).await;
        if let Err(ReadError::Diverged { subject, seq }) = &read {
            tracing::warn!(subject, seq, "the stream was restored or replaced; reading a quota again");
            *self.loaded = Loaded { generation, ..Loaded::default() };
            read = read_after(log.as_ref(), self.subject(), 0).await;
        }
        for mut stored in read? {
            let id = stored.message_id.take();
            let recorded = stored.into_event()?;
            self.loaded.fold(&recorded.event, recorded.envelope.time, recorded.position.seq, id);
        }
        if self.loaded.folded_since_snapshot >= SNAPSHOT_EVERY {
            self.loaded.folded_since_snapshot = 0;
            // That it fails costs the next load some time, no more.
            if let Err(error) = write_snapshot(snapshots, self.company, &self.loaded).await {
                tracing::warn!(company = %self.company, %error, "a quota snapshot was not kept");
            }
        }
        Ok(&self.loaded.state)
    }

    /// The position that reflects what is known.
    pub fn position(&self) -> Position {
        Position { partition: self.quotas.log.partitions().of(self.company), seq: self.loaded.last_seq }
    }

    /// Appends behind what is known. `None` if somebody of another process was faster: look, and decide again.
    ///
    /// # Errors
    /// [`AppendError`]; [`AppendError::Conflict`] if others were faster again and again.
    pub async fn append(&mut self, context: &Context, event: Event) -> Result<Option<Position>, AppendError> {
        self.attempts += 1;
        let envelope = context.envelope(Routing::default());
        let (time, message_id) = (envelope.time, Uuid::now_v7().simple().to_string());
        let new = NewEvent {
            subject: self.subject(),
            envelope,
            event: event.clone(),
            expect: Expect::LastSeq(self.loaded.last_seq),
            message_id: Some(message_id.clone()),
        };
        match append(self.quotas.log.as_ref(), new).await {
            Ok(position) => {
                self.loaded.fold(&event, time, position.seq, Some(message_id));
                Ok(Some(position))
            }
            Err(AppendError::Conflict) if Instant::now() < self.until => {
                pause(self.attempts.min(2)).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn subject(&self) -> Subject {
        Subject::new(self.company, On::Quota)
    }
}

impl Loaded {
    fn fold(&mut self, event: &Event, time: Timestamp, seq: u64, id: Option<String>) {
        quota::evolve(&mut self.state, event, time);
        self.last_seq = seq;
        self.last_id = id;
        self.folded_since_snapshot += 1;
    }
}

/// The last snapshot, if it is whole, and of this stream.
async fn read_snapshot(log: &dyn EventLog, bucket: &Bucket, company: CompanyId) -> Option<Loaded> {
    let entry = bucket.get(&names::quota_snapshot_key(company)).await.ok()??;
    let snapshot: Snapshot = postcard::from_bytes(&entry.value).ok()?;
    if snapshot.version != SNAPSHOT_VERSION {
        return None;
    }
    let mut bytes = Vec::new();
    for piece in 0..snapshot.pieces {
        bytes.extend(bucket.get(&names::quota_piece_key(company, snapshot.set, piece)).await.ok()??.value);
    }
    let loaded: Loaded = postcard::from_bytes(&bytes).ok().filter(|_| snapshot.crc64nvme == crc(&bytes))?;
    let position = Position { partition: log.partitions().of(company), seq: loaded.last_seq };
    let subject = Subject::new(company, On::Quota).to_nats(log.partitions());
    let there = log.at(position).await.ok()?;
    there.filter(|there| there.subject == subject && there.message_id == loaded.last_id).map(|_| loaded)
}

/// Keeps a fold for the next load, however large it is: the pieces first, and then what names them.
async fn write_snapshot(bucket: &Bucket, company: CompanyId, loaded: &Loaded) -> Result<(), BucketError> {
    // Not the set that the last snapshot is in, also if another process wrote that.
    let kept = bucket.get(&names::quota_snapshot_key(company)).await?;
    let kept = kept.and_then(|kept| postcard::from_bytes::<Snapshot>(&kept.value).ok());
    let set = kept.as_ref().map_or(0, |kept| 1 - kept.set.min(1));
    let Ok(bytes) = postcard::to_stdvec(loaded) else { return Ok(()) };
    let mut pieces = 0;
    for piece in bytes.chunks(PIECE_BYTES) {
        let key = names::quota_piece_key(company, set, pieces);
        bucket.put(&key, bytes::Bytes::copy_from_slice(piece)).await?;
        pieces += 1;
    }
    let snapshot = Snapshot { version: SNAPSHOT_VERSION, crc64nvme: crc(&bytes), set, pieces };
    let Ok(head) = postcard::to_stdvec(&snapshot) else { return Ok(()) };
    bucket.put(&names::quota_snapshot_key(company), head.into()).await?;
    // The pieces of the previous snapshot are not needed any more.
    if let Some(Snapshot { set, pieces, .. }) = kept {
        for piece in 0..pieces {
            bucket.delete(&names::quota_piece_key(company, set, piece)).await?;
        }
    }
    Ok(())
}

fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}
