//! Parked reactions: reactions that failed repeatedly, and reactions to events of a newer version than this worker can
//! read. They are kept in the bucket `parked`, so that the consumer of the event log does not wait for them. The sweep
//! retries them, and a worker that starts does so too. `waybill parked` shows them.

use crate::Worker;
use crate::metrics::PARKED_REACTIONS;
use crate::reactions::{ReactionError, react};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use waybill_domain::reaction::reaction_to;
use waybill_event_log::{Bucket, BucketError, Stored};
use waybill_read_model::queries::Share;
use waybill_schema::events::EventError;
use waybill_schema::{DecodeError, Entity, Position, Subject, Timestamp};
use waybill_service_kit::now;

/// Number of reactions that are retried in parallel.
const AT_ONCE: usize = 8;
/// Maximum length of a stored reason, in characters. A value of the bucket can have at most 4 KiB.
const REASON: usize = 500;

/// A parked reaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Subject of the event.
    pub subject: String,
    /// Why the last attempt failed.
    pub reason: String,
    /// Number of attempts so far.
    pub attempts: i64,
    /// Time at which the reaction was parked, in milliseconds since 1970.
    pub parked_at: i64,
    /// Earliest time of the next attempt, in milliseconds since 1970.
    pub due_at: i64,
}

/// Returns `true` if a message that this worker cannot read may be an event to which a newer worker reacts.
pub(crate) fn is_of_newer(stored: &Stored) -> bool {
    let unknown = matches!(&stored.event, Err(DecodeError::Event(EventError::Unknown { .. }) | DecodeError::Header(_)));
    let on = Subject::parse(&stored.subject).map(|subject| subject.aggregate);
    // No worker reacts to events about stored bytes, and there are too many of them to park.
    unknown && !matches!(on, Ok(Entity::UploadChunks(_)))
}

fn key_of(position: Position) -> String {
    format!("{}.{}", position.partition, position.seq)
}

fn position_of(key: &str) -> Option<Position> {
    let (partition, seq) = key.split_once('.')?;
    Some(Position { partition: partition.parse().ok()?, seq: seq.parse().ok()? })
}

/// Returns all parked reactions, in the order of the log.
///
/// # Errors
/// If the bucket does not answer.
pub fn list(parked: &Bucket) -> BoxFuture<'_, Result<Vec<(Position, Entry)>, BucketError>> {
    Box::pin(listed(parked))
}

async fn listed(parked: &Bucket) -> Result<Vec<(Position, Entry)>, BucketError> {
    let mut positions: Vec<Position> = parked.keys().await?.iter().filter_map(|key| position_of(key)).collect();
    positions.sort_unstable();
    let mut found = Vec::with_capacity(positions.len());
    for position in positions {
        found.extend(get(parked, position).await?.map(|entry| (position, entry)));
    }
    Ok(found)
}

/// The reaction to the event at a position, if it was put aside.
///
/// # Errors
/// If the bucket does not answer.
pub fn get(parked: &Bucket, position: Position) -> BoxFuture<'_, Result<Option<Entry>, BucketError>> {
    Box::pin(entry(parked, position))
}

async fn entry(parked: &Bucket, position: Position) -> Result<Option<Entry>, BucketError> {
    let entry = parked.get(&key_of(position)).await?;
    Ok(entry.and_then(|entry| serde_json::from_slice(&entry.value).ok()))
}

/// Lets the next round of a sweep retry a parked reaction. Returns `false` if it is not parked.
///
/// # Errors
/// If the bucket does not answer.
pub fn retry(parked: &Bucket, position: Position) -> BoxFuture<'_, Result<bool, BucketError>> {
    Box::pin(tried_again(parked, position))
}

async fn tried_again(parked: &Bucket, position: Position) -> Result<bool, BucketError> {
    let Some(entry) = get(parked, position).await? else { return Ok(false) };
    put(parked, position, &Entry { due_at: 0, ..entry }).await?;
    Ok(true)
}

async fn put(parked: &Bucket, position: Position, entry: &Entry) -> Result<(), BucketError> {
    let reason = entry.reason.chars().filter(|character| !character.is_control()).take(REASON).collect();
    // Serializing a struct of strings and numbers cannot fail.
    let value = serde_json::to_vec(&Entry { reason, ..entry.clone() }).unwrap_or_default();
    parked.put(&key_of(position), value.into()).await
}

/// Parks a reaction.
///
/// # Errors
/// If the bucket does not answer. The event must then be delivered again.
pub(crate) async fn park(worker: &Worker, stored: &Stored, reason: &str, attempts: i64) -> Result<(), BucketError> {
    let Timestamp(parked_at) = now();
    let (subject, reason) = (stored.subject.clone(), reason.to_owned());
    let entry = Entry { subject, reason, attempts, parked_at, due_at: parked_at };
    put(&worker.parked, stored.position, &entry).await?;
    tracing::error!(position = %stored.position, reason = entry.reason, attempts, "a reaction is parked");
    Ok(())
}

/// Retries the parked reactions of a share that are due, or all of the share if `all` is set. Begins with those that
/// are due longest. A reaction that fails is due again after `pause`.
///
/// # Errors
/// If the bucket does not answer.
pub(crate) async fn sweep(worker: &Worker, pause: Duration, all: bool, share: Share) -> Result<(), BucketError> {
    let mut parked = list(&worker.parked).await?;
    PARKED_REACTIONS.set(i64::try_from(parked.len()).unwrap_or(i64::MAX));
    let time = now().0;
    parked.retain(|(position, entry)| share.has(position.seq) && (all || entry.due_at <= time));
    parked.sort_by_key(|(_, entry)| entry.due_at);
    let try_one = |(position, entry)| async move {
        if let Err(error) = try_again(worker, position, entry, pause).await {
            tracing::warn!(%position, %error, "cannot update a parked reaction; will try again");
        }
    };
    stream::iter(parked).for_each_concurrent(AT_ONCE, try_one).await;
    Ok(())
}

async fn try_again(worker: &Worker, position: Position, entry: Entry, pause: Duration) -> Result<(), BucketError> {
    match react_to(worker, position).await {
        Ok(()) => {
            tracing::info!(%position, "a parked reaction succeeded");
            worker.parked.delete(&key_of(position)).await
        }
        // The reaction stays due: a newer worker can read the event, and a worker with a free place can react to it.
        Err(Failed::Unreadable | Failed::NoPlace) => Ok(()),
        Err(Failed::Reaction(reason)) => {
            let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
            let due_at = now().0.saturating_add(pause_ms);
            let attempts = entry.attempts.saturating_add(1);
            put(&worker.parked, position, &Entry { reason, attempts, due_at, ..entry }).await
        }
    }
}

/// Reason why a retry did not succeed.
enum Failed {
    /// This worker cannot read the event.
    Unreadable,
    /// The company has as many long reactions as it may have now.
    NoPlace,
    Reaction(String),
}

async fn react_to(worker: &Worker, position: Position) -> Result<(), Failed> {
    let stored = worker.log.at(position).await.map_err(|error| Failed::Reaction(error.to_string()))?;
    // The event is missing because the stream was restored from a backup. No reaction is needed.
    let Some(stored) = stored else { return Ok(()) };
    match &stored.event {
        Ok(recorded) => match reaction_to(&recorded.event) {
            Some(reaction) => react(worker, recorded, reaction).await.map_err(|error| match error {
                ReactionError::NoPlace => Failed::NoPlace,
                error => Failed::Reaction(error.to_string()),
            }),
            None => Ok(()),
        },
        Err(DecodeError::Event(EventError::Unknown { .. })) => Err(Failed::Unreadable),
        Err(error) => Err(Failed::Reaction(error.to_string())),
    }
}
