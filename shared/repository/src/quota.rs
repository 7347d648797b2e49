//! Loading a company's space, and settling reservations.

use crate::execute::pause;
use crate::{Context, ExecuteError};
use serde::{Deserialize, Serialize};
use waybill_domain::Refusal;
use waybill_domain::quota::{self, Settlement, Settling, Space, settle};
use waybill_event_log::jetstream::Bucket;
use waybill_event_log::{AppendError, EventLog, Expect, NewEvent, ReadError, append, read_events};
use waybill_schema::{Aggregate as On, CompanyId, Event, Position, Routing, SessionId, Subject, UploadId, names};

/// How many events are folded before the fold is worth keeping.
const SNAPSHOT_EVERY: u64 = 500;
const ATTEMPTS: u32 = 10;
/// A company's space is what all of its uploads change.
const CHANGE_ATTEMPTS: u32 = 30;
/// Changes whenever [`quota::State`] does: older snapshots are then not read.
const SNAPSHOT_VERSION: u16 = 2;

/// A company's space, and how far its subjects were read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LoadedQuota {
    /// What is known.
    pub state: quota::State,
    /// The last event of `….quota`; 0 without one.
    pub last_seq: u64,
    /// The last settlement; 0 without one.
    pub settled_seq: u64,
    folded_since_snapshot: u64,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    version: u16,
    crc64nvme: u64,
    quota: Vec<u8>,
}

/// Loads a company's space from its snapshot, where there is one, and its events.
///
/// # Errors
/// [`ReadError`]. A snapshot that cannot be read is no error: it is made anew.
pub async fn load_quota(
    log: &dyn EventLog,
    snapshots: Option<&Bucket>,
    company: CompanyId,
) -> Result<LoadedQuota, ReadError> {
    let mut loaded = match snapshots {
        Some(bucket) => read_snapshot(bucket, company).await.unwrap_or_default(),
        None => LoadedQuota::default(),
    };
    refresh_quota(log, snapshots, company, &mut loaded).await?;
    Ok(loaded)
}

/// Folds what came since.
///
/// # Errors
/// [`ReadError`].
pub async fn refresh_quota(
    log: &dyn EventLog,
    snapshots: Option<&Bucket>,
    company: CompanyId,
    loaded: &mut LoadedQuota,
) -> Result<(), ReadError> {
    let partition = log.partitions().of(company);
    let subject = Subject::new(company, On::Quota);
    // Settlements first: every reservation that they settle is then among those read afterwards.
    let filter = names::settlements_filter(partition, company);
    let settlements = read_events(log, partition, &filter, loaded.settled_seq, 0).await?;
    let filter = subject.to_nats(log.partitions());
    let until = log.last_seq(partition, &filter).await?;
    let mut events = if until > loaded.last_seq {
        read_events(log, partition, &filter, loaded.last_seq, until).await?
    } else {
        Vec::new()
    };
    loaded.last_seq = events.last().map_or(loaded.last_seq, |event| event.position.seq);
    loaded.settled_seq = settlements.last().map_or(loaded.settled_seq, |event| event.position.seq);
    events.extend(settlements);
    events.sort_by_key(|event| event.position.seq);
    for recorded in &events {
        quota::evolve(&mut loaded.state, &recorded.event, recorded.envelope.time);
    }
    loaded.folded_since_snapshot += events.len() as u64;
    if loaded.folded_since_snapshot >= SNAPSHOT_EVERY
        && let Some(bucket) = snapshots
    {
        loaded.folded_since_snapshot = 0;
        write_snapshot(bucket, company, loaded).await;
    }
    Ok(())
}

async fn read_snapshot(bucket: &Bucket, company: CompanyId) -> Option<LoadedQuota> {
    let entry = bucket.get(&names::quota_snapshot_key(company)).await.ok()??;
    let snapshot: Snapshot = postcard::from_bytes(&entry.value).ok()?;
    let intact = snapshot.version == SNAPSHOT_VERSION && snapshot.crc64nvme == crc(&snapshot.quota);
    intact.then(|| postcard::from_bytes(&snapshot.quota).ok()).flatten()
}

/// Keeps a fold for the next load. That it fails costs that load some time, no more.
async fn write_snapshot(bucket: &Bucket, company: CompanyId, loaded: &LoadedQuota) {
    let Ok(quota) = postcard::to_stdvec(loaded) else { return };
    let snapshot = Snapshot { version: SNAPSHOT_VERSION, crc64nvme: crc(&quota), quota };
    let Ok(bytes) = postcard::to_stdvec(&snapshot) else { return };
    if let Err(error) = bucket.put(&names::quota_snapshot_key(company), bytes.into()).await {
        tracing::warn!(%company, %error, "a quota snapshot was not kept");
    }
}

fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}

/// Changes a company's space: decides on the newest state, again where somebody else was faster. `None` from `decide`
/// means that there is nothing to change.
///
/// # Errors
/// [`ExecuteError`].
pub async fn change_quota(
    log: &dyn EventLog,
    snapshots: &Bucket,
    context: &Context,
    company: CompanyId,
    decide: impl Fn(&quota::State) -> Result<Option<Event>, Refusal>,
) -> Result<Position, ExecuteError> {
    let partition = log.partitions().of(company);
    let mut quota = load_quota(log, Some(snapshots), company).await?;
    for attempt in 1..=CHANGE_ATTEMPTS {
        let Some(event) = decide(&quota.state)? else { return Ok(Position { partition, seq: quota.last_seq }) };
        if let Some(position) = append_quota(log, company, quota.last_seq, context, event).await? {
            return Ok(position);
        }
        pause(attempt).await;
        refresh_quota(log, Some(snapshots), company, &mut quota).await?;
    }
    Err(AppendError::Conflict.into())
}

/// Appends to `….quota` after the event `last_seq`; `None` if another event came first.
///
/// # Errors
/// [`AppendError`], but no conflict.
pub async fn append_quota(
    log: &dyn EventLog,
    company: CompanyId,
    last_seq: u64,
    context: &Context,
    event: Event,
) -> Result<Option<Position>, AppendError> {
    let new = NewEvent {
        subject: Subject::new(company, On::Quota),
        envelope: context.envelope(Routing::default()),
        event,
        expect: Expect::LastSeq(last_seq),
        message_id: None,
    };
    match append(log, new).await {
        Ok(position) => Ok(Some(position)),
        Err(AppendError::Conflict) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Settles the reservation of one upload, once.
///
/// # Errors
/// [`ExecuteError`].
pub async fn settle_quota(
    log: &dyn EventLog,
    context: &Context,
    company: CompanyId,
    (upload, session): (UploadId, Option<SessionId>),
    space: Space,
    settling: Settling,
) -> Result<Option<Position>, ExecuteError> {
    let subject = Subject::new(company, On::QuotaSettlement(upload));
    let partition = log.partitions().of(company);
    let filter = subject.to_nats(log.partitions());
    // Hardly ever is there one before: it is looked for when the log says so. What is purged was settled before.
    let (mut settlement, mut last_seq) = (Settlement::Open, 0);
    let mut look = settling == Settling::Purge;
    for attempt in 1..=ATTEMPTS {
        if look {
            last_seq = log.last_seq(partition, &filter).await?;
            settlement = Settlement::Open;
            for recorded in read_events(log, partition, &filter, 0, last_seq).await? {
                settlement.evolve(&recorded.event);
            }
        }
        look = true;
        let Some(event) = settle(settlement, settling, upload, session, space) else { return Ok(None) };
        let routing = Routing { session_id: session, ..Routing::default() };
        let envelope = context.envelope(routing);
        let new = NewEvent { subject, envelope, event, expect: Expect::LastSeq(last_seq), message_id: None };
        match append(log, new).await {
            Ok(position) => return Ok(Some(position)),
            Err(AppendError::Conflict) if attempt < ATTEMPTS => pause(attempt).await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppendError::Conflict.into())
}
